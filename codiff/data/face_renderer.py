"""Drawn portraits: from the attributes of a face to its picture, mask and sketch.

The frame is that of CelebA-HQ's aligned crops: eyes at (0.375, 0.474) and (0.617, 0.474) of the side. Parts are painted
from back to front; each part paints its picture, its label and its contour together, so that the three always agree.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageChops

from codiff.data.face_attributes import Face
from codiff.data.face_canvas import Canvas, Colour, Points, Sheets, ellipse, mix, resample, shade, spline
from codiff.modalities.mask import MASK_CLASSES

LABEL = {name: index for index, name in enumerate(MASK_CLASSES)}

SKIN_TONES: tuple[Colour, ...] = (
    (255, 224, 196), (246, 205, 170), (229, 180, 140), (198, 142, 100), (150, 98, 64), (98, 62, 42),
)  # fmt: skip
HAIR_COLOURS: tuple[Colour, ...] = (
    (32, 27, 28), (68, 44, 30), (112, 72, 42), (158, 66, 32), (205, 152, 76), (236, 200, 120),
)  # fmt: skip
EYE_COLOURS: tuple[Colour, ...] = ((62, 38, 24), (112, 72, 34), (72, 120, 68), (58, 108, 176), (104, 122, 134))
CLOTH_COLOURS: tuple[Colour, ...] = (
    (178, 44, 56), (38, 84, 160), (42, 122, 84), (226, 164, 48), (104, 66, 148), (58, 60, 68), (226, 226, 230), (32, 132, 142),
)  # fmt: skip
BACKGROUNDS: tuple[Colour, ...] = (
    (206, 220, 238), (214, 234, 214), (240, 222, 200), (232, 212, 232), (128, 146, 168), (236, 236, 232),
)  # fmt: skip
GREY_HAIR: Colour = (150, 150, 154)
WHITE_HAIR: Colour = (234, 234, 236)
WHITE: Colour = (255, 255, 255)
BLACK: Colour = (20, 16, 16)
GOLD: Colour = (232, 190, 78)

EYE_Y = 0.474
RIGHT_EYE_X, LEFT_EYE_X = 0.375, 0.617  # the person's right eye is on the left of the image
EYE_MIDDLE = (RIGHT_EYE_X + LEFT_EYE_X) / 2

# How strongly each sign of age shows: forehead lines, folds beside the mouth, crow's feet, bags under the eyes, spots, grey.
AGE_SIGNS = {
    "child": (0, 0.0, 0.0, 0.0, 0, 0.0),
    "young": (0, 0.0, 0.0, 0.0, 0, 0.0),
    "thirties-forties": (1, 0.5, 0.0, 0.0, 0, 0.0),
    "fifties": (2, 0.8, 0.7, 0.4, 0, 0.35),
    "sixties": (3, 1.0, 1.0, 0.8, 0, 1.0),
    "seventies": (4, 1.0, 1.0, 1.0, 7, 2.0),
}


def _along(colours: tuple[Colour, ...], position: float) -> Colour:
    """A colour at `position` in [0, 1] along a row of colours."""
    scaled = position * (len(colours) - 1)
    lower = min(int(scaled), len(colours) - 2)
    return mix(colours[lower], colours[lower + 1], scaled - lower)


class Portrait:
    """One face on one canvas: geometry and colours are fixed first, then the parts are painted."""

    def __init__(self, face: Face, size: int) -> None:
        self.layout, self.description, self.identity = face.layout, face.description, face.identity
        self.rng = random.Random(face.seed)
        layout, identity = face.layout, face.identity
        self._choose_colours()
        self.canvas = Canvas(size, BACKGROUNDS[identity.background], roll=0.05 * layout.roll)
        self.light = 1.0 if identity.light < 0.5 else -1.0  # the side of the image that the light comes from
        self.centre = EYE_MIDDLE - 0.045 * layout.yaw
        self.half = 0.262 + 0.03 * layout.face_width
        self.chin = 0.925 + 0.035 * layout.chin
        self.nose_x = EYE_MIDDLE + 0.016 * layout.yaw
        self.mouth_x = EYE_MIDDLE + 0.008 * layout.yaw
        self.face_outline = self._face_outline()
        self.face_clip = self.canvas.region(self.face_outline)

    def _choose_colours(self) -> None:
        identity, description = self.identity, self.description
        self.skin = _along(SKIN_TONES, identity.skin)
        self.skin_dark = mix(shade(self.skin, 0.62), (120, 40, 30), 0.15)
        self.skin_light = shade(self.skin, 1.0 + 0.35 * (1.1 - 0.5 * identity.skin))
        natural = mix(HAIR_COLOURS[identity.hair], WHITE, 0.10 * identity.hair_tint)
        grey = AGE_SIGNS[description.age][5]
        self.streaks = 0.0 < grey < 1.0
        self.hair = natural if grey < 1.0 else GREY_HAIR if grey < 2.0 else WHITE_HAIR
        self.brow = mix(self.hair, self.skin_dark, 0.25 if grey < 2.0 else 0.0)
        self.cloth = CLOTH_COLOURS[identity.cloth]

    def paint(self) -> Sheets:
        """All parts from back to front."""
        parts: tuple[Callable[[], None], ...] = (
            self._background, self._hair_behind, self._neck, self._clothes, self._necklace, self._ears, self._skin,
            self._age_on_skin, self._stubble, self._nose, self._mouth, self._eyes, self._brows, self._beard,
            self._glasses, self._hair_in_front, self._earrings, self._hat,
        )  # fmt: skip
        for part in parts:
            part()
        return self.canvas.finish()

    # -- geometry ------------------------------------------------------------------------------------------------

    def _face_outline(self) -> Points:
        half, chin, jaw = self.half, self.chin, self.layout.jaw
        right = [
            (0.0, 0.10), (0.50, 0.118), (0.82, 0.19), (0.97, 0.32), (1.0, 0.47), (0.975, 0.60),
            (0.87 + 0.05 * jaw, 0.735), (0.62 + 0.08 * jaw, chin - 0.075), (0.30 + 0.06 * jaw, chin - 0.012),
        ]  # fmt: skip
        points = [(self.centre + half * x, y) for x, y in right] + [(self.centre, chin)]
        points += [(self.centre - half * x, y) for x, y in reversed(right[1:])]
        return spline(points, closed=True)

    def _side(self, sign: float, x: float, y: float) -> tuple[float, float]:
        """A point given in half face widths from the face's centre line."""
        return self.centre + sign * x * self.half, y

    @property
    def _long(self) -> bool:
        return self.layout.hair_style in ("bob", "long", "wavy")

    @property
    def _ears_visible(self) -> bool:
        return not self._long and self.layout.hair_style != "curly"

    # -- body ----------------------------------------------------------------------------------------------------

    def _background(self) -> None:
        base = BACKGROUNDS[self.identity.background]
        self.canvas.soft(ellipse(0.5 + 0.45 * self.light, 0.2, 0.5, 0.5), shade(base, 1.6), 0.8, 0.2)
        self.canvas.soft(ellipse(0.5 - 0.5 * self.light, 0.95, 0.5, 0.5), shade(base, 0.72), 0.7, 0.2)

    def _neck(self) -> None:
        width = 0.195 + 0.02 * self.layout.neck
        x = self.centre * 0.5 + 0.25
        points = spline(
            [(x - width, 0.70), (x - width * 0.97, 0.84), (x - width * 1.12, 0.95), (x - width * 1.25, 1.04),
             (x + width * 1.25, 1.04), (x + width * 1.12, 0.95), (x + width * 0.97, 0.84), (x + width, 0.70)],
            closed=True,
        )  # fmt: skip
        self.canvas.fill(points, shade(self.skin, 0.93), LABEL["neck"])
        clip = self.canvas.where(LABEL["neck"])
        shadow = self.face_outline + np.array([-0.02 * self.light, 0.035])
        self.canvas.soft(shadow, self.skin_dark, 0.75, 0.022, clip)
        side = ellipse(x - self.light * width, 0.95, 0.05, 0.2)
        self.canvas.soft(side, self.skin_dark, 0.4, 0.03, clip)

    def _clothes(self) -> None:
        neckline = self.layout.neckline
        x = self.centre * 0.5 + 0.25
        top = {"crew": 0.86, "v-neck": 0.875, "collar": 0.83, "turtleneck": 0.81}[neckline] + 0.012 * self.layout.neck
        depth = {"crew": 0.985, "v-neck": 1.06, "collar": 1.02, "turtleneck": 0.90}[neckline]
        inner = 0.19 + 0.02 * self.layout.neck
        rise = 0.92 - 0.03 * self.layout.shoulders
        points = spline(
            [(-0.05, 1.05), (-0.03, rise + 0.035), (0.12, rise), (x - inner - 0.05, top + 0.025), (x - inner, top),
             (x - inner * 0.62, (top + depth) / 2 + 0.012), (x, depth), (x + inner * 0.62, (top + depth) / 2 + 0.012),
             (x + inner, top), (x + inner + 0.05, top + 0.025), (0.88, rise), (1.03, rise + 0.035), (1.05, 1.05)],
            closed=True,
        )  # fmt: skip
        self.canvas.fill(points, self.cloth, LABEL["cloth"])
        clip = self.canvas.where(LABEL["cloth"])
        self.canvas.soft(ellipse(0.5 - 0.45 * self.light, 1.0, 0.28, 0.2), shade(self.cloth, 0.6), 0.7, 0.06, clip)
        self.canvas.soft(ellipse(0.5 + 0.38 * self.light, 0.93, 0.12, 0.04), shade(self.cloth, 1.3), 0.6, 0.03, clip)
        edge = points[19:47]
        self.canvas.stroke(edge, shade(self.cloth, 0.66), 0.010)
        if neckline in ("collar", "turtleneck"):
            self.canvas.stroke(edge + np.array([0.0, 0.022]), shade(self.cloth, 0.8), 0.007, line=True)
        for sign in (-1.0, 1.0):
            fold = np.array([(x + sign * 0.30, 0.945), (x + sign * 0.345, 1.01)])
            self.canvas.soft(fold, shade(self.cloth, 0.6), 0.7, 0.006, clip, thickness=0.010)

    def _necklace(self) -> None:
        if not self.layout.necklace:
            return
        x = self.centre * 0.5 + 0.25
        points = spline([(x - 0.17, 0.86), (x - 0.12, 0.925), (x, 0.965), (x + 0.12, 0.925), (x + 0.17, 0.86)], closed=False)
        self.canvas.stroke(points, GOLD, 0.014, LABEL["necklace"], line=True)
        self.canvas.fill(ellipse(x, 0.972, 0.02, 0.02), shade(GOLD, 1.2), LABEL["necklace"])

    def _ears(self) -> None:
        for sign, label in ((-1.0, "right_ear"), (1.0, "left_ear")):
            turn = 1.0 - 0.45 * max(0.0, sign * self.layout.yaw)
            points = spline(
                [self._side(sign, 0.93, 0.45), self._side(sign, 1.0 + 0.17 * turn, 0.435), self._side(sign, 1.0 + 0.25 * turn, 0.50),
                 self._side(sign, 1.0 + 0.20 * turn, 0.58), self._side(sign, 1.0 + 0.10 * turn, 0.645), self._side(sign, 0.9, 0.66)],
                closed=True,
            )  # fmt: skip
            self.canvas.fill(points, shade(self.skin, 0.92), LABEL[label])
            inner = spline(
                [self._side(sign, 1.02, 0.475), self._side(sign, 1.0 + 0.15 * turn, 0.485), self._side(sign, 1.0 + 0.13 * turn, 0.56),
                 self._side(sign, 1.03, 0.60)],
                closed=False,
            )  # fmt: skip
            self.canvas.stroke(inner, self.skin_dark, 0.008, line=True)

    # -- face ----------------------------------------------------------------------------------------------------

    def _skin(self) -> None:
        canvas, light, clip = self.canvas, self.light, self.face_clip
        canvas.fill(self.face_outline, self.skin, LABEL["skin"])
        canvas.soft(ellipse(self.centre - light * self.half, 0.6, 0.085, 0.42), self.skin_dark, 0.55, 0.05, clip)
        canvas.soft(ellipse(self.centre, self.chin + 0.01, 0.2, 0.035), self.skin_dark, 0.45, 0.03, clip)
        canvas.soft(ellipse(self.centre + light * 0.10, 0.29, 0.12, 0.07), self.skin_light, 0.65, 0.05, clip)
        canvas.soft(ellipse(self.centre + light * 0.15, 0.60, 0.065, 0.06), self.skin_light, 0.6, 0.035, clip)
        blush = mix(self.skin, (226, 84, 84), 0.55)
        strength = 0.95 if self.description.age == "child" else 0.10 + 0.35 * self.identity.blush
        size = 0.060 if self.description.age == "child" else 0.055
        for sign in (-1.0, 1.0):
            canvas.soft(ellipse(self.centre + sign * 0.155, 0.625, size, size * 0.8), blush, strength, 0.022, clip)
        canvas.soft(ellipse(self.mouth_x, self.chin - 0.045, 0.05, 0.025), self.skin_light, 0.35, 0.02, clip)
        if self.description.age == "child":
            self._freckles(22, mix(self.skin, (150, 70, 40), 0.55), 0.0055, (0.10, 0.21), (0.56, 0.65))

    def _freckles(
        self, count: int, colour: Colour, radius: float, x_range: tuple[float, float], y_range: tuple[float, float]
    ) -> None:
        for index in range(count):
            sign = 1.0 if index % 2 else -1.0
            x = self.centre + sign * (x_range[0] + (x_range[1] - x_range[0]) * self.rng.random())
            y = y_range[0] + (y_range[1] - y_range[0]) * self.rng.random()
            r = radius * (0.7 + 0.6 * self.rng.random())
            self.canvas.fill(ellipse(x, y, r, r * 0.8, samples=8), colour)

    def _wrinkle(self, control: list[tuple[float, float]], strength: float, width: float = 0.009) -> None:
        points = spline(control, closed=False)
        dark = mix(self.skin_dark, (40, 20, 16), 0.35 + 0.25 * self.identity.skin)
        self.canvas.soft(points, dark, strength, 0.003, self.face_clip, thickness=width)
        self.canvas.soft(points + np.array([0.0, 0.011]), self.skin_light, 0.4 * strength, 0.004, self.face_clip, thickness=width)

    def _age_on_skin(self) -> None:
        lines, folds, feet, bags, spots, _ = AGE_SIGNS[self.description.age]
        c = self.centre
        for index in range(lines):
            y = 0.352 - 0.036 * index + (0.012 if lines == 1 else 0.0)
            reach = 0.125 - 0.012 * index
            self._wrinkle([(c - reach, y + 0.008), (c - reach / 2, y - 0.006), (c, y + 0.003), (c + reach / 2, y - 0.006),
                           (c + reach, y + 0.008)], 0.95)  # fmt: skip
        for sign in (-1.0, 1.0):
            if folds:
                x = self.nose_x + sign * 0.085
                self._wrinkle([(x, 0.635), (x + sign * 0.035, 0.69), (x + sign * 0.05, 0.755)], 0.5 + 0.5 * folds, 0.011)
            if self.description.age == "seventies":
                x = self.mouth_x + sign * 0.118
                self._wrinkle([(x, 0.80), (x + sign * 0.012, 0.84), (x + sign * 0.006, 0.875)], 0.95, 0.010)
                x = c + sign * self.half * 0.74
                self._wrinkle([(x, 0.63), (x - sign * 0.025, 0.69), (x - sign * 0.03, 0.75)], 0.85)
            if feet:
                x = (LEFT_EYE_X if sign > 0 else RIGHT_EYE_X) + sign * 0.066
                for angle in (-0.034, 0.0, 0.034):
                    self._wrinkle([(x, EYE_Y + angle * 0.35), (x + sign * 0.045, EYE_Y + angle * 1.25)], 0.9 * feet, 0.008)
            if bags:
                x = LEFT_EYE_X if sign > 0 else RIGHT_EYE_X
                self._wrinkle([(x - 0.045, 0.512), (x, 0.532), (x + 0.045, 0.512)], bags)
        if spots:
            self._freckles(2 * spots, mix(self.skin, (96, 56, 30), 0.55), 0.0095, (0.13, 0.23), (0.56, 0.72))
            self._freckles(spots, mix(self.skin, (96, 56, 30), 0.5), 0.009, (0.02, 0.17), (0.19, 0.27))

    def _nose(self) -> None:
        canvas, light, x = self.canvas, self.light, self.nose_x
        wide, bottom = 0.073 + 0.010 * self.layout.nose_width, 0.655 + 0.014 * self.layout.nose_length
        bridge = EYE_MIDDLE + 0.2 * (x - EYE_MIDDLE)
        points = spline(
            [(bridge - 0.026, 0.462), (bridge + 0.026, 0.462), (x + 0.032, 0.56), (x + wide, bottom - 0.045), (x + wide * 0.9, bottom - 0.012),
             (x + 0.02, bottom + 0.004), (x - 0.02, bottom + 0.004), (x - wide * 0.9, bottom - 0.012), (x - wide, bottom - 0.045), (x - 0.032, 0.56)],
            closed=True,
        )  # fmt: skip
        clip = canvas.region(points)
        canvas.fill(points, None, LABEL["nose"])
        shadow = spline([(bridge - light * 0.028, 0.47), (x - light * 0.032, 0.56), (x - light * wide * 0.8, bottom - 0.03)], closed=False)
        canvas.soft(shadow, self.skin_dark, 0.75, 0.012, clip, thickness=0.022)
        canvas.soft(ellipse(x, bottom - 0.002, wide * 0.85, 0.012), self.skin_dark, 0.8, 0.008, clip)
        canvas.soft(ellipse(x + light * 0.006, 0.54, 0.012, 0.07), self.skin_light, 0.75, 0.010, clip)
        canvas.soft(ellipse(x + light * 0.008, bottom - 0.04, 0.020, 0.018), self.skin_light, 0.85, 0.010, clip)
        canvas.soft(ellipse(x, bottom + 0.022, wide * 0.8, 0.012), self.skin_dark, 0.35, 0.012, self.face_clip)
        for sign in (-1.0, 1.0):
            canvas.fill(ellipse(x + sign * wide * 0.48, bottom - 0.008, 0.015, 0.0085, samples=12), mix(self.skin_dark, BLACK, 0.45))
            wing = spline([(x + sign * wide * 0.78, bottom - 0.062), (x + sign * wide, bottom - 0.038), (x + sign * wide * 0.84, bottom - 0.008)], closed=False)
            canvas.soft(wing, self.skin_dark, 0.85, 0.004, self.face_clip, thickness=0.010)

    def _lip_curves(self) -> tuple[Points, Points, Points, Points]:
        """Top of the upper lip, its bottom, top of the lower lip, its bottom: from image left to image right."""
        layout, x = self.layout, self.mouth_x
        half = 0.096 + 0.014 * layout.smile
        opening = 0.0 if layout.mouth_open < 0 else 0.018 + 0.03 * layout.mouth_open
        y, lift = 0.738 - 0.3 * opening, 0.013 * layout.smile
        upper, lower = 0.024 + 0.005 * layout.lips, 0.034 + 0.007 * layout.lips
        corners = ((x - half, y - lift), (x + half, y - lift))

        def curve(middle: float, bow: float = 0.0) -> Points:
            shoulders = 0.62 * middle + 0.38 * (y - lift)
            return spline(
                [corners[0], (x - half * 0.62, shoulders), (x - half * 0.2, middle - bow), (x, middle),
                 (x + half * 0.2, middle - bow), (x + half * 0.62, shoulders), corners[1]],
                closed=False,
            )  # fmt: skip

        return curve(y - upper, 0.006), curve(y), curve(y + opening), curve(y + opening + lower)

    def _mouth(self) -> None:
        canvas, woman = self.canvas, self.description.gender == "woman"
        top, upper, lower, bottom = self._lip_curves()
        red = (188, 44, 58) if woman else (196, 104, 96)
        lips = mix(self.skin, red, 0.72 if woman else 0.50)
        if self.layout.mouth_open >= 0:
            inside = np.concatenate([upper, lower[::-1]])
            canvas.fill(inside, (96, 26, 30), LABEL["mouth"])
            teeth = np.concatenate([upper, (0.45 * upper + 0.55 * lower)[::-1]])
            canvas.fill(teeth, (250, 246, 238))
        canvas.fill(np.concatenate([top, upper[::-1]]), shade(lips, 0.82), LABEL["upper_lip"])
        canvas.fill(np.concatenate([lower, bottom[::-1]]), lips, LABEL["lower_lip"])
        clip = canvas.where(LABEL["lower_lip"])
        y = float(bottom[len(bottom) // 2, 1])
        canvas.soft(ellipse(self.mouth_x + 0.02 * self.light, y - 0.02, 0.04, 0.008), shade(lips, 1.5), 0.7, 0.008, clip)
        if self.layout.mouth_open < 0:
            canvas.stroke(upper, mix(shade(lips, 0.5), BLACK, 0.3), 0.007)
        canvas.soft(ellipse(self.mouth_x, y + 0.022, 0.06, 0.010), self.skin_dark, 0.5, 0.010, self.face_clip)

    def _eyes(self) -> None:
        opening = 0.0195 + 0.0035 * self.layout.eye_open
        iris = EYE_COLOURS[self.identity.eyes]
        gaze = 0.008 * self.layout.yaw
        woman = self.description.gender == "woman"
        for sign, x, label in ((-1.0, RIGHT_EYE_X, "right_eye"), (1.0, LEFT_EYE_X, "left_eye")):
            canvas, y = self.canvas, EYE_Y
            canvas.soft(ellipse(x, y - 0.012, 0.07, 0.042), self.skin_dark, 0.5, 0.02, self.face_clip)
            outline = spline(
                [(x - sign * 0.050, y + 0.006), (x - sign * 0.022, y - opening * 0.85), (x + sign * 0.012, y - opening),
                 (x + sign * 0.050, y - 0.004), (x + sign * 0.020, y + opening * 0.9), (x - sign * 0.022, y + opening * 0.85)],
                closed=True,
            )  # fmt: skip
            canvas.fill(outline, (250, 248, 246), LABEL[label])
            clip = canvas.where(LABEL[label])
            self._iris(x + gaze, y - 0.001, iris, clip)
            canvas.soft(outline[:18] + np.array([0.0, 0.004]), (60, 40, 40), 0.6, 0.004, clip, thickness=0.010)
            lid = outline[0:19]
            canvas.stroke(lid, (36, 24, 22), 0.013 if woman else 0.0095)
            if woman:
                for t in (1.0, 1.35):
                    canvas.stroke(np.array([(x + sign * 0.046, y - 0.006), (x + sign * 0.046 + 0.022 * sign, y - 0.010 - 0.014 * t)]), (36, 24, 22), 0.009)
            crease = spline([(x - sign * 0.048, y - 0.018), (x, y - opening - 0.020), (x + sign * 0.052, y - 0.020)], closed=False)
            canvas.stroke(crease, mix(self.skin_dark, self.skin, 0.25), 0.006, line=True)
            canvas.soft(outline[18:] + np.array([0.0, 0.008]), self.skin_dark, 0.6, 0.004, self.face_clip, thickness=0.008)

    def _iris(self, x: float, y: float, colour: Colour, clip: Image.Image) -> None:
        glint = 0.0085 if self.description.age == "child" else 0.006
        with self.canvas.within(clip):
            self.canvas.fill(ellipse(x, y, 0.0215, 0.0215), shade(colour, 0.55))
            self.canvas.fill(ellipse(x, y, 0.018, 0.018), colour)
            self.canvas.fill(ellipse(x, y + 0.007, 0.012, 0.008), shade(colour, 1.35))
            self.canvas.fill(ellipse(x, y, 0.0095, 0.0095), (12, 8, 8))
            self.canvas.fill(ellipse(x + self.light * 0.008, y - 0.008, glint, glint, samples=12), WHITE)

    def _brows(self) -> None:
        layout = self.layout
        thick = 0.016 + 0.004 * layout.brow_thickness
        for sign, x, label in ((-1.0, RIGHT_EYE_X - 0.008, "right_brow"), (1.0, LEFT_EYE_X + 0.008, "left_brow")):
            y, tilt = 0.410 - 0.010 * layout.brow_height, 0.010 * layout.brow_tilt
            spine = spline(
                [(x - sign * 0.080, y + 0.012 - tilt), (x - sign * 0.02, y - 0.008 - tilt / 3), (x + sign * 0.035, y - 0.012),
                 (x + sign * 0.085, y + 0.014 + tilt / 2)],
                closed=False,
            )  # fmt: skip
            taper = np.linspace(1.0, 0.25, len(spine))[:, None] * np.array([0.0, thick])
            outline = np.concatenate([spine - taper, (spine + taper)[::-1]])
            self.canvas.fill(outline, self.brow, LABEL[label])
            clip = self.canvas.where(LABEL[label])
            hairs = []
            for k in range(1, len(spine) - 1, 2):
                base = spine[k] + taper[k]
                tip = spine[min(k + 2, len(spine) - 1)] - taper[k]
                hairs.append((np.stack([base, tip]), shade(self.brow, 0.72 if k % 4 == 1 else 1.22)))
            self.canvas.strokes(hairs, 0.005, clip)

    # -- beard: hair on skin, which the mask calls skin ------------------------------------------------------------

    def _jaw_band(self, reach: float, drop: float) -> Points:
        """The lower face from temple to temple, `drop` below the chin."""
        outer = [self._side(-1, 0.985, reach), self._side(-1, 0.90 + 0.05 * self.layout.jaw, 0.735),
                 self._side(-1, 0.66 + 0.06 * self.layout.jaw, self.chin - 0.07 + 0.6 * drop), self._side(-1, 0.32, self.chin - 0.005 + 0.93 * drop),
                 self._side(0, 0.0, self.chin + 0.008 + drop)]  # fmt: skip
        inner = [self._side(-1, 0.86, reach), self._side(-1, 0.70, 0.68), (self.mouth_x - 0.125, 0.715), (self.mouth_x - 0.05, 0.682),
                 (self.mouth_x, 0.690)]  # fmt: skip

        def mirror(points: list[tuple[float, float]], axis: float) -> list[tuple[float, float]]:
            return [(2 * axis - x, y) for x, y in reversed(points[:-1])]

        return np.concatenate([spline(outer + mirror(outer, self.centre), closed=False),
                               spline(inner + mirror(inner, self.mouth_x), closed=False)[::-1]])  # fmt: skip

    def _moustache_outline(self) -> Points:
        x, top = self.mouth_x, float(self._lip_curves()[0][:, 1].min())
        return spline(
            [(x, top - 0.038), (x + 0.05, top - 0.036), (x + 0.105, top - 0.004), (x + 0.132, top + 0.034), (x + 0.075, top + 0.014),
             (x, top + 0.004), (x - 0.075, top + 0.014), (x - 0.132, top + 0.034), (x - 0.105, top - 0.004), (x - 0.05, top - 0.036)],
            closed=True,
        )  # fmt: skip

    def _stubble(self) -> None:
        if self.description.beard != "stubble":
            return
        band = self._jaw_band(0.60, 0.0)
        tone = mix(self.hair, (60, 62, 70), 0.4)
        self.canvas.soft(band, tone, 0.50, 0.012, self.face_clip)
        dots, low = [], band.min(axis=0)
        extent = band.max(axis=0) - low
        for _ in range(170):
            x, y = low[0] + extent[0] * self.rng.random(), low[1] + extent[1] * self.rng.random()
            dots.append((np.array([(x, y), (x, y + 0.008)]), shade(tone, 0.7)))
        self.canvas.strokes(dots, 0.004, ImageChops.multiply(self.canvas.region(band), self.face_clip))

    def _beard(self) -> None:
        beard = self.description.beard
        if beard in ("none", "stubble"):
            return
        drop = {"short": -0.004, "medium": 0.045, "long": 0.20}.get(beard)
        if drop is not None:
            reach = 0.52 if beard != "short" else 0.56
            self._hairy(self._jaw_band(reach, drop), 60 if beard == "long" else 44, thin=beard == "short")
        if beard == "goatee":
            x, top, low = self.mouth_x, float(self._lip_curves()[3][:, 1].max()), self.chin
            chin = spline([(x - 0.05, top + 0.012), (x, top + 0.020), (x + 0.05, top + 0.012), (x + 0.075, top + 0.05), (x + 0.055, low + 0.012),
                           (x, low + 0.035), (x - 0.055, low + 0.012), (x - 0.075, top + 0.05)], closed=True)  # fmt: skip
            self._hairy(chin, 16)
        if beard in ("moustache", "goatee", "medium", "long"):
            self._hairy(self._moustache_outline(), 12, sideways=True)

    def _hairy(self, outline: Points, count: int, *, thin: bool = False, sideways: bool = False) -> None:
        """Beard hair inside an outline, the lips left free; the chin's shadow stays visible through it."""
        colour = self.hair
        clip = self.canvas.region(outline)
        for label in ("upper_lip", "lower_lip", "mouth", "nose"):
            clip = ImageChops.multiply(clip, ImageChops.invert(self.canvas.where(LABEL[label])))
        if thin:
            self.canvas.soft(outline, colour, 0.82, 0.006, clip)
        else:
            self.canvas.image.paste(colour, (0, 0), clip)
        low, high = outline.min(axis=0), outline.max(axis=0)
        hairs = []
        for _ in range(count):
            x, y = low[0] + (high[0] - low[0]) * self.rng.random(), low[1] + (high[1] - low[1]) * self.rng.random()
            bend = 0.22 * (self.centre - x)
            length = 0.03 + 0.04 * self.rng.random()
            step = (math.copysign(length, x - self.mouth_x), 0.4 * length) if sideways else (bend * length / 0.05, length)
            tone = shade(colour, 0.68 + 0.2 * self.rng.random()) if self.rng.random() < 0.55 else shade(colour, 1.16 + 0.14 * self.rng.random())
            hairs.append((np.array([(x, y), (x + step[0], y + step[1])]), tone))
        self.canvas.strokes(hairs, 0.006, clip)
        if not sideways:
            below = self.face_outline[np.argsort(self.face_outline[:, 1])[-22:]]
            below = below[np.argsort(below[:, 0])] + np.array([0.0, 0.008])
            self.canvas.soft(below, shade(colour, 0.4), 0.75, 0.008, clip, thickness=0.018)

    # -- hair ----------------------------------------------------------------------------------------------------

    def _tone(self) -> Colour:
        """The colour of one strand."""
        draw = self.rng.random()
        if self.streaks and draw < 0.34:
            return mix(GREY_HAIR, WHITE, 0.35)
        return shade(self.hair, 0.66 + 0.24 * draw) if draw < 0.58 else shade(self.hair, 1.02 + 0.26 * draw)

    def _strands(self, first: Points, second: Points, count: int, clip: Image.Image, width: float = 0.0065) -> None:
        """Strands that flow between two curves, given from the same end."""
        samples = 26
        first, second = resample(first, samples), resample(second, samples)
        curves = []
        for _ in range(count):
            across = self.rng.random()
            start = int(self.rng.random() * (samples - 9))
            length = 8 + int(self.rng.random() * (samples - start - 8))
            curve = (first + (second - first) * across)[start : start + length]
            curves.append((curve, self._tone()))
        self.canvas.strokes(curves, width, clip)

    def _gloss(self, clip: Image.Image) -> None:
        band = spline([(self.centre - 0.2, 0.17), (self.centre - 0.08, 0.085), (self.centre + 0.08, 0.085), (self.centre + 0.2, 0.17)], closed=False)
        band = band + np.array([0.05 * self.light, 0.0])
        self.canvas.soft(band, shade(self.hair, 1.45), 0.55, 0.016, clip, thickness=0.035)

    def _silhouette(self) -> Points:
        """The outer outline of the hair from image left to image right, over the top."""
        layout, c, h = self.layout, self.centre, self.half
        volume = {"buzz": 0.03, "short": 0.07, "side-part": 0.09, "bob": 0.13, "long": 0.13, "wavy": 0.16, "curly": 0.16}
        grow = volume[layout.hair_style] * (1.0 + 0.3 * layout.hair_volume)
        top = 0.10 - grow * 0.85
        ends = {"buzz": 0.40, "short": 0.46, "side-part": 0.47, "bob": 0.78 + 0.06 * layout.hair_length, "curly": 0.60,
                "long": 1.04, "wavy": 1.04}[layout.hair_style]  # fmt: skip
        side = [(1.0 + grow / h * 0.62, 0.40), (1.0 + grow / h * 0.55, 0.27), (0.80 + grow / h * 0.45, 0.14 - grow * 0.42), (0.42, top + 0.018)]
        if self._long:
            flare = 0.12 if layout.hair_style == "bob" else 0.20
            side = [(1.06 + grow / h * 0.7 + flare, ends), (1.02 + grow / h * 0.85 + flare * 0.4, (ends + 0.4) / 2), *side]
        else:
            side = [(1.0 + grow / h * 0.35, ends), *side]
        left = [self._side(-1, x, y) for x, y in side]
        right = [self._side(1, x, y) for x, y in reversed(side)]
        points = spline([*left, (c, top), *right], closed=False)
        return self._wave(points) if layout.hair_style == "wavy" else points

    def _wave(self, points: Points) -> Points:
        """Wavy ends below the ears."""
        sway = np.array([0.022 * math.sin(26 * float(y)) * min(1.0, max(0.0, (float(y) - 0.35) / 0.2)) for y in points[:, 1]])
        return points + np.stack([sway * np.where(points[:, 0] < self.centre, 1.0, -1.0), np.zeros_like(sway)], axis=1)

    def _hairline(self) -> Points:
        """The inner outline of the hair in front, from image left to image right."""
        layout, c = self.layout, self.centre
        style = layout.hair_style
        if style == "buzz":
            inner = [(0.99, 0.40), (0.93, 0.30), (0.70, 0.195), (0.35, 0.165)]
        elif style == "curly":
            inner = [(0.97, 0.56), (0.93, 0.36), (0.72, 0.235), (0.36, 0.20)]
        elif self._long:
            low = {"bob": 0.78 + 0.06 * layout.hair_length, "long": 1.04, "wavy": 1.04}[style]
            inner = [(1.0, low), (0.96, 0.62), (0.95, 0.42), (0.74, 0.25), (0.35, 0.175)]
        else:
            inner = [(0.985, 0.46), (0.93, 0.33), (0.72, 0.215), (0.36, 0.185)]
        left = [self._side(-1, x, y) for x, y in inner]
        right = [self._side(1, x, y) for x, y in reversed(inner)]
        middle = c + 0.55 * layout.part * self.half
        peak = [(middle, 0.155 if style != "buzz" else 0.165)]
        if layout.fringe and style != "buzz":
            depth = 0.335
            left = [point for point in left if point[1] > 0.30] + [self._side(-1, 0.75, depth + 0.01), self._side(-1, 0.35, depth - 0.012)]
            right = [self._side(1, 0.35, depth - 0.012), self._side(1, 0.75, depth + 0.01), *[point for point in right if point[1] > 0.30]]
            peak = [(c, depth)]
        elif style == "side-part":
            sign = 1.0 if layout.part > 0 else -1.0
            peak = [(c + sign * 0.42 * self.half, 0.15)]
            swept = (c - sign * 0.25 * self.half, 0.235)
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
        return self._wave(line) if style == "wavy" else line

    def _hair_behind(self) -> None:
        if not self._long:
            return
        outline = self._silhouette()
        closed = np.concatenate([outline, [[self.centre + 0.1, outline[-1, 1]], [self.centre - 0.1, outline[0, 1]]]])
        self.canvas.fill(closed, shade(self.hair, 0.58), LABEL["hair"])
        clip = self.canvas.where(LABEL["hair"])
        inside = np.stack([self.centre + (outline[:, 0] - self.centre) * 0.55, outline[:, 1]], axis=1)
        shift = self.hair
        self.hair = shade(shift, 0.62)
        self._strands(outline, inside, 26, clip)
        self.hair = shift

    def _hair_in_front(self) -> None:
        style = self.layout.hair_style
        if style == "bald":
            self.canvas.soft(ellipse(self.centre + 0.06 * self.light, 0.165, 0.09, 0.035), self.skin_light, 0.8, 0.025, self.face_clip)
            return
        outer, inner = self._silhouette(), self._hairline()
        outline = np.concatenate([outer, inner[::-1]])
        shadow = inner + np.array([-0.006 * self.light, 0.018])
        self.canvas.soft(np.concatenate([outer, shadow[::-1]]), self.skin_dark, 0.6, 0.008, self.face_clip)
        if style == "curly":
            self._curls(outer, inner, outline)
            return
        colour = self.hair if style != "buzz" else mix(self.hair, self.skin, 0.16)
        self.canvas.fill(outline, colour, LABEL["hair"])
        clip = self.canvas.region(outline)
        dark = ellipse(self.centre - self.light * (self.half + 0.09), 0.55, 0.1, 0.6)
        self.canvas.soft(dark, shade(self.hair, 0.45), 0.7, 0.05, clip)
        if style == "buzz":
            self._strands(outer, inner, 60, clip, 0.004)
        else:
            self._strands(outer, inner, 64, clip)
        self._gloss(clip)

    def _curls(self, outer: Points, inner: Points, outline: Points) -> None:
        """Locks along the outline and within it, back to front."""
        self.canvas.fill(outline, shade(self.hair, 0.7), LABEL["hair"])
        first, second = resample(outer, 22), resample(inner, 22)
        locks = []
        for row, across in enumerate((0.0, 0.42, 0.8)):
            for point in first + (second - first) * across:
                radius = (0.052, 0.044, 0.034)[row] * (0.85 + 0.3 * self.rng.random())
                locks.append((point, radius, row))
        for point, radius, row in locks:
            x, y = float(point[0]), float(point[1])
            colour = self._tone() if self.streaks else shade(self.hair, 0.86 + 0.32 * self.rng.random())
            self.canvas.fill(ellipse(x, y, radius, radius, samples=14), colour, LABEL["hair"], contour=row == 0)
            arc = ellipse(x, y, radius * 0.55, radius * 0.55, samples=12)[6:11]
            self.canvas.stroke(arc, shade(colour, 0.62), 0.007)
        self.canvas.stroke(inner, None, 0.0, line=True)
        for point, radius, row in locks:
            if row == 0:  # the contours of neighbours cross inside the hair: wipe them there
                self.canvas.fill(ellipse(float(point[0]), float(point[1]), radius * 0.86, radius * 0.86, samples=14), None, LABEL["hair"], contour=False)

    # -- accessories ---------------------------------------------------------------------------------------------

    def _glasses(self) -> None:
        kind = self.layout.glasses
        if kind == "none":
            return
        canvas, frame = self.canvas, (44, 34, 34) if self.identity.hair_tint < 0.5 else (112, 42, 36)
        lenses = []
        for x in (RIGHT_EYE_X - 0.004, LEFT_EYE_X + 0.004):
            if kind == "round":
                lenses.append(ellipse(x, 0.487, 0.094, 0.083))
            else:
                rx, ry = 0.102, 0.068
                lenses.append(spline([(x - rx, 0.487 - ry * 0.7), (x - rx * 0.8, 0.487 - ry), (x + rx * 0.8, 0.487 - ry), (x + rx, 0.487 - ry * 0.7),
                                      (x + rx * 0.92, 0.487 + ry * 0.8), (x + rx * 0.7, 0.487 + ry), (x - rx * 0.7, 0.487 + ry),
                                      (x - rx * 0.92, 0.487 + ry * 0.8)], closed=True, samples=4))  # fmt: skip
        for sign, lens in ((-1.0, lenses[0]), (1.0, lenses[1])):
            outer = lens[:, 0].min() if sign < 0 else lens[:, 0].max()
            arm = np.array([(float(outer), 0.470), self._side(sign, 1.02, 0.462)])
            canvas.stroke(arm, frame, 0.017, LABEL["eyeglass"], line=True)
        bridge = spline([(EYE_MIDDLE - 0.032, 0.478), (EYE_MIDDLE, 0.462), (EYE_MIDDLE + 0.032, 0.478)], closed=False)
        for lens in lenses:
            canvas.fill(lens, None, LABEL["eyeglass"])
            clip = canvas.region(lens)
            canvas.soft(lens, (214, 232, 244), 0.16, 0.004, clip)
            left, top = lens.min(axis=0)
            glare = np.array([(left + 0.035, top + 0.055), (left + 0.075, top + 0.015), (left + 0.095, top + 0.015), (left + 0.05, top + 0.065)])
            canvas.soft(glare, WHITE, 0.75, 0.004, clip)
            canvas.stroke(np.concatenate([lens, lens[:2]]), frame, 0.0165, LABEL["eyeglass"])
        canvas.stroke(bridge, frame, 0.016, LABEL["eyeglass"], line=True)

    def _earrings(self) -> None:
        kind = self.layout.earrings
        if kind == "none" or not self._ears_visible:
            return
        for sign in (-1.0, 1.0):
            turn = 1.0 - 0.45 * max(0.0, sign * self.layout.yaw)
            x, y = self._side(sign, 1.0 + 0.10 * turn, 0.66)
            if kind == "stud":
                self.canvas.fill(ellipse(x, y, 0.019, 0.019), GOLD, LABEL["earring"])
                self.canvas.fill(ellipse(x - 0.005, y - 0.006, 0.007, 0.007, samples=10), WHITE)
            elif kind == "hoop":
                ring = ellipse(x, y + 0.045, 0.034, 0.05)
                self.canvas.stroke(np.concatenate([ring, ring[:2]]), GOLD, 0.017, LABEL["earring"], line=True)
            else:
                self.canvas.stroke(np.array([(x, y), (x, y + 0.05)]), GOLD, 0.014, LABEL["earring"])
                drop = spline([(x, y + 0.035), (x + 0.02, y + 0.085), (x, y + 0.105), (x - 0.02, y + 0.085)], closed=True)
                self.canvas.fill(drop, (76, 158, 172), LABEL["earring"])

    def _hat(self) -> None:
        kind = self.layout.hat
        if kind == "none":
            return
        colour = CLOTH_COLOURS[(self.identity.cloth + 3) % len(CLOTH_COLOURS)]
        grow = 0.10 if self.layout.hair_style in ("curly", "wavy", "long", "bob") else 0.06
        reach = 1.0 + grow / self.half
        low = 0.335
        {"beanie": self._beanie, "brim": self._brim, "cap": self._cap}[kind](colour, reach, low)

    def _dome(self, reach: float, top: float, low: float) -> Points:
        return spline([self._side(-1, reach, low), self._side(-1, reach * 0.98, 0.2), self._side(-1, reach * 0.72, 0.06 + top), self._side(0, 0, top),
                       self._side(1, reach * 0.72, 0.06 + top), self._side(1, reach * 0.98, 0.2), self._side(1, reach, low)], closed=False)  # fmt: skip

    def _hat_shading(self, colour: Colour) -> Image.Image:
        clip = self.canvas.where(LABEL["hat"])
        self.canvas.soft(ellipse(self.centre - self.light * 0.3, 0.15, 0.13, 0.25), shade(colour, 0.5), 0.7, 0.06, clip)
        self.canvas.soft(ellipse(self.centre + self.light * 0.12, 0.08, 0.12, 0.06), shade(colour, 1.3), 0.6, 0.04, clip)
        return clip

    def _hat_shadow(self, low: float, reach: float) -> None:
        edge = spline([self._side(-1, reach, low + 0.02), self._side(0, 0, low + 0.045), self._side(1, reach, low + 0.02)], closed=False)
        self.canvas.soft(edge, self.skin_dark, 0.7, 0.014, self.canvas.where(LABEL["skin"]), thickness=0.05)

    def _beanie(self, colour: Colour, reach: float, low: float) -> None:
        self._hat_shadow(low, reach)
        dome = self._dome(reach, -0.05, low)
        self.canvas.fill(np.concatenate([dome, [self._side(0, 0, low + 0.03)]]), colour, LABEL["hat"])
        clip = self._hat_shading(colour)
        ribs = [(np.array([self._side(0, k / 6 * reach, 0.33), self._side(0, k / 8 * reach, -0.03)]), shade(colour, 0.78)) for k in range(-5, 6)]
        self.canvas.strokes(ribs, 0.008, clip)
        band = spline([self._side(-1, reach * 1.03, low - 0.075), self._side(0, 0, low - 0.05), self._side(1, reach * 1.03, low - 0.075),
                       self._side(1, reach * 1.03, low + 0.015), self._side(0, 0, low + 0.04), self._side(-1, reach * 1.03, low + 0.015)],
                      closed=True, samples=8)  # fmt: skip
        self.canvas.fill(band, shade(colour, 0.82), LABEL["hat"])

    def _brim(self, colour: Colour, reach: float, low: float) -> None:
        self._hat_shadow(low, reach)
        dome = self._dome(reach * 0.86, -0.06, low)
        self.canvas.fill(dome, colour, LABEL["hat"])
        self._hat_shading(colour)
        ribbon = spline([self._side(-1, reach * 0.88, low - 0.075), self._side(0, 0, low - 0.045), self._side(1, reach * 0.88, low - 0.075)], closed=False)
        self.canvas.stroke(ribbon, shade(colour, 0.45), 0.045, LABEL["hat"], line=True)
        brim = spline([self._side(-1, reach * 1.38, low - 0.005), self._side(-1, reach * 0.7, low - 0.055), self._side(0, 0, low - 0.035),
                       self._side(1, reach * 0.7, low - 0.055), self._side(1, reach * 1.38, low - 0.005), self._side(1, reach * 0.7, low + 0.025),
                       self._side(0, 0, low + 0.045), self._side(-1, reach * 0.7, low + 0.025)], closed=True)  # fmt: skip
        self.canvas.fill(brim, shade(colour, 0.88), LABEL["hat"])

    def _cap(self, colour: Colour, reach: float, low: float) -> None:
        self._hat_shadow(low, reach)
        self.canvas.fill(np.concatenate([self._dome(reach, -0.03, low - 0.02), [self._side(0, 0, low)]]), colour, LABEL["hat"])
        clip = self._hat_shading(colour)
        seams = [(spline([self._side(0, k * 0.62 * reach, low), self._side(0, k * 0.4 * reach, 0.1), self._side(0, 0, -0.02)], closed=False), shade(colour, 0.7))
                 for k in (-1, 0, 1)]  # fmt: skip
        self.canvas.strokes(seams, 0.007, clip)
        visor = spline([self._side(-1, 0.86, low - 0.06), self._side(0, 0, low - 0.085), self._side(1, 0.86, low - 0.06), self._side(1, 0.98, low + 0.01),
                        self._side(0, 0, low + 0.06), self._side(-1, 0.98, low + 0.01)], closed=True)  # fmt: skip
        self.canvas.fill(visor, shade(colour, 0.68), LABEL["hat"])


def render(face: Face, size: int = 128) -> Sheets:
    """Picture (size, size, 3), mask (size, size) and sketch (size, size) of a face, all uint8; size is in pixels, >= 32.

    Raises:
        ValueError: `size` below 32.
    """
    if size < 32:
        raise ValueError(f"faces are drawn at 32 pixels or more, got {size}")
    return Portrait(face, size).paint()
