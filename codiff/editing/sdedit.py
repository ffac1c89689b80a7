"""SDEdit: noise the picture part of the way, then denoise it towards the target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from codiff.editing.edit import DEFAULT, Edit, OnStep, Sampling
from codiff.editing.schedule import FromMiddle, first_step, noised
from codiff.editing.session import Session, check_share
from codiff.image_files import ImageSource
from codiff.pipeline import CollaborativePipeline, Generators

STRENGTH = 0.6


def sdedit(
    pipe: CollaborativePipeline,
    image: ImageSource | Sequence[ImageSource],
    conditions: Mapping[str, Any],
    *,
    strength: float = STRENGTH,
    generator: Generators = None,
    latents: Tensor | None = None,
    sampling: Sampling = DEFAULT,
    on_step: OnStep | None = None,
) -> Edit:
    """Noise the picture's latents to `strength` of the schedule and denoise them collaboratively (Meng et al.,
    "SDEdit", 2022, arXiv:2108.01073, algorithm 1).

    Args:
        pipe, image, conditions, generator, latents: see `Session`.
        strength: 0 keeps the picture as the autoencoder has it, 1 keeps next to nothing of it.

    Raises:
        InputError: an argument is wrong; nothing is computed then.
    """
    check_share(strength, "the strength of sdedit")
    session = Session(pipe, image, conditions, sampling, generator, latents)
    begin = first_step(sampling.num_inference_steps, strength)
    start = session.photo.latents
    if begin < sampling.num_inference_steps:
        scheduler = FromMiddle(session.scheduler, begin)
        start = noised(scheduler, start, session.noise(), scheduler.timesteps[0])
        result = session.sample(start, scheduler=scheduler, on_step=on_step)
    else:
        result = start
    return Edit(session.decode(result), result, start)
