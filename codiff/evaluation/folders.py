"""Pictures that any software made, with what they are held against, from folders: equal names belong together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codiff.data.named_files import PICTURE_SUFFIXES, find_named_files, read_named_captions, read_named_labels
from codiff.errors import InputError
from codiff.evaluation.benchmark_data import Case, Picture, Pictures
from codiff.image_files import open_image
from codiff.modalities.mask import read_labels, resize_labels

_MASK_SUFFIXES = (*PICTURE_SUFFIXES, ".pt")
_SHOWN = 3


@dataclass(frozen=True)
class Folders:
    """Where the material lies; a file's name without its ending names the picture.

    Attributes:
        images: the pictures that are measured.
        reference: real pictures that the set is compared with; their names do not matter.
        masks: label maps as the mask modality takes them.
        captions: JSON object of names and captions, or JSON lines with `name` and `text`.
        labels: JSON object: name -> attribute -> its true class.
    """

    images: Path
    reference: Path | None = None
    masks: Path | None = None
    captions: Path | None = None
    labels: Path | None = None


class FolderCases(Sequence[Case]):
    """The pictures of a folder, each with what it is held against.

    Args:
        folders: where everything lies.

    Raises:
        InputError: a folder or file is missing or broken, or a picture lacks its mask, caption or labels.
    """

    def __init__(self, folders: Folders) -> None:
        self.paths = find_named_files(folders.images)
        self.names = list(self.paths)
        self.masks = {} if folders.masks is None else find_named_files(folders.masks, _MASK_SUFFIXES, "masks")
        self.captions = {} if folders.captions is None else read_named_captions(folders.captions)
        self.labels = {} if folders.labels is None else read_named_labels(folders.labels)
        for given, what in ((self.masks, "mask"), (self.captions, "caption"), (self.labels, "labels")):
            lacking = [name for name in self.names if given and name not in given]
            if lacking:
                shown = ", ".join(lacking[:_SHOWN])
                raise InputError(
                    f"{len(lacking)} of {len(self.names)} pictures have no {what} of the same name ({shown}): pictures "
                    "and what they are held against belong together by their names"
                )

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, item: int) -> Case:  # type: ignore[override]
        if not 0 <= item < len(self):
            raise IndexError(item)
        name = self.names[item]
        side = self.picture(item).shape[0]
        mask = resize_labels(read_labels(self.masks[name]), side) if self.masks else None
        return Case(name, {}, mask, self.captions.get(name, ""), self.labels.get(name, {}))

    def picture(self, item: int) -> Picture:
        """A picture that is measured, (h, w, 3)."""
        return _opened(self.paths[self.names[item]], square=bool(self.masks))

    def check_size(self, item: int, shape: tuple[int, ...]) -> None:
        """Raises:
        InputError: a picture has another size than the first.
        """
        picture, name = self.picture(item), self.names[item]
        if picture.shape != shape:
            raise InputError(_sizes(name, picture, self.names[0], shape))

    def pictures(self, items: range) -> Picture:
        """Those of a range, (n, h, w, 3).

        Raises:
            InputError: they differ in size.
        """
        return _stacked([self.picture(item) for item in items], [self.names[item] for item in items])


def reference_pictures(folder: Path) -> Pictures:
    """All pictures of a folder.

    Raises:
        InputError: there is no such folder, or it holds no pictures.
    """
    paths = find_named_files(folder)
    names = list(paths)

    def read(items: range) -> Picture:
        return _stacked([_opened(paths[names[item]], square=False) for item in items], [names[item] for item in items])

    return Pictures(str(folder), len(names), read)


def _opened(path: Path, *, square: bool) -> Picture:
    picture = np.asarray(open_image(path))
    if square and picture.shape[0] != picture.shape[1]:
        raise InputError(f"image {str(path)!r}: {picture.shape[1]} x {picture.shape[0]} pixels, but masks are square")
    return picture


def _stacked(pictures: Sequence[Picture], names: Sequence[str]) -> Picture:
    for picture, name in zip(pictures, names, strict=True):
        if picture.shape != pictures[0].shape:
            raise InputError(_sizes(name, picture, names[0], pictures[0].shape))
    return np.stack(pictures)


def _sizes(name: str, picture: Picture, other: str, shape: tuple[int, ...]) -> str:
    sizes = f"{picture.shape[1]} x {picture.shape[0]}, {shape[1]} x {shape[0]}"
    return f"pictures of one folder must have one size, but {name} and {other} have {sizes} pixels"
