"""Stage 1: the autoencoder that turns pictures into latents and back."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from diffusers import AutoencoderKL
from diffusers.utils.torch_utils import randn_tensor
from PIL import Image
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from codiff.errors import InputError
from codiff.pixels import from_uint8, to_uint8
from codiff.recognition import VGG16, AttributeClassifier, FaceParser
from codiff.training.data import DataSettings, open_data
from codiff.training.face_data import IMAGE
from codiff.training.prepared import weights_digest
from codiff.training.settings import LoopSettings, Settings
from codiff.training.stage import Stage

PerceptualKind = Literal["face_parser", "attribute_classifier", "vgg16"]
_PERCEPTUAL_KINDS: dict[PerceptualKind, Any] = {
    "face_parser": FaceParser,
    "attribute_classifier": AttributeClassifier,
    "vgg16": VGG16,
}
_LEVELS = {"vgg16": 5}  # those of our own small networks that see a picture's details are the first two


class VAESettings(Settings):
    """Settings of the autoencoder.

    Attributes:
        channels: widths by level; each level after the first halves the side.
        layers_per_block, latent_channels, groups: of the AutoencoderKL.
        crop: side of the random crops it is trained on, in pixels.
        kl_weight: of the Kullback-Leibler term, relative to the mean absolute error.
        perceptual: networks whose features make the perceptual term, by kind: the folder of a trained face parser or
            attribute classifier, or the file of VGG-16's weights.
        perceptual_weight: of that term.
        initial: folder of a trained autoencoder to go on from; its architecture then holds, not the one given here.
        decoder_only: leave the encoder as it is, so that the latents, and whatever was trained on them, stay valid.
    """

    channels: tuple[int, ...] = (32, 64, 96, 128)
    layers_per_block: int = Field(default=1, gt=0)
    latent_channels: int = Field(default=4, gt=0)
    groups: int = Field(default=8, gt=0)
    crop: int = Field(default=64, gt=0)
    kl_weight: float = Field(default=1e-6, ge=0)
    perceptual: dict[PerceptualKind, str] = Field(default={})
    perceptual_weight: float = Field(default=0.1, ge=0)
    initial: str | None = None
    decoder_only: bool = False
    data: DataSettings
    loop: LoopSettings

    @model_validator(mode="after")
    def _check_sizes(self) -> VAESettings:
        reduction = 2 ** (len(self.channels) - 1)
        if self.crop > self.data.size:
            raise ValueError(f"crop {self.crop} is larger than the pictures, data.size {self.data.size}")
        if self.crop % reduction or self.data.size % reduction:
            raise ValueError(f"crop and data.size must be divisible by {reduction}, by which the latents are smaller")
        if any(width % self.groups for width in self.channels):
            raise ValueError(f"channels {list(self.channels)} must be divisible by groups {self.groups}")
        return self


def _network(kind: PerceptualKind, folder: Path) -> nn.Module:
    try:
        network: nn.Module = _PERCEPTUAL_KINDS[kind].from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise InputError(f"perceptual.{kind}: {folder} holds no trained {kind}: {error}") from error
    return network.eval().requires_grad_(False)


def perceptual_distance(network: nn.Module, first: Tensor, second: Tensor, levels: int = 2) -> Tensor:
    """Mean squared distance of unit-normalised features, averaged over levels (LPIPS without its linear layers:
    Zhang et al., CVPR 2018, arXiv:1801.03924, eq. 1)."""
    distances = []
    for a, b in zip(network.features(first)[:levels], network.features(second)[:levels], strict=True):  # type: ignore[operator]
        a, b = functional.normalize(a.float(), dim=1), functional.normalize(b.float(), dim=1)
        distances.append(((a - b) ** 2).sum(dim=1).mean())
    return torch.stack(distances).mean()


def build_vae(settings: VAESettings) -> AutoencoderKL:
    """The autoencoder to train: a new one, or the one in `initial`.

    Raises:
        InputError: there is no autoencoder in `initial`.
    """
    if settings.initial is not None:
        try:
            return AutoencoderKL.from_pretrained(Path(settings.initial).expanduser())
        except (OSError, ValueError) as error:
            raise InputError(f"initial: {settings.initial} holds no autoencoder: {error}") from error
    levels = len(settings.channels)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=settings.channels,
        layers_per_block=settings.layers_per_block,
        latent_channels=settings.latent_channels,
        norm_num_groups=settings.groups,
        sample_size=settings.data.size,
    )


class VAEStage(Stage):
    """L1 + KL + perceptual term on random crops of the pictures."""

    name = "vae"
    settings: VAESettings
    model: AutoencoderKL

    def __init__(self, settings: VAESettings) -> None:
        self.settings = settings
        self.loop = settings.loop
        self.faces = open_data(settings.data, "train", modalities=())
        torch.manual_seed(settings.loop.seed)
        self.examples = len(self.faces)
        self.model = build_vae(settings)
        if settings.decoder_only:
            self.model.encoder.requires_grad_(False)
            self.model.quant_conv.requires_grad_(False)
        self.levels = [_LEVELS.get(kind, 2) for kind in settings.perceptual]
        self.frozen = [_network(kind, Path(folder).expanduser()) for kind, folder in settings.perceptual.items()]
        self.fingerprint = ", ".join([self.faces.fingerprint, *map(weights_digest, self.frozen)])

    def batch(self, indices: Tensor, generator: torch.Generator) -> Tensor:
        side, crop = self.settings.data.size, self.settings.crop
        corners = torch.randint(0, side - crop + 1, (len(indices), 2), generator=generator).tolist()
        (images,) = self.faces.sheets(indices.tolist(), [IMAGE])
        crops = [image[y : y + crop, x : x + crop] for image, (y, x) in zip(images, corners, strict=True)]
        return from_uint8(np.stack(crops))

    def reading(self, plan: Iterable[Tensor]) -> AbstractContextManager[None]:
        return self.faces.reading((indices.tolist() for indices in plan), [IMAGE])

    def losses(self, batch: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        posterior = self.model.encode(batch).latent_dist
        noise = randn_tensor(posterior.mean.shape, generator=generator, device=posterior.mean.device)
        decoded = self.model.decode(posterior.mean + posterior.std * noise).sample.float()
        l1 = functional.l1_loss(decoded, batch)
        kl = posterior.kl().float().mean()
        parts = {"l1": l1, "kl": kl, "mse": functional.mse_loss(decoded, batch)}
        loss = l1 + self.settings.kl_weight * kl
        if self.frozen:
            compared = zip(self.frozen, self.levels, strict=True)
            distances = [perceptual_distance(network, decoded, batch, levels) for network, levels in compared]
            parts["perceptual"] = torch.stack(distances).mean()
            loss = loss + self.settings.perceptual_weight * parts["perceptual"]
        return {"loss": loss, **parts}

    def save(self, folder: Path) -> None:
        if not self.settings.decoder_only:
            self.model.register_to_config(scaling_factor=self._scaling_factor())
        self.model.save_pretrained(folder)

    @torch.no_grad()
    def _scaling_factor(self, faces: int = 256) -> float:
        """One over the standard deviation of the latents (Rombach et al., CVPR 2022, arXiv:2112.10752, appendix G)."""
        latents = torch.cat([self.model.encode(part).latent_dist.mean for part in self._pictures(faces).split(32)])
        return round(1.0 / float(latents.std()), 5)

    def _pictures(self, count: int) -> Tensor:
        """The first so many: (count, 3, h, w) in [-1, 1], on the model's device."""
        (images,) = self.faces.sheets(range(min(count, self.examples)), [IMAGE])
        return from_uint8(images).to(self.model.device)

    def picture(self) -> Image.Image:
        """Pictures above, their reconstructions below."""
        pictures = self._pictures(8)
        decoded = self.model.decode(self.model.encode(pictures).latent_dist.mean).sample
        rows = [np.concatenate(list(to_uint8(row)), axis=1) for row in (pictures, decoded)]
        return Image.fromarray(np.concatenate(rows))
