"""What a published model is made of, in our terms: from its YAML configuration, or from a preset."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from codiff.convert.published_config import (
    GROUPS,
    DiffusionParameters,
    FirstStage,
    PlanesEncoder,
    TextEncoder,
    UNetParameters,
    read_model,
    section,
    table,
)
from codiff.errors import InputError

PUBLISHED_NAMES = {"mask": "seg_mask", "text": "text", "sketch": "sketch"}
"""Our modalities and what the published files call them."""

_TEXT_HEADS, _TEXT_HEAD_DIM = 8, 64  # fixed in the published text encoder
_COMPOSED, _LATENT = "LatentDiffusionCompose", "LatentDiffusion"
_ENCODERS = {"BERTEmbedder": "text", "SegMaskEncoder": "mask", "SketchEncoder": "sketch"}


@dataclass(frozen=True)
class Description:
    """Arguments of our models.

    Attributes:
        vae: of `AutoencoderKL`, or of `StemAutoencoderKL`, which has `stem_channels`.
        scheduler: of `DDIMScheduler`.
        collaborators: modality -> arguments of `Collaborator`.
        dynamic_diffuser: arguments of `DynamicDiffuser`, the same for all modalities; None where there are none.
        optional: modalities that a collaborative file has only where its name tells of them.
    """

    vae: dict[str, Any]
    scheduler: dict[str, Any]
    collaborators: dict[str, dict[str, Any]]
    dynamic_diffuser: dict[str, Any] | None
    optional: Sequence[str] = ()


def presets() -> list[str]:
    """Names of the presets that describe a published model."""
    folder = files("codiff") / "presets"
    found = (Path(entry.name) for entry in folder.iterdir() if entry.name.endswith(".toml"))
    return sorted(path.stem for path in found if "published" in tomllib.loads((folder / path.name).read_text("utf-8")))


def preset_description(name: str) -> Description:
    """The description in a preset's table [published].

    Raises:
        InputError: no such preset.
    """
    if name not in presets():
        raise InputError(f"there is no preset {name!r} of a published model; there are {', '.join(presets())}")
    content = tomllib.loads((files("codiff") / "presets" / f"{name}.toml").read_text("utf-8"))["published"]
    return Description(**content)


def yaml_description(path: Path) -> Description:
    """The description in a published YAML configuration, of a collaborative or of a uni-modal model.

    Configurations that it names (`*_ldm_config_path`) are looked for in the current folder and in the folder above the
    YAML's, as those paths are written from the root of the published repository.

    Raises:
        InputError: a file is missing or broken, or asks for something the published code has but no model used.
    """
    model = read_model(path)
    kind = str(model.get("target", "")).rpartition(".")[2]
    parameters = table(model, "params", path)
    if kind == _LATENT:
        modality, collaborator = _collaborator(parameters, path)
        diffusion = section(DiffusionParameters, parameters, path)
        return Description(
            _vae(parameters, diffusion.scale_factor, path), _scheduler(diffusion), {modality: collaborator}, None
        )
    if kind != _COMPOSED:
        raise InputError(
            f"{path} describes a {kind or 'nothing'}; expected the configuration of a {_COMPOSED} or a {_LATENT}"
        )
    return _composed(parameters, path)


def _composed(parameters: Mapping[str, Any], path: Path) -> Description:
    members = [_named(str(parameters[key]), path) for key in _member_keys(parameters, path)]
    sections = [(table(read_model(member), "params", member), member) for member in members]
    collaborators: dict[str, dict[str, Any]] = {}
    for values, member in sections:
        modality, arguments = _collaborator(values, member)
        if modality in collaborators:
            raise InputError(f"{path} names two models of {modality}; {member} is the second")
        collaborators[modality] = arguments
    # The published collaborative files hold the autoencoder of the text model.
    values, member = sections[list(collaborators).index("text") if "text" in collaborators else 0]
    scale = section(DiffusionParameters, values, member).scale_factor
    diffusion = section(DiffusionParameters, {"scale_factor": scale, **parameters}, path)
    predictor = table(table(parameters, "compose_unet_config", path), "params", path)
    predictor = table(table(predictor, "confidence_map_predictor_config", path), "params", path)
    context = next(iter(collaborators.values()))["unet_config"]["cross_attention_dim"]
    unet = _unet({"context_dim": context, **predictor}, path)
    if unet["out_channels"] != 1:
        raise InputError(f"{path}: a dynamic diffuser has out_channels 1, not {unet['out_channels']}")
    vae = _vae(values, diffusion.scale_factor, member)
    return Description(vae, _scheduler(diffusion), collaborators, {"unet_config": unet})


def _member_keys(parameters: Mapping[str, Any], path: Path) -> list[str]:
    keys = [f"{name}_ldm_config_path" for name in PUBLISHED_NAMES.values()]
    found = [key for key in keys if key in parameters]
    if not found:
        raise InputError(f"{path} names no uni-modal configuration ({', '.join(keys)})")
    return found


def _named(value: str, path: Path) -> Path:
    """A file that a YAML names, relative to the current folder or to the one above the YAML's."""
    candidates = [Path(value), path.resolve().parent.parent / value]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise InputError(f"{path} names {value}, which is at none of {', '.join(map(str, candidates))}")


def _collaborator(parameters: Mapping[str, Any], path: Path) -> tuple[str, dict[str, Any]]:
    """Modality and arguments of the `Collaborator` of a uni-modal configuration."""
    stage = table(parameters, "cond_stage_config", path)
    target = str(stage.get("target", "")).rpartition(".")[2]
    if target not in _ENCODERS:
        raise InputError(f"{path}: the condition encoder {target!r} is unknown; known are {', '.join(_ENCODERS)}")
    modality = _ENCODERS[target]
    unet = _unet(table(table(parameters, "unet_config", path), "params", path), path)
    arguments = {"modality": modality, **_encoder(modality, stage.get("params") or {}, path), "unet_config": unet}
    if arguments["encoder_config"]["features"] != unet["cross_attention_dim"]:
        raise InputError(f"{path}: the condition encoder's width is not the UNet's context_dim")
    return modality, arguments


def _encoder(modality: str, parameters: Mapping[str, Any], path: Path) -> dict[str, Any]:
    if modality == "text":
        text = section(TextEncoder, parameters, path)
        config = {
            "vocab_size": text.vocab_size,
            "max_tokens": text.max_seq_len,
            "features": text.n_embed,
            "layers": text.n_layer,
            "heads": _TEXT_HEADS,
            "head_dim": _TEXT_HEAD_DIM,
        }
        return {"encoder_config": config}
    planes = section(PlanesEncoder, parameters, path)
    config = {"size": math.isqrt(planes.pixels), "features": planes.context_dim}
    return {"encoder_name": {"mask": "mask-planes", "sketch": "sketch-plane"}[modality], "encoder_config": config}


def _unet(parameters: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Arguments of the `UNet2DConditionModel` that is the published `UNetModel` with these parameters."""
    unet = section(UNetParameters, parameters, path)
    attends = [2**level in unet.attention_resolutions for level in range(len(unet.widths))]
    return {
        "sample_size": unet.image_size,
        "in_channels": unet.in_channels,
        "out_channels": unet.out_channels,
        "block_out_channels": unet.widths,
        "layers_per_block": unet.num_res_blocks,
        "down_block_types": ["CrossAttnDownBlock2D" if yes else "DownBlock2D" for yes in attends],
        "up_block_types": ["CrossAttnUpBlock2D" if yes else "UpBlock2D" for yes in reversed(attends)],
        "transformer_layers_per_block": unet.transformer_depth,
        "cross_attention_dim": unet.context_dim,
        "attention_head_dim": unet.num_heads,  # diffusers' name for the number of heads
        "norm_num_groups": GROUPS,
    }


def _vae(parameters: Mapping[str, Any], scale: float, path: Path) -> dict[str, Any]:
    """Arguments of the `AutoencoderKL`, or `StemAutoencoderKL`, of a uni-modal configuration."""
    stage = section(FirstStage, table(table(parameters, "first_stage_config", path), "params", path), path)
    config = stage.ddconfig
    stem = {} if config.ch_mult[0] == 1 else {"stem_channels": config.ch}
    return {
        **stem,
        "in_channels": config.in_channels,
        "out_channels": config.out_ch,
        "block_out_channels": config.widths,
        "down_block_types": ["DownEncoderBlock2D"] * len(config.widths),
        "up_block_types": ["UpDecoderBlock2D"] * len(config.widths),
        "layers_per_block": config.num_res_blocks,
        "latent_channels": config.z_channels,
        "norm_num_groups": GROUPS,
        "sample_size": config.resolution,
        "scaling_factor": scale,
    }


def _scheduler(diffusion: DiffusionParameters) -> dict[str, Any]:
    """Arguments of the `DDIMScheduler` that takes the published steps: t = 1, 1 + 1000 / S, ..., the last one to
    alpha-bar of timestep 0."""
    return {
        "num_train_timesteps": diffusion.timesteps,
        "beta_schedule": "scaled_linear",
        "beta_start": diffusion.linear_start,
        "beta_end": diffusion.linear_end,
        "prediction_type": "epsilon",
        "clip_sample": False,
        "set_alpha_to_one": False,
        "steps_offset": 1,
        "timestep_spacing": "leading",
    }
