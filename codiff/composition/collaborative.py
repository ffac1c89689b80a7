"""The paper's rule."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from codiff.composition.base import Composition, Influences, Reweight, check_modalities
from codiff.denoiser import Conditions, Denoiser
from codiff.dynamic_diffuser import HEADS, DynamicDiffuser
from codiff.errors import InputError


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
        check_activation(dynamic_diffusers, "softmax")
        self.dynamic_diffusers = dynamic_diffusers
        self.reweight = reweight
        self.spatial_variation = spatial_variation
        self.influence_timestep = influence_timestep

    def logits(self, latents: Tensor, timestep: Tensor, conditions: Conditions) -> dict[str, Tensor]:
        """Modality -> raw influence (batch, 1, h, w), before the softmax."""
        if self.influence_timestep is not None:
            timestep = torch.full_like(timestep, self.influence_timestep)
        return predicted_logits(self.dynamic_diffusers, "softmax", latents, timestep, conditions)

    def influences(self, latents: Tensor, timestep: Tensor, conditions: Conditions) -> Influences:
        if len(conditions) == 1:
            return dict.fromkeys(conditions, latents.new_ones(len(latents), 1, *latents.shape[2:]))
        logits = self.logits(latents, timestep, conditions)
        shares = torch.softmax(torch.stack(list(logits.values())), dim=0)
        if not self.spatial_variation:
            shares = shares.mean(dim=(-2, -1), keepdim=True).expand(shares.shape)
        influences = dict(zip(logits, shares, strict=True))
        return influences if self.reweight is None else self.reweight(influences, timestep)


def predicted_logits(
    dynamic_diffusers: Mapping[str, DynamicDiffuser],
    activation: str,
    latents: Tensor,
    timestep: Tensor,
    conditions: Conditions,
) -> dict[str, Tensor]:
    """Modality -> its dynamic diffuser's logit for this activation, (batch, 1, h, w).

    Raises:
        InputError: there are no dynamic diffusers, or none for one of the modalities.
    """
    if not len(dynamic_diffusers):
        raise InputError("this model has no dynamic diffusers: give one modality, or another composition like mean")
    check_modalities(conditions, dynamic_diffusers)
    logits = {}
    for modality in conditions:
        model = dynamic_diffusers[modality]
        head = HEADS[model.config.activation].index(activation)
        logits[modality] = model(latents, timestep, conditions[modality])[:, head : head + 1]
    return logits


def check_activation(dynamic_diffusers: Mapping[str, DynamicDiffuser], activation: str) -> None:
    """Dynamic diffusers mean nothing under an activation that they were not trained with.

    Raises:
        InputError: names the rule that fits.
    """
    trained = {dynamic_diffusers[modality].config.activation for modality in dynamic_diffusers}
    others = sorted(name for name in trained if activation not in HEADS[name])
    if others:
        raise InputError(
            f"these dynamic diffusers were trained with {', '.join(others)} over the influences, this composition "
            f"applies {activation}: use {' and '.join(FITTING[name][0] for name in others)}"
        )


FITTING = {"softmax": ("collaborative",), "softplus": ("additive",), "both": ("additive", "collaborative")}
"""Activation that dynamic diffusers were trained with -> names of the rules that apply it, a model's default first."""
