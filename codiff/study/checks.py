"""Attention checks: pairs in which one picture is evidently wrong, whoever made it."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import numpy as np
from PIL import Image

from codiff.errors import InputError
from codiff.study.questions import QUESTIONS, Condition

TILES = 8  # along the shorter side: coarse enough to see that it was a picture, fine enough that nothing is left of it
_SMALL = 32  # side at which references are compared


def chance_of_passing(checks: int, allowed_failures: float) -> float:
    """Probability that somebody who always guesses fails at most the allowed share of `checks` checks: with
    n checks and k allowed failures the sum of C(n, i) / 2^n over i = 0..k."""
    return sum(math.comb(checks, failed) for failed in range(allowed(checks, allowed_failures) + 1)) / 2**checks


def allowed(checks: int, allowed_failures: float) -> int:
    """How many of `checks` checks may be failed."""
    return int(checks * allowed_failures + 1e-9)  # 0.3 of 10 is three


def spoiled(picture: Image.Image, rng: random.Random) -> Image.Image:
    """The picture with its square blocks in random order; what does not fill a block stays."""
    side = max(1, min(picture.size) // TILES)
    pixels = np.asarray(picture)
    rows, columns = pixels.shape[0] // side, pixels.shape[1] // side
    places = [(row * side, column * side) for row in range(rows) for column in range(columns)]
    sources = list(places)
    rng.shuffle(sources)
    shuffled = pixels.copy()
    for (row, column), (old_row, old_column) in zip(places, sources, strict=True):
        block = pixels[old_row : old_row + side, old_column : old_column + side]
        shuffled[row : row + side, column : column + side] = block
    return Image.fromarray(shuffled)


def most_unlike(question: str, condition: Condition, conditions: Sequence[Condition]) -> Condition:
    """The condition whose reference has least in common with this one's.

    Raises:
        InputError: all references are the same.
    """
    asked = QUESTIONS[question]
    own = asked.reference(condition)
    distances = [_distance(own, asked.reference(other)) for other in conditions]
    farthest = max(range(len(conditions)), key=lambda place: distances[place])
    if distances[farthest] == 0.0:
        raise InputError(
            f"an attention check of {question!r} needs two conditions that differ in their {asked.material}: "
            "add conditions, or give --checks 0"
        )
    return conditions[farthest]


def _distance(first: str | Image.Image | None, second: str | Image.Image | None) -> float:
    """Of captions the share of words that only one has; of pictures the mean difference of their pixels."""
    if isinstance(first, str) and isinstance(second, str):
        words, others = set(first.lower().split()), set(second.lower().split())
        return 1 - len(words & others) / len(words | others)
    if isinstance(first, Image.Image) and isinstance(second, Image.Image):
        return float(np.abs(_thumbnail(first) - _thumbnail(second)).mean())
    return 0.0


def _thumbnail(picture: Image.Image) -> np.ndarray:
    """RGB (32, 32, 3) in 0..255."""
    small = picture.convert("RGB").resize((_SMALL, _SMALL), Image.Resampling.NEAREST)
    return np.asarray(small, dtype=np.float64)
