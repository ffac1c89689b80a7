"""The denoising loss of every rule at every noise level: where mixing pays, and where one collaborator would do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import DDPMScheduler
from numpy.typing import NDArray
from torch import Tensor

from codiff.denoiser import Conditions, Denoiser, DenoiserOutput
from codiff.evaluation.benchmark_data import Case
from codiff.evaluation.intervals import Estimate, difference_interval, mean_interval
from codiff.evaluation.methods import Method, conditions_of
from codiff.loss import denoising_loss
from codiff.pipeline import CollaborativePipeline
from codiff.pixels import from_uint8

TIMESTEPS = (980, 950, 900, 800, 700, 600, 500, 400, 300, 200, 100, 20)
"""Of 1,000; others in proportion."""

SEED = 2_000_000
"""Of the noise of the first picture."""


class _Remembering:
    """A collaborator that answers the same question once: rules differ in what they make of the answers."""

    def __init__(self, modality: str, denoiser: Denoiser) -> None:
        self.modality, self.denoiser = modality, denoiser
        self._known: list[tuple[tuple[Tensor, ...], DenoiserOutput]] = []

    def __call__(self, latents: Tensor, timestep: Tensor, conditions: Conditions) -> DenoiserOutput:
        asked = latents, timestep, conditions[self.modality]
        for known, answer in self._known:
            if all(
                ours.shape == theirs.shape and torch.equal(ours, theirs)
                for ours, theirs in zip(asked, known, strict=True)
            ):
                return answer
        self._known.append((asked, self.denoiser(latents, timestep, conditions)))
        return self._known[-1][1]

    def forget(self) -> None:
        """At the next timestep nothing is asked again."""
        self._known.clear()


def timesteps_of(scheduler: object, wanted: Sequence[int] = TIMESTEPS) -> list[int]:
    """The timesteps for a scheduler's number of training timesteps, each once."""
    count = scheduler.config.num_train_timesteps  # type: ignore[attr-defined]
    return list(dict.fromkeys(min(timestep * count // 1000, count - 1) for timestep in wanted))


@torch.no_grad()
def losses(
    pipe: CollaborativePipeline,
    methods: Sequence[Method],
    cases: Sequence[Case],
    seeds: Sequence[int],
    timesteps: Sequence[int],
) -> dict[str, Tensor]:
    """Mean squared error of each method's estimate, without guidance: method -> (batch, timesteps), in the squared
    units of what the model predicts (noise, or the velocity of Salimans & Ho, arXiv:2202.00512).

    Args:
        cases: with real pictures.
        seeds: of each picture's noise, which is the same for every method.
    """
    schedule = DDPMScheduler.from_config(pipe.scheduler.config)
    pictures = from_uint8(np.stack([case.picture for case in cases])).to(pipe.device, pipe.vae.dtype)
    latents = pipe.vae.encode(pictures).latent_dist.mean * pipe.vae.config.scaling_factor
    latents = latents.to(pipe.collaborators.dtype)
    tokens = pipe.collaborators.encode(conditions_of(pipe.modalities, cases))
    tokens = {modality: value.to(pipe.device) for modality, value in tokens.items()}
    unconditional = pipe.collaborators.unconditional(tokens)
    remembering = {modality: _Remembering(modality, pipe.collaborators[modality]) for modality in pipe.modalities}
    rules = {}
    for method in methods:
        rule = method.composition(pipe)
        rule.collaborators = remembering
        rules[method.name] = rule.guided(unconditional, 1.0)
    found: dict[str, list[Tensor]] = {method.name: [] for method in methods}
    for place, timestep in enumerate(timesteps):
        noise = _noise(seeds, place, latents)
        steps = torch.full((len(cases),), timestep, device=latents.device)
        for method in methods:
            given = {modality: tokens[modality] for modality in method.modalities}
            loss = denoising_loss(rules[method.name], schedule, latents, given, noise, steps)
            found[method.name].append(loss.float().cpu())
        for collaborator in remembering.values():
            collaborator.forget()
    return {name: torch.stack(parts, dim=1) for name, parts in found.items()}


def _noise(seeds: Sequence[int], place: int, latents: Tensor) -> Tensor:
    draws = [
        torch.randn(latents.shape[1:], generator=torch.Generator().manual_seed(seed * len(TIMESTEPS) + place))
        for seed in seeds
    ]
    return torch.stack(draws).to(latents)


@dataclass(frozen=True)
class LossTable:
    """Losses of all methods.

    Attributes:
        timesteps: from noise to picture.
        losses: method -> at each timestep.
        best_single: name of the best single collaborator at each timestep.
        gains: rule -> at each timestep its loss minus that of the best single, with the interval over pictures; below
            0 mixing pays.
    """

    timesteps: list[int]
    losses: dict[str, list[Estimate]]
    best_single: list[str]
    gains: dict[str, list[Estimate]]

    def verdict(self, rule: str, place: int) -> str:
        """Whether a rule beats the best single collaborator there."""
        gain = self.gains[rule][place]
        return "mixing pays" if gain.high < 0 else "one would do" if gain.low > 0 else "no difference"


def loss_table(found: Mapping[str, Tensor], methods: Sequence[Method], timesteps: Sequence[int]) -> LossTable:
    """The table of per-picture losses, method -> (pictures, timesteps)."""
    values = {method.name: found[method.name].double().numpy() for method in methods}
    singles = [method.name for method in methods if method.is_single]
    means = [values[name].mean(axis=0) for name in singles]
    best = [singles[place] for place in np.argmin(means, axis=0)] if singles else []
    places = range(len(timesteps))
    gains = {
        method.name: [difference_interval(values[method.name][:, at], values[best[at]][:, at]) for at in places]
        for method in methods
        if not method.is_single and singles
    }
    return LossTable(list(timesteps), {name: _estimates(value) for name, value in values.items()}, best, gains)


def _estimates(values: NDArray[np.float64]) -> list[Estimate]:
    return [mean_interval(column) for column in values.T]
