"""The two stages that learn a picture, step by step, so that they can stop after any and go on."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping

import torch
from diffusers import DDPMScheduler
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor, nn

from codiff.composition import Composition
from codiff.denoiser import Denoiser
from codiff.editing.learned import Learned
from codiff.editing.tuning import Tuned
from codiff.errors import InputError
from codiff.interruption import postponed
from codiff.loss import denoising_loss
from codiff.pipeline import CollaborativePipeline

Draw = Callable[[int], tuple[Tensor, Tensor]]
"""Step -> noise (batch, channels, h, w) and timesteps (batch,) of its loss: a pure function."""

OnLearning = Callable[[int, int, float], None]
"""Called after each step with its number from 1, how many there are, and its loss."""


class Learner:
    """Continues an edit from where it stands.

    Args:
        pipe: stays as it is.
        learned: is filled; its tokens are where stage A begins.
        latents: the picture's, (1, channels, h, w).
        composition: what `together` learns through.
        draw: noise and timesteps; None for a function of the settings' seed.

    Raises:
        InputError: the pipeline is offloaded, or the learned weights do not fit.
    """

    def __init__(
        self,
        pipe: CollaborativePipeline,
        learned: Learned,
        latents: Tensor,
        composition: Composition,
        draw: Draw | None = None,
    ) -> None:
        if pipe.is_offloaded:
            raise InputError("imagic trains, so the model cannot be offloaded; move it to one device with pipe.to(...)")
        self.learned, self.latents, self.composition = learned, latents, composition
        self.draw = draw or self._drawn
        self.scheduler = DDPMScheduler.from_config(pipe.scheduler.config)
        settings = learned.settings
        self.tuned = {
            modality: Tuned(pipe.collaborators[modality], settings.rank, _generator(settings.seed, modality))
            for modality in learned.tokens
        }
        for modality, weights in learned.weights.items():
            self.tuned[modality].load(weights)
        self.tokens = {
            modality: nn.Parameter(value.to(latents.device).float().clone())
            for modality, value in learned.tokens.items()
        }
        self.optimizer: torch.optim.Adam | None = None

    def merged(self) -> dict[str, Denoiser]:
        """The fine-tuned collaborators by modality, as `Tuned.merged` makes them for sampling."""
        return {modality: tuned.merged() for modality, tuned in self.tuned.items()}

    def run(self, on_learning: OnLearning | None = None) -> None:
        """Make all steps that are left. Whatever ends it, `learned` then holds the state after a whole step.

        Raises:
            KeyboardInterrupt: SIGINT or SIGTERM came.
            InputError: the loss is not finite.
        """
        learned = self.learned
        with postponed() as asked:
            try:
                while not learned.finished and not asked.signal:
                    loss = self.step()
                    if on_learning is not None:
                        on_learning(learned.done, learned.total, loss)
            finally:
                self._record()
        if asked.signal:
            raise KeyboardInterrupt

    def step(self) -> float:
        """One optimiser step; its loss."""
        settings, learned = self.learned.settings, self.learned
        group, place = divmod(learned.done, settings.token_steps + settings.model_steps)
        modalities = learned.groups[group]
        stage_a = place < settings.token_steps
        begins = place in (0, settings.token_steps)
        values = self._learns(modalities, stage_a)
        if self.optimizer is None or begins:
            self.optimizer = torch.optim.Adam(values, lr=settings.token_rate if stage_a else settings.model_rate)
            if not begins:
                _restore(self.optimizer, learned.optimizer)
        loss = self.loss(modalities, *self.draw(learned.done))
        gradients = torch.autograd.grad(loss, values, allow_unused=True)
        if not bool(torch.isfinite(loss)):
            raise InputError("the loss of imagic is not finite; lower the learning rates, or load the model in float32")
        for value, gradient in zip(values, gradients, strict=True):
            value.grad = gradient
        self.optimizer.step()
        learned.done += 1
        return float(loss.detach())

    def loss(self, modalities: list[str], noise: Tensor, timesteps: Tensor) -> Tensor:
        """How badly these collaborators tell the picture's noise under the tokens as they are: of one alone, or of
        their composition."""
        count = len(noise)
        denoiser: Denoiser = self.tuned[modalities[0]].model
        if len(modalities) > 1:
            denoiser = over(self.composition, {modality: tuned.model for modality, tuned in self.tuned.items()})
        dtype = self.latents.dtype
        tokens = {m: self.tokens[m].to(dtype).expand(count, *self.tokens[m].shape[1:]) for m in modalities}
        latents = self.latents.expand(count, *self.latents.shape[1:])
        return denoising_loss(denoiser, self.scheduler, latents, tokens, noise.to(dtype), timesteps).mean()

    def _learns(self, modalities: list[str], stage_a: bool) -> list[nn.Parameter]:
        if stage_a:
            return [self.tokens[modality] for modality in modalities]
        return [value for modality in modalities for value in self.tuned[modality].parameters.values()]

    def _drawn(self, step: int) -> tuple[Tensor, Tensor]:
        settings = self.learned.settings
        generator = _generator(settings.seed, "step", step)
        shape, device = (settings.batch_size, *self.latents.shape[1:]), self.latents.device
        limit = self.scheduler.config.num_train_timesteps
        timesteps = torch.randint(limit, (settings.batch_size,), generator=generator).to(device)
        return randn_tensor(shape, generator=generator, device=device), timesteps

    def _record(self) -> None:
        """Bring what was learned into `learned`."""
        learned = self.learned
        learned.tokens = {modality: value.detach().cpu().clone() for modality, value in self.tokens.items()}
        learned.weights = {modality: tuned.state() for modality, tuned in self.tuned.items()}
        unfinished = not learned.finished and self.optimizer is not None
        learned.optimizer = _state(self.optimizer) if unfinished and self.optimizer is not None else {}


def over(composition: Composition, collaborators: Mapping[str, Denoiser]) -> Composition:
    """The same rule over other collaborators."""
    other = copy.copy(composition)
    other.collaborators = collaborators
    return other


def _generator(*parts: int | str) -> torch.Generator:
    """Seeded by its parts."""
    digest = hashlib.sha256(":".join(map(str, parts)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def _state(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {f"{index}.{name}": value.detach().cpu() for index, entry in state.items() for name, value in entry.items()}


def _restore(optimizer: torch.optim.Optimizer, flat: Mapping[str, Tensor]) -> None:
    state = optimizer.state_dict()
    entries: dict[int, dict[str, Tensor]] = {}
    for key, value in flat.items():
        index, name = key.split(".", 1)
        entries.setdefault(int(index), {})[name] = value
    state["state"] = entries
    optimizer.load_state_dict(state)
