"""Writing one part's weights, a shard at a time, so that they can be memory-mapped later."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from diffusers.utils import SAFETENSORS_WEIGHTS_NAME
from safetensors.torch import save_file
from torch import Tensor

_SHARD_BYTES = 384 * 2**20
_ALIGNMENT = 64
_INDEX = f"{SAFETENSORS_WEIGHTS_NAME}.index.json"
_TYPES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


def write_weights(
    folder: Path, shapes: Mapping[str, torch.Size], read: Callable[[list[str]], dict[str, Tensor]], dtype: torch.dtype
) -> None:
    """Write the weights of these shapes in the layout that diffusers loads, sharded where they are large.

    Args:
        read: gives the tensors of these names, of `dtype`; called once a shard.
    """
    shards = _split(shapes, dtype.itemsize)
    stem, suffix = Path(SAFETENSORS_WEIGHTS_NAME).stem, Path(SAFETENSORS_WEIGHTS_NAME).suffix
    places = {}
    for number, names in enumerate(shards, start=1):
        single = len(shards) == 1
        file = SAFETENSORS_WEIGHTS_NAME if single else f"{stem}-{number:05d}-of-{len(shards):05d}{suffix}"
        tensors = read(names)
        save_file(tensors, folder / file, metadata=_metadata(tensors))
        places.update(dict.fromkeys(names, file))
    if len(shards) > 1:
        total = sum(math.prod(shape) for shape in shapes.values()) * dtype.itemsize
        index = {"metadata": {"total_size": total}, "weight_map": places}
        (folder / _INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _split(shapes: Mapping[str, torch.Size], itemsize: int) -> list[list[str]]:
    """Names by shard. Tensors that do not end at the alignment would shift all that follow: they share the last one."""
    sizes = {name: math.prod(shape) * itemsize for name, shape in shapes.items()}
    shards: list[list[str]] = [[]]
    filled = 0
    for name in (name for name, size in sizes.items() if size % _ALIGNMENT == 0):
        if shards[-1] and filled + sizes[name] > _SHARD_BYTES:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += sizes[name]
    shards.append([name for name, size in sizes.items() if size % _ALIGNMENT])
    return [shard for shard in shards if shard]


def _metadata(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """The metadata of a safetensors file, filled up so that the tensors begin at a multiple of 64 bytes: then the file
    can be used in place, because kernels read mapped weights as fast, and round as they do, as those in memory."""
    metadata = {"format": "pt", "alignment": ""}
    header: dict[str, object] = {"__metadata__": metadata}
    offset = 0
    for name in sorted(tensors):
        tensor = tensors[name]
        end = offset + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _TYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    length = len(json.dumps(header, separators=(",", ":")))
    return {**metadata, "alignment": " " * (-(8 + length) % _ALIGNMENT)}
