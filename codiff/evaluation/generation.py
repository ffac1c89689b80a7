"""Pictures of a method, batch by batch."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

import codiff
from codiff.evaluation.benchmark_data import Case
from codiff.evaluation.methods import Method, as_json, conditions_of
from codiff.files import written_aside
from codiff.pipeline import CollaborativePipeline
from codiff.pixels import to_uint8
from codiff.png_metadata import png_with


@dataclass(frozen=True)
class Generated:
    """One batch.

    Attributes:
        pictures: bytes (batch, h, w, 3), as they are saved.
        influences: modality -> (steps, batch, 1, h, w); None where the rule has none.
    """

    pictures: NDArray[np.uint8]
    influences: dict[str, Tensor] | None


@dataclass(frozen=True)
class Generator:
    """Generates with all that a protocol fixes.

    Attributes:
        pipe: the model.
        steps: denoising steps.
        eta: of schedulers that have it.
    """

    pipe: CollaborativePipeline
    steps: int
    eta: float = 0.0

    @property
    def timesteps(self) -> list[float]:
        """Of the steps, from noise to picture."""
        scheduler = type(self.pipe.scheduler).from_config(self.pipe.scheduler.config)
        scheduler.set_timesteps(self.steps)
        return [float(timestep) for timestep in scheduler.timesteps]

    @property
    def taken_eta(self) -> float:
        """The eta that this scheduler takes: 0 where it has none."""
        return self.eta if "eta" in inspect.signature(self.pipe.scheduler.step).parameters else 0.0

    def __call__(
        self, method: Method, cases: Sequence[Case], seeds: Sequence[int], *, influences: bool = False
    ) -> Generated:
        """One picture of each case, from the noise of its seed, which does not depend on the method."""
        result = self.pipe(
            conditions_of(method.modalities, cases),
            num_inference_steps=self.steps,
            composition=method.composition(self.pipe),
            guidance_scale=method.guidance,
            eta=self.taken_eta,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            output_type="pt",
            return_influences=influences,
        )
        return Generated(to_uint8(result.images * 2 - 1), result.influences)


def picture_path(folder: Path, method: str, item: int) -> Path:
    """Where the picture of a case lies; equally named for every method, as `codiff study make` takes them."""
    return folder / "images" / method / f"{item:05d}.png"


def save_pictures(folder: Path, method: Method, items: Sequence[int], pictures: NDArray[np.uint8]) -> None:
    """Write pictures, each whole or not at all, with their origin."""
    origin = {"codiff": codiff.__version__, "method": {"name": method.name, **as_json(method)}}
    for item, picture in zip(items, pictures, strict=True):
        with written_aside(picture_path(folder, method.name, item)) as temporary:
            temporary.write_bytes(png_with(Image.fromarray(picture), {**origin, "seed": item}))


def read_picture(folder: Path, method: str, item: int) -> Image.Image:
    """A picture that `save_pictures` wrote."""
    with Image.open(picture_path(folder, method, item), formats=["PNG"]) as picture:
        return picture.convert("RGB")
