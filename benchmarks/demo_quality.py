"""Quality of the shipped model on validation faces: `python -m benchmarks.demo_quality`.

Prints and saves (docs/demo-quality.json, docs/demo-quality.md) mask, beard and age accuracy of every method, with
bootstrap 95% intervals, from the same conditions and initial noise, and the autoencoder's PSNR. The method that others
are compared with is the rule that `codiff generate` takes. Results are kept in --cache batch by batch, so that an
interrupted run goes on where it was. Several processes may share the work, each with its --share, before one without it
prints:

    OMP_NUM_THREADS=1 python -m benchmarks.demo_quality --share 1/2 & OMP_NUM_THREADS=1 python -m ... --share 2/2
"""

from __future__ import annotations

import argparse
import hashlib
import json
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

from benchmarks.machine import machine
from codiff import CollaborativePipeline, generators
from codiff.composition import learned_rules, rule
from codiff.data.faces import FaceExample, ProceduralFaces
from codiff.evaluation.benchmark_data import case_of
from codiff.evaluation.intervals import Estimate, difference_interval, mean_interval
from codiff.evaluation.judges import Judges
from codiff.files import write_json, written_aside
from codiff.model_files import CHECKSUMS, find_model
from codiff.pixels import from_uint8

METRICS = ("mask", "beard", "age")
COMPARED = ("mask", "caption", "sum")
CEILINGS = ("renders", "reconstructions")
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
    """Name -> rule and the modalities it is given; the model's own rule first."""
    everything = pipe.modalities
    rules = dict.fromkeys([*learned_rules(pipe.dynamic_diffusers), "mean"])
    singles = {f"{modality} alone": ("mean", [modality]) for modality in everything}
    return {**{name: (name, everything) for name in rules}, **singles}


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
    images: Tensor = result.images.float() * 2 - 1
    return images


def measured(
    name: str, make: Callable[[list[FaceExample], range], Tensor], judge: Judge, arguments: argparse.Namespace
) -> Scores:
    """Scores of one method on all faces, batch by batch, remembered in the cache."""
    dataset = ProceduralFaces("validation", arguments.size, limit=arguments.faces)
    folder = arguments.cache / name.replace(" ", "-")
    parts: list[Scores] = []
    share, shares = arguments.share
    for start in track(range(0, len(dataset), arguments.batch)[share::shares], name):
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
def reconstructed(pipe: CollaborativePipeline, pictures: Tensor) -> Tensor:
    """What the autoencoder leaves of pictures (batch, 3, h, w) in [-1, 1]."""
    latents = pipe.vae.encode(pictures.to(pipe.vae.dtype)).latent_dist.mean
    decoded: Tensor = pipe.vae.decode(latents).sample
    return decoded.float().clamp(-1, 1)


def reconstruction_psnr(pipe: CollaborativePipeline, faces: list[FaceExample]) -> NDArray[np.float64]:
    """Peak signal-to-noise ratio in dB of each face after encoding and decoding; the peak is the whole range."""
    pictures = from_uint8(np.stack([face.image for face in faces]))
    decoded = reconstructed(pipe, pictures)
    error = ((decoded - pictures) ** 2).mean(dim=(1, 2, 3))
    return (10 * torch.log10(4.0 / error)).double().numpy()


def compare(results: dict[str, Scores], lead: str) -> list[dict[str, Any]]:
    """Paired differences between the lead and every other method, with intervals."""
    ours, rows = results[lead], []
    for name in [name for name in results if name not in (lead, *CEILINGS)]:
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


def report(results: dict[str, Scores], psnr: NDArray[np.float64], arguments: argparse.Namespace) -> str:
    """The tables as Markdown; also saves the numbers as JSON."""
    table = {name: {metric: mean_interval(values[metric]) for metric in METRICS} for name, values in results.items()}
    lead = next(name for name in results if name not in CEILINGS)
    comparison, quality = compare(results, lead), mean_interval(psnr)
    setting = {
        **{
            name: getattr(arguments, name)
            for name in ("faces", "steps", "guidance", "scheduler", "dtype", "model", "checksums")
        },
        "seeds": f"0..{arguments.faces - 1}",
        "machine": machine(),
    }
    accuracy = {name: {metric: asdict(estimate) for metric, estimate in row.items()} for name, row in table.items()}
    numbers = {"setting": setting, "psnr": asdict(quality), "accuracy": accuracy, f"{lead} minus": comparison}
    write_json(arguments.out / "demo-quality.json", numbers)
    lines = [
        f"{arguments.faces} validation faces, conditions of one face each, {arguments.steps} steps of "
        f"{arguments.scheduler}, guidance {arguments.guidance}, {arguments.dtype}, seeds {setting['seeds']}, "
        f"{setting['machine']}. "
        "Accuracies in percent with bootstrap 95% intervals.",
        "",
        "| method | mask | beard | age |",
        "|---|---|---|---|",
        *(
            f"| {name} | " + " | ".join(row[metric].percent() for metric in METRICS) + " |"
            for name, row in table.items()
        ),
        "",
        f"| {lead} minus | mask | caption | sum of both |",
        "|---|---|---|---|",
        *(
            f"| {row['method']} | " + " | ".join(Estimate(**row[key]).signed() for key in COMPARED) + " |"
            for row in comparison
        ),
        "",
        f"Autoencoder PSNR of the first {len(psnr)}: {quality.mean:.2f} dB [{quality.low:.2f}, {quality.high:.2f}].",
    ]
    text = "\n".join(lines) + "\n"
    with written_aside(arguments.out / "demo-quality.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    return text


def parse_arguments() -> argparse.Namespace:
    """Command-line arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo", help="'demo', a folder or a hub id")
    parser.add_argument("--faces", type=int, default=3000, help="how many of the 3,000 validation faces")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--guidance", type=float, default=2.0)
    parser.add_argument("--batch", type=int, default=50, help="faces at once; results do not depend on it")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"], help="of the weights")
    parser.add_argument(
        "--share", type=share_of, default=(0, 1), metavar="K/N", help="fill the cache with one part of N"
    )
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder of the tables")
    parser.add_argument("--cache", type=Path, default=Path("runs/demo-quality"), help="folder of unfinished results")
    return parser.parse_args()


def share_of(text: str) -> tuple[int, int]:
    """The place, from 0, and the number of shares of words like 1/2."""
    place, _, count = text.partition("/")
    if not (place.isdigit() and count.isdigit() and 1 <= int(place) <= int(count)):
        raise argparse.ArgumentTypeError(f"{text!r} is not like 1/2")
    return int(place) - 1, int(count)


def main() -> None:
    """Measure everything, print and save the tables."""
    arguments = parse_arguments()
    folder = find_model(arguments.model)
    record = folder / CHECKSUMS
    arguments.checksums = json.loads(record.read_text()) if record.exists() else {}
    pipe = CollaborativePipeline.from_pretrained(folder, torch_dtype=getattr(torch, arguments.dtype))
    pipe.set_progress_bar_config(disable=True)
    arguments.size, arguments.scheduler = pipe.vae.config.sample_size, type(pipe.scheduler).__name__
    version = hashlib.sha256(json.dumps(arguments.checksums, sort_keys=True).encode()).hexdigest()[:12]
    arguments.cache = arguments.cache / f"{version}-{arguments.steps}-{arguments.guidance}-{arguments.dtype}"
    judge = Judge(folder)
    faces = list(ProceduralFaces("validation", arguments.size, limit=min(arguments.faces, 500)))
    psnr = np.concatenate([reconstruction_psnr(pipe, faces[start : start + 50]) for start in range(0, len(faces), 50)])

    def drawn(faces: list[FaceExample], _: range) -> Tensor:
        return from_uint8(np.stack([face.image for face in faces]))

    results = {"renders": measured("renders", drawn, judge, arguments)}
    results["reconstructions"] = measured(
        "reconstructions", lambda faces, seeds: reconstructed(pipe, drawn(faces, seeds)), judge, arguments
    )
    for name, method in methods(pipe).items():
        make = partial(generate, pipe, method=method, arguments=arguments)
        results[name] = measured(name, make, judge, arguments)
    if arguments.share == (0, 1):
        print(report(results, psnr, arguments))


if __name__ == "__main__":
    main()
