"""How far are generated pictures from real ones as sets? The kernel distance of their features (KID)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.image.kid import poly_kernel

from codiff.errors import InputError
from codiff.evaluation.inputs import check_features, check_same_width
from codiff.evaluation.intervals import RESAMPLES, Estimate, resample_counts, set_interval

MOST_IMAGES = 10_000  # of each set: three matrices of 0.8 GB

_Counts = NDArray[np.float64]


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
    check_features(real, "real", 2)
    check_features(generated, "generated", 2)
    check_same_width(real, generated)
    most = max(len(real), len(generated))
    if most > MOST_IMAGES:
        raise InputError(f"{most} images; the kernel distance takes {MOST_IMAGES} at most: give a random part of them")
    within_real, within, across = (
        poly_kernel(a.double(), b.double()).cpu().numpy()
        for a, b in ((real, real), (generated, generated), (real, generated))
    )
    np.fill_diagonal(within_real, 0.0)
    np.fill_diagonal(within, 0.0)

    def discrepancy(r: _Counts, g: _Counts) -> _Counts:
        """Of each row of counts, how often each image is there."""
        cross = ((r @ across) * g).sum(axis=1) / (r.sum(axis=1) * g.sum(axis=1))
        return _mean_pair(within_real, r) + _mean_pair(within, g) - 2 * cross

    value = discrepancy(np.ones((1, len(real))), np.ones((1, len(generated))))[0]
    replicates = discrepancy(
        resample_counts(len(real), resamples, seed=seed).astype(np.float64),
        resample_counts(len(generated), resamples, seed=seed + 1).astype(np.float64),
    )
    return set_interval(float(value), replicates)


def _mean_pair(kernel: NDArray[np.float64], counts: _Counts) -> _Counts:
    """Mean of a kernel (n, n), zero on the diagonal, over pairs of different images, weighted by counts (rows, n)."""
    pairs = counts.sum(axis=1) ** 2 - (counts**2).sum(axis=1)
    mean: _Counts = ((counts @ kernel) * counts).sum(axis=1) / pairs
    return mean
