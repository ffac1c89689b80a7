"""Reading the published files safely, and only as much of them as is needed."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from codiff.errors import InputError

STATE = "state_dict"
_HELP = "download it again, and check its size against the page it came from"


def _stub(module: str, name: str) -> type:
    return type(name, (), {"__module__": module})


# Lightning 1.x keys its "callbacks" entry by this class. The unpickler is given an empty class of that name, which can
# do nothing; every other reference to code in a file is refused.
_ADMITTED = {
    f"{module}.{name}": _stub(module, name)
    for module, name in (("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint"),)
}


def open_checkpoint(path: Path) -> dict[str, Tensor]:
    """The state dict of a Lightning checkpoint, memory-mapped: tensors are read from the disk when they are used.

    Nothing in the file is run (`weights_only`).

    Raises:
        InputError: missing, truncated, not a checkpoint, without a state dict, or holding code.
    """
    if not path.is_file():
        raise InputError(f"{path} is missing; expected a checkpoint file")
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path} is not a PyTorch checkpoint, or it is truncated; {_HELP}")
    try:
        with torch.serialization.safe_globals([(stub, name) for name, stub in _ADMITTED.items()]):
            content: Any = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except Exception as error:  # whatever a damaged or foreign file leads the reader to
        raise InputError(_reason(path, error)) from error
    state = content.get(STATE) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path} holds no {STATE!r} of tensors: it is not one of the published checkpoints")
    return dict(state)


def _reason(path: Path, error: Exception) -> str:
    told = str(error).strip() or type(error).__name__
    forbidden = re.search(r"(?:GLOBAL|[Uu]nsupported \w+:?) (?!GLOBAL)([\w.]+\.\w+)", told)
    if forbidden is None:
        return f"{path} cannot be read: {told.splitlines()[0]}; {_HELP}"
    return (
        f"{path} refers to {forbidden[1]}, which no published checkpoint does; nothing in the file was run. Do not "
        "open it elsewhere; get the file from its source"
    )
