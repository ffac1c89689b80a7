"""Masks of CelebAMask-HQ: one label map of the pictures of single parts, or of the published one-hot tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codiff.errors import InputError
from codiff.image_files import open_raw
from codiff.modalities.mask import read_labels
from codiff.tensor_files import load_tensor

PARTS = (
    "skin",
    "nose",
    "eye_g",
    "l_eye",
    "r_eye",
    "l_brow",
    "r_brow",
    "l_ear",
    "r_ear",
    "mouth",
    "u_lip",
    "l_lip",
    "hair",
    "hat",
    "ear_r",
    "neck_l",
    "neck",
    "cloth",
)
"""Parts by the names of their files, in the data set's own order: number k (from 0) has label k + 1."""

LABELS = {part: number for number, part in enumerate(PARTS, start=1)}
ALWAYS = "skin"  # the one part that every face has

_ONE_HOT = (19, 1024)  # classes, 32 x 32 pixels row by row


def compose(parts: Mapping[str, NDArray[np.bool_]]) -> NDArray[np.uint8]:
    """One label map uint8 (h, w) in 0..18 of the parts that a face has, each boolean (h, w).

    Where parts overlap, the later one in `PARTS` wins, as in the data set's own script; what belongs to no part is
    background, 0. Source: Lee et al., "MaskGAN: Towards Diverse and Interactive Facial Image Manipulation", CVPR 2020,
    and the label script published with CelebAMask-HQ.

    Raises:
        InputError: no part, an unknown one, or parts of different sizes.
    """
    unknown = sorted(parts.keys() - LABELS.keys())
    if unknown:
        raise InputError(f"mask: unknown part {unknown[0]!r}; the parts are {', '.join(PARTS)}")
    sizes = {part.shape for part in parts.values()}
    if len(sizes) != 1:
        found = ", ".join(f"{name} {_pixels(part.shape)}" for name, part in sorted(parts.items())) or "none"
        raise InputError(f"mask: parts of one size are expected, found: {found}")
    labels = np.zeros(sizes.pop(), np.uint8)
    for name in PARTS:
        if name in parts:
            labels[parts[name]] = LABELS[name]
    return labels


def read_parts(paths: Mapping[str, Path]) -> NDArray[np.uint8]:
    """The label map uint8 (h, w) in 0..18, h = w, of the part pictures of one face, by the names of the parts.

    Raises:
        InputError: a picture is missing, damaged, not binary, not square, or of another size; a part is unknown.
    """
    labels = compose({name: read_part(path) for name, path in paths.items()})
    if labels.shape[0] != labels.shape[1]:
        raise InputError(f"mask: the parts are {_pixels(labels.shape)}, but squares are expected")
    return labels


def read_part(path: Path) -> NDArray[np.bool_]:
    """Where a part picture is not black: boolean (h, w).

    Raises:
        InputError: it is missing, damaged or not black and white.
    """
    picture = open_raw(path, "mask part")
    values = np.asarray(picture.convert("RGB") if picture.mode == "P" else picture)
    if values.ndim == 3:  # the archive stores some of them with three equal channels
        if (values[..., :3] != values[..., :1]).any():
            raise InputError(f"mask part {str(path)!r}: it has colours, but black and white are expected")
        values = values[..., 0]
    levels = np.unique(values)
    if len(levels) > 2 or (len(levels) == 2 and levels[0] != 0):
        shown = ", ".join(str(level) for level in levels[:4])
        raise InputError(
            f"mask part {str(path)!r}: {len(levels)} grey levels ({shown}, ...), but 0 and one other are expected"
        )
    return values != 0


def read_mask_file(path: Path) -> NDArray[np.uint8]:
    """Labels uint8 (h, w) in 0..18, h = w: (32, 32) of a published one-hot `.pt` file, or of a label picture.

    Raises:
        InputError: damaged, not a tensor (19, 1024), not one-hot, or not a mask.
    """
    if path.suffix.lower() != ".pt":
        return read_labels(path)
    tensor = load_tensor(path, "mask")
    if tuple(tensor.shape[-2:]) != _ONE_HOT or tensor.numel() != _ONE_HOT[0] * _ONE_HOT[1]:
        raise InputError(f"mask {str(path)!r}: shape {tuple(tensor.shape)}, but the one-hot {_ONE_HOT} is expected")
    try:
        return read_labels(tensor)
    except InputError as error:
        raise InputError(f"mask {str(path)!r}: {str(error).removeprefix('mask: ')}") from error


def _pixels(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]} pixels"
