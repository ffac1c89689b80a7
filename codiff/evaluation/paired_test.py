"""Do two methods differ? A permutation test on values from the same conditions and noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import permutation_test

from codiff.evaluation.intervals import Estimate, difference_interval

PERMUTATIONS = 9999


@dataclass(frozen=True)
class PairedTest:
    """Mean of first - second with its interval, the two-sided p-value, and the number of pairs."""

    difference: Estimate
    p_value: float
    pairs: int


def paired_test(first: ArrayLike, second: ArrayLike, *, seed: int = 0) -> PairedTest:
    """Test whether two methods have the same mean, by exchanging them within random pairs (Fisher, 1935; scipy's
    `permutation_test`, exact where 9,999 exchanges reach all). Correct the p-values where many methods are compared.

    Args:
        first, second: one value per image; value i of both comes from the same condition and noise.

    Raises:
        InputError: no values, values that are not finite, or different numbers of them.
    """
    difference = difference_interval(first, second, seed=seed)
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if len(a) == 1 or np.array_equal(a, b):
        return PairedTest(difference, 1.0, len(a))
    result = permutation_test(
        (a, b),
        _mean_difference,
        permutation_type="samples",
        n_resamples=PERMUTATIONS,
        batch=200,
        rng=np.random.default_rng(seed),
    )
    return PairedTest(difference, float(result.pvalue), len(a))


def _mean_difference(a: NDArray[np.float64], b: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = (a - b).mean(axis=axis)
    return mean
