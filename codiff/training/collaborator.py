"""Stage 2: one uni-modal diffusion model on latents."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DDPMScheduler, DPMSolverMultistepScheduler
from diffusers.utils.torch_utils import randn_tensor
from PIL import Image
from pydantic import Field
from torch import Tensor

from codiff.collaborator import Collaborator
from codiff.data.example import Examples
from codiff.errors import InputError
from codiff.guidance import Guidance
from codiff.loss import denoising_loss
from codiff.pixels import to_uint8
from codiff.sampling import sample
from codiff.training.initial import start_collaborator
from codiff.training.prepared import PreparedConditions, PreparedLatents
from codiff.training.settings import LoopSettings, Settings
from codiff.training.stage import Stage

PICTURED = 8


class CollaboratorSettings(Settings):
    """Settings of one collaborator.

    Attributes:
        modality: the key of its conditions.
        encoder: registered name of the condition encoder; None for the one named like the modality.
        encoder_config, unet_config, spatial: see `Collaborator`.
        schedule: arguments of diffusers' `DDPMScheduler`: the noise that all collaborators of a model share.
        condition_dropout: share of the examples trained without condition, for classifier-free guidance.
        initial: folder of a collaborator whose weights of the same name and shape are the start; None for random ones.
        loop: see `LoopSettings`.
    """

    modality: str
    encoder: str | None = None
    encoder_config: dict[str, Any] = Field(default={})
    unet_config: dict[str, Any]
    spatial: int = Field(default=0, ge=0)
    schedule: dict[str, Any]
    condition_dropout: float = Field(default=0.1, ge=0, lt=1)
    initial: str | None = None
    loop: LoopSettings


class CollaboratorStage(Stage):
    """The simplified objective (Ho et al., arXiv:2006.11239, eq. 14) with condition dropout.

    Args:
        vae: trained autoencoder.
        examples: pictures and conditions.
        collaborator: the model to train, its encoder's assets (a vocabulary) included.
        cache: folder for latents and conditions; None keeps them in memory.
    """

    settings: CollaboratorSettings
    model: Collaborator

    def __init__(
        self,
        settings: CollaboratorSettings,
        vae: AutoencoderKL,
        examples: Examples,
        collaborator: Collaborator,
        cache: Path | None,
    ) -> None:
        self.settings = settings
        self.name = f"collaborator {settings.modality}"
        self.loop, self.model, self.vae = settings.loop, collaborator, vae
        self.frozen = [vae]
        self.examples = len(examples)
        self.schedule = DDPMScheduler(**settings.schedule)
        self.latents = PreparedLatents(vae, examples, cache)
        self.fingerprint = self.latents.fingerprint
        self.conditions = PreparedConditions(collaborator.encoder, settings.modality, examples, cache)

    def batch(self, indices: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return self.latents.draw(indices, generator), self.conditions.draw(indices, generator)

    def losses(self, batch: tuple[Tensor, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        latents, inputs = batch
        tokens = self.model.encoder(inputs)
        kept = torch.rand(len(tokens), generator=generator) >= self.settings.condition_dropout
        kept = kept.to(tokens.device).reshape(-1, *[1] * (tokens.ndim - 1))
        tokens = torch.where(kept, tokens, self.model.unconditional(tokens))
        noise, timesteps = draw_noise(latents, self.schedule, generator)
        loss = denoising_loss(self.model, self.schedule, latents, {self.settings.modality: tokens}, noise, timesteps)
        return {"loss": loss.mean(), **by_noise_level(loss, timesteps, self.schedule)}

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(folder)

    def picture(self) -> Image.Image:
        """Conditions above (where they can be drawn), what the model makes of them below, guidance 2."""
        generator = torch.Generator().manual_seed(0)
        inputs = self.conditions.draw(torch.arange(min(PICTURED, self.examples)), generator)
        tokens = self.model.encoder(inputs.to(self.model.device))
        denoiser = Guidance(self.model, {self.settings.modality: self.model.unconditional(tokens)}, 2.0)
        conditions, shape = {self.settings.modality: tokens}, self.latents.mean.shape[1:]
        images = sampled_images(denoiser, self.vae, self.schedule, conditions, shape)
        shown = [self.model.encoder.picture(row[None], images.shape[1]) for row in inputs]
        rows = [[np.asarray(picture) for picture in shown if picture is not None], list(images)]
        return Image.fromarray(np.concatenate([np.concatenate(row, axis=1) for row in rows if row]))


def draw_noise(latents: Tensor, schedule: DDPMScheduler, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Noise like the latents and uniform timesteps (batch,)."""
    noise = randn_tensor(latents.shape, generator=generator, device=latents.device)
    count = schedule.config.num_train_timesteps
    timesteps = torch.randint(0, count, (len(latents),), generator=generator)
    return noise, timesteps.to(latents.device)


def by_noise_level(loss: Tensor, timesteps: Tensor, schedule: DDPMScheduler) -> dict[str, Tensor]:
    """The loss of the noisier and of the cleaner timesteps: where conditions and where details are learned."""
    high = timesteps >= schedule.config.num_train_timesteps // 2
    parts = {"loss_high_noise": loss[high], "loss_low_noise": loss[~high]}
    return {name: part.mean() if len(part) else loss.mean() for name, part in parts.items()}


@torch.no_grad()
def sampled_images(
    denoiser: Any,
    vae: AutoencoderKL,
    schedule: DDPMScheduler,
    conditions: Mapping[str, Tensor],
    shape: torch.Size,
    steps: int = 25,
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """One picture a condition, from fixed noise: uint8 (batch, h, w, 3)."""
    scheduler = DPMSolverMultistepScheduler.from_config(schedule.config)
    scheduler.set_timesteps(steps)
    batch = len(next(iter(conditions.values())))
    noise = torch.randn((batch, *shape), generator=torch.Generator().manual_seed(0)) * scheduler.init_noise_sigma
    latents = sample(denoiser, scheduler, noise.to(vae.device), conditions)
    return to_uint8(vae.decode(latents / vae.config.scaling_factor).sample)


def build_collaborator(settings: CollaboratorSettings, latent_channels: int) -> Collaborator:
    """A collaborator with the settings' weights to start from.

    Raises:
        InputError: `initial` shares no weight with the model, or the UNet does not fit the VAE's latents.
    """
    channels = settings.unet_config.get("in_channels")
    if channels != latent_channels:
        raise InputError(f"unet_config.in_channels is {channels}, but the VAE's latents have {latent_channels}")
    torch.manual_seed(settings.loop.seed)
    model = Collaborator(
        settings.modality, settings.encoder_config, settings.unet_config, settings.encoder, settings.spatial
    )
    if settings.initial is not None:
        start_collaborator(model, settings.initial)
    return model
