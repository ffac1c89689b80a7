"""Does an edit keep the person? Colours of drawn faces against the renderer's own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codiff.data.face_attributes import Face
from codiff.data.face_canvas import Colour
from codiff.data.face_portrait import CLOTH_COLOURS, EYE_COLOURS, HAIR_COLOURS, LABEL
from codiff.data.face_renderer import render
from codiff.errors import InputError
from codiff.evaluation.inputs import check_images
from codiff.evaluation.intervals import Estimate, mean_interval
from codiff.pixels import to_uint8

REGIONS: Mapping[str, tuple[str, ...]] = {
    "skin": ("skin", "nose", "neck", "left_ear", "right_ear"),
    "hair": ("hair",),
    "eyes": ("left_eye", "right_eye", "eyeglass"),
    "cloth": ("cloth",),
}
"""Which parts of the mask show each colour of an identity."""

_LEAST_CHANGE = 8  # levels: below it nothing of the colour shows


def identity_error(images: Tensor, faces: Sequence[Face]) -> dict[str, Tensor]:
    """How far skin, hair, eyes and cloth are from their true colours: region -> (batch,) in [0, 255], the root mean
    square over red, green and blue of the difference between the mean colours of image and drawing; lower is better.
    There is no reference but the renderer, which is exact.

    A region is where the drawing would change most if that colour were another one. Beards, wrinkles and grey hair that
    the face is meant to have are therefore not held against it; a region of which nothing shows (the hair of the bald
    or the grey) is NaN. Pictures that do not follow the face's mask are read in the wrong places, eyes first of all.

    Args:
        images: (batch, 3, size, size) in [-1, 1].
        faces: the face that each image should show. For an edit, the original with its new description:
            `dataclasses.replace(face, description=wanted)`.

    Raises:
        InputError: no images, images that are not square, or another number of faces.
    """
    check_images(images)
    if len(images) != len(faces):
        raise InputError(f"{len(images)} images but {len(faces)} faces; each image needs its face")
    if images.shape[2] != images.shape[3]:
        raise InputError(f"images of {images.shape[3]} x {images.shape[2]} pixels; drawn faces are square")
    pictures = to_uint8(images)
    rows = [_errors(picture, face) for picture, face in zip(pictures, faces, strict=True)]
    return {region: torch.tensor([row[region] for row in rows], dtype=torch.float64) for region in REGIONS}


def identity_estimates(errors: Mapping[str, Tensor]) -> dict[str, Estimate]:
    """Region -> mean error with its interval over the images where the region shows; regions that never do are left
    out."""
    shown = {region: values[torch.isfinite(values)].numpy() for region, values in errors.items()}
    return {region: mean_interval(values) for region, values in shown.items() if len(values)}


def _errors(picture: NDArray[np.uint8], face: Face) -> dict[str, float]:
    true = render(face, len(picture))
    found = {}
    for region, parts in REGIONS.items():
        other = render(_recoloured(face, region), len(picture)).image
        change = np.abs(other.astype(np.int64) - true.image).max(axis=2)
        change[~np.isin(true.mask, [LABEL[part] for part in parts])] = 0
        if change.max() < _LEAST_CHANGE:
            found[region] = math.nan
            continue
        where = change >= change.max() / 2  # the rest is shadow, gloss and edges
        difference = picture[where].mean(axis=0) - true.image[where].mean(axis=0)
        found[region] = float(np.sqrt((difference**2).mean()))
    return found


def _recoloured(face: Face, region: str) -> Face:
    """The same face with the colour of one region that is farthest from its own."""
    own = face.identity
    changed = {
        "skin": replace(own, skin=0.0 if own.skin > 0.5 else 1.0),
        "hair": replace(own, hair=_farthest(HAIR_COLOURS, own.hair)),
        "eyes": replace(own, eyes=_farthest(EYE_COLOURS, own.eyes)),
        "cloth": replace(own, cloth=_farthest(CLOTH_COLOURS, own.cloth)),
    }
    return replace(face, identity=changed[region])


def _farthest(colours: Sequence[Colour], index: int) -> int:
    palette = np.array(colours)
    return int(((palette - palette[index]) ** 2).sum(axis=1).argmax())
