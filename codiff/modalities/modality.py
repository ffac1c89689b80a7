"""A modality: raw condition -> validated tensor -> tokens."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import Tensor, nn

from codiff.errors import InputError

ENTRY_POINT_GROUP = "codiff.modalities"


class Modality(nn.Module, ABC):
    """Condition encoder of one modality. Subclass with `class Palette(Modality, name="palette")` to add one.

    A subclass is constructed from JSON-able keyword arguments alone: they are saved in the collaborator's
    `config.json` and given back on loading. Whatever else it needs (a vocabulary, say) are its assets.
    """

    name: ClassVar[str]
    _registry: ClassVar[dict[str, type[Modality]]] = {}

    def __init_subclass__(cls, *, name: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if name is None:
            return
        known = Modality._registry.get(name)
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise TypeError(f"modality {name!r} is already defined by {known.__module__}.{known.__qualname__}")
        cls.name = name
        Modality._registry[name] = cls

    @staticmethod
    def create(name: str, config: dict[str, Any]) -> Modality:
        """Construct the registered modality `name`; packages can register theirs as `codiff.modalities` entry points.

        Raises:
            InputError: unknown name, or arguments that the modality does not take.
        """
        if name not in Modality._registry:
            for entry in entry_points(group=ENTRY_POINT_GROUP, name=name):
                entry.load()
        if name not in Modality._registry:
            known = ", ".join(sorted(Modality._registry))
            raise InputError(f"unknown modality encoder {name!r}; known: {known}. Import the module that defines it.")
        cls = Modality._registry[name]
        try:
            inspect.signature(cls).bind(**config)
        except TypeError as error:
            raise InputError(f"modality {name!r} cannot be built from {config}: {error}") from error
        return cls(**config)

    @abstractmethod
    def read(self, raw: Any) -> Tensor:
        """Validate one raw condition: a tensor (n, ...) whose first dimension is the batch (n = 1 but for batches given
        as arrays or tensors).

        Raises:
            InputError: what is wrong with the condition and what is accepted.
        """

    @abstractmethod
    def forward(self, inputs: Tensor) -> Tensor:
        """Tokens (batch, tokens, features) of validated conditions."""

    @torch.no_grad()
    def encode(self, raw: Any) -> Tensor:
        """Tokens (n, tokens, features) of one raw condition or of a list or tuple of them."""
        return self(self.read_all(raw).to(next(self.parameters()).device))

    def read_all(self, raw: Any) -> Tensor:
        """Validate one raw condition or a list or tuple of them: (n, ...)."""
        items: Sequence[Any] = raw if isinstance(raw, (list, tuple)) else [raw]
        if not items:
            raise InputError(f"the list of {self.name} conditions is empty; leave the modality out instead")
        return torch.cat([self.read(item) for item in items])

    def fit(self, raws: Iterable[Any]) -> None:
        """Learn from a training set's raw conditions, before the training, what no gradient can: a vocabulary, say.

        Modalities that learn nothing so never iterate over `raws`; those that have learned it keep what they know.
        """

    def picture(self, inputs: Tensor, size: int) -> Image.Image | None:  # noqa: ARG002
        """One validated condition (1, ...) drawn as an RGB image (size, size); None where there is nothing to draw."""
        return None

    def describe(self, inputs: Tensor) -> str:  # noqa: ARG002
        """One validated condition (1, ...) in words, for captions of pictures and for metadata."""
        return self.name

    def save_assets(self, folder: Path) -> None:
        """Write what the constructor's arguments do not hold."""

    def load_assets(self, folder: Path) -> None:
        """Read what `save_assets` wrote.

        Raises:
            InputError: an asset is missing or broken.
        """
