"""The tab that shows who decided what: influences over the steps, disagreement, and other ways from the same noise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import gradio as gr

from codiff.figures import colours_of
from codiff.web.condition_inputs import QUIET
from codiff.web.engine import Engine, Result
from codiff.web.error_lines import ErrorLines, Updates
from codiff.web.field_error import RUN, FieldError
from codiff.web.generate_tab import GenerateTab, work_event
from codiff.web.inside import conflict_maps, influence_curve, influence_maps, overlaid_influences
from codiff.web.parts import drawn_figures, figures, how_far, in_the_making, progress_line, stored_figures, told
from codiff.web.runs import Done, Step, Task, Waiting
from codiff.web.settings_section import hinted
from codiff.web.storage import Storage

FORM = "inside"
_NOTHING = "Generate a picture first: then you see here which model decided what."
# What is typed is held within the steps here: Gradio answers what is beyond a slider's end with an error of the server.
_WITHIN = f"""(result, step, ...others) => {{
  const most = Number(document.querySelector("#{FORM}-step input[type=range]")?.max ?? step);  // none: not seen yet
  return [result, Math.min(Math.max(Math.round(Number(step) || 0), 0), most), ...others];
}}"""


class InsideTab:
    """The tab, here on the page.

    Args:
        engine: what draws.
        storage: where pictures go that are drawn for comparison.
        generate: whose results are looked into.
    """

    def __init__(self, engine: Engine, storage: Storage, generate: GenerateTab) -> None:
        self._engine, self._storage, self._generate = engine, storage, generate
        self._colours = colours_of(engine.pipe.modalities)
        self._errors = ErrorLines(FORM)
        self._seen = gr.State(None)  # the record's place of the result that is looked into
        with gr.Row(elem_classes="insight"):
            with gr.Column(elem_classes="watch"):
                self._place_influences()
            with gr.Column(elem_classes="ponder"):
                self._place_others()
        self._wire()

    def _place_influences(self) -> None:
        gr.Markdown(
            "### Who decides where\nAt each step every model says what it would change, and its *influence* says how "
            "much of that is done, for each place. 63% means: of what this model would change, 63% is done. Most "
            "combinations share out 100% among the models; in *additive* each counts for itself, so that together they "
            "may come to more or less.",
            elem_classes="section",
        )
        self._step = gr.Slider(
            0, 1, 0, step=1, label="Step",
            info="0 shows the mean of all steps; 1 is the first, where all is noise; at the last the picture is done.",
            buttons=[], **hinted(FORM, "step"),
        )  # fmt: skip
        self._picture = gr.Radio([], label="Picture", visible=False, elem_id=f"{FORM}-picture")
        self._overlays = figures("Influence over the picture", _NOTHING, elem_id=f"{FORM}-overlays")
        self._maps = figures("Influence", skipped=1, elem_id=f"{FORM}-maps")

    def _place_others(self) -> None:
        gr.Markdown("### When\nThe mean of each map, step by step.", elem_classes="section")
        self._curve = figures("Mean influence over the steps", _NOTHING, columns=1, elem_id=f"{FORM}-curve")
        gr.Markdown(
            "### Where they disagree\nHow far apart the pictures are that the models foresee at this step: 0 where "
            "all foresee the same, about 0.7 where two that count equally foresee unrelated ones.",
            elem_classes="section",
        )
        self._conflict = figures(
            "Disagreement", "One model alone has nobody to disagree with.", elem_id=f"{FORM}-conflict"
        )
        gr.Markdown(
            "### From the same noise\nThe picture as it was made, as the other rules and the plain mean of the models "
            "make it, and as each model alone does.",
            elem_classes="section",
        )
        with gr.Row(elem_classes="compare"):
            self._compare = gr.Button("Compare", variant="primary", interactive=False, elem_id=f"{FORM}-compare")
            self._cancel = gr.Button("Cancel", interactive=False, elem_id=f"{FORM}-cancel")
        self._progress = progress_line(elem_id=f"{FORM}-progress")
        self._errors.place(RUN)
        self._ways = figures("From the same noise", "Nothing is compared yet.", elem_id=f"{FORM}-ways")
        self._archive = gr.DownloadButton(
            "All (zip)", size="sm", interactive=False, elem_classes="filler", elem_id=f"{FORM}-archive"
        )

    def _wire(self) -> None:
        result = self._generate.result
        shown = [self._overlays, self._maps, self._curve, self._conflict]
        looked = [result, self._step, self._picture]
        compared = [self._progress, self._ways, self._archive]
        opened = [self._seen, self._step, self._picture, self._compare, *shown, *compared]
        for begun in (self._generate.drawn, self._generate.recalled):
            begun.success(self._opened, [result, self._seen], opened, **QUIET)
        self._step.input(self._looked, looked, shown, js=_WITHIN, **QUIET)
        self._picture.input(self._turned, looked, [*shown, *compared], js=_WITHIN, **QUIET)
        self._generate.selected.then(
            self._followed, [result, self._step, self._generate.chosen, self._picture],
            [self._picture, *shown, *compared], js=_WITHIN, **QUIET,
        )  # fmt: skip
        self._compare.click(
            self._compared, [result, self._picture], [*self._errors.components, *compared, self._cancel],
            trigger_mode="once", api_visibility="private", **work_event(self._engine),
        )  # fmt: skip
        self._cancel.click(self._stop, None, self._cancel, **QUIET)

    def _opened(self, result: Result | None, seen: str | None, request: gr.Request) -> Updates:
        """A new result, if a run brought one: all its steps together, its first picture."""
        if result is None or str(result.record_path) == seen:
            return {self._step: gr.skip()}
        choices = [(caption, place) for place, caption in enumerate(result.captions)]
        return {
            self._seen: str(result.record_path),
            self._step: gr.update(maximum=max(1, len(result.timesteps)), value=0),
            self._picture: gr.update(choices=choices, value=0, visible=len(choices) > 1),
            self._compare: gr.update(interactive=True),
            **self._turned(result, 0, 0, request),
        }

    def _followed(
        self, result: Result | None, step: float | None, chosen: int, picture: int | None, request: gr.Request
    ) -> Updates:
        """A picture of the gallery is looked at: so it is here."""
        if chosen == picture:
            return self._looked(result, step, picture)
        return {self._picture: chosen, **self._turned(result, step, chosen, request)}

    def _turned(self, result: Result | None, step: float | None, picture: int | None, request: gr.Request) -> Updates:
        """Another picture is looked at: a comparison of the one before ends, and its pictures go."""
        self._stop(request)
        return {**self._looked(result, step, picture), **self._nothing_compared()}

    def _nothing_compared(self) -> Updates:
        return {
            self._progress: told(),
            self._ways: [],
            self._archive: gr.update(value=None, interactive=False),
        }

    def _looked(self, result: Result | None, step: float | None, picture: int | None) -> Updates:
        """The figures of one step, counted from 1, or with 0 of all together."""
        if result is None or result.influences is None:
            return {figure: [] for figure in (self._overlays, self._maps, self._curve, self._conflict)}
        place = _place(result, picture)
        at = None if not step else min(max(int(step), 1), len(result.timesteps)) - 1
        image, influences, colours = result.images[place], result.influences, self._colours
        conflict = {} if result.conflict is None else conflict_maps(result.conflict, image, place, at)
        curve = influence_curve(influences, colours, place, at)
        return {
            self._overlays: drawn_figures(overlaid_influences(image, influences, colours, place, at)),
            self._maps: drawn_figures(influence_maps(influences, colours, place, at)),
            self._curve: drawn_figures({self._caption(result, at): curve}),
            self._conflict: drawn_figures(conflict),
        }

    def _caption(self, result: Result, at: int | None) -> str:
        if at is None:
            return "all steps"
        most = self._engine.pipe.scheduler.config.num_train_timesteps - 1
        level = f"noise level {result.timesteps[at]:.0f} ({most} is noise alone, 0 the picture)"
        return f"step {at + 1} of {len(result.timesteps)}, {level}"

    def _compared(self, result: Result | None, picture: int | None, request: gr.Request) -> Iterator[Updates]:
        """Updates while one picture of a request is drawn in other ways."""
        idle, at_work = ({self._cancel: gr.update(interactive=on)} for on in (False, True))
        if result is None:
            yield {**idle, self._progress: told(_NOTHING)}
            return
        try:
            ways = [way.caption for way in self._engine.ways(result.checked)]
            yield {
                **self._errors.cleared(),
                **self._nothing_compared(),
                **at_work,
                self._progress: told("Starting"),
                self._ways: in_the_making(ways, None),
            }
            session, place = self._storage.session(request.session_hash), _place(result, picture)
            last: Updates = {self._progress: told("Stopped"), self._ways: []}
            with closing(self._engine.compare(result.checked, session, place)) as events:
                for event in events:
                    if isinstance(event, Done):
                        last = self._ways_of(ways, event.result)
                    else:
                        yield {**at_work, self._progress: how_far(event), **self._foreseen(ways, event)}
            yield {**idle, **last}
        except FieldError as error:
            yield {**idle, **self._errors.shown(error), **self._nothing_compared()}

    def _foreseen(self, ways: list[str], event: Waiting | Step) -> Updates:
        """Updates that show the ways that are done and the one at work, where there is anything new."""
        row = event.preview if isinstance(event, Step) else None
        return {} if row is None else {self._ways: in_the_making(ways, row)}

    def _ways_of(self, ways: list[str], result: Result) -> Updates:
        seed = result.checked.request.seed
        return {
            self._progress: told(f"{len(ways)} ways of seed {seed} in {result.seconds:.0f} s", 1.0),
            self._ways: stored_figures(dict(zip(ways, result.paths, strict=True))),
            self._archive: gr.update(value=str(result.archive_path), interactive=True),
        }

    def _stop(self, request: gr.Request) -> Any:
        """End the work; the event that waits for it then says so itself, after all that it said before."""
        self._engine.workers.stop(self._storage.session(request.session_hash).name, Task.COMPARE)
        return gr.update(interactive=False)


def _place(result: Result, picture: int | None) -> int:
    """Of the picture that is looked at; the first one's where it is of an earlier result."""
    return picture if picture is not None and 0 <= picture < len(result.images) else 0
