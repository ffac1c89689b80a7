"""The only denoising loss."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from codiff.denoiser import Conditions, Denoiser


def denoising_loss(
    denoiser: Denoiser, scheduler: Any, latents: Tensor, conditions: Conditions, noise: Tensor, timesteps: Tensor
) -> Tensor:
    """|| target - denoiser(x_t, t, c) ||^2 averaged over each example, (batch,) (arXiv:2006.11239, eq. 14).

    Args:
        scheduler: a diffusers scheduler whose `add_noise` makes x_t, and whose `prediction_type` names the target.
        latents, noise: x_0 and the true noise, (batch, channels, h, w).
        timesteps: (batch,), integers.
    """
    noisy = scheduler.add_noise(latents, noise, timesteps)
    kind = scheduler.config.prediction_type
    if kind == "epsilon":
        target = noise
    elif kind == "v_prediction":
        target = scheduler.get_velocity(latents, noise, timesteps)
    else:
        target = latents
    estimate = denoiser(noisy, timesteps, conditions).sample
    return ((estimate.float() - target.float()) ** 2).mean(dim=(1, 2, 3))
