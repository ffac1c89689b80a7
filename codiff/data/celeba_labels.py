"""Labels of CelebA-Dialog: how much of an attribute an image shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from codiff.data.celeba_captions import ATTRIBUTES, check_attributes, index_of
from codiff.errors import InputError

DEGREES = ("0", "1", "2", "3", "4", "5")
"""Classes of every attribute, as the file numbers them."""

FILE = "combined_annotation_hq.txt"
_SPELLINGS = frozenset(name for names in ATTRIBUTES.values() for name in names)
_PLACES = ("", "classification_label")
_HOMES = ("", "CelebA-Dialog", "CelebA-Dialog (HQ)")
_EXPECTED = (
    f"expected CelebA-Dialog's {FILE}: a line of names as Bangs, Eyeglasses, No_Beard, Smiling and Young, then a line "
    "for each image: 12.jpg and a degree from 0 to 5 for each name"
)


def find_labels(*folders: Path) -> Path | None:
    """The label file in one of these folders, in its `classification_label`, or in a folder `CelebA-Dialog` in it."""
    places = [folder / home / place / FILE for folder in folders for home in _HOMES for place in _PLACES]
    return next((path for path in places if path.is_file()), None)


def read_labels_file(path: str | Path, attributes: Sequence[str]) -> dict[str, dict[int, int]]:
    """Attribute -> number of an image -> its class, an index into `DEGREES`.

    Source: Jiang et al., "Talk-to-Edit: Fine-Grained Facial Editing via Dialog", ICCV 2021 (CelebA-Dialog).

    Raises:
        InputError: the file cannot be read, is not of this form, names an image twice, or lacks an attribute.
    """
    check_attributes(attributes)
    lines = _lines(Path(path))
    names = lines.pop(0)[1] if lines else []
    columns = _columns(path, names, attributes)
    width = len(names) + (names[0] in _SPELLINGS)
    found: dict[str, dict[int, int]] = {attribute: {} for attribute in attributes}
    for number, fields in lines:
        try:
            if len(fields) != width:
                raise InputError(f"{len(fields)} fields instead of {width}")
            _add(found, fields, columns)
        except InputError as error:
            raise InputError(f"labels {str(path)!r}, line {number}: {error}; {_EXPECTED}") from error
    return found


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """Number and fields of each line that holds something, without the count that such files may begin with."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"labels {str(path)!r}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"labels {str(path)!r}: this is no text; {_EXPECTED}") from error
    found = [(number, line.split()) for number, line in enumerate(lines, start=1) if line.strip()]
    return found[1:] if found and len(found[0][1]) == 1 and found[0][1][0].isdecimal() else found


def _columns(path: str | Path, names: Sequence[str], attributes: Sequence[str]) -> Mapping[str, int]:
    """Where each attribute stands, counted from the end of a line: the first column may have a name or none."""
    columns = {}
    for attribute in attributes:
        spelling = next((name for name in ATTRIBUTES[attribute] if name in names), None)
        if spelling is None:
            wanted = " or ".join(ATTRIBUTES[attribute])
            raise InputError(f"labels {str(path)!r}: no column {wanted} in {' '.join(names)[:80]!r}; {_EXPECTED}")
        columns[attribute] = names.index(spelling) - len(names)
    return columns


def _add(found: dict[str, dict[int, int]], fields: Sequence[str], columns: Mapping[str, int]) -> None:
    index = index_of(fields[0])
    for attribute, column in columns.items():
        if index in found[attribute]:
            raise InputError(f"image {index} stands there twice")
        if fields[column] not in DEGREES:
            raise InputError(f"{fields[column][:20]!r} is no degree of {attribute}")
        found[attribute][index] = DEGREES.index(fields[column])
