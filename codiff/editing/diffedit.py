"""DiffEdit: the region is where source and target conditions disagree about the noise."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor
from torch.nn import functional

from codiff.editing.blended import for_batch
from codiff.editing.edit import DEFAULT, Edit, OnStep, Sampling
from codiff.editing.inversion import REFINEMENTS, Inversion, check_deterministic, reconstruction_error, unguided
from codiff.editing.photo import picture_side
from codiff.editing.region import grown, on_latents, pasted, read_region
from codiff.editing.schedule import ddim, noised
from codiff.editing.session import Session, check_share
from codiff.errors import InputError, InputNotice
from codiff.image_files import ImageSource
from codiff.pipeline import CollaborativePipeline, Generators
from codiff.sampling import Step

STRENGTH, THRESHOLD, DRAWS = 0.8, 0.5, 10
_NOISED = 0.5  # of the schedule, where noise estimates are compared
_OUTLIERS = 2.0  # times the mean: larger disagreements count no more
_GROWN = 0.06  # of the side: the disagreement is strongest inside what changes, and in spots
NOWHERE = "source and target disagree nowhere, so nothing was edited"


def diffedit(
    pipe: CollaborativePipeline,
    image: ImageSource | Sequence[ImageSource],
    conditions: Mapping[str, Any],
    *,
    source: Mapping[str, Any] | None = None,
    region: ImageSource | Tensor | None = None,
    strength: float = STRENGTH,
    threshold: float = THRESHOLD,
    draws: int = DRAWS,
    refinements: int = REFINEMENTS,
    generator: Generators = None,
    sampling: Sampling = DEFAULT,
    on_step: OnStep | None = None,
) -> Edit:
    """Find where the noise estimates under source and target conditions disagree, encode the picture by DDIM inversion,
    and decode it under the target inside that region and along its own path outside (Couairon et al., "DiffEdit", 2023,
    arXiv:2210.11427, section 3.2). `measured["edited_share"]` is the region's share of the picture.

    Args:
        pipe, image, conditions, generator: see `Session`.
        source: what the picture shows, by modality; any subset. Without, no condition.
        region: see `read_region`, in place of the one that is found.
        strength: share of the schedule that is encoded, from 0 to 1.
        threshold: of the disagreement, scaled to [0, 1]; lower ones make larger regions.
        draws: noises that the disagreement is averaged over.
        refinements: see `Inversion`.

    Raises:
        InputError: an argument is wrong; nothing is computed then.
    """
    check_share(strength, "the strength of diffedit")
    check_share(threshold, "the threshold of diffedit")
    check_deterministic(sampling, "diffedit")
    if draws < 1:
        raise InputError(f"draws must be 1 or more, not {draws}")
    given = None if region is None else read_region(region, picture_side(pipe))
    session = Session(pipe, image, conditions, sampling, generator)
    tokens = None if source is None else session.encoded(source)
    where = _found(session, tokens, draws, threshold) if given is None else for_batch(given, session.batch)
    where = where.to(session.photo.latents.device)
    if not where.any():
        warnings.warn(NOWHERE, InputNotice, stacklevel=2)
    inside = on_latents(where, session.photo.latents.shape)
    inversion = Inversion(session, tokens, strength, refinements=refinements, on_step=on_step)

    def replace(step: Step) -> Tensor:
        return torch.where(inside, step.latents, inversion.path[-2 - step.index])

    result = session.sample(
        inversion.start, scheduler=inversion.way_out, step_kwargs={}, on_step=on_step, replace=replace
    )
    images = pasted(np.asarray(session.photo.pixels), session.decode(result), where.cpu())
    measured = {
        "edited_share": float(where.float().mean()),
        "reconstruction_error": reconstruction_error(session, inversion.retraced()),
    }
    return Edit(images, result, inversion.start, region=where, measured=measured)


@torch.no_grad()
def disagreement(session: Session, source: Mapping[str, Tensor] | None, draws: int) -> Tensor:
    """How much the estimates under source and target differ at half the schedule, (batch, 1, h, w) in [0, 1].

    Estimates of one kind of prediction differ from those of another by a factor that scaling to [0, 1] removes.
    """
    scheduler = ddim(session.scheduler, session.sampling.num_inference_steps, session.photo.latents.device)
    limit = scheduler.config.num_train_timesteps
    timestep = torch.tensor(round(_NOISED * (limit - 1)), device=session.photo.latents.device)
    source_denoiser, source_tokens = unguided(session, source)
    target_denoiser, target_tokens = unguided(session, session.target)
    shape = session.photo.latents.shape[1:]
    total = torch.zeros_like(session.photo.latents[:, :1], dtype=torch.float32)
    for _ in range(draws):
        noise = torch.cat(
            [
                randn_tensor((1, *shape), generator=own, device=timestep.device, dtype=session.photo.latents.dtype)
                for own in session.sources
            ]
        )
        latents = noised(scheduler, session.photo.latents, noise, timestep)
        times = timestep.expand(len(latents))
        estimate = target_denoiser(latents, times, target_tokens).sample
        other = source_denoiser(latents, times, source_tokens).sample
        total += (estimate - other).float().abs().mean(dim=1, keepdim=True) / draws
    most = _OUTLIERS * total.mean(dim=(2, 3), keepdim=True)
    return torch.where(most > 0, torch.minimum(total, most) / most.clamp_min(1e-12), total)


def _found(session: Session, source: Mapping[str, Tensor] | None, draws: int, threshold: float) -> Tensor:
    """Where source and target disagree more than the threshold, somewhat grown: bool (batch, 1, side, side)."""
    side = picture_side(session.pipe)
    region = disagreement(session, source, draws) > threshold
    large = functional.interpolate(region.float(), size=(side, side), mode="nearest-exact") > 0.5
    return grown(large, round(_GROWN * side))
