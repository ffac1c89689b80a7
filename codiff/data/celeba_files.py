"""Finding the files of CelebA-HQ in the layouts that it is passed on in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from codiff.data.celeba_masks import LABELS
from codiff.errors import InputError

ENTRIES = 30_000

_HOMES = ("", "dataset", "datasets", "CelebAMask-HQ")
_PARTS_FOLDER = "CelebAMask-HQ-mask-anno"
_PART_FOLDER_SIZE = 2000  # faces in each numbered folder of parts
_CAPTION_PLACES = ("", "text", "CelebA-Dialog", "CelebA-Dialog/text", "CelebA-Dialog (HQ)", "CelebA-Dialog (HQ)/text")
_CAPTION_NAMES = ("captions_hq_beard_and_age*.json", "captions_hq*.json")
_IMAGE = re.compile(r"(\d{1,6})\.(?:jpe?g|png)", re.ASCII | re.IGNORECASE)
_MASK = re.compile(r"(\d{1,6})\.(?:pt|png)", re.ASCII | re.IGNORECASE)
_SKETCH = re.compile(r"(\d{1,6})\.pt", re.ASCII | re.IGNORECASE)
_PART = re.compile(r"(\d{5})_(\w+)\.png", re.ASCII)

_EXPECTED = (
    "expected: the raw download (CelebA-HQ-img/0.jpg, CelebAMask-HQ-mask-anno/0/00000_skin.png), or the published "
    "preprocessed data (image/image_512_downsampled_from_hq_1024/0.jpg), in this folder or in its dataset or datasets"
)


@dataclass(frozen=True)
class Entry:
    """The files of one image; None where there is none. `parts` are those of a raw mask, by name."""

    index: int
    image: Path | None
    mask: Path | None
    parts: Mapping[str, Path]
    sketch: Path | None


@dataclass(frozen=True)
class CelebAFiles:
    """What lies in one folder of CelebA-HQ.

    Attributes:
        layout: "raw" (masks in parts) or "preprocessed".
        image_folder, parts_folder, mask_folder, sketch_folder: the folders; None where there is none.
        images, masks, sketches: files by number.
        parts: names of the parts of each raw mask, by number.
        captions: the caption files, those of beard and age alone first.
        strays: files that no image can have, or that stand twice.
    """

    layout: str
    image_folder: Path
    parts_folder: Path | None
    mask_folder: Path | None
    sketch_folder: Path | None
    images: Mapping[int, Path]
    masks: Mapping[int, Path]
    sketches: Mapping[int, Path]
    parts: Mapping[int, Sequence[str]]
    captions: Sequence[Path]
    strays: Sequence[Path]

    @property
    def has_masks(self) -> bool:
        """Whether there are masks of either kind."""
        return self.parts_folder is not None or self.mask_folder is not None

    def entry(self, index: int) -> Entry:
        """The files of image number `index`."""
        parts = {part: self.part(index, part) for part in self.parts.get(index, ())}
        return Entry(index, self.images.get(index), self.masks.get(index), parts, self.sketches.get(index))

    def part(self, index: int, name: str) -> Path:
        """Where a part of a raw mask has its place."""
        folder = self.parts_folder or self.image_folder.parent / _PARTS_FOLDER
        return folder / str(index // _PART_FOLDER_SIZE) / f"{index:05d}_{name}.png"


def find_files(root: str | Path) -> CelebAFiles:
    """The files of CelebA-HQ in `root`, or in its `dataset`, `datasets` or `CelebAMask-HQ`.

    Layouts, the first that is found:

    - raw: `CelebA-HQ-img/12.jpg`, `CelebAMask-HQ-mask-anno/0/00012_skin.png`;
    - preprocessed, as published: `image/image_512_downsampled_from_hq_1024/12.jpg`, or that folder or its 256-pixel
      sibling directly below (as the published 256-pixel settings read it), `mask/*/12.pt`, `sketch/*/12.pt`;
    - CelebA-Dialog's own: `image/12.jpg`.

    Captions are `captions_hq*.json` there, in `text`, or in a folder `CelebA-Dialog` beside the images. Where images
    are there in several sizes, the largest are taken.

    Raises:
        InputError: no such folder, it cannot be read, or none of these layouts is in it.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"there is no folder {root}; give the one that holds CelebA-HQ")
    try:
        for home in (root / name for name in _HOMES):
            folder = _image_folder(home)
            if folder is not None:
                return _files(root, home, folder)
    except OSError as error:
        raise InputError(f"{root} cannot be read: {error.strerror or error}") from error
    raise InputError(f"no CelebA-HQ images in {root}; {_EXPECTED}")


def _image_folder(home: Path) -> Path | None:
    raw = home / "CelebA-HQ-img"
    if raw.is_dir():
        return raw
    pattern = re.compile(r"image_(\d+)_downsampled_from_hq_1024", re.ASCII)
    sized = [
        (int(found[1]), folder)
        for place in (home, home / "image")
        for folder in (place.iterdir() if place.is_dir() else ())
        if (found := pattern.fullmatch(folder.name)) and folder.is_dir()
    ]
    if sized:
        return max(sized)[1]
    plain = home / "image"
    return plain if plain.is_dir() and any(_IMAGE.fullmatch(path.name) for path in plain.iterdir()) else None


def _files(root: Path, home: Path, image_folder: Path) -> CelebAFiles:
    strays: list[Path] = []
    parts_folder = home / _PARTS_FOLDER if (home / _PARTS_FOLDER).is_dir() else None
    mask_folder = None if parts_folder else _numbered_folder(home / "mask", _MASK)
    sketch_folder = _numbered_folder(home / "sketch", _SKETCH)
    return CelebAFiles(
        layout="raw" if image_folder.name == "CelebA-HQ-img" else "preprocessed",
        image_folder=image_folder,
        parts_folder=parts_folder,
        mask_folder=mask_folder,
        sketch_folder=sketch_folder,
        images=_numbered(image_folder, _IMAGE, strays),
        masks=_numbered(mask_folder, _MASK, strays),
        sketches=_numbered(sketch_folder, _SKETCH, strays),
        parts=_parts(parts_folder, strays),
        captions=_caption_files(dict.fromkeys((home, root))),
        strays=strays,
    )


def _numbered_folder(home: Path, pattern: re.Pattern[str]) -> Path | None:
    """The folder below `home`, or `home` itself, that holds files with numbers as names."""
    if not home.is_dir():
        return None
    folders = [*sorted(path for path in home.iterdir() if path.is_dir()), home]
    return next((folder for folder in folders if any(pattern.fullmatch(path.name) for path in folder.iterdir())), None)


def _numbered(folder: Path | None, pattern: re.Pattern[str], strays: list[Path]) -> dict[int, Path]:
    """Files by their number, in its order."""
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()) if folder else ():
        match = pattern.fullmatch(path.name)
        if match and int(match[1]) not in found and path.is_file():
            found[int(match[1])] = path
        elif not path.name.startswith(".") and not path.is_dir():
            strays.append(path)
    return dict(sorted(found.items()))


def _parts(folder: Path | None, strays: list[Path]) -> dict[int, list[str]]:
    """Names of the parts that each face has, by its number."""
    found: dict[int, list[str]] = {}
    for path in _part_files(folder) if folder else ():
        match = _PART.fullmatch(path.name)
        if match and match[2] in LABELS and path.parent.name == str(int(match[1]) // _PART_FOLDER_SIZE):
            found.setdefault(int(match[1]), []).append(match[2])
        elif not path.name.startswith("."):
            strays.append(path)
    return dict(sorted(found.items()))


def _part_files(folder: Path) -> Iterator[Path]:
    for inner in sorted(folder.iterdir()):
        if inner.is_dir():
            yield from sorted(inner.iterdir())


def _caption_files(homes: Mapping[Path, None]) -> list[Path]:
    places = [home / place for home in homes for place in _CAPTION_PLACES]
    found = [path for name in _CAPTION_NAMES for place in places if place.is_dir() for path in sorted(place.glob(name))]
    return list(dict.fromkeys(found))
