"""Drawn portraits: skin and the signs of age on it, nose, mouth, eyes and brows."""

from __future__ import annotations

import numpy as np
from PIL import Image

from codiff.data.face_canvas import Colour, ellipse, mix, shade, spline
from codiff.data.face_portrait import (
    AGE_SIGNS,
    BLACK,
    EYE_COLOURS,
    EYE_MIDDLE,
    EYE_Y,
    LABEL,
    LEFT_EYE_X,
    RIGHT_EYE_X,
    WHITE,
    Portrait,
)


def paint_skin(face: Portrait) -> None:
    canvas, light, clip = face.canvas, face.light, face.clip
    canvas.fill(face.outline, face.skin, LABEL["skin"])
    canvas.soft(ellipse(face.centre - light * face.half, 0.6, 0.085, 0.42), face.skin_dark, 0.55, 0.05, clip)
    canvas.soft(ellipse(face.centre, face.chin + 0.01, 0.2, 0.035), face.skin_dark, 0.45, 0.03, clip)
    canvas.soft(ellipse(face.centre + light * 0.10, 0.29, 0.12, 0.07), face.skin_light, 0.65, 0.05, clip)
    canvas.soft(ellipse(face.centre + light * 0.15, 0.60, 0.065, 0.06), face.skin_light, 0.6, 0.035, clip)
    blush = mix(face.skin, (226, 84, 84), 0.55)
    strength = 0.95 if face.description.age == "child" else 0.10 + 0.35 * face.identity.blush
    size = 0.060 if face.description.age == "child" else 0.055
    for sign in (-1.0, 1.0):
        canvas.soft(ellipse(face.centre + sign * 0.155, 0.625, size, size * 0.8), blush, strength, 0.022, clip)
    canvas.soft(ellipse(face.mouth_x, face.chin - 0.045, 0.05, 0.025), face.skin_light, 0.35, 0.02, clip)
    if face.description.age == "child":
        _freckles(face, 22, mix(face.skin, (150, 70, 40), 0.55), 0.0055, (0.10, 0.21), (0.56, 0.65))


def _freckles(
    face: Portrait,
    count: int,
    colour: Colour,
    radius: float,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
) -> None:
    for index in range(count):
        sign = 1.0 if index % 2 else -1.0
        x = face.centre + sign * (x_range[0] + (x_range[1] - x_range[0]) * face.rng.random())
        y = y_range[0] + (y_range[1] - y_range[0]) * face.rng.random()
        r = radius * (0.7 + 0.6 * face.rng.random())
        face.canvas.fill(ellipse(x, y, r, r * 0.8, samples=8), colour)


def _wrinkle(face: Portrait, control: list[tuple[float, float]], strength: float, width: float = 0.009) -> None:
    points = spline(control, closed=False)
    dark = mix(face.skin_dark, (40, 20, 16), 0.35 + 0.25 * face.identity.skin)
    face.canvas.soft(points, dark, strength, 0.003, face.clip, thickness=width)
    face.canvas.soft(
        points + np.array([0.0, 0.011]), face.skin_light, 0.4 * strength, 0.004, face.clip, thickness=width
    )


def paint_age_on_skin(face: Portrait) -> None:
    lines, folds, feet, bags, spots, _ = AGE_SIGNS[face.description.age]
    c = face.centre
    for index in range(lines):
        y = 0.352 - 0.036 * index + (0.012 if lines == 1 else 0.0)
        reach = 0.125 - 0.012 * index
        left = [(c - reach, y + 0.008), (c - reach / 2, y - 0.006)]
        right = [(c + reach / 2, y - 0.006), (c + reach, y + 0.008)]
        _wrinkle(face, [*left, (c, y + 0.003), *right], 0.95)
    for sign in (-1.0, 1.0):
        if folds:
            x = face.nose_x + sign * 0.085
            _wrinkle(face, [(x, 0.635), (x + sign * 0.035, 0.69), (x + sign * 0.05, 0.755)], 0.5 + 0.5 * folds, 0.011)
        if face.description.age == "seventies":
            x = face.mouth_x + sign * 0.118
            _wrinkle(face, [(x, 0.80), (x + sign * 0.012, 0.84), (x + sign * 0.006, 0.875)], 0.95, 0.010)
            x = c + sign * face.half * 0.74
            _wrinkle(face, [(x, 0.63), (x - sign * 0.025, 0.69), (x - sign * 0.03, 0.75)], 0.85)
        if feet:
            x = (LEFT_EYE_X if sign > 0 else RIGHT_EYE_X) + sign * 0.066
            for angle in (-0.034, 0.0, 0.034):
                _wrinkle(face, [(x, EYE_Y + angle * 0.35), (x + sign * 0.045, EYE_Y + angle * 1.25)], 0.9 * feet, 0.008)
        if bags:
            x = LEFT_EYE_X if sign > 0 else RIGHT_EYE_X
            _wrinkle(face, [(x - 0.045, 0.512), (x, 0.532), (x + 0.045, 0.512)], bags)
    if spots:
        _freckles(face, 2 * spots, mix(face.skin, (96, 56, 30), 0.55), 0.0095, (0.13, 0.23), (0.56, 0.72))
        _freckles(face, spots, mix(face.skin, (96, 56, 30), 0.5), 0.009, (0.02, 0.17), (0.19, 0.27))


def paint_nose(face: Portrait) -> None:
    canvas, light, x = face.canvas, face.light, face.nose_x
    wide, bottom = 0.073 + 0.010 * face.layout.nose_width, 0.655 + 0.014 * face.layout.nose_length
    bridge = EYE_MIDDLE + 0.2 * (x - EYE_MIDDLE)
    points = spline(
        [(bridge - 0.026, 0.462), (bridge + 0.026, 0.462), (x + 0.032, 0.56), (x + wide, bottom - 0.045),
         (x + wide * 0.9, bottom - 0.012), (x + 0.02, bottom + 0.004), (x - 0.02, bottom + 0.004),
         (x - wide * 0.9, bottom - 0.012), (x - wide, bottom - 0.045), (x - 0.032, 0.56)],
        closed=True,
    )  # fmt: skip
    clip = canvas.region(points)
    canvas.fill(points, None, LABEL["nose"])
    shadow = spline(
        [(bridge - light * 0.028, 0.47), (x - light * 0.032, 0.56), (x - light * wide * 0.8, bottom - 0.03)],
        closed=False,
    )
    canvas.soft(shadow, face.skin_dark, 0.75, 0.012, clip, thickness=0.022)
    canvas.soft(ellipse(x, bottom - 0.002, wide * 0.85, 0.012), face.skin_dark, 0.8, 0.008, clip)
    canvas.soft(ellipse(x + light * 0.006, 0.54, 0.012, 0.07), face.skin_light, 0.75, 0.010, clip)
    canvas.soft(ellipse(x + light * 0.008, bottom - 0.04, 0.020, 0.018), face.skin_light, 0.85, 0.010, clip)
    canvas.soft(ellipse(x, bottom + 0.022, wide * 0.8, 0.012), face.skin_dark, 0.35, 0.012, face.clip)
    for sign in (-1.0, 1.0):
        canvas.fill(
            ellipse(x + sign * wide * 0.48, bottom - 0.008, 0.015, 0.0085, samples=12), mix(face.skin_dark, BLACK, 0.45)
        )
        wing = spline(
            [
                (x + sign * wide * 0.78, bottom - 0.062),
                (x + sign * wide, bottom - 0.038),
                (x + sign * wide * 0.84, bottom - 0.008),
            ],
            closed=False,
        )
        canvas.soft(wing, face.skin_dark, 0.85, 0.004, face.clip, thickness=0.010)


def paint_mouth(face: Portrait) -> None:
    canvas, woman = face.canvas, face.description.gender == "woman"
    top, upper, lower, bottom = face.lip_curves()
    red = (188, 44, 58) if woman else (196, 104, 96)
    lips = mix(face.skin, red, 0.72 if woman else 0.50)
    if face.layout.mouth_open >= 0:
        inside = np.concatenate([upper, lower[::-1]])
        canvas.fill(inside, (96, 26, 30), LABEL["mouth"])
        teeth = np.concatenate([upper, (0.45 * upper + 0.55 * lower)[::-1]])
        canvas.fill(teeth, (250, 246, 238))
    canvas.fill(np.concatenate([top, upper[::-1]]), shade(lips, 0.82), LABEL["upper_lip"])
    canvas.fill(np.concatenate([lower, bottom[::-1]]), lips, LABEL["lower_lip"])
    clip = canvas.where(LABEL["lower_lip"])
    y = float(bottom[len(bottom) // 2, 1])
    canvas.soft(ellipse(face.mouth_x + 0.02 * face.light, y - 0.02, 0.04, 0.008), shade(lips, 1.5), 0.7, 0.008, clip)
    if face.layout.mouth_open < 0:
        canvas.stroke(upper, mix(shade(lips, 0.5), BLACK, 0.3), 0.007)
    canvas.soft(ellipse(face.mouth_x, y + 0.022, 0.06, 0.010), face.skin_dark, 0.5, 0.010, face.clip)


def paint_eyes(face: Portrait) -> None:
    opening = 0.0195 + 0.0035 * face.layout.eye_open
    iris = EYE_COLOURS[face.identity.eyes]
    gaze = 0.008 * face.layout.yaw
    woman = face.description.gender == "woman"
    for sign, x, label in ((-1.0, RIGHT_EYE_X, "right_eye"), (1.0, LEFT_EYE_X, "left_eye")):
        canvas, y = face.canvas, EYE_Y
        canvas.soft(ellipse(x, y - 0.012, 0.07, 0.042), face.skin_dark, 0.5, 0.02, face.clip)
        outline = spline(
            [(x - sign * 0.050, y + 0.006), (x - sign * 0.022, y - opening * 0.85), (x + sign * 0.012, y - opening),
             (x + sign * 0.050, y - 0.004), (x + sign * 0.020, y + opening * 0.9),
             (x - sign * 0.022, y + opening * 0.85)],
            closed=True,
        )  # fmt: skip
        canvas.fill(outline, (250, 248, 246), LABEL[label])
        clip = canvas.where(LABEL[label])
        _iris(face, x + gaze, y - 0.001, iris, clip)
        canvas.soft(outline[:18] + np.array([0.0, 0.004]), (60, 40, 40), 0.6, 0.004, clip, thickness=0.010)
        lid = outline[0:19]
        canvas.stroke(lid, (36, 24, 22), 0.013 if woman else 0.0095)
        if woman:
            for t in (1.0, 1.35):
                root, tip = (x + sign * 0.046, y - 0.006), (x + sign * 0.046 + 0.022 * sign, y - 0.010 - 0.014 * t)
                canvas.stroke(np.array([root, tip]), (36, 24, 22), 0.009)
        crease = spline(
            [(x - sign * 0.048, y - 0.018), (x, y - opening - 0.020), (x + sign * 0.052, y - 0.020)], closed=False
        )
        canvas.stroke(crease, mix(face.skin_dark, face.skin, 0.25), 0.006, line=True)
        canvas.soft(outline[18:] + np.array([0.0, 0.008]), face.skin_dark, 0.6, 0.004, face.clip, thickness=0.008)


def _iris(face: Portrait, x: float, y: float, colour: Colour, clip: Image.Image) -> None:
    glint = 0.0085 if face.description.age == "child" else 0.006
    with face.canvas.within(clip):
        face.canvas.fill(ellipse(x, y, 0.0215, 0.0215), shade(colour, 0.55))
        face.canvas.fill(ellipse(x, y, 0.018, 0.018), colour)
        face.canvas.fill(ellipse(x, y + 0.007, 0.012, 0.008), shade(colour, 1.35))
        face.canvas.fill(ellipse(x, y, 0.0095, 0.0095), (12, 8, 8))
        face.canvas.fill(ellipse(x + face.light * 0.008, y - 0.008, glint, glint, samples=12), WHITE)


def paint_brows(face: Portrait) -> None:
    layout = face.layout
    thick = 0.016 + 0.004 * layout.brow_thickness
    for sign, x, label in ((-1.0, RIGHT_EYE_X - 0.008, "right_brow"), (1.0, LEFT_EYE_X + 0.008, "left_brow")):
        y, tilt = 0.410 - 0.010 * layout.brow_height, 0.010 * layout.brow_tilt
        spine = spline(
            [(x - sign * 0.080, y + 0.012 - tilt), (x - sign * 0.02, y - 0.008 - tilt / 3),
             (x + sign * 0.035, y - 0.012), (x + sign * 0.085, y + 0.014 + tilt / 2)],
            closed=False,
        )  # fmt: skip
        taper = np.linspace(1.0, 0.25, len(spine))[:, None] * np.array([0.0, thick])
        outline = np.concatenate([spine - taper, (spine + taper)[::-1]])
        face.canvas.fill(outline, face.brow, LABEL[label])
        clip = face.canvas.where(LABEL[label])
        hairs = []
        for k in range(1, len(spine) - 1, 2):
            base = spine[k] + taper[k]
            tip = spine[min(k + 2, len(spine) - 1)] - taper[k]
            hairs.append((np.stack([base, tip]), shade(face.brow, 0.72 if k % 4 == 1 else 1.22)))
        face.canvas.strokes(hairs, 0.005, clip)
