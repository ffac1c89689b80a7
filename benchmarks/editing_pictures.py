"""Draw the pictures of docs/editing.md: `python -m benchmarks.editing_pictures`. Look at them before committing them.

Prints what the judges and the renderer say of each edit, and the seconds that it took. What imagic learns is kept in
--cache, so an interrupted run goes on where it was.
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.demo_quality import Judge
from benchmarks.edit_tasks import Task, edited, lacks_region, task_of
from benchmarks.pictures import save
from codiff import CollaborativePipeline
from codiff.data.face_attributes import Description
from codiff.data.faces import ProceduralFaces
from codiff.editing import Sampling
from codiff.editing.editors import EDITORS
from codiff.evaluation.identity_error import identity_error
from codiff.figures import on_paper, table
from codiff.main import main as codiff_command
from codiff.model_files import find_model
from codiff.pixels import from_uint8

SAMPLING = Sampling(num_inference_steps=25, guidance_scale=2.0)


def tasks(size: int) -> list[Task]:
    """Of text, of the mask, and of both."""
    faces = ProceduralFaces("validation", size)
    old = Description(age="seventies", beard="long", gender="man")
    young = Description(age="young", beard="none", gender="man")
    return [
        task_of("text", faces[10], description=old),
        task_of("mask", faces[10], hair_style="long", smile=1.0),
        task_of("both", faces[0], description=young, hair_style="short", glasses="none"),
    ]


def compared(pipe: CollaborativePipeline, size: int, cache: Path) -> Image.Image:
    """A row for each edit: photo, what each editor makes of it, and the drawing of the same person with the target."""
    judge, rows, captions = Judge(find_model("demo")), [], []
    for task in tasks(size):
        row, notes = [Image.fromarray(task.before.image)], [""]
        for name in EDITORS:
            if lacks_region(name, task):
                row.append(Image.new("RGB", (size, size), (255, 255, 255)))
                notes.append("needs a region")
                continue
            started = time.process_time()
            learned = cache / f"{task.name}-edit.safetensors"
            result = edited(pipe, name, task, learned=learned, sampling=SAMPLING)
            told = _scores(judge, result.images[0], task)
            print(f"{task.name}, {name}: {told}, {time.process_time() - started:.1f} s of one core, {result.measured}")
            row.append(result.images[0])
            notes.append(told)
        rows.append([*row, Image.fromarray(task.after.image)])
        captions.append([*notes, ""])
    heads = ["photo", *EDITORS, "the drawing"]
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
