"""The settings of an edit as JSON, brought back: all but the photo, of which they hold no pixel, but which they know
again."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from codiff.editing.editors import EDITORS
from codiff.errors import InputError
from codiff.photos.own_photo import OwnPhoto
from codiff.web.condition_kinds import Words, kind_of
from codiff.web.edit_request import QUICK, Framing
from codiff.web.edits import Edits, digest_of
from codiff.web.eye_marks import marked
from codiff.web.field_error import FieldError
from codiff.web.notices import heard
from codiff.web.painting import steering_of
from codiff.web.payloads import read_json
from codiff.web.records import FIELD
from codiff.web.request import Request

_SHARED = (
    "codiff", "model", "weights", "conditions", "seed", "count", "steps", "scheduler", "guidance", "composition",
)  # fmt: skip
"""What the settings of an edit and those of a drawing have in common."""


class _Source(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    kind: str
    data: str


class _Framing(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    eyes: list[list[float]] = []
    face: Annotated[int, Field(ge=0)] | None = None
    aligned: bool = False


class _EditRecord(BaseModel):
    """What is an edit's own; `region` was only told, and `framing` not kept, by the first versions."""

    model_config = ConfigDict(strict=True)

    codiff_edit: Literal[1]
    editor: str
    strengths: dict[str, float]
    source: dict[str, _Source] = {}
    region: str | bool | None = None
    learning: dict[str, Any] | None = None
    photo: str = ""
    framing: _Framing | None = None


@dataclass(frozen=True)
class KnownPhoto:
    """The photo of an edit, as far as settings tell of it.

    Attributes:
        digest: SHA-256 of what editors saw of it.
        framing: which part that was; None where that is not known.
    """

    digest: str
    framing: Framing | None

    def framing_of(self, edits: Edits, photo: OwnPhoto) -> Framing | None:
        """Which part of a photo was edited; None where that is not known, or it is another photo."""
        if self.framing is None:
            return None
        try:
            with heard():
                framed = edits.framed(photo, self.framing)
        except FieldError:  # these eyes, or this face, are not in it
            return None
        return self.framing if digest_of(framed) == self.digest else None


@dataclass(frozen=True)
class RestoredEdit:
    """What the form of an edit shows again.

    Attributes:
        request: target and sampling, checked.
        editor: its name.
        strength: of all modalities; None where they had strengths of their own, which are to be found again.
        learning: how the photo is learned, by name.
        source: modality -> words of what the photo shows.
        region: what the painter of the region shows; "" for nothing.
        photo: what was edited.
        notes: what is not as it was, for people.
    """

    request: Request
    editor: str
    strength: float | None
    learning: str
    source: dict[str, str]
    region: str
    photo: KnownPhoto
    notes: tuple[str, ...]


def restored_edit(edits: Edits, content: bytes) -> RestoredEdit:
    """The settings in a file that somebody sent.

    Raises:
        FieldError: of "record": too large, no settings of an edit, or such as this model or this server cannot take; of
            the input that is wrong in them.
    """
    told = _told(content, edits.engine.limits.record_bytes)
    record = _parsed(told)
    shared = {name: told[name] for name in _SHARED if name in told}
    drawing = edits.engine.restore(json.dumps({"codiff_record": 1, **shared}))
    strengths = set(record.strengths.values())
    strength = strengths.pop() if len(strengths) == 1 else None
    _check_editor(record.editor, strength)
    notes = list(drawing.notes)
    if strength is None:
        notes.append("each input had a strength of its own: they will be found again")
    if record.region is True:
        notes.append("where the photo may change is not in these settings: paint it again")
    return RestoredEdit(
        edits.engine.check(drawing.request).request,
        record.editor,
        strength,
        _learning(edits, record.learning),
        _words(edits, record.source),
        _region(record.region),
        KnownPhoto(record.photo, _framing(record.framing)),
        tuple(notes),
    )


def _told(content: bytes, most: int) -> dict[str, Any]:
    if len(content) > most:
        raise FieldError(FIELD, f"{len(content) / 2**20:.0f} MiB are too many; no settings file is that large")
    try:
        told = read_json(content)
    except InputError as error:
        raise FieldError(FIELD, "this is not a settings file of codiff: open the JSON file of an edit") from error
    if isinstance(told, dict) and "codiff_record" in told:
        raise FieldError(FIELD, "these are settings of a generated picture: open them in the Generate tab")
    if not isinstance(told, dict) or "codiff_edit" not in told:
        raise FieldError(FIELD, "this is not a settings file of codiff: open the JSON file of an edit")
    return told


def _parsed(told: Mapping[str, Any]) -> _EditRecord:
    try:
        return _EditRecord.model_validate(told)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))[:100]
        raise FieldError(
            FIELD, f"these settings of an edit are damaged ({first['msg'][:200]} at {place}): download them again"
        ) from error


def _check_editor(name: str, strength: float | None) -> None:
    if name not in EDITORS:
        raise FieldError(FIELD, f"these settings are of an editor that is not known here: {name!r:.40}")
    kind = EDITORS[name]
    if strength is not None and not (math.isfinite(strength) and kind.low <= strength <= kind.high):
        raise FieldError(FIELD, f"the strength in these settings is not from {kind.low:g} to {kind.high:g}")


def _learning(edits: Edits, stored: Mapping[str, Any] | None) -> str:
    return next((name for name, each in edits.learnings.items() if each.to_json() == stored), QUICK)


def _words(edits: Edits, source: Mapping[str, _Source]) -> dict[str, str]:
    """What somebody wrote of the photo; the rest is read in the photo again."""
    collaborators = edits.engine.pipe.collaborators
    return {
        modality: each.data[: edits.engine.limits.text]
        for modality, each in source.items()
        if modality in collaborators and isinstance(kind_of(collaborators[modality].encoder), Words)
    }


def _region(stored: str | bool | None) -> str:
    if not isinstance(stored, str):
        return ""
    try:
        steering_of(stored)
    except InputError as error:
        raise FieldError(FIELD, "where the photo may change is damaged in these settings") from error
    return stored


def _framing(stored: _Framing | None) -> Framing | None:
    if stored is None:
        return None
    try:
        return Framing(tuple(marked(stored.eyes)), stored.face, stored.aligned)
    except FieldError as error:
        raise FieldError(FIELD, f"the eyes in these settings are damaged: {error}") from error
