"""Drawn portraits: what stands behind and below the face."""

from __future__ import annotations

import numpy as np

from codiff.data.face_canvas import ellipse, shade, spline
from codiff.data.face_portrait import BACKGROUNDS, LABEL, Portrait


def paint_background(face: Portrait) -> None:
    base = BACKGROUNDS[face.identity.background]
    face.canvas.soft(ellipse(0.5 + 0.45 * face.light, 0.2, 0.5, 0.5), shade(base, 1.6), 0.8, 0.2)
    face.canvas.soft(ellipse(0.5 - 0.5 * face.light, 0.95, 0.5, 0.5), shade(base, 0.72), 0.7, 0.2)


def paint_neck(face: Portrait) -> None:
    width = 0.195 + 0.02 * face.layout.neck
    x = face.centre * 0.5 + 0.25
    points = spline(
        [(x - width, 0.70), (x - width * 0.97, 0.84), (x - width * 1.12, 0.95), (x - width * 1.25, 1.04),
         (x + width * 1.25, 1.04), (x + width * 1.12, 0.95), (x + width * 0.97, 0.84), (x + width, 0.70)],
        closed=True,
    )  # fmt: skip
    face.canvas.fill(points, shade(face.skin, 0.93), LABEL["neck"])
    clip = face.canvas.where(LABEL["neck"])
    shadow = face.outline + np.array([-0.02 * face.light, 0.035])
    face.canvas.soft(shadow, face.skin_dark, 0.75, 0.022, clip)
    side = ellipse(x - face.light * width, 0.95, 0.05, 0.2)
    face.canvas.soft(side, face.skin_dark, 0.4, 0.03, clip)


def paint_clothes(face: Portrait) -> None:
    neckline = face.layout.neckline
    x = face.centre * 0.5 + 0.25
    top = {"crew": 0.86, "v-neck": 0.875, "collar": 0.83, "turtleneck": 0.81}[neckline] + 0.012 * face.layout.neck
    depth = {"crew": 0.985, "v-neck": 1.06, "collar": 1.02, "turtleneck": 0.90}[neckline]
    inner = 0.19 + 0.02 * face.layout.neck
    rise = 0.92 - 0.03 * face.layout.shoulders
    points = spline(
        [(-0.05, 1.05), (-0.03, rise + 0.035), (0.12, rise), (x - inner - 0.05, top + 0.025), (x - inner, top),
         (x - inner * 0.62, (top + depth) / 2 + 0.012), (x, depth), (x + inner * 0.62, (top + depth) / 2 + 0.012),
         (x + inner, top), (x + inner + 0.05, top + 0.025), (0.88, rise), (1.03, rise + 0.035), (1.05, 1.05)],
        closed=True,
    )  # fmt: skip
    face.canvas.fill(points, face.cloth, LABEL["cloth"])
    clip = face.canvas.where(LABEL["cloth"])
    face.canvas.soft(ellipse(0.5 - 0.45 * face.light, 1.0, 0.28, 0.2), shade(face.cloth, 0.6), 0.7, 0.06, clip)
    face.canvas.soft(ellipse(0.5 + 0.38 * face.light, 0.93, 0.12, 0.04), shade(face.cloth, 1.3), 0.6, 0.03, clip)
    edge = points[19:47]
    face.canvas.stroke(edge, shade(face.cloth, 0.66), 0.010)
    if neckline in ("collar", "turtleneck"):
        face.canvas.stroke(edge + np.array([0.0, 0.022]), shade(face.cloth, 0.8), 0.007, line=True)
    for sign in (-1.0, 1.0):
        fold = np.array([(x + sign * 0.30, 0.945), (x + sign * 0.345, 1.01)])
        face.canvas.soft(fold, shade(face.cloth, 0.6), 0.7, 0.006, clip, thickness=0.010)


def paint_ears(face: Portrait) -> None:
    for sign, label in ((-1.0, "right_ear"), (1.0, "left_ear")):
        turn = 1.0 - 0.45 * max(0.0, sign * face.layout.yaw)
        points = spline(
            [face.side(sign, 0.93, 0.45), face.side(sign, 1.0 + 0.17 * turn, 0.435),
             face.side(sign, 1.0 + 0.25 * turn, 0.50), face.side(sign, 1.0 + 0.20 * turn, 0.58),
             face.side(sign, 1.0 + 0.10 * turn, 0.645), face.side(sign, 0.9, 0.66)],
            closed=True,
        )  # fmt: skip
        face.canvas.fill(points, shade(face.skin, 0.92), LABEL[label])
        inner = spline(
            [face.side(sign, 1.02, 0.475), face.side(sign, 1.0 + 0.15 * turn, 0.485),
             face.side(sign, 1.0 + 0.13 * turn, 0.56), face.side(sign, 1.03, 0.60)],
            closed=False,
        )  # fmt: skip
        face.canvas.stroke(inner, face.skin_dark, 0.008, line=True)
