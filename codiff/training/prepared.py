"""A data set made ready for latent training: latents and validated conditions in memory, computed once."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from rich.progress import track
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from codiff.data.example import Examples
from codiff.files import written_aside
from codiff.modalities.modality import Modality
from codiff.pixels import from_uint8

_ENCODED_AT_ONCE = 32


class PreparedLatents:
    """Posterior of every picture, scaled; one sample is drawn each time.

    Args:
        vae: the autoencoder; its `scaling_factor` is applied.
        examples: the pictures.
        cache: folder for the moments (half precision), named after the VAE's weights and the pictures; None keeps them
            in memory alone.
    """

    def __init__(self, vae: AutoencoderKL, examples: Examples, cache: Path | None) -> None:
        self.scale = float(vae.config.scaling_factor)
        self.fingerprint = f"latents-{len(examples)}-{_digest(vae, examples)}"
        path = None if cache is None else cache / f"{self.fingerprint}.safetensors"
        moments = None if path is None else _cached(path)
        if moments is None:
            moments = _encode(vae, examples)
            if path is not None:
                with written_aside(path) as temporary:
                    save_file(moments, temporary)
        self.mean, self.std = moments["mean"], moments["std"]

    def draw(self, indices: Tensor, generator: torch.Generator) -> Tensor:
        """Scaled latents (batch, channels, h, w) of examples (batch,)."""
        noise = torch.randn(self.mean[indices].shape, generator=generator)
        return self.scale * (self.mean[indices].float() + self.std[indices].float() * noise)


def _cached(path: Path) -> dict[str, Tensor] | None:
    """The moments in a cache file; None where it is missing or damaged."""
    try:
        return load_file(path)
    except (OSError, SafetensorError):
        return None


@torch.no_grad()
def _encode(vae: AutoencoderKL, examples: Examples) -> dict[str, Tensor]:
    means, stds = [], []
    for start in track(range(0, len(examples), _ENCODED_AT_ONCE), f"encoding {len(examples)} pictures"):
        rows = range(start, min(start + _ENCODED_AT_ONCE, len(examples)))
        pictures = from_uint8(np.stack([examples[row].image for row in rows]))
        posterior = vae.encode(pictures.to(vae.device)).latent_dist
        means.append(posterior.mean.half().contiguous().cpu())
        stds.append(posterior.std.half().contiguous().cpu())
    return {"mean": torch.cat(means).contiguous(), "std": torch.cat(stds).contiguous()}


def weights_digest(model: nn.Module) -> str:
    """Of all weights of a model."""
    digest = hashlib.sha256()
    for value in model.state_dict().values():
        digest.update(value.float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def _digest(vae: AutoencoderKL, examples: Examples) -> str:
    """Of the autoencoder and of two dozen pictures spread over the data set."""
    digest = hashlib.sha256(weights_digest(vae).encode())
    for row in range(0, len(examples), max(1, len(examples) // 24)):
        digest.update(np.ascontiguousarray(examples[row].image).tobytes())
    return digest.hexdigest()[:16]


class PreparedConditions:
    """What a modality's encoder reads of every example, held compactly."""

    def __init__(self, encoder: Modality, modality: str, examples: Examples) -> None:
        rows = []
        for row in track(range(len(examples)), f"reading {modality} conditions"):
            raw = examples[row].alternatives[modality]
            rows.append(_compact(torch.stack([encoder.read(item)[0] for item in raw])))
        self.dtype = torch.float32 if rows[0].is_floating_point() else torch.int64
        self.values = torch.stack(rows)  # (examples, alternatives, ...)

    def draw(self, indices: Tensor, generator: torch.Generator) -> Tensor:
        """One alternative of each example, ready for the encoder: (batch, ...)."""
        choice = torch.randint(self.values.shape[1], (len(indices),), generator=generator)
        return self.values[indices, choice].to(self.dtype)


def _compact(values: Tensor) -> Tensor:
    """Half precision for reals, the smallest integers that hold labels and token ids."""
    if values.is_floating_point():
        return values.half()
    return values.to(torch.uint8) if int(values.max()) < 256 and int(values.min()) >= 0 else values.to(torch.int32)
