"""One uni-modal diffusion model: a condition encoder and a UNet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import Tensor

from codiff.conditional_unet import ConditionalUNet
from codiff.denoiser import Conditions, DenoiserOutput
from codiff.errors import InputError
from codiff.modalities.modality import Modality
from codiff.model_dict import ModelDict


class Collaborator(ModelMixin, ConfigMixin):
    """A conditional diffusion model of one modality; is itself a `Denoiser`.

    Args:
        modality: the name its condition has in `Conditions`.
        encoder_name: registered name of the condition encoder; None for the one named like the modality.
        encoder_config: JSON-able arguments of the encoder.
        unet_config: arguments of diffusers' `UNet2DConditionModel` (`in_channels` counts the latents alone).
        spatial: channels of the map that the tokens are read as besides cross-attention, see `ConditionalUNet`.
    """

    @register_to_config
    def __init__(
        self,
        modality: str,
        encoder_config: dict[str, Any],
        unet_config: dict[str, Any],
        encoder_name: str | None = None,
        spatial: int = 0,
    ) -> None:
        super().__init__()
        self.modality = modality
        self.encoder = Modality.create(encoder_name or modality, encoder_config)
        self.network = ConditionalUNet(unet_config, spatial)

    @property
    def latent_channels(self) -> int:
        """Channels of the latents it denoises."""
        return int(self.config.unet_config["in_channels"])

    @apply_forward_hook
    def encode(self, raw: Any) -> Tensor:
        """Tokens (n, tokens, features) of one raw condition, or of a list of them."""
        return self.encoder.encode(raw).to(self.dtype)

    def unconditional(self, tokens: Tensor) -> Tensor:
        """The tokens that stand for "no condition" in classifier-free guidance: zeros, which no encoder produces."""
        return torch.zeros_like(tokens)

    def forward(self, latents: Tensor, timestep: Tensor, conditions: Conditions) -> DenoiserOutput:
        """The noise in latents (batch, channels, h, w) at timesteps (batch,), given the tokens of its own modality."""
        return DenoiserOutput(self.network(latents, timestep, conditions[self.modality]))

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:
        """Write config, weights and the encoder's assets into a folder."""
        super().save_pretrained(save_directory, **kwargs)
        self.encoder.save_assets(Path(save_directory))

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> Collaborator:
        """Load what `save_pretrained` wrote.

        Raises:
            InputError: an asset is missing or broken.
        """
        model: Collaborator = super().from_pretrained(pretrained_model_name_or_path, **kwargs)
        model.encoder.load_assets(Path(pretrained_model_name_or_path))
        return model


Collaborator.__module__ = "codiff"


class Collaborators(ModelDict[Collaborator]):
    """Collaborators by modality."""

    member = Collaborator

    @classmethod
    def of(cls, models: Mapping[str, Collaborator]) -> Any:
        """The collaborators by modality.

        Raises:
            InputError: a name that cannot be used, or that is not the collaborator's own.
        """
        for modality, model in models.items():
            if model.modality != modality:
                raise InputError(f"a collaborator of {model.modality!r} cannot stand for {modality!r}")
        return super().of(models)

    def encode(self, raw: dict[str, Any]) -> dict[str, Tensor]:
        """Tokens of raw conditions, modality by modality."""
        return {modality: self[modality].encode(value) for modality, value in raw.items()}

    def unconditional(self, conditions: Conditions) -> dict[str, Tensor]:
        """The "no condition" tokens that match the conditions."""
        return {modality: self[modality].unconditional(tokens) for modality, tokens in conditions.items()}


Collaborators.__module__ = "codiff"
