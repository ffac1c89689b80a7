"""What all editors share: checked inputs, tokens, noise, and the one way to sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from codiff.composition import Composition, check_modalities
from codiff.denoiser import Conditions, Denoiser
from codiff.editing.edit import OnStep, Sampling
from codiff.editing.photo import Photo, read_photo
from codiff.errors import InputError
from codiff.image_files import ImageSource
from codiff.pipeline import CollaborativePipeline, Generators
from codiff.sampling import Step, sample


class Session:
    """One call of an editor: everything is checked here, before any work.

    Args:
        pipe: stays as it is.
        image: one picture, or as many as images are made.
        conditions: the target: modality -> raw condition, or a list of them; any subset of the pipeline's modalities.
        sampling: how to sample.
        generator: one an image; None for one image from a fresh seed.
        latents: initial noise (batch, channels, h, w) of unit variance in place of the generators' own.

    Raises:
        InputError: a picture, a condition or a setting is wrong, or batch sizes do not agree.
    """

    def __init__(
        self,
        pipe: CollaborativePipeline,
        image: ImageSource | Sequence[ImageSource],
        conditions: Mapping[str, Any],
        sampling: Sampling,
        generator: Generators = None,
        latents: Tensor | None = None,
    ) -> None:
        check_modalities(conditions, pipe.collaborators)
        self.pipe, self.sampling = pipe, sampling
        pipe.note_guidance(sampling.guidance_scale, self.composition(), stacklevel=4)
        self.scheduler = pipe.scheduler_for(sampling.num_inference_steps)
        photo = read_photo(pipe, image)
        tokens = pipe.encode_conditions(conditions)
        self.sources = pipe.generators_for({**tokens, "photo": photo.latents}, generator, latents)
        self.photo: Photo = photo.expanded(self.batch)
        self.target = self.expanded(tokens)
        self.step_kwargs = pipe.step_kwargs(self.scheduler, sampling.eta, self.sources)
        self._latents = latents

    @property
    def batch(self) -> int:
        """How many images are made."""
        return len(self.sources)

    def expanded(self, tokens: Conditions) -> dict[str, Tensor]:
        """Tokens for the whole batch.

        Raises:
            InputError: they are for another number of images.
        """
        for modality, value in tokens.items():
            if len(value) not in (1, self.batch):
                raise InputError(
                    f"{len(value)} {modality} conditions for {self.batch} images; give one, or one for each image"
                )
        return {modality: value.expand(self.batch, *value.shape[1:]) for modality, value in tokens.items()}

    def encoded(self, conditions: Mapping[str, Any]) -> dict[str, Tensor]:
        """Tokens of raw conditions for the whole batch.

        Raises:
            InputError: a condition is wrong, or of a modality that the model lacks.
        """
        check_modalities(conditions, self.pipe.collaborators)
        return self.expanded(self.pipe.encode_conditions(conditions))

    def noise(self) -> Tensor:
        """The given latents, or the generators' noise: (batch, channels, h, w) of unit variance."""
        return self.pipe.initial_noise(self.sources, self._latents)

    def composition(self) -> Composition:
        """The sampling's rule, or what the dynamic diffusers were trained for."""
        return self.sampling.composition or self.pipe.learned_composition()

    def guided(self, composition: Composition, tokens: Conditions, scale: float | None = None) -> Denoiser:
        """A composition that asks the collaborators for these tokens with guidance; the sampling's scale without."""
        unconditional = self.pipe.collaborators.unconditional(tokens)
        return composition.guided(unconditional, self.sampling.guidance_scale if scale is None else scale)

    def sample(
        self,
        start: Tensor,
        *,
        scheduler: Any = None,
        composition: Composition | None = None,
        tokens: Conditions | None = None,
        step_kwargs: Mapping[str, Any] | None = None,
        on_step: OnStep | None = None,
        replace: Any = None,
    ) -> Tensor:
        """Denoise from `start` towards the target; the session's scheduler, rule and tokens where none are given.

        Args:
            replace: (step) -> latents that take the place of the loop's after the step.
        """
        wanted = self.target if tokens is None else tokens
        denoiser = self.guided(composition or self.composition(), wanted)

        def after(step: Step) -> Tensor | None:
            if on_step is not None:
                on_step(step)
            return None if replace is None else replace(step)

        return sample(
            denoiser,
            self.scheduler if scheduler is None else scheduler,
            start,
            wanted,
            step_kwargs=self.step_kwargs if step_kwargs is None else step_kwargs,
            on_step=after,
        )

    @torch.no_grad()
    def decode(self, latents: Tensor) -> list[Image.Image]:
        """Pictures of latents."""
        pictures: list[Image.Image] = self.pipe.decode(latents)
        self.pipe.maybe_free_model_hooks()
        return pictures


def as_array(images: Sequence[Image.Image]) -> np.ndarray:
    """(batch, h, w, 3) bytes of pictures of one size."""
    return np.stack([np.asarray(image) for image in images])


def check_share(value: float, what: str) -> None:
    """Raises:
    InputError: not from 0 to 1.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise InputError(f"{what} must be from 0 to 1, not {value!r}")
