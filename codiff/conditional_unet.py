"""A diffusers UNet that reads condition tokens by cross-attention, as a spatial map, or both."""

from __future__ import annotations

import math
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional

from codiff.constant_conditions import share_projections


class ConditionalUNet(nn.Module):
    """Collaborators and dynamic diffusers are both of this kind.

    Args:
        unet_config: arguments of `UNet2DConditionModel`; its `in_channels` counts the latents alone.
        spatial: channels of the map that the tokens are read as, besides cross-attention; 0 for cross-attention alone.
            Spatial tokens form a square, row by row; the map is concatenated to the latents.
    """

    def __init__(self, unet_config: dict[str, Any], spatial: int = 0) -> None:
        super().__init__()
        self.spatial = spatial
        self.unet = UNet2DConditionModel(**{**unet_config, "in_channels": unet_config["in_channels"] + spatial})
        share_projections(self.unet)
        self.to_map = nn.Linear(unet_config["cross_attention_dim"], spatial) if spatial else None

    def forward(self, latents: Tensor, timestep: Tensor, tokens: Tensor) -> Tensor:
        """The network's output (batch, out_channels, h, w) for latents (batch, in_channels, h, w)."""
        if self.to_map is not None:
            latents = torch.cat([latents, self._map(tokens, latents)], dim=1)
        output: Tensor = self.unet(latents, timestep, encoder_hidden_states=tokens).sample
        return output

    def _map(self, tokens: Tensor, latents: Tensor) -> Tensor:
        assert self.to_map is not None
        side = math.isqrt(tokens.shape[1])
        plane = self.to_map(tokens).transpose(1, 2).reshape(len(tokens), self.spatial, side, side)
        if plane.shape[-2:] != latents.shape[-2:]:
            plane = functional.interpolate(plane, size=latents.shape[-2:], mode="bilinear", align_corners=False)
        return plane.to(latents.dtype)
