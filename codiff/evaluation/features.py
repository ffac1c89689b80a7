"""Features of pictures, which distances between sets, diversity and memorisation compare."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from codiff.errors import InputError
from codiff.files import written_aside
from codiff.pixels import from_uint8
from codiff.recognition import FaceParser, InceptionV3

_KEY, _CHECKSUM = "features", "sha256"


@dataclass(frozen=True)
class FeatureExtractor:
    """A network that describes pictures, and what distances between its features are called.

    Attributes:
        network: pictures (batch, 3, h, w) in [-1, 1] -> features (batch, d).
        frechet, kernel: the names of the two distances; FID and KID for InceptionV3 alone.
    """

    network: nn.Module
    frechet: str
    kernel: str

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the network's kind and weights: other weights, other features."""
        return digest_of(f"{type(self.network).__name__} {self.frechet}", self.network.state_dict())


class ParserFeatures(nn.Module):
    """The mean over the picture of every channel of a face parser's encoder, fine to coarse: (batch, sum of widths)."""

    def __init__(self, parser: FaceParser) -> None:
        super().__init__()
        self.parser = parser

    def forward(self, images: Tensor) -> Tensor:
        """Features (batch, d) of images (batch, 3, h, w) in [-1, 1]."""
        return torch.cat([level.mean(dim=(2, 3)) for level in self.parser.features(images)], dim=1)


def parser_features(parser: FaceParser) -> FeatureExtractor:
    """For the drawn faces. Distances are called FD-parser and KD-parser: they are no FID, and their numbers compare
    with those of the same parser only."""
    return FeatureExtractor(ParserFeatures(parser).eval(), "FD-parser", "KD-parser")


def inception_features(source: str | Path) -> FeatureExtractor:
    """For photographs: FID and KID as in the literature.

    Args:
        source: the file `pt_inception-2015-12-05-6726825d.pth`, or a hub repository that holds it.

    Raises:
        InputError: no such file or repository, or other weights.
    """
    return FeatureExtractor(InceptionV3.from_pretrained(source), "FID", "KID")


def extract_features(
    extractor: FeatureExtractor, pictures: NDArray[np.uint8], *, batch: int = 50, cache: str | Path | None = None
) -> Tensor:
    """Features float32 (pictures, d), on the CPU, in the order of the pictures.

    Args:
        pictures: bytes (pictures, h, w, 3), as pictures are saved; may be memory-mapped. `codiff.pixels.to_uint8` makes
            them of tensors.
        cache: a folder where features are kept, by a digest of all pixels and of the extractor; a damaged file there is
            written anew.

    Raises:
        InputError: no pictures, another shape or type, or the cache cannot be written.
    """
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[3] != 3:
        raise InputError(f"pictures {pictures.shape} of {pictures.dtype}; expected bytes (pictures, h, w, 3)")
    if pictures.size == 0 or batch < 1:
        raise InputError("there are no pictures: nothing can be measured" if batch > 0 else "batch must be at least 1")
    if cache is None:
        return _computed(extractor, pictures, batch)
    data = hashlib.sha256(str(pictures.shape).encode())
    for start in range(0, len(pictures), batch):
        data.update(np.ascontiguousarray(pictures[start : start + batch]).tobytes())
    path = Path(cache) / f"{extractor.frechet}-{extractor.digest[:16]}-{data.hexdigest()[:32]}.safetensors"
    features = _remembered(path)
    if features is None:
        features = _computed(extractor, pictures, batch)
        with written_aside(path) as temporary:
            save_file({_KEY: features}, temporary, metadata={_CHECKSUM: digest_of(_KEY, {_KEY: features})})
    return features


@torch.no_grad()
def _computed(extractor: FeatureExtractor, pictures: NDArray[np.uint8], batch: int) -> Tensor:
    device = next((value.device for value in extractor.network.parameters()), torch.device("cpu"))
    parts = []
    for start in range(0, len(pictures), batch):
        images = from_uint8(pictures[start : start + batch]).to(device)
        parts.append(extractor.network(images).float().cpu())
    return torch.cat(parts)


def _remembered(path: Path) -> Tensor | None:
    """The features in a file; None where there is none, or where it is damaged, which costs only time."""
    try:
        with safe_open(path, framework="pt") as file:
            features: Tensor = file.get_tensor(_KEY)
            intact = (file.metadata() or {}).get(_CHECKSUM) == digest_of(_KEY, {_KEY: features})
    except (OSError, SafetensorError):
        return None
    return features if intact else None


def digest_of(what: str, tensors: Mapping[str, Tensor]) -> str:
    found = hashlib.sha256(what.encode())
    for name, value in tensors.items():
        found.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
