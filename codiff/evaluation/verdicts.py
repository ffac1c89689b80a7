"""Does what the paper says of the rules hold in these numbers?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from codiff.evaluation.comparison import Difference, Differences
from codiff.evaluation.methods import WEIGHTED, Method
from codiff.evaluation.metrics import Metric

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


def verdicts(lead: str, methods: Sequence[Method], table: Differences, metrics: Sequence[Metric]) -> list[Verdict]:
    """The claims that were measured: the lead has a higher sum than averages and single models, no larger Fréchet
    distance than anything, and loses something without spatial or temporal variation."""
    by_name = {metric.name: metric for metric in metrics}
    found: list[Verdict] = []
    for method in methods:
        if method.name not in table:
            continue
        against = table[method.name]
        if "sum" in against and "sum" in by_name and (method.is_single or method.name in ("mean", WEIGHTED)):
            found.append(_higher(lead, method.name, against["sum"], by_name["sum"]))
        if method.name in ABLATIONS:
            found.append(_loses(lead, method.name, against, by_name))
    worse = [
        f"{name}: {by_name['frechet'].shown(row['frechet'].estimate, signed=True)}"
        for name, row in table.items()
        if "frechet" in row and row["frechet"].better(by_name["frechet"]) is False
    ]
    if any("frechet" in row for row in table.values()):
        title = by_name["frechet"].title
        why = f"it is worse than {'; '.join(worse)}" if worse else "no interval lies above 0"
        found.append(Verdict(f"{lead} is not worse than any other method in {title}", not worse, why))
    return found


def _higher(lead: str, other: str, difference: Difference, metric: Metric) -> Verdict:
    shown = metric.shown(difference.estimate, signed=True)
    return Verdict(f"{lead} beats {other} in {metric.title}", difference.better(metric), f"difference {shown}")


def _loses(lead: str, other: str, against: dict[str, Difference], metrics: dict[str, Metric]) -> Verdict:
    parts = {name: each for name, each in against.items() if name in metrics and name != "sum"}
    lost = [name for name, each in parts.items() if each.better(metrics[name])]
    shown = "; ".join(
        f"{metrics[name].title} {metrics[name].shown(parts[name].estimate, signed=True)}" for name in lost or parts
    )
    return Verdict(f"{other} loses to {lead} in at least one metric", bool(lost), f"{lead} minus {other}: {shown}")
