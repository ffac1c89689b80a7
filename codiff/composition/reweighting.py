"""Functions that change influences after the softmax."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from codiff.composition.base import Influences, Reweight


def strengthened(modality: str, scale: float) -> Reweight:
    """Raise one modality's influence p at all steps: I' = scale p / (1 + (scale - 1) p); the others keep their
    proportions in what is left. Its odds against the others are multiplied by `scale`."""
    return _raised(modality, scale, torch.ones_like)


def cosine_decay(modality: str, *, scale: float = 2.0, timesteps: int = 1000) -> Reweight:
    """Strengthen one modality early and fade it out late: with p its influence, I' = scale p s / (1 + p s (scale - 1)),
    s(t) = (cos((1 - t / timesteps) pi) + 1) / 2; the others keep their proportions in what is left.

    For two modalities and scale 2 this is the change that the published inference scripts make to the influences:
    mask' = 2 p s / (1 + p s), text' = (1 - p s) / (1 + p s).
    """
    return _raised(modality, scale, lambda t: (torch.cos((1.0 - t / timesteps) * math.pi) + 1.0) / 2.0)


def linear_decay(modality: str, *, scale: float = 1.0, timesteps: int = 1000) -> Reweight:
    """As `cosine_decay`, with s(t) = t / timesteps."""
    return _raised(modality, scale, lambda t: t / timesteps)


def sharpened(boost: float) -> Reweight:
    """A second softmax of `boost` times the influences: an option of the published code."""

    def reweight(influences: Influences, timestep: Tensor) -> Influences:  # noqa: ARG001
        shares = torch.softmax(boost * torch.stack(list(influences.values())), dim=0)
        return dict(zip(influences, shares, strict=True))

    return reweight


def _raised(modality: str, scale: float, strength: Callable[[Tensor], Tensor]) -> Reweight:
    """I' = scale p s / (1 + p s (scale - 1)) for one modality, s = strength(timesteps), in float32 as published."""

    def reweight(influences: Influences, timestep: Tensor) -> Influences:
        if modality not in influences or len(influences) == 1:
            return influences
        p = influences[modality]
        faded = p * strength(timestep.float()).to(p).reshape(-1, 1, 1, 1)
        raised = scale * faded / (1.0 + (scale - 1.0) * faded)
        others = torch.stack([share for name, share in influences.items() if name != modality])
        rest = others.sum(dim=0)
        # Where the softmax left the others nothing to be in proportion to, they get equal parts.
        others = torch.where(rest > 0, others / rest.where(rest > 0, 1.0), 1.0 / len(others)) * (1.0 - raised)
        parts = iter(others)
        return {name: raised if name == modality else next(parts) for name in influences}

    return reweight


official_recipe = cosine_decay("mask")
"""What the published `generate.py` and `collaborative_edit.py` do to the influences; not in the paper."""
