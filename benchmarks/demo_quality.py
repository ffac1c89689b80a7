"""Quality of the shipped model on validation faces: `python -m benchmarks.demo_quality`.

Prints and saves (docs/demo-quality.json, docs/demo-quality.md) mask, beard and age accuracy of every method, with
bootstrap 95% intervals, from the same conditions and initial noise, and the autoencoder's PSNR. Results are kept in
--cache batch by batch, so an interrupted run goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor

from codiff import CollaborativePipeline, generators
from codiff.composition import rule
from codiff.data.faces import FaceExample, ProceduralFaces
from codiff.evaluation.benchmark_data import case_of
from codiff.evaluation.intervals import difference_interval, mean_interval
from codiff.evaluation.judges import Judges
from codiff.files import write_json, written_aside
from codiff.model_files import CHECKSUMS, find_model
from codiff.pixels import from_uint8

METRICS = ("mask", "beard", "age")
COMPARED = ("mask", "caption", "sum")
Scores = dict[str, NDArray[np.float64]]


class Judge:
    """The evaluators that ship with a model, for what is printed here."""

    def __init__(self, folder: Path) -> None:
        self.judges = Judges.shipped(folder)

    def scores(self, images: Tensor, faces: list[FaceExample]) -> Scores:
        """Metric -> one value per image, for images (batch, 3, h, w) in [-1, 1]."""
        values = self.judges.accuracies(images, [case_of(face) for face in faces])
        return {name: values[name].double().numpy() for name in METRICS}


def methods(pipe: CollaborativePipeline) -> dict[str, tuple[str, list[str]]]:
    """Name -> rule and the modalities it is given."""
    everything = pipe.modalities
    singles = {f"{modality} alone": ("mean", [modality]) for modality in everything}
    return {"collaborative": ("collaborative", everything), "mean": ("mean", everything), **singles}


def generate(
    pipe: CollaborativePipeline,
    faces: list[FaceExample],
    seeds: range,
    *,
    method: tuple[str, list[str]],
    arguments: argparse.Namespace,
) -> Tensor:
    """Images (batch, 3, h, w) in [-1, 1], one for each face."""
    name, modalities = method
    conditions: dict[str, Any] = {modality: [face.conditions[modality] for face in faces] for modality in modalities}
    result = pipe(
        conditions,
        num_inference_steps=arguments.steps,
        guidance_scale=arguments.guidance,
        composition=rule(name, pipe.collaborators, pipe.dynamic_diffusers),
        generator=[generators(seed, 1)[0] for seed in seeds],
        output_type="pt",
    )
    images: Tensor = result.images * 2 - 1
    return images


def measured(
    name: str, make: Callable[[list[FaceExample], range], Tensor], judge: Judge, arguments: argparse.Namespace
) -> Scores:
    """Scores of one method on all faces, batch by batch, remembered in the cache."""
    dataset = ProceduralFaces("validation", arguments.size, limit=arguments.faces)
    folder = arguments.cache / name.replace(" ", "-")
    parts: list[Scores] = []
    for start in track(range(0, len(dataset), arguments.batch), name):
        seeds = range(start, min(start + arguments.batch, len(dataset)))
        path = folder / f"{seeds.start:05d}-{seeds.stop:05d}.npz"
        if not path.exists():
            faces = [dataset[item] for item in seeds]
            scores = judge.scores(make(faces, seeds), faces)
            with written_aside(path) as temporary, temporary.open("wb") as file:
                np.savez(file, allow_pickle=False, **scores)
        with np.load(path) as saved:
            parts.append({metric: saved[metric] for metric in METRICS})
    return {metric: np.concatenate([part[metric] for part in parts]) for metric in METRICS}


@torch.no_grad()
def reconstruction_psnr(pipe: CollaborativePipeline, faces: list[FaceExample]) -> NDArray[np.float64]:
    """Peak signal-to-noise ratio in dB of each face after encoding and decoding; the peak is the whole range."""
    pictures = from_uint8(np.stack([face.image for face in faces]))
    decoded = pipe.vae.decode(pipe.vae.encode(pictures).latent_dist.mean).sample.clamp(-1, 1)
    error = ((decoded - pictures) ** 2).mean(dim=(1, 2, 3))
    return (10 * torch.log10(4.0 / error)).double().numpy()


def compare(results: dict[str, Scores]) -> list[dict[str, Any]]:
    """Paired differences between collaborative and every other method, with intervals."""
    ours, rows = results["collaborative"], []
    for name in [name for name in results if name not in ("collaborative", "renders", "reconstructions")]:
        other = results[name]
        pairs = {
            "mask": (ours["mask"], other["mask"]),
            "caption": ((ours["beard"] + ours["age"]) / 2, (other["beard"] + other["age"]) / 2),
            "sum": (
                ours["mask"] + (ours["beard"] + ours["age"]) / 2,
                other["mask"] + (other["beard"] + other["age"]) / 2,
            ),
        }
        rows.append({"method": name, **{key: asdict(difference_interval(*pair)) for key, pair in pairs.items()}})
    return rows


def report(results: dict[str, Scores], psnr: NDArray[np.float64], arguments: argparse.Namespace, seconds: float) -> str:
    """The tables as Markdown; also saves the numbers as JSON."""
    table = {name: {metric: mean_interval(values[metric]) for metric in METRICS} for name, values in results.items()}
    comparison, quality = compare(results), mean_interval(psnr)
    setting = {
        **{
            name: getattr(arguments, name) for name in ("faces", "steps", "guidance", "scheduler", "model", "checksums")
        },
        "seeds": f"0..{arguments.faces - 1}",
        "machine": f"{os.cpu_count()} CPU cores ({platform.machine()}), torch {torch.__version__}",
        "seconds": round(seconds),
    }
    accuracy = {name: {metric: asdict(estimate) for metric, estimate in row.items()} for name, row in table.items()}
    numbers = {"setting": setting, "psnr": asdict(quality), "accuracy": accuracy, "collaborative minus": comparison}
    write_json(arguments.out / "demo-quality.json", numbers)
    lines = [
        f"{arguments.faces} validation faces, conditions of one face each, {arguments.steps} steps of "
        f"{arguments.scheduler}, guidance {arguments.guidance}, seeds {setting['seeds']}, {setting['machine']}. "
        "Accuracies in percent with bootstrap 95% intervals.",
        "",
        "| method | mask | beard | age |",
        "|---|---|---|---|",
        *(
            f"| {name} | " + " | ".join(row[metric].percent() for metric in METRICS) + " |"
            for name, row in table.items()
        ),
        "",
        "| collaborative minus | mask | caption | sum of both |",
        "|---|---|---|---|",
        *(f"| {row['method']} | " + " | ".join(_signed(row[key]) for key in COMPARED) + " |" for row in comparison),
        "",
        f"Autoencoder PSNR: {quality.mean:.2f} dB [{quality.low:.2f}, {quality.high:.2f}].",
    ]
    text = "\n".join(lines) + "\n"
    with written_aside(arguments.out / "demo-quality.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    return text


def _signed(estimate: dict[str, float]) -> str:
    mean, low, high = (100 * estimate[name] for name in ("mean", "low", "high"))
    return f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"


def parse_arguments() -> argparse.Namespace:
    """Command-line arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo", help="'demo', a folder or a hub id")
    parser.add_argument("--faces", type=int, default=3000, help="how many of the 3,000 validation faces")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--batch", type=int, default=50, help="faces at once; results do not depend on it")
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder of the tables")
    parser.add_argument("--cache", type=Path, default=Path("runs/demo-quality"), help="folder of unfinished results")
    return parser.parse_args()


def main() -> None:
    """Measure everything, print and save the tables."""
    arguments = parse_arguments()
    folder = find_model(arguments.model)
    record = folder / CHECKSUMS
    arguments.checksums = json.loads(record.read_text()) if record.exists() else {}
    pipe = CollaborativePipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    arguments.size, arguments.scheduler = pipe.vae.config.sample_size, type(pipe.scheduler).__name__
    version = "-".join(value[:6] for value in list(arguments.checksums.values())[:8]) or "unversioned"
    arguments.cache = arguments.cache / f"{version}-{arguments.steps}-{arguments.guidance}"
    judge, started = Judge(folder), time.perf_counter()
    faces = list(ProceduralFaces("validation", arguments.size, limit=min(arguments.faces, 500)))
    psnr = np.concatenate([reconstruction_psnr(pipe, faces[start : start + 50]) for start in range(0, len(faces), 50)])

    def drawn(faces: list[FaceExample], _: range) -> Tensor:
        return from_uint8(np.stack([face.image for face in faces]))

    @torch.no_grad()
    def reconstructed(faces: list[FaceExample], _: range) -> Tensor:
        decoded: Tensor = pipe.vae.decode(pipe.vae.encode(drawn(faces, _)).latent_dist.mean).sample
        return decoded.clamp(-1, 1)

    results = {"renders": measured("renders", drawn, judge, arguments)}
    results["reconstructions"] = measured("reconstructions", reconstructed, judge, arguments)
    for name, method in methods(pipe).items():
        make = partial(generate, pipe, method=method, arguments=arguments)
        results[name] = measured(name, make, judge, arguments)
    print(report(results, psnr, arguments, time.perf_counter() - started))


if __name__ == "__main__":
    main()
