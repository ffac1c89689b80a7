"""Networks that tell persons apart, from files that others published."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from codiff.errors import InputError

Box = tuple[float, float, float, float]

WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
"""The whole picture."""

ARCFACE: Box = (0.111, 0.119, 0.882, 0.890)
"""The part of a picture in CelebA-HQ's frame, its eyes at (0.375, 0.474) and (0.617, 0.474), whose eyes lie where
ArcFace's template has them, at (0.342, 0.461) and (0.656, 0.461) (Deng et al., 2019, arXiv:1801.07698)."""


class FaceEmbedder:
    """A face's direction in the space of a recognition network.

    Args:
        network: pictures (batch, 3, size, size) in [-1, 1] -> embeddings (batch, d).
        size: side in pixels that the network reads.
        box: left, top, right and bottom of the part that it is shown, as shares of the sides.
        bgr: the network reads blue first.

    Raises:
        InputError: a box that is empty or reaches outside.
    """

    def __init__(
        self, network: Callable[[Tensor], Tensor], *, size: int = 112, box: Box = ARCFACE, bgr: bool = False
    ) -> None:
        left, top, right, bottom = box
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            raise InputError(f"the box {box} is empty or reaches outside; expected left < right, top < bottom")
        self.network, self.size, self.box, self.bgr = network, size, box, bgr

    @classmethod
    def from_file(cls, path: str | Path, *, size: int = 112, box: Box = ARCFACE, bgr: bool = False) -> FaceEmbedder:
        """With the network in an `.onnx` file (needs onnxruntime) or a TorchScript `.pt` file.

        A TorchScript file is a program that runs with your rights: only take one from a source that you trust.

        Raises:
            InputError: there is no such file, it is of another kind or damaged, or onnxruntime is missing.
        """
        path = Path(path).expanduser()
        if not path.is_file():
            raise InputError(f"there is no face recognition model {path}; give an .onnx or TorchScript file")
        load = {".onnx": _onnx, ".pt": _torchscript, ".ts": _torchscript, ".jit": _torchscript}.get(path.suffix.lower())
        if load is None:
            raise InputError(f"{path} is neither .onnx nor TorchScript (.pt); export the model to one of them")
        return cls(load(path), size=size, box=box, bgr=bgr)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Embeddings (batch, d) of unit length of images (batch, 3, h, w) in [-1, 1].

        Raises:
            InputError: the network answers with something else than a vector an image.
        """
        height, width = images.shape[-2:]
        left, top, right, bottom = self.box
        rows = slice(round(top * height), max(round(bottom * height), round(top * height) + 1))
        columns = slice(round(left * width), max(round(right * width), round(left * width) + 1))
        shown = images[:, :, rows, columns].float()
        shown = functional.interpolate(shown, (self.size, self.size), mode="bilinear", antialias=True)
        found = self.network(shown.flip(1) if self.bgr else shown)
        if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != len(images):
            shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise InputError(f"the face recognition model answers {shape}, but ({len(images)}, d) is expected")
        return functional.normalize(found.float(), dim=1)


def _torchscript(path: Path) -> Callable[[Tensor], Tensor]:
    try:
        network = torch.jit.load(path, map_location="cpu")
    except (RuntimeError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{path} is not a TorchScript model: {reason}") from error
    return network.eval()


def _onnx(path: Path) -> Callable[[Tensor], Tensor]:
    try:
        runtime = importlib.import_module("onnxruntime")
    except ImportError as error:
        raise InputError(f"{path} needs onnxruntime, which is not installed: pip install 'codiff[identity]'") from error
    try:
        session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no class
        raise InputError(f"{path} is not an ONNX model: {str(error).splitlines()[0]}") from error
    name = session.get_inputs()[0].name

    def network(pictures: Tensor) -> Tensor:
        answer = session.run(None, {name: pictures.cpu().numpy().astype(np.float32)})[0]
        return torch.from_numpy(np.array(answer))

    return network
