"""Drawn portraits: hair, behind the face and in front of it."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from codiff.data.face_canvas import Colour, Points, ellipse, mix, resample, shade, spline
from codiff.data.face_portrait import GREY_HAIR, LABEL, WHITE, Portrait


def _tone(face: Portrait, hair: Colour) -> Colour:
    """The colour of one strand."""
    draw = face.rng.random()
    if face.streaks and draw < 0.34:
        return mix(GREY_HAIR, WHITE, 0.35)
    return shade(hair, 0.66 + 0.24 * draw) if draw < 0.58 else shade(hair, 1.02 + 0.26 * draw)


def _strands(
    face: Portrait, hair: Colour, first: Points, second: Points, count: int, clip: Image.Image, width: float = 0.0065
) -> None:
    """Strands that flow between two curves, given from the same end."""
    samples = 26
    first, second = resample(first, samples), resample(second, samples)
    curves = []
    for _ in range(count):
        across = face.rng.random()
        start = int(face.rng.random() * (samples - 9))
        length = 8 + int(face.rng.random() * (samples - start - 8))
        curve = (first + (second - first) * across)[start : start + length]
        curves.append((curve, _tone(face, hair)))
    face.canvas.strokes(curves, width, clip)


def _gloss(face: Portrait, clip: Image.Image) -> None:
    c = face.centre
    band = spline([(c - 0.2, 0.17), (c - 0.08, 0.085), (c + 0.08, 0.085), (c + 0.2, 0.17)], closed=False)
    band = band + np.array([0.05 * face.light, 0.0])
    face.canvas.soft(band, shade(face.hair, 1.45), 0.55, 0.016, clip, thickness=0.035)


def _silhouette(face: Portrait) -> Points:
    """The outer outline of the hair from image left to image right, over the top."""
    layout, c, h = face.layout, face.centre, face.half
    volume = {"buzz": 0.03, "short": 0.07, "side-part": 0.09, "bob": 0.13, "long": 0.13, "wavy": 0.16, "curly": 0.16}
    grow = volume[layout.hair_style] * (1.0 + 0.3 * layout.hair_volume)
    top = 0.10 - grow * 0.85
    ends = {"buzz": 0.40, "short": 0.46, "side-part": 0.47, "bob": 0.78 + 0.06 * layout.hair_length, "curly": 0.60,
            "long": 1.04, "wavy": 1.04}[layout.hair_style]  # fmt: skip
    side = [
        (1.0 + grow / h * 0.62, 0.40),
        (1.0 + grow / h * 0.55, 0.27),
        (0.80 + grow / h * 0.45, 0.14 - grow * 0.42),
        (0.42, top + 0.018),
    ]
    if face.long_haired:
        flare = 0.12 if layout.hair_style == "bob" else 0.20
        side = [(1.06 + grow / h * 0.7 + flare, ends), (1.02 + grow / h * 0.85 + flare * 0.4, (ends + 0.4) / 2), *side]
    else:
        side = [(1.0 + grow / h * 0.35, ends), *side]
    left = [face.side(-1, x, y) for x, y in side]
    right = [face.side(1, x, y) for x, y in reversed(side)]
    points = spline([*left, (c, top), *right], closed=False)
    return _wave(face, points) if layout.hair_style == "wavy" else points


def _wave(face: Portrait, points: Points) -> Points:
    """Wavy ends below the ears."""
    heights = [float(y) for y in points[:, 1]]
    sway = np.array([0.022 * math.sin(26 * y) * min(1.0, max(0.0, (y - 0.35) / 0.2)) for y in heights])
    return points + np.stack([sway * np.where(points[:, 0] < face.centre, 1.0, -1.0), np.zeros_like(sway)], axis=1)


def _hairline(face: Portrait) -> Points:
    """The inner outline of the hair in front, from image left to image right."""
    layout, c = face.layout, face.centre
    style = layout.hair_style
    if style == "buzz":
        inner = [(0.99, 0.40), (0.93, 0.30), (0.70, 0.195), (0.35, 0.165)]
    elif style == "curly":
        inner = [(0.97, 0.56), (0.93, 0.36), (0.72, 0.235), (0.36, 0.20)]
    elif face.long_haired:
        low = {"bob": 0.78 + 0.06 * layout.hair_length, "long": 1.04, "wavy": 1.04}[style]
        inner = [(1.0, low), (0.96, 0.62), (0.95, 0.42), (0.74, 0.25), (0.35, 0.175)]
    else:
        inner = [(0.985, 0.46), (0.93, 0.33), (0.72, 0.215), (0.36, 0.185)]
    left = [face.side(-1, x, y) for x, y in inner]
    right = [face.side(1, x, y) for x, y in reversed(inner)]
    middle = c + 0.55 * layout.part * face.half
    peak = [(middle, 0.155 if style != "buzz" else 0.165)]
    if layout.fringe and style != "buzz":
        depth = 0.335
        ends = ((0.75, depth + 0.01), (0.35, depth - 0.012))
        left = [point for point in left if point[1] > 0.30] + [face.side(-1, x, y) for x, y in ends]
        right = [face.side(1, x, y) for x, y in reversed(ends)] + [point for point in right if point[1] > 0.30]
        peak = [(c, depth)]
    elif style == "side-part":
        sign = 1.0 if layout.part > 0 else -1.0
        peak = [(c + sign * 0.42 * face.half, 0.15)]
        swept = (c - sign * 0.25 * face.half, 0.235)
        (right if sign < 0 else left).insert(0 if sign < 0 else len(left), swept)
        if sign > 0:
            left = [point for point in left if point[0] <= swept[0]]
            right = [point for point in right if point[0] > peak[0][0]]
        else:
            right = [point for point in right if point[0] >= swept[0]]
            left = [point for point in left if point[0] < peak[0][0]]
    else:
        left = [point for point in left if point[0] < middle - 0.02]
        right = [point for point in right if point[0] > middle + 0.02]
    line = spline([*left, *peak, *right], closed=False)
    return _wave(face, line) if style == "wavy" else line


def paint_hair_behind(face: Portrait) -> None:
    if not face.long_haired:
        return
    outline = _silhouette(face)
    closed = np.concatenate([outline, [[face.centre + 0.1, outline[-1, 1]], [face.centre - 0.1, outline[0, 1]]]])
    face.canvas.fill(closed, shade(face.hair, 0.58), LABEL["hair"])
    clip = face.canvas.where(LABEL["hair"])
    inside = np.stack([face.centre + (outline[:, 0] - face.centre) * 0.55, outline[:, 1]], axis=1)
    _strands(face, shade(face.hair, 0.62), outline, inside, 26, clip)


def paint_hair_in_front(face: Portrait) -> None:
    style = face.layout.hair_style
    if style == "bald":
        face.canvas.soft(
            ellipse(face.centre + 0.06 * face.light, 0.165, 0.09, 0.035), face.skin_light, 0.8, 0.025, face.clip
        )
        return
    outer, inner = _silhouette(face), _hairline(face)
    outline = np.concatenate([outer, inner[::-1]])
    shadow = inner + np.array([-0.006 * face.light, 0.018])
    face.canvas.soft(np.concatenate([outer, shadow[::-1]]), face.skin_dark, 0.6, 0.008, face.clip)
    if style == "curly":
        _curls(face, outer, inner, outline)
        return
    colour = face.hair if style != "buzz" else mix(face.hair, face.skin, 0.16)
    face.canvas.fill(outline, colour, LABEL["hair"])
    clip = face.canvas.region(outline)
    dark = ellipse(face.centre - face.light * (face.half + 0.09), 0.55, 0.1, 0.6)
    face.canvas.soft(dark, shade(face.hair, 0.45), 0.7, 0.05, clip)
    if style == "buzz":
        _strands(face, face.hair, outer, inner, 60, clip, 0.004)
    else:
        _strands(face, face.hair, outer, inner, 64, clip)
    _gloss(face, clip)


def _curls(face: Portrait, outer: Points, inner: Points, outline: Points) -> None:
    """Locks along the outline and within it, back to front."""
    face.canvas.fill(outline, shade(face.hair, 0.7), LABEL["hair"])
    first, second = resample(outer, 22), resample(inner, 22)
    locks = []
    for row, across in enumerate((0.0, 0.42, 0.8)):
        for point in first + (second - first) * across:
            radius = (0.052, 0.044, 0.034)[row] * (0.85 + 0.3 * face.shape_rng.random())
            locks.append((point, radius, row))
    for point, radius, row in locks:
        x, y = float(point[0]), float(point[1])
        colour = _tone(face, face.hair) if face.streaks else shade(face.hair, 0.86 + 0.32 * face.rng.random())
        face.canvas.fill(ellipse(x, y, radius, radius, samples=14), colour, LABEL["hair"], contour=row == 0)
        arc = ellipse(x, y, radius * 0.55, radius * 0.55, samples=12)[6:11]
        face.canvas.stroke(arc, shade(colour, 0.62), 0.007)
    face.canvas.stroke(inner, None, 0.0, line=True)
    for point, radius, row in locks:
        if row == 0:  # the contours of neighbours cross inside the hair: wipe them there
            inside = ellipse(float(point[0]), float(point[1]), radius * 0.86, radius * 0.86, samples=14)
            face.canvas.fill(inside, None, LABEL["hair"], contour=False)
