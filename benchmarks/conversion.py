"""Memory and time of converting and loading a full-size model: `python -m benchmarks.conversion`.

Writes a collaborative checkpoint in the published layout with random weights (4.4 GB), converts it and loads the
result, each in a process of its own, and prints the peak of that process's memory beside the size of what it handled.
With --generate it also makes an image in two steps.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.child_process import in_child, peak_memory
from codiff import CollaborativePipeline
from codiff.convert import Description, convert, preset_description
from codiff.convert.parts import Part, composed_parts
from codiff.convert.schedule import schedule_buffers
from codiff.convert.sources import told_by_name

MEBIBYTE = 2**20
KEPT = "weights {weights:.0f} MiB, largest part {largest:.0f} MiB"


def write_checkpoint(path: Path, description: Description) -> None:
    """A random file with every key that a published one has."""
    state: dict[str, Tensor] = {name: value.float() for name, value in schedule_buffers(description.scheduler).items()}
    generator = torch.Generator().manual_seed(0)
    for part in composed_parts(description):
        for name, shape in part.shapes().items():
            scale = 0.02 if len(shape) > 1 else 0.1
            center = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            state[part.keys[name]] = center + scale * torch.randn(shape, generator=generator)
    vocabulary, width = 30522, 640
    prefix = "cond_stage_model.text_cond_stage_model.transformer.to_logits"
    state |= {f"{prefix}.weight": torch.zeros(vocabulary, width), f"{prefix}.bias": torch.zeros(vocabulary)}
    torch.save({"epoch": 0, "global_step": 0, "pytorch-lightning_version": "1.4.2", "state_dict": state}, path)


def bytes_of(part: Part) -> int:
    return sum(shape.numel() * 4 for shape in part.shapes().values())


def run_stage(arguments: argparse.Namespace) -> None:
    checkpoint, model = arguments.folder / "checkpoints", arguments.folder / "model"
    started = time.perf_counter()
    if arguments.stage == "convert":
        size = arguments.preset.rpartition("-")[2]
        convert(checkpoint, model, preset_description(arguments.preset), name=size, vocabulary=arguments.vocab)
    else:
        pipe = CollaborativePipeline.from_pretrained(model)
        seconds = time.perf_counter() - started
        if arguments.stage == "generate":
            labels = torch.zeros(512, 512, dtype=torch.int64)
            labels[128:384, 128:384] = 1
            conditions = {"mask": labels} | ({"text": "a long beard"} if arguments.vocab else {})
            pipe(conditions, num_inference_steps=2, generator=torch.Generator().manual_seed(0))
        else:
            for value in pipe.collaborators.parameters():  # touch every page, as a first image would
                value.sum()
            started = time.perf_counter() - seconds
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "peak": peak_memory()}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="celebahq-512")
    parser.add_argument("--vocab", help="BERT's vocab.txt")
    parser.add_argument("--folder", type=Path, help="where to work and leave the files; a temporary folder without")
    parser.add_argument("--generate", action="store_true")
    parser.add_argument("--stage", choices=("convert", "load", "generate"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stage is not None:
        run_stage(arguments)
        return
    with tempfile.TemporaryDirectory() as temporary:
        arguments.folder = arguments.folder or Path(temporary)
        measure(arguments)


def measure(arguments: argparse.Namespace) -> None:
    checkpoint = arguments.folder / "checkpoints" / f"{arguments.preset.rpartition('-')[2]}_codiff_mask_text.ckpt"
    description = told_by_name(checkpoint, preset_description(arguments.preset))
    if not checkpoint.exists():
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        write_checkpoint(checkpoint, description)
    sizes = [bytes_of(part) / MEBIBYTE for part in composed_parts(description)]
    print(f"{arguments.preset}: {KEPT.format(weights=sum(sizes), largest=max(sizes))}")
    print("| stage | seconds | peak MiB | of the largest part | of all weights |\n|---|---|---|---|---|")
    options = ["--folder", str(arguments.folder), "--preset", arguments.preset]
    options += ["--vocab", arguments.vocab] if arguments.vocab else []
    for stage in ("convert", "load", *(["generate"] if arguments.generate else [])):
        measured = in_child("conversion", "--stage", stage, *options)
        share, whole = measured["peak"] / max(sizes), measured["peak"] / sum(sizes)
        cells = (stage, f"{measured['seconds']:.1f}", f"{measured['peak']:.0f}", f"{share:.2f}", f"{whole:.2f}")
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
