"""Pictures that any software made, with what they are held against, from folders: equal names belong together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from codiff.errors import InputError
from codiff.evaluation.benchmark_data import Case, Picture, Pictures
from codiff.image_files import open_image
from codiff.modalities.mask import read_labels, resize_labels

_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_MASK_SUFFIXES = (*_SUFFIXES, ".pt")
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
        self.paths = found_files(folders.images, _SUFFIXES, "pictures")
        self.names = list(self.paths)
        self.masks = {} if folders.masks is None else found_files(folders.masks, _MASK_SUFFIXES, "masks")
        self.captions = {} if folders.captions is None else read_captions(folders.captions)
        self.labels = {} if folders.labels is None else read_labels_file(folders.labels)
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
    paths = found_files(folder, _SUFFIXES, "pictures")
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
            sizes = f"{picture.shape[1]} x {picture.shape[0]}, {pictures[0].shape[1]} x {pictures[0].shape[0]}"
            raise InputError(
                f"pictures of one folder must have one size, but {name} and {names[0]} have {sizes} pixels"
            )
    return np.stack(pictures)


def found_files(folder: Path, suffixes: Sequence[str], what: str) -> dict[str, Path]:
    """Name without ending -> file, sorted by name.

    Raises:
        InputError: there is no such folder, it holds none, or two of the same name.
    """
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}; give one that holds {what}")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in suffixes or path.name[0] == ".":
            continue
        if path.stem in found:
            raise InputError(f"{found[path.stem]} and {path.name} have the same name; keep one of them")
        found[path.stem] = path
    if not found:
        raise InputError(f"{folder} holds no {what} ({', '.join(suffixes)}): nothing can be measured")
    return found


def read_captions(path: Path) -> dict[str, str]:
    """Name of the picture without ending -> its caption.

    Raises:
        InputError: unreadable, of another form, or an empty caption.
    """
    form = '{"face-1.png": "She wears glasses.", ...}, or one {"name": "face-1.png", "text": "..."} a line'
    value = _read_json(path, form)
    rows = value.items() if isinstance(value, dict) else [(row["name"], row["text"]) for row in value]
    captions = {_stem(name): text for name, text in rows}
    wrong = [name for name, text in captions.items() if not isinstance(text, str) or not text.strip()]
    if wrong or not captions:
        raise InputError(f"{path}: {'the caption of ' + repr(wrong[0]) if wrong else 'it'} is empty; expected: {form}")
    return captions


def read_labels_file(path: Path) -> dict[str, Mapping[str, str]]:
    """Name of the picture without ending -> attribute -> its true class.

    Raises:
        InputError: unreadable or of another form.
    """
    form = '{"face-1.png": {"beard": "none", "age": "sixties"}, ...}'
    value = _read_json(path, form)
    if not isinstance(value, dict) or not all(isinstance(row, dict) and row for row in value.values()):
        raise InputError(f"{path} holds no labels as they are expected: {form}")
    first: Mapping[str, Any] = next(iter(value.values()), {})
    for name, row in value.items():
        if row.keys() != first.keys() or not all(isinstance(label, str) for label in row.values()):
            raise InputError(f"{path}: {name!r} must have the classes of {', '.join(first)} as words")
    return {_stem(name): row for name, row in value.items()}


def _stem(name: str) -> str:
    return Path(name).stem if Path(name).suffix.lower() in _SUFFIXES else name


def _read_json(path: Path, form: str) -> Any:
    """A JSON object, or the rows of JSON lines that have `name` and `text`."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    try:
        return _object_or_rows(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not as expected: {form}") from error


def _object_or_rows(text: str) -> Any:
    try:
        whole = json.loads(text)
    except ValueError:
        rows = [json.loads(line) for line in text.split("\n") if line.strip()]
    else:
        if isinstance(whole, dict) and not {"name", "text"} <= whole.keys():
            return whole
        rows = [whole]
    if not rows or not all(isinstance(row, dict) and {"name", "text"} <= row.keys() for row in rows):
        raise ValueError("neither an object nor rows of name and text")
    return rows
