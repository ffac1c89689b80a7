"""A training stage: what the loop trains, on what, and against which loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from codiff.training.settings import LoopSettings, Settings


class Stage(ABC):
    """One kind of training. The loop owns optimiser, precision, device, order and checkpoints, a stage the rest."""

    name: str
    settings: Settings
    loop: LoopSettings
    model: nn.Module  # what is trained; frozen parameters are left out of the optimiser
    examples: int  # size of the training set
    frozen: Sequence[nn.Module] = ()  # what losses and pictures need besides `model`: follows it to its device
    fingerprint: str | None = None  # of the data and the frozen models: a training that resumes must see the same

    @abstractmethod
    def batch(self, indices: Tensor, generator: torch.Generator) -> Any:
        """The examples of these indices (batch,), augmented with this generator, on the CPU; the loop moves them."""

    def reading(self, plan: Iterable[Tensor]) -> AbstractContextManager[None]:  # noqa: ARG002
        """Where `batch` will be called with the indices (batch,) of the plan, in its order: what it needs of files can
        then be read ahead."""
        return nullcontext()

    @abstractmethod
    def losses(self, batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
        """Scalars by name, computed with `self.model`; "loss" is the one that is minimised."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the trained model into a folder."""

    def picture(self) -> Image.Image | None:
        """What the model can do now, for the record."""
        return None
