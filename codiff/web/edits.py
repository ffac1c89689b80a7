"""What the page asks of the editors: photos opened and framed, requests checked."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codiff.cli.edit import usual_guidance
from codiff.cli.edit_plan import Given, Wanted
from codiff.cli.outputs import slug
from codiff.cli.schedulers import name_of
from codiff.editing import Learning, learning_for
from codiff.editing.blended import region_of
from codiff.editing.curve import check_drawable
from codiff.editing.editors import EDITORS, Editor
from codiff.editing.imagic import INVERSION, NOISE
from codiff.editing.photo import picture_side
from codiff.errors import InputError
from codiff.modalities.mask import LabelMaps
from codiff.photos.finding import FoundFace, find_faces
from codiff.photos.framing import FaceChoiceError, Framed, frame_eyes, frame_face, frame_whole
from codiff.photos.own_photo import OwnPhoto
from codiff.web.checking import read_conditions
from codiff.web.condition_kinds import Words, kind_of, opened_picture
from codiff.web.edit_request import DEFAULT_STEPS, FULL, QUICK, CheckedEdit, EditRequest, Framing
from codiff.web.edit_times import EditTimes
from codiff.web.editor_names import shown_name
from codiff.web.engine import Engine, Request
from codiff.web.exports import file_names
from codiff.web.field_error import FieldError, on_the_page
from codiff.web.learned_edits import LearnedEdits, steps_left
from codiff.web.notices import heard
from codiff.web.storage import SessionFolder

_DDIM = "ddim"
_QUICKER = 4  # times fewer steps of learning


class Edits:
    """Editing with the model of an engine. Nothing that requests share is ever changed.

    Args:
        engine: whose model, evaluators, workers and limits are used.

    Attributes:
        side: of the pictures that the model draws, in pixels.
        learnings: how a photo can be learned, by name.
        times: how long edits took.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.side = picture_side(engine.pipe)
        full = learning_for(engine.pipe)
        self.learnings = {QUICK: _quicker(full), FULL: full}
        self.times = EditTimes()

    @property
    def usual(self) -> Request:
        """The sampling of edits where nothing is chosen."""
        steps = min(DEFAULT_STEPS, self.engine.limits.steps)
        return Request({}, steps=steps, guidance=usual_guidance(self.engine.pipe))

    def open(self, content: bytes) -> OwnPhoto:
        """A photo that somebody sent.

        Raises:
            FieldError: of "photo": it is none, or the server is busy.
        """
        try:
            with self.engine.reading.turn("photo"):
                return OwnPhoto.open(opened_picture(content, "photo", self.engine.limits))
        except InputError as error:
            raise on_the_page("photo", error) from error

    def faces(self, photo: OwnPhoto) -> list[FoundFace]:
        """Faces in a photo, from left to right; none where they cannot be searched here."""
        try:
            with self.engine.reading.turn("photo", patient=True):
                return find_faces(photo.picture)
        except InputError:
            return []

    def framed(self, photo: OwnPhoto, framing: Framing) -> Framed:
        """The face of a photo that is edited.

        Raises:
            FieldError: of "photo", "face" or "eyes": there is no such face, or the eyes are none.
        """
        if framing.aligned:
            if photo.picture.width != photo.picture.height:
                size = f"{photo.picture.width} x {photo.picture.height}"
                raise FieldError("photo", f"an aligned picture is square, this one has {size} pixels: mark the eyes")
            return frame_whole(photo, self.side)
        try:
            if framing.eyes:
                width, height = photo.picture.size
                return frame_eyes(photo, self.side, [(x * width, y * height) for x, y in framing.eyes])
            with self.engine.reading.turn("photo", patient=True):
                return frame_face(photo, self.side, framing.face)
        except FaceChoiceError as error:
            if error.found:
                raise FieldError("face", f"{len(error.found)} faces are in this photo: choose one") from error
            raise FieldError(
                "photo", "no face was found in this photo: click the middle of each eye in it, or give another photo"
            ) from error
        except InputError as error:
            raise FieldError("eyes" if framing.eyes else "photo", str(error)) from error

    def read(self, framed: Framed) -> NDArray[np.uint8] | None:
        """What the model's face parser reads in a face: a label map (side, side); None where it has no parser."""
        if self.engine.parser is None:
            return None
        square = framed.crop.resize((self.side, self.side), Image.Resampling.LANCZOS)
        return self.engine.parse(square)[0]

    def check(self, request: EditRequest, session: SessionFolder) -> CheckedEdit:
        """The request with everything filled in and read; nothing is queued or drawn.

        Args:
            session: whose learned edits can be used again.

        Raises:
            FieldError: names the input that is wrong.
        """
        kind = self._kind(request.editor)
        with heard() as notes:
            framed = self.framed(self.open(request.photo), request.framing)
        checked = self.engine.check(self._drawing(request, kind))
        strengths = self._strengths(request, kind, list(checked.request.conditions))
        with heard() as more:
            source = self._source(request, kind, framed)
        notes += more
        region = self._region(request, kind, checked.request.conditions, source.values)
        learning = self._learning(request, kind)
        photo = digest_of(framed)
        learned, left = None, 0
        if learning is not None:
            modalities = list(checked.request.conditions)
            known = LearnedEdits(session, self.engine.weights, self.engine.pipe.modalities)
            learned = known.place(photo, modalities, learning)
            left = steps_left(learned, learning, len(modalities))
        wanted = Wanted(
            framed,
            self._given(checked.request.conditions),
            source,
            self._name(checked.request.conditions),
            request.editor,
            strengths,
            region,
            learned,
            learning,
            INVERSION if checked.request.count == 1 else NOISE,
            checked.request.count,
            checked.request.seed,
        )
        if kind.inverts and request.scheduler not in (None, _DDIM, self.engine.choices.schedulers[0]):
            notes.append("this editor retraces a path of DDIM, whatever the sampler")
        if not framed.eyes_seen:
            notes.append("the eyes were not seen clearly: look whether the marks are right, and move them if not")
        return CheckedEdit(checked, wanted, photo, request.framing, region, learned, left, (*checked.notes, *notes))

    def _kind(self, name: Any) -> Editor:
        if not isinstance(name, str) or name not in EDITORS:
            raise FieldError("editor", f"unknown editor {name!r:.40}; known are {', '.join(EDITORS)}")
        return EDITORS[name]

    def _drawing(self, request: EditRequest, kind: Editor) -> Request:
        """The target and the sampling, as for drawing."""
        own = name_of(self.engine.pipe.scheduler)
        guidance = usual_guidance(self.engine.pipe) if request.guidance is None else request.guidance
        scheduler = _DDIM if kind.inverts else (own if request.scheduler is None else request.scheduler)
        return Request(
            request.conditions, request.seed, request.count, request.steps, scheduler, guidance, request.composition
        )

    def _strengths(self, request: EditRequest, kind: Editor, modalities: list[str]) -> dict[str, float] | None:
        value = request.strength
        if value is None:
            if self.engine.evaluators is None:
                raise FieldError("strength", "this model has no judges that could find a strength; choose one")
            try:
                check_drawable()
            except InputError as error:
                raise FieldError("strength", "this server cannot find a strength; choose one") from error
            return None
        fine = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if not fine or not kind.low <= value <= kind.high:
            what = f"the strength of {shown_name(request.editor)} is a number from {kind.low:g} to {kind.high:g}"
            raise FieldError("strength", f"{what}, not {value!r:.40}")
        return dict.fromkeys(modalities, float(value))

    def _source(self, request: EditRequest, kind: Editor, framed: Framed) -> Given:
        """What the photo shows, as far as it was told or can be read in it."""
        if "source" not in kind.takes:
            return Given({}, {})
        told = {modality: raw for modality, raw in request.source.items() if modality in request.conditions}
        try:
            plain = read_conditions(self.engine.pipe, told, self.engine.limits)[0] if told else {}
        except FieldError as error:
            raise FieldError("source", str(error)) from error
        collaborators = self.engine.pipe.collaborators
        for modality in (each for each in self.engine.pipe.modalities if each in request.conditions):
            if modality not in plain and isinstance(collaborators[modality].encoder, LabelMaps):
                read = self.read(framed)
                plain |= {} if read is None else {modality: read}
        return self._given(plain)

    def _region(
        self, request: EditRequest, kind: Editor, target: Mapping[str, Any], source: Mapping[str, Any]
    ) -> NDArray[np.bool_] | None:
        if "region" not in kind.takes:
            return None
        region, most = request.region, self.engine.limits.condition_side
        if region is not None and (region.dtype != np.bool_ or region.ndim != 2 or max(region.shape) > most):
            raise FieldError("region", f"booleans (h, h) up to {most} pixels a side are expected")
        if not kind.confined and region is None:
            return None
        try:
            region_of(self.engine.pipe, target, region, source)
        except InputError as error:
            raise FieldError(
                "region", "paint where the photo may change; or repaint its mask: then it changes where you did"
            ) from error
        return region

    def _learning(self, request: EditRequest, kind: Editor) -> Learning | None:
        if not kind.learns:
            return None
        if not isinstance(request.learning, str) or request.learning not in self.learnings:
            known = ", ".join(self.learnings)
            raise FieldError("learning", f"unknown learning {request.learning!r:.40}; known are {known}")
        if self.engine.pipe.is_offloaded:
            raise FieldError(
                "editor", "this server keeps its model off the GPU and cannot learn; choose another editor"
            )
        return self.learnings[request.learning]

    def _given(self, conditions: Mapping[str, Any]) -> Given:
        """Conditions by the names that the archive gives them."""
        told, pictures = {}, []
        for modality, name in file_names(self.engine.pipe, conditions).items():
            words = isinstance(kind_of(self.engine.pipe.collaborators[modality].encoder), Words)
            told[modality] = conditions[modality] if words else name
            pictures += [] if words else [modality]
        return Given(conditions, told, pictures)

    def _name(self, conditions: Mapping[str, Any]) -> str:
        words = (value for value in conditions.values() if isinstance(value, str))
        return slug(next(words, "")) or "edit"


def _quicker(learning: Learning) -> Learning:
    """The same with fewer steps, for a first try."""
    token_steps, model_steps = (max(1, steps // _QUICKER) for steps in (learning.token_steps, learning.model_steps))
    return replace(learning, token_steps=token_steps, model_steps=model_steps)


def digest_of(framed: Framed) -> str:
    """SHA-256 of what editors see."""
    return hashlib.sha256(f"{framed.crop.size} ".encode() + framed.crop.tobytes()).hexdigest()
