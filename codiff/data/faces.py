"""Procedural faces: an endless, seeded data set of drawn portraits with exact labels."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from codiff.data.face_attributes import Face, sample_face
from codiff.data.face_captions import caption
from codiff.data.face_renderer import render

TRAIN_FACES, VALIDATION_FACES = 27_000, 3_000
SPLITS = {"train": range(TRAIN_FACES), "validation": range(TRAIN_FACES, TRAIN_FACES + VALIDATION_FACES)}
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
        split: "train" (27,000 faces) or "validation" (3,000).
        size: side in pixels, >= 32.
        limit: only the first so many faces.
    """

    def __init__(self, split: str, size: int = 128, *, limit: int | None = None) -> None:
        if split not in SPLITS:
            raise ValueError(f"unknown split {split!r}; expected one of {', '.join(SPLITS)}")
        self.size = size
        self.indices = SPLITS[split][:limit]
        self.split = split
        self._cache: dict[str, NDArray[np.uint8]] | None = None

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
        """The same faces, rendered once into `folder` by `processes` processes (all cores by default), then mapped."""
        home = Path(folder) / f"faces-{self.size}-{self.split}-{len(self)}-{pixels_digest(self.indices, self.size)}"
        if not home.exists():
            self._fill(home, processes or os.cpu_count() or 1)
        cached = ProceduralFaces(self.split, self.size, limit=len(self))
        cached._cache = {name: np.load(home / f"{name}.npy", mmap_mode="r") for name in _SHEETS}
        return cached

    def _fill(self, home: Path, processes: int) -> None:
        partial = home.with_name(f"{home.name}.partial-{os.getpid()}")
        partial.mkdir(parents=True)
        try:
            shape = (len(self), self.size, self.size)
            shapes = {"image": (*shape, 3), "mask": shape, "sketch": shape}
            sheets = {
                name: np.lib.format.open_memmap(partial / f"{name}.npy", mode="w+", dtype=np.uint8, shape=shapes[name])
                for name in _SHEETS
            }
            starts = range(0, len(self), _CHUNK)
            chunks = [(self.indices[start : start + _CHUNK], self.size) for start in starts]
            with ProcessPoolExecutor(processes) as pool:
                rendered = track(pool.map(_render_chunk, chunks), f"drawing {len(self)} faces", total=len(chunks))
                for start, chunk in zip(starts, rendered, strict=True):
                    for name in _SHEETS:
                        sheets[name][start : start + len(chunk[name])] = chunk[name]
            for sheet in sheets.values():
                sheet.flush()
            (partial / "faces.json").write_text(json.dumps({"split": self.split, "size": self.size, "faces": len(self)}))
            partial.rename(home)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


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
