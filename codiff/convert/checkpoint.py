"""Reading the published files safely, and only as much of them as is needed."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from codiff.errors import InputError
from codiff.image_files import looks_like
from codiff.tensor_files import refused_reference

STATE = "state_dict"
_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the number that older files begin with
_HELP = "download it again, and check its size against the page it came from"


def _stub(module: str, name: str) -> type:
    return type(name, (), {"__module__": module})


# Lightning 1.x keys its "callbacks" entry by this class. The unpickler is given an empty class of that name, which can
# do nothing; every other reference to code in a file is refused.
_ADMITTED = {
    f"{module}.{name}": _stub(module, name)
    for module, name in (("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint"),)
}


def check_whole(path: Path) -> None:
    """Read a checkpoint once and compare its parts with the checksums that PyTorch stored in it.

    Raises:
        InputError: it is missing, of another kind, cut short or changed.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(512)
        with zipfile.ZipFile(path) as archive:
            packed = [entry.filename for entry in archive.infolist() if entry.compress_type != zipfile.ZIP_STORED]
            damaged = packed[0] if packed else archive.testzip()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}; expected a checkpoint file") from error
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error) as error:
        kind = "a checkpoint of PyTorch before 1.6" if head.startswith(_LEGACY) else looks_like(head)
        raise InputError(
            f"{path} is not a PyTorch checkpoint as the published ones are, or it is truncated; it looks like {kind}. "
            f"{_HELP[0].upper()}{_HELP[1:]}"
        ) from error
    if damaged:
        raise InputError(f"{path} is damaged (at {damaged}); {_HELP}")


def open_checkpoint(path: Path) -> dict[str, Tensor]:
    """The state dict of a Lightning checkpoint, memory-mapped: tensors are read from the disk when they are used.

    Nothing in the file is run (`weights_only`).

    Raises:
        InputError: it cannot be read, has no state dict of plain tensors, or refers to code.
    """
    try:
        with torch.serialization.safe_globals([(stub, name) for name, stub in _ADMITTED.items()]):
            content: Any = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except Exception as error:  # whatever a damaged or foreign file leads the reader to
        raise InputError(_reason(path, error)) from error
    state = content.get(STATE) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not state or not all(map(_is_plain, state.items())):
        raise InputError(f"{path} holds no {STATE!r} of plain tensors: it is not one of the published checkpoints")
    return {key: value.detach() for key, value in state.items()}


def _is_plain(entry: tuple[Any, Any]) -> bool:
    key, value = entry
    if not isinstance(key, str) or not isinstance(value, Tensor) or value.is_nested:
        return False
    return value.layout == torch.strided and not value.is_meta and not value.is_quantized


def _reason(path: Path, error: Exception) -> str:
    forbidden = refused_reference(error)
    if forbidden is not None:
        return (
            f"{path} refers to {forbidden}, which no published checkpoint does; nothing in the file was run. Do not "
            "open it elsewhere; get the file from its source"
        )
    if isinstance(error, (OSError, MemoryError)):
        return f"{path} cannot be read: {error}"
    return f"{path} holds something other than tensors, or is damaged; nothing in it was run; {_HELP}"
