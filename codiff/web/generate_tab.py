"""The tab that draws faces: conditions and settings at the left, what comes of them at the right."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import gradio as gr

from codiff.errors import InputError
from codiff.web.condition_inputs import QUIET, Data, PaintedInput, condition_inputs
from codiff.web.engine import Engine, Request, Result
from codiff.web.error_lines import ErrorLines, Updates
from codiff.web.field_error import RUN, FieldError
from codiff.web.last_results import LastResults, for_browser, of_browser
from codiff.web.painting import png_url
from codiff.web.parts import foreseen, how_far, picture_buttons, preview, progress_line, run_and_cancel, told
from codiff.web.picker import file_picker, picked_content
from codiff.web.records import FIELD as RECORD
from codiff.web.runs import Done, Step, Task, Waiting
from codiff.web.settings_section import SettingsSection
from codiff.web.steer_section import SteerSection
from codiff.web.storage import Storage

FORM = "generate"
_WORK = "work"
_NOTES = "notes"  # how inputs were adapted: told below the pictures, which nothing moves


def work_event(engine: Engine) -> dict[str, Any]:
    """How events run that draw or edit: they wait in the engine's own line, which tells them their place in it."""
    return {
        "concurrency_id": _WORK,
        "concurrency_limit": engine.limits.workers + engine.limits.queue + 1,
        "show_progress": "hidden",
    }


class GenerateTab:
    """The tab, here on the page.

    Args:
        engine: what draws.
        storage: where the pictures go.
        page: what the tab is on.

    Attributes:
        result: the state that holds the last `Result` of the session.
        chosen: the state that holds which of its pictures is looked at.
        drawn: the event after which there is a new result.
        recalled: the event after which there is that of before the page was loaded, if its files are kept.
        selected: the event after which another of its pictures is looked at.
        inside: the button by which visitors ask to look into it.
    """

    def __init__(self, engine: Engine, storage: Storage, page: gr.Blocks) -> None:
        self._engine, self._storage = engine, storage
        self._errors = ErrorLines(FORM)
        self._last = LastResults(engine.limits)
        self._faces = engine.examples()
        self.result = gr.State(None, time_to_live=engine.limits.keep_seconds)
        self.chosen = gr.State(0)
        self._kept = gr.BrowserState(None, storage_key="codiff")
        self._inputs = condition_inputs(engine, storage, FORM)
        with gr.Row(elem_classes="workbench"):
            with gr.Column(elem_classes="words"):
                self._place_examples()
                self._place_inputs(painted=False)
            with gr.Column(elem_classes="painted"):
                self._place_inputs(painted=True)
                self._errors.place("conditions")
            with gr.Column(elem_classes="tuning"):
                self._settings = SettingsSection(engine, self._errors, FORM)
                self._steer = SteerSection(
                    self._inputs, self._errors, FORM, engine.pipe.scheduler.config.num_train_timesteps
                )
            with gr.Column(elem_classes="outcome"):
                self._place_outcome()
        self._wire(page)

    def _place_examples(self) -> None:
        gr.Markdown("Start from an example:", elem_classes="lead")
        choices = {face.name: face.picture for face in self._faces}
        self._examples = picture_buttons("Examples", choices, elem_id=f"{FORM}-examples")

    def _place_inputs(self, *, painted: bool) -> None:
        """Those that are painted, or the others, filled with the first example."""
        first = self._faces[0].conditions(self._engine.pipe)
        for each in self._inputs:
            if isinstance(each, PaintedInput) == painted:
                each.place(self._errors, first.get(each.modality))

    def _place_outcome(self) -> None:
        self._run, self._cancel = run_and_cancel("Generate", FORM)
        self._progress = progress_line(elem_id=f"{FORM}-progress")
        self._errors.place(RUN)
        with gr.Column(elem_classes="stage"):
            self._gallery = gr.Gallery(
                label="Pictures", show_label=False, format="png", preview=True, object_fit="contain", columns=3,
                buttons=["download", "fullscreen"], interactive=False, elem_id=f"{FORM}-gallery", height="100%",
            )  # fmt: skip
            self._preview = preview(elem_id=f"{FORM}-preview")
        with gr.Row(elem_classes="downloads"):
            self._picture, self._archive, self._record = (
                gr.DownloadButton(label, size="sm", interactive=False, min_width=96, elem_id=f"{FORM}-{name}")
                for name, label in (("picture", "Picture"), ("archive", "All (zip)"), ("settings", "Settings (JSON)"))
            )
            self._restored = file_picker(
                "Open settings", "Settings (JSON) that you downloaded restore everything, also what was painted",
                (".json", ".png"), self._engine.limits, min_width=96, elem_id=f"{FORM}-open",
            )  # fmt: skip
            self.inside = gr.Button(
                "See inside", size="sm", interactive=False, elem_classes="filler", elem_id=f"{FORM}-inside"
            )
        self._errors.place(RECORD)
        self._errors.place(_NOTES)

    def _wire(self, page: gr.Blocks) -> None:
        given = {component for each in self._inputs for component in each.components}
        given |= {*self._settings.components, *self._steer.components}
        shown = [
            *self._errors.components, self._progress, self._preview, self._cancel, self._gallery, self._picture,
            self._archive, self._record, self.inside, self.result, self.chosen, self._kept, *self._steer.components,
        ]  # fmt: skip
        self.drawn = self._run.click(
            self._generate, given, shown, trigger_mode="once", api_visibility="private", **work_event(self._engine)
        )
        self._cancel.click(self._stop, None, self._cancel, **QUIET)
        self.selected = self._gallery.select(self._select, self.result, [self.chosen, self._picture], **QUIET)
        filled = [*given, *self._errors.components]
        self._examples.select(self._take_example, None, filled, **QUIET)
        self._restored.upload(self._restore, self._restored, filled, **QUIET)
        loaded = list(dict.fromkeys([*filled, *shown]))
        self.recalled = page.load(self._recall, self._kept, loaded, **QUIET)

    def _request(self, data: Data) -> Request:
        """What the form asks for.

        Raises:
            FieldError: something in it is not even of the right kind.
        """
        conditions: dict[str, Any] = {}
        for each in self._inputs:
            conditions |= each.given(data)
        return Request(conditions, bias=self._steer.bias(data, list(conditions)), **self._settings.given(data))

    def _generate(self, data: dict[Any, Any], request: gr.Request) -> Iterator[Updates]:
        """Updates while a request is drawn, until its pictures are there."""
        idle = {self._preview: None, self._cancel: gr.update(interactive=False)}
        try:
            checked = self._engine.check(self._request(data))
            steering = self._steer.noted(data, list(checked.request.conditions))
            begun = {self._cancel: gr.update(interactive=True), self._progress: told("Starting")}
            yield {**self._errors.cleared(), **self._noted(checked.notes), **steering, **begun}
            last: Updates = {self._progress: told("Stopped")}
            with closing(self._engine.draw(checked, self._storage.session(request.session_hash))) as events:
                for event in events:
                    if isinstance(event, Done):
                        self._last.keep(request, event.result)
                        kept = {self._kept: for_browser(event.result.record, request)}
                        last = {**self._finished(event.result), **kept, **steering}
                    else:
                        yield self._moved(event)
            yield {**idle, **last}
        except FieldError as error:
            yield {**idle, **self._errors.shown(error), self._progress: told()}

    def _moved(self, event: Waiting | Step) -> Updates:
        picture = foreseen(event)
        return {self._progress: how_far(event), **({} if picture is None else {self._preview: picture})}

    def _finished(self, result: Result) -> Updates:
        count = len(result.images)
        pictures = "1 picture" if count == 1 else f"{count} pictures"
        return {
            **self._errors.cleared(),
            **self._shown(result),
            self._progress: told(f"{pictures} in {result.seconds:.0f} s", 1.0),
        }

    def _noted(self, messages: Sequence[str]) -> Updates:
        """Updates that tell how inputs were adapted, each beside its own."""
        noted: dict[Any, Any] = {}
        others = list(messages)
        for modality in (each.modality for each in self._inputs):
            own = [message for message in others if message.startswith(f"{modality}:")]
            others = [message for message in others if message not in own]
            noted |= self._errors.noted(modality, own)
        return {**noted, **self._errors.noted(_NOTES, others)}

    def _shown(self, result: Result) -> Updates:
        """Updates that show a result."""
        return {
            **self._noted(result.notes),
            **self._steer.over(png_url(result.images[0])),
            self._gallery: gr.update(
                value=[(str(path), caption) for path, caption in zip(result.paths, result.captions, strict=True)],
                selected_index=0,
            ),
            self._picture: gr.update(value=str(result.paths[0]), interactive=True),
            self._archive: gr.update(value=str(result.archive_path), interactive=True),
            self._record: gr.update(value=str(result.record_path), interactive=True),
            self.inside: gr.update(interactive=True),
            self.result: result,
            self.chosen: 0,
        }

    def _stop(self, request: gr.Request) -> Any:
        """End the work; the event that waits for it then says so itself, after all that it said before."""
        self._engine.workers.stop(self._storage.session(request.session_hash).name, Task.DRAW)
        return gr.update(interactive=False)

    def _select(self, result: Result | None, event: gr.SelectData) -> tuple[Any, Any]:
        if result is None or not 0 <= event.index < len(result.paths):
            return gr.skip(), gr.skip()
        return event.index, gr.update(value=str(result.paths[event.index]))

    def _take_example(self, event: gr.EventData) -> Updates:
        """Fill the form with an example; what is switched off at first stays as it is switched."""
        place = event._data.get("index") if isinstance(event._data, dict) else None
        if not isinstance(place, int) or not 0 <= place < len(self._faces):
            return self._errors.cleared()
        face = self._faces[place]
        shown = dict(self._settings.seeded(face.seed))
        for each in self._inputs:
            raw = face.conditions(self._engine.pipe).get(each.modality)
            if raw is not None:
                updates = dict(each.filled(raw))
                if not each.begins_on:
                    updates.pop(each.switch)
                shown |= updates
        return {**self._errors.cleared(), **shown}

    def _restore(self, file: Any) -> Updates:
        """Fill the form with what a record holds."""
        try:
            return self._recalled(picked_content(file, self._engine.limits)[1])
        except InputError as error:
            return self._errors.shown(FieldError(RECORD, str(error)))

    def _recall(self, kept: object, request: gr.Request) -> Updates:
        """The page was loaded: fill the form with what this browser generated last, and show it while it is kept."""
        ready = {**self._errors.cleared(), self._progress: told("Ready")}
        record = of_browser(kept, request)
        if record is None:
            return ready
        try:
            form = self._recalled(json.dumps(record).encode())
        except InputError:  # of another model, or of an older version: nobody asked for it
            return ready
        last = self._last.of(request)
        shown = {} if last is None or json.loads(json.dumps(last.record)) != record else self._shown(last)
        return {**form, **ready, **shown}

    def _recalled(self, record: bytes) -> Updates:
        """Updates that show a record.

        Raises:
            InputError: it is none, or one that this model or these limits cannot take.
        """
        restored = self._engine.restore(record)
        request = self._engine.check(restored.request).request
        shown: dict[Any, Any] = {}
        for each in self._inputs:
            shown |= each.filled(request.conditions.get(each.modality))
        return {
            **self._errors.cleared(),
            **shown,
            **self._errors.noted(RECORD, restored.notes),
            **self._settings.filled(request),
            **self._steer.filled(request.bias),
        }
