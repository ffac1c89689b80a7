"""Weights that others published, read without running anything that a file may hold, and loaded strictly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from codiff.errors import InputError
from codiff.tensor_files import refused_reference

_SHOWN = 3


def read_state(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` file, or of a state dict saved by PyTorch, by name, on the CPU.

    Raises:
        InputError: the file is missing or damaged, or holds anything but named tensors, code above all.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise InputError(f"there is no weight file {path}; give the path of the downloaded file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state: Any = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # whatever a foreign file leads a reader to
        told = (str(error).strip() or type(error).__name__).splitlines()[0]
        forbidden = refused_reference(error)
        reason = f"it refers to {forbidden}; nothing in it was run" if forbidden else told
        raise InputError(f"{path} cannot be read: {reason}. Download it again from its source") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path} holds no state dict of tensors; give the weights alone, not a whole checkpoint")
    return dict(state)


def load_weights(model: nn.Module, path: str | Path, what: str) -> None:
    """Fill `model` with a file's weights; every name and shape must agree.

    Args:
        what: of what the weights are; messages name it.

    Raises:
        InputError: as `read_state`, or the first names or shapes that differ.
    """
    state = read_state(path)
    ours = model.state_dict()
    # batch normalisation counts its batches only since PyTorch 0.4.1, and nothing that is evaluated reads the count
    missing = [name for name in ours if name not in state and not name.endswith("num_batches_tracked")]
    surplus = [name for name in state if name not in ours]
    shaped = [name for name in ours if name in state and ours[name].shape != state[name].shape]
    wrong = {"lacks": missing, "also holds": surplus, "holds in other shapes": shaped}
    reasons = [f"{verb} {_listed(names)}" for verb, names in wrong.items() if names]
    if reasons:
        raise InputError(f"{path} does not hold the weights of {what}: it {', '.join(reasons)}")
    model.load_state_dict(state)


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
