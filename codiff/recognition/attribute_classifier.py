"""A classifier of what captions speak of, one softmax per attribute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from codiff.recognition.encoder import GROUPS, PictureEncoder


class AttributeClassifier(ModelMixin, ConfigMixin):
    """A small convolutional network with one linear head per attribute.

    Args:
        attributes: the classes of each attribute, by name.
        channels: widths of the trunk.
    """

    @register_to_config
    def __init__(
        self, attributes: Mapping[str, Sequence[str]], channels: Sequence[int] = (32, 48, 64, 96, 128)
    ) -> None:
        super().__init__()
        self.encoder = PictureEncoder(channels)
        cells = 16 * channels[-1]  # a 4 x 4 grid: where in the face a sign stands matters
        self.neck = nn.Sequential(
            nn.GroupNorm(GROUPS, channels[-1]),
            nn.SiLU(),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(cells, 128),
            nn.SiLU(),
            nn.Dropout(0.2),
        )
        self.heads = nn.ModuleDict({name: nn.Linear(128, len(classes)) for name, classes in attributes.items()})

    def features(self, images: Tensor) -> list[Tensor]:
        """Intermediate features of images (batch, 3, h, w) in [-1, 1], fine to coarse."""
        features: list[Tensor] = self.encoder(images)
        return features

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Logits (batch, classes) by attribute of images (batch, 3, h, w) in [-1, 1]."""
        x = self.neck(self.encoder(images)[-1])
        return {name: head(x) for name, head in self.heads.items()}

    @torch.no_grad()
    def classify(self, images: Tensor) -> dict[str, Tensor]:
        """The most likely class by attribute: int64 (batch,)."""
        return {name: logits.argmax(dim=1) for name, logits in self(images).items()}


AttributeClassifier.__module__ = "codiff"
