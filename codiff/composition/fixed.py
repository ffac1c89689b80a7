"""Rules whose influences are given, not predicted."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from codiff.composition.base import Composition, Influences, check_modalities
from codiff.denoiser import Conditions, Denoiser
from codiff.errors import InputError


class Mean(Composition):
    """Equal influences: averaging, as in Composable Diffusion (Liu et al., ECCV 2022, arXiv:2206.01714)."""

    def influences(self, latents: Tensor, timestep: Tensor, conditions: Conditions) -> Influences:  # noqa: ARG002
        share = latents.new_full((len(latents), 1, *latents.shape[2:]), 1.0 / len(conditions))
        return dict.fromkeys(conditions, share)


class Weighted(Composition):
    """Fixed scalar influences, normalised over the modalities present.

    Args:
        weights: modality -> non-negative weight; every modality used must have one.
    """

    def __init__(self, collaborators: Mapping[str, Denoiser], weights: Mapping[str, float]) -> None:
        super().__init__(collaborators)
        if any(not math.isfinite(weight) or weight < 0 for weight in weights.values()):
            raise InputError(f"weights must be finite and >= 0, got {dict(weights)}")
        self.weights = dict(weights)

    def influences(self, latents: Tensor, timestep: Tensor, conditions: Conditions) -> Influences:  # noqa: ARG002
        check_modalities(conditions, self.weights)
        total = sum(self.weights[m] for m in conditions)
        if total == 0:
            raise InputError(f"the weights of {', '.join(conditions)} are all zero; give one of them a positive weight")
        one = latents.new_ones(len(latents), 1, *latents.shape[2:])
        return {m: one * (self.weights[m] / total) for m in conditions}


class Blended(Composition):
    """Given influence maps, normalised over the modalities present.

    Args:
        maps: modality -> non-negative map (1 or batch, 1, h, w) of the latents' height and width.
    """

    def __init__(self, collaborators: Mapping[str, Denoiser], maps: Mapping[str, Tensor]) -> None:
        super().__init__(collaborators)
        if any(not torch.isfinite(plane).all() or (plane < 0).any() for plane in maps.values()):
            raise InputError("influence maps must be finite and >= 0")
        self.maps = dict(maps)

    def influences(self, latents: Tensor, timestep: Tensor, conditions: Conditions) -> Influences:  # noqa: ARG002
        check_modalities(conditions, self.maps)
        shape = (len(latents), 1, *latents.shape[2:])
        for modality in conditions:
            have = tuple(self.maps[modality].shape)
            if have[1:] != shape[1:] or have[0] not in (1, shape[0]):
                raise InputError(
                    f"the influence map of {modality!r} has shape {have}, expected {shape} or {(1, *shape[1:])}"
                )
        maps = torch.stack([self.maps[m].to(latents).expand(shape) for m in conditions])
        total = maps.sum(dim=0)
        if (total <= 0).any():
            raise InputError("the influence maps are all zero at some pixels; every pixel needs a modality")
        return dict(zip(conditions, maps / total, strict=True))
