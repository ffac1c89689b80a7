"""The strength of an edit by search: the knee of the curve between obeying the target and keeping the person."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from codiff.errors import InputError
from codiff.pixels import from_uint8

Score = Callable[[Tensor], Tensor]
"""Images (batch, 3, h, w) in [-1, 1] -> (batch,), higher is better."""

Strengths = Mapping[str, float]
"""Modality -> strength."""

_SAME = 1e-3  # a range of scores below it is no trade-off
_TOLD_APART = 0.05  # range of agreement below which one picture for each strength decides nothing


@dataclass(frozen=True)
class Judges:
    """Who says what an edit is worth.

    Attributes:
        target: modality -> how well images obey its target condition, about 0 to 1.
        identity: how well they keep the person, about 0 to 1.
    """

    target: Mapping[str, Score]
    identity: Score


@dataclass(frozen=True)
class Trial:
    """One strength and what came of it.

    Attributes:
        strengths: by modality.
        agreement: modality -> mean score of the images.
        identity: mean score of the images.
        image: the first of them.
    """

    strengths: dict[str, float]
    agreement: dict[str, float]
    identity: float
    image: Image.Image = field(repr=False, compare=False)

    @property
    def strength(self) -> float:
        """That of all modalities, in trials of a common one."""
        return next(iter(self.strengths.values()))

    @property
    def obeys(self) -> float:
        """Mean agreement over the modalities."""
        return float(np.mean(list(self.agreement.values())))


@dataclass(frozen=True)
class StrengthSearch:
    """All trials, in the order they were made, and the one that was chosen.

    Attributes:
        common: trials of one strength for all modalities, in its order.
        varied: trials in which one modality's strength differs.
        best: the one at the knee; where nothing is decided, that of the strength nearest to the usual one.
    """

    common: list[Trial]
    varied: list[Trial]
    best: Trial

    @property
    def decided(self) -> bool:
        """Whether the judges see a difference between the common strengths: agreement ranges over 0.05 or more."""
        obeys = [trial.obeys for trial in self.common]
        return max(obeys) - min(obeys) >= _TOLD_APART


def find_strength(
    draw: Callable[[Strengths], Sequence[Image.Image]],
    judges: Judges,
    modalities: Sequence[str],
    candidates: Sequence[float],
    usual: float,
    *,
    each: bool = False,
) -> StrengthSearch:
    """Draw the edit at each candidate strength and choose the knee, or the usual strength where the judges see no
    difference.

    Args:
        draw: images of one strength by modality; equal noise each time makes the trials comparable.
        judges: score them.
        modalities: of the edit.
        candidates: strengths in rising order, at least two.
        usual: what is taken where nothing is decided.
        each: then also move each modality's strength to the neighbouring candidates of the best, one after another.

    Raises:
        InputError: too few candidates, or nobody judges the target.
    """
    if len(candidates) < 2 or list(candidates) != sorted(set(candidates)):
        raise InputError(f"two or more strengths in rising order are needed to find one, not {list(candidates)}")
    if not judges.target:
        raise InputError("nobody judges whether the edit obeys its target; give a strength")
    common = [_trial(draw, judges, dict.fromkeys(modalities, value)) for value in candidates]
    scale = Scale.of(common)
    found = StrengthSearch(common, [], scale.best(common))
    if not found.decided:
        return replace(found, best=min(common, key=lambda trial: abs(trial.strength - usual)))
    best, varied = found.best, found.varied
    for modality in modalities if each and len(modalities) > 1 else ():
        nearby = _neighbours(candidates, best.strengths[modality])
        varied += [_trial(draw, judges, {**best.strengths, modality: value}) for value in nearby]
        best = scale.best([best, *varied])
    return StrengthSearch(common, varied, best)


@dataclass(frozen=True)
class Scale:
    """Agreement and identity scaled to [0, 1] over the ends of a curve. On a curve that falls from one end to the other
    the largest sum of both is the knee: the point farthest from the line between its ends (Satopaa et al., "Finding a
    'Kneedle' in a Haystack", 2011, section III)."""

    least: tuple[float, float]
    span: tuple[float, float]

    @classmethod
    def of(cls, trials: Sequence[Trial]) -> Scale:
        """Over the range of some trials."""
        scores = np.array([(trial.obeys, trial.identity) for trial in trials])
        low, high = scores.min(axis=0), scores.max(axis=0)
        return cls((float(low[0]), float(low[1])), (float(high[0] - low[0]), float(high[1] - low[1])))

    def value(self, trial: Trial) -> float:
        """The sum of both; a score that never changed counts nothing."""
        scores = (trial.obeys, trial.identity)
        parts = zip(scores, self.least, self.span, strict=True)
        return sum((score - least) / span for score, least, span in parts if span > _SAME)

    def best(self, trials: Sequence[Trial]) -> Trial:
        """The knee; of equals the first."""
        return max(trials, key=self.value)


def _trial(draw: Callable[[Strengths], Sequence[Image.Image]], judges: Judges, strengths: dict[str, float]) -> Trial:
    images = draw(strengths)
    pictures = from_uint8(np.stack([np.asarray(image) for image in images]))
    with torch.no_grad():
        agreement = {modality: float(judge(pictures).float().mean()) for modality, judge in judges.target.items()}
        identity = float(judges.identity(pictures).float().mean())
    return Trial(strengths, agreement, identity, images[0])


def _neighbours(candidates: Sequence[float], value: float) -> list[float]:
    place = min(range(len(candidates)), key=lambda index: abs(candidates[index] - value))
    return [candidates[index] for index in (place - 1, place + 1) if 0 <= index < len(candidates)]


def told(strengths: Strengths) -> str:
    """Strengths in words: one number where they are equal."""
    values = set(strengths.values())
    if len(values) == 1:
        return f"{values.pop():g}"
    return ", ".join(f"{modality} {value:g}" for modality, value in strengths.items())
