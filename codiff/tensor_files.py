"""Opening `.pt` files that hold one tensor, without running any code that they may hold."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from codiff.errors import InputError
from codiff.image_files import looks_like


def load_tensor(path: Path, what: str) -> Tensor:
    """The one tensor in a `.pt` file, on the CPU, any shape.

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
        forbidden = re.search(r"GLOBAL (\S+)", str(error))
        if forbidden:
            reason = f"it holds code or objects ({forbidden[1]}), which were not run; only a plain tensor is loaded"
        else:
            reason = f"not a PyTorch file, or damaged; it looks like {looks_like(head)}"
        raise InputError(f"{what} {str(path)!r}: {reason}. Save it again with torch.save(tensor, path)") from error
    if not isinstance(value, Tensor) or value.layout != torch.strided:
        kind = "sparse tensor" if isinstance(value, Tensor) else type(value).__name__
        raise InputError(f"{what} {str(path)!r}: it holds a {kind}, but one dense tensor is expected")
    return value
