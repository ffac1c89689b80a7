"""Drawn portraits: beards, which are hair on skin; as in CelebAMask-HQ, the mask calls them skin."""

from __future__ import annotations

import math

import numpy as np
from PIL import ImageChops

from codiff.data.face_canvas import Points, mix, shade, spline
from codiff.data.face_portrait import LABEL, Portrait


def _jaw_band(face: Portrait, reach: float, drop: float) -> Points:
    """The lower face from temple to temple, `drop` below the chin."""
    jaw, chin = face.layout.jaw, face.chin
    outer = [
        face.side(-1, 0.985, reach), face.side(-1, 0.90 + 0.05 * jaw, 0.735),
        face.side(-1, 0.66 + 0.06 * jaw, chin - 0.07 + 0.6 * drop), face.side(-1, 0.32, chin - 0.005 + 0.93 * drop),
        face.side(0, 0.0, chin + 0.008 + drop),
    ]  # fmt: skip
    inner = [
        face.side(-1, 0.86, reach), face.side(-1, 0.70, 0.68), (face.mouth_x - 0.125, 0.715),
        (face.mouth_x - 0.05, 0.682), (face.mouth_x, 0.690),
    ]  # fmt: skip

    def mirror(points: list[tuple[float, float]], axis: float) -> list[tuple[float, float]]:
        return [(2 * axis - x, y) for x, y in reversed(points[:-1])]

    low = spline(outer + mirror(outer, face.centre), closed=False)
    high = spline(inner + mirror(inner, face.mouth_x), closed=False)
    return np.concatenate([low, high[::-1]])


def _moustache_outline(face: Portrait) -> Points:
    x, top = face.mouth_x, float(face.lip_curves()[0][:, 1].min())
    return spline(
        [(x, top - 0.038), (x + 0.05, top - 0.036), (x + 0.105, top - 0.004), (x + 0.132, top + 0.034),
         (x + 0.075, top + 0.014), (x, top + 0.004), (x - 0.075, top + 0.014), (x - 0.132, top + 0.034),
         (x - 0.105, top - 0.004), (x - 0.05, top - 0.036)],
        closed=True,
    )  # fmt: skip


def paint_stubble(face: Portrait) -> None:
    if face.description.beard != "stubble":
        return
    band = _jaw_band(face, 0.60, 0.0)
    tone = mix(face.hair, (60, 62, 70), 0.4)
    face.canvas.soft(band, tone, 0.50, 0.012, face.clip)
    dots, low = [], band.min(axis=0)
    extent = band.max(axis=0) - low
    for _ in range(170):
        x, y = low[0] + extent[0] * face.rng.random(), low[1] + extent[1] * face.rng.random()
        dots.append((np.array([(x, y), (x, y + 0.008)]), shade(tone, 0.7)))
    face.canvas.strokes(dots, 0.004, ImageChops.multiply(face.canvas.region(band), face.clip))


def paint_beard(face: Portrait) -> None:
    beard = face.description.beard
    if beard in ("none", "stubble"):
        return
    drop = {"short": -0.004, "medium": 0.045, "long": 0.20}.get(beard)
    if drop is not None:
        reach = 0.52 if beard != "short" else 0.56
        _hairy(face, _jaw_band(face, reach, drop), 60 if beard == "long" else 44, thin=beard == "short")
    if beard == "goatee":
        x, top, low = face.mouth_x, float(face.lip_curves()[3][:, 1].max()), face.chin
        chin = [
            (x - 0.05, top + 0.012), (x, top + 0.020), (x + 0.05, top + 0.012), (x + 0.075, top + 0.05),
            (x + 0.055, low + 0.012), (x, low + 0.035), (x - 0.055, low + 0.012), (x - 0.075, top + 0.05),
        ]  # fmt: skip
        _hairy(face, spline(chin, closed=True), 16)
    if beard in ("moustache", "goatee", "medium", "long"):
        _hairy(face, _moustache_outline(face), 12, sideways=True)


def _hairy(face: Portrait, outline: Points, count: int, *, thin: bool = False, sideways: bool = False) -> None:
    """Beard hair inside an outline, the lips left free; the chin's shadow stays visible through it."""
    colour = face.hair
    clip = face.canvas.region(outline)
    for label in ("upper_lip", "lower_lip", "mouth", "nose"):
        clip = ImageChops.multiply(clip, ImageChops.invert(face.canvas.where(LABEL[label])))
    if thin:
        face.canvas.soft(outline, colour, 0.82, 0.006, clip)
    else:
        face.canvas.image.paste(colour, (0, 0), clip)
    low, high = outline.min(axis=0), outline.max(axis=0)
    hairs = []
    for _ in range(count):
        x, y = low[0] + (high[0] - low[0]) * face.rng.random(), low[1] + (high[1] - low[1]) * face.rng.random()
        bend = 0.22 * (face.centre - x)
        length = 0.03 + 0.04 * face.rng.random()
        step = (math.copysign(length, x - face.mouth_x), 0.4 * length) if sideways else (bend * length / 0.05, length)
        base, spread = (0.68, 0.2) if face.rng.random() < 0.55 else (1.16, 0.14)
        tone = shade(colour, base + spread * face.rng.random())
        hairs.append((np.array([(x, y), (x + step[0], y + step[1])]), tone))
    face.canvas.strokes(hairs, 0.006, clip)
    if not sideways:
        below = face.outline[np.argsort(face.outline[:, 1])[-22:]]
        below = below[np.argsort(below[:, 0])] + np.array([0.0, 0.008])
        face.canvas.soft(below, shade(colour, 0.4), 0.75, 0.008, clip, thickness=0.018)
