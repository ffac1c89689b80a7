"""Everything that a client can send, checked before anything is queued: no limit of the page is trusted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from codiff.cli.drawing import Settings
from codiff.cli.requests import MOST_SEED
from codiff.cli.steering import recorded
from codiff.composition import InfluenceBias
from codiff.errors import InputError
from codiff.pipeline import CollaborativePipeline
from codiff.web.choices import Choices, with_scheduler
from codiff.web.condition_kinds import kind_of
from codiff.web.field_error import FieldError, on_the_page
from codiff.web.limits import Limits
from codiff.web.request import Request


def read_conditions(
    pipe: CollaborativePipeline, given: Mapping[str, Any], limits: Limits
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Modality -> a condition's plain form, and modality -> what its encoder reads, (1, ...); in the model's order.

    Raises:
        FieldError: of "conditions" or of a modality.
    """
    unknown = [str(modality)[:40] for modality in given if modality not in pipe.modalities]
    known = ", ".join(pipe.modalities)
    if unknown:
        raise FieldError("conditions", f"this model takes {known}, not {', '.join(map(repr, unknown[:5]))}")
    if not given:
        raise FieldError("conditions", f"nothing is given that a picture could follow: give at least one of {known}")
    plain, inputs = {}, {}
    for modality in (each for each in pipe.modalities if each in given):
        encoder = pipe.collaborators[modality].encoder
        try:
            plain[modality] = kind_of(encoder).accepted(given[modality], encoder, limits)
            inputs[modality] = encoder.read_all(plain[modality])
            if len(inputs[modality]) != 1:
                raise InputError(f"{len(inputs[modality])} conditions are given, one is expected")
        except InputError as error:
            raise on_the_page(modality, error) from error
    return plain, inputs


def checked_settings(
    pipe: CollaborativePipeline, request: Request, choices: Choices, limits: Limits, model: str, weights: str
) -> Settings:
    """Settings with the model's own in place of None.

    Raises:
        FieldError: of "steps", "scheduler", "guidance" or "composition".
    """
    steps = whole("steps", request.steps, 1, limits.steps)
    scheduler = chosen("scheduler", request.scheduler, choices.schedulers)
    composition = chosen("composition", request.composition, choices.compositions)
    guidance = choices.guidance if request.guidance is None else number("guidance", request.guidance, limits.guidance)
    try:
        with_scheduler(pipe, scheduler).scheduler_for(steps)
    except InputError as error:
        raise FieldError("steps", str(error)) from error
    return Settings(model, weights, steps, scheduler, guidance, composition, 0.0)


def checked_bias(bias: InfluenceBias | None, present: list[str], limits: Limits) -> InfluenceBias | None:
    """Steering that these modalities can take and a record can hold; None where it speaks of none.

    Raises:
        FieldError: of "bias".
    """
    if bias is None or (isinstance(bias, InfluenceBias) and not bias.modalities):
        return None
    try:
        if not isinstance(bias, InfluenceBias):
            raise InputError(f"an InfluenceBias is expected, not {type(bias).__name__}")
        bias.check(present)
        recorded(bias)
        for modality, plane in bias.maps.items():
            if max(plane.shape) > limits.condition_side:
                raise InputError(f"the map of {modality!r} is larger than {limits.condition_side} pixels a side")
    except InputError as error:
        raise FieldError("bias", str(error)) from error
    return bias


def whole(field: str, value: Any, least: int, most: int) -> int:
    """A whole number within a range; JSON and sliders may give it as 20.0, and long ones come as text.

    Raises:
        FieldError: it is something else.
    """
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    if isinstance(value, str) and value.strip().isdecimal() and value.isascii() and len(value.strip()) <= 19:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise FieldError(field, f"{field} must be a whole number from {least} to {most}, not {value!r:.40}")
    return value


def number(field: str, value: Any, most: float) -> float:
    """A number from 0 on.

    Raises:
        FieldError: it is something else.
    """
    fine = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not fine or not 0 <= value <= most:
        raise FieldError(field, f"{field} must be a number from 0 to {most:g}, not {value!r:.40}")
    return float(value)


def chosen(field: str, value: Any, offered: tuple[str, ...]) -> str:
    """One of what is offered; the first for None.

    Raises:
        FieldError: it is something else.
    """
    if value is None:
        return offered[0]
    if not isinstance(value, str) or value not in offered:
        raise FieldError(field, f"unknown {field} {value!r:.40}; this model takes {', '.join(offered)}")
    return value


def checked_seed(value: Any, count: int) -> int:
    """A seed from which so many pictures can count up.

    Raises:
        FieldError: of "seed".
    """
    return whole("seed", value, 0, MOST_SEED - count)
