"""A training stage: what the loop trains, on what, and against which loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from codiff.training.settings import LoopSettings, Settings


class Stage(ABC):
    """One kind of training. The loop owns optimiser, precision, order, checkpoints and pictures; a stage owns the rest."""

    name: str
    settings: Settings
    loop: LoopSettings
    model: nn.Module  # what is trained; frozen parameters are left out of the optimiser
    examples: int  # size of the training set

    @abstractmethod
    def batch(self, indices: Tensor, generator: torch.Generator) -> Any:
        """The examples of these indices (batch,), augmented with this generator, on the CPU."""

    @abstractmethod
    def losses(self, batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
        """Scalars by name, computed with `self.model`; "loss" is the one that is minimised."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the trained model into a folder."""

    def picture(self) -> Image.Image | None:
        """What the model can do now, for the record."""
        return None
