"""Requests as JSON and back: one file restores everything, to the same picture."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError

import codiff
from codiff.cli.requests import MOST_SEED
from codiff.composition import InfluenceBias
from codiff.errors import InputError
from codiff.pipeline import CollaborativePipeline
from codiff.png_metadata import METADATA_KEY
from codiff.web.condition_kinds import Words, kind_of
from codiff.web.field_error import FieldError
from codiff.web.limits import Limits
from codiff.web.request import Checked, Request

FIELD = "record"
IN_PICTURES = "record"
"""Key of a picture's metadata that holds what restores it."""

_VERSION = 1
_MOST_IN_PICTURES = 2**18  # characters: no picture becomes many times as large by what it carries
_PNG = b"\x89PNG\r\n\x1a\n"
_NO_SETTINGS = "this picture holds no settings of codiff; load the JSON file instead"
_Name = Annotated[str, Field(max_length=200)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Condition(_Strict):
    kind: Literal["words", "labels", "drawing", "file"]
    data: str


class _Bias(_Strict):
    strengths: dict[_Name, _Finite] = {}
    maps: dict[_Name, str] = {}
    curves: dict[_Name, list[tuple[_Finite, _Finite]]] = {}
    timesteps: Annotated[int, Field(ge=1, le=1_000_000)] = 1000


class _Record(_Strict):
    """The form of a record; `codiff_record` is its version."""

    codiff_record: Literal[1]
    codiff: _Name
    model: _Name
    weights: _Name
    conditions: Annotated[dict[_Name, _Condition], Field(min_length=1, max_length=100)]
    seed: Annotated[int, Field(ge=0, le=MOST_SEED)]
    count: int
    steps: int
    scheduler: _Name | None
    guidance: _Finite | None
    composition: _Name | None
    bias: _Bias | None = None


@dataclass(frozen=True)
class Restored:
    """A request from a record; it is still to be checked.

    Attributes:
        request: what was asked for.
        notes: why the pictures will not be the same, for people.
    """

    request: Request
    notes: tuple[str, ...] = ()


def record_of(pipe: CollaborativePipeline, checked: Checked) -> dict[str, Any]:
    """The record of a checked request, as JSON can hold it."""
    request, settings = checked.request, checked.settings
    stored = {}
    for modality, plain in request.conditions.items():
        kind = kind_of(pipe.collaborators[modality].encoder)
        stored[modality] = {"kind": kind.name, "data": kind.stored(plain)}
    return {
        "codiff_record": _VERSION,
        "codiff": codiff.__version__,
        "model": settings.model,
        "weights": settings.weights,
        "seed": request.seed,
        "count": request.count,
        "steps": settings.steps,
        "scheduler": settings.scheduler,
        "guidance": settings.guidance,
        "composition": settings.composition,
        "conditions": stored,
        "bias": None if request.bias is None else stored_bias(request.bias),
    }


def carried(record: dict[str, Any]) -> dict[str, Any]:
    """What a picture's metadata hold besides so that it alone restores its request: the record by a key; nothing where
    that is too long, as of large files."""
    return {IN_PICTURES: record} if len(json.dumps(record)) <= _MOST_IN_PICTURES else {}


def restored(
    content: bytes | str, pipe: CollaborativePipeline, limits: Limits, *, model: str, weights: str
) -> Restored:
    """The request in a record that somebody sent, or what a picture of ours tells of it.

    Args:
        content: a JSON file, or a PNG with codiff's metadata.
        pipe: for which it is meant.
        model, weights: of that pipeline, as records call them.

    Raises:
        FieldError: of "record": too large, no record, or one that this model cannot take.
    """
    data = content.encode(errors="replace") if isinstance(content, str) else content
    if len(data) > limits.record_bytes:
        raise FieldError(FIELD, f"{len(data) / 2**20:.0f} MiB are too many; no settings file is that large")
    if data.startswith(_PNG):
        told = _told_by(data, limits)
        if IN_PICTURES not in told:
            return _from_metadata(told, pipe, model, weights)
        data = json.dumps(told[IN_PICTURES]).encode()
    record = _parsed(data)
    try:
        conditions = {modality: _condition(pipe, modality, each) for modality, each in record.conditions.items()}
        bias = None if record.bias is None else _restored_bias(record.bias, limits)
    except InputError as error:
        raise FieldError(FIELD, f"these settings cannot be used: {error}") from error
    request = Request(
        conditions,
        seed=record.seed,
        count=record.count,
        steps=record.steps,
        scheduler=record.scheduler,
        guidance=record.guidance,
        composition=record.composition,
        bias=bias,
    )
    return Restored(request, _other_model(record.model, record.weights, model, weights))


def _parsed(data: bytes) -> _Record:
    try:
        return _Record.model_validate_json(data)
    except ValidationError as error:
        raise FieldError(FIELD, _why_none(data, error)) from error


def _why_none(data: bytes, error: ValidationError) -> str:
    """What to tell of a file that is no record."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    keys = found if isinstance(found, dict) else {}
    if "codiff_edit" in keys:
        return "these are settings of an edit: open them in the Edit tab"
    load = "load the JSON file that came with a picture, or the picture itself"
    if "codiff_record" not in keys:
        return f"this is not a settings file of codiff; {load}"
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"]))
    what = f"{place[:100]}: {first['msg'][:200]}" if place else first["msg"][:200]
    return f"this is not a settings file of codiff as it was written: it was changed or damaged ({what}); {load}"


def _condition(pipe: CollaborativePipeline, modality: str, stored: _Condition) -> Any:
    if modality not in pipe.modalities:
        raise InputError(f"it has a condition {modality[:40]!r}, and this model takes {', '.join(pipe.modalities)}")
    kind = kind_of(pipe.collaborators[modality].encoder)
    if stored.kind != kind.name:
        raise InputError(f"its {modality} is of the kind {stored.kind}, and this model takes {kind.name}")
    try:
        return kind.restored(stored.data)
    except InputError as error:
        raise InputError(f"{modality}: {error}") from error


def _other_model(model: str, weights: str, ours: str, our_weights: str) -> tuple[str, ...]:
    if weights == our_weights:
        return ()
    which = "another version of this model" if model == ours else f"the model {model[:100]}"
    return (f"these settings were made with {which}: the pictures will be others",)


def stored_bias(bias: InfluenceBias) -> dict[str, Any]:
    """Steering as JSON can hold it, to the bit.

    Raises:
        InputError: a curve is a function, which no file can hold.
    """
    return {
        "strengths": dict(bias.strengths),
        "maps": {modality: _stored_plane(plane.numpy()) for modality, plane in bias.maps.items()},
        "curves": {modality: [list(point) for point in points] for modality, points in _points(bias).items()},
        "timesteps": bias.timesteps,
    }


def _points(bias: InfluenceBias) -> dict[str, list[tuple[float, float]]]:
    points = {}
    for modality, curve in bias.curves.items():
        if callable(curve):
            raise InputError(f"the curve of {modality!r} must be a list of points here, not a function")
        points[modality] = list(curve)
    return points


def _restored_bias(stored: _Bias, limits: Limits) -> InfluenceBias:
    maps = {modality: _restored_plane(data, limits) for modality, data in stored.maps.items()}
    return InfluenceBias(stored.strengths, maps, stored.curves, timesteps=stored.timesteps)


def _stored_plane(plane: np.ndarray) -> str:
    """A float32 plane (h, w) to the bit: a grey PNG (h, 4 w) of its bytes, the lowest first."""
    raw = np.ascontiguousarray(plane.astype("<f4")).view(np.uint8)
    content = io.BytesIO()
    Image.fromarray(raw).save(content, format="PNG", optimize=True)
    return base64.b64encode(content.getvalue()).decode()


def _restored_plane(stored: str, limits: Limits) -> np.ndarray:
    wrong = InputError("a map of its bias is damaged")
    try:
        content = base64.b64decode(stored, validate=True)
        with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
            width, height = picture.size
            if picture.mode != "L" or width % 4 or max(width // 4, height) > limits.condition_side:
                raise wrong
            raw = np.array(picture)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise wrong from error
    return raw.view("<f4").astype(np.float32)


def _told_by(data: bytes, limits: Limits) -> dict[str, Any]:
    """The metadata of a picture of ours."""
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            if picture.width * picture.height > limits.pixels:
                raise FieldError(FIELD, "this picture is too large to be one of codiff's")
            picture.load()
            told = json.loads(picture.info.get(METADATA_KEY, "null"))
    except (OSError, ValueError, SyntaxError, TypeError, RecursionError) as error:
        if isinstance(error, FieldError):
            raise
        raise FieldError(FIELD, _NO_SETTINGS) from error
    if not isinstance(told, dict):
        raise FieldError(FIELD, _NO_SETTINGS)
    return told


def _from_metadata(told: dict[str, Any], pipe: CollaborativePipeline, model: str, weights: str) -> Restored:
    """What a picture of the command line tells, or one whose record was too long: words and settings alone."""
    try:
        settings, given = told["settings"], told["conditions"]
        words = {modality: str(each["given"]) for modality, each in given.items() if _is_words(pipe, modality)}
        request = Request(
            words,
            seed=told["seed"],
            steps=settings["steps"],
            scheduler=settings["scheduler"],
            guidance=settings["guidance"],
            composition=settings["composition"],
        )
        made_with = str(settings.get("model", model)), str(settings.get("weights", weights))
        eta = settings.get("eta")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FieldError(FIELD, _NO_SETTINGS) from error
    notes = _missing([modality for modality in given if modality not in words])
    if told.get("steering"):
        notes.append("this picture was steered, which is left out here: load the JSON file for it, or steer again")
    if eta:
        notes.append(
            f"this picture was drawn with eta {eta!r:.40}, and here eta is 0: another picture would come of it"
        )
    return Restored(request, (*notes, *_other_model(*made_with, model, weights)))


def _missing(modalities: Sequence[str]) -> list[str]:
    """What to tell of conditions that a picture names and does not hold."""
    if not modalities:
        return []
    names, off = ", ".join(modality[:40] for modality in modalities), "they are" if len(modalities) > 1 else "it is"
    return [
        f"this picture does not hold its {names}, so {off} switched off and another picture would come of it; load the "
        "JSON file for all of it"
    ]


def _is_words(pipe: CollaborativePipeline, modality: str) -> bool:
    return modality in pipe.modalities and isinstance(kind_of(pipe.collaborators[modality].encoder), Words)
