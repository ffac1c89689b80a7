"""Bootstrap confidence intervals of means, alone and paired."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import bootstrap

from codiff.errors import InputError

RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95% interval."""

    mean: float
    low: float
    high: float

    def percent(self) -> str:
        """As in "93.1 [92.8, 93.4]"."""
        return f"{100 * self.mean:.1f} [{100 * self.low:.1f}, {100 * self.high:.1f}]"


def mean_interval(values: ArrayLike, *, seed: int = 0) -> Estimate:
    """Mean of one value per image with its percentile bootstrap interval (Efron & Tibshirani, 1993, chapter 13).

    Raises:
        InputError: no values, or values that are not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or len(array) == 0 or not np.isfinite(array).all():
        raise InputError("an interval needs a non-empty list of finite values, one per image")
    mean = float(array.mean())
    if len(array) == 1 or np.ptp(array) == 0.0:
        return Estimate(mean, mean, mean)
    result = bootstrap(
        (array,), np.mean, n_resamples=RESAMPLES, method="percentile", batch=200, rng=np.random.default_rng(seed)
    )
    return Estimate(mean, float(result.confidence_interval.low), float(result.confidence_interval.high))


def difference_interval(first: ArrayLike, second: ArrayLike, *, seed: int = 0) -> Estimate:
    """Mean of first - second over the same images with its interval: excludes 0 where the methods differ at 5%.

    Raises:
        InputError: the lists differ in length, or as `mean_interval`.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape:
        raise InputError(f"paired values must be of equal number, got {a.shape} and {b.shape}")
    return mean_interval(a - b, seed=seed)
