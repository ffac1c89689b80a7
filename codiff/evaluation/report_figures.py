"""Pictures of a report: conditions beside what each method made of them, failures, influences and curves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from codiff.evaluation.benchmark_data import Case
from codiff.evaluation.influence_statistics import Influences
from codiff.evaluation.loss_by_timestep import LossTable
from codiff.evaluation.metrics import Metric
from codiff.evaluation.tuning import Tuned
from codiff.figures import INK, PAPER, QUIET, below, beside, colours_of, fitted, influence_strips, on_paper, words
from codiff.files import written_aside
from codiff.modalities.mask import MASK_CLASSES

Made = Callable[[str, int], Image.Image]
"""(method, number of the case) -> its picture."""

Drawn = Callable[[Case, int], dict[str, Image.Image]]
"""(case, side) -> modality -> its condition as a picture."""

_SIDE = 112


def save(picture: Image.Image | Figure, path: Path) -> Path:
    """Write a figure as PNG."""
    with written_aside(path) as temporary:
        if isinstance(picture, Figure):
            picture.savefig(temporary, format="png", dpi=110)
        else:
            picture.save(temporary, format="PNG", optimize=True)
    return path


def drawn_case(case: Case, drawn: Drawn | None, side: int) -> dict[str, Image.Image]:
    """Title -> what there is to see of a case: its caption, its conditions and the real picture."""
    cells: dict[str, Image.Image] = {}
    if case.caption:
        cells["caption"] = _page(case.caption, side)
    if drawn is not None:
        cells |= drawn(case, side)
    if case.read is not None:
        cells["real"] = Image.fromarray(case.picture)
    return cells


def side_by_side(cases: Mapping[int, Case], methods: Sequence[str], made: Made, drawn: Drawn | None) -> Image.Image:
    """A row a case: what was asked for, then what every method made of it."""
    rows = [
        drawn_case(case, drawn, _SIDE) | {name: made(name, number) for name in methods}
        for number, case in cases.items()
    ]
    titles = [title.replace("-", " ") for title in rows[0]]
    heads = beside([_head(title, _SIDE) for title in titles], align=1.0)
    return on_paper(below([heads, *(beside([fitted(cell, _SIDE) for cell in row.values()]) for row in rows)]))


def failures(
    worst: Mapping[str, Sequence[tuple[int, str]]],
    cases: Mapping[int, Case],
    lead: str,
    made: Made,
    drawn: Drawn | None,
) -> Image.Image:
    """A block a metric: the cases with the lowest values, each with what was asked for beside what was made."""
    blocks = []
    for title, entries in worst.items():
        cells, captions = [], []
        for number, value in entries:
            asked = [
                fitted(cell, _SIDE) for name, cell in drawn_case(cases[number], drawn, _SIDE).items() if name != "real"
            ]
            cells.append(beside([*asked, fitted(made(lead, number), _SIDE)], gap=2))
            captions.append(f"{number:05d}: {value}")
        labelled = [
            below([cell, words(caption, cell.width, size=12, colour=QUIET, centred=True)], gap=2)
            for cell, caption in zip(cells, captions, strict=True)
        ]
        columns = max(1, 1500 // (labelled[0].width + 16))
        lines = [beside(labelled[start : start + columns], gap=16) for start in range(0, len(labelled), columns)]
        blocks.append(below([words(f"lowest {title}", max(line.width for line in lines)), *lines]))
    return on_paper(below(blocks, gap=18))


def _head(title: str, side: int) -> Image.Image:
    return words(title, side, size=12, colour=QUIET, centred=True, lines=3)


def _page(text: str, side: int) -> Image.Image:
    """A caption on a square."""
    page = Image.new("RGB", (side, side), PAPER)
    page.paste(words(text, side - 10, size=11, colour=INK, lines=(side - 8) // 15), (5, 4))
    return page


def influence_maps(influences: Influences) -> Image.Image:
    """Mean influence of each modality at the places of the picture, step by step."""
    maps = {name: influences.maps[place] for place, name in enumerate(influences.modalities)}
    return influence_strips(maps, [f"{timestep:.0f}" for timestep in influences.timesteps])


def influence_curves(influences: Mapping[str, Influences]) -> Figure:
    """Mean influence of each modality by timestep, a panel a method."""
    columns = min(4, len(influences))
    figure, axes = _panels(len(influences), columns, (3.4, 2.7))
    for axis, (name, found) in zip(axes, influences.items(), strict=False):
        for place, (modality, colour) in enumerate(colours_of(found.modalities).items()):
            axis.plot(found.timesteps, found.steps[place], label=modality, color=_hex(colour))
        axis.set(title=name, xlabel="timestep (noise on the left)", ylabel="mean influence")
        axis.set_xlim(max(found.timesteps), min(found.timesteps))
        axis.set_ylim(0, max(1.0, float(found.steps.max()) * 1.05))
    axes[0].legend(frameon=False, fontsize=8)
    return figure


def influence_classes(influences: Influences) -> Figure:
    """Mean influence on the pixels of each class of the mask by timestep, a panel a modality."""
    assert influences.classes is not None
    shown = [place for place in range(len(MASK_CLASSES)) if np.isfinite(influences.classes[0, 0, place])]
    figure, axes = _panels(len(influences.modalities), len(influences.modalities), (3.6, 4.2))
    low, high = np.nanmin(influences.classes), np.nanmax(influences.classes)
    for place, (axis, modality) in enumerate(zip(axes, influences.modalities, strict=True)):
        image = axis.imshow(influences.classes[place][:, shown].T, aspect="auto", cmap="viridis", vmin=low, vmax=high)
        axis.set(title=modality, xlabel="timestep (noise on the left)")
        axis.grid(visible=False)
        axis.set_yticks(range(len(shown)), [MASK_CLASSES[number] for number in shown] if place == 0 else [], fontsize=8)
        ticks = np.linspace(0, len(influences.timesteps) - 1, min(5, len(influences.timesteps))).round().astype(int)
        axis.set_xticks(ticks, [f"{influences.timesteps[tick]:.0f}" for tick in ticks], fontsize=8)
    figure.colorbar(image, ax=axes, label="mean influence")
    return figure


def loss_curves(table: LossTable) -> Figure:
    """Loss of every method over that of the best single collaborator, by timestep: below 1 mixing pays."""
    figure, (axis,) = _panels(1, 1, (8.4, 4.4))
    singles = [name for name in table.losses if name not in table.gains]
    reference = [
        min(table.losses[name][place].mean for name in singles or table.losses) for place in range(len(table.timesteps))
    ]
    for number, (name, values) in enumerate(table.losses.items()):
        ratio = [value.mean / best for value, best in zip(values, reference, strict=True)]
        axis.plot(
            table.timesteps,
            ratio,
            label=name,
            color=f"C{number % 10}",
            linestyle="--" if name in singles else "-",
            marker=".",
        )
    axis.axhline(1.0, color="0.5", linewidth=0.8)
    ratios = [
        value.mean / best for name in table.gains for value, best in zip(table.losses[name], reference, strict=True)
    ]
    low, high = min([1.0, *ratios]), max([1.0, *ratios])
    axis.set_ylim(low - 0.05, min(high, 1.6) + 0.08)
    axis.set_xlim(max(table.timesteps) + 10, min(table.timesteps) - 10)
    axis.set(xlabel="timestep (noise on the left)", ylabel="loss / best single collaborator's")
    axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def tuning_curves(tuned: Tuned) -> Figure:
    """What each scale reached on the tuning cases; the chosen one is marked."""
    figure, (axis,) = _panels(1, 1, (8.4, 4.2))
    for number, method in enumerate(tuned.methods):
        tried = [
            each for each in tuned.candidates[method.name] if each.method.weights == method.weights and each.reached
        ]
        points = sorted({each.method.guidance: each.reached.mean for each in tried if each.reached}.items())
        if not points:
            continue
        scales, means = zip(*points, strict=True)
        colour, style = f"C{number % 10}", "--" if method.is_single else "-"
        axis.plot(scales, [100 * mean for mean in means], color=colour, linestyle=style, marker=".", label=method.name)
        axis.plot(
            method.guidance,
            100 * dict(points)[method.guidance],
            color=colour,
            marker="o",
            fillstyle="none",
            markersize=10,
        )
    axis.set(xlabel="guidance scale", ylabel="mask + caption, %")
    axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def worst_cases(
    scores: Mapping[str, np.ndarray], metrics: Sequence[Metric], count: int
) -> dict[str, list[tuple[int, str]]]:
    """Title of each metric of single pictures -> number and value of its lowest cases, of equal ones those with the
    lowest sum; without those that reach 100%."""
    found = {}
    for metric in metrics:
        if metric.of_sets or metric.name not in scores or metric.name == "caption":  # a mean of others
            continue
        values = scores[metric.name]
        order = [int(number) for number in np.lexsort((scores.get("sum", values), values))[:count]]
        factor = 100.0 if metric.scale == "percent" else 1.0
        is_share = metric.scale == "percent" and metric.name != "sum"
        wrong = [number for number in order if not (is_share and values[number] == 1.0)]
        if wrong:
            found[metric.headed.rstrip(" ↑↓")] = [(number, f"{factor * values[number]:.1f}") for number in wrong]
    return found


def _panels(count: int, columns: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    rows = -(-count // columns)
    figure = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes[:count]:
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[count:]:
        axis.set_axis_off()
    return figure, axes[:count]


def _hex(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
