"""The conditions of a protocol, a slice to tune on, and the real pictures that sets are compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codiff.data.celeba_hq import CelebAHQ
from codiff.data.faces import FaceExample, ProceduralFaces
from codiff.data.lazy_example import LazyExample
from codiff.data.prepared import PreparedShards, is_prepared, read_index
from codiff.errors import InputError
from codiff.evaluation.protocols import Protocol

Picture = NDArray[np.uint8]

_MASK, _CAPTION = "mask", "text"  # the modalities that can be judged
_LABELS = ("beard", "age")  # what captions of drawn faces tell, and a classifier reads

_REMEMBERED = 64  # cases: several batches, so that all methods read a picture once


@dataclass(frozen=True)
class Case:
    """One condition, and what is true of it.

    Attributes:
        name: for people.
        conditions: raw, by modality, as a pipeline takes them.
        mask: labels (h, w) that a picture is held against; None where there is none.
        caption: "" where there is none.
        labels: attribute -> its true class, where that is known.
        read: gives the real picture (h, w, 3).
    """

    name: str
    conditions: Mapping[str, Any] = field(default_factory=dict)
    mask: Picture | None = None
    caption: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    read: Callable[[], Picture] | None = None

    @cached_property
    def picture(self) -> Picture:
        """The real picture (h, w, 3) in 0..255."""
        if self.read is None:
            raise InputError(f"there is no real picture of {self.name}")
        return self.read()


class Cases(Sequence[Case]):
    """Examples of a data set as cases, each read when it is asked for; those asked for last are remembered."""

    def __init__(self, examples: Sequence[Any], limit: int | None = None) -> None:
        self.examples = examples
        self.indices = range(len(examples))[:limit]
        self._read = lru_cache(maxsize=_REMEMBERED)(lambda item: case_of(examples[self.indices[item]], f"{item:05d}"))

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, item: int) -> Case:  # type: ignore[override]
        if not 0 <= item < len(self):
            raise IndexError(item)
        return self._read(item)

    def of(self, items: range) -> list[Case]:
        """The cases of a range."""
        return [self[item] for item in items]


def case_of(example: FaceExample | LazyExample, name: str = "") -> Case:
    """An example of a data set as a case."""
    conditions: Mapping[str, Any] = example.conditions
    labels = {}
    if isinstance(example, FaceExample):
        labels = {attribute: str(getattr(example.face.description, attribute)) for attribute in _LABELS}
    return Case(
        name, conditions, conditions.get(_MASK), str(conditions.get(_CAPTION, "")), labels, lambda: example.image
    )


@dataclass(frozen=True)
class Pictures:
    """Real pictures, read when they are asked for.

    Attributes:
        fingerprint: names them; other pictures have another one.
        count: how many.
        read: the pictures (n, h, w, 3) of a range.
    """

    fingerprint: str
    count: int
    read: Callable[[range], Picture]


def pictures_of(examples: Sequence[Any], fingerprint: str, limit: int | None = None) -> Pictures:
    """The pictures of a data set."""

    def read(items: range) -> Picture:
        return np.stack([examples[item].image for item in items])

    count = min(len(examples), limit or len(examples))
    return Pictures(f"{fingerprint}-{count}", count, read)


@dataclass(frozen=True)
class BenchmarkData:
    """What a protocol measures on.

    Attributes:
        fingerprint: names the conditions and their split.
        cases: the protocol's conditions.
        tuning: conditions on which scales and weights are chosen; none of them is among `cases`.
        tuning_from: where they come from, for people.
        reference: real pictures that sets are compared with.
        training, held_out: for the test of memorisation; pictures of no case. None where there is no such test.
    """

    fingerprint: str
    cases: Cases
    tuning: Cases
    tuning_from: str
    reference: Pictures
    training: Pictures | None = None
    held_out: Pictures | None = None


def open_data(protocol: Protocol, size: int, tuning: int, folder: Path | None = None) -> BenchmarkData:
    """The data of a protocol.

    Args:
        size: side of the pictures in pixels.
        tuning: how many cases to tune on.
        folder: of CelebA-HQ, raw or prepared; drawn faces need none.

    Raises:
        InputError: the data are missing or too few.
    """
    if protocol.data == "faces":
        return _drawn(protocol, size, tuning)
    if folder is None:
        raise InputError(f"{protocol.name} is measured on CelebA-HQ: give its folder by --data")
    return _photographs(protocol, size, tuning, folder)


_MEMORISATION_SHARE = 9  # training pictures for each condition: all 27,000 for all 3,000
_LEAST = 60  # real pictures of a small run


def _drawn(protocol: Protocol, size: int, tuning: int) -> BenchmarkData:
    validation, fresh = ProceduralFaces("validation", size), ProceduralFaces("tuning", size)
    training = ProceduralFaces("train", size)
    if not 1 <= tuning <= len(fresh):
        raise InputError(f"tuning takes 1 to {len(fresh)} faces, not {tuning}")
    held = max(protocol.conditions, _LEAST)
    return BenchmarkData(
        fingerprint=validation.fingerprint,
        cases=Cases(validation, protocol.conditions),
        tuning=Cases(fresh, tuning),
        tuning_from=f"the first {tuning} faces of the tuning split, which is neither trained nor measured on",
        reference=pictures_of(validation, validation.fingerprint, min(len(validation), held)),
        training=pictures_of(training, training.fingerprint, min(len(training), held * _MEMORISATION_SHARE)),
        held_out=pictures_of(fresh, fresh.fingerprint, min(len(fresh), held)),
    )


def _photographs(protocol: Protocol, size: int, tuning: int, folder: Path) -> BenchmarkData:
    validation, training = _opened(folder, size)
    if len(validation) < protocol.conditions:
        raise InputError(
            f"{folder} has {len(validation)} validation images, {protocol.name} takes {protocol.conditions}; "
            "--faces takes fewer"
        )
    if not 1 <= tuning <= len(training):
        raise InputError(f"{folder} has {len(training)} training images to tune on, not {tuning}")
    reference = pictures_of(validation, validation.pictures_fingerprint)
    if protocol.reference == "all":
        reference = _joined(pictures_of(training, training.pictures_fingerprint), reference)
    return BenchmarkData(
        fingerprint=f"{validation.fingerprint}, {training.fingerprint}",
        cases=Cases(validation, protocol.conditions),
        tuning=Cases(training, tuning),
        tuning_from=f"the first {tuning} images of the training split",
        reference=reference,
    )


_Split = CelebAHQ | PreparedShards


def _opened(folder: Path, size: int) -> tuple[_Split, _Split]:
    """Validation split and training split."""
    if is_prepared(folder):
        index = read_index(folder)
        if index.settings.size != size:
            raise InputError(f"{folder} was prepared at {index.settings.size} pixels, the model makes {size}")
        return PreparedShards(folder, "validation"), PreparedShards(folder, "train")
    return CelebAHQ(folder, "validation", size), CelebAHQ(folder, "train", size)


def _joined(first: Pictures, second: Pictures) -> Pictures:
    def read(items: range) -> Picture:
        here = range(items.start, min(items.stop, first.count))
        there = range(max(items.start - first.count, 0), max(items.stop - first.count, 0))
        return np.concatenate([part.read(rows) for part, rows in ((first, here), (second, there)) if len(rows)])

    return Pictures(f"{first.fingerprint}+{second.fingerprint}", first.count + second.count, read)
