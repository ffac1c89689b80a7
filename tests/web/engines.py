"""Engines over tiny models, and what visitors ask of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from models import PIXELS, raw_conditions, shared_pipeline
from PIL import Image

from codiff import CollaborativePipeline
from codiff.web.engine import Engine, Request, Result
from codiff.web.limits import Limits
from codiff.web.runs import Done, Event

WEIGHTS = "0" * 64
STEPS = 3


@dataclass
class Site:
    """A page that is served, and what draws for it."""

    url: str
    engine: Engine

    @property
    def busy(self) -> bool:
        """Whether anything is drawn or waits."""
        return self.engine.workers.waiting + self.engine.workers.working > 0


def engine(limits: Limits | None = None, pipe: CollaborativePipeline | None = None, **options: Any) -> Engine:
    """An engine that signs nothing."""
    return Engine(pipe or shared_pipeline(), "tiny", WEIGHTS, limits or Limits(), **options)


def lines() -> Image.Image:
    """A line drawing of the tiny models' size."""
    values = np.full((PIXELS, PIXELS), 255, np.uint8)
    values[10, 4:28] = 0
    values[4:28, 10] = 90
    return Image.fromarray(values)


def conditions(*modalities: str) -> dict[str, Any]:
    """Of these modalities, all without."""
    every = {**raw_conditions(), "sketch": lines()}
    return {modality: every[modality] for modality in modalities or every}


def request(**changes: Any) -> Request:
    """A quick one of all modalities."""
    return Request(**{"conditions": conditions(), "steps": STEPS, **changes})


def result_of(events: Iterable[Event[Result]]) -> Result:
    """What the last event brings."""
    last = list(events)[-1]
    assert isinstance(last, Done)
    return last.result


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Wait for something that other threads do."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds, "it did not happen in time"
        time.sleep(0.01)


def same_inputs(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """To the bit."""
    return one.keys() == other.keys() and all(torch.equal(one[m], other[m]) for m in one)
