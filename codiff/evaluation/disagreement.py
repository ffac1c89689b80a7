"""Where collaborators disagree: how far apart the images are that each of them foresees."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from codiff.composition import Composition
from codiff.denoiser import Conditions, Denoiser, DenoiserOutput
from codiff.sampling import predicted_original


class Listener:
    """Keeps what each collaborator foresees at each step of one sampling, without asking any of them twice.

        listener = Listener(pipe.scheduler, images=1)
        output = pipe(conditions, composition=listener.hearing(pipe.learned_composition()), return_influences=True)
        where = disagreement(output.influences, listener.foreseen)

    What is kept are the estimates for the conditions, before guidance: those without condition, which follow in the
    same call or in one of their own, are passed over.

    Args:
        scheduler: the sampling's; it says what the estimates are of.
        images: how many are made.
    """

    def __init__(self, scheduler: Any, images: int) -> None:
        self._scheduler, self._images = scheduler, images
        self._latents: dict[str, Tensor] = {}
        self._foreseen: dict[str, list[Tensor]] = {}

    @property
    def foreseen(self) -> dict[str, Tensor]:
        """Modality -> predicted x_0 at each step, (steps, batch, channels, h, w), float32 on the CPU."""
        return {modality: torch.stack(steps) for modality, steps in self._foreseen.items()}

    def hearing(self, composition: Composition) -> Composition:
        """The same rule, to be sampled once; not yet guided."""
        heard = copy.copy(composition)
        known = composition.collaborators
        heard.collaborators = {modality: partial(self._asked, modality, known[modality]) for modality in known}
        return heard

    def _asked(
        self, modality: str, denoiser: Denoiser, latents: Tensor, timestep: Tensor, conditions: Conditions
    ) -> DenoiserOutput:
        output = denoiser(latents, timestep, conditions)
        if self._latents.get(modality) is not latents:  # asked again about the same: without condition
            self._latents[modality] = latents
            estimate, wanted = output.sample[: self._images], latents[: self._images]
            foreseen = predicted_original(self._scheduler, estimate, wanted, timestep.flatten()[0])
            self._foreseen.setdefault(modality, []).append(foreseen.to("cpu", torch.float32))
        return output


def disagreement(influences: Mapping[str, Tensor], foreseen: Mapping[str, Tensor]) -> Tensor:
    """sqrt(1/C sum_c sum_m I_m (x_m - x)^2), x = sum_m I_m x_m: (steps, batch, h, w), in the latents' own units, whose
    standard deviation over images is about 1. 0 where all foresee the same, or where one decides alone.

    Its square is the ambiguity of an ensemble (Krogh & Vedelsby, NIPS 1995, eq. 5): by so much the mean of the
    collaborators' squared errors exceeds that of what they make together, whatever the true image is.

    Args:
        influences: modality -> (steps, batch, 1, h, w), normalised here.
        foreseen: modality -> x_m, the x_0 that it predicts, (steps, batch, channels, h, w).
    """
    shares = torch.stack([influences[modality] for modality in foreseen])
    shares = shares / shares.sum(dim=0)
    images = torch.stack(list(foreseen.values()))
    together = (shares * images).sum(dim=0)
    return (shares * (images - together) ** 2).sum(dim=0).mean(dim=2).sqrt()
