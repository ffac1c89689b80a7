"""Between bytes and tensors."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def from_uint8(images: NDArray[np.uint8]) -> Tensor:
    """(batch, h, w, 3) bytes -> float32 (batch, 3, h, w) in [-1, 1]."""
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 127.5 - 1.0


def to_uint8(images: Tensor) -> NDArray[np.uint8]:
    """(batch, 3, h, w) in [-1, 1], clipped -> bytes (batch, h, w, 3), rounded to the nearest."""
    scaled = ((images.detach().float() + 1.0) * 127.5).round().clamp(0, 255)
    return scaled.permute(0, 2, 3, 1).to(torch.uint8).cpu().numpy()
