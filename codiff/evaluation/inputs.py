"""What every metric asks of its inputs; call these before anything is generated, and nothing is generated in vain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from codiff.errors import InputError
from codiff.modalities.mask import MASK_CLASSES


class Parser(Protocol):
    """Labels the pixels of a picture."""

    @property
    def classes(self) -> int:
        """How many classes it tells apart."""

    def parse(self, images: Tensor) -> Tensor:
        """The class of each pixel, int64 (batch, h, w), of images (batch, 3, h, w) in [-1, 1]."""


def check_images(images: Tensor, what: str = "images") -> None:
    """Refuse what is not at least one finite image (batch, 3, h, w) in [-1, 1].

    Raises:
        InputError: no images, another shape, integers, values that are not finite or out of range.
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise InputError(f"{what} shaped {tuple(images.shape)}; expected (batch, 3, h, w)")
    if images.numel() == 0:
        raise InputError(f"there are no {what}: nothing can be measured")
    if not images.is_floating_point():
        raise InputError(f"{what} of {images.dtype}; expected floats in [-1, 1] (codiff.pixels.from_uint8)")
    low, high = (float(bound) for bound in torch.aminmax(images.detach()))
    if not -1.001 <= low <= high <= 1.001:  # false for NaN too; decoders overshoot by rounding
        raise InputError(f"{what} hold values from {low:.3g} to {high:.3g}; expected [-1, 1]")


def check_pairs(images: Tensor, masks: Tensor) -> None:
    """Refuse images (batch, 3, h, w) and masks (batch, h, w) that differ in number or size.

    Raises:
        InputError: they do not pair, or as `check_images`.
    """
    if images.shape[:1] != masks.shape[:1] or images.shape[-2:] != masks.shape[-2:] or masks.ndim != 3:
        raise InputError(f"images {tuple(images.shape)} and masks {tuple(masks.shape)} do not pair")
    check_images(images)


def check_masks(parser: Parser, masks: Tensor) -> None:
    """Refuse masks that a parser cannot judge; needs no images, so ask before they are generated.

    Raises:
        InputError: no masks, another shape than (batch, h, w), no integers, or a class that the parser does not know.
    """
    if masks.ndim != 3 or masks.is_floating_point() or masks.dtype == torch.bool:
        raise InputError(f"masks {tuple(masks.shape)} of {masks.dtype}; expected integer labels (batch, h, w)")
    if masks.numel() == 0:
        raise InputError("there are no masks: nothing can be measured")
    low, high = (int(bound) for bound in torch.aminmax(masks))
    if low < 0 or high >= parser.classes:
        raise InputError(f"the masks hold class {min(low, 0) or high}, the parser knows {parser.classes} classes")


def check_parser(parser: Parser, names: Sequence[str] = MASK_CLASSES) -> None:
    """Refuse a parser whose classes cannot be those of the masks.

    Raises:
        InputError: it tells apart more or fewer classes than there are names.
    """
    if parser.classes != len(names):
        raise InputError(
            f"the parser knows {parser.classes} classes, the masks have {len(names)}; take a parser of the same classes"
        )


def check_features(features: Tensor, what: str, least: int = 1) -> None:
    """Refuse features (n, d) that are empty, too few or broken.

    Raises:
        InputError: another shape, fewer than `least` rows, or values that are not finite.
    """
    if features.ndim != 2 or features.shape[1] == 0:
        raise InputError(f"{what} features shaped {tuple(features.shape)}; expected (images, d)")
    if len(features) < least:
        raise InputError(f"{len(features)} {what} images; at least {least} are needed")
    if not bool(torch.isfinite(features).all()):
        raise InputError(f"{what} features hold values that are not finite: look at those images")


def check_same_width(first: Tensor, second: Tensor) -> None:
    """Refuse features of different extractors (InputError)."""
    if first.shape[1] != second.shape[1]:
        raise InputError(f"features of {first.shape[1]} and {second.shape[1]} numbers are of different extractors")


def check_feature_sets(real: Tensor, generated: Tensor) -> None:
    """Refuse features (images, d) of two sets that no distance can be measured between.

    Raises:
        InputError: fewer than 2 images in one, values that are not finite, or different extractors.
    """
    check_features(real, "real", 2)
    check_features(generated, "generated", 2)
    check_same_width(real, generated)


def check_equally_many(first: Tensor, second: Tensor) -> None:
    """Refuse features of methods that are not paired row by row (InputError)."""
    if len(first) != len(second):
        raise InputError(f"paired methods must have equally many images, got {len(first)} and {len(second)}")
