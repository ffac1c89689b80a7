"""Where a picture is edited, and how the edit is put back into the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from codiff.collaborator import Collaborators
from codiff.errors import InputError
from codiff.image_files import ImageSource, open_image

_GROWN = 0.03  # of the side: hair and beards do not end where a mask says
_FEATHER = 0.03  # of the side
_EMPTY = "the region to edit is empty; paint the part to change in white"


def read_region(region: ImageSource | Tensor, side: int) -> Tensor:
    """A region as bool (n, 1, side, side): an image, white where the picture is edited, or a boolean array or tensor
    (h, w), (n, h, w) or (n, 1, h, w).

    Raises:
        InputError: unreadable, not square, or empty.
    """
    if isinstance(region, np.ndarray) and region.dtype == np.bool_:
        region = torch.from_numpy(region)
    planes = _from_tensor(region) if isinstance(region, Tensor) else _from_image(region)
    height, width = planes.shape[-2:]
    if height != width:
        raise InputError(f"region: {width} x {height} pixels, but a square is expected, as the photo is")
    found = functional.interpolate(planes.float(), size=(side, side), mode="nearest-exact") > 0.5
    if not bool(found.flatten(1).any(dim=1).all()):
        raise InputError(_EMPTY)
    return found


def _from_tensor(region: Tensor) -> Tensor:
    if region.dtype != torch.bool or region.ndim not in (2, 3, 4) or (region.ndim == 4 and region.shape[1] != 1):
        raise InputError(f"region: booleans (h, w) or (n, 1, h, w) are expected, not {region.dtype} {region.shape}")
    return region.reshape(-1, 1, *region.shape[-2:])


def _from_image(region: Any) -> Tensor:
    values = np.asarray(open_image(region, what="region").convert("L"))
    return torch.from_numpy(values > 127)[None, None]


def region_between(
    collaborators: Collaborators, source: Mapping[str, Any], target: Mapping[str, Any], side: int
) -> Tensor:
    """Where the pictures among the conditions of both differ, somewhat grown: bool (n, 1, side, side).

    Conditions whose encoder reads planes (n, h, w) or (n, 1, h, w), such as masks and sketches, take part.

    Raises:
        InputError: source and target have no picture in common, or equal ones.
    """
    different = []
    for modality in target:
        if modality in source:
            encoder = collaborators[modality].encoder
            differing = _differing(encoder.read_all(source[modality]), encoder.read_all(target[modality]))
            if differing is not None:
                different.append(functional.interpolate(differing.float(), size=(side, side), mode="nearest-exact") > 0)
    if not different:
        raise InputError(
            "no region is given, and source and target have no picture (mask, ...) in common that would show it; give "
            "a region"
        )
    found = different[0]
    for other in different[1:]:
        found = found | other
    if not bool(found.flatten(1).any(dim=1).all()):
        raise InputError("source and target pictures are equal, so there is no region to edit; give a region")
    return grown(found, round(_GROWN * side))


def _differing(source: Tensor, target: Tensor) -> Tensor | None:
    """Where planes differ, (n, 1, h, w); None where these are not planes."""
    planes = target.ndim == 3 or (target.ndim == 4 and target.shape[1] == 1)
    if not planes or target.shape[-1] != target.shape[-2] or source.shape[1:] != target.shape[1:]:
        return None
    different = source != target
    return different.reshape(-1, 1, *different.shape[-2:])


def grown(region: Tensor, radius: int) -> Tensor:
    """A region (n, 1, h, w) and all within `radius` pixels of it."""
    return functional.max_pool2d(region.float(), 2 * radius + 1, stride=1, padding=radius) > 0


def on_latents(region: Tensor, shape: Sequence[int]) -> Tensor:
    """The latent pixels that a region touches: bool (n, 1, h, w) for latents (..., h, w)."""
    return functional.adaptive_max_pool2d(region.float(), tuple(shape[-2:])) > 0


def pasted(originals: NDArray[np.uint8], images: Sequence[Image.Image], region: Tensor) -> list[Image.Image]:
    """Edited pictures inside a region, feathered inwards, and the originals' very bytes outside it.

    Args:
        originals: (batch, h, w, 3).
        region: bool (batch, 1, h, w).
    """
    radius = max(1, round(_FEATHER * originals.shape[1]))
    count = functional.avg_pool2d(
        region.float(), 2 * radius + 1, stride=1, padding=radius, count_include_pad=False
    )  # 1/2 on a straight border
    shares = ((2 * count - 1).clamp(0, 1) * region)[:, 0, :, :, None].cpu().numpy()
    edited = np.stack([np.asarray(image) for image in images])
    mixed = np.rint(shares * edited + (1 - shares) * originals).astype(np.uint8)
    return [Image.fromarray(picture) for picture in mixed]
