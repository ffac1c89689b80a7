"""Drawing on three sheets at once: the picture, its 19-class mask and its contour sketch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

Colour = tuple[int, int, int]
Points = NDArray[np.float64]  # (n, 2), x then y, as shares of the side

_CATMULL_ROM = 0.5 * np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]], dtype=np.float64)
_SOFT_REDUCTION = 4  # blurred shading is drawn this much smaller: nobody sees it, and it costs 16 times less


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """`share` in [0, 1] of the second colour in the first."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def shade(colour: Colour, factor: float) -> Colour:
    """Darker (factor < 1) or lighter (factor > 1: mixed with white)."""
    return mix((0, 0, 0), colour, factor) if factor <= 1 else mix(colour, (255, 255, 255), factor - 1)


@cache
def _basis(samples: int) -> NDArray[np.float64]:
    """Weights of the four neighbouring control points at each sample: (samples, 4)."""
    t = np.arange(samples) / samples
    return np.stack([np.ones_like(t), t, t * t, t * t * t], axis=1) @ _CATMULL_ROM


def spline(control: Iterable[tuple[float, float]] | Points, *, closed: bool, samples: int = 6) -> Points:
    """Catmull-Rom curve through control points (n, 2): (m, 2)."""
    points = np.asarray(control if isinstance(control, np.ndarray) else list(control), dtype=np.float64)
    if closed:
        padded = np.concatenate([points[-1:], points, points[:2]])
    else:
        padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    basis = _basis(samples)
    count = len(padded) - 3
    curve = np.zeros((count, samples, 2))
    for k in range(4):
        curve += basis[None, :, k, None] * padded[k : k + count, None, :]
    line: Points = curve.reshape(-1, 2)
    return line if closed else np.concatenate([line, points[-1:]])


def ellipse(x: float, y: float, rx: float, ry: float, *, samples: int = 28) -> Points:
    """Outline of an axis-parallel ellipse."""
    angles = [2 * math.pi * k / samples for k in range(samples)]
    return np.array([(x + rx * math.cos(a), y + ry * math.sin(a)) for a in angles])


def resample(points: Points, count: int) -> Points:
    """The same open polyline with `count` points at equal distances."""
    steps = np.sqrt(((points[1:] - points[:-1]) ** 2).sum(axis=1))
    along = np.concatenate([[0.0], np.cumsum(steps)])
    wanted = np.linspace(0.0, along[-1], count)
    return np.stack([np.interp(wanted, along, points[:, k]) for k in range(2)], axis=1)


def _bounds(values: NDArray[np.float64], margin: int, side: int) -> tuple[int, int]:
    """The pixels that values reach with a margin, cut at the sheet's edges."""
    return max(0, math.floor(values.min()) - margin), min(side, math.ceil(values.max()) + margin)


@dataclass
class Sheets:
    """A finished drawing at its final size."""

    image: NDArray[np.uint8]  # (size, size, 3)
    mask: NDArray[np.uint8]  # (size, size), classes 0..18
    sketch: NDArray[np.uint8]  # (size, size), dark lines on white


class Canvas:
    """A supersampled sheet with the origin at the top left and sides of length 1, turned by `roll` about its middle."""

    def __init__(self, size: int, background: Colour, *, roll: float = 0.0) -> None:
        self.size = size
        self.oversampling = 3 if size <= 192 else 2
        self.side = size * self.oversampling
        self.image = Image.new("RGB", (self.side, self.side), background)
        self.labels = Image.new("L", (self.side, self.side), 0)
        self.lines = Image.new("L", (self.side, self.side), 0)
        self._draw = ImageDraw.Draw(self.image)
        self._draw_labels = ImageDraw.Draw(self.labels)
        self._draw_lines = ImageDraw.Draw(self.lines)
        self._cos, self._sin = math.cos(roll), math.sin(roll)

    def pixels(self, points: Points, side: int | None = None) -> list[float]:
        """Points in pixels, x and y in turn; rounded so that the last bits of a machine's arithmetic stay invisible."""
        x, y = points[:, 0] - 0.5, points[:, 1] - 0.5
        turned = np.empty((len(points), 2))
        turned[:, 0] = x * self._cos - y * self._sin
        turned[:, 1] = x * self._sin + y * self._cos
        turned += 0.5
        turned *= side or self.side
        return turned.round(2).ravel().tolist()

    def width(self, share: float) -> int:
        """A line width in pixels, at least one."""
        return max(1, round(share * self.side))

    def fill(self, points: Points, colour: Colour | None, label: int | None = None, *, contour: bool = True) -> None:
        """A filled outline; with a label it also covers what the mask and the sketch had there."""
        pixels = self.pixels(points)
        if colour is not None:
            self._draw.polygon(pixels, fill=colour)
        if label is not None:
            self._draw_labels.polygon(pixels, fill=label)
            self._draw_lines.polygon(pixels, fill=0)
            if contour:
                self._draw_lines.line([*pixels, *pixels[:2]], fill=255, width=self.width(0.0075), joint="curve")

    def stroke(
        self, points: Points, colour: Colour | None, width: float, label: int | None = None, *, line: bool = False
    ) -> None:
        """A line of `width` (share of the side); `line` puts it into the sketch too."""
        pixels = self.pixels(points)
        if colour is not None:
            self._draw.line(pixels, fill=colour, width=self.width(width), joint="curve")
        if label is not None:
            self._draw_labels.line(pixels, fill=label, width=self.width(width), joint="curve")
        if line:
            self._draw_lines.line(pixels, fill=255, width=self.width(0.006), joint="curve")

    def region(self, points: Points) -> Image.Image:
        """An outline as a clip: mode L, 255 inside."""
        clip = Image.new("L", (self.side, self.side), 0)
        ImageDraw.Draw(clip).polygon(self.pixels(points), fill=255)
        return clip

    def where(self, label: int) -> Image.Image:
        """The pixels that carry a label now, as a clip."""
        return self.labels.point([255 if value == label else 0 for value in range(256)])

    def soft(
        self,
        points: Points,
        colour: Colour,
        opacity: float,
        blur: float,
        clip: Image.Image | None = None,
        *,
        thickness: float | None = None,
    ) -> None:
        """A blurred patch (or, with a thickness, line) of `opacity` in [0, 1]; `blur` is a share of the side."""
        side = self.side // _SOFT_REDUCTION
        pixels, value = np.array(self.pixels(points, side)), round(255 * min(1.0, opacity))
        margin = math.ceil(3 * blur * side + (thickness or 0.0) * side) + 1
        left, right = _bounds(pixels[0::2], margin, side)
        top, bottom = _bounds(pixels[1::2], margin, side)
        if left >= right or top >= bottom:
            return
        patch = Image.new("L", (right - left, bottom - top), 0)
        pixels[0::2] -= left
        pixels[1::2] -= top
        if thickness is None:
            ImageDraw.Draw(patch).polygon(pixels.tolist(), fill=value)
        else:
            width = max(1, round(thickness * side))
            ImageDraw.Draw(patch).line(pixels.tolist(), fill=value, width=width, joint="curve")
        patch = patch.filter(ImageFilter.GaussianBlur(blur * side))
        box = (left * _SOFT_REDUCTION, top * _SOFT_REDUCTION, right * _SOFT_REDUCTION, bottom * _SOFT_REDUCTION)
        alpha = patch.resize((box[2] - box[0], box[3] - box[1]), Image.Resampling.BILINEAR)
        if clip is not None:
            alpha = ImageChops.multiply(alpha, clip.crop(box))
        self.image.paste(colour, box, alpha)

    def strokes(self, curves: Iterable[tuple[Points, Colour]], width: float, clip: Image.Image) -> None:
        """Many thin lines (hair) inside a clip, on the picture alone."""
        with self.within(clip):
            for points, colour in curves:
                self._draw.line(self.pixels(points), fill=colour, width=self.width(width))

    @contextmanager
    def within(self, clip: Image.Image) -> Iterator[None]:
        """Whatever is drawn meanwhile reaches the picture only inside the clip."""
        sheet, draw = self.image, self._draw
        self.image = sheet.copy()
        self._draw = ImageDraw.Draw(self.image)
        yield
        box = clip.getbbox()
        if box is not None:
            sheet.paste(self.image.crop(box), box, clip.crop(box))
        self.image, self._draw = sheet, draw

    def finish(self) -> Sheets:
        """Reduce to the final size: the picture by averaging, the mask by the nearest label."""
        middle, step = self.oversampling // 2, self.oversampling
        lines = np.asarray(self.lines.reduce(step))
        return Sheets(
            image=np.asarray(self.image.reduce(step)),
            mask=np.ascontiguousarray(np.asarray(self.labels)[middle::step, middle::step]),
            sketch=np.asarray(255 - lines, dtype=np.uint8),
        )
