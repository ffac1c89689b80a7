"""Composition rules: how much each collaborator contributes to the noise estimate, pixel by pixel."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Self

import torch
from torch import Tensor

from codiff.denoiser import Conditions, Denoiser, DenoiserOutput
from codiff.dynamic_diffuser import DynamicDiffuser
from codiff.errors import InputError
from codiff.guidance import Guidance

Influences = dict[str, Tensor]
Reweight = Callable[[Influences, Tensor], Influences]
"""(influences, timesteps (batch,)) -> influences that still sum to 1; e.g. `official_recipe`, or a user's steering."""


class Composition(ABC):
    """eps = sum_m I_m (.) eps_m(x_t, t, c_m), a `Denoiser` (Huang et al., arXiv:2304.10530, eq. 7).

    A rule chooses the influences; this class sums. Only the modalities present in the conditions take part.

    Args:
        collaborators: denoisers by modality.
    """

    def __init__(self, collaborators: Mapping[str, Denoiser]) -> None:
        self.collaborators = collaborators

    @abstractmethod
    def influences(self, latents: Tensor, timestep: Tensor, conditions: Conditions) -> Influences:
        """Modality -> (batch, 1, h, w), non-negative and summing to 1 over the modalities of `conditions`."""

    def __call__(self, latents: Tensor, timestep: Tensor, conditions: Conditions) -> DenoiserOutput:
        """The combined estimate for latents (batch, channels, h, w) at timesteps (batch,).

        Raises:
            InputError: no condition, or one that no collaborator takes.
        """
        check_modalities(conditions, self.collaborators)
        influences = self.influences(latents, timestep, conditions)
        estimates = {m: self.collaborators[m](latents, timestep, conditions).sample for m in conditions}
        return DenoiserOutput(torch.stack([influences[m] * estimates[m] for m in conditions]).sum(dim=0), influences)

    def guided(self, unconditional: Conditions, scale: float) -> Self:
        """The same rule over guided collaborators; the influences stay those of the conditions."""
        if scale == 1.0:
            return self
        guided = copy.copy(self)
        guided.collaborators = {
            m: Guidance(denoiser, unconditional, scale) for m, denoiser in _items(self.collaborators)
        }
        return guided


def _items(mapping: Mapping[str, Denoiser]) -> list[tuple[str, Denoiser]]:
    return [(key, mapping[key]) for key in mapping]


def check_modalities(given: Mapping[str, object], known: Mapping[str, object]) -> None:
    """At least one modality, all of them known.

    Raises:
        InputError: names the modalities that the model has.
    """
    names = ", ".join(known)
    if not given:
        raise InputError(f"no condition given: give at least one of {names}")
    unknown = [modality for modality in given if modality not in known]
    if unknown:
        raise InputError(f"unknown modality {', '.join(map(repr, unknown))}: this model has {names}")


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


class Collaborative(Composition):
    """Influences predicted by dynamic diffusers, softmax over the modalities present (arXiv:2304.10530, eq. 5-6).

    Args:
        dynamic_diffusers: by modality.
        reweight: applied to the influences after the softmax; None for the paper's rule.
        spatial_variation: False averages the influences over the pixels (ablation, Table 2 of the paper).
        influence_timestep: the timestep at which the dynamic diffusers are asked at every step, whatever the latents'
            own: the ablation "without temporal variation". None for the paper's rule.
    """

    def __init__(
        self,
        collaborators: Mapping[str, Denoiser],
        dynamic_diffusers: Mapping[str, DynamicDiffuser],
        *,
        reweight: Reweight | None = None,
        spatial_variation: bool = True,
        influence_timestep: int | None = None,
    ) -> None:
        super().__init__(collaborators)
        self.dynamic_diffusers = dynamic_diffusers
        self.reweight = reweight
        self.spatial_variation = spatial_variation
        self.influence_timestep = influence_timestep

    def logits(self, latents: Tensor, timestep: Tensor, conditions: Conditions) -> dict[str, Tensor]:
        """Modality -> raw influence (batch, 1, h, w), before the softmax."""
        if self.influence_timestep is not None:
            timestep = torch.full_like(timestep, self.influence_timestep)
        return {m: self.dynamic_diffusers[m](latents, timestep, conditions[m]) for m in conditions}

    def influences(self, latents: Tensor, timestep: Tensor, conditions: Conditions) -> Influences:
        if len(conditions) == 1:
            return dict.fromkeys(conditions, latents.new_ones(len(latents), 1, *latents.shape[2:]))
        if not len(self.dynamic_diffusers):
            raise InputError("this model has no dynamic diffusers: give one modality, or another composition like mean")
        check_modalities(conditions, self.dynamic_diffusers)
        logits = self.logits(latents, timestep, conditions)
        shares = torch.softmax(torch.stack(list(logits.values())), dim=0)
        if not self.spatial_variation:
            shares = shares.mean(dim=(-2, -1), keepdim=True).expand(shares.shape)
        influences = dict(zip(logits, shares, strict=True))
        return influences if self.reweight is None else self.reweight(influences, timestep)


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


RULES: dict[str, Callable[[Mapping[str, Denoiser], Mapping[str, DynamicDiffuser]], Composition]] = {
    "collaborative": Collaborative,
    "mean": lambda collaborators, _: Mean(collaborators),
    "official": lambda collaborators, diffusers: Collaborative(collaborators, diffusers, reweight=official_recipe),
    "no-spatial": lambda collaborators, diffusers: Collaborative(collaborators, diffusers, spatial_variation=False),
    "no-temporal": lambda collaborators, diffusers: Collaborative(collaborators, diffusers, influence_timestep=500),
}
"""Rules that need nothing but the models, by name. `no-temporal` asks the dynamic diffusers at mid-schedule."""


def rule(
    name: str, collaborators: Mapping[str, Denoiser], dynamic_diffusers: Mapping[str, DynamicDiffuser]
) -> Composition:
    """The rule of `RULES` with this name over these models.

    Raises:
        InputError: unknown name.
    """
    if name not in RULES:
        raise InputError(f"unknown composition {name!r}; known: {', '.join(RULES)}")
    return RULES[name](collaborators, dynamic_diffusers)
