"""How fast faces are drawn: `python -m benchmarks.rendering`.

Draws the first faces of the training split, several times, into a cache and on the fly, with one process and with all
cores. Prints and saves faces per second with bootstrap 95% intervals over the repetitions, and the speed of each way as
a ratio to the first in the same run.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from codiff.data.faces import ProceduralFaces
from codiff.evaluation.intervals import mean_interval
from codiff.files import written_aside


def cached(faces: int, processes: int) -> None:
    """Draw into a new cache."""
    with tempfile.TemporaryDirectory() as folder:
        ProceduralFaces("train", 128, limit=faces).cached(folder, processes=processes)


def on_the_fly(faces: int, processes: int) -> None:
    """Draw face by face, in this process or in those of a data loader."""
    workers = processes if processes > 1 else 0
    dataset: Any = ProceduralFaces("train", 128, limit=faces)
    for batch in DataLoader(dataset, batch_size=25, num_workers=workers, collate_fn=list):
        assert batch[0].image.shape == (128, 128, 3)


def rates(draw: Callable[[], None], faces: int, repetitions: int) -> list[float]:
    """Faces per second of each repetition."""
    found = []
    for _ in range(repetitions):
        started = time.perf_counter()
        draw()
        found.append(faces / (time.perf_counter() - started))
    return found


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=int, default=1000)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("docs/rendering.md"))
    arguments = parser.parse_args()
    cores, faces = os.cpu_count() or 1, arguments.faces
    ways: dict[str, Callable[[], None]] = {
        "into a cache, 1 process": lambda: cached(faces, 1),
        f"into a cache, {cores} processes": lambda: cached(faces, cores),
        "on the fly, 1 process": lambda: on_the_fly(faces, 1),
        f"on the fly, {cores} processes": lambda: on_the_fly(faces, cores),
    }
    measured = {name: mean_interval(rates(draw, faces, arguments.repetitions)) for name, draw in ways.items()}
    baseline = next(iter(measured.values())).mean
    lines = [
        f"The first {faces} training faces at 128 x 128 with masks and sketches, {arguments.repetitions} times, "
        f"{cores} CPU cores ({platform.machine()}). Faces per second with bootstrap 95% intervals.",
        "",
        "| how | faces per second | ratio |",
        "|---|---|---|",
        *(
            f"| {name} | {rate.mean:.0f} [{rate.low:.0f}, {rate.high:.0f}] | {rate.mean / baseline:.2f} |"
            for name, rate in measured.items()
        ),
    ]
    text = "\n".join(lines) + "\n"
    with written_aside(arguments.out) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
