"""The published sketches of CelebA-HQ: tensors of 32 x 32 pixels."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codiff.errors import InputError
from codiff.tensor_files import load_tensor

_LARGEST = 1024  # pixels along the side, as CelebA-HQ has them


def read_sketch_file(path: Path) -> NDArray[np.uint8]:
    """A published sketch, (side, side), dark on white: a `.pt` file of (1, 1024), or other squares up to 1024 x 1024.

    Values are in 0..1 or 0..255. What most of it shows is taken as the paper: nothing tells which way round the
    published ones are.

    Raises:
        InputError: damaged, of another shape or range, or blank.
    """
    tensor = load_tensor(path, "sketch")
    count = math.prod(tensor.shape)
    side = math.isqrt(count)
    if side**2 != count or not 2 <= side <= _LARGEST or tensor.shape[-1] not in (side, count):
        raise InputError(f"sketch {str(path)!r}: shape {tuple(tensor.shape)}, but (1, 1024) is expected")
    values = tensor.float().numpy(force=True)  # resolves lazy views
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 255):
        raise InputError(f"sketch {str(path)!r}: values are expected in 0..1 or 0..255")
    if values.min() == values.max():
        raise InputError(f"sketch {str(path)!r}: it is blank")
    grey = np.rint(values * (255 if values.max() <= 1 else 1)).astype(np.uint8).reshape(side, side)
    return grey if np.median(grey) >= 128 else 255 - grey
