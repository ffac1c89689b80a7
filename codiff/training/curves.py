"""Loss curves of a training: a PNG to look at and TensorBoard events to explore."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from codiff.files import written_aside


def draw_curves(log: list[dict[str, float]], output: Path, title: str) -> None:
    """Write `curves.png` and TensorBoard events of all logged scalars; each needs the [train] extra and is left out without."""
    names = [name for name in (log[-1] if log else {}) if name not in ("step", "seconds", "learning_rate")]
    if not names:
        return
    if importlib.util.find_spec("matplotlib") is not None:
        _draw(log, names, output / "curves.png", title)
    if importlib.util.find_spec("tensorboard") is not None:
        _write_events(log, output / "tensorboard")


def _draw(log: list[dict[str, float]], names: list[str], path: Path, title: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(names), 3.2), layout="constrained")
    steps = [entry["step"] for entry in log]
    for axis, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        values = [entry[name] for entry in log]
        window = max(1, len(values) // 50)
        smooth = [sum(values[max(0, i - window) : i + 1]) / (i + 1 - max(0, i - window)) for i in range(len(values))]
        axis.plot(steps, values, color="0.8", linewidth=0.8)
        axis.plot(steps, smooth, color="C0")
        low, high = min(smooth), sorted(smooth)[int(0.98 * (len(smooth) - 1))]
        axis.set(title=f"{title}: {name}", xlabel="step", ylim=(low - 0.05 * (high - low) - 1e-9, high + 0.1 * (high - low) + 1e-9))
        axis.grid(alpha=0.3)
    with written_aside(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _write_events(log: list[dict[str, float]], folder: Path) -> None:
    """The whole log anew: a resumed training then never shows a step twice."""
    from torch.utils.tensorboard import SummaryWriter

    for old in folder.glob("events.*"):
        old.unlink()
    with SummaryWriter(str(folder)) as writer:
        for entry in log:
            for name, value in entry.items():
                if name != "step":
                    writer.add_scalar(name, value, int(entry["step"]))
