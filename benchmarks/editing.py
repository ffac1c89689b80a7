"""Editors against each other on drawn validation faces: `python -m benchmarks.editing`.

For each face an edit of its caption, of its mask and of both, drawn by lot, by every editor at its defaults. Since the
faces are drawn, it is known what the same person looks like with the target. Prints and saves (docs/editing-quality.md,
docs/editing-quality.json), with bootstrap 95% intervals:

- mask, beard, age: how far the edit obeys, in percent, as the model's own judges read it;
- colours: `identity_error`, levels of 255 by which the colours that make the person are off; 0 is best;
- background: levels of 255 by which pixels changed that are background before and after;
- cost: CPU seconds, as multiples of those of a plain generation from the same conditions in the same run; memory beyond
  the loaded model; bytes that are kept for another edit.

Each face's results are kept in --cache, so an interrupted run goes on where it was. Several processes may share the
work, each with its --share, before one without it prints:

    OMP_NUM_THREADS=1 python -m benchmarks.editing --share 1/2 & OMP_NUM_THREADS=1 python -m ... --share 2/2
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track
from scipy.stats import bootstrap

from benchmarks.child_process import in_child, peak_memory
from benchmarks.demo_quality import Judge, reconstructed, share_of
from benchmarks.edit_tasks import KINDS, Task, drawn_by_lot, edited, lacks_region
from benchmarks.machine import machine
from codiff import CollaborativePipeline, generators
from codiff.cli.drawing import model_digest
from codiff.composition import Mean
from codiff.data.faces import FaceExample, ProceduralFaces
from codiff.editing import Sampling, imagic
from codiff.editing.editors import EDITORS
from codiff.evaluation.identity_error import identity_error
from codiff.evaluation.intervals import RESAMPLES, Estimate, difference_interval, mean_interval
from codiff.files import write_json, written_aside
from codiff.model_files import find_model
from codiff.pixels import from_uint8, to_uint8

AGREEMENT = ("mask", "beard", "age")
KEEPING = ("colours", "background")
MEAN_ALPHAS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
Row = dict[str, float]
"""What was measured of one picture."""
Measured = dict[str, Row]
"""Of one face: "kind/method" -> row."""


class Bench:
    """Edits faces and measures what comes out.

    Args:
        folder: of the model.
        arguments: of the command.
    """

    def __init__(self, folder: Path, arguments: argparse.Namespace) -> None:
        self.pipe = CollaborativePipeline.from_pretrained(folder)
        self.pipe.set_progress_bar_config(disable=True)
        self.judge = Judge(folder)
        self.size: int = self.pipe.vae.config.sample_size
        self.sampling = Sampling(num_inference_steps=arguments.steps, guidance_scale=arguments.guidance)
        self.averaged = replace(self.sampling, composition=Mean(self.pipe.collaborators))

    def face(self, number: int) -> Measured:
        """All edits of one validation face."""
        before = ProceduralFaces("validation", self.size)[number]
        tasks = drawn_by_lot(before, number)
        measured: Measured = {}
        alone: dict[str, Image.Image] = {}
        with tempfile.TemporaryDirectory() as folder:
            learned = Path(folder) / "edit.safetensors"
            learning = self._learn(tasks["both"], learned)
            for kind, task in tasks.items():
                measured |= self._baselines(task)
                plain = self._plain_seconds(task)
                for name, editor in EDITORS.items():
                    if lacks_region(name, task):
                        continue
                    started = time.process_time()
                    image = edited(self.pipe, name, task, learned=learned, sampling=self.sampling).images[0]
                    again = time.process_time() - started
                    first = again + (learning[kind] if editor.learns else 0.0)
                    cost = {"seconds": first, "again": again, "cost": first / plain, "cost again": again / plain}
                    measured[f"{kind}/{name}"] = {**self._row(image, task), **cost}
                    if name == "imagic":
                        alone[kind] = image
            measured |= {
                f"both/imagic, {kind} alone": self._row(alone[kind], tasks["both"]) for kind in ("text", "mask")
            }
            for alpha in MEAN_ALPHAS:
                edit = edited(self.pipe, "imagic", tasks["both"], learned=learned, sampling=self.averaged, alpha=alpha)
                measured[f"both/imagic, mean, alpha {alpha:g}"] = self._row(edit.images[0], tasks["both"])
        return measured

    def _learn(self, task: Task, learned: Path) -> dict[str, float]:
        """Kind -> CPU seconds of learning what it needs; modalities are learned one after another."""
        marks = [time.process_time()]

        def note(done: int, total: int, _loss: float) -> None:
            if done % (total // len(task.modalities)) == 0:
                marks.append(time.process_time())

        one_step = replace(self.sampling, num_inference_steps=1)
        imagic(
            self.pipe,
            task.before.image,
            task.target,
            save_to=learned,
            sampling=one_step,
            generator=generators(0, 1),
            on_learning=note,
        )
        each = dict(zip(task.modalities, np.diff(marks), strict=True))
        return {kind: float(sum(each[modality] for modality in KINDS[kind])) for kind in KINDS}

    def _baselines(self, task: Task) -> Measured:
        """What edits are to be compared with."""
        pictures = {
            "photo": Image.fromarray(task.before.image),
            "autoencoder": self._reconstruction(task.before),
            "drawing": Image.fromarray(task.after.image),
        }
        return {f"{task.name}/{name}": self._row(picture, task) for name, picture in pictures.items()}

    def _plain_seconds(self, task: Task) -> float:
        """CPU seconds of a generation from the target alone."""
        started = time.process_time()
        self.pipe(
            task.target,
            num_inference_steps=self.sampling.num_inference_steps,
            guidance_scale=self.sampling.guidance_scale,
            generator=generators(0, 1),
        )
        return time.process_time() - started

    @torch.no_grad()
    def _reconstruction(self, face: FaceExample) -> Image.Image:
        return Image.fromarray(to_uint8(reconstructed(self.pipe, from_uint8(face.image[None])))[0])

    @torch.no_grad()
    def _row(self, image: Image.Image, task: Task) -> Row:
        pixels = np.asarray(image)
        picture = from_uint8(pixels[None])
        scores = self.judge.scores(picture, [task.after])
        colours = [float(values[0]) for values in identity_error(picture, [task.after.face]).values()]
        behind = (task.before.mask == 0) & (task.after.mask == 0)
        change = np.abs(pixels.astype(np.int64) - task.before.image)[behind]
        return {
            **{name: float(scores[name][0]) for name in AGREEMENT},
            "colours": float(np.nanmean(colours)),
            "background": float(change.mean()) if behind.any() else 0.0,
        }


def measured_faces(bench: Callable[[], Bench], arguments: argparse.Namespace) -> list[Measured]:
    """This share's faces, each remembered in the cache."""
    share, shares = arguments.share
    opened: Bench | None = None
    faces: list[Measured] = []
    for number in track(range(arguments.faces)[share::shares], "faces"):
        path = arguments.cache / f"{number:05d}.json"
        if not path.exists():
            opened = opened or bench()
            write_json(path, opened.face(number))
        faces.append(json.loads(path.read_text()))
    return faces


def column(faces: Sequence[Measured], row: str, metric: str) -> NDArray[np.float64]:
    """One value a face; "caption" is the mean of beard and age."""
    if metric == "caption":
        return (column(faces, row, "beard") + column(faces, row, "age")) / 2
    return np.array([face[row][metric] for face in faces])


def at_equal_identity(faces: Sequence[Measured], metric: str) -> tuple[Estimate, float]:
    """By how much imagic obeys better than imagic with the mean of all models, where both keep the colours as well: the
    mean's agreement is read off its curve over alpha, at the colour error of imagic's own; at the curve's end where
    that lies beyond it, and in which share of the resamples it does."""
    beyond: list[bool] = []
    own = column(faces, "both/imagic", metric), column(faces, "both/imagic", "colours")
    curve = [
        [column(faces, f"both/imagic, mean, alpha {alpha:g}", name) for name in (metric, "colours")]
        for alpha in MEAN_ALPHAS
    ]

    def difference(chosen: NDArray[np.int64]) -> float:
        points = sorted((float(colours[chosen].mean()), float(obeyed[chosen].mean())) for obeyed, colours in curve)
        kept = float(own[1][chosen].mean())
        beyond.append(not points[0][0] <= kept <= points[-1][0])
        expected = np.interp(kept, [point[0] for point in points], [point[1] for point in points])
        return float(own[0][chosen].mean() - expected)

    everyone = np.arange(len(faces))
    found = difference(everyone)
    if len(everyone) == 1:
        return Estimate(found, found, found), float(beyond[0])
    interval = bootstrap(
        (everyone,),
        difference,
        vectorized=False,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Estimate(found, float(interval.low), float(interval.high)), float(np.mean(beyond))


def claims(faces: Sequence[Measured]) -> dict[str, Estimate]:
    """What the paper says of editing with several modalities, as differences in percent."""
    told: dict[str, Estimate] = {}
    for alone, others in (("text", "mask"), ("mask", "caption")):
        pair = [column(faces, row, others) for row in ("both/imagic", f"both/imagic, {alone} alone")]
        told[f"imagic minus imagic of the {alone} alone: {others}"] = difference_interval(*pair)
    for metric in ("mask", "caption"):
        found, beyond = at_equal_identity(faces, metric)
        note = f" ({beyond:.0%} of the resamples beyond the mean's curve, held at its end)" if beyond else ""
        told[f"imagic minus imagic with the mean, at equal colours: {metric}{note}"] = found
    return told


def run_stage(name: str, bench: Bench) -> None:
    """Print how much more memory an edit of both modalities takes than a plain generation, and what it keeps."""
    task = drawn_by_lot(ProceduralFaces("validation", bench.size)[0], 0)["both"]
    bench.pipe(task.target, num_inference_steps=2, guidance_scale=2.0, generator=generators(0, 1))
    before = peak_memory()
    with tempfile.TemporaryDirectory() as folder:
        learned = Path(folder) / "edit.safetensors"
        edited(bench.pipe, name, task, learned=learned, sampling=replace(bench.sampling, num_inference_steps=4))
        kept = learned.stat().st_size if learned.exists() else 0
    print(json.dumps({"memory": peak_memory() - before, "bytes": kept}))


def report(faces: Sequence[Measured], arguments: argparse.Namespace) -> str:
    """The tables as Markdown; also saves the numbers as JSON."""
    rows = {row: {metric: mean_interval(column(faces, row, metric)) for metric in faces[0][row]} for row in faces[0]}
    memory = {name: in_child("editing", "--stage", name, "--model", arguments.model) for name in EDITORS}
    told = claims(faces)
    setting = {"faces": len(faces), "steps": arguments.steps, "guidance": arguments.guidance, "machine": machine()}
    numbers = {
        "setting": setting,
        "rows": {row: {metric: vars(value) for metric, value in values.items()} for row, values in rows.items()},
        "memory": memory,
        "claims": {name: vars(value) for name, value in told.items()},
    }
    write_json(arguments.out / "editing-quality.json", numbers)
    lines = [
        f"{len(faces)} validation faces, one edit of each kind drawn by lot (seeds 0..{len(faces) - 1}), "
        f"{arguments.steps} steps, guidance {arguments.guidance:g}, {machine()}; bootstrap 95% intervals.",
    ]
    for kind in KINDS:
        lines += ["", *table_of(kind, rows)]
    lines += ["", "| both modalities | MiB beyond a generation | bytes kept |", "|---|---|---|"]
    lines += [f"| {name} | {each['memory']:.0f} | {each['bytes']:,} |" for name, each in memory.items()]
    lines += ["", "| difference in percent | |", "|---|---|"]
    lines += [f"| {name} | {value.signed()} |" for name, value in told.items()]
    text = "\n".join(lines) + "\n"
    with written_aside(arguments.out / "editing-quality.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    return text


def table_of(kind: str, rows: Mapping[str, dict[str, Estimate]]) -> list[str]:
    """The lines of one kind of edit."""
    lines = [
        f"| {kind} | mask % | beard % | age % | colours | background | cost |",
        "|---|---|---|---|---|---|---|",
    ]
    for row, values in rows.items():
        if row.startswith(f"{kind}/"):
            percents = [values[metric].percent() for metric in AGREEMENT]
            cells = [*percents, *(_plain(values[metric]) for metric in KEEPING), _cost(values)]
            lines.append(f"| {row.partition('/')[2]} | {' | '.join(cells)} |")
    return lines


def _plain(value: Estimate) -> str:
    return f"{value.mean:.1f} [{value.low:.1f}, {value.high:.1f}]"


def _cost(values: dict[str, Estimate]) -> str:
    if "cost" not in values:
        return ""
    first = f"{_plain(values['cost'])} ({_plain(values['seconds'])} s)"
    if values["cost"] == values["cost again"]:
        return first
    return f"{first}, again {_plain(values['cost again'])} ({_plain(values['again'])} s)"


def main() -> None:
    """Measure everything, print and save the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo", help="'demo', a folder or a hub id")
    parser.add_argument("--faces", type=int, default=300)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--guidance", type=float, default=2.0)
    parser.add_argument(
        "--share", type=share_of, default=(0, 1), metavar="K/N", help="fill the cache with one part of N"
    )
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder of the tables")
    parser.add_argument("--cache", type=Path, default=Path("runs/editing"), help="folder of unfinished results")
    parser.add_argument("--stage", choices=EDITORS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    folder = find_model(arguments.model)
    if arguments.stage is not None:
        run_stage(arguments.stage, Bench(folder, arguments))
        return
    version = model_digest(folder)[:12]
    arguments.cache = arguments.cache / f"{version}-{arguments.steps}-{arguments.guidance:g}"
    faces = measured_faces(lambda: Bench(folder, arguments), arguments)
    if arguments.share == (0, 1):
        print(report(faces, arguments))


if __name__ == "__main__":
    main()
