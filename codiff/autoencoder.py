"""Autoencoders: diffusers' `AutoencoderKL`, and the one form of it that diffusers cannot express."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffusers import AutoencoderKL
from diffusers.configuration_utils import register_to_config
from diffusers.models.resnet import ResnetBlock2D
from torch import nn

from codiff.errors import InputError

_EPS = 1e-6


class StemAutoencoderKL(AutoencoderKL):
    """An `AutoencoderKL` whose first convolution has a width of its own.

    The original latent diffusion autoencoder (Rombach et al., arXiv:2112.10752) begins with `ch` channels and widens
    them to `ch * ch_mult[0]` in its first residual block; diffusers knows only a first multiplier of 1.

    Args:
        stem_channels: width of the encoder's first convolution.
        others: see `AutoencoderKL`.
    """

    @register_to_config
    def __init__(
        self,
        stem_channels: int,
        in_channels: int = 3,
        out_channels: int = 3,
        down_block_types: tuple[str, ...] = ("DownEncoderBlock2D",),
        up_block_types: tuple[str, ...] = ("UpDecoderBlock2D",),
        block_out_channels: tuple[int, ...] = (64,),
        layers_per_block: int = 1,
        act_fn: str = "silu",
        latent_channels: int = 4,
        norm_num_groups: int = 32,
        sample_size: int = 32,
        scaling_factor: float = 0.18215,
        shift_factor: float | None = None,
        latents_mean: tuple[float, ...] | None = None,
        latents_std: tuple[float, ...] | None = None,
        force_upcast: bool = True,
        use_quant_conv: bool = True,
        use_post_quant_conv: bool = True,
        mid_block_add_attention: bool = True,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            out_channels=out_channels,
            down_block_types=down_block_types,
            up_block_types=up_block_types,
            block_out_channels=block_out_channels,
            layers_per_block=layers_per_block,
            act_fn=act_fn,
            latent_channels=latent_channels,
            norm_num_groups=norm_num_groups,
            sample_size=sample_size,
            scaling_factor=scaling_factor,
            shift_factor=shift_factor,
            latents_mean=latents_mean,
            latents_std=latents_std,
            force_upcast=force_upcast,
            use_quant_conv=use_quant_conv,
            use_post_quant_conv=use_post_quant_conv,
            mid_block_add_attention=mid_block_add_attention,
        )
        self.encoder.conv_in = nn.Conv2d(in_channels, stem_channels, 3, padding=1)
        self.encoder.down_blocks[0].resnets[0] = ResnetBlock2D(
            in_channels=stem_channels,
            out_channels=block_out_channels[0],
            temb_channels=None,
            groups=norm_num_groups,
            eps=_EPS,
            non_linearity=act_fn,
        )


StemAutoencoderKL.__module__ = "codiff"

_KINDS = {("diffusers", "AutoencoderKL"): AutoencoderKL, ("codiff", "StemAutoencoderKL"): StemAutoencoderKL}


def autoencoder_class(index: Mapping[str, Any]) -> type[AutoencoderKL]:
    """The class of a model's autoencoder by its entry in `model_index.json`: one of two, nothing else is looked up.

    Raises:
        InputError: it is neither.
    """
    entry = tuple(index.get("vae") or ())
    if entry not in _KINDS:
        raise InputError(f"the autoencoder {'.'.join(map(str, entry)) or 'None'} is not one that codiff knows")
    return _KINDS[entry]
