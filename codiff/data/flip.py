"""Mirrored examples: a horizontal flip that keeps left and right true."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codiff.data.example import Example, Examples
from codiff.data.lazy_example import LazyExample
from codiff.errors import InputError
from codiff.modalities.mask import flip_labels


def mirrored(pixels: NDArray[Any]) -> NDArray[Any]:
    """A picture (h, w, 3) or drawing (h, w) with its columns in reverse order."""
    return np.ascontiguousarray(pixels[:, ::-1])


def _unchanged(words: str) -> str:
    """Captions of faces name no side."""
    return words


FLIPS: Mapping[str, Callable[[Any], Any]] = {"text": _unchanged, "mask": flip_labels, "sketch": mirrored}
"""How a raw condition of each modality is mirrored: captions str, label maps and drawings uint8 (h, w)."""


def flipped(example: Example) -> LazyExample:
    """The mirrored example: the person's left eye, brow and ear become the right ones in the mask.

    Raises:
        InputError: it has a condition of a modality that `FLIPS` does not know.
    """
    unknown = [modality for modality in example.alternatives if modality not in FLIPS]
    if unknown:
        raise InputError(f"{unknown[0]}: it is not known how a flip changes it; known: {', '.join(FLIPS)}")
    readers = {modality: partial(_flipped_alternatives, example, modality) for modality in example.alternatives}
    return LazyExample(f"{getattr(example, 'name', '')}-flipped", lambda: mirrored(example.image), readers)


def _flipped_alternatives(example: Example, modality: str) -> list[Any]:
    return [FLIPS[modality](raw) for raw in example.alternatives[modality]]


class WithFlips(Sequence[Example]):
    """Examples 0 .. n - 1 as they are, and n .. 2n - 1 mirrored: which one a number means never depends on chance, so a
    training over them resumes exactly."""

    def __init__(self, examples: Examples) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return 2 * len(self.examples)

    def __getitem__(self, item: int) -> Example:  # type: ignore[override]
        if not 0 <= item < len(self):
            raise IndexError(item)
        flip, original = divmod(item, len(self.examples))
        return flipped(self.examples[original]) if flip else self.examples[original]

    def __iter__(self) -> Iterator[Example]:
        return (self[item] for item in range(len(self)))
