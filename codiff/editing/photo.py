"""The picture that is edited: read, encoded, and compared with what becomes of it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from codiff.errors import InputError
from codiff.image_files import ImageSource, open_image
from codiff.pipeline import CollaborativePipeline
from codiff.pixels import from_uint8

FAMILIAR = 26.0
"""dB of `kept_quality`: the autoencoder of the demo model keeps 99 of 100 drawn faces better than this."""


@dataclass(frozen=True)
class Photo:
    """Pictures at the model's size.

    Attributes:
        pixels: (batch, side, side, 3) bytes.
        latents: scaled, as the collaborators know them, (batch, channels, h, w).
    """

    pixels: NDArray[np.uint8]
    latents: Tensor

    @property
    def digest(self) -> str:
        """SHA-256 of the first picture's pixels."""
        return hashlib.sha256(np.ascontiguousarray(self.pixels[0]).tobytes()).hexdigest()

    def expanded(self, batch: int) -> Photo:
        """The same for a batch; a single picture is repeated."""
        pixels = np.broadcast_to(self.pixels, (batch, *self.pixels.shape[1:]))
        return Photo(pixels, self.latents.expand(batch, *self.latents.shape[1:]))


def picture_side(pipe: CollaborativePipeline) -> int:
    """Height and width of the pictures that a model draws."""
    factor: int = 2 ** (len(pipe.vae.config.block_out_channels) - 1)
    return factor * pipe.latent_shape[1]


def read_photo(pipe: CollaborativePipeline, image: ImageSource | Sequence[ImageSource]) -> Photo:
    """Aligned square pictures, resized to the model's size and encoded.

    Raises:
        InputError: unreadable, not square, or the autoencoder's answer is not finite.
    """
    sources: list[Any] = list(image) if isinstance(image, (list, tuple)) else [image]
    if not sources:
        raise InputError("the list of photos is empty; give at least one")
    side = picture_side(pipe)
    pixels = np.stack([_squared(source, side) for source in sources])
    return Photo(pixels, encode(pipe, from_uint8(pixels)))


def _squared(source: ImageSource, side: int) -> NDArray[np.uint8]:
    picture = open_image(source, what="photo")
    if picture.width != picture.height:
        name = f" {str(source)[:200]!r}" if not isinstance(source, (Image.Image, np.ndarray, bytes)) else ""
        raise InputError(
            f"photo{name}: {picture.width} x {picture.height} pixels, but a square picture of one aligned face is "
            "expected; crop it"
        )
    return np.asarray(picture if picture.width == side else picture.resize((side, side), Image.Resampling.LANCZOS))


@torch.no_grad()
def encode(pipe: CollaborativePipeline, pictures: Tensor) -> Tensor:
    """Scaled latents (batch, channels, h, w) of pictures (batch, 3, side, side) in [-1, 1]: the mean of the
    autoencoder's posterior times its scaling factor, in the collaborators' precision.

    Raises:
        InputError: the autoencoder returned something that is not finite.
    """
    device = pipe.execution_device
    vae = pipe.vae
    posterior = vae.encode(pictures.to(device=device, dtype=vae.dtype)).latent_dist
    latents: Tensor = posterior.mean * vae.config.scaling_factor
    if not torch.isfinite(latents).all():
        raise InputError("the autoencoder returned values that are not finite; load the model in float32 or bfloat16")
    return latents.to(pipe.collaborators.dtype)


@torch.no_grad()
def kept_quality(pipe: CollaborativePipeline, photo: Photo) -> float:
    """Peak signal-to-noise ratio in dB of what the autoencoder makes of a photo: no editor keeps more of it."""
    known = from_uint8(np.ascontiguousarray(photo.pixels))
    kept = pipe.decode(photo.latents, "pt").cpu() * 2 - 1
    pipe.maybe_free_model_hooks()
    return float(10 * torch.log10(4.0 / (kept - known).square().mean()))


def psnr(pictures: NDArray[np.uint8], others: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio in dB of pictures (batch, h, w, 3), the batch's mean; infinite where equal."""
    difference = pictures.astype(np.float64) - others
    errors = (difference**2).mean(axis=(1, 2, 3))
    return float(np.mean([math.inf if error == 0 else 10 * math.log10(255**2 / error) for error in errors]))
