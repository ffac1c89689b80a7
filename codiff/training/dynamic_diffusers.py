"""Stage 3: the dynamic diffusers, over frozen collaborators."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from diffusers import AutoencoderKL, DDPMScheduler
from PIL import Image
from pydantic import Field
from torch import Tensor

from codiff.collaborator import Collaborators
from codiff.composition import learned_rule, learned_rules, rule
from codiff.data.example import Examples
from codiff.dynamic_diffuser import HEADS, DynamicDiffuser, DynamicDiffusers
from codiff.loss import denoising_loss
from codiff.training.collaborator import PICTURED, by_noise_level, draw_noise, sampled_images
from codiff.training.initial import start_dynamic_diffusers
from codiff.training.prepared import PreparedConditions, PreparedLatents, weights_digest
from codiff.training.remembering import Remembering
from codiff.training.settings import LoopSettings, Settings
from codiff.training.stage import Stage


class DynamicDiffusersSettings(Settings):
    """Settings of all dynamic diffusers of a model.

    Attributes:
        unet_config: see `DynamicDiffuser`; as many `out_channels` as the activation needs.
        spatial: modality -> channels of its map, see `DynamicDiffuser`; 0 where it is not named.
        schedule: as the collaborators'.
        activation: "softmax" as in the paper; "softplus" for `AdditiveCollaborative`, whose collaborators must have
            been trained with condition dropout; or "both" at once, a logit each on one trunk, on the mean of their
            losses, at about the cost of the latter.
        modality_dropout: probability that a modality is absent from a batch (two always stay), so that subsets work.
        initial: folder of dynamic diffusers whose weights of the same modality, name and shape are the start; None for
            random ones.
        loop: see `LoopSettings`.
    """

    unet_config: dict[str, Any]
    spatial: dict[str, int] = Field(default={})
    schedule: dict[str, Any]
    activation: Literal["softmax", "softplus", "both"] = "softmax"
    modality_dropout: float = Field(default=0.3, ge=0, lt=1)
    initial: str | None = None
    loop: LoopSettings


class DynamicDiffusersStage(Stage):
    """Algorithm 1 of arXiv:2304.10530: || eps - sum_m I_m (.) eps_m ||^2, collaborators frozen, by the rule or the mean
    over the rules that the influences are for."""

    name = "dynamic diffusers"
    settings: DynamicDiffusersSettings
    model: DynamicDiffusers

    def __init__(
        self,
        settings: DynamicDiffusersSettings,
        vae: AutoencoderKL,
        examples: Examples,
        collaborators: Collaborators,
        cache: Path | None,
    ) -> None:
        self.settings = settings
        self.loop, self.vae = settings.loop, vae
        self.examples = len(examples)
        self.collaborators = collaborators.eval().requires_grad_(False)
        self.frozen = [vae, collaborators]
        torch.manual_seed(settings.loop.seed)
        unet_config = {**settings.unet_config, "out_channels": len(HEADS[settings.activation])}
        self.model = DynamicDiffusers.of(
            {m: DynamicDiffuser(unet_config, settings.spatial.get(m, 0), settings.activation) for m in collaborators}
        )
        if settings.initial is not None:
            start_dynamic_diffusers(self.model, settings.initial)
        self.schedule = DDPMScheduler(**settings.schedule)
        self.latents = PreparedLatents(vae, examples, cache)
        self.fingerprint = f"{self.latents.fingerprint}, {weights_digest(collaborators)}"
        self.conditions = {m: PreparedConditions(collaborators[m].encoder, m, examples, cache) for m in collaborators}

    def batch(self, indices: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        inputs = {modality: prepared.draw(indices, generator) for modality, prepared in self.conditions.items()}
        return self.latents.draw(indices, generator), inputs

    def losses(self, batch: tuple[Tensor, dict[str, Tensor]], generator: torch.Generator) -> dict[str, Tensor]:
        latents, inputs = batch
        present = self._present(generator)
        with torch.no_grad():
            tokens = {modality: self.collaborators[modality].encoder(inputs[modality]) for modality in present}
        noise, timesteps = draw_noise(latents, self.schedule, generator)
        collaborators = {modality: Remembering(self.collaborators[modality]) for modality in present}
        diffusers: Any = {modality: Remembering(self.model[modality]) for modality in present}
        each = {}
        for name in learned_rules(self.model):
            composition = rule(name, collaborators, diffusers).guided(self.collaborators.unconditional(tokens), 1.0)
            each[name] = denoising_loss(composition, self.schedule, latents, tokens, noise, timesteps)
        loss = torch.stack(list(each.values())).mean(dim=0)
        apart = {name: value.mean().detach() for name, value in each.items()} if len(each) > 1 else {}
        return {"loss": loss.mean(), **apart, **by_noise_level(loss, timesteps, self.schedule)}

    def _present(self, generator: torch.Generator) -> list[str]:
        """The modalities of one batch: at least two, where there are two."""
        names = list(self.collaborators)
        draws = torch.rand(len(names), generator=generator)
        keep = {int(index) for index in torch.nonzero(draws >= self.settings.modality_dropout).flatten()}
        for index in torch.argsort(draws, descending=True)[:2]:
            keep.add(int(index))
        return [name for index, name in enumerate(names) if index in keep]

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(folder)

    def picture(self) -> Image.Image:
        """Drawable conditions above, what all collaborators make of them together below."""
        generator = torch.Generator().manual_seed(0)
        inputs = self.batch(torch.arange(min(PICTURED, self.examples)), generator)[1]
        device = self.model.device
        tokens = {m: self.collaborators[m].encoder(values.to(device)) for m, values in inputs.items()}
        composition = rule(learned_rule(self.model), self.collaborators, self.model)
        composition = composition.guided(self.collaborators.unconditional(tokens), 2.0)
        images = sampled_images(composition, self.vae, self.schedule, tokens, self.latents.mean.shape[1:])
        rows = []
        for modality, value in inputs.items():
            shown = [self.collaborators[modality].encoder.picture(row[None], images.shape[1]) for row in value]
            rows.append([np.asarray(picture) for picture in shown if picture is not None])
        return Image.fromarray(np.concatenate([np.concatenate(row, axis=1) for row in [*rows, list(images)] if row]))
