"""From values of single pictures to numbers with intervals, and to differences between methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import false_discovery_control
from torch import Tensor

from codiff.evaluation.batches import Results
from codiff.evaluation.diversity import diversity
from codiff.evaluation.features import FeatureExtractor
from codiff.evaluation.frechet_distance import frechet_difference, frechet_distance
from codiff.evaluation.intervals import Estimate, mean_interval
from codiff.evaluation.judges import FEATURES, OVERLAPS
from codiff.evaluation.kernel_distance import MOST_IMAGES, kernel_difference, kernel_distance
from codiff.evaluation.mask_iou import mask_iou, miou_difference
from codiff.evaluation.metrics import METRICS, Metric
from codiff.evaluation.paired_test import paired_test
from codiff.evaluation.progress import tracked

_WIDE = 512  # numbers in a feature from which on a resample of the Fréchet distance costs seconds
_RESAMPLES, _FEW_RESAMPLES = 100, 20
_LEVEL = 0.05


@dataclass(frozen=True)
class Reference:
    """What sets of pictures are compared with.

    Attributes:
        extractor: what described them.
        features: (pictures, d).
    """

    extractor: FeatureExtractor
    features: Tensor

    @property
    def resamples(self) -> int:
        """Of a Fréchet distance."""
        return _FEW_RESAMPLES if self.features.shape[1] > _WIDE else _RESAMPLES

    @property
    def for_kernel(self) -> Tensor:
        """At most 10,000 of the features, drawn by lot: the kernel distance takes no more."""
        order = torch.randperm(len(self.features), generator=torch.Generator().manual_seed(0))
        return self.features[order[:MOST_IMAGES].sort().values]


def columns(names: Sequence[str], extractor: FeatureExtractor | None) -> list[Metric]:
    """The metrics of these names; distances are called as the extractor has it."""
    found = []
    for name, metric in METRICS.items():
        if name not in names:
            continue
        titles = {"frechet": "Fréchet distance", "kernel": "kernel distance"}
        if extractor is not None and name in titles:
            titles = {"frechet": extractor.frechet, "kernel": f"{extractor.kernel} x 1000"}
            metric = replace(metric, title=titles[name])
        found.append(metric)
    return found


@dataclass(frozen=True)
class Numbers:
    """What was measured of one method.

    Attributes:
        estimates: metric -> its value with the interval.
        ious: class of the mask -> intersection over union.
    """

    estimates: dict[str, Estimate]
    ious: dict[str, Estimate]


def numbers(scores: Results, reference: Reference | None, pictures_of_one: Tensor | None = None) -> Numbers:
    """Estimates of all that the scores allow.

    Args:
        scores: of each picture, see `Judges.scores`.
        pictures_of_one: features (conditions, pictures, d) for the diversity.
    """
    estimates = {name: mean_interval(values.numpy()) for name, values in scores.items() if values.ndim == 1}
    ious: dict[str, Estimate] = {}
    if OVERLAPS in scores:
        found = mask_iou(scores[OVERLAPS])
        estimates["miou"], ious = found.mean, found.classes
    if reference is not None and FEATURES in scores:
        generated = scores[FEATURES]
        estimates["frechet"] = frechet_distance(reference.features, generated, resamples=reference.resamples)
        estimates["kernel"] = kernel_distance(reference.for_kernel, generated[:MOST_IMAGES])
    if pictures_of_one is not None:
        estimates["diversity"] = mean_interval(diversity(pictures_of_one).numpy())
    return Numbers(estimates, ious)


@dataclass(frozen=True)
class Difference:
    """One method minus another in one metric.

    Attributes:
        estimate: over the same conditions and noise, with its interval.
        p_value: of the paired test or, for what is measured on whole sets, of the interval; corrected for all
            comparisons of the table by Benjamini and Hochberg's method.
    """

    estimate: Estimate
    p_value: float

    def better(self, metric: Metric) -> bool | None:
        """Whether the first method is better, judged by the interval; None where it is neither."""
        if metric.higher is None or self.estimate.low <= 0 <= self.estimate.high:
            return None
        return (self.estimate.mean > 0) == metric.higher

    def clearly_better(self, metric: Metric) -> bool:
        """Whether the first method is better by its interval and by its corrected p-value."""
        return self.better(metric) is True and self.p_value < _LEVEL


Differences = dict[str, dict[str, Difference]]
"""Other method -> metric -> the lead's value minus the other's."""


def differences(
    name: str,
    scores: Mapping[str, Results],
    metrics: Sequence[Metric],
    reference: Reference | None,
    pictures_of_one: Mapping[str, Tensor] | None = None,
) -> Differences:
    """The method of this name, the lead, against every other one, in each metric.

    Args:
        scores: method -> of each picture.
        pictures_of_one: method -> features (conditions, pictures, d) for the diversity.
    """
    others = [other for other in scores if other != name]
    values = {method: _of_each(found, metrics) for method, found in scores.items()}
    for method, features in (pictures_of_one or {}).items():
        values[method]["diversity"] = diversity(features).numpy()
    found: dict[tuple[str, str], tuple[Estimate, float]] = {}
    for method in tracked(others, f"differences of {name}"):
        for metric, first in values[name].items():
            test = paired_test(first, values[method][metric])
            found[method, metric] = test.difference, test.p_value
    for method in tracked(others, "differences of whole sets"):
        for metric, estimate in _of_sets(scores[name], scores[method], reference).items():
            found[method, metric] = estimate, estimate.p_value
    table: Differences = {method: {} for method in others}
    corrected = _corrected([p_value for _, p_value in found.values()])
    for ((method, metric), (estimate, _)), p_value in zip(found.items(), corrected, strict=True):
        table[method][metric] = Difference(estimate, p_value)
    return table


def _of_each(scores: Results, metrics: Sequence[Metric]) -> dict[str, NDArray[np.floating]]:
    """Values of single pictures."""
    return {each.name: scores[each.name].numpy() for each in metrics if not each.of_sets and each.name in scores}


def _of_sets(lead: Results, other: Results, reference: Reference | None) -> dict[str, Estimate]:
    """Differences between two methods in what is measured on whole sets."""
    found = {}
    if OVERLAPS in lead:
        found["miou"] = miou_difference(lead[OVERLAPS], other[OVERLAPS])
    if reference is not None and FEATURES in lead:
        pair = lead[FEATURES], other[FEATURES]
        found["frechet"] = frechet_difference(reference.features, *pair, resamples=reference.resamples)
        found["kernel"] = kernel_difference(reference.for_kernel, *(features[:MOST_IMAGES] for features in pair))
    return found


def _corrected(p_values: Sequence[float]) -> list[float]:
    return [float(value) for value in false_discovery_control(p_values, method="bh")] if p_values else []
