"""Where a visitor raises or lowers what a modality decides: how much, when, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
import numpy as np

from codiff.composition import InfluenceBias
from codiff.errors import InputError
from codiff.web.condition_inputs import QUIET, ConditionInput, Data
from codiff.web.error_lines import ErrorLines, Updates
from codiff.web.field_error import FieldError
from codiff.web.painter import steering_painter
from codiff.web.painting import painted_steering, steering_of
from codiff.web.settings_section import hinted

FIELD = "bias"
MOST = 6.0  # nats: odds times 400
_TIMES = {"Early": 1.0, "Middle": 0.5, "Late": 0.0}  # fractions of the noise schedule
_ALWAYS = 1.0
_PAINTED = 3.0


@dataclass(frozen=True)
class Steered:
    """What steers one modality.

    Attributes:
        modality: its name.
        strength, brush: sliders, in nats.
        times: sliders of the factors at `_TIMES`.
        painter: where the brush was.
    """

    modality: str
    strength: gr.Slider
    times: list[gr.Slider]
    brush: gr.Slider
    painter: gr.HTML

    @property
    def components(self) -> list[Any]:
        """All of them."""
        return [self.strength, *self.times, self.brush, self.painter]


class SteerSection:
    """The part of a form about steering.

    Args:
        inputs: the form's conditions.
        errors: gets the line for what is wrong.
        form: its name, which begins all ids.
        timesteps: of the model's training schedule.
    """

    def __init__(self, inputs: Sequence[ConditionInput], errors: ErrorLines, form: str, timesteps: int) -> None:
        self._timesteps, self._errors = timesteps, errors
        with gr.Accordion("Steer: who decides how much, when and where", open=False, elem_id=f"{form}-steer"):
            gr.Markdown(
                "Each model has learned where and when it knows best. Here you overrule it: 0 keeps what is learned, "
                "each step of 1 multiplies a model's odds against the others by 2.7, at 3 it decides nearly alone.",
                elem_classes="lead",
            )
            with gr.Tabs():
                self._parts = [_placed(each, form) for each in inputs]
            reset = gr.Button("Back to what is learned", size="sm", elem_id=f"{form}-steer-reset")
        errors.place(FIELD)
        reset.click(lambda: self.filled(None), None, self.components, **QUIET)

    @property
    def components(self) -> list[Any]:
        """All inputs."""
        return [component for part in self._parts for component in part.components]

    def bias(self, data: Data, modalities: Sequence[str]) -> InfluenceBias | None:
        """What a visitor chose for these modalities; None where that is nothing.

        Raises:
            FieldError: of "bias".
        """
        strengths, maps, curves = {}, {}, {}
        try:
            for part in (each for each in self._parts if each.modality in modalities):
                strength, brush = data[part.strength] or 0.0, data[part.brush] or 0.0
                painted = steering_of(data[part.painter])
                if strength:
                    strengths[part.modality] = strength
                if painted is not None and brush:
                    maps[part.modality] = painted * np.float32(brush)
                factors = [data[slider] for slider in part.times]
                if part.modality in {**strengths, **maps} and any(factor != _ALWAYS for factor in factors):
                    curves[part.modality] = list(zip(_TIMES.values(), factors, strict=True))
            if not (strengths or maps):
                return None
            return InfluenceBias(strengths, maps, curves, timesteps=self._timesteps)
        except InputError as error:
            raise FieldError(FIELD, str(error)) from error

    def noted(self, data: Data, modalities: Sequence[str]) -> Updates:
        """Updates that tell what of the steering does nothing with these modalities; of one alone `bias` is refused."""
        steered = [part.modality for part in self._parts if _steers(part, data)]
        off = ", ".join(modality for modality in steered if modality not in modalities)
        told = f"the steering of {off} does nothing while {off} is switched off"
        return self._errors.noted(FIELD, [told] if off else [])

    def filled(self, bias: InfluenceBias | None) -> Updates:
        """Updates that show a steering; None is none."""
        shown: dict[Any, Any] = {}
        curves = {} if bias is None else bias.curves
        for part in self._parts:
            strength = 0.0 if bias is None else bias.strengths.get(part.modality, 0.0)
            plane = None if bias is None else bias.maps.get(part.modality)
            factors = [_ALWAYS] * len(_TIMES)
            curve = curves.get(part.modality)
            if curve is not None and not callable(curve):
                fractions, values = np.array(curve).T
                factors = [float(np.interp(fraction, fractions, values)) for fraction in _TIMES.values()]
            shown[part.strength] = strength
            shown.update(zip(part.times, factors, strict=True))
            shown[part.brush] = _PAINTED if plane is None else float(plane.abs().max())
            shown[part.painter] = "" if plane is None else painted_steering(plane.numpy())
        return shown

    def over(self, picture: str) -> Updates:
        """Updates that lay a picture, a data URL, below the brush."""
        return {part.painter: gr.update(underlay=picture) for part in self._parts}


def _steers(part: Steered, data: Data) -> bool:
    """Whether a strength is set, or something is painted with a brush that has one."""
    return bool(data[part.strength] or (data[part.painter] and data[part.brush]))


def _placed(given: ConditionInput, form: str) -> Steered:
    """The sliders and the brush of one modality, here on the page."""
    name = f"{form}-steer-{given.modality}"
    with gr.Tab(given.title):
        strength = gr.Slider(
            -MOST, MOST, 0, step=0.1, label="How much", info="Above 0 it decides more, below 0 less.",
            **hinted(name, "strength"),
        )  # fmt: skip
        with gr.Row(elem_classes="times"):
            times = [
                gr.Slider(
                    0, 2, _ALWAYS, step=0.05, label=label, min_width=70, buttons=[], **hinted(name, label.lower()),
                    info=f"How much of it holds in {moment} of the drawing: 0 nothing, 1 all, 2 twice.",
                )
                for label, moment in zip(_TIMES, ("the first steps", "the middle", "the last steps"), strict=True)
            ]  # fmt: skip
        brush = gr.Slider(
            0, MOST, _PAINTED, step=0.1, label="Strength of the brush",
            info="What red adds and blue takes away where you paint below.", **hinted(name, "brush"),
        )  # fmt: skip
        painter = steering_painter(f"Where {given.title.lower()} decides more or less", elem_id=f"{name}-painter")
    return Steered(given.modality, strength, times, brush, painter)
