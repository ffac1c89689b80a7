"""Drawn portraits: necklaces, glasses, earrings and hats."""

from __future__ import annotations

import numpy as np
from PIL import Image

from codiff.data.face_canvas import Colour, Points, ellipse, shade, spline
from codiff.data.face_portrait import CLOTH_COLOURS, EYE_MIDDLE, GOLD, LABEL, LEFT_EYE_X, RIGHT_EYE_X, WHITE, Portrait


def paint_necklace(face: Portrait) -> None:
    if not face.layout.necklace:
        return
    x = face.centre * 0.5 + 0.25
    points = [(x - 0.17, 0.86), (x - 0.12, 0.925), (x, 0.965), (x + 0.12, 0.925), (x + 0.17, 0.86)]
    face.canvas.stroke(spline(points, closed=False), GOLD, 0.014, LABEL["necklace"], line=True)
    face.canvas.fill(ellipse(x, 0.972, 0.02, 0.02), shade(GOLD, 1.2), LABEL["necklace"])


def paint_glasses(face: Portrait) -> None:
    kind = face.layout.glasses
    if kind == "none":
        return
    canvas, frame = face.canvas, (44, 34, 34) if face.identity.hair_tint < 0.5 else (112, 42, 36)
    lenses = []
    for x in (RIGHT_EYE_X - 0.004, LEFT_EYE_X + 0.004):
        if kind == "round":
            lenses.append(ellipse(x, 0.487, 0.094, 0.083))
        else:
            rx, ry = 0.102, 0.068
            corners = [
                (x - rx, 0.487 - ry * 0.7), (x - rx * 0.8, 0.487 - ry), (x + rx * 0.8, 0.487 - ry),
                (x + rx, 0.487 - ry * 0.7), (x + rx * 0.92, 0.487 + ry * 0.8), (x + rx * 0.7, 0.487 + ry),
                (x - rx * 0.7, 0.487 + ry), (x - rx * 0.92, 0.487 + ry * 0.8),
            ]  # fmt: skip
            lenses.append(spline(corners, closed=True, samples=4))
    for sign, lens in ((-1.0, lenses[0]), (1.0, lenses[1])):
        outer = lens[:, 0].min() if sign < 0 else lens[:, 0].max()
        arm = np.array([(float(outer), 0.470), face.side(sign, 1.02, 0.462)])
        canvas.stroke(arm, frame, 0.017, LABEL["eyeglass"], line=True)
    bridge = spline([(EYE_MIDDLE - 0.032, 0.478), (EYE_MIDDLE, 0.462), (EYE_MIDDLE + 0.032, 0.478)], closed=False)
    for lens in lenses:
        canvas.fill(lens, None, LABEL["eyeglass"])
        clip = canvas.region(lens)
        canvas.soft(lens, (214, 232, 244), 0.16, 0.004, clip)
        glare = np.array([(0.035, 0.055), (0.075, 0.015), (0.095, 0.015), (0.05, 0.065)])
        canvas.soft(glare + lens.min(axis=0), WHITE, 0.75, 0.004, clip)
        canvas.stroke(np.concatenate([lens, lens[:2]]), frame, 0.0165, LABEL["eyeglass"])
    canvas.stroke(bridge, frame, 0.016, LABEL["eyeglass"], line=True)


def paint_earrings(face: Portrait) -> None:
    kind = face.layout.earrings
    if kind == "none" or not face.ears_visible:
        return
    for sign in (-1.0, 1.0):
        turn = 1.0 - 0.45 * max(0.0, sign * face.layout.yaw)
        x, y = face.side(sign, 1.0 + 0.10 * turn, 0.66)
        if kind == "stud":
            face.canvas.fill(ellipse(x, y, 0.019, 0.019), GOLD, LABEL["earring"])
            face.canvas.fill(ellipse(x - 0.005, y - 0.006, 0.007, 0.007, samples=10), WHITE)
        elif kind == "hoop":
            ring = ellipse(x, y + 0.045, 0.034, 0.05)
            face.canvas.stroke(np.concatenate([ring, ring[:2]]), GOLD, 0.017, LABEL["earring"], line=True)
        else:
            face.canvas.stroke(np.array([(x, y), (x, y + 0.05)]), GOLD, 0.014, LABEL["earring"])
            drop = spline([(x, y + 0.035), (x + 0.02, y + 0.085), (x, y + 0.105), (x - 0.02, y + 0.085)], closed=True)
            face.canvas.fill(drop, (76, 158, 172), LABEL["earring"])


def paint_hat(face: Portrait) -> None:
    kind = face.layout.hat
    if kind == "none":
        return
    colour = CLOTH_COLOURS[(face.identity.cloth + 3) % len(CLOTH_COLOURS)]
    grow = 0.10 if face.layout.hair_style in ("curly", "wavy", "long", "bob") else 0.06
    reach = 1.0 + grow / face.half
    low = 0.335
    {"beanie": _beanie, "brim": _brim, "cap": _cap}[kind](face, colour, reach, low)


def _dome(face: Portrait, reach: float, top: float, low: float) -> Points:
    """The crown of a hat, from image left to image right."""
    edge = ((reach, low), (reach * 0.98, 0.2), (reach * 0.72, 0.06 + top))
    left = [face.side(-1, x, y) for x, y in edge]
    right = [face.side(1, x, y) for x, y in reversed(edge)]
    return spline([*left, face.side(0, 0, top), *right], closed=False)


def _hat_shading(face: Portrait, colour: Colour) -> Image.Image:
    clip = face.canvas.where(LABEL["hat"])
    face.canvas.soft(ellipse(face.centre - face.light * 0.3, 0.15, 0.13, 0.25), shade(colour, 0.5), 0.7, 0.06, clip)
    face.canvas.soft(ellipse(face.centre + face.light * 0.12, 0.08, 0.12, 0.06), shade(colour, 1.3), 0.6, 0.04, clip)
    return clip


def _hat_shadow(face: Portrait, low: float, reach: float) -> None:
    edge = spline(
        [face.side(-1, reach, low + 0.02), face.side(0, 0, low + 0.045), face.side(1, reach, low + 0.02)], closed=False
    )
    face.canvas.soft(edge, face.skin_dark, 0.7, 0.014, face.canvas.where(LABEL["skin"]), thickness=0.05)


def _beanie(face: Portrait, colour: Colour, reach: float, low: float) -> None:
    _hat_shadow(face, low, reach)
    dome = _dome(face, reach, -0.05, low)
    face.canvas.fill(np.concatenate([dome, [face.side(0, 0, low + 0.03)]]), colour, LABEL["hat"])
    clip = _hat_shading(face, colour)
    ribs = [np.array([face.side(0, k / 6 * reach, 0.33), face.side(0, k / 8 * reach, -0.03)]) for k in range(-5, 6)]
    face.canvas.strokes([(rib, shade(colour, 0.78)) for rib in ribs], 0.008, clip)
    band = [
        face.side(-1, reach * 1.03, low - 0.075), face.side(0, 0, low - 0.05), face.side(1, reach * 1.03, low - 0.075),
        face.side(1, reach * 1.03, low + 0.015), face.side(0, 0, low + 0.04), face.side(-1, reach * 1.03, low + 0.015),
    ]  # fmt: skip
    face.canvas.fill(spline(band, closed=True, samples=8), shade(colour, 0.82), LABEL["hat"])


def _brim(face: Portrait, colour: Colour, reach: float, low: float) -> None:
    _hat_shadow(face, low, reach)
    dome = _dome(face, reach * 0.86, -0.06, low)
    face.canvas.fill(dome, colour, LABEL["hat"])
    _hat_shading(face, colour)
    ribbon = [
        face.side(-1, reach * 0.88, low - 0.075), face.side(0, 0, low - 0.045), face.side(1, reach * 0.88, low - 0.075),
    ]  # fmt: skip
    face.canvas.stroke(spline(ribbon, closed=False), shade(colour, 0.45), 0.045, LABEL["hat"], line=True)
    brim = [
        face.side(-1, reach * 1.38, low - 0.005), face.side(-1, reach * 0.7, low - 0.055),
        face.side(0, 0, low - 0.035), face.side(1, reach * 0.7, low - 0.055),
        face.side(1, reach * 1.38, low - 0.005), face.side(1, reach * 0.7, low + 0.025),
        face.side(0, 0, low + 0.045), face.side(-1, reach * 0.7, low + 0.025),
    ]  # fmt: skip
    face.canvas.fill(spline(brim, closed=True), shade(colour, 0.88), LABEL["hat"])


def _cap(face: Portrait, colour: Colour, reach: float, low: float) -> None:
    _hat_shadow(face, low, reach)
    dome = _dome(face, reach, -0.03, low - 0.02)
    face.canvas.fill(np.concatenate([dome, [face.side(0, 0, low)]]), colour, LABEL["hat"])
    clip = _hat_shading(face, colour)
    seams = []
    for k in (-1, 0, 1):
        seam = [face.side(0, k * 0.62 * reach, low), face.side(0, k * 0.4 * reach, 0.1), face.side(0, 0, -0.02)]
        seams.append((spline(seam, closed=False), shade(colour, 0.7)))
    face.canvas.strokes(seams, 0.007, clip)
    visor = [
        face.side(-1, 0.86, low - 0.06), face.side(0, 0, low - 0.085), face.side(1, 0.86, low - 0.06),
        face.side(1, 0.98, low + 0.01), face.side(0, 0, low + 0.06), face.side(-1, 0.98, low + 0.01),
    ]  # fmt: skip
    face.canvas.fill(spline(visor, closed=True), shade(colour, 0.68), LABEL["hat"])
