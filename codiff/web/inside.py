"""Figures of what went on inside: who decided what, where and when, and where the collaborators disagreed.

They have no paper, so that they suit light and dark pages, and are twice as large as they are meant to be shown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from codiff.figures import QUIET, Colour, beside, blank, curves, full_colour, overlay, scale, shaded

SIDE = 448  # pixels of a map or a picture
LETTERS, MAP_LETTERS = 26, 34  # pixels; maps are shown smaller than curves
MARGIN = 12  # pixels around curves, so that rounded corners cut nothing off
FIRE: Colour = (214, 62, 62)
"""Colour of disagreement, which no modality has."""

_OPAQUE = 0.8  # share of a map's colour where it is full


def influence_maps(
    influences: Mapping[str, Tensor], colours: Mapping[str, Colour], place: int, step: int | None
) -> dict[str, Image.Image]:
    """Caption -> where one modality decides, each of its pixels beside a scale: RGBA, all of one size.

    Args:
        influences: modality -> (steps, batch, 1, h, w), as `Result.influences`.
        colours: of the modalities, in all figures the same: `codiff.figures.colours_of(pipe.modalities)`.
        place: of the picture in the batch.
        step: from 0; None for the mean of all steps.
    """
    shares = _shares(influences, place)
    most = max(1.0, *(_round(steps.max()) for steps in shares.values()))
    ticks = {"0%": 0.0, f"{most / 2:.0%}": 0.5, f"{most:.0%}": 1.0}
    return {
        _caption(modality, plane): _with_scale(plane, colours[modality], most, ticks)
        for modality, plane in _at(shares, step).items()
    }


def overlaid_influences(
    picture: Image.Image, influences: Mapping[str, Tensor], colours: Mapping[str, Colour], place: int, step: int | None
) -> dict[str, Image.Image]:
    """Caption -> the picture in grey, RGB, with influences over it: first the modality that decides most at each place,
    then one after the other. For the arguments see `influence_maps`."""
    planes = _at(_shares(influences, place), step)
    full = full_colour(planes)
    planes = {modality: plane / full for modality, plane in planes.items()}
    large = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    largest = np.max(list(planes.values()), axis=0)
    leading = {modality: np.where(plane == largest, plane, 0.0) for modality, plane in planes.items()}
    return {
        "who decides most": overlay(large, leading, colours, _OPAQUE),
        **{m: overlay(large, {m: plane}, colours, _OPAQUE) for m, plane in planes.items()},
    }


def influence_curve(
    influences: Mapping[str, Tensor], colours: Mapping[str, Colour], place: int, step: int | None
) -> Image.Image:
    """Mean influence of each modality over the pixels at each step, as lines: RGBA.

    For the arguments see `influence_maps`; the step is marked.
    """
    means = {modality: steps.mean(axis=(1, 2)).tolist() for modality, steps in _shares(influences, place).items()}
    ends = ("first step: noise", "last step: image")
    drawn = curves(means, colours, size=(2 * SIDE, SIDE), ends=ends, marked=step, letters=LETTERS)
    framed = blank((drawn.width + 2 * MARGIN, drawn.height + 2 * MARGIN))
    framed.paste(drawn, (MARGIN, MARGIN))
    return framed


def conflict_maps(conflict: Tensor, picture: Image.Image, place: int, step: int | None) -> dict[str, Image.Image]:
    """Caption -> where the collaborators disagree, with its scale, RGBA, and over the picture in grey, RGB.

    Args:
        conflict: (steps, batch, h, w) of `codiff.evaluation.disagreement`; the scale is the same at all steps.
        picture: what came of it.
        place: of the picture in the batch.
        step: from 0; None for the mean of all steps.
    """
    steps = conflict[:, place].float().numpy()
    most = _round(max(float(steps.max()), 0.1))
    plane = steps.mean(axis=0) if step is None else steps[step]
    large = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    ticks = {"0": 0.0, f"{most / 2:g}": 0.5, f"{most:g}": 1.0}
    return {
        f"disagreement: {plane.mean():.2f}": _with_scale(plane, FIRE, most, ticks),
        "over the picture": overlay(large, {"": plane / most}, {"": FIRE}, _OPAQUE),
    }


def _shares(influences: Mapping[str, Tensor], place: int) -> dict[str, NDArray[np.float32]]:
    """Modality -> (steps, h, w) of one picture."""
    return {modality: steps[:, place, 0].float().numpy() for modality, steps in influences.items()}


def _at(shares: Mapping[str, NDArray[np.float32]], step: int | None) -> dict[str, NDArray[np.float32]]:
    """Modality -> (h, w)."""
    return {modality: steps.mean(axis=0) if step is None else steps[step] for modality, steps in shares.items()}


def _caption(modality: str, plane: NDArray[np.float32]) -> str:
    return f"{modality}: {plane.mean():.0%}"


def _with_scale(plane: NDArray[np.float32], colour: Colour, most: float, ticks: Mapping[str, float]) -> Image.Image:
    drawn = shaded(plane, colour, SIDE, most)
    ImageDraw.Draw(drawn).rectangle((0, 0, SIDE - 1, SIDE - 1), outline=QUIET)
    return beside([drawn, scale(colour, SIDE, ticks, MAP_LETTERS)], gap=MAP_LETTERS // 3)


def _round(value: float) -> float:
    """A plain number that is not less, but for rounding."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * step for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if power * step >= value * (1 - 1e-6))
