"""Does a model give training pictures back? Nearest training neighbours against nearest held-out neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from codiff.errors import InputError
from codiff.evaluation.inputs import check_features, check_same_width
from codiff.evaluation.intervals import Estimate, mean_interval

NEIGHBOURS = 50
_CHUNK = 256


@dataclass(frozen=True)
class Memorisation:
    """Two tests; both stay at their chance level for a model that only learned what faces look like.

    Attributes:
        training_share: share of generated pictures that lie nearer to the nearest training picture than to the nearest
            of equally many held-out ones; 0.5 by chance.
        null: 95% of the shares that random exchange of training and held-out pictures gives.
        p_value: share of those exchanges with at least this share.
        flagged: share of generated pictures that are suspiciously near to one training picture; 0.01 by chance.
        threshold: of the ratio below which a picture is flagged: the held-out pictures' 1% quantile.
        ratios: of each generated picture, (pictures,): distance to the nearest training picture over the mean distance
            to the nearest 50; in [0, 1], lower is nearer to a copy. The lowest are the ones to look at.
    """

    training_share: Estimate
    null: tuple[float, float]
    p_value: float
    flagged: Estimate
    threshold: float
    ratios: Tensor


def memorisation(
    generated: Tensor,
    training: Tensor,
    held_out: Tensor,
    *,
    neighbours: int = NEIGHBOURS,
    permutations: int = 2000,
    seed: int = 0,
) -> Memorisation:
    """Test features for copies of training pictures. The ratio of distances is that of Carlini et al., 2023
    (arXiv:2301.13188); the first test is the two-sample test of nearest neighbours (Lopez-Paz & Oquab,
    2017, arXiv:1610.06545) with the training and held-out sets cut to equal size.

    Copies that the features cannot tell from others of their kind stay unseen: try it with injected copies.

    Args:
        generated, training, held_out: features (pictures, d) of the same extractor; more than `neighbours` of training.

    Raises:
        InputError: too few pictures, features that are not finite or of different extractors, or held-out pictures
            that are in the training set.
    """
    for features, what, least in (
        (generated, "generated", 1),
        (training, "training", neighbours + 1),
        (held_out, "held-out", 2),
    ):
        check_features(features, what, least)
        check_same_width(features, training)
    ratios = _ratios(generated, training, neighbours)
    threshold = float(torch.quantile(_ratios(held_out, training, neighbours), 0.01))
    if threshold == 0.0:
        raise InputError("1% or more of the held-out pictures are in the training set too; hold others out")
    share, null, p_value = _training_share(generated, training, held_out, permutations, seed)
    flagged = mean_interval((ratios < threshold).double().numpy(), seed=seed)
    return Memorisation(share, null, p_value, flagged, threshold, ratios)


def _distances(queries: Tensor, pool: Tensor) -> Tensor:
    """Euclidean distances (queries, pool); exact, so that a copy is at 0."""
    return torch.cdist(queries, pool, compute_mode="donot_use_mm_for_euclid_dist")


def _ratios(queries: Tensor, training: Tensor, neighbours: int) -> Tensor:
    parts = []
    for chunk in queries.double().split(_CHUNK):
        nearest = _distances(chunk, training.double()).topk(neighbours, dim=1, largest=False).values
        mean = nearest.mean(dim=1)
        parts.append(torch.where(mean > 0, nearest[:, 0] / mean, 0.0))  # all at 0: copies of what is there 50 times
    return torch.cat(parts)


def _training_share(
    generated: Tensor, training: Tensor, held_out: Tensor, permutations: int, seed: int
) -> tuple[Estimate, tuple[float, float], float]:
    """The share, 95% of it by chance, and how often chance reaches it."""
    rng = np.random.default_rng(seed)
    size = min(len(training), len(held_out))
    sets = [part[torch.from_numpy(rng.permutation(len(part))[:size])].double() for part in (training, held_out)]
    wins, places = [], []
    for chunk in generated.double().split(_CHUNK):
        (near, near_place), (far, far_place) = (_distances(chunk, part).min(dim=1) for part in sets)
        wins.append((near < far).double() + 0.5 * (near == far))
        places.append(torch.where(near <= far, near_place, size + far_place))
    share = mean_interval(torch.cat(wins).numpy(), seed=seed)
    nearest = torch.cat(places).numpy()
    labels = np.arange(2 * size) < size
    # exchanging labels leaves each picture's nearest neighbour where it is
    chance = np.array([rng.permutation(labels)[nearest].mean() for _ in range(permutations)])
    low, high = np.quantile(chance, [0.025, 0.975])
    p_value = (1 + int((chance >= share.mean).sum())) / (1 + permutations)
    return share, (float(low), float(high)), p_value
