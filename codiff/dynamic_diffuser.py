"""Dynamic diffusers: small networks that predict each modality's influence."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor

from codiff.conditional_unet import ConditionalUNet
from codiff.model_dict import ModelDict

ACTIVATIONS = ("softmax", "softplus", "both")
HEADS = {"softmax": ("softmax",), "softplus": ("softplus",), "both": ("softmax", "softplus")}
"""Activation that a dynamic diffuser is trained for -> what each of its output channels is the logit of."""


class DynamicDiffuser(ModelMixin, ConfigMixin):
    """A small time-conditional UNet from (x_t, t, c_m) to an influence logit per latent pixel.

    Huang et al., CVPR 2023, arXiv:2304.10530, eq. 5. It reads the tokens of its modality's collaborator.

    Args:
        unet_config: arguments of diffusers' `UNet2DConditionModel` with `out_channels` 1, or 2 for "both".
        spatial: channels of the map that the tokens are read as besides cross-attention, see `ConditionalUNet`.
        activation: what turns the logits into influences, from training on: "softmax" over the modalities as in the
            paper, "softplus" of each alone (`AdditiveCollaborative`), or "both", with a logit for either.
    """

    @register_to_config
    def __init__(self, unet_config: dict[str, Any], spatial: int = 0, activation: str = "softmax") -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
        logits = len(HEADS[activation])
        if unet_config.get("out_channels") != logits:
            raise ValueError(
                f"a dynamic diffuser of activation {activation} predicts {logits} per pixel: unet_config must have "
                f"out_channels = {logits}"
            )
        self.network = ConditionalUNet(unet_config, spatial)

    def forward(self, latents: Tensor, timestep: Tensor, tokens: Tensor) -> Tensor:
        """Influence logits (batch, 1, h, w) for latents (batch, channels, h, w) at timesteps (batch,); (batch, 2, h, w)
        of activation "both", see `HEADS`."""
        logits: Tensor = self.network(latents, timestep, tokens)
        return logits

    @torch.no_grad()
    def shift(self, activation: str, nats: float) -> None:
        """Add a number to every logit of one activation, for good: under a softmax the modality's odds against others
        become exp(nats) times what they were. It corrects what training made of a whole modality.

        Raises:
            ValueError: an activation that it was not trained for.
        """
        known = HEADS[self.config.activation]
        if activation not in known:
            raise ValueError(f"this dynamic diffuser has logits of {', '.join(known)}, not of {activation!r}")
        self.network.unet.conv_out.bias[known.index(activation)] += nats


DynamicDiffuser.__module__ = "codiff"


class DynamicDiffusers(ModelDict[DynamicDiffuser]):
    """Dynamic diffusers by modality."""

    member = DynamicDiffuser


DynamicDiffusers.__module__ = "codiff"
