"""The files of an edit: its images, the whole photos, the overview, and how a strength was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from codiff.cli.edit_plan import Plan
from codiff.cli.outputs import Signer, save_png
from codiff.editing import Edit
from codiff.editing.curve import curve_picture, trials_picture
from codiff.editing.strength import StrengthSearch, told
from codiff.figures import overview
from codiff.pipeline import CollaborativePipeline

_SIDE = 256  # of a picture in a grid


def write_edit(
    pipe: CollaborativePipeline,
    plan: Plan,
    strengths: Mapping[str, float],
    edits: Sequence[Edit],
    search: StrengthSearch | None,
    signer: Signer | None,
) -> None:
    """Write all that an edit has come to, at the places that its plan names.

    Args:
        strengths: by modality.
        edits: in the order of the plan's seeds, all of the same region.
        search: how the strengths were found; None where they were given.
        signer: signs the pictures.
    """
    metadata = plan.metadata(strengths)
    images = [image for edit in edits for image in edit.images]
    region = None if edits[0].region is None else edits[0].region[0, 0].cpu().numpy()
    for seed, image in zip(plan.outputs.seeds, images, strict=True):
        save_png(image, plan.outputs.image(seed), {"seed": seed, **metadata}, signer)
        if plan.wanted.framed.is_part:
            whole = plan.wanted.framed.put_back(image, region)
            save_png(whole, plan.outputs.figure(seed, "photo"), {"figure": "photo", "seed": seed, **metadata}, signer)
    _write_grid(pipe, plan, strengths, images, region, signer)
    if search is not None:
        name, before = plan.wanted.kind.strength, Image.fromarray(plan.photo.pixels[0])
        save_png(curve_picture(search, name), plan.extra("curve"), {"figure": "curve", **metadata}, signer)
        save_png(trials_picture(search, before, name), plan.extra("strip"), {"figure": "strip", **metadata}, signer)


def _write_grid(
    pipe: CollaborativePipeline,
    plan: Plan,
    strengths: Mapping[str, float],
    images: Sequence[Image.Image],
    region: np.ndarray | None,
    signer: Signer | None,
) -> None:
    seeds = plan.outputs.seeds
    shown, captions = [Image.fromarray(plan.photo.pixels[0])], ["before"]
    if region is not None:
        shown.append(Image.fromarray((region * 255).astype(np.uint8)).convert("RGB"))
        captions.append("region")
    how = f"{plan.wanted.editor}, {plan.wanted.kind.strength} {told(strengths)}; {plan.settings}"
    captions += [f"seed {seed}" for seed in seeds]
    picture = overview(plan.cards(pipe), [*shown, *images], captions, how, _SIDE)
    metadata = {"figure": "grid", "seeds": list(seeds), **plan.metadata(strengths)}
    save_png(picture, plan.outputs.grid, metadata, signer)
