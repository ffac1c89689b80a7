"""The tab that edits a face in a photo: the photo and what it should become, and what comes of it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import gradio as gr
from PIL import Image

from codiff.errors import InputError
from codiff.photos.framing import Framed
from codiff.photos.own_photo import OwnPhoto
from codiff.web.condition_inputs import PICTURES, QUIET, Data, MaskInput, PaintedInput, condition_inputs
from codiff.web.edit_api import build_edit_api
from codiff.web.edit_files import EditResult, View
from codiff.web.edit_request import CheckedEdit, EditRequest, Framing
from codiff.web.edit_run import EditRun
from codiff.web.editor_section import EditorSection
from codiff.web.edits import Edits
from codiff.web.engine import Engine
from codiff.web.error_lines import ErrorLines, Updates
from codiff.web.eye_marks import eye_marks, marked, shown_photo
from codiff.web.field_error import RUN, FieldError
from codiff.web.generate_tab import work_event
from codiff.web.notices import heard
from codiff.web.painting import painted_labels, png_url
from codiff.web.parts import foreseen, how_far, preview, progress_line, run_and_cancel, told
from codiff.web.picker import file_picker, picked_content
from codiff.web.runs import Done, Step, Waiting
from codiff.web.settings_section import SettingsSection
from codiff.web.storage import SessionFolder, Storage
from codiff.web.trials import shown_trials, trials_strip

FORM = "edit"
_PHOTO = ("photo", "face", "eyes")
_CROP = '<img src="{}" alt="The face that is edited" width="112" height="112" style="border-radius: 8px">'

_SHOW_STAGE = """() => document.querySelector("#edit-slider").scrollIntoView({
  block: "nearest", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth",
})"""


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
                f"They are removed after {minutes} minutes.",
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
            self._slider = gr.ImageSlider(
                label="Before and after", show_label=False, format="png", type="filepath", interactive=False,
                buttons=["fullscreen"], elem_id=f"{FORM}-slider", height="100%",
            )  # fmt: skip
            self._preview = preview(elem_id=f"{FORM}-preview")
        self._views = gr.Radio([], label="Look at", visible=False, elem_id=f"{FORM}-views")
        with gr.Row(elem_classes="downloads"):
            self._picture, self._archive, self._record = (
                gr.DownloadButton(label, size="sm", interactive=False, min_width=96, elem_id=f"{FORM}-{name}")
                for name, label in (("picture", "Picture"), ("archive", "All (zip)"), ("settings", "Settings (JSON)"))
            )
        with gr.Column(visible=False, elem_id=f"{FORM}-trade-off") as self._trade_off:
            gr.Markdown(
                "### Strengths that were tried\nHow far each obeys what you asked for, and how much of the person it "
                "keeps, as judged by the model's own evaluators: 1 is best.", elem_classes="section",
            )  # fmt: skip
            self._trials = trials_strip(elem_id=f"{FORM}-trials")
            self._curve = gr.Image(
                label="Obeying against keeping the person", show_label=False, format="png", interactive=False,
                buttons=["download", "fullscreen"], elem_id=f"{FORM}-curve",
            )  # fmt: skip

    def _wire(self) -> None:
        lines = self._errors.components
        framing = {self._photo, self._marks, self._aligned, self._face}
        painters = [each.value for each in self._inputs if isinstance(each, PaintedInput)]
        framed = [*lines, self._crop, *painters, self._editor.region]
        self._file.upload(self._opened, self._file, [*framed, *framing, self._file], **QUIET)
        for moved in (self._marks.input, self._aligned.input):
            moved(self._moved, framing, framed, **QUIET)
        self._face.input(self._chosen, framing, [*framed, self._marks], **QUIET)
        given = {component for each in self._inputs for component in each.components}
        given |= {*framing, *self._settings.components, *self._editor.components}
        shown = [
            *lines, self._progress, self._preview, self._cancel, self._slider, self._views, self._picture,
            self._archive, self._record, self._result, self._trade_off, self._trials, self._curve, self._editor.purpose,
        ]  # fmt: skip
        self._run.click(
            self._edited, given, shown, trigger_mode="once", api_visibility="private", **work_event(self._engine)
        )
        self._cancel.click(self._stop, None, self._cancel, **QUIET)
        self._run.click(None, js=_SHOW_STAGE)
        self._views.input(self._select, [self._views, self._result], [self._slider, self._picture], **QUIET)

    def _opened(self, file: Any, request: gr.Request) -> Updates:
        """Updates that show a photo: its face is looked for, cut out and read."""
        shown: dict[Any, Any] = {self._file: None, **self._errors.cleared()}
        try:
            content = picked_content(file, self._engine.limits)[1]
            with heard() as notes:
                photo = self.edits.open(content)
        except InputError as error:
            return {**shown, **self._errors.shown(FieldError("photo", str(error)))}
        faces = self.edits.faces(photo)
        names = [(f"{number + 1} from the left", number) for number in range(len(faces))]
        shown[self._photo] = self._kept(content, self._storage.session(request.session_hash))
        shown[self._face] = gr.update(choices=names, value=None, visible=len(faces) > 1)
        shown[self._marks] = shown_photo(photo.picture, list(faces[0].eyes) if len(faces) == 1 else [])
        framed, cut = self._cut(photo, Framing(), notes)
        aligned = framed is not None and not framed.is_part
        if aligned:
            shown[self._marks] = shown_photo(photo.picture, [])
        return {**shown, self._aligned: aligned, **cut}

    def _moved(self, data: dict[Any, Any], request: gr.Request) -> Updates:
        """Updates that show the face between the marks, or all of an aligned picture."""
        if data[self._photo] is None:
            return self._errors.cleared(_PHOTO)
        try:
            photo = self.edits.open(self._content(data, request))
            return self._cut(photo, self._framing(data))[1]
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
            **self._cut(photo, Framing(face=number))[1],
            self._marks: shown_photo(photo.picture, list(faces[number].eyes)),
        }

    def _cut(self, photo: OwnPhoto, framing: Framing, notes: Sequence[str] = ()) -> tuple[Framed | None, Updates]:
        """The face, and updates that show it and what the face parser reads in it, or what is wrong."""
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
            self._editor.region: gr.update(value="", underlay=below),
        }
        for each in self._inputs:
            if isinstance(each, MaskInput) and labels is not None:
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
        """The place of a photo in its session's folder."""
        path = session.new("photo")
        path.write_bytes(content)
        return str(path)

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
        for each in self._inputs:
            conditions |= each.given(data)
        return EditRequest(photo, conditions, framing, **self._editor.given(data), **self._settings.given(data))

    def _edited(self, data: dict[Any, Any], request: gr.Request) -> Iterator[Updates]:
        """Updates while an edit is drawn, until its pictures are there."""
        idle = {self._preview: None, self._cancel: gr.update(interactive=False)}
        try:
            session = self._storage.session(request.session_hash)
            edit = self.edits.check(self._request(data, request), session)
            yield {
                **self._errors.cleared(),
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
            self._progress: told(f"{result.summary}.", 1.0),
            self._slider: _compared(first),
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
            self._curve: None if result.curve is None else str(result.curve),
        }

    def _stop(self, request: gr.Request) -> Any:
        """End the work; the event that waits for it then says so itself, after all that it said before."""
        self._engine.workers.stop(self._storage.session(request.session_hash).name)
        return gr.update(interactive=False)

    def _select(self, place: Any, result: EditResult | None) -> tuple[Any, Any]:
        if result is None or place not in range(len(result.views)):
            return gr.skip(), gr.skip()
        view = result.views[place]
        return _compared(view), gr.update(value=str(view.path))


def _compared(view: View) -> tuple[str, str]:
    return str(view.before), str(view.after)
