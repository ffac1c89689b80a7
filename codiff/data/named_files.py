"""Files of people's own that belong together by their names: pictures in folders, captions and labels in JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codiff.errors import InputError

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_CAPTIONS = '{"face-1.png": "She wears glasses.", ...}, or one {"name": "face-1.png", "text": "..."} a line'
_LABELS = '{"face-1.png": {"beard": "none", "age": "sixties"}, ...}'


def find_named_files(
    folder: Path, suffixes: Sequence[str] = PICTURE_SUFFIXES, what: str = "pictures"
) -> dict[str, Path]:
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
        raise InputError(f"{folder} holds no {what} ({', '.join(suffixes)})")
    return found


def read_named_captions(path: Path) -> dict[str, str]:
    """Name of the picture without ending -> its caption, of a JSON object or of JSON lines.

    Raises:
        InputError: unreadable, of another form, or a caption that is empty or given twice.
    """
    value = _read_json(path, "captions", _CAPTIONS)
    rows = list(value.items()) if isinstance(value, dict) else [(row["name"], row["text"]) for row in value]
    if not rows or not all(isinstance(part, str) for row in rows for part in row):
        raise InputError(f"{path} holds no captions as they are expected: {_CAPTIONS}")
    captions: dict[str, str] = {}
    for name, text in rows:
        if not text.strip() or _stem(name) in captions:
            raise InputError(f"{path}: the caption of {name!r} is {'given twice' if text.strip() else 'empty'}")
        captions[_stem(name)] = text.strip()
    return captions


def read_named_labels(path: Path) -> dict[str, Mapping[str, str]]:
    """Name of the picture without ending -> attribute -> its true class.

    Raises:
        InputError: unreadable or of another form.
    """
    value = _read_json(path, "labels", _LABELS)
    if not isinstance(value, dict) or not all(isinstance(row, dict) and row for row in value.values()):
        raise InputError(f"{path} holds no labels as they are expected: {_LABELS}")
    first: Mapping[str, Any] = next(iter(value.values()), {})
    for name, row in value.items():
        if row.keys() != first.keys() or not all(isinstance(label, str) for label in row.values()):
            raise InputError(f"{path}: {name!r} must have the classes of {', '.join(first)} as words")
    return {_stem(name): row for name, row in value.items()}


def _stem(name: str) -> str:
    return Path(name).stem if Path(name).suffix.lower() in PICTURE_SUFFIXES else name


def _read_json(path: Path, what: str, form: str) -> Any:
    """A JSON object, or the rows of JSON lines that have `name` and `text`."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    try:
        return _object_or_rows(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} holds no {what} as they are expected: {form}") from error


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
