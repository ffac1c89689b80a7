"""Training of the networks that read pictures: the face parser and the attribute classifier."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from codiff.errors import InputError
from codiff.modalities.mask import MASK_CLASSES, colour
from codiff.pixels import from_uint8, to_uint8
from codiff.recognition import AttributeClassifier, FaceParser
from codiff.training.data import DataSettings, open_data
from codiff.training.face_data import ATTRIBUTES, IMAGE, UNKNOWN, FaceData
from codiff.training.settings import LoopSettings, Settings
from codiff.training.stage import Stage

__all__ = ["ATTRIBUTES", "AttributeClassifierStage", "FaceParserStage", "RecognitionSettings"]

_MASK = "mask"


class RecognitionSettings(Settings):
    """Settings of both networks.

    Attributes:
        channels: widths of the trunk.
        noise: largest standard deviation of the Gaussian noise added to half of the pictures, in units of [-1, 1].
        shift: largest random shift in pixels, so that the networks judge by form and not by place.
        initial: folder of a trained network of the same kind and widths to go on from; None for random weights.
    """

    channels: tuple[int, ...]
    noise: float = Field(default=0.08, ge=0)
    shift: int = Field(default=4, ge=0)
    initial: str | None = None
    data: DataSettings
    loop: LoopSettings


class _RecognitionStage(Stage):
    settings: RecognitionSettings
    model: FaceParser | AttributeClassifier
    sheets: Sequence[str]  # of a face, that a batch is made of

    def __init__(self, settings: RecognitionSettings, faces: FaceData, model: FaceParser | AttributeClassifier) -> None:
        self.settings = settings
        self.loop, self.model, self.faces = settings.loop, model, faces
        self.examples = len(faces)
        self.fingerprint = faces.fingerprint
        if settings.initial is not None:
            _copy_weights(model, settings.initial)

    def reading(self, plan: Iterable[Tensor]) -> AbstractContextManager[None]:
        return self.faces.reading(map(self._rows, plan), self.sheets)

    def _rows(self, indices: Tensor) -> list[int]:
        """The faces of these examples."""
        return indices.tolist()

    def _augmented(self, indices: Tensor, generator: torch.Generator) -> list[Tensor]:
        """Pictures (batch, 3, h, w) in [-1, 1], half of them noisy, and the masks (batch, h, w) where they are among
        the sheets, shifted alike."""
        images, *masks = self.faces.sheets(self._rows(indices), self.sheets)
        reach, side = self.settings.shift, images.shape[1]
        down, right = (int(torch.randint(0, 2 * reach + 1, (), generator=generator)) for _ in range(2))
        sheets = (from_uint8(images), *(torch.from_numpy(mask)[:, None].float() for mask in masks))
        shifted = [_widened(each, reach)[..., down : down + side, right : right + side] for each in sheets]
        strength = self.settings.noise * torch.rand(len(images), 1, 1, 1, generator=generator)
        strength *= torch.rand(len(images), 1, 1, 1, generator=generator) < 0.5
        pictures = shifted[0] + strength * torch.randn(shifted[0].shape, generator=generator)
        return [pictures, *(mask[:, 0].long() for mask in shifted[1:])]

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(folder)


def _widened(sheets: Tensor, reach: int) -> Tensor:
    """Sheets (batch, channels, h, w) with their edges repeated `reach` times on all sides."""
    return functional.pad(sheets, (reach,) * 4, mode="replicate")


def _copy_weights(model: FaceParser | AttributeClassifier, folder: str) -> None:
    """Start from the weights of a trained network.

    Raises:
        InputError: there is none in the folder, or it is of other widths or classes.
    """
    try:
        model.load_state_dict(type(model).from_pretrained(Path(folder).expanduser()).state_dict())
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"initial: {folder} holds no {type(model).__name__} like this one: {error}") from error


class FaceParserStage(_RecognitionStage):
    """Cross-entropy on every pixel."""

    name = "face parser"
    model: FaceParser
    sheets = (IMAGE, _MASK)

    def __init__(self, settings: RecognitionSettings) -> None:
        faces = open_data(settings.data, "train", [_MASK])
        torch.manual_seed(settings.loop.seed)
        super().__init__(settings, faces, FaceParser(len(MASK_CLASSES), settings.channels))

    def batch(self, indices: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        images, masks = self._augmented(indices, generator)
        return images, masks

    def losses(self, batch: tuple[Tensor, Tensor], generator: torch.Generator) -> dict[str, Tensor]:  # noqa: ARG002
        logits = self.model(batch[0]).float()
        accuracy = (logits.argmax(dim=1) == batch[1]).float().mean()
        return {"loss": functional.cross_entropy(logits, batch[1]), "accuracy": accuracy}

    def picture(self) -> Image.Image:
        """Pictures above, what the network reads in them below."""
        images, _ = self._augmented(torch.arange(min(6, self.examples)), torch.Generator().manual_seed(0))
        parsed = colour(self.model.parse(images.to(self.model.device)).cpu().numpy().astype(np.uint8))
        return Image.fromarray(
            np.concatenate([np.concatenate(list(row), axis=1) for row in (to_uint8(images), parsed)])
        )


class AttributeClassifierStage(_RecognitionStage):
    """Cross-entropy on each attribute, on the faces that are labelled."""

    name = "attribute classifier"
    model: AttributeClassifier
    sheets = (IMAGE,)

    def __init__(self, settings: RecognitionSettings) -> None:
        faces = open_data(settings.data, "train", modalities=())
        labels = faces.labels()
        torch.manual_seed(settings.loop.seed)
        super().__init__(settings, faces, AttributeClassifier(labels.classes, settings.channels))
        known = np.all([values != UNKNOWN for values in labels.targets.values()], axis=0)
        self.labelled = torch.from_numpy(np.flatnonzero(known))
        self.targets = {name: torch.from_numpy(values[known]) for name, values in labels.targets.items()}
        self.examples, self.fingerprint = len(self.labelled), labels.fingerprint

    def _rows(self, indices: Tensor) -> list[int]:
        return self.labelled[indices].tolist()

    def batch(self, indices: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        (images,) = self._augmented(indices, generator)
        return images, {name: values[indices] for name, values in self.targets.items()}

    def losses(self, batch: tuple[Tensor, dict[str, Tensor]], generator: torch.Generator) -> dict[str, Tensor]:  # noqa: ARG002
        images, targets = batch
        logits = self.model(images)
        losses = {name: functional.cross_entropy(logits[name].float(), target) for name, target in targets.items()}
        hits = {f"{name}_accuracy": logits[name].argmax(1) == target for name, target in targets.items()}
        rates = {name: hit.float().mean() for name, hit in hits.items()}
        return {"loss": torch.stack(list(losses.values())).sum(), **rates}
