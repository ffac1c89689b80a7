"""Rules that add what each condition changes, instead of sharing one unit of influence among them."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Self

import torch
from torch import Tensor
from torch.nn.functional import softplus

from codiff.composition.base import Composition, Influences, check_modalities
from codiff.composition.collaborative import check_activation, predicted_logits
from codiff.denoiser import Conditions, Denoiser, DenoiserOutput
from codiff.dynamic_diffuser import DynamicDiffuser
from codiff.errors import InputError
from codiff.guidance import with_and_without


class Additive(Composition):
    """eps = u + s sum_m I_m (.) (eps_m - u_m), u = sum_m I_m (.) u_m / sum_m I_m, u_m = eps_m(x_t, t, no condition).

    With influences that sum to 1 this is `Composition` under guidance s; with influences of 1 it is a product of
    experts, exact for conditions that are independent given the image (Liu et al., arXiv:2206.01714, eq. 11).

    It answers only after `guided` has told it what "no condition" is, which `CollaborativePipeline` does.
    """

    needs_unconditional: ClassVar[bool] = True

    def __init__(self, collaborators: Mapping[str, Denoiser]) -> None:
        super().__init__(collaborators)
        self.unconditional: Conditions | None = None
        self.scale = 1.0

    @abstractmethod
    def influences(self, latents: Tensor, timestep: Tensor, conditions: Conditions) -> Influences:
        """Modality -> (batch, 1, h, w), non-negative, with a positive sum over the modalities of `conditions`."""

    def guided(self, unconditional: Conditions, scale: float) -> Self:
        """The same rule, relative to these tokens of "no condition" (batch 1 or the latents'), `scale` times."""
        guided = copy.copy(self)
        guided.unconditional, guided.scale = unconditional, scale
        return guided

    def __call__(self, latents: Tensor, timestep: Tensor, conditions: Conditions) -> DenoiserOutput:
        """As `Composition`; also raises InputError before `guided` was called."""
        check_modalities(conditions, self.collaborators)
        if self.unconditional is None:
            raise InputError(
                f"{type(self).__name__} adds to the unconditional estimate: call guided(unconditional, scale) first"
            )
        influences = self.steered_influences(latents, timestep, conditions)
        shares = torch.stack(list(influences.values()))
        estimates = [
            with_and_without(self.collaborators[m], latents, timestep, {m: tokens}, self.unconditional)
            for m, tokens in conditions.items()
        ]
        given, base = (torch.stack([each.sample for each in half]) for half in zip(*estimates, strict=True))
        unconditional = (shares * base).sum(dim=0) / shares.sum(dim=0)
        return DenoiserOutput(unconditional + self.scale * (shares * (given - base)).sum(dim=0), influences)


class GuidanceSum(Additive):
    """Every influence is 1: a product of experts, the AND of Composable Diffusion (Liu et al., arXiv:2206.01714)."""

    def influences(self, latents: Tensor, timestep: Tensor, conditions: Conditions) -> Influences:  # noqa: ARG002
        return dict.fromkeys(conditions, latents.new_ones(len(latents), 1, *latents.shape[2:]))


class AdditiveCollaborative(Additive):
    """Influences predicted by dynamic diffusers that were trained with softplus in place of the softmax.

    Conditions that say different things need not share one unit of influence: each may have its full weight.

    Args:
        dynamic_diffusers: by modality, of activation "softplus".
    """

    def __init__(self, collaborators: Mapping[str, Denoiser], dynamic_diffusers: Mapping[str, DynamicDiffuser]) -> None:
        super().__init__(collaborators)
        check_activation(dynamic_diffusers, "softplus")
        self.dynamic_diffusers = dynamic_diffusers

    def influences(self, latents: Tensor, timestep: Tensor, conditions: Conditions) -> Influences:
        if len(conditions) == 1:
            return dict.fromkeys(conditions, latents.new_ones(len(latents), 1, *latents.shape[2:]))
        logits = predicted_logits(self.dynamic_diffusers, "softplus", latents, timestep, conditions)
        return {modality: softplus(value) for modality, value in logits.items()}
