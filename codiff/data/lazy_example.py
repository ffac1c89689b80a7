"""An example whose picture and conditions are read when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray


class LazyExample:
    """One picture and its raw conditions; each is read once, at first use.

    Args:
        name: of the image.
        read_image: gives the picture uint8 (size, size, 3).
        readers: modality -> gives its raw conditions.
    """

    def __init__(
        self,
        name: str,
        read_image: Callable[[], NDArray[np.uint8]],
        readers: Mapping[str, Callable[[], Sequence[Any]]],
    ) -> None:
        self.name = name
        self.alternatives: Mapping[str, Sequence[Any]] = LazyMapping(readers)
        self._read_image = read_image

    @cached_property
    def image(self) -> NDArray[np.uint8]:
        """The picture, (size, size, 3) in 0..255."""
        return self._read_image()

    @property
    def conditions(self) -> dict[str, Any]:
        """Raw conditions by modality, the first of the alternatives, as a pipeline takes them."""
        return {modality: alternatives[0] for modality, alternatives in self.alternatives.items()}


class LazyMapping(Mapping[str, Sequence[Any]]):
    """A mapping whose values are read at first use, by these functions."""

    def __init__(self, readers: Mapping[str, Callable[[], Sequence[Any]]]) -> None:
        self._readers = readers
        self._read: dict[str, Sequence[Any]] = {}

    def __getitem__(self, name: str) -> Sequence[Any]:
        if name not in self._read:
            self._read[name] = self._readers[name]()
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __len__(self) -> int:
        return len(self._readers)
