"""What visitors ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from codiff.cli.drawing import Settings
from codiff.composition import InfluenceBias

DEFAULT_STEPS = 20


@dataclass(frozen=True)
class Request:
    """What a visitor asked for, unchecked.

    Attributes:
        conditions: modality -> words, a label map uint8 (h, w), a picture, or the bytes of a file; only those that are
            switched on, in any order.
        seed: of the first picture; the others count up.
        count: of pictures.
        steps: of denoising.
        scheduler: its short name; None for the model's own.
        guidance: scale; None for the model's own.
        composition: the rule; None for the model's own.
        bias: steering of the influences.
    """

    conditions: Mapping[str, Any]
    seed: int = 0
    count: int = 1
    steps: int = DEFAULT_STEPS
    scheduler: str | None = None
    guidance: float | None = None
    composition: str | None = None
    bias: InfluenceBias | None = None


@dataclass(frozen=True)
class Checked:
    """A request that can be drawn.

    Attributes:
        request: with all defaults filled in, conditions in the model's order.
        inputs: modality -> what its encoder reads, (1, ...).
        described: modality -> that in words.
        settings: all that determines the pictures besides conditions, bias and seed.
        digest: SHA-256 of all that determines the pictures but the seed, as `codiff generate` computes it.
        notes: how inputs were adapted, for people.
    """

    request: Request
    inputs: dict[str, Tensor]
    described: dict[str, str]
    settings: Settings
    digest: str
    notes: tuple[str, ...] = ()
