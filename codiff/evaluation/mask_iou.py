"""Does a picture obey its mask, class by class? Intersection over union of a face parser's reading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codiff.errors import InputError
from codiff.evaluation.inputs import Parser, check_masks, check_pairs
from codiff.evaluation.intervals import RESAMPLES, Estimate, ratio_intervals, resampled_ratios, set_interval
from codiff.modalities.mask import MASK_CLASSES


@dataclass(frozen=True)
class MaskIoU:
    """Intersection over union in [0, 1], higher is better.

    Attributes:
        mean: over the classes that occur in a mask or a reading.
        classes: by name; only those that occur.
    """

    mean: Estimate
    classes: dict[str, Estimate]


@torch.no_grad()
def mask_overlaps(parser: Parser, images: Tensor, masks: Tensor) -> Tensor:
    """Pixels in the intersection and in the union of mask and reading: int64 (batch, classes, 2). Concatenate those of
    all batches for `mask_iou`.

    Args:
        images: (batch, 3, h, w) in [-1, 1].
        masks: integer labels (batch, h, w).

    Raises:
        InputError: images and masks do not pair, or hold a class that the parser does not know.
    """
    check_pairs(images, masks)
    check_masks(parser, masks)
    classes, truth = parser.classes, masks.long().to(images.device).flatten(1)
    read = parser.parse(images).flatten(1)

    def counted(labels: Tensor, weights: Tensor) -> Tensor:
        return torch.zeros(len(labels), classes, dtype=torch.long, device=labels.device).scatter_add_(
            1, labels, weights.long()
        )

    intersection = counted(truth, truth == read)
    either = counted(truth, torch.ones_like(truth)) + counted(read, torch.ones_like(read))
    return torch.stack([intersection, either - intersection], dim=2)


def mask_iou(
    overlaps: Tensor, names: Sequence[str] = MASK_CLASSES, *, resamples: int = RESAMPLES, seed: int = 0
) -> MaskIoU:
    """Mean and per-class intersection over union of a whole set: pixels are summed over all images before dividing
    (Everingham et al., "The Pascal Visual Object Classes Challenge", IJCV 2010; as torchmetrics'
    `MulticlassJaccardIndex`), with intervals from resampled images.

    Args:
        overlaps: (images, classes, 2), see `mask_overlaps`.
        names: of the classes, in their order.

    Raises:
        InputError: no images, or another number of names than classes.
    """
    _check(overlaps)
    if overlaps.shape[1] != len(names):
        raise InputError(f"overlaps of {overlaps.shape[1]} classes, but {len(names)} names; name the parser's classes")
    values, replicates = _ratios(overlaps, resamples, seed)
    classes = {names[index]: each for index, each in ratio_intervals(values, replicates).items()}
    return MaskIoU(set_interval(float(np.nanmean(values)), np.nanmean(replicates, axis=1)), classes)


def miou_difference(first: Tensor, second: Tensor, *, resamples: int = RESAMPLES, seed: int = 0) -> Estimate:
    """Mean intersection over union of `first` minus that of `second`, with its interval: excludes 0 where two methods
    differ at 5%.

    Args:
        first, second: overlaps (images, classes, 2) of two methods, row by row from the same condition and noise;
            images are resampled together.

    Raises:
        InputError: the methods differ in shape, or as `mask_iou`.
    """
    _check(first)
    if first.shape != second.shape:
        raise InputError(f"paired methods must have equal shapes, got {tuple(first.shape)} and {tuple(second.shape)}")
    (a, resampled_a), (b, resampled_b) = (_ratios(overlaps, resamples, seed) for overlaps in (first, second))
    replicates = np.nanmean(resampled_a, axis=1) - np.nanmean(resampled_b, axis=1)
    return set_interval(float(np.nanmean(a) - np.nanmean(b)), replicates)


def _check(overlaps: Tensor) -> None:
    if overlaps.ndim != 3 or overlaps.shape[2] != 2 or len(overlaps) == 0:
        raise InputError(f"overlaps shaped {tuple(overlaps.shape)}; expected at least one (images, classes, 2)")


def _ratios(overlaps: Tensor, resamples: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each class; see `resampled_ratios`."""
    counts = overlaps.cpu().double().numpy()
    return resampled_ratios(counts[:, :, 0], counts[:, :, 1], resamples, seed=seed)
