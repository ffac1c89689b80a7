"""A data set made ready for latent training: latents and validated conditions, computed once."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from rich.progress import track
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from codiff.data.example import Examples
from codiff.errors import InputError
from codiff.files import locked, written_aside
from codiff.modalities.modality import Modality
from codiff.pixels import from_uint8
from codiff.training.face_data import IMAGE, FacesInFiles, SheetReader
from codiff.training.read_ahead import Rows, read_ahead

_AT_ONCE = 32  # pictures encoded, or conditions read, in one go
_SAMPLES = 24  # examples that a name in the cache is made of


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
        name = f"latents-{len(examples)}-{_digest(vae, examples)}"
        self.fingerprint = f"{name}, {examples.fingerprint}" if isinstance(examples, FacesInFiles) else name
        path = None if cache is None else cache / f"{name}.safetensors"
        with nullcontext() if path is None else locked(path.parent, _lock_of(path)):
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


def _lock_of(path: Path) -> Path:
    """Held by whoever makes a file of the cache: others that want it wait, and find it done."""
    return path.with_name(f".{path.name}.lock")


def _cached(path: Path) -> dict[str, Tensor] | None:
    """The moments in a cache file; None where it is missing or damaged."""
    try:
        return load_file(path)
    except (OSError, SafetensorError):
        return None


@torch.no_grad()
def _encode(vae: AutoencoderKL, examples: Examples) -> dict[str, Tensor]:
    means, stds = [], []
    home = vae.device
    if torch.accelerator.is_available():
        vae.to(torch.accelerator.current_accelerator())
    with closing(_followed(SheetReader(examples, (IMAGE,)), f"encoding {len(examples)} pictures")) as pictures:
        for (images,) in pictures:
            posterior = vae.encode(from_uint8(images).to(vae.device)).latent_dist
            means.append(posterior.mean.half().contiguous().cpu())
            stds.append(posterior.std.half().contiguous().cpu())
    vae.to(home)
    return {"mean": torch.cat(means).contiguous(), "std": torch.cat(stds).contiguous()}


def _followed(reader: SheetReader | ConditionReader, what: str) -> Generator[Any]:
    """What the reader gives for all its examples, some at once, with a bar."""
    count = len(reader.examples)
    plan = [range(start, min(start + _AT_ONCE, count)) for start in range(0, count, _AT_ONCE)]
    workers = reader.examples.workers if isinstance(reader.examples, FacesInFiles) else 0
    with closing(read_ahead(reader, plan, workers)) as found:
        yield from track(found, what, total=len(plan))


def _samples(examples: Examples) -> range:
    """Two dozen examples spread over the data set."""
    return range(0, len(examples), max(1, len(examples) // _SAMPLES))


def weights_digest(model: nn.Module) -> str:
    """Of all weights of a model."""
    digest = hashlib.sha256()
    for value in model.state_dict().values():
        digest.update(value.float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def _digest(vae: AutoencoderKL, examples: Examples) -> str:
    """Of the autoencoder and of two dozen pictures; of all pictures in files what is known."""
    digest = hashlib.sha256(weights_digest(vae).encode())
    if isinstance(examples, FacesInFiles):
        digest.update(examples.pictures_fingerprint.encode())
    for row in _samples(examples):
        digest.update(np.ascontiguousarray(examples[row].image).tobytes())
    return digest.hexdigest()[:16]


class PreparedConditions:
    """What a modality's encoder reads of every example, held compactly.

    Args:
        encoder: reads raw conditions.
        modality: of the conditions.
        examples: what has them.
        cache: folder for what is read of files, which may be more than fits into memory; None keeps it there.
    """

    def __init__(self, encoder: Modality, modality: str, examples: Examples, cache: Path | None = None) -> None:
        reader = ConditionReader(encoder, modality, examples)
        if cache is None or not isinstance(examples, FacesInFiles):
            self.values = torch.cat([torch.from_numpy(found) for found in _read(reader)])
        else:
            self.values = _on_disk(reader, examples.fingerprint, cache)  # (examples, alternatives, ...)
        self.dtype = torch.float32 if self.values.is_floating_point() else torch.int64

    def draw(self, indices: Tensor, generator: torch.Generator) -> Tensor:
        """One alternative of each example, ready for the encoder: (batch, ...)."""
        choice = torch.randint(self.values.shape[1], (len(indices),), generator=generator)
        return self.values[indices, choice].to(self.dtype)


@dataclass(frozen=True)
class ConditionReader:
    """Reads conditions of examples compactly, in whichever process."""

    encoder: Modality
    modality: str
    examples: Examples

    def __call__(self, rows: Rows) -> NDArray[Any]:
        """(rows, alternatives, ...).

        Raises:
            InputError: a condition is missing, damaged or refused by the encoder.
        """
        raws = [self.examples[row].alternatives[self.modality] for row in rows]
        return _compact(torch.stack([torch.stack([self.encoder.read(item)[0] for item in raw]) for raw in raws]))


def _compact(values: Tensor) -> NDArray[Any]:
    """Half precision for reals, the smallest integers that hold labels and token ids."""
    if values.is_floating_point():
        return values.half().numpy()
    small = int(values.max()) < 256 and int(values.min()) >= 0
    return values.to(torch.uint8 if small else torch.int32).numpy()


def _read(reader: ConditionReader) -> Generator[NDArray[Any]]:
    return _followed(reader, f"reading {reader.modality} conditions")


def _on_disk(reader: ConditionReader, fingerprint: str, cache: Path) -> Tensor:
    """The conditions in a file of the cache, memory-mapped; written where it is missing or damaged."""
    digest = hashlib.sha256(f"{fingerprint} {reader.modality}".encode())
    for row in _samples(reader.examples):  # the encoder's settings and vocabulary show in what it reads
        digest.update(reader([row]).tobytes())
    path = cache / f"conditions-{len(reader.examples)}-{digest.hexdigest()[:16]}.npy"
    with locked(cache, _lock_of(path)):
        found = _mapped(path, len(reader.examples))
        if found is None:
            _write(reader, path)
            found = _mapped(path, len(reader.examples))
    if found is None:
        raise InputError(f"{path} cannot be read back; check the disk, or choose another folder (data.cache=FOLDER)")
    return torch.from_numpy(found)


def _mapped(path: Path, count: int) -> NDArray[Any] | None:
    try:
        found: NDArray[Any] = np.load(path, mmap_mode="c")  # changes, which nothing makes, would not reach the file
    except (OSError, ValueError, EOFError):
        return None
    return found if len(found) == count else None


class _Wider(Exception):  # noqa: N818 (nothing is wrong)
    """Conditions that need wider numbers than those before them."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype


def _write(reader: ConditionReader, path: Path) -> None:
    """All conditions in one array, as narrow as the first of them allow; anew where later ones need more."""
    dtype = reader([0]).dtype
    while True:
        try:
            with written_aside(path) as temporary, temporary.open("wb") as file:
                _fill(file, reader, dtype)
                return
        except _Wider as found:
            dtype = found.dtype


def _fill(file: BinaryIO, reader: ConditionReader, dtype: np.dtype[Any]) -> None:
    shape: tuple[int, ...] | None = None
    with closing(_read(reader)) as chunks:
        for found in chunks:
            if shape is None:
                shape = (len(reader.examples), *found.shape[1:])
                header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
            if found.shape[1:] != shape[1:]:
                raise InputError(f"{reader.modality}: not all faces have as many conditions of one size")
            if found.dtype.itemsize > dtype.itemsize:
                raise _Wider(found.dtype)
            file.write(found.astype(dtype).tobytes())
