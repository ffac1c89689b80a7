"""What fewer steps and half precision cost in quality: `python -m benchmarks.fewer_steps`.

The shipped model on validation faces, all modalities, from the same conditions and noise: 50 steps of DDIM in float32
are the reference; 20 steps of DPM-Solver++ and bfloat16 are compared with it. Prints accuracies with bootstrap 95%
intervals, paired differences from the reference, and the time as a ratio to the reference's in the same run.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler
from rich.progress import track

from benchmarks.demo_quality import METRICS, Judge, Scores
from benchmarks.machine import machine
from codiff import CollaborativePipeline, generators
from codiff.data.faces import FaceExample, ProceduralFaces
from codiff.evaluation.intervals import difference_interval, mean_interval
from codiff.files import written_aside
from codiff.model_files import find_model

WAYS = {
    "DDIM, 50 steps, float32": (DDIMScheduler, 50, torch.float32),
    "DPM-Solver++, 20 steps, float32": (DPMSolverMultistepScheduler, 20, torch.float32),
    "DDIM, 50 steps, bfloat16": (DDIMScheduler, 50, torch.bfloat16),
    "DPM-Solver++, 20 steps, bfloat16": (DPMSolverMultistepScheduler, 20, torch.bfloat16),
}
REFERENCE = next(iter(WAYS))


def scores_of(way: str, folder: Path, faces: list[FaceExample], arguments: argparse.Namespace) -> tuple[Scores, float]:
    """Scores of all faces, and the seconds that their images took."""
    scheduler, steps, dtype = WAYS[way]
    pipe, judge = CollaborativePipeline.from_pretrained(folder, torch_dtype=dtype), Judge(folder)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = scheduler.from_config(pipe.scheduler.config)
    parts, seconds = [], 0.0
    for start in track(range(0, len(faces), arguments.batch), way):
        group = faces[start : start + arguments.batch]
        conditions = {name: [face.conditions[name] for face in group] for name in pipe.modalities}
        started = time.perf_counter()
        images = pipe(
            conditions,
            num_inference_steps=steps,
            guidance_scale=arguments.guidance,
            generator=[generators(start + index, 1)[0] for index in range(len(group))],
            output_type="pt",
        ).images
        seconds += time.perf_counter() - started
        parts.append(judge.scores(images.float() * 2 - 1, group))
    return {metric: np.concatenate([part[metric] for part in parts]) for metric in METRICS}, seconds


def report(results: dict[str, tuple[Scores, float]], arguments: argparse.Namespace) -> str:
    """The tables as Markdown."""
    reference, reference_seconds = results[REFERENCE]
    header = " | ".join(METRICS)
    rows, differences = [], []
    for way, (scores, seconds) in results.items():
        accuracies = " | ".join(mean_interval(scores[metric]).percent() for metric in METRICS)
        rows.append(f"| {way} | {accuracies} | {seconds / reference_seconds:.2f} |")
        if way != REFERENCE:
            pairs = [difference_interval(scores[metric], reference[metric]) for metric in METRICS]
            shown = [pair.signed() for pair in pairs]
            differences.append(f"| {way} | {' | '.join(shown)} |")
    lines = [
        f"{arguments.faces} validation faces, all modalities, guidance {arguments.guidance}, seeds 0.."
        f"{arguments.faces - 1}, {machine()}. Accuracies in percent with bootstrap 95% intervals; time is a ratio to "
        "the first row.",
        "",
        f"| way | {header} | time |",
        "|---|---|---|---|---|",
        *rows,
        "",
        f"| minus the first row | {header} |",
        "|---|---|---|---|",
        *differences,
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo", help="'demo', a folder or a hub id")
    parser.add_argument("--faces", type=int, default=300)
    parser.add_argument("--guidance", type=float, default=2.0)
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--out", type=Path, default=Path("docs/fewer-steps.md"))
    arguments = parser.parse_args()
    folder = find_model(arguments.model)
    size = CollaborativePipeline.from_pretrained(folder).vae.config.sample_size
    faces = list(ProceduralFaces("validation", size, limit=arguments.faces))
    text = report({way: scores_of(way, folder, faces, arguments) for way in WAYS}, arguments)
    with written_aside(arguments.out) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
