"""The only denoising loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from codiff.constant_conditions import constant_conditions
from codiff.denoiser import Conditions, Denoiser


@dataclass
class Step:
    """What one step of `sample` did; the tensors are the loop's own: copy what is to be kept.

    Attributes:
        index, count: this step's number from 0, and how many there are.
        timestep: scalar, the noise level before the step.
        latents: x_t after the step, (batch, channels, h, w).
        influences: modality -> (batch, 1, h, w), or None.
        prediction: computes the predicted x_0 (batch, channels, h, w) when called.
    """

    index: int
    count: int
    timestep: Tensor
    latents: Tensor
    influences: dict[str, Tensor] | None
    prediction: Callable[[], Tensor]


@torch.no_grad()
def sample(
    denoiser: Denoiser,
    scheduler: Any,
    latents: Tensor,
    conditions: Conditions,
    *,
    step_kwargs: Mapping[str, Any] | None = None,
    on_step: Callable[[Step], Tensor | None] | None = None,
) -> Tensor:
    """Denoise latents (batch, channels, h, w) along `scheduler.timesteps`.

    Args:
        scheduler: any diffusers scheduler after `set_timesteps`; it keeps state, so concurrent calls need one each.
        latents: initial noise, already multiplied by `scheduler.init_noise_sigma`.
        step_kwargs: passed to `scheduler.step` (`eta`, `generator`).
        on_step: called after each step; latents that it returns replace the loop's.
    """
    with constant_conditions():
        return _denoise(denoiser, scheduler, latents, conditions, step_kwargs or {}, on_step)


def _denoise(
    denoiser: Denoiser,
    scheduler: Any,
    latents: Tensor,
    conditions: Conditions,
    step_kwargs: Mapping[str, Any],
    on_step: Callable[[Step], Tensor | None] | None,
) -> Tensor:
    timesteps = scheduler.timesteps
    for index, timestep in enumerate(timesteps):
        scaled = scheduler.scale_model_input(latents, timestep)
        output = denoiser(scaled, timestep.expand(len(latents)), conditions)
        latents = scheduler.step(output.sample, timestep, latents, **step_kwargs).prev_sample
        if on_step is not None:

            def prediction(scaled: Tensor = scaled, estimate: Tensor = output.sample, t: Tensor = timestep) -> Tensor:
                return predicted_original(scheduler, estimate, scaled, t)

            step = Step(index, len(timesteps), timestep, latents, output.influences, prediction)
            replaced = on_step(step)
            latents = latents if replaced is None else replaced
    return latents


def predicted_original(scheduler: Any, estimate: Tensor, scaled: Tensor, timestep: Tensor) -> Tensor:
    """x_0 (batch, channels, h, w) that a model output implies (Ho et al., arXiv:2006.11239, eq. 15, and Salimans & Ho,
    arXiv:2202.00512, for v-prediction).

    Args:
        estimate: model output, of the scheduler's `prediction_type`.
        scaled: the variance-preserving model input (after `scale_model_input`).
        timestep: scalar; between the training timesteps alpha-bar is interpolated in its logarithm.
    """
    table = scheduler.alphas_cumprod.to(device=scaled.device, dtype=torch.float64)
    position = timestep.to(device=scaled.device, dtype=torch.float64).clamp(0, len(table) - 1)
    lower, share = position.floor().long(), position - position.floor()
    upper = (lower + 1).clamp(max=len(table) - 1)
    alpha_bar = torch.exp((1 - share) * table[lower].log() + share * table[upper].log())
    alpha, sigma = alpha_bar.sqrt().to(scaled.dtype), (1 - alpha_bar).sqrt().to(scaled.dtype)
    kind = scheduler.config.prediction_type
    if kind == "epsilon":
        return (scaled - sigma * estimate) / alpha
    if kind == "v_prediction":
        return alpha * scaled - sigma * estimate
    return estimate
