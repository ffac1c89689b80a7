"""The tab that edits a face in a photo: the photo and what it should become, and what comes of it."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from typing import Any

import gradio as gr
from PIL import Image

from codiff.errors import InputError
from codiff.photos.finding import FoundFace
from codiff.photos.framing import Framed
from codiff.photos.own_photo import OwnPhoto
from codiff.web.before_after import before_after, compared
from codiff.web.condition_inputs import PICTURES, QUIET, Data, MaskInput, PaintedInput, condition_inputs
from codiff.web.edit_api import build_edit_api
from codiff.web.edit_files import EditResult
from codiff.web.edit_records import KnownPhoto, restored_edit
from codiff.web.edit_request import CheckedEdit, EditRequest, Framing
from codiff.web.edit_run import EditRun
from codiff.web.editor_section import EditorSection
from codiff.web.edits import Edits
from codiff.web.engine import Engine
from codiff.web.error_lines import ErrorLines, Updates
from codiff.web.eye_marks import eye_marks, marked, shares, shown_photo
from codiff.web.field_error import RUN, FieldError
from codiff.web.generate_tab import work_event
from codiff.web.notices import heard
from codiff.web.painting import painted_labels, png_url
from codiff.web.parts import foreseen, how_far, preview, progress_line, run_and_cancel, told
from codiff.web.picker import file_picker, picked_content
from codiff.web.records import FIELD as RECORD
from codiff.web.runs import Done, Step, Task, Waiting
from codiff.web.settings_section import SettingsSection
from codiff.web.storage import SessionFolder, Storage
from codiff.web.trials import shown_curve, shown_trials, trials_strip

_LOG = logging.getLogger("codiff.web")

FORM = "edit"
_PHOTO = ("photo", "face", "eyes")
_REGION = "region"
_CROP = '<img src="{}" alt="The face that is edited" width="112" height="112" style="border-radius: 8px">'


def build_edit_tab(engine: Engine, storage: Storage) -> EditTab:
    """Put the tab here on the page.

    Args:
        engine: whose model edits.
        storage: where photos, what is learned of them and results go.
    """
    return EditTab(engine, storage)


class EditTab:
    """The tab, here on the page.

    Args:
        engine: whose model edits.
        storage: where photos, what is learned of them and results go.

    Attributes:
        edits: what edits.
    """

    def __init__(self, engine: Engine, storage: Storage) -> None:
        self._engine, self._storage = engine, storage
        self.edits = Edits(engine)
        self._errors = ErrorLines(FORM)
        keep = engine.limits.keep_seconds
        self._photo = gr.State(None, time_to_live=keep)
        self._result = gr.State(None, time_to_live=keep)
        self._painted = gr.State(())  # what came with settings, and no photo paints over
        self._awaited = gr.State(None)  # the `KnownPhoto` that these settings still wait for
        self._inputs = condition_inputs(engine, storage, FORM)
        self._editor = EditorSection(self.edits, self._errors, FORM)
        with gr.Row(elem_classes="workbench"):
            with gr.Column(elem_classes="words"):
                self._place_photo()
                self._place_inputs(painted=False)
                self._editor.place()
            with gr.Column(elem_classes="painted"):
                self._place_inputs(painted=True)
                self._editor.place_region()
                self._errors.place("conditions")
            with gr.Column(elem_classes="tuning"):
                self._settings = SettingsSection(engine, self._errors, FORM, self.edits.usual)
            with gr.Column(elem_classes="outcome"):
                self._place_outcome()
        build_edit_api(self.edits, storage)
        self._wire()

    def _place_photo(self) -> None:
        minutes = max(1, round(self._engine.limits.keep_seconds / 60))
        with gr.Column(elem_classes="condition", elem_id=f"{FORM}-photo"):
            gr.Markdown("**Photo** of one face, seen from the front", elem_classes="lead")
            self._file = file_picker(
                "Pick a photo", "A picture of any size with a face in it", PICTURES, self._engine.limits,
                elem_id=f"{FORM}-file",
            )  # fmt: skip
            self._errors.place("photo")
            self._marks = eye_marks(elem_id=f"{FORM}-eyes")
            self._errors.place("eyes")
            self._face = gr.Radio([], label="Which face", visible=False, elem_id=f"{FORM}-face")
            self._errors.place("face")
            self._aligned = gr.Checkbox(
                False, label="Aligned already", container=False, elem_id=f"{FORM}-aligned",
                info="The whole, square picture is one face as the model knows faces: nothing is cut out.",
            )  # fmt: skip
            self._crop = gr.HTML("", elem_id=f"{FORM}-crop", padding=False)
            gr.Markdown(
                "Your photo and what is learned of it stay in a folder of this visit alone: nobody else can open them. "
                f"They are removed after {minutes} minutes. After a reload of this page, pick it again.",
                elem_classes="lead", elem_id=f"{FORM}-privacy",
            )  # fmt: skip

    def _place_inputs(self, *, painted: bool) -> None:
        for each in self._inputs:
            if isinstance(each, PaintedInput) == painted:
                each.place(self._errors)

    def _place_outcome(self) -> None:
        self._run, self._cancel = run_and_cancel("Edit", FORM)
        self._progress = progress_line(elem_id=f"{FORM}-progress")
        self._errors.place(RUN)
        with gr.Column(elem_classes="stage"):
            self._slider = before_after(elem_id=f"{FORM}-slider")
            self._preview = preview(elem_id=f"{FORM}-preview")
        self._views = gr.Radio([], label="Look at", visible=False, elem_id=f"{FORM}-views")
        with gr.Row(elem_classes="downloads"):
            self._picture, self._archive, self._record = (
                gr.DownloadButton(label, size="sm", interactive=False, min_width=96, elem_id=f"{FORM}-{name}")
                for name, label in (("picture", "Picture"), ("archive", "All (zip)"), ("settings", "Settings (JSON)"))
            )
            self._restored = file_picker(
                "Open settings", "Settings (JSON) of an edit restore all but the photo", (".json",),
                self._engine.limits, min_width=96, elem_id=f"{FORM}-open",
            )  # fmt: skip
        self._errors.place(RECORD)
        with gr.Column(visible=False, elem_id=f"{FORM}-trade-off") as self._trade_off:
            gr.Markdown(
                "### Strengths that were tried\nHow far each obeys what you asked for, and how much of the person it "
                "keeps, as judged by the model's own evaluators: 1 is best. The zip file holds these figures.",
                elem_classes="section",
            )  # fmt: skip
            self._trials = trials_strip(elem_id=f"{FORM}-trials")
            self._curve = trials_strip(elem_id=f"{FORM}-curve")

    def _wire(self) -> None:
        lines = self._errors.components
        framing = {self._photo, self._marks, self._aligned, self._face, self._painted, self._awaited}
        painters = [each.value for each in self._inputs if isinstance(each, PaintedInput)]
        framed = [*lines, self._crop, *painters, self._editor.region]
        self._file.upload(
            self._opened, {self._file, self._painted, self._awaited}, [*framed, *framing, self._file], **QUIET
        )
        for moved in (self._marks.input, self._aligned.input):
            moved(self._moved, framing, framed, **QUIET)
        self._face.input(self._chosen, framing, [*framed, self._marks], **QUIET)
        given = {component for each in self._inputs for component in each.components}
        given |= {*framing, *self._settings.components, *self._editor.components}
        shown = [
            *lines, self._progress, self._preview, self._cancel, self._slider, self._views, self._picture,
            self._archive, self._record, self._result, self._trade_off, self._trials, self._curve, self._editor.purpose,
            self._editor.strength,
        ]  # fmt: skip
        self._run.click(
            self._edited,
            {*given, self._result},
            shown,
            trigger_mode="once",
            api_visibility="private",
            **work_event(self._engine),
        )
        self._cancel.click(self._stop, None, self._cancel, **QUIET)
        filled = [*lines, *given, *self._editor.shown_by_editor, self._crop]
        self._restored.upload(self._restore, {self._restored, self._photo}, filled, **QUIET)
        self._views.input(self._select, [self._views, self._result], [self._slider, self._picture], **QUIET)

    def _opened(self, data: dict[Any, Any], request: gr.Request) -> Updates:
        """Updates that show a photo: its face is looked for, cut out and read."""
        awaited: KnownPhoto | None = data[self._awaited]
        painted = () if awaited is None else data[self._painted]
        shown: dict[Any, Any] = {self._file: None, **self._errors.cleared()}
        try:
            content = picked_content(data[self._file], self._engine.limits)[1]
            with heard() as notes:
                photo = self.edits.open(content)
            shown[self._photo] = self._kept(content, self._storage.session(request.session_hash))
        except InputError as error:
            return {**shown, **self._errors.shown(FieldError("photo", str(error)))}
        faces = self.edits.faces(photo)
        known = None if awaited is None else awaited.framing_of(self.edits, photo)
        framing = Framing() if known is None else known
        shown |= {self._painted: painted, self._awaited: None}
        framed, cut = self._cut(photo, framing, painted, notes)
        return {**shown, **self._with_marks(photo, faces, framing, framed), **cut}

    def _with_marks(
        self, photo: OwnPhoto, faces: Sequence[FoundFace], framing: Framing, framed: Framed | None
    ) -> Updates:
        """Updates that show a photo with its marks and its faces, and which of them is edited."""
        aligned = framed is not None and framed.aligned
        chosen = framing.face if framing.face in range(len(faces)) else None
        marks = framing.eyes
        if not marks and (chosen is not None or len(faces) == 1):
            marks = shares(photo.picture, faces[chosen or 0].eyes)
        names = [(f"{number + 1} from the left", number) for number in range(len(faces))]
        return {
            self._face: gr.update(choices=names, value=chosen, visible=len(faces) > 1),
            self._marks: shown_photo(photo.picture, [] if aligned else marks),
            self._aligned: aligned,
        }

    def _moved(self, data: dict[Any, Any], request: gr.Request) -> Updates:
        """Updates that show the face between the marks, or all of an aligned picture."""
        if data[self._photo] is None:
            return self._errors.cleared(_PHOTO)
        try:
            photo = self.edits.open(self._content(data, request))
            return self._cut(photo, self._framing(data), data[self._painted])[1]
        except FieldError as error:
            return {**self._errors.shown(error), self._crop: ""}

    def _chosen(self, data: dict[Any, Any], request: gr.Request) -> Updates:
        """Updates that mark and show one of several faces."""
        try:
            photo = self.edits.open(self._content(data, request))
            faces = self.edits.faces(photo)
            number = data[self._face]
            if number not in range(len(faces)):
                raise FieldError("face", "this face is not in the photo any more: pick the photo again")
        except FieldError as error:
            return self._errors.shown(error)
        return {
            **self._cut(photo, Framing(face=number), data[self._painted])[1],
            self._marks: shown_photo(photo.picture, shares(photo.picture, faces[number].eyes)),
        }

    def _cut(
        self, photo: OwnPhoto, framing: Framing, painted: Collection[str], notes: Sequence[str] = ()
    ) -> tuple[Framed | None, Updates]:
        """The face, and updates that show it and what the face parser reads in it, or what is wrong; these modalities
        and region are painted already."""
        try:
            with heard() as told_of:
                framed = self.edits.framed(photo, framing)
                labels = self.edits.read(framed)
        except FieldError as error:
            return None, {**self._errors.shown(error), self._crop: ""}
        unsure = [] if framed.eyes_seen else ["The eyes were not seen clearly: move the marks if they are not right."]
        below = png_url(framed.crop.resize((self.edits.side,) * 2, Image.Resampling.LANCZOS))
        shown: dict[Any, Any] = {
            **self._errors.cleared(_PHOTO),
            **self._errors.noted("photo", [*notes, *told_of, *unsure]),
            self._crop: _CROP.format(below) if framed.is_part else "",
            self._editor.region: gr.update(underlay=below, **({} if _REGION in painted else {"value": ""})),
        }
        for each in self._inputs:
            if isinstance(each, MaskInput) and labels is not None and each.modality not in painted:
                value = painted_labels(labels, self._engine.limits.painter_side)
                shown[each.value] = gr.update(value=value, underlay=below)
            elif isinstance(each, PaintedInput):
                shown[each.value] = gr.update(underlay=below)
        return framed, shown

    def _framing(self, data: Data) -> Framing:
        if data[self._aligned]:
            return Framing(aligned=True)
        return Framing(marked(data[self._marks]), data[self._face])

    def _kept(self, content: bytes, session: SessionFolder) -> str:
        """The place of a photo in its session's folder, which keeps no photo before it.

        Raises:
            FieldError: it cannot be stored.
        """
        try:
            return str(session.keep_only("photo", content))
        except OSError as error:
            _LOG.error("a photo cannot be stored: %s", error)
            raise FieldError("photo", "the server cannot store your photo just now; try again later") from error

    def _content(self, data: Data, request: gr.Request) -> bytes:
        if data[self._photo] is None:
            raise FieldError("photo", "pick a photo first")
        try:
            path = self._storage.session(request.session_hash).owned(data[self._photo], "photo")
            os.utime(path.parent)  # it is still used
            return path.read_bytes()
        except (FieldError, OSError) as error:
            raise FieldError("photo", "your photo has expired here: pick it again") from error

    def _request(self, data: Data, request: gr.Request) -> EditRequest:
        """What the form asks for.

        Raises:
            FieldError: something in it is not even of the right kind.
        """
        photo, framing = self._content(data, request), self._framing(data)
        conditions: dict[str, Any] = {}
        try:
            for each in self._inputs:
                conditions |= each.given(data)
            editor = self._editor.given(data)
        except FieldError:
            self.edits.framed(self.edits.open(photo), framing)  # what is wrong with the photo is said first
            raise
        return EditRequest(photo, conditions, framing, **editor, **self._settings.given(data))

    def _edited(self, data: dict[Any, Any], request: gr.Request) -> Iterator[Updates]:
        """Updates while an edit is drawn, until its pictures are there."""
        idle = {self._preview: None, self._cancel: gr.update(interactive=False)}
        try:
            session = self._storage.session(request.session_hash)
            edit = self.edits.check(self._request(data, request), session)
            yield {
                **self._errors.cleared(),
                **({} if _shows(data[self._result], edit) else self._emptied()),
                self._cancel: gr.update(interactive=True),
                self._progress: told("Starting"),
            }
            run = EditRun(self._engine, edit, session)
            last: Updates = {self._progress: told("Stopped")}
            with closing(run.events()) as events:
                for event in events:
                    if isinstance(event, Done):
                        last = self._finished(edit, event.result)
                    else:
                        yield self._at_work(event, run.stage)
            yield {**idle, **last}
        except FieldError as error:
            yield {**idle, **self._errors.shown(error), self._progress: told()}

    def _emptied(self) -> Updates:
        """Updates after which nothing of an earlier photo is shown."""
        gone = gr.update(value=None, interactive=False)
        return {
            self._slider: None,
            self._views: gr.update(visible=False),
            **dict.fromkeys((self._picture, self._archive, self._record), gone),
            self._result: None,
            self._trade_off: gr.update(visible=False),
        }

    def _at_work(self, event: Waiting | Step, stage: str) -> Updates:
        picture, line = foreseen(event), how_far(event)
        if isinstance(event, Step):
            line["text"] = f"{stage}. {line['text']}"
        return {self._progress: line, **({} if picture is None else {self._preview: picture})}

    def _finished(self, edit: CheckedEdit, result: EditResult) -> Updates:
        if result.search is None:
            self.edits.times.note(edit.wanted.editor, result.seconds, learned=edit.left > 0)
        first = result.views[0]
        return {
            **self._errors.cleared(),
            **self._errors.noted(RUN, result.notes),
            **self._editor.timed(edit.wanted.editor),
            **({} if result.search is None else self._editor.found(result.search.best.strengths)),
            self._progress: told(f"{result.summary}.", 1.0),
            self._slider: compared(first.before, first.after),
            self._views: gr.update(
                choices=[(view.caption, place) for place, view in enumerate(result.views)],
                value=0,
                visible=len(result.views) > 1,
            ),
            self._picture: gr.update(value=str(first.path), interactive=True),
            self._archive: gr.update(value=str(result.archive_path), interactive=True),
            self._record: gr.update(value=str(result.record_path), interactive=True),
            self._result: result,
            self._trade_off: gr.update(visible=result.search is not None),
            self._trials: "" if result.search is None else shown_trials(result.search),
            self._curve: "" if result.curve is None else shown_curve(result.curve),
        }

    def _restore(self, data: dict[Any, Any], request: gr.Request) -> Updates:
        """Updates that fill the form with the settings of an edit: all but the photo."""
        try:
            edit = restored_edit(self.edits, picked_content(data[self._restored], self._engine.limits)[1])
        except InputError as error:
            return self._errors.shown(FieldError(RECORD, str(error)))
        painted = (*edit.request.conditions, *([_REGION] if edit.region else []))
        there = data[self._photo] is not None
        again = self._framed_again(data, request, edit.photo, painted) if there else {}
        photo = "The photo above stays" if there else "Settings hold no photo: pick yours again"
        if again:
            photo = "The photo above is the same, and which part of it is edited, too"
        shown: dict[Any, Any] = {}
        for each in self._inputs:
            shown |= each.filled(edit.request.conditions.get(each.modality))
        shown |= {**self._settings.filled(edit.request), **self._editor.filled(edit)}
        return {
            **self._errors.cleared(),
            **again,
            **{each: _both(again.get(each), value) for each, value in shown.items()},
            **self._errors.noted(RECORD, [f"All but the photo is as it was. {photo}.", *edit.notes]),
            self._painted: painted,
            self._awaited: None if there else edit.photo,
        }

    def _framed_again(
        self, data: Data, request: gr.Request, known: KnownPhoto, painted: Collection[str]
    ) -> dict[Any, Any]:
        """Updates that show the part of the photo that was edited; none where it is another photo, or not known."""
        try:
            photo = self.edits.open(self._content(data, request))
        except FieldError:  # it has expired, which is told when it is edited
            return {}
        framing = known.framing_of(self.edits, photo)
        if framing is None:
            return {}
        framed, cut = self._cut(photo, framing, painted)
        return {**self._with_marks(photo, self.edits.faces(photo), framing, framed), **cut}

    def _stop(self, request: gr.Request) -> Any:
        """End the work; the event that waits for it then says so itself, after all that it said before."""
        self._engine.workers.stop(self._storage.session(request.session_hash).name, Task.EDIT)
        return gr.update(interactive=False)

    def _select(self, place: Any, result: EditResult | None) -> tuple[Any, Any]:
        if result is None or place not in range(len(result.views)):
            return gr.skip(), gr.skip()
        view = result.views[place]
        return compared(view.before, view.after), gr.update(value=str(view.path))


def _shows(result: EditResult | None, edit: CheckedEdit) -> bool:
    """Whether a result is of the same photo."""
    return result is not None and result.record["photo"] == edit.photo


def _both(update: Any, filled: Any) -> Any:
    """The value that fills a component, and what another update says of its other properties: under a painter lies the
    photo."""
    value = filled["value"] if isinstance(filled, dict) and "underlay" in filled else filled
    return value if update is None else {**update, "value": value}
