"""How different are the pictures of one condition? Pairwise distance of their features."""

from __future__ import annotations

import torch
from torch import Tensor

from codiff.errors import InputError


def diversity(features: Tensor) -> Tensor:
    """Mean Euclidean distance between the pictures of one condition, over all pairs: (conditions,), >= 0, 0 where all
    are the same, in units of the features; as the diversity of Zhu et al. (2017, arXiv:1711.11586), with
    another feature extractor.

    Higher is more varied, not better: noise is varied too. Read it beside accuracy and the distance from real pictures.

    Args:
        features: (conditions, pictures, d), at least two pictures a condition, which differ only in their noise.

    Raises:
        InputError: another shape, no conditions, fewer than two pictures each, or values that are not finite.
    """
    if features.ndim != 3 or len(features) == 0 or features.shape[1] < 2:
        raise InputError(
            f"features shaped {tuple(features.shape)}; expected (conditions, pictures, d), two pictures or more each"
        )
    if not bool(torch.isfinite(features).all()):
        raise InputError("features hold values that are not finite: look at those pictures")
    return torch.stack([torch.pdist(each.double()).mean() for each in features])
