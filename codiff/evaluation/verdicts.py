"""Does what the paper says of the rules hold in these numbers?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from codiff.evaluation.comparison import Difference, Differences
from codiff.evaluation.methods import WEIGHTED, Method
from codiff.evaluation.metrics import Metric

ABLATED = "collaborative"
ABLATIONS = ("no-spatial", "no-temporal", "no-spatial-no-temporal")


@dataclass(frozen=True)
class Verdict:
    """A claim and what the numbers say of it.

    Attributes:
        claim: in words.
        holds: None where the interval includes 0.
        why: the numbers.
    """

    claim: str
    holds: bool | None
    why: str

    @property
    def told(self) -> str:
        """In words."""
        return {True: "holds", False: "does not hold", None: "undecided"}[self.holds]


def verdicts(tables: Mapping[str, Differences], methods: Sequence[Method], metrics: Sequence[Metric]) -> list[Verdict]:
    """The claims that were measured: each lead has a higher sum than averages and single models and no larger Fréchet
    distance than anything, and the paper's rule loses something without spatial or temporal variation.

    Args:
        tables: lead -> its differences from the others.
    """
    by_name = {metric.name: metric for metric in metrics}
    found: list[Verdict] = []
    for lead, table in tables.items():
        for method in methods:
            against = table.get(method.name, {})
            if "sum" in against and "sum" in by_name and (method.is_single or method.name in ("mean", WEIGHTED)):
                found.append(_higher(lead, method.name, against["sum"], by_name["sum"]))
            if against and lead == ABLATED and method.name in ABLATIONS:
                found.append(_loses(lead, method.name, against, by_name))
        found += _nowhere_farther(lead, table, by_name)
    return found


def _nowhere_farther(lead: str, table: Differences, metrics: Mapping[str, Metric]) -> list[Verdict]:
    """What the Fréchet distances say, where they were measured."""
    measured = {name: row["frechet"] for name, row in table.items() if "frechet" in row}
    if not measured:
        return []
    metric = metrics["frechet"]
    worse = [
        f"{name}: {metric.shown(each.estimate, signed=True)}"
        for name, each in measured.items()
        if each.better(metric) is False
    ]
    why = f"it is worse than {'; '.join(worse)}" if worse else "no interval lies above 0"
    return [Verdict(f"{lead} is not worse than any other method in {metric.title}", not worse, why)]


def _higher(lead: str, other: str, difference: Difference, metric: Metric) -> Verdict:
    shown = metric.shown(difference.estimate, signed=True)
    return Verdict(f"{lead} beats {other} in {metric.title}", difference.better(metric), f"difference {shown}")


def _loses(lead: str, other: str, against: dict[str, Difference], metrics: dict[str, Metric]) -> Verdict:
    parts = {name: each for name, each in against.items() if name in metrics and name != "sum"}
    lost = [name for name, each in parts.items() if each.clearly_better(metrics[name])]
    shown = "; ".join(
        f"{metrics[name].title} {metrics[name].shown(parts[name].estimate, signed=True)}" for name in lost or parts
    )
    return Verdict(f"{other} loses to {lead} in at least one metric", bool(lost), f"{lead} minus {other}: {shown}")
