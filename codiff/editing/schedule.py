"""Where in a noise schedule an editor begins, and the schedule's way back."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import DDIMInverseScheduler, DDIMScheduler
from torch import Tensor


class FromMiddle:
    """A scheduler after `set_timesteps` whose first steps are left out; whatever else is asked of it is its own.

    Args:
        scheduler: any of diffusers', fresh.
        begin: number of the first step that is taken.
    """

    def __init__(self, scheduler: Any, begin: int) -> None:
        self._scheduler = scheduler
        if hasattr(scheduler, "set_begin_index"):  # those that count their steps
            scheduler.set_begin_index(begin)
        self.timesteps: Tensor = scheduler.timesteps[begin:]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scheduler, name)


def first_step(steps: int, strength: float) -> int:
    """The first of `steps` steps that is taken at this strength: 1 takes all, 0 none."""
    return steps - min(round(steps * strength), steps)


def noised(scheduler: Any, latents: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
    """Latents and noise (batch, ...) mixed as the scheduler has them at one of its timesteps."""
    mixed: Tensor = scheduler.add_noise(latents, noise, timestep.reshape(1).expand(len(latents)))
    return mixed.to(latents.dtype)


def ddim(scheduler: Any, steps: int, device: torch.device) -> DDIMScheduler:
    """DDIM over the noise schedule of another scheduler, evenly spaced so that `ddim_inverse` retraces its steps."""
    return _evenly(DDIMScheduler, scheduler, steps, device)


def ddim_inverse(scheduler: Any, steps: int, device: torch.device) -> DDIMInverseScheduler:
    """The way from a picture to its noise (Song et al., arXiv:2010.02502, eq. 14 read backwards)."""
    return _evenly(DDIMInverseScheduler, scheduler, steps, device)


def _evenly(kind: type[Any], scheduler: Any, steps: int, device: torch.device) -> Any:
    config = {**scheduler.config, "clip_sample": False, "timestep_spacing": "leading", "steps_offset": 0}
    made = kind.from_config(config)
    made.set_timesteps(steps, device=device)
    return made
