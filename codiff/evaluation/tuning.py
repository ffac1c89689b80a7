"""Fair play: every method at its own best guidance scale, chosen on conditions that are not measured on.

Larger scales cost variety, and a few conditions cannot tell good ones apart: of all that are within one standard error
of the best, the smallest is taken. The rule is that of Breiman et al. ("Classification and Regression Trees", 1984,
section 3.4.3), with the error of the paired difference, which is the smaller one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codiff.errors import InputError
from codiff.evaluation.batches import Batches, Job, Results
from codiff.evaluation.intervals import Estimate, mean_interval
from codiff.evaluation.methods import WEIGHTED, Method, digest, simplex

SEED = 1_000_000
"""Of the first tuning picture; those that are measured count from 0."""

OBJECTIVE = "sum"
"""Mask accuracy plus caption accuracy (or CLIP score / 100 where there are no labels)."""


@dataclass(frozen=True)
class Tuning:
    """How the search goes.

    Attributes:
        cases: so many conditions each candidate is tried on.
        scales: guidance scales; a single one is taken without a search.
        parts: fixed weights are multiples of 1 / parts.
    """

    cases: int = 96
    scales: tuple[float, ...] = (1.0, 1.5, 2.0, 3.0, 4.5, 7.0, 10.0)
    parts: int = 4

    def __post_init__(self) -> None:
        if self.cases < 1 or not self.scales or self.parts < 2:
            raise InputError("tuning needs at least one case, one guidance scale, and weights in 2 parts or more")
        if not all(np.isfinite(scale) and scale >= 0 for scale in self.scales):
            raise InputError(f"guidance scales must be finite and >= 0, got {', '.join(map(str, self.scales))}")

    def without_guidance(self) -> Tuning:
        """For models that were trained without condition dropout, which guidance rests on."""
        return replace(self, scales=(1.0,))


@dataclass(frozen=True)
class Candidate:
    """A method as it might be, and what it reached; None where nothing was tried."""

    method: Method
    reached: Estimate | None


_Reached = list[NDArray[np.float64]]
"""For each candidate its values of all conditions."""


@dataclass(frozen=True)
class Tuned:
    """The chosen form of each method.

    Attributes:
        methods: in their order.
        candidates: name of the method -> all that were tried.
    """

    methods: list[Method]
    candidates: dict[str, list[Candidate]]

    def at_edge(self, method: Method) -> bool:
        """Whether the best scale, be it chosen or not, is the largest that was tried, so that a larger one might be
        better still."""
        tried = [each for each in self.candidates.get(method.name, []) if each.method.weights == method.weights]
        reached = {each.method.guidance: each.reached.mean for each in tried if each.reached is not None}
        return len(reached) > 1 and max(reached, key=lambda scale: reached[scale]) == max(reached)


Try = Callable[[Method, range], Results]
"""Scores of a method on a range of tuning cases, from the same noise for every method."""


def tune(methods: Sequence[Method], tuning: Tuning, batches: Batches, attempt: Try, batch: int) -> Tuned:
    """Choose the scale of every method; of "weighted" the weights at the mean's scale, then the scale for them."""
    search = _Search(tuning, batches, attempt, batch)
    chosen = search.scales([method for method in methods if method.name != WEIGHTED], "tuning guidance")
    for method in methods:
        if method.name == WEIGHTED:
            chosen[WEIGHTED] = search.weighted(method, chosen.get("mean"))
    return Tuned([chosen[method.name] for method in methods], search.tried)


class _Search:
    """Tries candidates and remembers them all."""

    def __init__(self, tuning: Tuning, batches: Batches, attempt: Try, batch: int) -> None:
        self.tuning, self.batches, self.attempt, self.batch = tuning, batches, attempt, batch
        self.tried: dict[str, list[Candidate]] = {}

    def scales(self, methods: Sequence[Method], title: str) -> dict[str, Method]:
        """The best scale of each method; nothing is tried where there is only one."""
        groups = [[replace(method, guidance=scale) for scale in sorted(self.tuning.scales)] for method in methods]
        if len(self.tuning.scales) == 1:
            self.tried |= {
                method.name: [Candidate(group[0], None)] for method, group in zip(methods, groups, strict=True)
            }
            return {group[0].name: group[0] for group in groups}
        return self._chosen(groups, title, smallest_good)

    def weighted(self, method: Method, mean: Method | None) -> Method:
        """The best weights, equal ones among them, and the best scale for them."""
        if mean is None:
            mean = self.scales([method], "tuning equal weights")[method.name]
        scaled = replace(method, guidance=mean.guidance)
        grid = [
            scaled,
            *(replace(scaled, weights=weights) for weights in simplex(method.modalities, self.tuning.parts)),
        ]
        found = self._chosen([grid], "tuning weights", best)[method.name]
        return found if len(self.tuning.scales) == 1 else self.scales([found], "tuning weighted")[method.name]

    def _chosen(
        self, groups: Sequence[Sequence[Method]], title: str, choose: Callable[[_Reached], int]
    ) -> dict[str, Method]:
        """One of each group of candidates for one method."""
        flat = [method for group in groups for method in group]
        jobs = [
            Job(_job_name(method), self.tuning.cases, _attempted(self.attempt, method), self.batch) for method in flat
        ]
        results = iter(self.batches.run(jobs, title))
        chosen = {}
        for group in groups:
            reached = [_objective(next(results)) for _ in group]
            found = [Candidate(method, mean_interval(values)) for method, values in zip(group, reached, strict=True)]
            self.tried.setdefault(group[0].name, []).extend(found)
            chosen[group[0].name] = group[choose(reached)]
        return chosen


def best(reached: _Reached) -> int:
    """The candidate with the highest mean, of equal ones the first."""
    return int(np.argmax([values.mean() for values in reached]))


def smallest_good(reached: _Reached) -> int:
    """The first candidate whose mean is within one standard error of the best one's; the error is that of their paired
    difference."""
    highest = reached[best(reached)]
    return next(place for place, values in enumerate(reached) if _within_one_error(highest - values))


def _within_one_error(lead: NDArray[np.float64]) -> bool:
    error = lead.std(ddof=1) / np.sqrt(len(lead)) if len(lead) > 1 else 0.0
    return bool(lead.mean() <= error)


def _attempted(attempt: Try, method: Method) -> Callable[[range], Results]:
    return lambda items: attempt(method, items)


def _objective(results: Results) -> NDArray[np.float64]:
    if OBJECTIVE not in results:
        raise InputError("tuning needs mask accuracy and caption accuracy or CLIP score; give a fixed --guidance")
    return results[OBJECTIVE].double().numpy()


def _job_name(method: Method) -> str:
    return f"tuning/{method.name}-{digest(method)}"


def as_json(tuned: Tuned) -> dict[str, Any]:
    """What a report records of the search."""
    return {
        name: [
            {
                "guidance": each.method.guidance,
                "weights": None if each.method.weights is None else dict(each.method.weights),
                "objective": each.reached and asdict(each.reached),
            }
            for each in candidates
        ]
        for name, candidates in tuned.candidates.items()
    }
