"""Does a picture obey its mask? Pixel accuracy of a face parser's reading."""

from __future__ import annotations

import torch
from torch import Tensor

from codiff.evaluation.inputs import Parser, check_masks, check_pairs


@torch.no_grad()
def mask_accuracy(parser: Parser, images: Tensor, masks: Tensor) -> Tensor:
    """Share of pixels that the parser labels as the mask does, per image: (batch,) in [0, 1]
    (Huang et al., arXiv:2304.10530, section 5.2).

    Args:
        parser: codiff's `FaceParser`, or `BiSeNet` for photographs, which answers in the order of our masks.
        images: (batch, 3, h, w) in [-1, 1].
        masks: integer labels (batch, h, w).

    Raises:
        InputError: images and masks do not pair, or hold a class that the parser does not know.
    """
    check_pairs(images, masks)
    check_masks(parser, masks)
    return (parser.parse(images) == masks.to(images.device)).float().mean(dim=(1, 2))
