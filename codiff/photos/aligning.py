"""From a photo to the crop that models know: the eyes where CelebA-HQ has them (Karras et al., arXiv:1710.10196)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codiff.errors import InputError
from codiff.photos.finding import Eyes

EYES: Eyes = ((0.375, 0.474), (0.617, 0.474))
"""Middles of the eyes in the crop, as shares of its side; means of aligned CelebA-HQ pictures."""
_MOST_PADDING = 8192  # pixels on a side: more is asked for only by eyes that are not eyes


@dataclass(frozen=True)
class Alignment:
    """A turn, a scale and a shift between a crop and its photo.

    Attributes:
        matrix: (2, 3); photo = matrix @ (x, y, 1) for a place in the crop, as shares of its side.
    """

    matrix: NDArray[np.float64]

    @classmethod
    def of_eyes(cls, eyes: Eyes) -> Alignment:
        """The one that brings these eyes, in pixels of the photo, to `EYES`."""
        target, source = (np.array([complex(*eye) for eye in pair]) for pair in (EYES, eyes))
        turn = (source[1] - source[0]) / (target[1] - target[0])  # a complex factor turns and scales
        shift = source[0] - turn * target[0]
        return cls(np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]]))

    @classmethod
    def whole(cls, side: float) -> Alignment:
        """The one of a square photo of this side that is its own crop."""
        return cls(np.array([[side, 0.0, 0.0], [0.0, side, 0.0]]))

    @property
    def side(self) -> float:
        """Side of the crop in pixels of the photo."""
        return float(math.hypot(self.matrix[0, 0], self.matrix[1, 0]))

    def to_photo(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """Places (n, 2) of the crop, as shares of its side, in pixels of the photo."""
        return places @ self.matrix[:, :2].T + self.matrix[:, 2]

    def from_photo(self) -> NDArray[np.float64]:
        """The inverse: (2, 3); crop = matrix @ (x, y, 1) for a place in pixels of the photo."""
        inverse = np.linalg.inv(self.matrix[:, :2])
        return np.column_stack([inverse, -inverse @ self.matrix[:, 2]])


def cut_out(photo: Image.Image, alignment: Alignment, size: int) -> Image.Image:
    """The crop as a picture (size, size), RGB; what lies beyond the photo's edges is mirrored.

    Raises:
        InputError: the crop lies so far outside the photo that hardly anything of it is seen.
    """
    corners = alignment.to_photo(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
    low, high = np.floor(corners.min(axis=0)).astype(int) - 2, np.ceil(corners.max(axis=0)).astype(int) + 2
    before, after = np.maximum(-low, 0), np.maximum(high - np.array(photo.size), 0)
    if max(*before, *after) > min(_MOST_PADDING, max(photo.size)):
        raise InputError("the face reaches too far beyond the photo's edges; give a photo that shows all of it")
    left, top = np.maximum(low, 0)
    right, bottom = np.minimum(high, np.array(photo.size))
    pixels = np.asarray(photo.convert("RGB").crop((left, top, right, bottom)))
    padding = ((before[1], after[1]), (before[0], after[0]), (0, 0))
    region = Image.fromarray(np.pad(pixels, padding, mode="symmetric"))
    matrix = alignment.matrix.copy()
    matrix[:, 2] -= low
    return _warped(region, matrix, size)


def cut_labels(labels: Image.Image, alignment: Alignment, size: int) -> Image.Image:
    """The crop of a picture of labels (size, size), in its own mode, none of them mixed; 0 beyond its edges."""
    coefficients = tuple((alignment.matrix / np.array([size, size, 1])).ravel())
    return labels.transform((size, size), Image.Transform.AFFINE, coefficients, resample=Image.Resampling.NEAREST)


def _warped(region: Image.Image, matrix: NDArray[np.float64], size: int) -> Image.Image:
    """Sampled at the crop's pixels; a region with more pixels than that is averaged first, so that nothing aliases."""
    reduction = max(1, int(math.hypot(matrix[0, 0], matrix[1, 0]) / size))
    if reduction > 1:
        wide, high = (-(-length // reduction) * reduction for length in region.size)
        padded = np.pad(
            np.asarray(region), ((0, high - region.height), (0, wide - region.width), (0, 0)), mode="symmetric"
        )
        region = Image.fromarray(padded).reduce(reduction)
    coefficients = tuple((matrix / np.array([size, size, 1]) / reduction).ravel())
    return region.transform((size, size), Image.Transform.AFFINE, coefficients, resample=Image.Resampling.BICUBIC)
