"""Captions of CelebA-Dialog, as its own file holds them and as the published preprocessed one does."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codiff.errors import InputError
from codiff.image_files import looks_like

ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "bangs": ("Bangs",),
    "eyeglasses": ("Eyeglasses",),
    "beard": ("No_Beard", "Beard"),
    "smiling": ("Smiling",),
    "age": ("Young", "Age"),
}
"""The five attributes that captions tell of, in their order, each with its spellings in the files."""

PAPER_ATTRIBUTES = ("beard", "age")
"""What the paper keeps: all else shows in the mask already."""

WITHOUT_CAPTION = frozenset({5380})
"""Images of CelebA-HQ that CelebA-Dialog has no caption for."""

_PREPROCESSED = "Beard_and_Age"
_EXPECTED = (
    "expected: one JSON object that gives each image name, as 12.jpg, its caption: words, a list of wordings, "
    f'{{"{_PREPROCESSED}": ...}}, or {{"attribute_wise_captions": {{...}}, "overall_caption": ...}}'
)

_UNWRITABLE = re.compile("[\0\ud800-\udfff]")  # NUL and halves of a pair: JSON can name them, UTF-8 files cannot
_REPEATED = object()  # stands where an object has a name twice, of which JSON readers take the last in silence

Captions = dict[int, tuple[str, ...]]
"""Image number -> wordings, in the order of the file; empty where an image has no caption."""


def read_captions(path: str | Path, attributes: Sequence[str] = PAPER_ATTRIBUTES) -> Captions:
    """All captions of a file, told of these attributes alone.

    Accepted values, by image name (`12.jpg`, `12`, `00012.png`): CelebA-Dialog's own (`captions_hq.json`:
    `attribute_wise_captions` by attribute and an `overall_caption`), the published preprocessed one
    (`captions_hq_beard_and_age_2022-08-19.json`: `Beard_and_Age`), plain words, or a list of wordings. Files of plain
    words cannot be divided by attribute and are taken as they are. Asked for all five attributes, an image has two
    wordings: the overall caption, and the sentences of the attributes in a row.
    Source: Jiang et al., "Talk-to-Edit: Fine-Grained Facial Editing via Dialog", ICCV 2021 (CelebA-Dialog).

    Raises:
        InputError: the file cannot be read, is not of this form, names an image twice, or does not tell of one of the
            attributes; or an attribute is unknown.
    """
    check_attributes(attributes)
    captions: Captions = {}
    for name, value in load_captions(path).items():
        try:
            index = index_of(name)
            if index in captions:
                raise InputError(f"image {index} has two captions")
            captions[index] = wordings(value, attributes)
        except InputError as error:
            raise InputError(f"captions {str(path)!r}, {name[:80]!r}: {error}") from error
    return captions


def check_attributes(attributes: Sequence[str]) -> None:
    """Refuse unknown attributes, and none (InputError)."""
    unknown = [attribute for attribute in attributes if attribute not in ATTRIBUTES]
    if unknown or not attributes:
        found = f"unknown attribute {unknown[0]!r}" if unknown else "no attribute"
        raise InputError(f"captions: {found}; choose from {', '.join(ATTRIBUTES)}")


def load_captions(path: str | Path) -> dict[str, Any]:
    """The JSON object of a caption file: image name -> whatever is told of it, which `wordings` reads.

    Raises:
        InputError: the file cannot be read or is not a JSON object.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"captions {str(path)!r}: cannot be read: {error.strerror or error}") from error
    try:
        value = json.loads(content, object_pairs_hook=_marking_repetitions)
    except (ValueError, RecursionError) as error:
        looks = looks_like(content[:512])
        raise InputError(f"captions {str(path)!r}: not valid JSON ({error}); it looks like {looks}") from error
    if not isinstance(value, dict) or not value:
        found = "no caption" if value in ({}, []) else f"a JSON {type(value).__name__}"
        raise InputError(f"captions {str(path)!r}: it holds {found}; {_EXPECTED}")
    return value


def _marking_repetitions(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        found[name] = _REPEATED if name in found else value
    return found


def _once(value: Any) -> Any:
    if value is _REPEATED:
        raise InputError("a name stands twice; it cannot be known which one is meant; keep one")
    return value


def index_of(name: str) -> int:
    """The number of an image name like 12.jpg.

    Raises:
        InputError: the name is no number.
    """
    found = re.fullmatch(r"(\d{1,9})(\.(jpe?g|png))?", name, re.ASCII | re.IGNORECASE)
    if found is None:
        raise InputError("this is not the name of an image; a number like 12.jpg is expected")
    return int(found[1])


def wordings(value: Any, attributes: Sequence[str]) -> tuple[str, ...]:
    """Captions that say the same of one image, told of these attributes; empty where nothing is told.

    Raises:
        InputError: not one of the accepted forms, one of the attributes is not told apart, a name stands twice, or
            words cannot be written into a file.
    """
    if isinstance(value, dict) and _PREPROCESSED in value:
        if set(attributes) != set(PAPER_ATTRIBUTES):
            known = " and ".join(PAPER_ATTRIBUTES)
            raise InputError(f"it tells of {known} alone; use CelebA-Dialog's captions_hq.json")
        value = value[_PREPROCESSED]
    if isinstance(value, dict):
        return _of_attributes(value, attributes)
    told = value if isinstance(value, list) else [value]
    return tuple(_clean([_words(each) for each in told]))


def _of_attributes(value: dict[str, Any], attributes: Sequence[str]) -> tuple[str, ...]:
    """Wordings of CelebA-Dialog's own form."""
    sentences = _once(value.get("attribute_wise_captions", value))
    if not isinstance(sentences, dict):
        raise InputError(f"attribute_wise_captions is a {type(sentences).__name__}; {_EXPECTED}")
    told = []
    for attribute in (name for name in ATTRIBUTES if name in attributes):
        spelling = next((key for key in ATTRIBUTES[attribute] if key in sentences), None)
        if spelling is None:
            raise InputError(f"it has no sentence for {attribute} ({' or '.join(ATTRIBUTES[attribute])}); {_EXPECTED}")
        told.append(_words(sentences[spelling]))
    joined = " ".join(_clean(told))
    overall = [_words(value.get("overall_caption"))] if set(attributes) == set(ATTRIBUTES) else []
    return tuple(_clean([*overall, joined]))


def _words(value: Any) -> str:
    """A sentence with single spaces; empty for null, which stands where an attribute does not apply."""
    if _once(value) is None:
        return ""
    if not isinstance(value, str):
        raise InputError(f"words are expected, not a JSON {type(value).__name__}; {_EXPECTED}")
    unwritable = _UNWRITABLE.search(value)
    if unwritable:
        raise InputError(f"its words hold {unwritable[0]!r}, which no text file can; write the caption again")
    return " ".join(value.split())


def _clean(sentences: Sequence[str]) -> list[str]:
    """Without empty ones and repetitions, in the same order."""
    return list(dict.fromkeys(sentence for sentence in sentences if sentence))
