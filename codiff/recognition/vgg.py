"""VGG-16 as a measure of likeness, for those who have its weights."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from codiff.errors import InputError
from codiff.recognition.weights import read_state

# Convolutions by stage; their last activations are what perceptual losses compare.
_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, for pictures in [0, 1]


class VGG16(nn.Module):
    """The convolutions of VGG-16 (Simonyan & Zisserman, arXiv:1409.1556, configuration D)."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = 3
        for stage, widths in enumerate(_STAGES):
            if stage:
                layers.append(nn.MaxPool2d(2))
            for out in widths:
                layers += [nn.Conv2d(width, out, 3, padding=1), nn.ReLU()]
                width = out
        self.layers = nn.Sequential(*layers)
        self.register_buffer("mean", torch.tensor(_MEAN).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).reshape(1, 3, 1, 1), persistent=False)

    @classmethod
    def from_pretrained(cls, path: str | Path) -> VGG16:
        """With the weights in a `.safetensors` or `.pth` file, named `features.0.weight`, ... as everywhere; a
        classifier beside them is left out.

        Raises:
            InputError: the file cannot be read, or holds other weights.
        """
        path = Path(path).expanduser()
        try:
            state = {
                name.removeprefix("features."): value
                for name, value in read_state(path).items()
                if name.startswith("features.")
            }
            model = cls()
            model.layers.load_state_dict(state)
        except Exception as error:  # whatever a foreign file leads a reader to
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"{path} does not hold the weights of VGG-16: {reason}") from error
        return model.eval().requires_grad_(False)

    def features(self, images: Tensor) -> list[Tensor]:
        """The last activations of each stage for pictures (batch, 3, h, w) in [-1, 1], h and w at least 16."""
        found = []
        hidden = ((images + 1) / 2 - self.mean) / self.std
        for layer in self.layers:
            if isinstance(layer, nn.MaxPool2d):
                found.append(hidden)
            hidden = layer(hidden)
        return [*found, hidden]
