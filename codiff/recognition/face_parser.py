"""A face parser: the 19-class mask of a picture."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional

from codiff.recognition.encoder import GROUPS, PictureEncoder, block, check_sides


class FaceParser(ModelMixin, ConfigMixin):
    """A small U-shaped network (Ronneberger et al., 2015, arXiv:1505.04597) that labels every pixel."""

    @register_to_config
    def __init__(self, classes: int = 19, channels: Sequence[int] = (32, 48, 64, 96)) -> None:
        super().__init__()
        self.encoder = PictureEncoder(channels)
        steps = list(zip(reversed(channels[1:]), reversed(channels[:-1]), strict=True))
        self.ups = nn.ModuleList(block(deep + shallow, shallow) for deep, shallow in steps)
        self.head = nn.Sequential(
            nn.GroupNorm(GROUPS, channels[0]),
            nn.SiLU(),
            nn.Conv2d(channels[0], 4 * classes, 3, padding=1),
            nn.PixelShuffle(2),
        )

    @property
    def classes(self) -> int:
        """How many classes it tells apart."""
        number: int = self.config.classes
        return number

    def features(self, images: Tensor) -> list[Tensor]:
        """Intermediate features of images (batch, 3, h, w) in [-1, 1], fine to coarse.

        Raises:
            InputError: h or w is no multiple of 2 to the number of `channels`: 16 by default.
        """
        check_sides(images, 2 ** len(self.config.channels))
        features: list[Tensor] = self.encoder(images)
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Logits (batch, classes, h, w) of images (batch, 3, h, w) in [-1, 1].

        Raises:
            InputError: h or w is no multiple of 2 to the number of `channels`: 16 by default.
        """
        *skips, x = self.features(images)
        for layer, skip in zip(self.ups, reversed(skips), strict=True):
            x = layer(torch.cat([functional.interpolate(x, scale_factor=2.0), skip], dim=1), None)
        logits: Tensor = self.head(x)
        return logits

    @torch.no_grad()
    def parse(self, images: Tensor) -> Tensor:
        """The most likely class of each pixel: int64 (batch, h, w)."""
        return self(images).argmax(dim=1)


FaceParser.__module__ = "codiff"
