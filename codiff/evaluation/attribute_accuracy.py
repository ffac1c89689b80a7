"""Does a picture obey its caption? Accuracy of a classifier's reading of each attribute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from codiff.errors import InputError
from codiff.evaluation.inputs import check_images
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
        InputError: an attribute or a class that the classifier does not know, lengths that differ, or wrong images.
    """
    check_images(images)
    for name, classes in truth.items():
        if len(classes) != len(images):
            raise InputError(f"{len(images)} images but {len(classes)} values of {name!r}")
        check_attributes(classifier, [{name: value} for value in classes])
    known = classifier.config.attributes
    read = classifier.classify(images)
    expected = {name: torch.tensor([known[name].index(value) for value in classes]) for name, classes in truth.items()}
    return {name: (read[name].cpu() == target).float() for name, target in expected.items()}


def check_attributes(classifier: AttributeClassifier, labels: Sequence[Mapping[str, str]]) -> None:
    """Refuse labels that a classifier cannot judge.

    Args:
        labels: of each image, attribute -> class.

    Raises:
        InputError: an attribute or a class that it does not know.
    """
    known = classifier.config.attributes
    for name, value in (pair for each in labels for pair in each.items()):
        if name not in known:
            raise InputError(f"the classifier does not know {name!r}; it knows {', '.join(known)}")
        if value not in known[name]:
            raise InputError(f"{name} {value!r} is unknown to the classifier; it knows {', '.join(known[name])}")
