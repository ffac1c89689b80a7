"""How far are generated pictures from real ones as sets? The Fréchet distance of their features (FID)."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from codiff.errors import InputNotice
from codiff.evaluation.inputs import check_equally_many, check_feature_sets
from codiff.evaluation.intervals import Estimate, resample_counts, set_interval


class _Given(nn.Module):
    """Stands where torchmetrics expects a network: the features are there already."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_features = width

    def forward(self, features: Tensor) -> Tensor:
        return features


def frechet_distance(real: Tensor, generated: Tensor, *, resamples: int = 100, seed: int = 0) -> Estimate:
    """Squared Fréchet distance between Gaussians fitted to two sets of features: >= 0, 0 for equal sets, in squared
    units of the features, lower is better (Heusel et al., 2017, arXiv:1706.08500, eq. 6; torchmetrics'
    `FrechetInceptionDistance`). Only with InceptionV3's features is it the FID.

    It is biased upwards, the more the fewer images there are: compare only values from equal numbers. The interval
    comes from resampling both sets and is centred on the value, because resampling adds a bias of the same kind. Each
    resample costs one eigenvalue problem of side d: seconds for d = 2048.

    Args:
        real, generated: features (images, d), at least 2 images each.

    Raises:
        InputError: too few images, features that are not finite or of different extractors.
    """
    _check(real, generated)
    value = _distance(real, generated)
    drawn_real = resample_counts(len(real), resamples, seed=seed)
    drawn = resample_counts(len(generated), resamples, seed=seed + 1)
    replicates = [_distance(_repeat(real, a), _repeat(generated, b)) for a, b in zip(drawn_real, drawn, strict=True)]
    return set_interval(value, replicates, centred=True)


def frechet_difference(real: Tensor, first: Tensor, second: Tensor, *, resamples: int = 100, seed: int = 0) -> Estimate:
    """Distance of `first` minus distance of `second` from the same real images, with its interval: excludes 0 where two
    methods differ at 5%.

    Args:
        real: features (images, d).
        first, second: features (images, d) of two methods, row by row from the same condition and noise; rows are
            resampled together.

    Raises:
        InputError: the methods differ in number, or as `frechet_distance`.
    """
    check_equally_many(first, second)
    _check(real, first)
    _check(real, second)

    def difference(real: Tensor, first: Tensor, second: Tensor) -> float:
        return _distance(real, first) - _distance(real, second)

    value = difference(real, first, second)
    drawn_real = resample_counts(len(real), resamples, seed=seed)
    drawn = resample_counts(len(first), resamples, seed=seed + 1)
    replicates = [
        difference(_repeat(real, a), _repeat(first, b), _repeat(second, b))
        for a, b in zip(drawn_real, drawn, strict=True)
    ]
    return set_interval(value, replicates, centred=True)


def _check(real: Tensor, generated: Tensor) -> None:
    check_feature_sets(real, generated)
    fewest = min(len(real), len(generated))
    if fewest <= real.shape[1]:
        message = f"{fewest} images for features of {real.shape[1]} numbers: the Fréchet distance is far too high"
        warnings.warn(f"{message}; compare it with values from as many images only", InputNotice, stacklevel=3)


def _distance(real: Tensor, generated: Tensor) -> float:
    metric = FrechetInceptionDistance(feature=_Given(real.shape[1]))
    metric.update(real.double(), real=True)
    metric.update(generated.double(), real=False)
    return max(float(metric.compute()), 0.0)  # equal sets may round to -1e-12


def _repeat(features: Tensor, counts: NDArray[np.int64]) -> Tensor:
    return features.repeat_interleave(torch.from_numpy(counts), dim=0)
