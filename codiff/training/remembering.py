"""Models that answer the same question once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Remembering:
    """A collaborator or dynamic diffuser that remembers its last answer: rules that are trained on the same batch share
    what they ask of it.

    Args:
        model: called with (latents, timesteps, conditions or tokens).
    """

    def __init__(self, model: Any) -> None:
        self.model, self.config = model, model.config
        self._asked: tuple[Tensor, Tensor, Any] | None = None
        self._answer: Any = None

    def __call__(self, latents: Tensor, timestep: Tensor, conditions: Any) -> Any:
        """What the model says, worked out anew for other latents, other timesteps or another object of conditions."""
        if self._asked is None or not self._is_the_same(latents, timestep, conditions):
            self._asked, self._answer = (latents, timestep, conditions), self.model(latents, timestep, conditions)
        return self._answer

    def _is_the_same(self, latents: Tensor, timestep: Tensor, conditions: Any) -> bool:
        assert self._asked is not None
        before, when, known = self._asked
        return known is conditions and torch.equal(before, latents) and torch.equal(when, timestep)
