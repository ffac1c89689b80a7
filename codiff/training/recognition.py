"""Training of the networks that read pictures: the face parser and the attribute classifier."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from codiff.data.face_attributes import AGES, BEARDS
from codiff.data.faces import ProceduralFaces
from codiff.errors import InputError
from codiff.modalities.mask import MASK_CLASSES, colour
from codiff.pixels import from_uint8, to_uint8
from codiff.recognition import AttributeClassifier, FaceParser
from codiff.training.data import DataSettings, open_faces
from codiff.training.settings import LoopSettings, Settings
from codiff.training.stage import Stage

ATTRIBUTES = {"age": AGES, "beard": BEARDS}


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

    def __init__(self, settings: RecognitionSettings, model: FaceParser | AttributeClassifier) -> None:
        self.settings = settings
        self.loop, self.model = settings.loop, model
        self.faces: ProceduralFaces = open_faces(settings.data, "train")
        self.examples = len(self.faces)
        self.fingerprint = self.faces.fingerprint
        if settings.initial is not None:
            _copy_weights(model, settings.initial)

    def _augmented(self, indices: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Pictures (batch, 3, h, w) in [-1, 1] and masks (batch, h, w), shifted alike, half of the pictures noisy."""
        rows = indices.numpy()
        images = from_uint8(np.stack([self.faces.array("image")[row] for row in rows]))
        masks = torch.from_numpy(np.stack([self.faces.array("mask")[row] for row in rows])).long()
        reach, side = self.settings.shift, images.shape[-1]
        down, right = (int(torch.randint(0, 2 * reach + 1, (), generator=generator)) for _ in range(2))
        images = functional.pad(images, (reach,) * 4, mode="replicate")[..., down : down + side, right : right + side]
        padded = functional.pad(masks[:, None].float(), (reach,) * 4, mode="replicate")[:, 0].long()
        strength = self.settings.noise * torch.rand(len(rows), 1, 1, 1, generator=generator)
        strength *= torch.rand(len(rows), 1, 1, 1, generator=generator) < 0.5
        images = images + strength * torch.randn(images.shape, generator=generator)
        return images, padded[..., down : down + side, right : right + side]

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(folder)


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

    def __init__(self, settings: RecognitionSettings) -> None:
        torch.manual_seed(settings.loop.seed)
        super().__init__(settings, FaceParser(len(MASK_CLASSES), settings.channels))

    def batch(self, indices: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return self._augmented(indices, generator)

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
    """Cross-entropy on each attribute."""

    name = "attribute classifier"
    model: AttributeClassifier

    def __init__(self, settings: RecognitionSettings) -> None:
        torch.manual_seed(settings.loop.seed)
        super().__init__(settings, AttributeClassifier(ATTRIBUTES, settings.channels))
        described = [self.faces.face(item).description for item in range(self.examples)]
        self.targets = {
            name: torch.tensor([classes.index(getattr(entry, name)) for entry in described])
            for name, classes in ATTRIBUTES.items()
        }

    def batch(self, indices: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        images, _ = self._augmented(indices, generator)
        return images, {name: values[indices] for name, values in self.targets.items()}

    def losses(self, batch: tuple[Tensor, dict[str, Tensor]], generator: torch.Generator) -> dict[str, Tensor]:  # noqa: ARG002
        images, targets = batch
        logits = self.model(images)
        losses = {name: functional.cross_entropy(logits[name].float(), target) for name, target in targets.items()}
        hits = {f"{name}_accuracy": logits[name].argmax(1) == target for name, target in targets.items()}
        rates = {name: hit.float().mean() for name, hit in hits.items()}
        return {"loss": torch.stack(list(losses.values())).sum(), **rates}
