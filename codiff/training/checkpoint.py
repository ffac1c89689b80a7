"""Checkpoints of a training: weights, optimiser and averages as safetensors, the rest as JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from codiff.errors import InputError
from codiff.files import written_aside

FOLDER = "checkpoint"


def save_checkpoint(
    output: Path, model: nn.Module, optimizer: torch.optim.Optimizer, ema: EMAModel | None, progress: Mapping[str, Any]
) -> None:
    """Replace `output/checkpoint` by the present state, whole or not at all."""
    with written_aside(output / FOLDER) as folder:
        folder.mkdir()
        save_file(_trained(model), folder / "model.safetensors")
        save_file(_flatten(optimizer.state_dict()["state"]), folder / "optimizer.safetensors")
        record = {**progress, "ema_step": None}
        if ema is not None:
            averages = {str(index): value.contiguous() for index, value in enumerate(ema.shadow_params)}
            save_file(averages, folder / "ema.safetensors")
            record["ema_step"] = ema.optimization_step
        record["sha256"] = {file.name: _sha256(file) for file in sorted(folder.glob("*.safetensors"))}
        (folder / "progress.json").write_text(json.dumps(record, indent=2))


def load_checkpoint(
    output: Path, model: nn.Module, optimizer: torch.optim.Optimizer, ema: EMAModel | None
) -> dict[str, Any] | None:
    """Restore what `save_checkpoint` wrote; None where there is no checkpoint.

    Raises:
        InputError: the checkpoint is damaged or belongs to another model.
    """
    folder = output / FOLDER
    if not folder.exists():
        return None
    try:
        progress: dict[str, Any] = json.loads((folder / "progress.json").read_text())
        missing = {"step", "log", "seconds"} - progress.keys()
        if missing:
            raise ValueError(f"progress.json lacks {', '.join(sorted(missing))}")
        for name, expected in progress.get("sha256", {}).items():  # a flipped byte would load silently
            if _sha256(folder / name) != expected:
                raise ValueError(f"{name} has changed since it was written")
        weights = load_file(folder / "model.safetensors")
        _check_shapes(folder, weights, _trained(model))
        model.load_state_dict(weights, strict=False)
        state = optimizer.state_dict()
        state["state"] = _unflatten(load_file(folder / "optimizer.safetensors"))
        optimizer.load_state_dict(state)
        if ema is not None:
            averages = load_file(folder / "ema.safetensors")
            ema.shadow_params = [averages[str(index)].to(old) for index, old in enumerate(ema.shadow_params)]
            ema.optimization_step = progress.get("ema_step", progress["step"])
    except InputError:
        raise
    except (OSError, ValueError, TypeError, KeyError, AttributeError, SafetensorError) as error:
        raise InputError(f"the checkpoint in {folder} is damaged ({error}); remove the folder to start anew") from error
    return progress


def _check_shapes(folder: Path, weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    found, wanted = ({key: tuple(value.shape) for key, value in part.items()} for part in (weights, expected))
    differing = sorted(key for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key))
    if differing:
        key = differing[0]
        raise InputError(
            f"the checkpoint in {folder} belongs to a model of another shape ({len(differing)} weights differ, first "
            f"{key}: {found.get(key)} there, {wanted.get(key)} here); train into an empty folder"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _trained(model: nn.Module) -> dict[str, Tensor]:
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    buffers = {name for name, _ in model.named_buffers()}
    return {key: value.contiguous() for key, value in model.state_dict().items() if key in trained | buffers}


def _flatten(state: Mapping[int, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {f"{index}.{name}": value.contiguous() for index, entry in state.items() for name, value in entry.items()}


def _unflatten(flat: Mapping[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in flat.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    return state
