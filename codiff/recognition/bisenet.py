"""BiSeNet, the face parser of photographs, for those who have its weights."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from codiff.modalities.mask import MASK_CLASSES
from codiff.recognition.weights import load_weights

BISENET_CLASSES = (
    "background",
    "skin",
    "left_brow",
    "right_brow",
    "left_eye",
    "right_eye",
    "eyeglass",
    "left_ear",
    "right_ear",
    "earring",
    "nose",
    "mouth",
    "upper_lip",
    "lower_lip",
    "neck",
    "necklace",
    "cloth",
    "hair",
    "hat",
)
"""Names by index of what the published weights answer: another order than `MASK_CLASSES`."""

_SIDE = 512
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, for pictures in [0, 1]


def to_mask_classes(labels: Tensor) -> Tensor:
    """Labels (...) in BiSeNet's order -> the same parts in the order of `MASK_CLASSES`, which is CelebAMask-HQ's."""
    table = [MASK_CLASSES.index(name) for name in BISENET_CLASSES]
    return torch.tensor(table, device=labels.device)[labels]


class _Convolution(nn.Module):
    def __init__(self, width: int, out: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, out, kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(x)))


class _Residual(nn.Module):
    def __init__(self, width: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        shortcut = [nn.Conv2d(width, out, 1, stride, bias=False), nn.BatchNorm2d(out)]
        self.downsample = nn.Sequential(*(shortcut if stride != 1 or width != out else ()))

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        return functional.relu(self.downsample(x) + hidden)


class _ResNet18(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = nn.Sequential(_Residual(64, 64, 1), _Residual(64, 64, 1))
        self.layer2 = nn.Sequential(_Residual(64, 128, 2), _Residual(128, 128, 1))
        self.layer3 = nn.Sequential(_Residual(128, 256, 2), _Residual(256, 256, 1))
        self.layer4 = nn.Sequential(_Residual(256, 512, 2), _Residual(512, 512, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """At 1/8, 1/16 and 1/32 of the size."""
        x = functional.max_pool2d(functional.relu(self.bn1(self.conv1(x))), 3, stride=2, padding=1)
        eighth = self.layer2(self.layer1(x))
        sixteenth = self.layer3(eighth)
        return eighth, sixteenth, self.layer4(sixteenth)


class _Refinement(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = _Convolution(width, 128, 3)
        self.conv_atten = nn.Conv2d(128, 128, 1, bias=False)
        self.bn_atten = nn.BatchNorm2d(128)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x * self.bn_atten(self.conv_atten(x.mean(dim=(2, 3), keepdim=True))).sigmoid()


class _ContextPath(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.resnet = _ResNet18()
        self.arm16, self.arm32 = _Refinement(256), _Refinement(512)
        self.conv_head32, self.conv_head16 = _Convolution(128, 128, 3), _Convolution(128, 128, 3)
        self.conv_avg = _Convolution(512, 128, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the backbone saw at 1/8 of the size, and its context there."""
        eighth, sixteenth, last = self.resnet(x)
        context = self.arm32(last) + self.conv_avg(last.mean(dim=(2, 3), keepdim=True))
        context = self.conv_head32(functional.interpolate(context, sixteenth.shape[2:]))
        context = self.arm16(sixteenth) + context
        return eighth, self.conv_head16(functional.interpolate(context, eighth.shape[2:]))


class _Fusion(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convblk = _Convolution(256, 256, 1)
        self.conv1 = nn.Conv2d(256, 64, 1, bias=False)
        self.conv2 = nn.Conv2d(64, 256, 1, bias=False)

    def forward(self, seen: Tensor, context: Tensor) -> Tensor:
        x = self.convblk(torch.cat([seen, context], dim=1))
        attention = self.conv2(functional.relu(self.conv1(x.mean(dim=(2, 3), keepdim=True)))).sigmoid()
        return x + x * attention


class _Head(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.conv = _Convolution(width, hidden, 3)
        self.conv_out = nn.Conv2d(hidden, len(BISENET_CLASSES), 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        labels: Tensor = self.conv_out(self.conv(x))
        return labels


class BiSeNet(nn.Module):
    """BiSeNet (Yu et al., 2018, arXiv:1808.00897) with a ResNet-18, as trained on CelebAMask-HQ by zllrunning
    (face-parsing.PyTorch), whose file `79999_iter.pth` it loads.

    It answers in the order of `MASK_CLASSES`, whatever the order inside. A second difference cannot be undone: it was
    trained on masks in which later parts of *its* order lie on top (glasses on eyes, hair on neck and cloth), while
    CelebAMask-HQ's own script lets later parts of its order win (eyes on glasses, neck and cloth on hair). Where parts
    overlap, even a perfect picture is therefore not read exactly as its mask; measure real pictures beside.

    Checked against published sources: names, shapes, operations and label order. Not checked: the numbers, without the
    weights.
    """

    def __init__(self) -> None:
        super().__init__()
        self.classes = len(BISENET_CLASSES)
        self.cp = _ContextPath()
        self.ffm = _Fusion()
        self.conv_out = _Head(256, 256)
        self.conv_out16, self.conv_out32 = _Head(128, 64), _Head(128, 64)  # helped the training; in the file
        self.register_buffer("mean", torch.tensor(_MEAN).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).reshape(1, 3, 1, 1), persistent=False)

    mean: Tensor
    std: Tensor

    @classmethod
    def from_pretrained(cls, path: str | Path) -> BiSeNet:
        """With the weights in a `.pth` or `.safetensors` file.

        Raises:
            InputError: there is no such file, or it holds other weights.
        """
        model = cls()
        load_weights(model, path, "the BiSeNet face parser")
        return model.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (batch, 19, h, w), in the order of `BISENET_CLASSES`, of images (batch, 3, h, w) in [-1, 1], which the
        network sees at 512 x 512."""
        x = functional.interpolate(images, (_SIDE, _SIDE), mode="bilinear", align_corners=False, antialias=True)
        logits = self.conv_out(self.ffm(*self.cp(((x + 1) / 2 - self.mean) / self.std)))
        logits = functional.interpolate(logits, (_SIDE, _SIDE), mode="bilinear", align_corners=True)
        if images.shape[-2:] == logits.shape[-2:]:
            return logits
        return functional.interpolate(logits, images.shape[-2:], mode="bilinear", align_corners=False)

    @torch.no_grad()
    def parse(self, images: Tensor) -> Tensor:
        """The most likely class of each pixel in the order of `MASK_CLASSES`: int64 (batch, h, w)."""
        return to_mask_classes(self(images).argmax(dim=1))
