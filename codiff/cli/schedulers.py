"""Diffusers schedulers by short names."""

from __future__ import annotations

import inspect
from typing import Any

from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    UniPCMultistepScheduler,
)

from codiff.errors import InputError

SCHEDULERS: dict[str, type[Any]] = {
    "dpm++": DPMSolverMultistepScheduler,
    "ddim": DDIMScheduler,
    "ddpm": DDPMScheduler,
    "euler": EulerDiscreteScheduler,
    "unipc": UniPCMultistepScheduler,
}


def check_scheduler(name: str | None) -> None:
    """Raises:
    InputError: unknown name; None is the model's own.
    """
    if name is not None and name not in SCHEDULERS:
        raise InputError(f"unknown scheduler {name!r}; known: {', '.join(SCHEDULERS)}")


def scheduler_named(name: str | None, own: Any) -> Any:
    """The scheduler of this name with the noise schedule of a model's `own`, which None stands for."""
    check_scheduler(name)
    if name is None:
        return own
    kind = SCHEDULERS[name]
    # DDIM and DDPM clip the predicted x_0 to [-1, 1] by default: right for pixels, wrong for latents.
    clip = (
        {"clip_sample": own.config.get("clip_sample", False)}
        if "clip_sample" in inspect.signature(kind).parameters
        else {}
    )
    return kind.from_config(own.config, **clip)


def check_sampling(scheduler: Any, steps: int, eta: float) -> None:
    """Raises:
    InputError: more steps than the scheduler has, or an eta that it does not take.
    """
    limit = scheduler.config.num_train_timesteps
    if not 1 <= steps <= limit:
        raise InputError(f"steps must be from 1 to {limit}, not {steps}")
    if eta and "eta" not in inspect.signature(scheduler.step).parameters:
        raise InputError(f"{name_of(scheduler)} takes no eta; leave it at 0, or use --scheduler ddim")


def name_of(scheduler: Any) -> str:
    """The short name of a scheduler, or its class's."""
    return next((name for name, kind in SCHEDULERS.items() if type(scheduler) is kind), type(scheduler).__name__)
