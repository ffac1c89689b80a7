"""Judges of edits that need no reference but the photo and the model itself."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from codiff.recognition import AttributeClassifier

_SPOKEN_OF = 0.6  # mean probability of a class among the references from which on they agree about an attribute
_LEAST = 0.002  # share of the picture that a part must have to show a colour, or that it must gain or lose to count
_FAR = 128.0  # levels of difference that count as another person


class Parser(Protocol):
    """Labels the pixels of a picture."""

    def parse(self, images: Tensor) -> Tensor:
        """Classes (batch, h, w) of images (batch, 3, h, w) in [-1, 1]."""


class LikeReferences:
    """Whether a classifier reads in an edit what it reads in pictures that the model drew for the target alone.

    So nobody has to say which attributes a target speaks of: those about which the references agree.

    Args:
        classifier: of attributes.
        references: (n, 3, h, w) in [-1, 1].
    """

    def __init__(self, classifier: AttributeClassifier, references: Tensor) -> None:
        self.classifier = classifier
        shares = {name: values.mean(dim=0) for name, values in self._probabilities(references).items()}
        agreed = {name: int(values.argmax()) for name, values in shares.items() if values.max() >= _SPOKEN_OF}
        self.wanted = agreed or {name: int(values.argmax()) for name, values in shares.items()}

    def __call__(self, images: Tensor) -> Tensor:
        """Mean probability of the wanted classes, (batch,) in [0, 1]."""
        found = self._probabilities(images)
        return torch.stack([found[name][:, index] for name, index in self.wanted.items()]).mean(dim=0)

    @torch.no_grad()
    def _probabilities(self, images: Tensor) -> dict[str, Tensor]:
        return {name: logits.softmax(dim=1) for name, logits in self.classifier(images).items()}


class ChangedParts:
    """Whether an edit changes what its target mask changes in the photo.

    Each part that comes, goes or moves counts the same, glasses as much as hair, and what stays counts nothing: of all
    pixels, most are right before any edit.

    Args:
        parser: finds the parts.
        photo: (1, 3, h, w) in [-1, 1].
        target: labels (h, w).
    """

    def __init__(self, parser: Parser, photo: Tensor, target: Tensor) -> None:
        self.parser, self.target = parser, target
        shown = parser.parse(photo)[0]
        changed = {int(part): (shown == part) != (target == part) for part in torch.cat([shown, target]).unique()}
        self.places = {part: place for part, place in changed.items() if place.float().mean() >= _LEAST}

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Mean over the parts of the share of their changed pixels that show the part where the target has it and not
        elsewhere, (batch,) in [0, 1]; the share of all pixels that are right where nothing changes."""
        labels = self.parser.parse(images)
        if not self.places:
            return (labels == self.target).float().mean(dim=(1, 2))
        right = [
            ((labels == part) == (self.target == part))[:, place].float().mean(dim=1)
            for part, place in self.places.items()
        ]
        return torch.stack(right).mean(dim=0)


class SameColours:
    """Whether the parts of a face keep their colours: in drawings, that is what makes the person.

    Args:
        parser: finds the parts.
        photo: (1, 3, h, w) in [-1, 1].
        target: labels (h, w) of an edit; parts that it takes away do not count.
    """

    def __init__(self, parser: Parser, photo: Tensor, target: Tensor | None = None) -> None:
        self.parser = parser
        self.known = self._colours(photo)[0]
        if target is not None:
            self.known = {part: colour for part, colour in self.known.items() if (target == part).any()}

    def __call__(self, images: Tensor) -> Tensor:
        """1 less the mean difference between the median colours of the parts that show in both, (batch,) in [0, 1]."""
        return torch.stack([self._score(colours) for colours in self._colours(images)])

    def _score(self, colours: dict[int, Tensor]) -> Tensor:
        shared = [part for part in self.known if part in colours]
        if not shared:
            return torch.tensor(0.0)
        distances = torch.stack([(colours[part] - self.known[part]).square().mean().sqrt() for part in shared])
        return 1 - (127.5 * distances / _FAR).clamp(max=1).mean()

    @torch.no_grad()
    def _colours(self, images: Tensor) -> list[dict[int, Tensor]]:
        """Of each image: part -> median colour (3,) in [-1, 1]."""
        found = []
        for image, labels in zip(images, self.parser.parse(images), strict=True):
            parts, counts = labels.unique(return_counts=True)
            large = [int(part) for part, count in zip(parts, counts, strict=True) if count >= _LEAST * labels.numel()]
            found.append({part: image[:, labels == part].median(dim=1).values for part in large})
        return found
