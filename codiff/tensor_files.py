"""Opening `.pt` files that hold one tensor, without running any code that they may hold."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from codiff.errors import InputError
from codiff.image_files import looks_like

_NUMBERS = (
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint64, torch.uint32, torch.uint16, torch.uint8),
)


def refused_reference(error: Exception) -> str | None:
    """The code that a file refers to and that `torch.load(weights_only=True)` did not run; None where that was not why
    it failed."""
    found = re.search(r"GLOBAL (\S+)", str(error))
    return found[1] if found else None


def load_tensor(path: Path, what: str) -> Tensor:
    """The one tensor in a `.pt` file: dense, of real numbers, on the CPU, without gradient, of any shape.

    Test the shape before anything is computed: a file of few bytes may hold a tensor of endless repetitions.

    Args:
        path: the file.
        what: what the tensor is for; messages begin with it.

    Raises:
        InputError: it cannot be read, is damaged, or holds anything but a plain tensor, code above all.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(512)
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL
        raise InputError(f"{what} {str(path)!r}: cannot be read: {error}") from error
    try:
        value = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # the unpickler raises whatever a foreign byte leads it to
        forbidden = refused_reference(error)
        if forbidden:
            reason = f"it holds code or objects ({forbidden}), which were not run; only a plain tensor is loaded"
        else:
            reason = f"not a PyTorch file, or damaged; it looks like {looks_like(head)}"
        raise InputError(f"{what} {str(path)!r}: {reason}. Save it again with torch.save(tensor, path)") from error
    kind = _unusable(value)
    if kind is not None:
        raise InputError(f"{what} {str(path)!r}: it holds a {kind}, but one dense tensor of real numbers is expected")
    plain: Tensor = value.detach()
    return plain


def _unusable(value: object) -> str | None:
    """What a value is that is no dense tensor of real numbers; None where it is one."""
    if not isinstance(value, Tensor):
        return type(value).__name__
    if value.is_nested:  # first, as a nested tensor does not even tell its shape
        return "nested tensor"
    if value.layout != torch.strided:
        return f"{value.layout} tensor"
    if value.is_meta:
        return "tensor without values (device meta)"
    return None if value.dtype in _NUMBERS else f"{value.dtype} tensor"
