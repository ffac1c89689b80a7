"""The sketch modality: a line drawing of a face."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from codiff.errors import InputError
from codiff.image_files import check_pixels, open_image, open_raw, square
from codiff.modalities.modality import Modality
from codiff.modalities.stem import ConvStem, check_size

_FAINT = 0.2  # what is fainter is paper: its grain, or noise of a JPEG
_BLANK = 1e-4  # a drawing with lines on less of its area is a blank sheet, perhaps with a speck of dust
_CONTRAST = 0.4  # between paper and full ink at least: less would turn the grain of white paper into lines
_KEPT_STRENGTH = 0.6  # what lines keep at least of their strength when a large drawing is reduced
_LEVELS = np.arange(256, dtype=np.float32) / 255

_EXPECTED = (
    "expected: a line drawing as an image, dark on light or light on dark, or a float array or tensor (h, w), "
    "(1, h, w) or (n, 1, h, w) in [0, 1] with 1 = line"
)


def read_sketch(source: Any, size: int, letterbox: bool = False) -> Tensor:
    """One line drawing as float32 (1, 1, size, size) in [0, 1], 1 = line; (n, 1, size, size) of a batch (n, 1, h, w).

    Pictures may be dark on light or light on dark: what most of the picture shows is the paper. A transparent
    background with ink of one brightness on it is read by its opacity. Lines of large drawings are reduced by area and
    strengthened where they would fade.

    Args:
        source: an image as `open_image` takes it (arrays of uint8 are pictures), or floats or booleans (h, w),
            (1, h, w) or (n, 1, h, w) as an array or tensor, which are taken as they are: in [0, 1] with 1 = line.
        size: side of the result.
        letterbox: pad what is not square with empty paper.

    Raises:
        InputError: unreadable, not square, out of range or blank.
    """
    if isinstance(source, Tensor) or (isinstance(source, np.ndarray) and source.dtype != np.uint8):
        drawings = _from_values(source)
    else:
        drawings = [_from_image(open_raw(source, "sketch"))]
    for drawing in drawings:
        if (drawing >= _FAINT).mean() < _BLANK:
            raise InputError("sketch: it is blank; draw lines, or leave the sketch out of the conditions")
    squares = [square(drawing, letterbox=letterbox, fill=0.0, what="sketch") for drawing in drawings]
    return torch.from_numpy(np.stack([_resize(drawing, size) for drawing in squares]))[:, None]


class LineDrawings(Modality):
    """What all encoders of sketches share: reading, drawing and describing them.

    Args:
        size: side of the drawings that are encoded; others are resized.
        letterbox: pad drawings that are not square instead of refusing them.
    """

    def __init__(self, size: int, letterbox: bool) -> None:
        super().__init__()
        self.size = size
        self.letterbox = letterbox

    def read(self, raw: Any) -> Tensor:
        """Lines float32 (n, 1, size, size) in [0, 1], 1 = line, of what `read_sketch` takes."""
        return read_sketch(raw, self.size, self.letterbox)

    def picture(self, inputs: Tensor, size: int) -> Image.Image:
        """One drawing (1, 1, h, w) as black lines on white: RGB (size, size)."""
        grey = np.rint(255 * (1 - inputs[0, 0].float().cpu().numpy())).astype(np.uint8)
        return Image.fromarray(grey).resize((size, size), Image.Resampling.LANCZOS).convert("RGB")

    def describe(self, inputs: Tensor) -> str:
        """How much of one drawing (1, 1, h, w) is line, as in "sketch, lines on 7% of it"."""
        return f"sketch, lines on {inputs.float().mean().item():.0%} of it"


class SketchModality(LineDrawings, name="sketch"):
    """Line drawing -> convolutional stem -> one token for each `downsample` x `downsample` pixels.

    Args:
        size, letterbox: see `LineDrawings`.
        features: width of the tokens.
        channels: width of the stem, see `ConvStem`.
        downsample: pixels along the side of one token, a power of two.
    """

    def __init__(
        self, size: int = 128, features: int = 64, channels: int = 32, downsample: int = 8, letterbox: bool = False
    ) -> None:
        super().__init__(size, letterbox)
        self.stem = ConvStem(1, channels, features, downsample)
        check_size(size, downsample)

    def forward(self, inputs: Tensor) -> Tensor:
        """Tokens (n, (size / downsample)^2, features), row-major, of drawings (n, 1, size, size)."""
        return self.stem(inputs)


class SketchPlane(LineDrawings, name="sketch-plane"):
    """Line drawing -> one linear layer reads it whole -> a single token, as the published code prepares for sketches.

    No such model was ever published, so whether its drawings were dark or light is not known: lines are 1 here.

    Args:
        size, letterbox: see `LineDrawings`.
        features: width of the token.
    """

    def __init__(self, size: int = 32, features: int = 640, letterbox: bool = False) -> None:
        super().__init__(size, letterbox)
        if min(size, features) < 1:
            raise InputError("size and features must be positive")
        self.linear = nn.Linear(size * size, features)

    def forward(self, inputs: Tensor) -> Tensor:
        """The token (n, 1, features) of drawings (n, 1, size, size)."""
        tokens: Tensor = self.linear(inputs.flatten(2).to(self.linear.weight.dtype))
        return tokens


def _from_values(values: Tensor | np.ndarray) -> list[np.ndarray]:
    """Float drawings (h, w) in [0, 1] of an array or tensor that holds them as they are."""
    check_pixels(math.prod(values.shape), "sketch")
    if isinstance(values, np.ndarray):
        if values.dtype.kind not in "bf":
            raise InputError(f"sketch: an array of {values.dtype}; {_EXPECTED}")
        values = torch.from_numpy(values.astype(np.float32))
    if not (values.is_floating_point() or values.dtype == torch.bool) or values.layout != torch.strided:
        raise InputError(f"sketch: a {values.dtype} tensor ({values.layout}); {_EXPECTED}")
    if values.ndim == 2:
        values = values[None]
    if values.ndim == 3:
        values = values[None]
    if values.ndim != 4 or values.shape[1] != 1:
        raise InputError(f"sketch: shape {tuple(values.shape)}; {_EXPECTED}")
    drawings = values[:, 0].detach().float().cpu().numpy()
    if not (np.isfinite(drawings).all() and drawings.min() >= 0 and drawings.max() <= 1):
        raise InputError(f"sketch: values from {drawings.min():.3g} to {drawings.max():.3g}; {_EXPECTED}")
    return list(drawings)


def _from_image(image: Image.Image) -> np.ndarray:
    """Lines (h, w) in [0, 1] of a picture."""
    if image.has_transparency_data and _opacity_draws(image):
        grey, lines = image.convert("RGBA").getchannel("A"), _LEVELS
    else:
        grey = open_image(image, what="sketch").convert("L")
        lines = _lines_by_level(grey)
    return lines[np.asarray(grey)]


def _lines_by_level(grey: Image.Image) -> np.ndarray:
    """How much each level of grey, 0..255, of a picture is line: (256,) in [0, 1]."""
    counts = np.array(grey.histogram())
    paper = _quantile(counts, 0.5)
    darker, lighter = np.clip(paper - _LEVELS, 0, None), np.clip(_LEVELS - paper, 0, None)
    # Ink lies on one side of the paper: the side that departs more from it. It is full where it is black or white.
    if counts @ darker >= counts @ lighter:
        return np.clip(darker / max(paper, _CONTRAST), 0, 1)
    return np.clip(lighter / max(1 - paper, _CONTRAST), 0, 1)


def _opacity_draws(image: Image.Image) -> bool:
    """Whether transparency carries the drawing: little of the picture is opaque, all of one brightness."""
    pixels = image.convert("RGBA")
    opaque = pixels.getchannel("A").point([0] * 128 + [255] * 128)
    counts = np.array(pixels.convert("L").histogram(opaque))
    if counts.sum() > 0.5 * image.width * image.height:
        return False
    return _quantile(counts, 0.95) - _quantile(counts, 0.05) < 0.25


def _quantile(counts: np.ndarray, share: float) -> float:
    """The level in [0, 1] below which `share` of the counted pixels (256,) lie."""
    return float(_LEVELS[np.searchsorted(counts.cumsum(), share * counts.sum())])


def _resize(drawing: np.ndarray, size: int) -> np.ndarray:
    """A drawing (h, h) in [0, 1] at (size, size)."""
    side = drawing.shape[0]
    if side == size:
        return drawing
    # The mean over the area keeps every line in place; Lanczos draws enlarged lines smoothly.
    method = Image.Resampling.BOX if side > size else Image.Resampling.LANCZOS
    resized = np.array(Image.fromarray(drawing).resize((size, size), method)).clip(0, 1)
    # Lines thinner than a new pixel fade: a scan of fine pen strokes would reach the model as faint grey.
    faded = _strength(resized) / _strength(drawing)
    return resized if faded >= _KEPT_STRENGTH else (resized * (_KEPT_STRENGTH / faded)).clip(0, 1)


def _strength(drawing: np.ndarray) -> float:
    """Mean of a drawing over its lines, each pixel weighted by itself; 1 for lines of full strength."""
    return float(np.vdot(drawing, drawing) / max(drawing.sum(), 1e-6))
