"""Does a picture obey its caption? Accuracy of a classifier's reading of each attribute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from codiff.errors import InputError
from codiff.recognition import AttributeClassifier


@torch.no_grad()
def attribute_accuracy(
    classifier: AttributeClassifier, images: Tensor, truth: Mapping[str, Sequence[str]]
) -> dict[str, Tensor]:
    """Attribute -> 1 where the classifier reads the true class, else 0: each (batch,).

    Args:
        images: (batch, 3, h, w) in [-1, 1].
        truth: attribute -> true class of each image.

    Raises:
        InputError: an attribute or a class that the classifier does not know, or lengths that differ.
    """
    known = classifier.config.attributes
    for name, classes in truth.items():
        if name not in known:
            raise InputError(f"the classifier does not know {name!r}; it knows {', '.join(known)}")
        if len(classes) != len(images):
            raise InputError(f"{len(images)} images but {len(classes)} values of {name!r}")
        unknown = sorted(set(classes) - set(known[name]))
        if unknown:
            raise InputError(f"{name} {unknown[0]!r} is unknown to the classifier; it knows {', '.join(known[name])}")
    read = classifier.classify(images)
    expected = {name: torch.tensor([known[name].index(value) for value in classes]) for name, classes in truth.items()}
    return {name: (read[name].cpu() == target).float() for name, target in expected.items()}
