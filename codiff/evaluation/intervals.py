"""Bootstrap confidence intervals of means, alone and paired, and of what is measured on whole sets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import bootstrap, norm, t

from codiff.errors import InputError

RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """A mean, or what was measured on a whole set, with its 95% interval."""

    mean: float
    low: float
    high: float

    def percent(self) -> str:
        """As in "93.1 [92.8, 93.4]"."""
        return f"{100 * self.mean:.1f} [{100 * self.low:.1f}, {100 * self.high:.1f}]"

    def signed(self) -> str:
        """A difference in percent, as in "+1.3 [-0.2, +2.8]"."""
        return f"{100 * self.mean:+.1f} [{100 * self.low:+.1f}, {100 * self.high:+.1f}]"

    @property
    def p_value(self) -> float:
        """Two-sided, of a difference being 0: what a normal distribution with this interval gives (Altman & Bland, BMJ
        2011;343:d2304)."""
        if self.low == self.high:
            return 1.0 if self.mean == 0 else 0.0
        error = (self.high - self.low) / (2 * norm.ppf(0.975))
        return float(2 * norm.sf(abs(self.mean) / error))


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


def resample_counts(number: int, resamples: int, *, seed: int = 0) -> NDArray[np.int64]:
    """How often each of `number` items is drawn in each bootstrap resample: (resamples, number), each row's sum is
    `number` (Efron & Tibshirani, 1993, chapter 6).

    Raises:
        InputError: fewer than two resamples, or no items.
    """
    if number < 1 or resamples < 2:
        raise InputError(f"a bootstrap needs items and at least 2 resamples, not {number} and {resamples}")
    return np.random.default_rng(seed).multinomial(number, np.full(number, 1 / number), size=resamples)


def resampled_ratios(
    parts: NDArray[np.float64], wholes: NDArray[np.float64], resamples: int = RESAMPLES, *, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ratios of sums over images, and what resampled images give.

    Args:
        parts, wholes: (images, columns).

    Returns:
        (columns,) and (resamples, columns); NaN where the whole is 0.
    """
    drawn = resample_counts(len(parts), resamples, seed=seed).astype(np.float64)
    return _ratio(parts.sum(axis=0), wholes.sum(axis=0)), _ratio(drawn @ parts, drawn @ wholes)


def _ratio(parts: NDArray[np.float64], wholes: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(parts, wholes, out=np.full(parts.shape, np.nan), where=wholes > 0)


def ratio_intervals(values: NDArray[np.float64], replicates: NDArray[np.float64]) -> dict[int, Estimate]:
    """What `resampled_ratios` gave: column -> its ratio with the interval; only columns that occur. Resamples that miss
    every image of a rare column do not count."""
    return {
        column: set_interval(float(values[column]), found[np.isfinite(found)])
        for column, found in enumerate(replicates.T)
        if np.isfinite(values[column])
    }


def set_interval(value: float, replicates: ArrayLike, *, centred: bool = False) -> Estimate:
    """What a whole set gave, with the interval of what its resamples gave, by their percentiles.

    Args:
        replicates: one value per resample.
        centred: by Student's t around `value` with the replicates' standard deviation instead. Distances between sets
            need it: a resample holds repetitions, is therefore farther from everything, and its own percentiles would
            miss the value. It also allows for few resamples, of which percentiles would be too near.

    Raises:
        InputError: values that are not finite.
    """
    found = np.asarray(replicates, dtype=np.float64)
    if not np.isfinite(found).all() or not np.isfinite(value):
        raise InputError("a value or a resample's value is not finite: too small a set, or broken features")
    if centred:
        half = float(t.ppf(0.975, len(found) - 1) * found.std(ddof=1))
        return Estimate(value, value - half, value + half)
    low, high = np.quantile(found, [0.025, 0.975])
    return Estimate(value, float(low), float(high))
