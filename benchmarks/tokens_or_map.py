"""Cross-attention tokens against a spatial map at equal training: `python -m benchmarks.tokens_or_map`.

Trains the mask's collaborator four times by the preset, equally long: its tokens read by cross-attention alone or also
as a map beside the latents, from random weights or from the text collaborator's. Prints and saves the mask accuracy of
each alone on the same validation faces and noise, with bootstrap 95% intervals, paired differences, and a picture of
what each draws. The autoencoder and the text collaborator of --runs must be trained; an interrupted run goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDPMScheduler, DPMSolverMultistepScheduler
from numpy.typing import NDArray
from PIL import Image

from benchmarks.machine import machine
from codiff import CollaborativePipeline, Collaborator, Collaborators, FaceParser, generators
from codiff.data.faces import FaceExample, ProceduralFaces
from codiff.evaluation.intervals import difference_interval, mean_interval
from codiff.evaluation.mask_accuracy import mask_accuracy
from codiff.figures import on_paper, table
from codiff.files import written_aside
from codiff.model_files import find_model
from codiff.pixels import to_uint8
from codiff.training.loop import train
from codiff.training.recipes import stage_for
from codiff.training.settings import read_preset

MODALITY = "mask"
ARMS = {
    "tokens, from scratch": ["spatial=0", "initial=none"],
    "tokens, from the text model": ["spatial=0"],
    "tokens and map, from scratch": ["initial=none"],
    "tokens and map, from the text model": [],
}
FIRST = next(iter(ARMS))
STEPS, GUIDANCE, SHOWN = 25, 2.0, 8


def trained(arm: str, arguments: argparse.Namespace) -> Collaborator:
    """The collaborator of one arm."""
    folder = arguments.out_runs / arm.replace(", ", "-").replace(" ", "-")
    loop = [f"loop.{name}={arguments.steps}" for name in ("steps", "checkpoint_every", "picture_every")]
    overrides = [*ARMS[arm], *loop, "loop.ema_decay=0.98"]
    stage = stage_for(read_preset(arguments.preset), "collaborator", arguments.runs, MODALITY, overrides)
    return Collaborator.from_pretrained(train(stage, folder)).eval()


def drawn(model: Collaborator, vae: AutoencoderKL, preset: str, faces: list[FaceExample], batch: int) -> torch.Tensor:
    """What a collaborator alone makes of the faces' masks: (faces, 3, h, w) in [-1, 1]."""
    schedule = DDPMScheduler(**read_preset(preset)["schedule"])
    scheduler = DPMSolverMultistepScheduler.from_config(schedule.config)
    pipe = CollaborativePipeline(vae, Collaborators.of({MODALITY: model}), None, scheduler)
    pipe.set_progress_bar_config(disable=True)
    images = []
    for start in range(0, len(faces), batch):
        group = faces[start : start + batch]
        output = pipe(
            {MODALITY: [face.conditions[MODALITY] for face in group]},
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            generator=generators(start, len(group)),
            output_type="pt",
        )
        images.append(output.images * 2 - 1)
    return torch.cat(images)


def report(scores: dict[str, NDArray[np.float64]], arguments: argparse.Namespace) -> str:
    """The table as Markdown."""
    rows = []
    for arm, values in scores.items():
        minus = difference_interval(values, scores[FIRST])
        shown = "" if arm == FIRST else minus.signed()
        rows.append(f"| {arm} | {mean_interval(values).percent()} | {shown} |")
    lines = [
        "# Tokens by cross-attention, or also as a map?",
        "",
        "The published models read every condition by cross-attention alone. A collaborator here may also read its "
        "tokens as a map beside the latents, and may start from another collaborator's weights. The two are separated "
        "by training the mask's collaborator four times, equally long: `python -m benchmarks.tokens_or_map`.",
        "",
        f"The mask's collaborator alone after {arguments.steps} training steps, on {arguments.faces} validation faces: "
        f"{STEPS} steps of DPM-Solver++, guidance {GUIDANCE}, seeds 0..{arguments.faces - 1}, "
        f"{machine()}. Mask accuracy in percent with "
        "bootstrap 95% intervals.",
        "",
        "| how the mask is read | mask accuracy | minus the first |",
        "|---|---|---|",
        *rows,
        "",
        "![The same masks and noise after each training](images/tokens-or-map.png)",
    ]
    return "\n".join(lines) + "\n"


def picture(images: dict[str, torch.Tensor], faces: list[FaceExample], encoder: Collaborator) -> Image.Image:
    """Masks above, what each arm draws below."""
    side = 112
    masks = [encoder.encoder.picture(encoder.encoder.read(face.conditions[MODALITY]), side) for face in faces[:SHOWN]]
    rows = [[each for each in masks if each is not None]]
    rows += [[Image.fromarray(image) for image in to_uint8(pictures[:SHOWN])] for pictures in images.values()]
    return on_paper(table(rows, row_titles=[MODALITY, *images], side=side))


def main() -> None:
    """Train, measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="demo-128")
    parser.add_argument("--runs", type=Path, default=Path("runs/demo-128"), help="with the VAE and the text model")
    parser.add_argument("--out-runs", type=Path, default=Path("runs/tokens-or-map"), help="folder of the trainings")
    parser.add_argument("--steps", type=int, default=300, help="training steps of each")
    parser.add_argument("--faces", type=int, default=150)
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--out", type=Path, default=Path("docs"))
    arguments = parser.parse_args()
    faces = list(ProceduralFaces("validation", 128, limit=arguments.faces))
    truth = torch.from_numpy(np.stack([face.mask for face in faces])).long()
    judge = FaceParser.from_pretrained(find_model("demo") / "face_parser", torch_dtype=torch.float32).eval()
    vae = AutoencoderKL.from_pretrained(arguments.runs / "vae" / "model").eval()
    scores, images = {}, {}
    for arm in ARMS:
        model = trained(arm, arguments)
        images[arm] = drawn(model, vae, arguments.preset, faces, arguments.batch)
        parts = [slice(start, start + arguments.batch) for start in range(0, len(faces), arguments.batch)]
        accuracy = torch.cat([mask_accuracy(judge, images[arm][part], truth[part]) for part in parts])
        scores[arm] = accuracy.double().numpy()
    text = report(scores, arguments)
    with written_aside(arguments.out / "tokens-or-map.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    with written_aside(arguments.out / "images" / "tokens-or-map.png") as temporary:
        picture(images, faces, model).save(temporary, format="PNG", optimize=True)
    print(text)


if __name__ == "__main__":
    main()
