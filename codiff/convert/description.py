"""What a published model is made of, in our terms: from its YAML configuration, or from a preset."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from codiff.errors import InputError

PUBLISHED_NAMES = {"mask": "seg_mask", "text": "text", "sketch": "sketch"}
"""Our modalities and what the published files call them."""

_TEXT_TOKENS, _TEXT_HEADS, _TEXT_HEAD_DIM = 77, 8, 64  # fixed in the published text encoder
_VOCABULARY = 30522
_COMPOSED, _LATENT, _AUTOENCODER = "LatentDiffusionCompose", "LatentDiffusion", "AutoencoderKL"


@dataclass(frozen=True)
class Description:
    """Arguments of our models.

    Attributes:
        vae: of `AutoencoderKL`, or of `StemAutoencoderKL`, which has `stem_channels`.
        scheduler: of `DDIMScheduler`.
        collaborators: modality -> arguments of `Collaborator`.
        dynamic_diffuser: arguments of `DynamicDiffuser`, the same for all modalities; None where there are none.
    """

    vae: dict[str, Any]
    scheduler: dict[str, Any]
    collaborators: dict[str, dict[str, Any]]
    dynamic_diffuser: dict[str, Any] | None


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
    return Description(**{field: content.get(field) for field in Description.__dataclass_fields__})


def yaml_description(path: Path) -> Description:
    """The description in a published YAML configuration, of a collaborative or of a uni-modal model.

    Configurations that it names (`*_ldm_config_path`) are looked for in the current folder and in the folder above the
    YAML's, as those paths are written from the root of the published repository.

    Raises:
        InputError: a file is missing or broken, or asks for something the published code has but no model used.
    """
    try:
        return _description(_read(path), path)
    except (KeyError, StopIteration, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not a complete configuration: {error!r} is missing or of another kind") from error


def _description(model: Mapping[str, Any], path: Path) -> Description:
    kind = str(model.get("target", "")).rpartition(".")[2]
    parameters = _table(model, "params", path)
    if kind == _LATENT:
        modality, collaborator = _collaborator(parameters, path)
        return Description(_vae(parameters, path), _scheduler(parameters, path), {modality: collaborator}, None)
    if kind != _COMPOSED:
        raise InputError(
            f"{path} describes a {kind or 'nothing'}; expected the configuration of a {_COMPOSED} or a {_LATENT}"
        )
    members = [_read(_named(parameters[key], path)) for key in _member_keys(parameters, path)]
    parts = [(_table(member, "params", path), path) for member in members]
    collaborators = dict(_collaborator(*part) for part in parts)
    text_first = sorted(parts, key=lambda part: _modality(*part) != "text")  # the published files hold its autoencoder
    diffuser = _table(parameters, "compose_unet_config", path)["params"]["confidence_map_predictor_config"]["params"]
    context = next(iter(collaborators.values()))["unet_config"]["cross_attention_dim"]
    unet = _unet({"context_dim": context, **diffuser}, path)
    return Description(
        _vae({**text_first[0][0], "scale_factor": _scale(parameters, text_first[0][0])}, path),
        _scheduler(parameters, path),
        collaborators,
        {"unet_config": unet},
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing; expected one of the published YAML configurations") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    model = content.get("model") if isinstance(content, dict) else None
    if not isinstance(model, dict):
        raise InputError(f"{path} has no section 'model'; expected one of the published YAML configurations")
    return model


def _table(parent: Mapping[str, Any], key: str, path: Path) -> dict[str, Any]:
    value = parent.get(key)
    if not isinstance(value, dict):
        raise InputError(f"{path} has no section {key!r}")
    return value


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


def _scale(composed: Mapping[str, Any], member: Mapping[str, Any]) -> float:
    return float(composed.get("scale_factor", member.get("scale_factor", 1.0)))


def _modality(parameters: Mapping[str, Any], path: Path) -> str:
    encoder = str(_table(parameters, "cond_stage_config", path).get("target", "")).rpartition(".")[2]
    known = {"BERTEmbedder": "text", "SegMaskEncoder": "mask", "SketchEncoder": "sketch"}
    if encoder not in known:
        raise InputError(f"{path}: the condition encoder {encoder!r} is unknown; known are {', '.join(known)}")
    return known[encoder]


def _collaborator(parameters: Mapping[str, Any], path: Path) -> tuple[str, dict[str, Any]]:
    """Modality and arguments of the `Collaborator` of a uni-modal configuration."""
    modality = _modality(parameters, path)
    unet = _unet(_table(_table(parameters, "unet_config", path), "params", path), path)
    encoder = _table(parameters, "cond_stage_config", path).get("params") or {}
    known: dict[str, Any] = {"modality": modality, "unet_config": unet}
    if modality == "text":
        config = {
            "vocab_size": encoder.get("vocab_size", _VOCABULARY),
            "max_tokens": encoder.get("max_seq_len", _TEXT_TOKENS),
            "features": encoder["n_embed"],
            "layers": encoder["n_layer"],
            "heads": _TEXT_HEADS,
            "head_dim": _TEXT_HEAD_DIM,
        }
        return modality, {**known, "encoder_config": config}
    pixels = next(value for key, value in encoder.items() if key.endswith("_embed_dim"))
    config = {"size": math.isqrt(pixels), "features": encoder["context_dim"]}
    name = {"mask": "mask-planes", "sketch": "sketch-plane"}[modality]
    return modality, {**known, "encoder_name": name, "encoder_config": config}


def _unet(parameters: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Arguments of the `UNet2DConditionModel` that is the published `UNetModel` with these parameters."""
    _refuse_unused(parameters, path)
    widths = [parameters["model_channels"] * factor for factor in parameters["channel_mult"]]
    factors = [2**level for level in range(len(widths))]
    attends = [factor in parameters["attention_resolutions"] for factor in factors]
    return {
        "sample_size": parameters["image_size"],
        "in_channels": parameters["in_channels"],
        "out_channels": parameters["out_channels"],
        "block_out_channels": widths,
        "layers_per_block": parameters["num_res_blocks"],
        "down_block_types": ["CrossAttnDownBlock2D" if yes else "DownBlock2D" for yes in attends],
        "up_block_types": ["CrossAttnUpBlock2D" if yes else "UpBlock2D" for yes in reversed(attends)],
        "transformer_layers_per_block": parameters.get("transformer_depth", 1),
        "cross_attention_dim": parameters["context_dim"],
        "attention_head_dim": parameters["num_heads"],  # diffusers' name for the number of heads
        "norm_num_groups": 32,
    }


def _refuse_unused(parameters: Mapping[str, Any], path: Path) -> None:
    """Options of the published UNet that no published model uses and that are not converted."""
    wrong = [
        key
        for key in ("use_scale_shift_norm", "resblock_updown", "num_classes", "n_embed", "use_linear_in_transformer")
        if parameters.get(key)
    ]
    if parameters.get("num_head_channels", -1) != -1:
        wrong.append("num_head_channels")
    if not parameters.get("use_spatial_transformer", False):
        wrong.append("use_spatial_transformer: false")
    if not isinstance(parameters.get("num_res_blocks"), int):
        wrong.append("num_res_blocks that differ by level")
    if wrong:
        raise InputError(f"{path}: a UNet with {', '.join(wrong)} is not converted: no published model has it")


def _vae(parameters: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Arguments of the `AutoencoderKL` of a uni-modal configuration."""
    stage = _table(_table(parameters, "first_stage_config", path), "params", path)
    config = _table(stage, "ddconfig", path)
    if config.get("attn_resolutions"):
        raise InputError(f"{path}: an autoencoder with attn_resolutions is not converted: no published model has it")
    if stage["embed_dim"] != config["z_channels"]:
        raise InputError(f"{path}: embed_dim {stage['embed_dim']} must equal z_channels {config['z_channels']}")
    widths = [config["ch"] * factor for factor in config["ch_mult"]]
    stem = {} if widths[0] == config["ch"] else {"stem_channels": config["ch"]}
    return {
        **stem,
        "in_channels": config["in_channels"],
        "out_channels": config["out_ch"],
        "block_out_channels": widths,
        "down_block_types": ["DownEncoderBlock2D"] * len(widths),
        "up_block_types": ["UpDecoderBlock2D"] * len(widths),
        "layers_per_block": config["num_res_blocks"],
        "latent_channels": config["z_channels"],
        "norm_num_groups": 32,
        "sample_size": config["resolution"],
        "scaling_factor": float(parameters.get("scale_factor", 1.0)),
    }


def _scheduler(parameters: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Arguments of the `DDIMScheduler` that takes the published steps: t = 1, 1 + 1000 / S, ..., the last one to
    alpha-bar of timestep 0."""
    if parameters.get("beta_schedule", "linear") != "linear":
        raise InputError(f"{path}: the noise schedule {parameters['beta_schedule']!r} is not converted")
    return {
        "num_train_timesteps": parameters.get("timesteps", 1000),
        "beta_schedule": "scaled_linear",
        "beta_start": parameters["linear_start"],
        "beta_end": parameters["linear_end"],
        "prediction_type": "epsilon",
        "clip_sample": False,
        "set_alpha_to_one": False,
        "steps_offset": 1,
        "timestep_spacing": "leading",
    }
