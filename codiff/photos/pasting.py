"""An edited crop back into its photo: feathered, colour matched, everything else untouched."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from codiff.photos.aligning import Alignment

_BORDER = 0.06  # of the crop's side: how wide its rim fades into the photo
_FEATHER = 0.03  # of the crop's side: how wide a region's edge fades
_RING = 0.12  # of the crop's side: the rim, or the surroundings of a region, that colours are matched on
_STRONGEST = 1.5  # contrast is raised or lowered by this factor at most: a flat rim says little


def paste_back(
    photo: Image.Image,
    before: Image.Image,
    after: Image.Image,
    alignment: Alignment,
    region: NDArray[np.bool_] | None = None,
) -> tuple[Image.Image, Image.Image]:
    """The photo with the edited face, and where it was changed.

    Args:
        photo: RGB.
        before, after: the crop as it was cut out, and edited: RGB of one square size.
        alignment: how the crop was cut out.
        region: (side, side), where of the crop the edit is wanted; None for all of it.

    Returns:
        RGB and mode L, both of the photo's size; pixels where the latter is 0 are the photo's own to the bit.
    """
    side = after.width
    weights = _weights(side, region)
    matched = _matched(np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64), weights)
    matrix = alignment.from_photo() * side
    coefficients = tuple(matrix.ravel())

    def spread(picture: Image.Image) -> Image.Image:
        return picture.transform(photo.size, Image.Transform.AFFINE, coefficients, resample=Image.Resampling.BICUBIC)

    alpha = spread(Image.fromarray(np.rint(255 * weights).astype(np.uint8)))
    face = spread(Image.fromarray(np.clip(np.rint(matched), 0, 255).astype(np.uint8)))
    return Image.composite(face, photo.convert("RGB"), alpha), alpha


def _weights(side: int, region: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    """How much of the edit is taken at each pixel of the crop: (side, side) in [0, 1], 0 at its edges."""
    inside = np.zeros((side, side), dtype=bool)
    inside[1:-1, 1:-1] = True
    rim = np.clip(ndimage.distance_transform_edt(inside) / (_BORDER * side), 0, 1)
    if region is None:
        return _smooth(rim)
    reach = max(1.0, _FEATHER * side)
    near = np.clip(1 - ndimage.distance_transform_edt(~region) / reach, 0, 1) if region.any() else np.zeros_like(rim)
    return _smooth(np.minimum(rim, near))


def _smooth(share: NDArray[np.float64]) -> NDArray[np.float64]:
    """A ramp without corners: 3 s^2 - 2 s^3."""
    return share * share * (3 - 2 * share)


def _matched(
    before: NDArray[np.float64], after: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """`after` with each channel's mean and contrast as `before` has them around what is taken (Reinhard et al., 2001).

    What is edited differs on purpose; its surroundings should not.
    """
    ring = (weights < 1) & (ndimage.distance_transform_edt(weights == 0) <= _RING * len(weights))
    if ring.sum() < 16:
        return after
    source, target = after[ring], before[ring]
    contrast = np.clip((target.std(axis=0) + 1) / (source.std(axis=0) + 1), 1 / _STRONGEST, _STRONGEST)
    return (after - source.mean(axis=0)) * contrast + target.mean(axis=0)
