"""How far are generated pictures from real ones as sets? The kernel distance of their features (KID)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.image.kid import poly_kernel

from codiff.errors import InputError
from codiff.evaluation.inputs import check_equally_many, check_feature_sets
from codiff.evaluation.intervals import RESAMPLES, Estimate, resample_counts, set_interval

MOST_IMAGES = 10_000  # of each set: three matrices of 0.8 GB

_Array = NDArray[np.float64]


def kernel_distance(real: Tensor, generated: Tensor, *, resamples: int = RESAMPLES, seed: int = 0) -> Estimate:
    """Unbiased squared maximum mean discrepancy of two sets of features with the kernel (x.y / d + 1)^3: 0 on average
    for sets from one source, and slightly negative half of the time; lower is better (Binkowski et al., 2018,
    arXiv:1801.01401; Gretton et al., JMLR 2012, eq. 3). Only with InceptionV3's features is it the KID, which
    is often printed times 1000.

    Published values are means over random subsets, which estimate the same number with more noise; over one subset that
    is the whole set, torchmetrics' `KernelInceptionDistance` gives this value exactly. The interval comes from
    resampling both sets, leaving out pairs of an image with itself; it is too wide where the sets are nearly alike.

    Args:
        real, generated: features (images, d), 2 to 10,000 images each.

    Raises:
        InputError: too few or too many images, features that are not finite or of different extractors.
    """
    _check(real, generated)
    counts = _counts(len(real), len(generated), resamples, seed)
    value, *replicates = _mean_pair(real, counts[0]) + _rest(real, generated, *counts)
    return set_interval(float(value), replicates)


def kernel_difference(real: Tensor, first: Tensor, second: Tensor, *, resamples: int = 500, seed: int = 0) -> Estimate:
    """Distance of `first` minus distance of `second` from the same real images, with its interval: excludes 0 where two
    methods differ at 5%. The real images' own part cancels.

    Args:
        real: features (images, d).
        first, second: features (images, d) of two methods, row by row from the same condition and noise; rows are
            resampled together.

    Raises:
        InputError: the methods differ in number, or as `kernel_distance`.
    """
    check_equally_many(first, second)
    _check(real, first)
    _check(real, second)
    counts = _counts(len(real), len(first), resamples, seed)
    value, *replicates = _rest(real, first, *counts) - _rest(real, second, *counts)
    return set_interval(float(value), replicates)


def _check(real: Tensor, generated: Tensor) -> None:
    check_feature_sets(real, generated)
    most = max(len(real), len(generated))
    if most > MOST_IMAGES:
        raise InputError(f"{most} images; the kernel distance takes {MOST_IMAGES} at most: give a random part of them")


def _counts(real: int, generated: int, resamples: int, seed: int) -> tuple[_Array, _Array]:
    """How often each image is there: in the first row once, in the others as it is drawn."""
    first, second = (
        np.vstack([np.ones(number), resample_counts(number, resamples, seed=at)])
        for number, at in ((real, seed), (generated, seed + 1))
    )
    return first, second


def _rest(real: Tensor, generated: Tensor, r: _Array, g: _Array) -> _Array:
    """Of each row of counts, all of the discrepancy but the mean kernel within the real images."""
    across = ((r @ _kernel(real, generated)) * g).sum(axis=1) / (r.sum(axis=1) * g.sum(axis=1))
    rest: _Array = _mean_pair(generated, g) - 2 * across
    return rest


def _mean_pair(features: Tensor, counts: _Array) -> _Array:
    """Mean kernel over pairs of different images, each image weighted by its counts (rows, images)."""
    kernel = _kernel(features, features)
    np.fill_diagonal(kernel, 0.0)
    pairs = counts.sum(axis=1) ** 2 - (counts**2).sum(axis=1)
    mean: _Array = ((counts @ kernel) * counts).sum(axis=1) / pairs
    return mean


def _kernel(first: Tensor, second: Tensor) -> _Array:
    found: _Array = poly_kernel(first.double(), second.double()).cpu().numpy()
    return found
