"""The part of the form that says how a photo is edited: the editor, its strength, and what it must know besides."""

from __future__ import annotations

import html
from typing import Any

import gradio as gr

from codiff.editing.editors import EDITORS, Editor
from codiff.editing.strength import Strengths
from codiff.errors import InputError
from codiff.web.condition_inputs import QUIET, Data
from codiff.web.condition_kinds import Words, kind_of
from codiff.web.edit_records import RestoredEdit
from codiff.web.edit_request import DEFAULT_EDITOR, FULL, QUICK
from codiff.web.editor_names import shown_editors, shown_name
from codiff.web.edits import Edits
from codiff.web.error_lines import ErrorLines, Updates
from codiff.web.field_error import FieldError
from codiff.web.painter import Brush, painter
from codiff.web.painting import AS_LEARNED, RAISED, STEERING, steering_of

_STEP = 0.05


class EditorSection:
    """Put on the page by `place`, and then `place_region`.

    Args:
        edits: what edits.
        errors: gets a line for each input.
        form: its name, which begins all ids.
    """

    def __init__(self, edits: Edits, errors: ErrorLines, form: str) -> None:
        self._edits, self._errors, self._form = edits, errors, form
        self._sources: dict[str, gr.Textbox] = {}

    def place(self) -> None:
        """All but the region, here on the page."""
        with gr.Column(elem_classes="condition"):
            self._editor = gr.Radio(
                [(shown_name(name), name) for name in shown_editors()], value=DEFAULT_EDITOR, label="Editor",
                elem_id=f"{self._form}-editor",
            )  # fmt: skip
            self.purpose = gr.HTML(self._purpose(DEFAULT_EDITOR), elem_id=f"{self._form}-purpose", padding=False)
            self._errors.place("editor")
            self._place_strength(EDITORS[DEFAULT_EDITOR])
            self._place_learning()
            self._place_sources()
        self._auto.change(lambda on: gr.update(interactive=not on), self._auto, self.strength, **QUIET)

    def place_region(self) -> None:
        """Where an editor may change the photo, here on the page; seen for editors that want to know."""
        with gr.Column(elem_classes="condition", visible=False, elem_id=f"{self._form}-region") as self.region_box:
            gr.Markdown(
                "**Where it may change**: paint over the part; without, it is where you repaint the mask, or what "
                "DiffEdit finds by itself.", elem_classes="lead",
            )  # fmt: skip
            brushes = [Brush("May change", RAISED, chosen=True), Brush("Stays", AS_LEARNED)]
            self.region = painter(
                "Where it may change", STEERING, brushes, blank=AS_LEARNED, clear=AS_LEARNED, size=32,
                elem_id=f"{self._form}-region-value",
            )  # fmt: skip
            self._errors.place("region")
        shown = [self.purpose, self.strength, self._learns, self._told, self.region_box]
        self._editor.input(lambda name: dict(self._switched(name)), self._editor, shown, **QUIET)

    @property
    def components(self) -> list[Any]:
        """All inputs."""
        return [self._editor, self.strength, self._auto, self._learning, self.region, *self._sources.values()]

    @property
    def shown_by_editor(self) -> list[Any]:
        """What else a change of the editor changes."""
        return [self.purpose, self._learns, self._told, self.region_box]

    def given(self, data: Data) -> dict[str, Any]:
        """Arguments of an `EditRequest`, unchecked.

        Raises:
            FieldError: of "region".
        """
        try:
            painted = steering_of(data[self.region])
        except InputError as error:
            raise FieldError("region", str(error)) from error
        return {
            "editor": data[self._editor],
            "strength": None if data[self._auto] else data[self.strength],
            "learning": data[self._learning],
            "region": None if painted is None else painted > 0,
            "source": {modality: words for modality, box in self._sources.items() if (words := data[box])},
        }

    def filled(self, edit: RestoredEdit) -> Updates:
        """Updates that show the editor of an edit and what it was told."""
        return {
            **self._switched(edit.editor, edit.strength),
            self._editor: edit.editor,
            self._auto: edit.strength is None and self._edits.engine.evaluators is not None,
            self._learning: edit.learning,
            self.region: edit.region,
            **{box: edit.source.get(modality, "") for modality, box in self._sources.items()},
        }

    def found(self, strengths: Strengths) -> Updates:
        """Updates that show a strength that was found, as far as one number tells it."""
        values = set(strengths.values())
        return {self.strength: values.pop()} if len(values) == 1 else {}

    def timed(self, editor: str) -> Updates:
        """Updates after an edit, whose time is known now."""
        return {self.purpose: self._purpose(editor)}

    def _place_strength(self, editor: Editor) -> None:
        self.strength = gr.Slider(
            **_range(editor), step=_STEP, elem_id=f"{self._form}-strength", interactive=True,
            info="Low keeps the photo, high follows what you ask for.",
        )  # fmt: skip
        judged = self._edits.engine.evaluators is not None
        self._auto = gr.Checkbox(
            False, label="Find the strength", visible=judged, container=False, elem_id=f"{self._form}-auto",
            info="Tries several, and takes the one where obeying costs least of the person; takes some times longer.",
        )  # fmt: skip
        self._errors.place("strength")

    def _place_learning(self) -> None:
        quick, full = (self._edits.learnings[name] for name in (QUICK, FULL))
        steps = {name: each.token_steps + each.model_steps for name, each in ((QUICK, quick), (FULL, full))}
        with gr.Column(visible=False) as self._learns:
            self._learning = gr.Radio(
                [(f"Quick ({steps[QUICK]} steps)", QUICK), (f"Thorough ({steps[FULL]} steps)", FULL)], value=QUICK,
                label="Learning", elem_id=f"{self._form}-learning",
                info="Quick does for a first try; Thorough takes the steps of the command line. What was learned is "
                "used again for every other edit of the same photo.",
            )  # fmt: skip
            self._errors.place("learning")

    def _place_sources(self) -> None:
        pipe = self._edits.engine.pipe
        with gr.Column(visible=False) as self._told:
            for modality in pipe.modalities:
                if isinstance(kind_of(pipe.collaborators[modality].encoder), Words):
                    self._sources[modality] = gr.Textbox(
                        "", label="What the photo shows now", max_length=self._edits.engine.limits.text,
                        info="If you like: the editor then knows better what to change.",
                        elem_id=f"{self._form}-source-{modality}",
                    )  # fmt: skip
            self._errors.place("source")

    def _switched(self, name: str, strength: float | None = None) -> Updates:
        """Updates that show what an editor needs, and a strength; its usual one without."""
        editor = EDITORS.get(name, EDITORS[DEFAULT_EDITOR])
        return {
            self.purpose: self._purpose(name),
            self.strength: gr.update(**_range(editor, strength)),
            self._learns: gr.update(visible=editor.learns),
            self._told: gr.update(visible="source" in editor.takes and bool(self._sources)),
            self.region_box: gr.update(visible="region" in editor.takes),
        }

    def _purpose(self, name: str) -> str:
        if name not in EDITORS:
            return ""
        return f"<p>{html.escape(EDITORS[name].purpose)} {html.escape(self._edits.times.told(name))}</p>"


def _range(editor: Editor, strength: float | None = None) -> dict[str, Any]:
    value = editor.default if strength is None else strength
    return {"minimum": editor.low, "maximum": editor.high, "value": value, "label": "Strength"}
