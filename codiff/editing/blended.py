"""Blended latent diffusion: edit inside a region, keep the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from codiff.editing.edit import DEFAULT, Edit, OnStep, Sampling
from codiff.editing.photo import picture_side
from codiff.editing.region import on_latents, pasted, read_region, region_between
from codiff.editing.schedule import FromMiddle, first_step, noised
from codiff.editing.session import Session, check_share
from codiff.errors import InputError
from codiff.image_files import ImageSource
from codiff.pipeline import CollaborativePipeline, Generators
from codiff.sampling import Step

STRENGTH = 0.8


def blended(
    pipe: CollaborativePipeline,
    image: ImageSource | Sequence[ImageSource],
    conditions: Mapping[str, Any],
    *,
    region: ImageSource | Tensor | None = None,
    source: Mapping[str, Any] | None = None,
    strength: float = STRENGTH,
    generator: Generators = None,
    latents: Tensor | None = None,
    sampling: Sampling = DEFAULT,
    on_step: OnStep | None = None,
) -> Edit:
    """Denoise towards the target, and after each step put the picture, noised as much, back outside the region
    (Avrahami et al., "Blended Latent Diffusion", 2023, arXiv:2206.02779, algorithm 1). At the end the picture's very
    pixels are pasted outside it, feathered inwards.

    Args:
        pipe, image, conditions, generator, latents: see `Session`.
        region: see `read_region`; without, where source and target pictures (masks, ...) differ.
        source: what the picture shows, by modality; only needed without a region.
        strength: share of the schedule that the region is noised to, from 0 to 1.

    Raises:
        InputError: an argument is wrong; nothing is computed then.
    """
    check_share(strength, "the strength of blended")
    where = region_of(pipe, conditions, region, source)
    session = Session(pipe, image, conditions, sampling, generator, latents)
    where = for_batch(where, session.batch).to(session.photo.latents.device)
    inside = on_latents(where, session.photo.latents.shape)
    begin = first_step(sampling.num_inference_steps, strength)
    start = result = session.photo.latents
    if begin < sampling.num_inference_steps:
        scheduler, noise = FromMiddle(session.scheduler, begin), session.noise()
        start = noised(scheduler, start, noise, scheduler.timesteps[0])

        def replace(step: Step) -> Tensor:
            kept = session.photo.latents
            if step.index + 1 < step.count:
                kept = noised(scheduler, kept, noise, scheduler.timesteps[step.index + 1])
            return torch.where(inside, step.latents, kept)

        result = session.sample(start, scheduler=scheduler, on_step=on_step, replace=replace)
    images = pasted(np.asarray(session.photo.pixels), session.decode(result), where.cpu())
    return Edit(images, result, start, region=where)


def region_of(
    pipe: CollaborativePipeline,
    conditions: Mapping[str, Any],
    region: ImageSource | Tensor | None,
    source: Mapping[str, Any] | None,
) -> Tensor:
    """The region that `blended` edits, bool (n, 1, side, side).

    Raises:
        InputError: it is wrong, or nothing tells it.
    """
    if region is not None:
        return read_region(region, picture_side(pipe))
    if not source:
        raise InputError("blended needs a region, or source conditions to derive it from")
    return region_between(pipe.collaborators, source, conditions, picture_side(pipe))


def for_batch(region: Tensor, batch: int) -> Tensor:
    """One region (1 or batch, 1, h, w) for each image.

    Raises:
        InputError: there are others in number.
    """
    if len(region) not in (1, batch):
        raise InputError(f"{len(region)} regions for {batch} images; give one, or one for each image")
    return region.expand(batch, *region.shape[1:])
