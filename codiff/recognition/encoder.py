"""The convolutional trunk that the face parser and the attribute classifier share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from diffusers.models.resnet import Downsample2D, ResnetBlock2D
from torch import Tensor, nn

from codiff.errors import InputError

GROUPS = 8


def block(in_channels: int, out_channels: int) -> ResnetBlock2D:
    """A residual block without time embedding."""
    return ResnetBlock2D(in_channels=in_channels, out_channels=out_channels, temb_channels=None, groups=GROUPS)


def check_sides(images: Tensor, multiple: int) -> None:
    """Refuse pictures (batch, 3, h, w) that a network cannot halve as often as it does.

    Raises:
        InputError: h or w is no multiple of `multiple`.
    """
    height, width = images.shape[-2:]
    if height % multiple or width % multiple:
        raise InputError(
            f"pictures of {width} x {height} pixels, but this network reads sides that are multiples of {multiple}; "
            "resize them"
        )


class PictureEncoder(nn.Module):
    """Features of a picture (batch, 3, h, w) in [-1, 1] at 1/2, 1/4, ... of its size, one per entry of `channels`.

    h and w are even.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, channels[0], 3, padding=1))
        widths = [channels[0], *channels]
        self.blocks = nn.ModuleList(block(a, b) for a, b in pairwise(widths))
        self.downs = nn.ModuleList(Downsample2D(width, use_conv=True, padding=1, name="op") for width in channels[:-1])

    def forward(self, images: Tensor) -> list[Tensor]:
        check_sides(images, 2)
        features = []
        x = self.stem(images)
        for index, layer in enumerate(self.blocks):
            x = layer(x if index == 0 else self.downs[index - 1](x), None)
            features.append(x)
        return features
