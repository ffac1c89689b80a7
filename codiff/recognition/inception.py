"""InceptionV3 as the Fréchet inception distance reads it, for those who have its weights."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from torch import Tensor, nn
from torch.nn import functional

from codiff.errors import InputError
from codiff.recognition.weights import load_weights

INCEPTION_FILE = "pt_inception-2015-12-05-6726825d.pth"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_SIDE, _FEATURES, _CLASSES = 299, 2048, 1008
_Kernel = int | tuple[int, int]
_Layer = tuple[str, int, _Kernel]  # name, width, kernel
_Branch = list[list[_Layer]]  # stages; the layers of one stage read the same and are concatenated


class _Convolution(nn.Module):
    def __init__(self, width: int, out: int, kernel: _Kernel, stride: int = 1, padding: int | None = None) -> None:
        super().__init__()
        height, across = (kernel, kernel) if isinstance(kernel, int) else kernel
        same = (height // 2, across // 2) if padding is None else (padding, padding)
        self.conv = nn.Conv2d(width, out, (height, across), stride, same, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(x)))


class _Mixed(nn.Module):
    """Branches of convolutions and a pooled one, concatenated. Without `pooled`, everything is halved at its end."""

    def __init__(self, width: int, branches: list[_Branch], pooled: int | None, *, average: bool = True) -> None:
        super().__init__()
        self.plan = [[[name for name, _, _ in stage] for stage in branch] for branch in branches]
        self.average, self.halves = average, pooled is None
        for branch in branches:
            reads = width
            for stage in branch:
                halved = self.halves and stage is branch[-1]
                for name, out, kernel in stage:
                    layer = _Convolution(reads, out, kernel, 2, 0) if halved else _Convolution(reads, out, kernel)
                    self.add_module(name, layer)
                reads = sum(out for _, out, _ in stage)
        if pooled is not None:
            self.branch_pool = _Convolution(width, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        found = []
        for branch in self.plan:
            hidden = x
            for stage in branch:
                hidden = torch.cat([self.get_submodule(name)(hidden) for name in stage], dim=1)
            found.append(hidden)
        if self.halves:
            return torch.cat([*found, functional.max_pool2d(x, 3, stride=2)], dim=1)
        if self.average:  # over the pixels that are there: TensorFlow does not count padding
            pool = functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
        else:
            pool = functional.max_pool2d(x, 3, stride=1, padding=1)
        return torch.cat([*found, self.branch_pool(pool)], dim=1)


def _block_5(width: int, pooled: int) -> _Mixed:
    double: _Branch = [[("branch3x3dbl_1", 64, 1)], [("branch3x3dbl_2", 96, 3)], [("branch3x3dbl_3", 96, 3)]]
    single: _Branch = [[("branch5x5_1", 48, 1)], [("branch5x5_2", 64, 5)]]
    return _Mixed(width, [[[("branch1x1", 64, 1)]], single, double], pooled)


def _block_6(narrow: int) -> _Mixed:
    kernels: dict[int, _Kernel] = {1: 1, 2: (7, 1), 3: (1, 7), 4: (7, 1), 5: (1, 7)}
    double: _Branch = [[(f"branch7x7dbl_{k}", 192 if k == 5 else narrow, kernel)] for k, kernel in kernels.items()]
    single: _Branch = [[("branch7x7_1", narrow, 1)], [("branch7x7_2", narrow, (1, 7))], [("branch7x7_3", 192, (7, 1))]]
    return _Mixed(768, [[[("branch1x1", 192, 1)]], single, double], 192)


def _block_7(width: int, *, average: bool) -> _Mixed:
    def fork(name: str) -> list[_Layer]:
        return [(f"{name}a", 384, (1, 3)), (f"{name}b", 384, (3, 1))]

    single: _Branch = [[("branch3x3_1", 384, 1)], fork("branch3x3_2")]
    double: _Branch = [[("branch3x3dbl_1", 448, 1)], [("branch3x3dbl_2", 384, 3)], fork("branch3x3dbl_3")]
    return _Mixed(width, [[[("branch1x1", 320, 1)]], single, double], 192, average=average)


def _halving_6() -> _Mixed:
    double: _Branch = [[("branch3x3dbl_1", 64, 1)], [("branch3x3dbl_2", 96, 3)], [("branch3x3dbl_3", 96, 3)]]
    return _Mixed(288, [[[("branch3x3", 384, 3)]], double], None)


def _halving_7() -> _Mixed:
    kernels: dict[int, _Kernel] = {1: 1, 2: (1, 7), 3: (7, 1), 4: 3}
    wide: _Branch = [[(f"branch7x7x3_{k}", 192, kernel)] for k, kernel in kernels.items()]
    single: _Branch = [[("branch3x3_1", 192, 1)], [("branch3x3_2", 320, 3)]]
    return _Mixed(768, [single, wide], None)


class InceptionV3(nn.Module):
    """InceptionV3 (Szegedy et al., 2015, arXiv:1512.00567) up to its pooled features, in the variant that TensorFlow's
    FID used: averages leave padding out, and the last block takes the maximum instead. The names of its weights are
    those of the port to PyTorch by M. Seitzer (pytorch-fid), whose `pt_inception-2015-12-05-6726825d.pth` it loads.

    Checked against that port's source: names, shapes and operations. Not checked: the numbers, without the weights.
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Convolution(3, 32, 3, 2, 0)
        self.Conv2d_2a_3x3 = _Convolution(32, 32, 3, 1, 0)
        self.Conv2d_2b_3x3 = _Convolution(32, 64, 3)
        self.Conv2d_3b_1x1 = _Convolution(64, 80, 1)
        self.Conv2d_4a_3x3 = _Convolution(80, 192, 3, 1, 0)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = _block_5(192, 32), _block_5(256, 64), _block_5(288, 64)
        self.Mixed_6a = _halving_6()
        self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e = (_block_6(k) for k in (128, 160, 160, 192))
        self.Mixed_7a = _halving_7()
        self.Mixed_7b, self.Mixed_7c = _block_7(1280, average=True), _block_7(2048, average=False)
        self.fc = nn.Linear(_FEATURES, _CLASSES)  # in the file, and read by nothing here

    @classmethod
    def from_pretrained(cls, source: str | Path) -> InceptionV3:
        """With the weights in a file, or in the file of the port's name in a hub repository `owner/name`.

        Raises:
            InputError: there is no such file or repository, or it holds other weights.
        """
        model = cls()
        load_weights(model, _find(source), "the InceptionV3 of the FID")
        return model.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Features (batch, 2048), >= 0, of pictures (batch, 3, h, w) in [-1, 1], which are resized to 299 x 299 as the
        port does it, without antialiasing."""
        x = functional.interpolate(images, size=(_SIDE, _SIDE), mode="bilinear", align_corners=False)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = functional.max_pool2d(x, 3, stride=2)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))
        x = functional.max_pool2d(x, 3, stride=2)
        for block in "5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c":
            x = self.get_submodule(f"Mixed_{block}")(x)
        return x.mean(dim=(2, 3))


def _find(source: str | Path) -> Path:
    path = Path(source).expanduser()
    if path.is_file() or not _HUB_ID.fullmatch(str(source)):
        return path
    try:
        return Path(hf_hub_download(str(source), INCEPTION_FILE))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"there is no weight file {path}, nor {INCEPTION_FILE} in that hub id: {reason}") from error
