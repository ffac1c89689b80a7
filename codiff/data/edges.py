"""Line drawings of photographs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_RATIO = 1.6  # of the two Gaussians: their difference then comes nearest to a Laplacian
_SHARPNESS = 0.995  # tau: just below one, so that an even area is paper whatever its brightness
_LINES = (0.87, 0.96)  # quantiles of the line strength at which ink begins and is full
_LEAST = 0.008  # of the line strength: what is weaker is the grain of an even surface
_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


def draw_edges(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The edges of a photograph (h, w, 3) in 0..255 as dark lines on white: (h, w), 255 = paper; the same every time.

    An extended difference of Gaussians of the luminance: D = G_sigma - tau G_(k sigma) is negative on the dark side of
    an edge, and -D becomes ink. Where the published filter takes fixed thresholds for D, these follow the picture's own
    distribution, so that dark and pale photographs get about as many lines; the softness of its tanh becomes a ramp
    between the two. Sigma is 1/300 of the side, at least 0.7 pixels.
    Source: Winnemoeller, Kyprianidis and Olsen, "XDoG: An eXtended difference-of-Gaussians compendium including
    advanced image stylization", Computers & Graphics 36(6), 2012.
    """
    luminance = np.sqrt((image.astype(np.float32) / 255) @ _LUMINANCE)  # the root lifts edges within dark hair
    sigma = max(0.7, min(luminance.shape) / 300)
    difference = _gaussian(luminance, sigma) - _SHARPNESS * _gaussian(luminance, _RATIO * sigma)
    strength = np.maximum(-difference, 0)
    low, high = np.maximum(np.quantile(strength, _LINES), (_LEAST / 2, _LEAST))
    ink = np.clip((strength - low) / (high - low), 0, 1)
    return np.rint(255 * (1 - ink)).astype(np.uint8)


def _gaussian(values: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Values (h, w) smoothed by a Gaussian, mirrored at the borders."""
    reach = min(int(3 * sigma + 0.5), min(values.shape) - 1)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2).astype(np.float32)
    weights /= weights.sum()
    for axis in (0, 1):
        padding = [(reach, reach) if each == axis else (0, 0) for each in (0, 1)]
        padded = np.pad(values, padding, mode="reflect")
        length = values.shape[axis]
        values = np.zeros_like(values)
        for start, weight in enumerate(weights):
            values += weight * padded.take(range(start, start + length), axis)
    return values
