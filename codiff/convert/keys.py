"""Where each weight of ours lies in the published files.

Every function takes the parameter names of one of our modules and gives, for each, the name of the published tensor.
Maps go from ours to theirs because our modules, built from the configuration, are what must be filled exactly.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

Rename = Callable[[re.Match[str]], str]

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_UNET_ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def unet_keys(names: Iterable[str], config: dict[str, Any]) -> dict[str, str]:
    """For parameters of a `UNet2DConditionModel` with this configuration.

    The published network numbers its blocks in one row: on the way down each level has its residual blocks and, but for
    the last, a stride; on the way up one residual block more, the last of which also holds the upsampling.
    """
    down = config["layers_per_block"]
    up = down + 1
    attends = [kind.startswith("CrossAttn") for kind in config["up_block_types"]]

    def upsampler(found: re.Match[str]) -> str:
        level = int(found[1])
        return f"output_blocks.{level * up + down}.{2 if attends[level] else 1}.conv.{found[2]}"

    def resnet(place: str, rest: str) -> str:
        part, _, kind = rest.rpartition(".")
        return f"{place}.{_RESNET[part]}.{kind}"

    rules: list[tuple[str, Rename]] = [
        (rf"({'|'.join(map(re.escape, _UNET_ENDS))})\.(\w+)", lambda m: f"{_UNET_ENDS[m[1]]}.{m[2]}"),
        (
            r"down_blocks\.(\d+)\.resnets\.(\d+)\.(.+)",
            lambda m: resnet(f"input_blocks.{1 + int(m[1]) * up + int(m[2])}.0", m[3]),
        ),
        (
            r"down_blocks\.(\d+)\.attentions\.(\d+)\.(.+)",
            lambda m: f"input_blocks.{1 + int(m[1]) * up + int(m[2])}.1.{m[3]}",
        ),
        (
            r"down_blocks\.(\d+)\.downsamplers\.0\.conv\.(\w+)",
            lambda m: f"input_blocks.{(int(m[1]) + 1) * up}.0.op.{m[2]}",
        ),
        (r"mid_block\.resnets\.(\d+)\.(.+)", lambda m: resnet(f"middle_block.{2 * int(m[1])}", m[2])),
        (r"mid_block\.attentions\.0\.(.+)", lambda m: f"middle_block.1.{m[1]}"),
        (
            r"up_blocks\.(\d+)\.resnets\.(\d+)\.(.+)",
            lambda m: resnet(f"output_blocks.{int(m[1]) * up + int(m[2])}.0", m[3]),
        ),
        (
            r"up_blocks\.(\d+)\.attentions\.(\d+)\.(.+)",
            lambda m: f"output_blocks.{int(m[1]) * up + int(m[2])}.1.{m[3]}",
        ),
        (r"up_blocks\.(\d+)\.upsamplers\.0\.conv\.(\w+)", upsampler),
    ]
    return _renamed(names, rules)


def vae_keys(names: Iterable[str], config: dict[str, Any]) -> dict[str, str]:
    """For parameters of an `AutoencoderKL` with this configuration; the published decoder counts its levels from the
    picture down."""
    last = len(config["block_out_channels"]) - 1

    def block(rest: str) -> str:
        return rest.replace("conv_shortcut", "nin_shortcut")

    rules: list[tuple[str, Rename]] = [
        (r"((?:post_)?quant_conv\.\w+)", lambda m: m[1]),
        (r"(\w+coder)\.(conv_in|conv_out)\.(\w+)", lambda m: f"{m[1]}.{m[2]}.{m[3]}"),
        (r"(\w+coder)\.conv_norm_out\.(\w+)", lambda m: f"{m[1]}.norm_out.{m[2]}"),
        (
            r"encoder\.down_blocks\.(\d+)\.resnets\.(\d+)\.(.+)",
            lambda m: f"encoder.down.{m[1]}.block.{m[2]}.{block(m[3])}",
        ),
        (
            r"encoder\.down_blocks\.(\d+)\.downsamplers\.0\.(conv\.\w+)",
            lambda m: f"encoder.down.{m[1]}.downsample.{m[2]}",
        ),
        (
            r"decoder\.up_blocks\.(\d+)\.resnets\.(\d+)\.(.+)",
            lambda m: f"decoder.up.{last - int(m[1])}.block.{m[2]}.{block(m[3])}",
        ),
        (
            r"decoder\.up_blocks\.(\d+)\.upsamplers\.0\.(conv\.\w+)",
            lambda m: f"decoder.up.{last - int(m[1])}.upsample.{m[2]}",
        ),
        (r"(\w+coder)\.mid_block\.resnets\.(\d+)\.(.+)", lambda m: f"{m[1]}.mid.block_{int(m[2]) + 1}.{block(m[3])}"),
        (
            r"(\w+coder)\.mid_block\.attentions\.0\.([\w.]+)\.(\w+)",
            lambda m: f"{m[1]}.mid.attn_1.{_VAE_ATTENTION[m[2]]}.{m[3]}",
        ),
    ]
    return _renamed(names, rules)


def text_keys(names: Iterable[str]) -> dict[str, str]:
    """For parameters of a `TextModality`; the published layers are attention and feed-forward in turn."""
    rules: list[tuple[str, Rename]] = [
        (r"token_embedding\.weight", lambda _: "transformer.token_emb.weight"),
        (r"position_embedding\.weight", lambda _: "transformer.pos_emb.emb.weight"),
        (r"norm\.(\w+)", lambda m: f"transformer.norm.{m[1]}"),
        (r"blocks\.(\d+)\.norm1\.(\w+)", lambda m: f"{_layer(m[1], 0)}.0.{m[2]}"),
        (r"blocks\.(\d+)\.attn1\.to_out\.0\.(\w+)", lambda m: f"{_layer(m[1], 0)}.1.to_out.{m[2]}"),
        (r"blocks\.(\d+)\.attn1\.(to_[qkv]\.\w+)", lambda m: f"{_layer(m[1], 0)}.1.{m[2]}"),
        (r"blocks\.(\d+)\.norm3\.(\w+)", lambda m: f"{_layer(m[1], 1)}.0.{m[2]}"),
        (r"blocks\.(\d+)\.ff\.net\.0\.proj\.(\w+)", lambda m: f"{_layer(m[1], 1)}.1.net.0.0.{m[2]}"),
        (r"blocks\.(\d+)\.ff\.net\.2\.(\w+)", lambda m: f"{_layer(m[1], 1)}.1.net.2.{m[2]}"),
    ]
    return _renamed(names, rules)


def planes_keys(names: Iterable[str]) -> dict[str, str]:
    """For parameters of a `PlanesModality`: one linear layer."""
    return {name: name for name in names}


def _layer(block: str, half: int) -> str:
    return f"transformer.attn_layers.layers.{2 * int(block) + half}"


def _renamed(names: Iterable[str], rules: list[tuple[str, Rename]]) -> dict[str, str]:
    compiled = [(re.compile(pattern), rename) for pattern, rename in rules]
    renamed = {}
    for name in names:
        found = next(((match, rename) for rule, rename in compiled if (match := rule.fullmatch(name))), None)
        if found is None:
            raise ValueError(f"the published files have no place for {name}")
        renamed[name] = found[1](found[0])
    return renamed
