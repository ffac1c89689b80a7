"""Does a picture obey its mask? Pixel accuracy of a face parser's reading."""

from __future__ import annotations

import torch
from torch import Tensor

from codiff.errors import InputError
from codiff.recognition import FaceParser


@torch.no_grad()
def mask_accuracy(parser: FaceParser, images: Tensor, masks: Tensor) -> Tensor:
    """Share of pixels that the parser labels as the mask does, per image: (batch,) in [0, 1]
    (Huang et al., arXiv:2304.10530, section 5.2).

    Args:
        images: (batch, 3, h, w) in [-1, 1].
        masks: integer labels (batch, h, w).

    Raises:
        InputError: images and masks do not pair, or hold a class that the parser does not know.
    """
    if images.shape[0] != masks.shape[0] or images.shape[-2:] != masks.shape[-2:]:
        raise InputError(f"images {tuple(images.shape)} and masks {tuple(masks.shape)} do not pair")
    if len(masks) and int(masks.max()) >= parser.config.classes:
        raise InputError(f"the masks hold class {int(masks.max())}, the parser knows {parser.config.classes} classes")
    return (parser.parse(images) == masks).float().mean(dim=(1, 2))
