"""The files of an edit in a session's folder, and what the page shows of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from codiff.cli.edit_files import write_edit
from codiff.cli.edit_plan import Plan
from codiff.cli.outputs import Signer, save_png
from codiff.editing import Edit
from codiff.editing.strength import StrengthSearch, told
from codiff.pipeline import CollaborativePipeline
from codiff.web.condition_kinds import kind_of
from codiff.web.edit_request import CheckedEdit
from codiff.web.editor_names import shown_name
from codiff.web.exports import write_archive, write_record
from codiff.web.painting import painted_steering
from codiff.web.records import record_of

_VERSION = 1
_SHOWN = 1024  # pixels of a whole photo's longer side, as the page shows it


@dataclass(frozen=True)
class Found:
    """What an edit came to, before it is written.

    Attributes:
        edit: the pictures.
        strengths: by modality.
        search: how they were found; None where they were given.
        kept: how well each picture keeps the person, about 0 to 1; None where nobody judges that.
        learning, all: seconds.
    """

    edit: Edit
    strengths: dict[str, float]
    search: StrengthSearch | None
    kept: list[float] | None
    learning: float
    all: float


@dataclass(frozen=True)
class View:
    """A picture of the result, and what it was.

    Attributes:
        caption: what the page says of it.
        path: the signed file.
        before, after: files of one size, for looking at.
    """

    caption: str
    path: Path
    before: Path
    after: Path


@dataclass(frozen=True)
class EditResult:
    """What was edited; all files lie in the session's folder.

    Attributes:
        views: whole photos, where a face was cut out of them, and then faces at the model's size.
        search: all strengths that were tried; None where one was given.
        curve: of their scores, as a file; None where there are none.
        figures: the overview, and where a strength was found the strip.
        record: what was asked for and found, as JSON can hold it.
        record_path: that as a file.
        archive_path: a zip file of pictures, figures, conditions and record.
        summary: what was done, in words.
        seconds: of work.
        notes: how inputs were adapted, for people.
    """

    views: list[View]
    search: StrengthSearch | None
    curve: Path | None
    figures: list[Path]
    record: dict[str, Any]
    record_path: Path
    archive_path: Path
    summary: str
    seconds: float
    notes: tuple[str, ...] = ()


def stored(
    pipe: CollaborativePipeline,
    edit: CheckedEdit,
    plan: Plan,
    found: Found,
    signer: Signer | None,
    notes: Sequence[str] = (),
) -> EditResult:
    """Write what an edit came to, as the command line does, and what the page needs besides."""
    write_edit(pipe, plan, found.strengths, [found.edit], found.search, signer)
    views = _views(plan, found, signer)
    searched = found.search is not None
    curve = plan.extra("curve") if searched else None
    figures = [plan.outputs.grid, *([plan.extra("curve"), plan.extra("strip")] if searched else [])]
    record = _record(pipe, edit, found)
    record_path = write_record(plan.outputs.folder, record)
    pictures = [*(view.path for view in views), *figures]
    return EditResult(
        views=views,
        search=found.search,
        curve=curve,
        figures=figures,
        record=record,
        record_path=record_path,
        archive_path=write_archive(plan.outputs.folder, pipe, plan.wanted.target.values, pictures, record_path),
        summary=_summary(edit, found),
        seconds=found.all,
        notes=tuple(notes),
    )


def _views(plan: Plan, found: Found, signer: Signer | None) -> list[View]:
    """Of each image the whole photo, where there is one, and then the face."""
    outputs, framed = plan.outputs, plan.wanted.framed
    kept = [""] * len(outputs.seeds)
    if found.kept is not None:
        kept = [f", keeps {score:.2f} of the person" for score in found.kept]
    captions = [f"seed {seed}{score}" for seed, score in zip(outputs.seeds, kept, strict=True)]
    face = outputs.folder / "before-face.png"
    Image.fromarray(plan.photo.pixels[0]).save(face)
    faces = [
        View(caption if not framed.is_part else f"face, {caption}", outputs.image(seed), face, outputs.image(seed))
        for seed, caption in zip(outputs.seeds, captions, strict=True)
    ]
    if framed.photo is None:
        return faces
    before, size = outputs.folder / "before-photo.png", framed.photo.picture.size
    _smaller(framed.photo.picture).save(before)
    wholes = []
    for seed, caption in zip(outputs.seeds, captions, strict=True):
        path = after = outputs.figure(seed, "photo")
        if max(size) > _SHOWN:
            after = outputs.figure(seed, "photo-small")
            with Image.open(path) as whole:
                metadata = {"figure": "photo-small", "seed": seed, **plan.metadata(found.strengths)}
                save_png(_smaller(whole.convert("RGB")), after, metadata, signer)
        wholes.append(View(f"photo, {caption}", path, before, after))
    return [*wholes, *faces]


def _smaller(picture: Image.Image) -> Image.Image:
    small = picture.copy()
    small.thumbnail((_SHOWN, _SHOWN), Image.Resampling.LANCZOS)
    return small


def _summary(edit: CheckedEdit, found: Found) -> str:
    """What was done and how long it took."""
    wanted = edit.wanted
    parts = [f"{shown_name(wanted.editor)}, strength {told(found.strengths)}"]
    if found.search is not None and not found.search.decided:
        parts.append("the judge saw no difference between the strengths that were tried")
    if edit.reused:
        parts.append("used what was learned of this photo before")
    elif edit.learned is not None:
        parts.append(f"learned your photo in {found.learning:.0f} s, which the next edits of it use")
    return f"{'; '.join(parts)}; {found.all:.0f} s in all"


def _record(pipe: CollaborativePipeline, edit: CheckedEdit, found: Found) -> dict[str, Any]:
    """What restores the settings; of the photo it holds no pixel, only a digest."""
    wanted, told_of = edit.wanted, record_of(pipe, edit.checked)
    settings = {name: value for name, value in told_of.items() if name not in ("codiff_record", "bias")}
    return {
        "codiff_edit": _VERSION,
        **settings,
        "editor": wanted.editor,
        "strengths": dict(found.strengths),
        "strength_found": found.search is not None,
        "source": _stored(pipe, wanted.source.values),
        "region": None if edit.region is None else painted_steering(edit.region.astype(np.float32)),
        "start": wanted.start if wanted.kind.learns else None,
        "learning": None if wanted.learning is None else wanted.learning.to_json(),
        "photo": edit.photo,
        "framing": {**asdict(edit.framing), "eyes": [list(eye) for eye in edit.framing.eyes]},
        "measured": dict(found.edit.measured),
    }


def _stored(pipe: CollaborativePipeline, conditions: Mapping[str, Any]) -> dict[str, Any]:
    stored = {}
    for modality, plain in conditions.items():
        kind = kind_of(pipe.collaborators[modality].encoder)
        stored[modality] = {"kind": kind.name, "data": kind.stored(plain)}
    return stored
