"""Which tensor of which published file fills which weight of ours, and what becomes of the rest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from codiff import Collaborator, DynamicDiffuser, StemAutoencoderKL
from codiff.convert.description import PUBLISHED_NAMES, Description
from codiff.convert.keys import planes_keys, text_keys, unet_keys, vae_keys
from codiff.errors import InputError

_UNET = "network.unet."
_ENCODER = "encoder."
_SHOWN = 3


@dataclass
class Part:
    """One model of ours, on the meta device, and where its weights lie.

    Attributes:
        folder: of the part in the converted model, as `collaborators/mask`.
        model: without data.
        keys: name of each of its weights -> key in the published file.
    """

    folder: str
    model: Any
    keys: dict[str, str]

    def shapes(self) -> dict[str, torch.Size]:
        """Shape of each weight."""
        return {name: value.shape for name, value in self.model.state_dict().items()}


@dataclass
class Account:
    """What becomes of every key of a file.

    Attributes:
        used: keys that fill a weight.
        ignored: reason -> keys that nothing of ours needs.
    """

    used: set[str] = field(default_factory=set)
    ignored: dict[str, list[str]] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """How many are used, and which are ignored and why."""
        return {"used": len(self.used), "ignored": self.ignored}


def composed_parts(description: Description) -> list[Part]:
    """Of a collaborative file, which holds everything."""
    parts = [_vae(description, "first_stage_model.")]
    for modality, arguments in description.collaborators.items():
        name = PUBLISHED_NAMES[modality]
        prefixes = f"model.{name}_unet.diffusion_model.", f"cond_stage_model.{name}_cond_stage_model."
        parts.append(_collaborator(modality, arguments, *prefixes))
    if description.dynamic_diffuser is None:
        raise InputError("this configuration describes one modality; a collaborative file needs the collaborative one")
    for modality in description.collaborators:
        prefix = f"model.{PUBLISHED_NAMES[modality]}_confidence_predictor.diffusion_model."
        parts.append(_dynamic_diffuser(modality, description.dynamic_diffuser, prefix))
    return parts


def unimodal_parts(description: Description, modality: str) -> list[Part]:
    """Of the file of one modality's model, which holds an autoencoder, too."""
    arguments = description.collaborators[modality]
    collaborator = _collaborator(modality, arguments, "model.diffusion_model.", "cond_stage_model.")
    return [_vae(description, "first_stage_model."), collaborator]


def vae_parts(description: Description) -> list[Part]:
    """Of the autoencoder's own file."""
    return [_vae(description, "")]


def _empty(kind: Any, arguments: Mapping[str, Any]) -> Any:
    with torch.device("meta"):
        return kind(**arguments)


def _vae(description: Description, prefix: str) -> Part:
    kind = StemAutoencoderKL if "stem_channels" in description.vae else AutoencoderKL
    model = _empty(kind, description.vae)
    keys = vae_keys(model.state_dict(), description.vae)
    return Part("vae", model, {name: prefix + key for name, key in keys.items()})


def _network_keys(model: nn.Module, config: dict[str, Any], prefix: str) -> dict[str, str]:
    names = [name.removeprefix(_UNET) for name in model.state_dict() if name.startswith(_UNET)]
    return {_UNET + name: prefix + key for name, key in unet_keys(names, config).items()}


def _collaborator(modality: str, arguments: dict[str, Any], unet_prefix: str, encoder_prefix: str) -> Part:
    model = _empty(Collaborator, arguments)
    names = [name.removeprefix(_ENCODER) for name in model.state_dict() if name.startswith(_ENCODER)]
    encoder = text_keys(names) if model.encoder.name == "text" else planes_keys(names)
    keys = _network_keys(model, arguments["unet_config"], unet_prefix)
    keys |= {_ENCODER + name: encoder_prefix + key for name, key in encoder.items()}
    return Part(f"collaborators/{modality}", model, keys)


def _dynamic_diffuser(modality: str, arguments: dict[str, Any], prefix: str) -> Part:
    model = _empty(DynamicDiffuser, arguments)
    return Part(f"dynamic_diffusers/{modality}", model, _network_keys(model, arguments["unet_config"], prefix))


def account(path: Path, state: Mapping[str, Tensor], parts: list[Part], buffers: Mapping[str, Tensor]) -> Account:
    """Account for every key of a file.

    Args:
        path: for messages.
        state: the file's tensors; their shapes and types matter.
        buffers: the schedule's, which a file of a diffusion model must hold, by key.

    Raises:
        InputError: a key is missing, unexpected, or of another shape or type.
    """
    wanted = {part.keys[name]: shape for part in parts for name, shape in part.shapes().items()}
    diffuses = any(part.folder != "vae" for part in parts)
    known = set(buffers) if diffuses else set()
    missing = [key for key in (*wanted, *known) if key not in state]
    if missing:
        raise InputError(f"{path} lacks {_listed(missing)}")
    misshaped = [key for key, shape in wanted.items() if not same_shape(state[key].shape, shape)]
    if misshaped:
        first = misshaped[0]
        raise InputError(
            f"{path}: {_listed(misshaped)} of another shape: {tuple(state[first].shape)} where the configuration has "
            f"{tuple(wanted[first])}"
        )
    whole = [key for key in wanted if not state[key].is_floating_point()]
    if whole:
        raise InputError(f"{path}: {_listed(whole)} of type {state[whole[0]].dtype}, where real numbers are expected")
    result = Account(used=set(wanted))
    unknown = []
    for key in state:
        if key in wanted:
            continue
        reason = _reason_to_ignore(key, known, diffuses)
        if reason is None:
            unknown.append(key)
        else:
            result.ignored.setdefault(reason, []).append(key)
    if unknown:
        raise InputError(f"{path} also holds {_listed(unknown)}, which the configuration has no place for")
    return result


_TO_LOGITS = re.compile(r"cond_stage_model\.(text_cond_stage_model\.)?transformer\.to_logits\.(weight|bias)")


def _reason_to_ignore(key: str, buffers: set[str], diffuses: bool) -> str | None:
    if key in buffers:
        return "the noise schedule, which is computed (and compared with it)"
    if diffuses:
        return "an output layer of the text encoder that nothing calls" if _TO_LOGITS.fullmatch(key) else None
    return "losses of the autoencoder's training" if key.startswith("loss.") else None


def same_shape(theirs: torch.Size, ours: torch.Size) -> bool:
    """Whether shapes agree, a 1 x 1 convolution being a linear layer."""
    return theirs == ours or (len(theirs) == 4 and len(ours) == 2 and theirs == (*ours, 1, 1))


def check_schedule(path: Path, state: Mapping[str, Tensor], buffers: Mapping[str, Tensor]) -> None:
    """Compare the noise schedule that a file holds with the configuration's.

    Raises:
        InputError: it is another one.
    """
    for key, expected in buffers.items():
        found = state.get(key)
        if found is None:
            continue
        fits = found.shape == expected.shape and found.is_floating_point()
        if not fits or not torch.allclose(found.double(), expected, rtol=1e-5, atol=1e-7):
            raise InputError(f"{path}: its noise schedule ({key}) is not the one of the configuration")


def _listed(keys: list[str]) -> str:
    shown = ", ".join(repr(key[:100])[1:-1] for key in keys[:_SHOWN])
    return shown if len(keys) <= _SHOWN else f"{shown} and {len(keys) - _SHOWN} more"
