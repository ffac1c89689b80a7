"""CelebA-HQ with the masks of CelebAMask-HQ and the captions of CelebA-Dialog, in the layouts it comes in."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codiff.data.celeba_captions import PAPER_ATTRIBUTES, Captions, check_attributes, read_captions
from codiff.data.celeba_files import CelebAFiles, Entry, find_files
from codiff.data.celeba_masks import read_mask_file, read_parts
from codiff.data.celeba_sketches import read_sketch_file
from codiff.data.edges import draw_edges
from codiff.data.lazy_example import LazyExample
from codiff.errors import InputError
from codiff.image_files import open_image
from codiff.modalities.mask import resize_labels

SPLITS = ("train", "validation")
MODALITIES = ("text", "mask", "sketch")
VALIDATION = 3_000

SMALLEST, LARGEST = 32, 1024
_SAMPLES = 24  # examples that a fingerprint reads


class CelebAHQ(Sequence[LazyExample]):
    """One split of CelebA-HQ: pictures with captions, masks and sketches, read when they are asked for.

    The last 3,000 names are the validation split, as in the published code: the last in the caption file, or the last
    numbers where there is none. Of smaller sets it is the last tenth. An image that has no caption (5380 has none in
    CelebA-Dialog) is in the training split, but left out of it wherever text is among the modalities.

    Sketches are the published ones where the layout has them, and otherwise drawn from the pictures by `draw_edges`.

    Args:
        root: folder of the data; see `find_files` for the layouts.
        split: "train" or "validation".
        size: side of pictures, masks and sketches, 32 to 1024. Pictures are resized by Lanczos, masks by nearest
            neighbour.
        modalities: which conditions examples have; all that the folder has without.
        captions: the caption file; one that lies with the data without.
        attributes: of which captions tell, see `ATTRIBUTES`; beard and age as in the paper without.
        limit: only the first so many of the split.
        draw_sketches: draw sketches from the pictures though there are published ones.
        without: numbers of images that are left out.

    Raises:
        InputError: nothing is found, there are no conditions of a modality, a setting is unknown, or a split is empty.
            Examples raise it where one of their files is missing or damaged.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        size: int = 512,
        *,
        modalities: Sequence[str] | None = None,
        captions: str | Path | None = None,
        attributes: Sequence[str] = PAPER_ATTRIBUTES,
        limit: int | None = None,
        draw_sketches: bool = False,
        without: Iterable[int] = (),
    ) -> None:
        check_split(split)
        check_size(size)
        if limit is not None and limit < 1:
            raise InputError(f"limit must be at least one image, not {limit}")
        self.files = find_files(root)
        self.size = size
        self.split = split
        self.draws_sketches = draw_sketches or self.files.sketch_folder is None
        self.caption_file = _caption_file(self.files, captions, attributes)
        self.captions: Captions = read_captions(self.caption_file, attributes) if self.caption_file else {}
        self._most_wordings = max(map(len, self.captions.values()), default=0)
        self.modalities = _modalities(modalities, self.files, bool(self.captions))
        left_out = set(without) | (self._uncaptioned() if "text" in self.modalities else set())
        ordered = split_indices(self.files.images, self.captions)[split]
        self.indices = [index for index in ordered if index not in left_out][:limit]
        if not self.indices:
            raise InputError(f"{root}: its {split} split is empty, as it has {len(self.files.images)} images")

    @cached_property
    def pictures_fingerprint(self) -> str:
        """Names the pictures alone. Two dozen of them are read; of the others the sizes of the files count.

        Raises:
            InputError: a file is missing, or one of those that are read is damaged.
        """
        digest = hashlib.sha256(
            repr([(index, _bytes_of(self.files.entry(index).image)) for index in self.indices]).encode()
        )
        for item in self._samples():
            digest.update(self[item].image.tobytes())
        return f"celeba-hq-{self.size}-{self.split}-{len(self)}-{digest.hexdigest()[:16]}"

    @cached_property
    def fingerprint(self) -> str:
        """Names the pictures and their conditions, in the same manner; all captions count.

        Raises:
            InputError: a file is missing, or one of those that are read is damaged.
        """
        told = [self.modalities, self.draws_sketches, [self.wordings(index) for index in self.indices]]
        digest = hashlib.sha256(repr(told if "text" in self.modalities else told[:-1]).encode())
        for entry in map(self.files.entry, self.indices):
            digest.update(repr((_bytes_of(entry.mask), sorted(entry.parts), _bytes_of(entry.sketch))).encode())
        for item in self._samples():
            for alternatives in self[item].alternatives.values():
                digest.update(b"".join(np.asarray(raw).tobytes() for raw in alternatives))
        return f"{self.pictures_fingerprint}-{digest.hexdigest()[:16]}"

    def _samples(self) -> range:
        return range(0, len(self), max(1, len(self) // _SAMPLES))

    def _uncaptioned(self) -> set[int]:
        return {index for index in self.files.images if not self.captions.get(index)}

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, item: int) -> LazyExample:  # type: ignore[override]
        if not 0 <= item < len(self):
            raise IndexError(item)
        return self.example(self.indices[item])

    def __iter__(self) -> Iterator[LazyExample]:
        return (self[item] for item in range(len(self)))

    def example(self, index: int) -> LazyExample:
        """The example of image number `index`, of whichever split."""
        entry = self.files.entry(index)
        readers: dict[str, Callable[[], Sequence[Any]]] = {
            "text": lambda: self.wordings(index),
            "mask": lambda: [read_mask(entry, self.size)],
            "sketch": lambda: [draw_edges(example.image) if self.draws_sketches else read_sketch(entry, self.size)],
        }
        wanted = {modality: readers[modality] for modality in self.modalities}
        example = LazyExample(str(index), partial(read_image, entry, self.size), wanted)
        return example

    def wordings(self, index: int) -> list[str]:
        """Captions of image number `index`: none, or as many as any image has, the first ones repeated."""
        told = self.captions.get(index, ())
        return list(islice(cycle(told), self._most_wordings)) if told else []


def check_split(split: str) -> None:
    """Refuse names of splits that there are not (InputError)."""
    if split not in SPLITS:
        raise InputError(f"unknown split {split!r}; expected one of {', '.join(SPLITS)}")


def check_size(size: int) -> None:
    """Refuse sides that are too small for a face, or larger than CelebA-HQ's (InputError)."""
    if not SMALLEST <= size <= LARGEST:
        raise InputError(f"size must be from {SMALLEST} to {LARGEST} pixels, not {size}")


def split_indices(images: Iterable[int], captions: Iterable[int]) -> dict[str, list[int]]:
    """Numbers of the images by split: the last 3,000, or the last tenth of smaller sets, are for validation.

    The order is that of the captions, as the published code takes it; images that none names come before them.
    """
    there = set(images)
    named = [index for index in captions if index in there]
    ordered = sorted(there.difference(named)) + named
    held = min(VALIDATION, math.ceil(len(ordered) / 10)) if len(ordered) > 1 else 0
    return {"train": ordered[: len(ordered) - held], "validation": ordered[len(ordered) - held :]}


def read_image(entry: Entry, size: int) -> NDArray[np.uint8]:
    """The picture of an entry, (size, size, 3) in 0..255.

    Raises:
        InputError: it is missing, damaged or not square.
    """
    path = _existing(entry.image, entry, "image")
    image = open_image(path)
    if image.width != image.height:
        raise InputError(f"image {str(path)!r}: {image.width} x {image.height} pixels, but a square is expected")
    return np.array(image if image.width == size else image.resize((size, size), Image.Resampling.LANCZOS))


def read_mask(entry: Entry, size: int) -> NDArray[np.uint8]:
    """The labels of an entry, uint8 (size, size) in 0..18, of its mask file or its parts.

    Raises:
        InputError: a file is missing or damaged.
    """
    labels = read_parts(entry.parts) if entry.parts else read_mask_file(_existing(entry.mask, entry, "mask"))
    return resize_labels(labels, size)


def read_sketch(entry: Entry, size: int) -> NDArray[np.uint8]:
    """The published sketch of an entry, uint8 (size, size), dark lines on white.

    Raises:
        InputError: it is missing or damaged.
    """
    drawing = Image.fromarray(read_sketch_file(_existing(entry.sketch, entry, "sketch")))
    return np.array(drawing.resize((size, size), Image.Resampling.LANCZOS))


def _bytes_of(path: Path | None) -> int:
    try:
        return 0 if path is None else path.stat().st_size
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def _existing(path: Path | None, entry: Entry, what: str) -> Path:
    if path is None:
        raise InputError(f"there is no {what} of image {entry.index}; `codiff data check` lists all that is missing")
    return path


def _caption_file(files: CelebAFiles, given: str | Path | None, attributes: Sequence[str]) -> Path | None:
    """The given caption file, or that of the data's own that tells of these attributes."""
    check_attributes(attributes)
    if given is not None or not files.captions:
        return Path(given) if given is not None else None
    of_paper = set(attributes) == set(PAPER_ATTRIBUTES)
    return files.captions[0 if of_paper else -1]


def _modalities(wanted: Sequence[str] | None, files: CelebAFiles, captioned: bool) -> tuple[str, ...]:
    there = {"text": captioned, "mask": files.has_masks, "sketch": True}
    if wanted is None:
        return tuple(modality for modality in MODALITIES if there[modality])
    for modality in wanted:
        if modality not in MODALITIES:
            raise InputError(f"unknown modality {modality!r}; CelebA-HQ has {', '.join(MODALITIES)}")
        if not there[modality]:
            raise InputError(f"no {modality} beside {files.image_folder}: {_MISSING[modality]}")
    return tuple(modality for modality in MODALITIES if modality in wanted)


_MISSING = {
    "text": "put captions_hq.json of CelebA-Dialog there, or give the path of a caption file",
    "mask": "put CelebAMask-HQ-mask-anno there",
}
