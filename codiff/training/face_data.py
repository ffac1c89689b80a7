"""Data sets as trainings read them: pictures, masks and labels by number, whether drawn, in files or prepared."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import tee
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codiff.data.example import Example, Examples
from codiff.data.face_attributes import AGES, BEARDS
from codiff.data.faces import ProceduralFaces
from codiff.training.read_ahead import Rows, read_ahead

Sheets = tuple[NDArray[np.uint8], ...]
IMAGE = "image"
ATTRIBUTES: Mapping[str, tuple[str, ...]] = {"age": AGES, "beard": BEARDS}
"""Classes of the procedural faces by attribute."""
UNKNOWN = -1


@dataclass(frozen=True)
class Labels:
    """What is known of all faces of a data set.

    Attributes:
        classes: names of the classes of each attribute.
        targets: class of each face, int64 (faces,), by attribute; `UNKNOWN` where nobody has labelled it.
        fingerprint: names the faces with their labels.
    """

    classes: Mapping[str, tuple[str, ...]]
    targets: Mapping[str, NDArray[np.int64]]
    fingerprint: str


class FaceData(ABC, Sequence[Example]):
    """What trainings read.

    Attributes:
        size: side of pictures and masks in pixels.
        fingerprint: names the data; another size, choice or content gives another one.
        workers: processes that read ahead; 0 where reading costs nothing.
    """

    size: int
    fingerprint: str
    workers = 0

    @abstractmethod
    def sheets(self, rows: Rows, names: Sequence[str]) -> Sheets:
        """For each name, "image" or a modality whose conditions are pixels: those of these rows, (rows, size, size) or
        (rows, size, size, 3)."""

    @abstractmethod
    def labels(self) -> Labels:
        """Labels of the attributes that captions tell of.

        Raises:
            InputError: there are none.
        """

    def reading(self, plan: Iterable[Rows], names: Sequence[str]) -> AbstractContextManager[None]:  # noqa: ARG002
        """Where the sheets of these names will be asked for in the order of the plan, rows by rows."""
        return nullcontext()


class DrawnFaces(FaceData):
    """Procedural faces that are drawn already.

    Args:
        faces: cached.
    """

    def __init__(self, faces: ProceduralFaces) -> None:
        self.faces = faces
        self.size, self.fingerprint = faces.size, faces.fingerprint

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, item: int) -> Example:  # type: ignore[override]
        return self.faces[item]

    def sheets(self, rows: Rows, names: Sequence[str]) -> Sheets:
        """See `FaceData`."""
        return tuple(np.stack([self.faces.array(name)[row] for row in rows]) for name in names)

    def labels(self) -> Labels:
        """See `FaceData`."""
        described = [self.faces.face(item).description for item in range(len(self))]
        targets = {
            name: np.array([classes.index(getattr(entry, name)) for entry in described])
            for name, classes in ATTRIBUTES.items()
        }
        return Labels(ATTRIBUTES, targets, self.fingerprint)


class FacesInFiles(FaceData):
    """Faces that are read when they are asked for, ahead of that where it is known what will be.

    Args:
        examples: the data set.
        size, fingerprint, workers: see `FaceData`.
        pictures_fingerprint: names the pictures alone, whatever conditions they have.
        read_labels: gives the labels of the examples.
    """

    def __init__(
        self,
        examples: Examples,
        *,
        size: int,
        fingerprint: str,
        pictures_fingerprint: str,
        read_labels: Callable[[], Labels],
        workers: int = 0,
    ) -> None:
        self.examples, self._read_labels = examples, read_labels
        self.size, self.workers = size, workers
        self.fingerprint, self.pictures_fingerprint = fingerprint, pictures_fingerprint
        self._ahead: _Ahead | None = None

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, item: int) -> Example:  # type: ignore[override]
        return self.examples[item]

    def sheets(self, rows: Rows, names: Sequence[str]) -> Sheets:
        """See `FaceData`.

        Raises:
            InputError: a file is missing or damaged.
        """
        if self._ahead is not None and self._ahead.is_next(rows, names):
            return self._ahead.take()
        return SheetReader(self.examples, tuple(names))(rows)

    def labels(self) -> Labels:
        """See `FaceData`."""
        return self._read_labels()

    @contextmanager
    def reading(self, plan: Iterable[Rows], names: Sequence[str]) -> Iterator[None]:
        """See `FaceData`."""
        told, followed = tee(plan)
        with closing(read_ahead(SheetReader(self.examples, tuple(names)), followed, self.workers)) as found:
            self._ahead = _Ahead(told, names, found)
            try:
                yield
            finally:
                self._ahead = None


@dataclass(frozen=True)
class SheetReader:
    """Reads `FaceData.sheets` of a data set, in whichever process."""

    examples: Examples
    names: tuple[str, ...]

    def __call__(self, rows: Rows) -> Sheets:
        """The sheets of these rows.

        Raises:
            InputError: a file is missing or damaged.
        """
        examples = [self.examples[row] for row in rows]
        return tuple(np.stack([self._sheet(example, name) for example in examples]) for name in self.names)

    @staticmethod
    def _sheet(example: Example, name: str) -> NDArray[Any]:
        return example.image if name == IMAGE else np.asarray(example.alternatives[name][0])


class _Ahead:
    """What is being read, and for which rows."""

    def __init__(self, plan: Iterator[Rows], names: Sequence[str], found: Iterator[Sheets]) -> None:
        self.plan, self.names, self.found = plan, list(names), found
        self.rows = next(plan, None)

    def is_next(self, rows: Rows, names: Sequence[str]) -> bool:
        """Whether these are the next of the plan; others, as those of a picture, are asked for in between."""
        return self.rows is not None and list(rows) == list(self.rows) and list(names) == self.names

    def take(self) -> Sheets:
        """The sheets of the next rows."""
        found = next(self.found)
        self.rows = next(self.plan, None)
        return found
