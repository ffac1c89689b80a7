"""The deterministic way from a picture to its noise and back, which two editors share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from codiff.composition import Composition, Mean
from codiff.denoiser import Denoiser
from codiff.editing.edit import OnStep, Sampling
from codiff.editing.schedule import FromMiddle, ddim, ddim_inverse, first_step
from codiff.editing.session import Session
from codiff.errors import InputError
from codiff.sampling import Step, sample

REFINEMENTS = 2


class Inversion:
    """A picture's latents on their way to noise (Song et al., "DDIM", 2021, arXiv:2010.02502, section 4.3).

    The plain inverse asks the model about the latents before a step instead of after it, and the errors add up: at few
    steps the noise found leads to another picture. So each step's result is refined by fixed-point iteration until the
    scheduler's own step leads back (as Pan et al., arXiv:2309.04907).

    Args:
        session: its picture is encoded.
        source: tokens of what the picture shows; None for no condition.
        strength: share of the schedule, from 0 to 1.
        composition: rule to ask; None for the session's.
        refinements: iterations of each step, each of which asks the model once more.
        on_step: called after each step of the way in, and of `retraced`.

    Attributes:
        path: latents (batch, channels, h, w) from the picture's own to the noisiest, one more than steps.

    Raises:
        InputError: no condition, and a model that does not know what that means.
    """

    def __init__(
        self,
        session: Session,
        source: Mapping[str, Tensor] | None,
        strength: float,
        *,
        composition: Composition | None = None,
        refinements: int = REFINEMENTS,
        on_step: OnStep | None = None,
    ) -> None:
        self._session, self._on_step = session, on_step
        steps = session.sampling.num_inference_steps
        self._begin = first_step(steps, strength)
        self._denoiser, self._tokens = unguided(session, source, composition)
        self.path: list[Tensor] = [session.photo.latents]
        scheduler = ddim_inverse(session.scheduler, steps, session.photo.latents.device)
        scheduler.timesteps = scheduler.timesteps[: steps - self._begin]
        out = ddim(session.scheduler, steps, session.photo.latents.device)

        def after(step: Step) -> Tensor:
            self.path.append(self._refined(step, out, refinements))
            self._told(step)
            return self.path[-1]

        if len(scheduler.timesteps):
            sample(self._denoiser, scheduler, self.path[0], self._tokens, on_step=after)

    @property
    def start(self) -> Tensor:
        """The noisiest latents; contiguous, as they come back from a file: other strides are rounded otherwise."""
        return self.path[-1].contiguous()

    @property
    def way_out(self) -> Any:
        """A scheduler that goes back the same steps; one for each sampling."""
        steps = self._session.sampling.num_inference_steps
        return FromMiddle(ddim(self._session.scheduler, steps, self.start.device), self._begin)

    def retraced(self) -> Tensor:
        """What the same conditions decode of the noise: the picture's latents again, but for the error."""
        return sample(self._denoiser, self.way_out, self.start, self._tokens, on_step=self._told)

    def _told(self, step: Step) -> None:
        if self._on_step is not None:
            self._on_step(step)

    def _refined(self, step: Step, out: Any, refinements: int) -> Tensor:
        """x with x + (x_before - DDIM(x)) = x, where DDIM is one step of the way out."""
        latents, timestep = step.latents, step.timestep
        for _ in range(refinements):
            estimate = self._denoiser(latents, timestep.expand(len(latents)), self._tokens).sample
            latents = latents + (self.path[-1] - out.step(estimate, timestep, latents).prev_sample)
        return latents


def unguided(
    session: Session, tokens: Mapping[str, Tensor] | None, composition: Composition | None = None
) -> tuple[Denoiser, Mapping[str, Tensor]]:
    """A denoiser without guidance and the tokens to ask it with; None stands for no condition: the plain mean of the
    collaborators, since dynamic diffusers were never asked about absent conditions.

    Raises:
        InputError: no condition, and a model that was trained without condition dropout.
    """
    if tokens is not None:
        return session.guided(composition or session.composition(), tokens, 1.0), tokens
    if not session.pipe.config.condition_dropout:
        raise InputError(
            "this model was trained without condition dropout and knows no picture without conditions: say what the "
            "photo shows (source conditions)"
        )
    return Mean(session.pipe.collaborators), session.pipe.collaborators.unconditional(session.target)


def check_deterministic(sampling: Sampling, editor: str) -> None:
    """Raises:
    InputError: an eta, which a path that is to be retraced cannot have.
    """
    if sampling.eta:
        raise InputError(f"{editor} retraces a path, so it takes no eta; leave it at 0")


@torch.no_grad()
def reconstruction_error(session: Session, rebuilt: Tensor) -> float:
    """Root mean square difference to the picture's latents, which have about unit variance."""
    return float((rebuilt - session.photo.latents).float().pow(2).mean().sqrt())
