"""Draw the pictures of docs/editing.md: `python -m benchmarks.editing_pictures`. Look at them before committing them.

Prints what the judges and the renderer say of each edit, and the seconds that it took. What imagic learns is kept in
--cache, so an interrupted run goes on where it was.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.demo_quality import Judge
from benchmarks.pictures import save
from codiff import CollaborativePipeline, generators
from codiff.data.face_attributes import Description, Face
from codiff.data.face_captions import caption
from codiff.data.face_renderer import render
from codiff.data.faces import FaceExample, ProceduralFaces
from codiff.editing import Edit, Learned, Sampling, blended, ddim_inversion, diffedit, imagic, sdedit
from codiff.evaluation.identity_error import identity_error
from codiff.figures import on_paper, table
from codiff.main import main as codiff_command
from codiff.model_files import find_model
from codiff.pixels import from_uint8

SAMPLING = Sampling(num_inference_steps=25, guidance_scale=2.0)
SIDE = 128  # pixels


@dataclass(frozen=True)
class Task:
    """One edit of one validation face.

    Attributes:
        name: for files and rows.
        before: the face as it is.
        after: the same person with the new description and layout.
        modalities: which of them the target tells.
    """

    name: str
    before: FaceExample
    after: FaceExample
    modalities: tuple[str, ...]

    @property
    def target(self) -> dict[str, Any]:
        """What the edit is told."""
        return {modality: self.after.conditions[modality] for modality in self.modalities}

    @property
    def source(self) -> dict[str, Any]:
        """What the photo shows, of the same modalities."""
        return {modality: self.before.conditions[modality] for modality in self.modalities}


def tasks(size: int) -> list[Task]:
    """Of text, of the mask, and of both."""
    faces = ProceduralFaces("validation", size)
    old = Description(age="seventies", beard="long", gender="man")
    young = Description(age="young", beard="none", gender="man")
    return [
        _task("text", faces[10], ("text",), description=old),
        _task("mask", faces[10], ("mask",), hair_style="long", smile=1.0),
        _task("both", faces[0], ("text", "mask"), description=young, hair_style="short", glasses="none"),
    ]


def _task(
    name: str,
    before: FaceExample,
    modalities: tuple[str, ...],
    *,
    description: Description | None = None,
    **layout: Any,
) -> Task:
    description = description or before.face.description
    face: Face = replace(before.face, description=description, layout=replace(before.face.layout, **layout))
    drawn = render(face, before.image.shape[0])
    after = FaceExample(drawn.image, drawn.mask, drawn.sketch, caption(face), face)
    return Task(name, before, after, modalities)


def editors(cache: Path) -> dict[str, Callable[[CollaborativePipeline, Task], Edit | None]]:
    """Name -> editor at its defaults; None where it needs a region that nothing tells."""
    return {
        "imagic": partial(_imagic, cache),
        "sdedit": lambda pipe, task: sdedit(pipe, task.before.image, task.target, **_common()),
        "ddim-inversion": lambda pipe, task: ddim_inversion(
            pipe, task.before.image, task.target, source=task.source, **_common()
        ),
        "blended": _blended,
        "diffedit": lambda pipe, task: diffedit(pipe, task.before.image, task.target, source=task.source, **_common()),
    }


def _common() -> dict[str, Any]:
    return {"generator": generators(0, 1), "sampling": SAMPLING}


def _imagic(cache: Path, pipe: CollaborativePipeline, task: Task) -> Edit:
    path = cache / f"{task.name}-edit.safetensors"
    learned = Learned.load(path) if path.exists() else None
    return imagic(pipe, task.before.image, task.target, learned=learned, save_to=path, start="inversion", **_common())


def _blended(pipe: CollaborativePipeline, task: Task) -> Edit | None:
    if "mask" not in task.modalities:
        return None
    return blended(pipe, task.before.image, task.target, source=task.source, **_common())


def compared(pipe: CollaborativePipeline, size: int, cache: Path) -> Image.Image:
    """A row for each edit: photo, what each editor makes of it, and the drawing of the same person with the target."""
    judge, rows, captions = Judge(find_model("demo")), [], []
    made = editors(cache)
    for task in tasks(size):
        row, notes = [Image.fromarray(task.before.image)], [""]
        for name, edit in made.items():
            started = time.process_time()
            result = edit(pipe, task)
            if result is None:
                row.append(Image.new("RGB", (size, size), (255, 255, 255)))
                notes.append("needs a region")
                continue
            told = _scores(judge, result.images[0], task)
            print(f"{task.name}, {name}: {told}, {time.process_time() - started:.1f} s of one core, {result.measured}")
            row.append(result.images[0])
            notes.append(told)
        rows.append([*row, Image.fromarray(task.after.image)])
        captions.append([*notes, ""])
    heads = ["photo", *made, "the drawing"]
    return on_paper(table(rows, row_titles=[task.name for task in tasks(size)], column_titles=heads, captions=captions))


@torch.no_grad()
def _scores(judge: Judge, image: Image.Image, task: Task) -> str:
    pictures = from_uint8(np.asarray(image)[None])
    scores = judge.scores(pictures, [task.after])
    obeyed = [f"mask {float(scores['mask'][0]):.0%}"] if "mask" in task.modalities else []
    if "text" in task.modalities:
        obeyed.append(f"text {int(scores['beard'][0] + scores['age'][0])}/2")
    errors = [float(values[0]) for values in identity_error(pictures, [task.after.face]).values()]
    return f"{', '.join(obeyed)}, colours off by {np.nanmean(errors):.0f}"


def searched(size: int, cache: Path, out: Path) -> None:
    """The curve and the strip of `codiff edit --strength auto` for the edit of both modalities."""
    task = tasks(size)[-1]
    save(Image.fromarray(task.before.image), cache / "photo.png")
    Image.fromarray(task.after.mask).save(cache / "mask.png")
    folder = cache / "auto"
    arguments = [
        *("edit", str(cache / "photo.png"), "--text", task.after.caption, "--mask", str(cache / "mask.png")),
        *("--learned", str(cache / f"{task.name}-edit.safetensors"), "--strength", "auto", "--out", str(folder)),
    ]
    if codiff_command(arguments):
        raise SystemExit("codiff edit failed")
    for kind in ("curve", "strip"):
        newest = max(folder.glob(f"*-{kind}.png"), key=lambda path: path.stat().st_mtime)
        shutil.copyfile(newest, out / f"edit-{kind}.png")


def main() -> None:
    """Draw everything into --out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--cache", type=Path, default=Path("runs/editing-pictures"))
    arguments = parser.parse_args()
    pipe = CollaborativePipeline.from_pretrained("demo")
    pipe.set_progress_bar_config(disable=True)
    size = pipe.vae.config.sample_size
    arguments.cache.mkdir(parents=True, exist_ok=True)
    save(compared(pipe, size, arguments.cache), arguments.out / "edits.png")
    searched(size, arguments.cache, arguments.out)
    print(f"pictures are in {arguments.out}")


if __name__ == "__main__":
    main()
