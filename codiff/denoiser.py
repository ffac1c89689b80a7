"""The one signature that collaborators, compositions and guidance share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from diffusers.utils import BaseOutput
from torch import Tensor

Conditions = Mapping[str, Tensor]
"""Modality -> tokens. Their first dimension is the batch; all else is known only to the modality's own models."""


@dataclass
class DenoiserOutput(BaseOutput):
    """One noise estimate.

    Attributes:
        sample: what the scheduler's `prediction_type` names (the noise), (batch, channels, height, width).
        influences: modality -> share of each latent pixel, (batch, 1, height, width) in [0, 1], summing to 1 over the
            modalities; None for a single model.
    """

    sample: Tensor
    influences: dict[str, Tensor] | None = None


class Denoiser(Protocol):
    """Estimates the noise in latents."""

    def __call__(self, latents: Tensor, timestep: Tensor, conditions: Conditions) -> DenoiserOutput:
        """Latents (batch, channels, height, width), timesteps (batch,) or scalar, conditions of the same batch."""
        ...
