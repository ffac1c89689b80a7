"""Small data sets in each layout that CelebA-HQ comes in, of procedural faces."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from codiff.data.celeba_masks import PARTS
from codiff.data.faces import FaceExample, ProceduralFaces

SIDE = 64
ONE_HOT = "CelebAMask-HQ-mask-color-palette_32_nearest_downsampled_from_hq_512_one_hot_2d_tensor"
PAPER_CAPTIONS = "captions_hq_beard_and_age_2022-08-19.json"
REAL = Path(__file__).parents[2] / "shared" / "real"
"""Real pictures and masks, which lie outside the project where they are at all."""


@cache
def face(number: int) -> FaceExample:
    """A procedural face, drawn once."""
    return ProceduralFaces("train", SIDE)[number]


def dialog(number: int) -> dict[str, Any]:
    """A caption in CelebA-Dialog's form; women have no sentence about a beard."""
    sentences = {
        "Bangs": f"Bangs of {number}.",
        "Eyeglasses": f"Glasses of {number}.",
        "No_Beard": f"Beard of {number}." if number % 2 else None,
        "Smiling": f"Smile of {number}.",
        "Young": f"Age of {number}.",
    }
    return {"attribute_wise_captions": sentences, "overall_caption": f"All of {number}."}


def of_paper(number: int) -> str:
    """What `dialog` tells of beard and age."""
    return f"Beard of {number}. Age of {number}." if number % 2 else f"Age of {number}."


def write_parts(folder: Path, number: int, labels: NDArray[np.uint8]) -> None:
    """The part pictures of one mask."""
    home = folder / str(number // 2000)
    home.mkdir(parents=True, exist_ok=True)
    for label in np.unique(labels[labels > 0]):
        part = Image.fromarray(np.where(labels == label, 255, 0).astype(np.uint8))
        part.save(home / f"{number:05d}_{PARTS[label - 1]}.png")


def one_hot(labels: NDArray[np.uint8]) -> torch.Tensor:
    """The published tensor (19, 1024) of labels whose side is a multiple of 32."""
    step = len(labels) // 32
    small = torch.from_numpy(labels[step // 2 :: step, step // 2 :: step].astype(np.int64))
    return torch.nn.functional.one_hot(small.flatten(), 19).T


def write_raw(root: Path, numbers: Sequence[int]) -> Path:
    """CelebA-HQ-img, part masks and CelebA-Dialog's captions."""
    (root / "CelebA-HQ-img").mkdir(parents=True)
    for number in numbers:
        Image.fromarray(face(number).image).save(root / "CelebA-HQ-img" / f"{number}.jpg", quality=95)
        write_parts(root / "CelebAMask-HQ-mask-anno", number, face(number).mask)
    captions = {f"{number}.jpg": dialog(number) for number in numbers if number != 5380}
    (root / "captions_hq.json").write_text(json.dumps(captions))
    return root


def write_preprocessed(root: Path, numbers: Sequence[int], image_folder: str, *, sketches: bool = True) -> Path:
    """The published preprocessed layout, with pictures in `image_folder` below `root`."""
    folders = [root / image_folder, root / "mask" / ONE_HOT, root / "text"]
    sketch_folder = root / "sketch" / "sketch_1x1024_tensor"
    for folder in [*folders, *([sketch_folder] if sketches else [])]:
        folder.mkdir(parents=True)
    for number in numbers:
        Image.fromarray(face(number).image).save(root / image_folder / f"{number}.jpg", quality=95)
        torch.save(one_hot(face(number).mask), root / "mask" / ONE_HOT / f"{number}.pt")
        if sketches:
            grey = torch.from_numpy(face(number).sketch[::2, ::2] / 255).float()
            torch.save(grey.reshape(1, 1024), sketch_folder / f"{number}.pt")
    captions = {f"{number}.jpg": {"Beard_and_Age": of_paper(number)} for number in numbers if number != 5380}
    (root / "text" / PAPER_CAPTIONS).write_text(json.dumps(captions))
    return root


class Malicious:
    """Pickles to a command that makes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.target), "w")
