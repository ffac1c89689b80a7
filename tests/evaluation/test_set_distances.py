"""Fréchet and kernel distances against closed forms and torchmetrics, and what permutation and duplication do."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torchmetrics.image.kid import KernelInceptionDistance

from codiff import InputError, InputNotice
from codiff.evaluation.frechet_distance import frechet_difference, frechet_distance
from codiff.evaluation.intervals import resample_counts, set_interval
from codiff.evaluation.kernel_distance import MOST_IMAGES, kernel_difference, kernel_distance


def gaussian(count: int, width: int = 3, *, seed: int = 0) -> Tensor:
    return torch.randn(count, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def exactly(mean: list[float], deviation: list[float], *, seed: int, count: int = 50) -> Tensor:
    """Features whose sample mean and covariance are these, the covariance being diagonal."""
    drawn = gaussian(count, len(mean), seed=seed)
    drawn = drawn - drawn.mean(dim=0)
    whitened = drawn @ torch.linalg.inv(torch.linalg.cholesky(drawn.T.cov())).T
    return whitened * torch.tensor(deviation) + torch.tensor(mean)


def test_frechet_of_two_gaussians() -> None:
    # |m1 - m2|^2 + sum (s1 - s2)^2 where the covariances commute (Dowson & Landau, 1982)
    first = exactly([0.0, 1.0, 2.0], [1.0, 2.0, 3.0], seed=0)
    second = exactly([1.0, 1.0, 0.0], [2.0, 2.0, 1.0], seed=1)
    estimate = frechet_distance(first, second, resamples=20)
    assert estimate.mean == pytest.approx((1 + 0 + 4) + (1 + 0 + 4), rel=1e-9)
    assert estimate.low < estimate.mean < estimate.high


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.floats(-3, 3), st.floats(0.1, 3))
def test_frechet_of_a_shift_and_a_scale(seed: int, shift: float, scale: float) -> None:
    features = gaussian(40, seed=seed)
    expected = 3 * shift**2 + (1 - scale) ** 2 * float(features.var(dim=0).sum())
    moved = (features - features.mean(dim=0)) * scale + features.mean(dim=0) + shift
    assert frechet_distance(features, moved, resamples=2).mean == pytest.approx(expected, rel=1e-6, abs=1e-8)


def test_neither_distance_sees_order_and_both_are_symmetric() -> None:
    first, second = gaussian(30, seed=1), gaussian(30, seed=2) + 1
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    for distance in (frechet_distance, kernel_distance):
        value = distance(first, second, resamples=2).mean
        assert distance(first[order], second[order.flip(0)], resamples=2).mean == pytest.approx(value, rel=1e-9)
        assert distance(second, first, resamples=2).mean == pytest.approx(value, rel=1e-9)


def test_what_duplication_does() -> None:
    first, second = gaussian(30, seed=1), gaussian(30, seed=2) + 1
    assert frechet_distance(first, first, resamples=2).mean == pytest.approx(0, abs=1e-9)
    assert frechet_distance(first, first.repeat(2, 1), resamples=2).mean < 0.01  # n - 1 against 2 n - 1
    # unbiased: pairs of a picture with itself are left out, so that copies do show
    doubled = kernel_distance(first, second.repeat(2, 1), resamples=2).mean
    assert doubled > kernel_distance(first, second, resamples=2).mean


def test_kernel_distance_equals_the_definition() -> None:
    x, y = gaussian(5, 2, seed=3).numpy(), gaussian(4, 2, seed=4).numpy() + 0.5

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / 2 + 1) ** 3)

    expected = (
        np.mean([kernel(x[i], x[j]) for i in range(5) for j in range(5) if i != j])
        + np.mean([kernel(y[i], y[j]) for i in range(4) for j in range(4) if i != j])
        - 2 * np.mean([kernel(a, b) for a in x for b in y])
    )
    found = kernel_distance(torch.from_numpy(x), torch.from_numpy(y), resamples=2).mean
    assert found == pytest.approx(expected, rel=1e-9)


def test_kernel_distance_equals_torchmetrics() -> None:
    class Given(nn.Module):
        num_features = 6

        def forward(self, features: Tensor) -> Tensor:
            return features

    first, second = gaussian(60, 6, seed=5), gaussian(60, 6, seed=6) * 1.2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that it keeps all features
        metric = KernelInceptionDistance(feature=Given(), subsets=1, subset_size=60)
    metric.update(first, real=True)
    metric.update(second, real=False)
    assert kernel_distance(first, second, resamples=2).mean == pytest.approx(float(metric.compute()[0]), rel=1e-5)


def test_intervals_hold_the_truth_about_as_often_as_promised() -> None:
    # known: mean 1 apart in one of two directions, equal covariances
    frechet = kernel = 0
    for seed in range(40):
        first, second = gaussian(150, 2, seed=2 * seed), gaussian(150, 2, seed=2 * seed + 1)
        second[:, 0] += 1
        found = frechet_distance(first, second, resamples=60)
        frechet += found.low < 1.0 < found.high
        again = kernel_distance(first, second, resamples=200)
        kernel += again.low < KERNEL_TRUTH < again.high
    assert frechet >= 34
    assert kernel >= 34


def kernel_truth() -> float:
    """E k(x, x') + E k(y, y') - 2 E k(x, y) for unit Gaussians in the plane, the second's mean being (1, 0)."""
    # x.y given x is normal with mean m = x.mu and variance s = |x|^2; E(z + 1)^3 of z = x.y / 2 by its moments, and the
    # mean over x by Gauss-Hermite quadrature, which is exact for polynomials
    nodes, weights = np.polynomial.hermite_e.hermegauss(12)
    grid = np.array([(a, b) for a in nodes for b in nodes])
    weight = np.array([a * b for a in weights for b in weights]) / (2 * np.pi)

    def mean(of: np.ndarray, mu: np.ndarray) -> float:
        centre, variance = (of @ mu) / 2 + 1, (of**2).sum(axis=1) / 4
        return float((weight * (centre**3 + 3 * centre * variance)).sum())

    zero, one = np.zeros(2), np.array([1.0, 0.0])
    return mean(grid, zero) + mean(grid + one, one) - 2 * mean(grid, one)


KERNEL_TRUTH = kernel_truth()


def test_kernel_distance_is_unbiased() -> None:
    values = []
    for seed in range(60):
        first, second = gaussian(40, 2, seed=1000 + seed), gaussian(40, 2, seed=2000 + seed)
        second[:, 0] += 1
        values.append(kernel_distance(first, second, resamples=2).mean)
    assert abs(np.mean(values) - KERNEL_TRUTH) < 3 * np.std(values) / np.sqrt(60)


def test_paired_difference_is_narrower_than_two_alone() -> None:
    real, base = gaussian(100, seed=7), gaussian(100, seed=8)
    first, second = base + 1.2, base + 1.0
    for distance, paired in ((frechet_distance, frechet_difference), (kernel_distance, kernel_difference)):
        difference = paired(real, first, second, resamples=60)
        assert difference.low > 0
        alone = [distance(real, each, resamples=60) for each in (first, second)]
        assert difference.mean == pytest.approx(alone[0].mean - alone[1].mean, rel=1e-9)
        assert alone[0].low < alone[1].high
        assert paired(real, first, first, resamples=5).high == 0
        with pytest.raises(InputError, match="equally many"):
            paired(real, first, second[:50])


def test_few_images_are_told() -> None:
    with pytest.warns(InputNotice, match="5 images for features of 8"):
        frechet_distance(gaussian(5, 8), gaussian(5, 8, seed=1), resamples=2)


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (gaussian(0), gaussian(9), "0 real images; at least 2"),
        (gaussian(9), gaussian(1), "1 generated images; at least 2"),
        (gaussian(9), gaussian(9, 4), "of different extractors"),
        (gaussian(9), torch.full((9, 3), float("nan")), "generated features hold values that are not finite"),
        (gaussian(9)[0], gaussian(9), "expected \\(images, d\\)"),
    ],
)
def test_both_refuse(distance: object, first: Tensor, second: Tensor, message: str) -> None:
    assert callable(distance)
    with pytest.raises(InputError, match=message):
        distance(first, second)


def test_kernel_distance_refuses_what_does_not_fit_into_memory() -> None:
    with pytest.raises(InputError, match="10000 at most"):
        kernel_distance(torch.zeros(MOST_IMAGES + 1, 1), torch.zeros(2, 1))


def test_resamples() -> None:
    counts = resample_counts(7, 100, seed=1)
    assert counts.shape == (100, 7)
    assert (counts.sum(axis=1) == 7).all()
    for number, resamples in ((0, 10), (5, 1)):
        with pytest.raises(InputError, match="bootstrap needs"):
            resample_counts(number, resamples)
    plain = set_interval(1.0, np.linspace(2.0, 3.0, 101))
    assert (plain.low, plain.high) == (pytest.approx(2.025), pytest.approx(2.975))
    centred = set_interval(1.0, [4.0, 5.0, 6.0], centred=True)  # t of two degrees of freedom: 4.3027
    assert (centred.low, centred.high) == (pytest.approx(-3.3027, abs=1e-4), pytest.approx(5.3027, abs=1e-4))
    with pytest.raises(InputError, match="not finite"):
        set_interval(1.0, [float("nan"), 1.0])
