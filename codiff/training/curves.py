"""Loss curves of a training: a PNG to look at and TensorBoard events to explore."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import numpy as np
from PIL import Image

from codiff.files import written_aside

_NOT_DRAWN = ("step", "seconds", "learning_rate")


def draw_curves(log: list[dict[str, float]], output: Path, title: str) -> None:
    """Write `curves.png`, and TensorBoard events of all logged scalars and the sample pictures in `output`, where the
    [train] extra is installed."""
    names = [name for name in dict.fromkeys(name for entry in log for name in entry) if name not in _NOT_DRAWN]
    if not names:
        return
    if importlib.util.find_spec("matplotlib") is not None:
        _draw(log, names, output / "curves.png", title)
    if importlib.util.find_spec("tensorboard") is not None:
        _write_events(log, output / "samples", output / "tensorboard")


def _draw(log: list[dict[str, float]], names: list[str], path: Path, title: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(names), 3.2), layout="constrained")
    for axis, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        axis.set(title=f"{title}: {name}", xlabel="step")
        axis.grid(alpha=0.3)
        points = [(entry["step"], entry[name]) for entry in log if math.isfinite(entry.get(name, math.nan))]
        if not points:
            continue
        steps, values = zip(*points, strict=True)
        smooth = _smoothed(values)
        axis.plot(steps, values, color="0.8", linewidth=0.8)
        axis.plot(steps, smooth, color="C0")
        low, high = min(smooth), sorted(smooth)[int(0.98 * (len(smooth) - 1))]
        axis.set_ylim(low - 0.05 * (high - low) - 1e-9, high + 0.1 * (high - low) + 1e-9)
    with written_aside(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _smoothed(values: tuple[float, ...]) -> list[float]:
    """The mean of each value and the 2 % of all before it."""
    window = max(1, len(values) // 50)
    parts = [values[max(0, end - window) : end + 1] for end in range(len(values))]
    return [sum(part) / len(part) for part in parts]


def _write_events(log: list[dict[str, float]], samples: Path, folder: Path) -> None:
    """The whole log anew: a resumed training then never shows a step twice."""
    from torch.utils.tensorboard import SummaryWriter

    with written_aside(folder) as temporary, SummaryWriter(str(temporary)) as writer:
        for entry in log:
            for name, value in entry.items():
                if name != "step":
                    writer.add_scalar(name, value, int(entry["step"]))
        for path in sorted(samples.glob("step-*.png")):
            with Image.open(path) as picture:
                writer.add_image(
                    "samples", np.asarray(picture), int(path.stem.removeprefix("step-")), dataformats="HWC"
                )
