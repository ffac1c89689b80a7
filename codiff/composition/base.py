"""The base of all composition rules."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar, Self

import torch
from torch import Tensor

from codiff.denoiser import Conditions, Denoiser, DenoiserOutput
from codiff.errors import InputError
from codiff.guidance import Guidance

Influences = dict[str, Tensor]
Reweight = Callable[[Influences, Tensor], Influences]
"""(influences (batch, 1, h, w), timesteps (batch,)) -> influences with the same sum at each pixel (1, but for rules
that add); e.g. `official_recipe`, or `InfluenceBias`. One with an attribute `modalities` says of which it speaks."""


class Composition(ABC):
    """eps = sum_m I_m (.) eps_m(x_t, t, c_m), a `Denoiser` (Huang et al., arXiv:2304.10530, eq. 7).

    A rule chooses the influences; this class sums. Only the modalities present in the conditions take part.

    Args:
        collaborators: denoisers by modality.
    """

    needs_unconditional: ClassVar[bool] = False
    """Whether the rule asks the collaborators without condition even at guidance scale 1."""

    _reweights: tuple[Reweight, ...] = ()

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
        influences = self.steered_influences(latents, timestep, conditions)
        estimates = {m: self.collaborators[m](latents, timestep, conditions).sample for m in conditions}
        return DenoiserOutput(torch.stack([influences[m] * estimates[m] for m in conditions]).sum(dim=0), influences)

    def steered_influences(self, latents: Tensor, timestep: Tensor, conditions: Conditions) -> Influences:
        """What the estimates are weighted with: `influences`, then all that `steered` was given, in its order."""
        influences = self.influences(latents, timestep, conditions)
        for reweight in self._reweights:
            influences = reweight(influences, timestep)
        return influences

    def steered(self, reweight: Reweight) -> Self:
        """The same rule with its influences changed by this function, after those of earlier calls.

        Raises:
            InputError: it speaks of a modality that no collaborator takes.
        """
        named = getattr(reweight, "modalities", ())
        if named:
            check_modalities(dict.fromkeys(named), self.collaborators)
        steered = copy.copy(self)
        steered._reweights = (*self._reweights, reweight)
        return steered

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
