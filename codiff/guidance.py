"""Classifier-free and negative guidance around any denoiser."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from codiff.constant_conditions import computed_once
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
        if self.scale == 1.0:
            return self.denoiser(latents, timestep, conditions)
        conditional, base = with_and_without(self.denoiser, latents, timestep, conditions, self.unconditional)
        sample = base.sample + self.scale * (conditional.sample - base.sample)
        return DenoiserOutput(sample, conditional.influences)


def with_and_without(
    denoiser: Denoiser, latents: Tensor, timestep: Tensor, conditions: Conditions, unconditional: Conditions
) -> tuple[DenoiserOutput, DenoiserOutput]:
    """The estimates for the conditions and for `unconditional` (batch 1 or the latents'), in one call of twice the
    batch where their tokens are of one shape: a small batch costs calls rather than products."""
    count = len(latents)
    avoided = {m: unconditional[m].expand(count, *unconditional[m].shape[1:]) for m in conditions}
    if any(avoided[m].shape != tokens.shape for m, tokens in conditions.items()):
        return denoiser(latents, timestep, conditions), denoiser(latents, timestep, avoided)
    joined = {m: _joined(tokens, avoided[m]) for m, tokens in conditions.items()}
    output = denoiser(torch.cat([latents, latents]), timestep.expand(count).repeat(2), joined)
    influences = output.influences or {}
    given, base = (
        DenoiserOutput(output.sample[part], {m: value[part] for m, value in influences.items()} or None)
        for part in (slice(count), slice(count, None))
    )
    return given, base


def _joined(tokens: Tensor, avoided: Tensor) -> Tensor:
    return computed_once(_joined, (tokens, avoided), lambda: torch.cat([tokens, avoided]))
