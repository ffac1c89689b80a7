"""Names, units and directions of the numbers in a report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from codiff.evaluation.intervals import Estimate

Scale = Literal["percent", "plain", "thousandths"]
_FACTORS: dict[Scale, float] = {"percent": 100.0, "plain": 1.0, "thousandths": 1000.0}


@dataclass(frozen=True)
class Metric:
    """One column of a table.

    Attributes:
        name: its key in reports; per-image values have the same name.
        title: for people.
        scale: "percent" (shares, printed times 100), "plain", or "thousandths" (printed times 1,000).
        higher: whether higher is better; None where neither is.
        of_sets: measured on whole sets of pictures instead of each.
        needs: what it cannot be measured without.
    """

    name: str
    title: str
    scale: Scale
    higher: bool | None
    of_sets: bool
    needs: str

    def shown(self, estimate: Estimate, *, signed: bool = False) -> str:
        """As in "93.1 [92.8, 93.4]"."""
        factor = _FACTORS[self.scale]
        values = [factor * value for value in (estimate.mean, estimate.low, estimate.high)]
        places = 1 if self.scale == "percent" else 2 if max(map(abs, values)) >= 0.1 else 4
        sign = "+" if signed else ""
        mean, low, high = (f"{round(value, places) + 0.0:{sign}.{places}f}" for value in values)
        return f"{mean} [{low}, {high}]"

    @property
    def headed(self) -> str:
        """The title with its unit and an arrow that points where values are better."""
        arrow = {True: " ↑", False: " ↓", None: ""}[self.higher]
        return f"{self.title}{' %' if self.scale == 'percent' else ''}{arrow}"


_FEATURES = "a feature extractor (--inception, or the face parser) and reference pictures (--reference)"

METRICS = {
    metric.name: metric
    for metric in (
        Metric("mask", "mask", "percent", True, False, "a face parser and masks (--masks)"),
        Metric("miou", "mIoU", "percent", True, True, "a face parser and masks (--masks)"),
        Metric("beard", "beard", "percent", True, False, "an attribute classifier and labels (--labels)"),
        Metric("age", "age", "percent", True, False, "an attribute classifier and labels (--labels)"),
        Metric("text", "CLIP score", "plain", True, False, "a CLIP model (--clip) and captions (--captions)"),
        Metric("caption", "caption", "percent", True, False, "an attribute classifier and labels (--labels)"),
        Metric("sum", "mask + caption", "percent", True, False, "both mask and caption or CLIP score"),
        Metric("frechet", "Fréchet distance", "plain", False, True, _FEATURES),
        Metric("kernel", "kernel distance x 1000", "thousandths", False, True, _FEATURES),
        Metric("diversity", "diversity", "plain", None, True, "several pictures of one condition"),
    )
}
"""All columns that a report can have, in their order."""
