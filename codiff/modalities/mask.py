"""The mask modality: which part of a face each pixel shows, as CelebAMask-HQ labels it."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from codiff.errors import InputError, InputNotice
from codiff.image_files import check_pixels, open_raw, square
from codiff.modalities.modality import Modality
from codiff.modalities.stem import ConvStem, check_size
from codiff.tensor_files import load_tensor

MASK_CLASSES = (
    "background",
    "skin",
    "nose",
    "eyeglass",
    "left_eye",
    "right_eye",
    "left_brow",
    "right_brow",
    "left_ear",
    "right_ear",
    "mouth",
    "upper_lip",
    "lower_lip",
    "hair",
    "hat",
    "earring",
    "necklace",
    "neck",
    "cloth",
)
"""Names by class index. Left is the person's left: on the right of the image."""

MASK_PALETTE = (
    (0, 0, 0),
    (204, 0, 0),
    (76, 153, 0),
    (204, 204, 0),
    (51, 51, 255),
    (204, 0, 204),
    (0, 255, 255),
    (255, 204, 204),
    (102, 51, 0),
    (255, 0, 0),
    (102, 204, 0),
    (255, 255, 0),
    (0, 0, 153),
    (0, 0, 204),
    (255, 51, 153),
    (0, 204, 204),
    (0, 51, 0),
    (255, 153, 51),
    (0, 204, 0),
)
"""CelebAMask-HQ's RGB colours in 0..255 by class index."""

FLIP_PAIRS = ((4, 5), (6, 7), (8, 9))
"""Classes that change places when an image is mirrored."""

_CLASSES = len(MASK_CLASSES)
_COLOURS = np.array(MASK_PALETTE, dtype=np.uint8)  # (19, 3)

# Measured: of the pixels that are not black, 90 % and more lie this near a palette colour in masks that were saved as
# JPEG (quality 50 up) or WebP, or resized smoothly; at most 51 % do in photographs.
_NEAR = 36.0
_NEAR_SHARE = 0.75
_MAX_COLOURS = 1 << 18

_EXPECTED = (
    f"expected: class indices 0..{_CLASSES - 1} (a palette or grey PNG, an integer array), the CelebAMask-HQ colours, "
    f"or a one-hot tensor (19, 1024)"
)


def read_labels(source: Any, *, letterbox: bool = False, snap: bool = False) -> np.ndarray:
    """The labels of one mask: uint8 (h, w) in 0..18, h = w, at the size it comes in.

    Args:
        source: an image as `open_raw` takes it (palette PNG whose index is the class, grey PNG of indices, or RGB in
            the colours of `MASK_PALETTE`), an integer array or tensor (h, w) or (1, h, w), the published one-hot
            layout (19, 1024) or (1, 19, 1024), 32 x 32 labels row by row, or a `.pt` file of such a tensor.
        letterbox: pad what is not square with background.
        snap: take the nearest palette colour where colours are off, as JPEG, WebP and smooth brushes leave them;
            between two parts a thin edge may then get the label of a third.

    Raises:
        InputError: unreadable, not square, unknown labels or colours, or more than one mask.
    """
    maps = _read_maps(source, snap)
    if len(maps) != 1:
        raise InputError(f"mask: {len(maps)} masks are given, one is expected")
    return square(maps[0], letterbox=letterbox, fill=0, what="mask")


def resize_labels(labels: np.ndarray, size: int) -> np.ndarray:
    """Labels uint8 (h, w) at (size, size) by nearest neighbour: every label stays one that was there.

    Pixel centres are sampled as PIL's NEAREST does: 512 -> 32 takes `labels[8::16, 8::16]`.
    """
    return np.array(Image.fromarray(labels).resize((size, size), Image.Resampling.NEAREST))


def flip_labels(labels: np.ndarray) -> np.ndarray:
    """Labels (..., h, w) of the mirrored image: left parts become right parts."""
    partner = np.arange(_CLASSES, dtype=labels.dtype)
    for left, right in FLIP_PAIRS:
        partner[[left, right]] = right, left
    return partner[labels[..., ::-1]]


def colour(labels: np.ndarray) -> np.ndarray:
    """RGB uint8 (..., 3) in CelebAMask-HQ's colours of labels (...) in 0..18."""
    return _COLOURS[labels]


class LabelMaps(Modality):
    """What all encoders of masks share: reading, drawing and describing label maps.

    Args:
        size: side of the labels that are encoded; masks of other sizes are resized by nearest neighbour.
        num_classes: the first so many of `MASK_CLASSES` are known.
        letterbox: pad masks that are not square instead of refusing them.
        snap: take the nearest palette colour instead of refusing colours that are off.
    """

    def __init__(self, size: int, num_classes: int, letterbox: bool, snap: bool) -> None:
        super().__init__()
        if not 2 <= num_classes <= _CLASSES:
            raise InputError(f"num_classes must be 2..{_CLASSES}, not {num_classes}")
        self.size = size
        self.num_classes = num_classes
        self.letterbox = letterbox
        self.snap = snap

    def read(self, raw: Any) -> Tensor:
        """Labels int64 (n, size, size) of what `read_labels` takes, or of n masks: (n, h, w) or (n, 19, side^2)."""
        maps = [square(labels, letterbox=self.letterbox, fill=0, what="mask") for labels in _read_maps(raw, self.snap)]
        highest = max(int(labels.max()) for labels in maps)
        if highest >= self.num_classes:
            raise InputError(f"mask: label {highest} is unknown to this model, which knows 0..{self.num_classes - 1}")
        return torch.from_numpy(np.stack([resize_labels(labels, self.size) for labels in maps])).long()

    def one_hot(self, labels: Tensor, dtype: torch.dtype) -> Tensor:
        """(n, num_classes, size, size) of labels (n, size, size)."""
        count, height, width = labels.shape
        planes = torch.zeros(count, self.num_classes, height, width, dtype=dtype, device=labels.device)
        return planes.scatter_(1, labels[:, None], 1.0)

    def picture(self, inputs: Tensor, size: int) -> Image.Image:
        """One mask (1, h, w) in CelebAMask-HQ's colours: RGB (size, size)."""
        return Image.fromarray(colour(inputs[0].cpu().numpy())).resize((size, size), Image.Resampling.NEAREST)

    def describe(self, inputs: Tensor) -> str:
        """The classes of one mask (1, h, w) in their order, as in "mask of background, skin, nose"."""
        return f"mask of {', '.join(MASK_CLASSES[label] for label in inputs.unique().tolist())}"


class MaskModality(LabelMaps, name="mask"):
    """Face-part labels -> one-hot -> convolutional stem -> one token for each `downsample` x `downsample` pixels.

    Args:
        size, num_classes, letterbox, snap: see `LabelMaps`.
        features: width of the tokens.
        channels: width of the stem, see `ConvStem`.
        downsample: pixels along the side of one token, a power of two.
    """

    def __init__(
        self,
        size: int = 128,
        features: int = 64,
        channels: int = 32,
        downsample: int = 8,
        num_classes: int = _CLASSES,
        letterbox: bool = False,
        snap: bool = False,
    ) -> None:
        super().__init__(size, num_classes, letterbox, snap)
        self.stem = ConvStem(num_classes, channels, features, downsample)
        check_size(size, downsample)

    def forward(self, inputs: Tensor) -> Tensor:
        """Tokens (n, (size / downsample)^2, features), row-major, of labels (n, size, size)."""
        return self.stem(self.one_hot(inputs, self.stem.dtype))


class MaskPlanes(LabelMaps, name="mask-planes"):
    """Face-part labels -> one-hot -> one linear layer reads the plane of each class -> one token a class.

    The mask encoder of the published models (size 32, features 640): it knows where a class lies only through the
    weights of its pixels.

    Args:
        size, num_classes, letterbox, snap: see `LabelMaps`.
        features: width of the tokens.
    """

    def __init__(
        self,
        size: int = 32,
        features: int = 640,
        num_classes: int = _CLASSES,
        letterbox: bool = False,
        snap: bool = False,
    ) -> None:
        super().__init__(size, num_classes, letterbox, snap)
        if min(size, features) < 1:
            raise InputError("size and features must be positive")
        self.linear = nn.Linear(size * size, features)

    def forward(self, inputs: Tensor) -> Tensor:
        """Tokens (n, num_classes, features) of labels (n, size, size)."""
        tokens: Tensor = self.linear(self.one_hot(inputs, self.linear.weight.dtype).flatten(2))
        return tokens


def _read_maps(source: Any, snap: bool) -> list[np.ndarray]:
    """Label maps uint8 (h, w) in 0..18 of one mask, or of each of a batch."""
    if isinstance(source, (str, Path)) and Path(source).suffix.lower() in (".pt", ".pth"):
        source = load_tensor(Path(source), "mask")
    if isinstance(source, Tensor):
        source = _to_array(source)
    if isinstance(source, np.ndarray) and not _is_colour_array(source):
        return _from_array(source)
    return [_from_image(open_raw(source, "mask"), snap)]


def _to_array(tensor: Tensor) -> np.ndarray:
    check_pixels(math.prod(tensor.shape), "mask")
    try:
        tensor = tensor.detach().cpu()
        # numpy has no bfloat16
        return (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    except (TypeError, RuntimeError) as error:
        raise InputError(f"mask: a {tensor.dtype} tensor ({tensor.layout}) has no labels; {_EXPECTED}") from error


def _is_colour_array(array: np.ndarray) -> bool:
    # (n, 3, 3) and (n, 4, 4) could be either; label maps are square, so these are n tiny masks.
    return array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] in (3, 4) and array.shape[1] != array.shape[2]


def _from_array(array: np.ndarray) -> list[np.ndarray]:
    """Label maps of an integer array (h, w), (n, h, w) or (n, 1, h, w), or of a one-hot one."""
    if array.dtype.kind not in "biuf":
        raise InputError(f"mask: an array of {array.dtype} holds no labels; {_EXPECTED}")
    check_pixels(array.size, "mask")
    if array.ndim in (2, 3) and array.shape[-2] == _CLASSES and array.shape[-1] not in (0, _CLASSES):
        side = math.isqrt(array.shape[-1])
        if side**2 == array.shape[-1]:  # as published (19, 1024): 32 x 32 labels, row by row
            return _from_one_hot(array.reshape(-1, _CLASSES, side, side))
    if array.ndim == 4 and array.shape[1] == _CLASSES:
        return _from_one_hot(array)
    if array.ndim == 3 and array.shape[0] == _CLASSES and _is_one_hot(array[None]):
        return _from_one_hot(array[None])
    if array.ndim == 4 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim not in (2, 3):
        raise InputError(f"mask: an array shaped {array.shape} is not a mask; {_EXPECTED}")
    if array.dtype.kind not in "iu":
        raise InputError(f"mask: labels are integers, but the array holds {array.dtype}; {_EXPECTED}")
    return list(_checked(array.reshape(-1, *array.shape[-2:])))


def _is_one_hot(array: np.ndarray) -> bool:
    return bool((((array == 0) | (array == 1)).all()) and (array.sum(axis=1) == 1).all())


def _from_one_hot(array: np.ndarray) -> list[np.ndarray]:
    """Label maps of a one-hot array (n, 19, h, w)."""
    if not _is_one_hot(array):
        raise InputError("mask: a tensor of 19 classes must be one-hot: zeros, and a single 1 for each pixel")
    return list(array.argmax(axis=1).astype(np.uint8))


def _checked(labels: np.ndarray) -> np.ndarray:
    """Integer labels as uint8, every one a class."""
    wrong = labels[(labels < 0) | (labels >= _CLASSES)]
    if wrong.size:
        raise InputError(f"mask: label {wrong[0]} is not a class; {_EXPECTED}")
    return labels.astype(np.uint8)


def _from_image(image: Image.Image, snap: bool) -> np.ndarray:
    if image.mode == "P":
        return _from_palette_image(image, snap)
    if image.mode == "L" or image.mode.startswith("I"):
        return _checked(np.asarray(image))
    if image.mode not in ("RGB", "RGBA", "LA", "PA"):
        raise InputError(f"mask: pixels of mode {image.mode!r} hold no labels; {_EXPECTED}")
    return _from_colours(_opaque_colours(image), snap)


def _from_palette_image(image: Image.Image, snap: bool) -> np.ndarray:
    """The index is the class where the palette says so; a palette in another order is read by its colours."""
    indices = np.array(image)
    palette = np.array(image.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3)
    used = np.unique(indices)
    colours = palette[used[used < len(palette)]]
    known = used[-1] < _CLASSES and len(colours) == len(used)
    if known and (colours == _COLOURS[used]).all():
        return indices
    if all((each == _COLOURS).all(axis=1).any() for each in colours):
        return _from_colours(_opaque_colours(image), snap)
    if known:
        message = "mask: its palette is not CelebAMask-HQ's; its indices are taken as classes, whatever their colours"
        warnings.warn(message, InputNotice, stacklevel=2)
        return indices
    return _from_colours(_opaque_colours(image), snap)


def _opaque_colours(image: Image.Image) -> np.ndarray:
    """RGB (h, w, 3); what is transparent is background, which is black."""
    if not image.has_transparency_data:
        return np.asarray(image.convert("RGB"))
    colours = image.convert("RGBA")
    black = Image.new("RGB", colours.size)
    black.paste(colours, mask=colours.getchannel("A"))
    return np.asarray(black)


def _from_colours(rgb: np.ndarray, snap: bool) -> np.ndarray:
    """Labels (h, w) of colours (h, w, 3) in 0..255."""
    red, green, blue = (rgb[..., channel] for channel in range(3))
    if red.any() and (red == green).all() and (green == blue).all():
        return _checked(red)  # a grey picture in colour holds indices: no class but the background is grey
    codes = (red.astype(np.int32) << 16) | (green.astype(np.int32) << 8) | blue
    found, counts = np.unique(codes, return_counts=True)
    if len(found) > _MAX_COLOURS:
        raise InputError(f"mask: {len(found):,} colours, as a photograph has; {_EXPECTED}")
    colours = np.stack([found >> 16, found >> 8 & 255, found & 255], axis=1)  # (colours, 3)
    squares = ((colours[:, None] - _COLOURS[None].astype(np.int32)) ** 2).sum(axis=2)  # (colours, 19)
    nearest, distances = squares.argmin(axis=1), np.sqrt(squares.min(axis=1))
    if distances.any():
        _check_near(distances, np.where(found == 0, 0, counts), snap)
        changed = counts[distances > 0].sum() / codes.size
        message = f"mask: {len(found):,} colours snapped to the nearest of the {_CLASSES}: {changed:.1%} of the pixels"
        warnings.warn(message, InputNotice, stacklevel=2)
    table = np.zeros(1 << 24, np.uint8)  # label by colour
    table[found] = nearest
    return table[codes]


def _check_near(distances: np.ndarray, weights: np.ndarray, snap: bool) -> None:
    """Refuse colours that are off, all of them without `snap`; `weights` are their pixels, none for black."""
    found = f"mask: {len(distances):,} colours, of which {int((distances > 0).sum()):,} are not CelebAMask-HQ's"
    if weights[distances <= _NEAR].sum() < _NEAR_SHARE * weights.sum():
        raise InputError(f"{found}, nor near them: another palette, or not a mask; {_EXPECTED}")
    if not snap:
        raise InputError(
            f"{found} but near them, as JPEG, WebP and smooth resizing leave them; save the mask as PNG without "
            "smoothing, or take the nearest colours with snap=True"
        )
