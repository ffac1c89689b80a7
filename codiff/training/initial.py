"""Trained weights that another training starts from."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from codiff.collaborator import Collaborator
from codiff.dynamic_diffuser import DynamicDiffusers
from codiff.errors import InputError


def start_collaborator(model: Collaborator, initial: str) -> None:
    """Copy the weights of the same name and shape from the collaborator in a folder, of whatever modality, and its
    encoder's assets where the encoders are of one kind.

    Raises:
        InputError: the folder holds no collaborator, or one that shares no weight with the model.
    """
    folder = Path(initial).expanduser()
    try:
        source = Collaborator.from_pretrained(folder)
    except OSError as error:
        raise InputError(f"initial: {initial} holds no collaborator: {error}") from error
    parts = ["network"]
    if source.encoder.name == model.encoder.name:
        parts.append("encoder")
        model.encoder.load_assets(folder)  # weights mean nothing without their vocabulary
    shared = sum(_copy_weights(source.get_submodule(part), model.get_submodule(part)) for part in parts)
    if not shared:
        raise InputError(f"the collaborator in {initial} shares no weight with this one")


def start_dynamic_diffusers(models: DynamicDiffusers, initial: str) -> None:
    """Copy, modality by modality, the weights of the same name and shape from the dynamic diffusers in a folder.

    Modalities that the folder does not have keep their weights.

    Raises:
        InputError: the folder holds no dynamic diffusers, or none that shares a weight with one of these.
    """
    try:
        source = DynamicDiffusers.from_pretrained(Path(initial).expanduser())
    except (InputError, OSError) as error:
        raise InputError(f"initial: {initial} holds no dynamic diffusers: {error}") from error
    if not sum(_copy_weights(source[modality], models[modality]) for modality in models if modality in source):
        raise InputError(
            f"initial: the dynamic diffusers in {initial}, for {', '.join(source)}, share no weight with these, for "
            f"{', '.join(models)}"
        )


def _copy_weights(source: nn.Module, target: nn.Module) -> int:
    """Copy the weights of the same name and shape; how many there are."""
    wanted = target.state_dict()
    found = {key: _widened(value, wanted[key]) for key, value in source.state_dict().items() if key in wanted}
    found = {key: value for key, value in found.items() if value.shape == wanted[key].shape}
    target.load_state_dict(found, strict=False)
    return len(found)


def _widened(value: Tensor, target: Tensor) -> Tensor:
    """A convolution's weights for additional input channels, which start at zero, or for several outputs in place of a
    single one, which start equal."""
    if value.ndim and value.shape[0] == 1 and value.shape[1:] == target.shape[1:]:
        return value.expand_as(target)
    if value.ndim != 4 or value.shape[1] >= target.shape[1] or value.shape[0] != target.shape[0]:
        return value
    widened = torch.zeros_like(target)
    widened[:, : value.shape[1]] = value
    return widened
