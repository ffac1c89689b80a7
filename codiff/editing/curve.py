"""The search for a strength, drawn: the curve between obeying the target and keeping the person, and the images."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Sequence

from PIL import Image

from codiff.editing.strength import StrengthSearch, Trial, told
from codiff.errors import InputError
from codiff.figures import below, on_paper, strip, words


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


def trials_picture(search: StrengthSearch, photo: Image.Image, name: str) -> Image.Image:
    """The photo and what each strength makes of it, with the scores; the choice is named."""
    rows = [([photo, *_images(search.common)], ["before", *_captions(search.common, search.best)], f"By {name}")]
    if search.varied:
        rows.append((_images(search.varied), _captions(search.varied, search.best), "One modality's changed"))
    note = "Obeys: mean agreement with the target. Keeps: identity. Both are of the judges, 1 is best."
    column = below([strip(images, captions, title=title) for images, captions, title in rows], gap=12)
    return on_paper(below([column, words(note, column.width, size=12)], gap=8))


def _images(trials: Sequence[Trial]) -> list[Image.Image]:
    return [trial.image for trial in trials]


def _captions(trials: Sequence[Trial], best: Trial) -> list[str]:
    """Strength and scores of each; the chosen one is named."""
    chosen = {id(best): " (chosen)"}
    return [
        f"{told(trial.strengths)}: obeys {trial.obeys:.2f}, keeps {trial.identity:.2f}{chosen.get(id(trial), '')}"
        for trial in trials
    ]
