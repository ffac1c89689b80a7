"""Procedural faces: an endless, seeded data set of drawn portraits with exact labels."""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from codiff.data.face_attributes import Face, sample_face
from codiff.data.face_captions import caption
from codiff.data.face_renderer import check_size, render
from codiff.errors import InputError
from codiff.files import locked, recover, write_json, written_aside

SPLITS = {"train": range(27_000), "validation": range(27_000, 30_000), "tuning": range(30_000, 33_000)}
"""Numbers of the faces. On "tuning" is chosen what no training chooses, so that validation faces choose nothing."""
CAPTION_VARIANTS = 4
_SHEETS = ("image", "mask", "sketch")
_CHUNK = 100


@dataclass
class FaceExample:
    """One face: the picture and what each modality says of it."""

    image: NDArray[np.uint8]  # (size, size, 3)
    mask: NDArray[np.uint8]  # (size, size), classes 0..18
    sketch: NDArray[np.uint8]  # (size, size), dark lines on white
    caption: str
    face: Face

    @property
    def conditions(self) -> dict[str, object]:
        """Raw conditions by modality, as a pipeline takes them."""
        return {"text": self.caption, "mask": self.mask, "sketch": self.sketch}

    @property
    def alternatives(self) -> dict[str, list[object]]:
        """Raw conditions by modality, captions in several wordings."""
        wordings: list[object] = [caption(self.face, variant) for variant in range(CAPTION_VARIANTS)]
        return {"text": wordings, "mask": [self.mask], "sketch": [self.sketch]}


class ProceduralFaces(Sequence[FaceExample]):
    """Faces of one split, rendered on the fly, or read from a cache once `cached` has filled it.

    Args:
        split: "train" (27,000 faces), "validation" (3,000) or "tuning" (3,000).
        size: side in pixels, >= 32.
        limit: only the first so many faces.

    Raises:
        InputError: no such split, or a size or limit that is too small.
    """

    def __init__(self, split: str, size: int = 128, *, limit: int | None = None) -> None:
        if split not in SPLITS:
            raise InputError(f"unknown split {split!r}; expected one of {', '.join(SPLITS)}")
        check_size(size)
        if limit is not None and limit < 1:
            raise InputError(f"limit must be at least one face, not {limit}")
        self.size = size
        self.indices = SPLITS[split][:limit]
        self.split = split
        self._cache: dict[str, NDArray[np.uint8]] | None = None

    @cached_property
    def fingerprint(self) -> str:
        """Names the faces: another renderer, split, size or number gives another one."""
        return f"faces-{self.size}-{self.split}-{len(self)}-{pixels_digest(self.indices, self.size)}"

    def __len__(self) -> int:
        return len(self.indices)

    def face(self, item: int) -> Face:
        """The attributes of face number `item` of the split."""
        return sample_face(self.indices[item])

    def __getitem__(self, item: int) -> FaceExample:  # type: ignore[override]
        if not 0 <= item < len(self):
            raise IndexError(item)
        face = self.face(item)
        if self._cache is not None:
            sheets = {name: self._cache[name][item] for name in _SHEETS}
        else:
            drawn = render(face, self.size)
            sheets = {name: getattr(drawn, name) for name in _SHEETS}
        return FaceExample(**sheets, caption=caption(face), face=face)

    def __iter__(self) -> Iterator[FaceExample]:
        return (self[item] for item in range(len(self)))

    def array(self, name: str) -> NDArray[np.uint8]:
        """All pictures ("image"), masks or sketches of a cached split, memory-mapped: (faces, size, size[, 3])."""
        if self._cache is None:
            raise ValueError("only a cached split has arrays; call cached(folder) first")
        return self._cache[name]

    def cached(self, folder: str | Path, *, processes: int | None = None) -> ProceduralFaces:
        """The same faces, rendered once into `folder` by `processes` processes (all cores by default), then mapped.

        Raises:
            InputError: the folder cannot be written, the disk is full, or what was rendered before is damaged.
        """
        home = Path(folder) / self.fingerprint
        if not home.exists():
            self._fill(home, processes or os.cpu_count() or 1)
        cached = copy.copy(self)
        try:
            cached._cache = {name: np.load(home / f"{name}.npy", mmap_mode="r") for name in _SHEETS}
        except (OSError, ValueError) as error:
            raise InputError(f"{home} is damaged ({error}); remove it, and the faces are drawn again") from error
        return cached

    def _fill(self, home: Path, processes: int) -> None:
        """Render all faces into a new folder; whoever else wants the same waits and finds it done."""
        with locked(home.parent, home.with_name(f".{home.name}.lock")):
            recover(home.parent, home.name)
            if not home.exists():
                with written_aside(home) as partial:
                    partial.mkdir()
                    self._render_into(partial, processes)

    def _render_into(self, folder: Path, processes: int) -> None:
        shape = (len(self), self.size, self.size)
        shapes = {"image": (*shape, 3), "mask": shape, "sketch": shape}
        chunks = [(self.indices[start : start + _CHUNK], self.size) for start in range(0, len(self), _CHUNK)]
        with ExitStack() as stack:
            files = {name: stack.enter_context((folder / f"{name}.npy").open("wb")) for name in _SHEETS}
            for name, file in files.items():
                header = {"descr": "|u1", "fortran_order": False, "shape": shapes[name]}
                np.lib.format.write_array_header_1_0(file, header)
            pool = ProcessPoolExecutor(processes)
            stack.callback(pool.shutdown, cancel_futures=True)
            rendered = pool.map(_render_chunk, chunks)
            for chunk in track(rendered, f"drawing {len(self)} faces", total=len(chunks)):
                for name, file in files.items():
                    file.write(chunk[name].tobytes())
        write_json(folder / "faces.json", {"split": self.split, "size": self.size, "faces": len(self)})


def _render_chunk(task: tuple[range, int]) -> dict[str, NDArray[np.uint8]]:
    indices, size = task
    drawn = [render(sample_face(index), size) for index in indices]
    return {name: np.stack([getattr(sheets, name) for sheets in drawn]) for name in _SHEETS}


def pixels_digest(indices: range, size: int) -> str:
    """Of the first faces' pixels: changes when the renderer draws otherwise, so that a stale cache is never read."""
    digest = hashlib.sha256()
    for index in indices[:24]:
        drawn = render(sample_face(index), size)
        for name in _SHEETS:
            digest.update(getattr(drawn, name).tobytes())
    return digest.hexdigest()[:12]
