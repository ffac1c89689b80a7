"""The convolutional stem that picture-like modalities share: image -> spatial tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from codiff.errors import InputError

# One group: statistics of smaller ones erase what is even over the picture, which class fills a mask for instance
# (with a channel a group, the tokens of pictures of a single class differed by 1e-5).
_GROUPS = 1


class ConvStem(nn.Module):
    """(batch, in_channels, h, w) -> tokens (batch, (h / downsample) * (w / downsample), features), row-major.

    The first halving is by disjoint 2 x 2 patches, which on a one-hot picture is four table look-ups: the full
    resolution, where most of the arithmetic would be, stays cheap. The width doubles with each further halving.

    Args:
        in_channels: channels of the picture.
        channels: width after the first halving.
        features: width of the tokens.
        downsample: 2, 4, 8, ...: pixels along the side of one token.
    """

    def __init__(self, in_channels: int, channels: int, features: int, downsample: int) -> None:
        super().__init__()
        if downsample < 2 or downsample & (downsample - 1):
            raise InputError(f"downsample must be 2, 4, 8 or another power of two, not {downsample}")
        if min(channels, features) < 1:
            raise InputError(f"channels and features must be positive, not {channels} and {features}")
        layers: list[nn.Module] = [nn.Conv2d(in_channels, channels, kernel_size=2, stride=2)]
        for _ in range(downsample.bit_length() - 2):
            layers += [
                nn.GroupNorm(_GROUPS, channels),
                nn.SiLU(),
                nn.Conv2d(channels, 2 * channels, kernel_size=3, stride=2, padding=1),
            ]
            channels *= 2
        layers += [nn.GroupNorm(_GROUPS, channels), nn.SiLU(), nn.Conv2d(channels, features, kernel_size=1)]
        self.layers = nn.Sequential(*layers)

    @property
    def dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype

    def forward(self, picture: Tensor) -> Tensor:
        """Tokens of a picture (batch, in_channels, h, w), h and w divisible by `downsample`."""
        maps: Tensor = self.layers(picture.to(self.dtype))  # (batch, features, h / downsample, w / downsample)
        return maps.flatten(2).transpose(1, 2)


def check_size(size: int, downsample: int) -> None:
    """Refuse a picture size that `downsample` does not divide (InputError)."""
    if size < downsample or size % downsample:
        raise InputError(f"size must be a positive multiple of downsample = {downsample}, not {size}")
