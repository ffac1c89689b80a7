"""The form's steering: what it can show comes back as it was, what it cannot is brought into range and told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from engines import engine
from models import PIXELS

from codiff import InfluenceBias
from codiff.web.limits import Limits
from codiff.web.storage import Storage

gr = pytest.importorskip("gradio", reason="gradio is not installed: pip install 'codiff[web]'")

from codiff.web.condition_inputs import condition_inputs  # noqa: E402
from codiff.web.error_lines import ErrorLines  # noqa: E402
from codiff.web.steer_section import MOST, SteerSection  # noqa: E402

PRESENT = ["text", "mask", "sketch"]
TIMESTEPS = 1000


@pytest.fixture(scope="module")
def form() -> Iterator[tuple[SteerSection, ErrorLines]]:
    drawing, storage = engine(Limits()), Storage()

    async def made() -> tuple[SteerSection, ErrorLines]:
        """Within a loop, as Gradio opens one where there is none, and closes none."""
        with gr.Blocks():
            errors = ErrorLines("form")
            steering = SteerSection(condition_inputs(drawing, storage, "form"), errors, "form", TIMESTEPS)
        return steering, errors

    yield asyncio.run(made())
    drawing.close()
    storage.close()


def plane(*values: float) -> np.ndarray:
    """A square map that holds these values, and 0."""
    square = np.zeros((PIXELS, PIXELS), np.float32)
    square[0, : len(values)] = values
    return square


def shown(form: tuple[SteerSection, ErrorLines], bias: InfluenceBias | None) -> tuple[dict[Any, Any], str]:
    """Values of the inputs, all of which Gradio takes, and what is told beside them."""
    steering, errors = form
    updates = dict(steering.filled(bias))
    (line,) = errors.components
    told = updates.pop(line)
    assert set(updates) == set(steering.components)
    for component, value in updates.items():
        if isinstance(component, gr.Slider):
            assert component.minimum <= value <= component.maximum
            component.preprocess(value)  # refuses what is beyond its ends
    return updates, told


EXACT = {
    "nothing": None,
    "strengths": InfluenceBias({"text": MOST, "mask": -2.5}),
    "a map of one strength": InfluenceBias(maps={"mask": plane(1.5, -1.5)}),
    "a curve of the form": InfluenceBias({"text": 1.0}, curves={"text": [(1.0, 0.5), (0.5, 1.0), (0.0, 2.0)]}),
    "a curve that is straight": InfluenceBias({"text": 1.0}, curves={"text": [(1.0, 1.5), (0.25, 0.75), (0.0, 0.5)]}),
    "a level curve": InfluenceBias({"text": 1.0}, curves={"text": [(0.3, 0.25)]}),
    "a curve of nothing": InfluenceBias({"text": 1.0}, curves={"mask": [(0.3, 9.0)]}),
}

BEYOND = {
    "a strength": InfluenceBias({"text": 6.1}),
    "a negative strength": InfluenceBias({"mask": -20.0}),
    "a map that is too strong": InfluenceBias(maps={"mask": plane(7.0)}),
    "a map of several strengths": InfluenceBias(maps={"mask": plane(1.0, 2.0)}),
    "a map that is not square": InfluenceBias(maps={"mask": np.ones((3, 5), np.float32)}),
    "another point": InfluenceBias({"text": 1.0}, curves={"text": [(1.0, 1.0), (0.7, 0.0), (0.0, 1.0)]}),
    "a factor": InfluenceBias({"text": 1.0}, curves={"text": [(1.0, -1.0), (0.0, 5.0)]}),
    "other timesteps": InfluenceBias({"text": 1.0}, curves={"text": [(1.0, 1.0), (0.0, 0.0)]}, timesteps=500),
}


@pytest.mark.parametrize("name", list(EXACT))
def test_what_the_form_can_show_comes_back_and_nothing_is_told(
    form: tuple[SteerSection, ErrorLines], name: str
) -> None:
    values, told = shown(form, EXACT[name])
    assert told == ""
    again, bias = form[0].bias(values, PRESENT), EXACT[name]
    if bias is None:
        assert again is None
        return
    assert again is not None
    timesteps = torch.arange(TIMESTEPS)
    for modality in PRESENT:
        expected = bias.at(modality, timesteps, (PIXELS, PIXELS))
        torch.testing.assert_close(again.at(modality, timesteps, (PIXELS, PIXELS)), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", list(BEYOND))
def test_what_it_cannot_show_is_brought_into_range_and_told_once(
    form: tuple[SteerSection, ErrorLines], name: str
) -> None:
    values, told = shown(form, BEYOND[name])
    assert told.count("role=") == 1
    assert "cannot show all of this steering" in told
    assert "/repeat" in told
    assert form[0].bias(values, PRESENT) is not None


def test_a_wide_map_keeps_its_places(form: tuple[SteerSection, ErrorLines]) -> None:
    wide = np.zeros((2, 4), np.float32)
    wide[1, :2] = -1
    values, _ = shown(form, InfluenceBias(maps={"text": wide}))
    again = form[0].bias(values, PRESENT)
    assert again is not None
    assert again.maps["text"].tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [-1, -1, 0, 0], [-1, -1, 0, 0]]
