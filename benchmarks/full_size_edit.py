"""What learning a picture costs with a full-size model: `python -m benchmarks.full_size_edit --model FOLDER`.

FOLDER is a converted 512 model, as `python -m benchmarks.conversion --folder DIR` leaves one with random weights in
DIR/model. Imagic learns a mask and a caption, by LoRA and by fine-tuning whole UNets as published, each in a process of
its own. Prints the median seconds of a step of both stages, the peak of the process's memory with the model and the
autoencoder in it, and the bytes that are kept for another edit. On an accelerator (--device cuda) the memory is the
device's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from benchmarks.child_process import in_child, peak_memory
from benchmarks.machine import machine
from codiff import CollaborativePipeline, generators
from codiff.editing import Sampling, imagic, learning_for

WAYS = {"LoRA": False, "whole UNets, as published": True}


def learned(way: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Seconds of a step of both stages, memory and bytes of one way."""
    pipe = CollaborativePipeline.from_pretrained(arguments.model).to(arguments.device)
    pipe.set_progress_bar_config(disable=True)
    settings = replace(
        learning_for(pipe, full=WAYS[way]), token_steps=arguments.steps, model_steps=arguments.steps, batch_size=1
    )
    size = pipe.vae.config.sample_size
    labels = torch.zeros(size, size, dtype=torch.int64)
    labels[size // 4 : -size // 4, size // 4 : -size // 4] = 1
    photo = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    marks: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "edit.safetensors"
        imagic(
            pipe,
            photo,
            {"mask": labels, "text": torch.ones(1, 77, dtype=torch.int64)},
            learning=settings,
            save_to=kept,
            generator=generators(0, 1),
            sampling=Sampling(num_inference_steps=1),
            on_learning=lambda _done, _total, _loss: marks.append(time.perf_counter()),
        )
        size_kept = kept.stat().st_size
    spent = [later - earlier for earlier, later in pairwise(marks)]
    stages = {"tokens": spent[: arguments.steps - 1], "weights": spent[arguments.steps : 2 * arguments.steps - 1]}
    on_device = torch.device(arguments.device).type == "cuda"
    memory = torch.cuda.max_memory_allocated() / 2**20 if on_device else peak_memory()
    return {**{name: statistics.median(each) for name, each in stages.items()}, "memory": memory, "bytes": size_kept}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of a converted model")
    parser.add_argument("--steps", type=int, default=4, help="of each stage and modality; the first warms up")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way is not None:
        print(json.dumps(learned(arguments.way, arguments)))
        return
    print(f"mask and caption, batch 1, {arguments.device}, {machine()}, median of {arguments.steps - 1}\n")
    print("| | step of tokens, s | step of weights, s | peak, GiB | kept, MB |\n|---|---|---|---|---|")
    options = ["--model", str(arguments.model), "--steps", str(arguments.steps), "--device", arguments.device]
    for way in WAYS:
        told = in_child("full_size_edit", "--way", way, *options)
        cells = [f"{told['tokens']:.2f}", f"{told['weights']:.2f}", f"{told['memory'] / 1024:.1f}"]
        print(f"| {way} | {' | '.join(cells)} | {told['bytes'] / 1e6:.0f} |", flush=True)


if __name__ == "__main__":
    main()
