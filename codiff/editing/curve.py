"""The search for a strength, drawn: the curve between obeying the target and keeping the person, and the images."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codiff.editing.strength import StrengthSearch, Trial, told
from codiff.errors import InputError
from codiff.figures import below, on_paper, strip, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LEAST_SHOWN = 0.2  # range of scores that a panel shows at least
_LABEL = np.array([0.12, 0.06])  # width and height that a label takes, as shares of a panel


def check_drawable() -> None:
    """Raises:
    InputError: matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise InputError("the curve needs matplotlib, which is not installed: pip install 'codiff[eval]'")


def curve_picture(search: StrengthSearch, name: str) -> Image.Image:
    """Two panels, one above the other: obeying against keeping, and both against the strength; the choice is marked.

    Args:
        name: what the strength is called ("alpha", "strength").
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"font.size": 12, "legend.fontsize": 11, "axes.titlesize": 13}):
        figure = Figure(figsize=(6.4, 8.2), layout="constrained")
        trade, scores = figure.subplots(2, 1)
        _draw_trade_off(trade, search)
        _draw_scores(scores, search, name)
        for axis in (trade, scores):
            axis.grid(alpha=0.3)
            axis.legend()
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png", dpi=110)
    return Image.open(drawn).convert("RGB")


def _draw_trade_off(axis: Axes, search: StrengthSearch) -> None:
    best = search.best
    places = np.array([(trial.identity, trial.obeys) for trial in search.common])
    axis.plot(*places.T, "o-", color="C0", label="one strength for all")
    if search.varied:
        points = np.array([(trial.identity, trial.obeys) for trial in search.varied])
        axis.plot(*points.T, "s", color="0.6", markersize=5, label="one modality's changed")
    axis.scatter([best.identity], [best.obeys], s=200, facecolors="none", edgecolors="C1", linewidths=2)
    limits = [_widened(axis.get_xlim()), _widened(axis.get_ylim())]
    title = (
        f"chosen: {told(best.strengths)}"
        if search.decided
        else f"no difference between strengths; usual: {told(best.strengths)}"
    )
    axis.set(title=title, xlabel="keeps", ylabel="obeys", xlim=limits[0], ylim=limits[1])
    least, most = np.array(limits).T
    for trial, place in _labelled(search, (places - least) / (most - least)):
        axis.annotate(told(trial.strengths), place, xycoords="axes fraction", textcoords="offset points", xytext=(9, 7))


def _draw_scores(axis: Axes, search: StrengthSearch, name: str) -> None:
    strengths = [trial.strength for trial in search.common]
    axis.plot(strengths, [trial.identity for trial in search.common], "o-", color="C0", label="keeps")
    for place, modality in enumerate(search.common[0].agreement, start=1):
        values = [trial.agreement[modality] for trial in search.common]
        axis.plot(strengths, values, "o-", color=f"C{place}", label=f"obeys {modality}")
    axis.set(title=f"by {name}", xlabel=name, ylabel="score", ylim=_widened(axis.get_ylim()))


def _widened(limits: tuple[float, float]) -> tuple[float, float]:
    """Limits of scores that are far enough apart not to show noise as if it were much."""
    middle, half = sum(limits) / 2, max(limits[1] - limits[0], _LEAST_SHOWN) / 2
    return middle - 1.1 * half, middle + 1.1 * half


def _labelled(search: StrengthSearch, places: NDArray[np.float64]) -> Iterator[tuple[Trial, tuple[float, float]]]:
    """Trials of one strength whose labels have room beside each other, and their places (n, 2) as shares of the panel:
    the best first, and then the ends."""
    trials = search.common
    order = sorted(range(len(trials)), key=lambda each: (trials[each] is not search.best, each % (len(trials) - 1)))
    taken: list[NDArray[np.float64]] = []
    for each in order:
        if all((np.abs(places[each] - other) > _LABEL).any() for other in taken):
            taken.append(places[each])
            yield trials[each], (float(places[each, 0]), float(places[each, 1]))


def trials_picture(search: StrengthSearch, photo: Image.Image, name: str) -> Image.Image:
    """The photo and what each strength makes of it, with the scores; the choice is named."""
    rows = [([photo, *_images(search.common)], ["before", *_captions(search.common, search)], f"By {name}")]
    if search.varied:
        rows.append((_images(search.varied), _captions(search.varied, search), "One modality's changed"))
    note = "Obeys: mean agreement with the target. Keeps: identity. Both are of the judges, 1 is best."
    if not search.decided:
        note = f"The judge sees no difference between these strengths. {note}"
    column = below([strip(images, captions, title=title) for images, captions, title in rows], gap=12)
    return on_paper(below([column, words(note, column.width, size=12)], gap=8))


def _images(trials: Sequence[Trial]) -> list[Image.Image]:
    return [trial.image for trial in trials]


def _captions(trials: Sequence[Trial], search: StrengthSearch) -> list[str]:
    """Strength and scores of each; the chosen one is named."""
    chosen = {id(search.best): " (chosen)" if search.decided else " (the usual)"}
    return [
        f"{told(trial.strengths)}: obeys {trial.obeys:.2f}, keeps {trial.identity:.2f}{chosen.get(id(trial), '')}"
        for trial in trials
    ]
