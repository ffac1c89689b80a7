"""Draw the pictures that README and docs show: `python -m benchmarks.pictures`. Look at them before committing them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from codiff import CollaborativePipeline, generators
from codiff.composition import learned_rules, rule
from codiff.data.face_sheet import face_sheet
from codiff.data.faces import FaceExample, ProceduralFaces
from codiff.figures import below, beside, influence_overlays, influence_strips, on_paper, table, words
from codiff.files import written_aside
from codiff.pixels import from_uint8

SHOWN = (0, 10, 18, 19, 27, 34)  # validation faces: the examples
STEPS, GUIDANCE = 25, 2.0
SIDE, CAPTION_WIDTH = 112, 170  # pixels


def save(picture: Image.Image, path: Path) -> None:
    """Write a PNG, whole or not at all."""
    with written_aside(path) as temporary:
        picture.save(temporary, format="PNG", optimize=True)


def conditions_of(pipe: CollaborativePipeline, face: FaceExample) -> dict[str, Any]:
    """All conditions of one face."""
    return {modality: face.conditions[modality] for modality in pipe.modalities}


def condition_pictures(pipe: CollaborativePipeline, conditions: dict[str, Any], size: int) -> list[Image.Image]:
    """The conditions that can be drawn."""
    drawn = []
    for modality, raw in conditions.items():
        encoder = pipe.collaborators[modality].encoder
        picture = encoder.picture(encoder.read(raw), size)
        if picture is not None:
            drawn.append(picture)
    return drawn


def captioned(rows: list[list[Image.Image]], captions: list[str], names: list[str]) -> Image.Image:
    """Rows of pictures under the names of their columns, each with its caption, wrapped, at the left."""
    first = beside([words(captions[0], CAPTION_WIDTH), table([rows[0]], column_titles=names, side=SIDE)], align=0.5)
    others = [
        beside([words(caption, CAPTION_WIDTH), table([row], side=SIDE)], align=0.5)
        for row, caption in zip(rows[1:], captions[1:], strict=True)
    ]
    return below([first, *others])


def obedience_grid(pipe: CollaborativePipeline, faces: list[FaceExample], seeds: int) -> Image.Image:
    """One row a face: its conditions, what they make with several seeds, and the drawing they were taken from."""
    rows, captions = [], []
    for face in faces:
        conditions = conditions_of(pipe, face)
        made = pipe(
            conditions, num_inference_steps=STEPS, guidance_scale=GUIDANCE, generator=generators(0, seeds)
        ).images
        drawn = condition_pictures(pipe, conditions, face.image.shape[0])
        rows.append([*drawn, *made, Image.fromarray(face.image)])
        captions.append(face.caption)
    names = [""] * len(drawn) + [f"seed {seed}" for seed in range(seeds)] + ["the drawing"]
    return captioned(rows, captions, names)


def rules_grid(pipe: CollaborativePipeline, faces: list[FaceExample]) -> Image.Image:
    """One row a face: each collaborator alone, their mean, and the rules that the model learned, its own one last."""
    columns: dict[str, tuple[str, list[str]]] = {f"{m} alone": ("mean", [m]) for m in pipe.modalities}
    columns |= {name: (name, pipe.modalities) for name in ("mean", *reversed(learned_rules(pipe.dynamic_diffusers)))}
    rows = []
    for face in faces:
        row = [Image.fromarray(face.image)]
        for name, modalities in columns.values():
            given = {modality: face.conditions[modality] for modality in modalities}
            composition = rule(name, pipe.collaborators, pipe.dynamic_diffusers)
            row += pipe(
                given,
                num_inference_steps=STEPS,
                guidance_scale=GUIDANCE,
                composition=composition,
                generator=generators(0, 1),
            ).images
        rows.append(row)
    return captioned(rows, [face.caption for face in faces], ["the drawing", *columns])


def who_decided(pipe: CollaborativePipeline, face: FaceExample) -> Image.Image:
    """The influence of each modality over the steps, and over the image that it led to."""
    timesteps: list[str] = []
    out = pipe(
        conditions_of(pipe, face),
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        generator=generators(0, 1),
        callback_on_step_end=lambda _pipe, _step, timestep, _latents: timesteps.append(str(int(timestep))),
        return_influences=True,
    )
    influences = {name: steps[:, 0, 0].numpy() for name, steps in (out.influences or {}).items()}
    means = {name: maps.mean(axis=0) for name, maps in influences.items()}
    return below([influence_strips(influences, timesteps), influence_overlays(out.images[0], means)])


@torch.no_grad()
def reconstructions(pipe: CollaborativePipeline, faces: list[FaceExample]) -> Image.Image:
    """Drawings and what the autoencoder keeps of them."""
    pictures = from_uint8(np.stack([face.image for face in faces]))
    latents = pipe.vae.encode(pictures).latent_dist.mean * pipe.vae.config.scaling_factor
    drawn = [Image.fromarray(face.image) for face in faces]
    return table([drawn, pipe.decode(latents)], row_titles=["drawing", "decoded"], side=SIDE)


def asked(description: str | None) -> tuple[CollaborativePipeline, ProceduralFaces, Path]:
    """What a command that draws is given: --model, validation faces of its size, and --out."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    arguments = parser.parse_args()
    pipe = CollaborativePipeline.from_pretrained(arguments.model)
    pipe.set_progress_bar_config(disable=True)
    return pipe, ProceduralFaces("validation", pipe.vae.config.sample_size), arguments.out


def main() -> None:
    """Draw everything into --out."""
    pipe, dataset, out = asked(__doc__)
    faces = [dataset[item] for item in SHOWN]
    save(face_sheet(12), out / "faces.png")
    save(on_paper(obedience_grid(pipe, faces, 4)), out / "grid.png")
    save(on_paper(rules_grid(pipe, faces[:4])), out / "rules.png")
    save(who_decided(pipe, faces[0]), out / "influences.png")
    save(on_paper(reconstructions(pipe, faces)), out / "reconstructions.png")
    print(f"pictures are in {out}")


if __name__ == "__main__":
    main()
