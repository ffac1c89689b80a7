"""Where and when each modality has influence: sums over pictures, and what the paper claims of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from codiff.evaluation.intervals import (
    Estimate,
    difference_interval,
    mean_interval,
    ratio_intervals,
    resampled_ratios,
)
from codiff.modalities.mask import MASK_CLASSES

REGIONS = ("contours", "interior", "skin", "elsewhere")
"""Pixels of a mask beside one of another class, all others; of the class skin, of all others."""

_SKIN = MASK_CLASSES.index("skin")
_LATE = 0.5  # share of the training timesteps below which a step is late


def region_weights(masks: NDArray[np.uint8], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """How much of each latent pixel is in each class, (batch, 19, h, w), and in each of `REGIONS`, (batch, 4, h, w).

    Args:
        masks: labels (batch, height, width).
        size: h and w of the latents, which divide those of the masks.
    """
    labels = torch.from_numpy(masks.astype(np.int64))
    planes = functional.one_hot(labels, len(MASK_CLASSES)).permute(0, 3, 1, 2).float()
    contours = torch.zeros(labels.shape)
    down, across = labels[:, 1:] != labels[:, :-1], labels[:, :, 1:] != labels[:, :, :-1]
    for side, differs in (((slice(1, None), slice(None)), down), ((slice(None, -1), slice(None)), down)):
        contours[(slice(None), *side)] = torch.maximum(contours[(slice(None), *side)], differs.float())
    for side, differs in (((slice(None), slice(1, None)), across), ((slice(None), slice(None, -1)), across)):
        contours[(slice(None), *side)] = torch.maximum(contours[(slice(None), *side)], differs.float())
    skin = planes[:, _SKIN]
    regions = torch.stack([contours, 1 - contours, skin, 1 - skin], dim=1)
    classes = functional.adaptive_avg_pool2d(planes, size)
    return classes, functional.adaptive_avg_pool2d(regions, size)


def batch_statistics(influences: Mapping[str, Tensor], masks: NDArray[np.uint8] | None) -> dict[str, Tensor]:
    """What is kept of the influences of a batch, modality -> (steps, batch, 1, h, w).

    Returns:
        "influence_steps" (batch, modalities, steps): mean over the pixels. "influence_maps" (1, modalities, steps, h,
        w): sum over the batch. With masks also "influence_regions" (batch, modalities, regions): mean over steps and
        pixels of each of `REGIONS`, NaN where there are none; "influence_classes" (batch, modalities, steps, classes):
        sums, weighted by how much of each latent pixel is in the class; "class_weights" (batch, classes): the weights'
        sums.
    """
    stacked = torch.stack([value[:, :, 0].float() for value in influences.values()])  # (modalities, steps, n, h, w)
    stacked = stacked.permute(2, 0, 1, 3, 4)
    found = {"influence_steps": stacked.mean(dim=(-2, -1)), "influence_maps": stacked.sum(dim=0, keepdim=True)}
    if masks is None:
        return found
    classes, regions = region_weights(masks, (stacked.shape[-2], stacked.shape[-1]))
    over_steps = stacked.mean(dim=2)
    weighted = torch.einsum("nmhw,nrhw->nmr", over_steps, regions)
    found["influence_regions"] = weighted / regions.sum(dim=(-2, -1))[:, None]
    found["influence_classes"] = torch.einsum("nmshw,nchw->nmsc", stacked, classes)
    found["class_weights"] = classes.sum(dim=(-2, -1))
    return found


@dataclass(frozen=True)
class Influences:
    """Influences of one method, over all pictures.

    Attributes:
        modalities: in the order of the arrays.
        timesteps: of the steps.
        steps: (modalities, steps), mean over pictures and pixels.
        maps: (modalities, steps, h, w), mean over pictures.
        classes: (modalities, steps, classes), mean over the pixels of each class; NaN for classes that never occur.
            None without masks.
        means: modality -> mean over pictures, steps and pixels.
        class_means: modality -> class -> mean over steps and the class's pixels, with its interval; only classes
            that occur, none without masks.
        early_minus_late: modality -> difference of the mean influence before and after half of the training timesteps.
        contrasts: "contours" and "skin" -> modality -> difference between that region and the rest of the picture.
    """

    modalities: tuple[str, ...]
    timesteps: tuple[float, ...]
    steps: NDArray[np.float64]
    maps: NDArray[np.float64]
    classes: NDArray[np.float64] | None
    means: dict[str, Estimate]
    class_means: dict[str, dict[str, Estimate]]
    early_minus_late: dict[str, Estimate]
    contrasts: dict[str, dict[str, Estimate]]

    @property
    def varies(self) -> bool:
        """Whether they differ anywhere at any time."""
        return bool(np.ptp(self.maps, axis=(1, 2, 3)).max() > 1e-4)


def summarised(
    found: Mapping[str, Tensor], modalities: Sequence[str], timesteps: Sequence[float], training_timesteps: int
) -> Influences:
    """Statistics of all batches, joined along their first dimensions, as numbers with intervals over pictures."""
    per_picture = found["influence_steps"].double().numpy()  # (pictures, modalities, steps)
    early = np.array([timestep >= _LATE * training_timesteps for timestep in timesteps])
    classes, class_means = None, dict[str, dict[str, Estimate]]()
    if "influence_classes" in found:
        sums, weights = found["influence_classes"].double().numpy(), found["class_weights"].double().numpy()
        total = weights.sum(axis=0)
        classes = sums.sum(axis=0) / np.where(total > 0, total, np.nan)
        over_steps = sums.mean(axis=2)  # (pictures, modalities, classes)
        class_means = {name: _class_means(over_steps[:, place], weights) for place, name in enumerate(modalities)}
    return Influences(
        modalities=tuple(modalities),
        timesteps=tuple(timesteps),
        steps=per_picture.mean(axis=0),
        maps=(found["influence_maps"].double().sum(dim=0) / len(per_picture)).numpy(),
        classes=classes,
        means={name: mean_interval(per_picture[:, place].mean(axis=1)) for place, name in enumerate(modalities)},
        class_means=class_means,
        early_minus_late=_early_minus_late(per_picture, early, modalities),
        contrasts=_contrasts(found, modalities),
    )


def _class_means(sums: NDArray[np.float64], weights: NDArray[np.float64]) -> dict[str, Estimate]:
    """Of one modality: class -> its mean influence, from sums and weights (pictures, classes)."""
    found = ratio_intervals(*resampled_ratios(sums, weights))
    return {MASK_CLASSES[number]: estimate for number, estimate in found.items()}


def _early_minus_late(
    values: NDArray[np.float64], early: NDArray[np.bool_], names: Sequence[str]
) -> dict[str, Estimate]:
    if early.all() or not early.any():  # a single step, or a grid of one half
        return {}
    before, after = values[:, :, early].mean(axis=2), values[:, :, ~early].mean(axis=2)
    return {name: difference_interval(before[:, place], after[:, place]) for place, name in enumerate(names)}


def _contrasts(found: Mapping[str, Tensor], names: Sequence[str]) -> dict[str, dict[str, Estimate]]:
    if "influence_regions" not in found:
        return {}
    values = found["influence_regions"].double().numpy()  # (pictures, modalities, regions)
    contrasts = {}
    for region, (here, there) in {"contours": (0, 1), "skin": (2, 3)}.items():
        shown = values[np.isfinite(values[:, :, [here, there]]).all(axis=(1, 2))]  # pictures that have both
        if len(shown):
            contrasts[region] = {
                name: difference_interval(shown[:, place, here], shown[:, place, there])
                for place, name in enumerate(names)
            }
    return contrasts


@dataclass(frozen=True)
class Claim:
    """One thing that the paper says of influences (arXiv:2304.10530, section 3.3 and figure 8).

    Attributes:
        words: the claim.
        modality: of which it speaks.
        contrast: "early", "contours" or "skin".
        positive: whether the difference is claimed to be above 0.
    """

    words: str
    modality: str
    contrast: str
    positive: bool


PAPER_CLAIMS = (
    Claim("the mask has more influence early than late", "mask", "early", True),
    Claim("the text has more influence late than early", "text", "early", False),
    Claim("the mask has more influence on contours than inside regions", "mask", "contours", True),
    Claim("the text has more influence on skin than elsewhere", "text", "skin", True),
)


def judged(claim: Claim, influences: Influences) -> tuple[Estimate, str] | None:
    """The difference that a claim is about, and "holds", "does not hold" or "undecided" by its interval; None where it
    was not measured."""
    found = influences.early_minus_late if claim.contrast == "early" else influences.contrasts.get(claim.contrast, {})
    if claim.modality not in found:
        return None
    estimate = found[claim.modality]
    above, below = estimate.low > 0, estimate.high < 0
    if not above and not below:
        return estimate, "undecided"
    return estimate, "holds" if above == claim.positive else "does not hold"
