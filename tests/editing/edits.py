"""What the tests of all editors share."""

import hashlib
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from models import PIXELS, new_pipeline, raw_conditions
from PIL import Image

from codiff import CollaborativePipeline
from codiff.editing import Edit, Learning, Sampling, blended, ddim_inversion, diffedit, imagic, sdedit

FEW = Sampling(num_inference_steps=4)
QUICK = Learning(token_steps=2, token_rate=1e-2, model_steps=2, model_rate=1e-2, rank=2)
BOTH = ("text", "mask")

EDITORS: dict[str, Callable[..., Edit]] = {
    "imagic": lambda *args, **kwargs: imagic(*args, **{"learning": QUICK, **kwargs}),
    "sdedit": sdedit,
    "ddim_inversion": lambda *args, **kwargs: ddim_inversion(*args, source=raw_conditions(BOTH), **kwargs),
    "blended": lambda *args, **kwargs: blended(*args, source=raw_conditions(BOTH), **kwargs),
    "diffedit": lambda *args, **kwargs: diffedit(*args, source=raw_conditions(BOTH), draws=2, **kwargs),
}


@cache
def pipeline() -> CollaborativePipeline:
    """A tiny model that the tests leave as it is."""
    return new_pipeline()


def picture(seed: int = 0, size: int = PIXELS) -> Image.Image:
    """A picture of coloured noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def target(modalities: tuple[str, ...] = BOTH) -> dict[str, Any]:
    """Conditions that differ from `raw_conditions`."""
    return raw_conditions(modalities, variant=1)


def digest(pipe: CollaborativePipeline) -> str:
    """Of all weights, byte for byte, and of the modules that hold them."""
    found = hashlib.sha256()
    for part in (pipe.collaborators, pipe.dynamic_diffusers, pipe.vae):
        found.update(repr(part).encode())
        for name, value in part.state_dict().items():
            found.update(name.encode() + value.contiguous().numpy().tobytes())
        found.update(str([value.requires_grad for value in part.parameters()]).encode())
        assert all(value.grad is None for value in part.parameters())
    return found.hexdigest()
