"""The curve between obeying the target and keeping the person, drawn."""

from __future__ import annotations

import importlib.util
import io

from PIL import Image

from codiff.editing.strength import StrengthSearch, told
from codiff.errors import InputError


def check_drawable() -> None:
    """Raises:
    InputError: matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise InputError("the curve needs matplotlib, which is not installed: pip install 'codiff[eval]'")


def curve_picture(search: StrengthSearch, name: str) -> Image.Image:
    """Two panels: agreement against identity, and both against the strength; the choice is marked.

    Args:
        name: what the strength is called ("alpha", "strength").
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.2, 3.8), layout="constrained")
    trade, scores = figure.subplots(1, 2)
    strengths = [next(iter(trial.strengths.values())) for trial in search.common]
    identity = [trial.identity for trial in search.common]
    obeys = [trial.obeys for trial in search.common]
    trade.plot(identity, obeys, "o-", color="C0", label="one strength for all")
    for strength, x, y in zip(strengths, identity, obeys, strict=True):
        trade.annotate(f"{strength:g}", (x, y), textcoords="offset points", xytext=(6, 4), fontsize=8)
    if search.varied:
        points = [(trial.identity, trial.obeys) for trial in search.varied]
        trade.scatter(*zip(*points, strict=True), color="0.6", marker="s", s=18, label="one modality's changed")
    best = search.best
    trade.scatter([best.identity], [best.obeys], s=160, facecolors="none", edgecolors="C1", linewidths=2)
    trade.set(title=f"chosen: {told(best.strengths)}", xlabel="identity kept", ylabel="target agreement")
    scores.plot(strengths, identity, "o-", color="C0", label="identity")
    for place, modality in enumerate(search.common[0].agreement, start=1):
        values = [trial.agreement[modality] for trial in search.common]
        scores.plot(strengths, values, "o-", color=f"C{place}", label=f"{modality} agreement")
    scores.set(title=f"scores by {name}", xlabel=name, ylabel="score")
    for axis in (trade, scores):
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=110)
    return Image.open(drawn).convert("RGB")
