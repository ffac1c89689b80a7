"""What `--steer` reads: by how much each modality's influence is raised or lowered, where and when."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, ValidationError

from codiff.cli.outputs import is_file
from codiff.composition import InfluenceBias, check_modalities
from codiff.errors import InputError
from codiff.image_files import ImageSource, open_image, open_raw

MAP_SCALE = 3.0
"""Nats of white, or of red, in a map whose file states no scale: odds times 20."""

_MOST_FILE = 1_000_000  # characters
_COLOURED = 16  # levels of 255 between red and blue that no grey picture has, not even as JPEG
_FULL = 140  # such levels of a red or a blue that counts in full: no pure one is needed
_EXAMPLE = '{"mask": {"strength": 0.5, "curve": [[1, 1], [0, 0]], "map": "brush.png", "scale": 3}}'


class _Entry(BaseModel):
    """One modality's part of the file; what values are allowed, `InfluenceBias` knows."""

    model_config = ConfigDict(extra="forbid", strict=True)

    strength: float = 0.0
    curve: list[list[float]] | None = None
    map: str | None = None
    scale: float = MAP_SCALE


def read_steering(path: Path, modalities: Sequence[str], timesteps: int) -> InfluenceBias:
    """The steering that a JSON file describes; see `parse_steering`. Paths are taken from the file's own folder.

    Raises:
        InputError: unreadable, or wrong; names the file.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text file in UTF-8: {error}; it should be like {_EXAMPLE}") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    if len(text) > _MOST_FILE:
        raise InputError(f"{path} has {len(text):,} characters; give maps by their paths")
    with naming(str(path)):
        try:
            table = json.loads(text, object_pairs_hook=_distinct)
        except (json.JSONDecodeError, RecursionError) as error:
            raise InputError(f"not JSON ({error}); it should be like {_EXAMPLE}") from error
        return parse_steering(table, path.parent, modalities, timesteps)


@contextmanager
def naming(what: str) -> Iterator[None]:
    """Errors inside name a file or a key."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{what}: {error}") from error


def parse_steering(table: Any, home: Path, modalities: Sequence[str], timesteps: int) -> InfluenceBias:
    """Steering as JSON holds it: modality -> {"strength": nats, "curve": points, "map": path, "scale": nats}.

    Args:
        table: what was decoded.
        home: folder that paths of maps are taken from, or else from the working folder.
        modalities: of the model.
        timesteps: of its training schedule.

    Raises:
        InputError: another form, an unknown modality or key, a value out of range, or an unreadable map.
    """
    if not isinstance(table, dict) or not table:
        raise InputError(f"a JSON object of modalities is expected, like {_EXAMPLE}")
    check_modalities(table, dict.fromkeys(modalities))
    entries = {modality: _entry(modality, value) for modality, value in table.items()}
    given = [(modality, entry.map, entry.scale) for modality, entry in entries.items() if entry.map is not None]
    return InfluenceBias(
        {modality: entry.strength for modality, entry in entries.items()},
        {modality: _read_map(modality, name, scale, home) for modality, name, scale in given},
        {modality: entry.curve for modality, entry in entries.items() if entry.curve is not None},
        timesteps=timesteps,
    )


def training_timesteps(model: Path) -> int:
    """Of a model's noise schedule, without loading it; 1000 where its folder does not say."""
    try:
        config = json.loads((model / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
        return int(config["num_train_timesteps"])
    except (OSError, ValueError, KeyError, TypeError):  # a broken model is told of when it is loaded
        return 1000


def bias_values(source: ImageSource, what: str) -> NDArray[np.float32]:
    """What a picture raises and lowers: (height, width) in [-1, 1].

    A picture without colour counts by its greys: white raises (1), black lowers (-1), mid-grey (127 or 128) does
    nothing. In one with colour red raises and blue lowers, by (red - blue) / 140 of 255 levels, at most 1; greys, white
    and black do nothing. What is transparent does nothing in either.

    Raises:
        InputError: not a readable picture, not square, or a single shade, which a strength says plainly.
    """
    picture = open_raw(source, what)
    if picture.has_transparency_data:
        paper = Image.new("RGBA", picture.size, (128, 128, 128, 255))
        picture = Image.alpha_composite(paper, picture.convert("RGBA")).convert("RGB")
    levels = np.asarray(open_image(picture, what=what), dtype=np.float32)  # (height, width, 3)
    if picture.width != picture.height:
        raise InputError(f"{what}: {picture.width} x {picture.height} pixels, but a square is expected, as images are")
    chroma = levels[..., 0] - levels[..., 2]
    if np.abs(chroma).max() > _COLOURED:
        return np.clip(chroma / np.float32(_FULL), -1, 1)
    grey = levels.mean(axis=-1)
    values = (np.maximum(grey - 128, 0) - np.maximum(127 - grey, 0)) / np.float32(127)
    if values.min() == values.max() != 0:
        raise InputError(f"{what}: the same everywhere, so it is not a map; write a strength instead")
    return values


def recorded(bias: InfluenceBias) -> dict[str, dict[str, Any]]:
    """A bias as metadata and digests hold it: maps by their size, range and SHA-256.

    Raises:
        InputError: a curve is a function, which nothing can record.
    """
    record: dict[str, dict[str, Any]] = {}
    for modality in bias.modalities:
        entry: dict[str, Any] = {"strength": bias.strengths.get(modality, 0.0)}
        curve, plane = bias.curves.get(modality), bias.maps.get(modality)
        if callable(curve):
            raise InputError(f"the curve of {modality!r} is a function, which cannot be recorded; give points")
        if curve is not None:
            entry["curve"] = [list(point) for point in curve]
        if plane is not None:
            digest = hashlib.sha256(plane.numpy().tobytes()).hexdigest()
            entry["map"] = {"size": list(plane.shape), "from": float(plane.min()), "to": float(plane.max())}
            entry["map"]["sha256"] = digest
        record[modality] = entry
    return record


def told(bias: InfluenceBias) -> str:
    """A bias in words: "steered: mask +0.5 with a map and a curve"."""
    parts = []
    for modality in bias.modalities:
        extras = [word for word, given in (("map", bias.maps), ("curve", bias.curves)) if modality in given]
        with_extras = f" with a {' and a '.join(extras)}" if extras else ""
        parts.append(f"{modality} {bias.strengths.get(modality, 0.0):+g}{with_extras}")
    return f"steered: {', '.join(parts)}"


def _entry(modality: str, value: Any) -> _Entry:
    if not isinstance(value, dict):
        raise InputError(f'{modality} must be an object like {{"strength": 0.5}}, not {value!r:.100}')
    try:
        return _Entry.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        if first["type"] != "extra_forbidden":
            raise InputError(f"{modality}.{name}: {first['msg']}, not {value[name]!r:.100}") from error
        close = difflib.get_close_matches(name, _Entry.model_fields, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        known = ", ".join(_Entry.model_fields)
        raise InputError(f"{modality}: unknown key {name!r}{hint}; known: {known}") from error


def _read_map(modality: str, name: str, scale: float, home: Path) -> NDArray[np.float32]:
    """Nats (height, width)."""
    path = str(home / name)
    return bias_values(path if is_file(path) else name, f"{modality}.map") * np.float32(scale)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys differ, which JSON itself does not ask for."""
    names = [name for name, _ in pairs]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"{twice[0]!r} is there twice; keep one of them")
    return dict(pairs)
