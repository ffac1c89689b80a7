"""Where a visitor raises or lowers what a modality decides: how much, when, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codiff.composition import InfluenceBias
from codiff.composition.steering import Curve
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
_MOST_FACTOR = 2.0
_PAINTED = 3.0
_OTHERWISE = (
    "this form cannot show all of this steering, and Generate steers as the form shows: a strength goes as far as "
    f"{MOST:g}, a brush has one strength, and factors from 0 to {_MOST_FACTOR:g} are set at three moments. Programs "
    "still draw it exactly: send the settings file to /repeat"
)


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
        line = errors.place(FIELD)
        reset.click(lambda: self.filled(None), None, [*self.components, line], **QUIET)

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
        """Updates that show a steering, or what is nearest to it, which is told; None is none."""
        shown: dict[Any, Any] = {}
        given = InfluenceBias(timesteps=self._timesteps) if bias is None else bias
        for part in self._parts:
            plane = given.maps.get(part.modality)
            painted = None if plane is None or not plane.any() else _squared(plane.numpy())
            shown[part.strength] = float(np.clip(given.strengths.get(part.modality, 0.0), -MOST, MOST))
            shown.update(zip(part.times, _factors(given.curves.get(part.modality)), strict=True))
            shown[part.brush] = _PAINTED if painted is None else min(float(np.abs(painted).max()), MOST)
            shown[part.painter] = "" if painted is None else painted_steering(painted)
        return {**shown, **self._errors.noted(FIELD, [] if self._shows(given) else [_OTHERWISE])}

    def over(self, picture: str) -> Updates:
        """Updates that lay a picture, a data URL, below the brush."""
        return {part.painter: gr.update(underlay=picture) for part in self._parts}

    def _shows(self, bias: InfluenceBias) -> bool:
        """Whether the form can say the same."""
        steered = [m for m in bias.modalities if bias.strengths.get(m) or (m in bias.maps and bias.maps[m].any())]
        same_times = bias.timesteps == self._timesteps
        return all(
            abs(bias.strengths.get(modality, 0.0)) <= MOST
            and (modality not in bias.maps or _is_brushed(bias.maps[modality].numpy()))
            and (modality not in bias.curves or (same_times and _is_set_by_sliders(bias.curves[modality])))
            for modality in steered
        )


def _is_brushed(plane: NDArray[np.floating]) -> bool:
    """Whether a brush of one strength can paint a map (h, w)."""
    strengths = np.unique(np.abs(plane[plane != 0]))
    return plane.shape[0] == plane.shape[1] and len(strengths) <= 1 and bool((strengths <= MOST).all())


def _squared(plane: NDArray[np.floating]) -> NDArray[np.floating]:
    """A map (h, w) as painters show maps, (side, side)."""
    side = max(plane.shape)
    if plane.shape == (side, side):
        return plane
    return np.asarray(Image.fromarray(plane).resize((side, side), Image.Resampling.NEAREST))


def _factors(curve: Curve | None) -> list[float]:
    """What the sliders at `_TIMES` show of a curve."""
    if curve is None or callable(curve):
        return [_ALWAYS] * len(_TIMES)
    fractions, values = np.array(curve).T
    return [float(np.clip(np.interp(fraction, fractions, values), 0, _MOST_FACTOR)) for fraction in _TIMES.values()]


def _is_set_by_sliders(curve: Curve) -> bool:
    """Whether a curve is the straight lines between the sliders' factors."""
    if callable(curve):
        return False
    fractions, values = np.array(curve).T
    where, factors = np.array(sorted(zip(_TIMES.values(), _factors(curve), strict=True))).T
    corners = np.union1d(fractions, where)
    return np.allclose(np.interp(corners, fractions, values), np.interp(corners, where, factors), rtol=0, atol=1e-9)


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
                    0, _MOST_FACTOR, _ALWAYS, step=0.05, label=label, min_width=70, buttons=[],
                    info=f"How much of it holds in {moment} of the drawing: 0 nothing, 1 all, 2 twice.",
                    **hinted(name, label.lower()),
                )
                for label, moment in zip(_TIMES, ("the first steps", "the middle", "the last steps"), strict=True)
            ]  # fmt: skip
        brush = gr.Slider(
            0, MOST, _PAINTED, step=0.1, label="Strength of the brush",
            info="What red adds and blue takes away where you paint below.", **hinted(name, "brush"),
        )  # fmt: skip
        painter = steering_painter(f"Where {given.title.lower()} decides more or less", elem_id=f"{name}-painter")
    return Steered(given.modality, strength, times, brush, painter)
