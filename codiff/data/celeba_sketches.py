"""The published sketches of CelebA-HQ: tensors of 32 x 32 pixels."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codiff.errors import InputError
from codiff.tensor_files import load_tensor


def read_sketch_file(path: Path) -> NDArray[np.uint8]:
    """A published sketch, a `.pt` file of (1, 1024) or any other square number of pixels: (side, side), dark on white.

    Values are in 0..1 or 0..255. What most of it shows is taken as the paper: nothing tells which way round the
    published ones are.

    Raises:
        InputError: damaged, of another shape or range, or blank.
    """
    values = load_tensor(path, "sketch").float().numpy()
    side = math.isqrt(values.size)
    if side**2 != values.size or side < 2 or values.shape[-1] not in (side, values.size):
        raise InputError(f"sketch {str(path)!r}: shape {tuple(values.shape)}, but (1, 1024) is expected")
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 255):
        raise InputError(f"sketch {str(path)!r}: values are expected in 0..1 or 0..255")
    if values.min() == values.max():
        raise InputError(f"sketch {str(path)!r}: it is blank")
    grey = np.rint(values * (255 if values.max() <= 1 else 1)).astype(np.uint8).reshape(side, side)
    return grey if np.median(grey) >= 128 else 255 - grey
