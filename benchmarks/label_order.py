"""What forgetting a face parser's label order costs: `python -m benchmarks.label_order`.

A parser that reads every pixel of drawn validation faces correctly, but numbers the parts as the published BiSeNet
does, is asked without bringing its answers to CelebAMask-HQ's order. Prints pixel accuracy and mIoU with bootstrap 95%
intervals.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from torch import Tensor

from codiff.data.faces import ProceduralFaces
from codiff.evaluation.intervals import mean_interval
from codiff.evaluation.mask_accuracy import mask_accuracy
from codiff.evaluation.mask_iou import mask_iou, mask_overlaps
from codiff.modalities.mask import MASK_CLASSES
from codiff.recognition.bisenet import BISENET_CLASSES


class Misnumbered:
    """Reads everything correctly and answers in BiSeNet's order.

    Args:
        masks: the truth in CelebAMask-HQ's order, (batch, h, w).
    """

    classes = len(MASK_CLASSES)

    def __init__(self, masks: Tensor) -> None:
        self.answer = torch.tensor([BISENET_CLASSES.index(name) for name in MASK_CLASSES])[masks]

    def parse(self, images: Tensor) -> Tensor:
        """Labels (batch, h, w), whatever the images."""
        return self.answer[: len(images)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=int, default=3000, help="of the validation split")
    parser.add_argument("--size", type=int, default=64)
    arguments = parser.parse_args()
    faces = ProceduralFaces("validation", arguments.size, limit=arguments.faces)
    masks = torch.from_numpy(np.stack([face.mask for face in faces])).long()
    wrong, blank = Misnumbered(masks), torch.zeros(len(masks), 3, *masks.shape[1:])
    accuracy = mean_interval(mask_accuracy(wrong, blank, masks).double().numpy())
    overlap = mask_iou(mask_overlaps(wrong, blank, masks)).mean
    print(f"{len(masks)} faces, {arguments.size} pixels: accuracy {accuracy.percent()} %, mIoU {overlap.percent()} %")


if __name__ == "__main__":
    main()
