"""Classifier-free and negative guidance around any denoiser."""

from __future__ import annotations

import math

from torch import Tensor

from codiff.denoiser import Conditions, Denoiser, DenoiserOutput
from codiff.errors import InputError


class Guidance:
    """eps = eps(x, t, u) + scale (eps(x, t, c) - eps(x, t, u)) (Ho & Salimans, arXiv:2207.12598, eq. 6).

    Args:
        denoiser: what is guided.
        unconditional: u: tokens of "no condition" (classifier-free), or of what to avoid (negative guidance), for every
            modality of the conditions; their batch is 1 or that of the latents.
        scale: 1 follows the condition plainly, larger values follow it more closely.
    """

    def __init__(self, denoiser: Denoiser, unconditional: Conditions, scale: float) -> None:
        if not math.isfinite(scale):
            raise InputError(f"the guidance scale must be a finite number, got {scale}")
        self.denoiser, self.unconditional, self.scale = denoiser, unconditional, scale

    def __call__(self, latents: Tensor, timestep: Tensor, conditions: Conditions) -> DenoiserOutput:
        """The guided estimate; influences are those of the conditional one."""
        conditional = self.denoiser(latents, timestep, conditions)
        if self.scale == 1.0:
            return conditional
        avoided = {m: repeated(self.unconditional[m], len(tokens)) for m, tokens in conditions.items()}
        base = self.denoiser(latents, timestep, avoided).sample
        return DenoiserOutput(base + self.scale * (conditional.sample - base), conditional.influences)


def repeated(tokens: Tensor, batch: int) -> Tensor:
    """Tokens of batch 1, or of this batch, for a batch."""
    return tokens.expand(batch, *tokens.shape[1:])
