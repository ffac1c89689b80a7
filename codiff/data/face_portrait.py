"""Drawn portraits: the colours and proportions that all parts of one face share.

The frame is that of CelebA-HQ's aligned crops: eyes at (0.375, 0.474) and (0.617, 0.474) of the side.
"""

from __future__ import annotations

import random

from codiff.data.face_attributes import Face
from codiff.data.face_canvas import Canvas, Colour, Points, mix, shade, spline
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
    (178, 44, 56), (38, 84, 160), (42, 122, 84), (226, 164, 48),
    (104, 66, 148), (58, 60, 68), (226, 226, 230), (32, 132, 142),
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

# How strongly each sign of age shows: forehead lines, folds beside the mouth, crow's feet, bags under the eyes, spots,
# grey hair.
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
    """One face on one canvas: proportions and colours are fixed first, then the parts are painted, back to front."""

    def __init__(self, face: Face, size: int) -> None:
        self.layout, self.description, self.identity = face.layout, face.description, face.identity
        self.rng = random.Random(face.seed)
        # For what shows in mask and sketch: by then the first stream has advanced as far as beard and age took it.
        self.shape_rng = random.Random(f"{face.seed} shape")
        layout, identity = face.layout, face.identity
        self._choose_colours()
        self.canvas = Canvas(size, BACKGROUNDS[identity.background], roll=0.05 * layout.roll)
        self.light = 1.0 if identity.light < 0.5 else -1.0  # the side of the image that the light comes from
        self.centre = EYE_MIDDLE - 0.045 * layout.yaw
        self.half = 0.262 + 0.03 * layout.face_width
        self.chin = 0.925 + 0.035 * layout.chin
        self.nose_x = EYE_MIDDLE + 0.016 * layout.yaw
        self.mouth_x = EYE_MIDDLE + 0.008 * layout.yaw
        self.outline = self._face_outline()
        self.clip = self.canvas.region(self.outline)

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

    def _face_outline(self) -> Points:
        half, chin, jaw = self.half, self.chin, self.layout.jaw
        right = [
            (0.0, 0.10), (0.50, 0.118), (0.82, 0.19), (0.97, 0.32), (1.0, 0.47), (0.975, 0.60),
            (0.87 + 0.05 * jaw, 0.735), (0.62 + 0.08 * jaw, chin - 0.075), (0.30 + 0.06 * jaw, chin - 0.012),
        ]  # fmt: skip
        points = [(self.centre + half * x, y) for x, y in right] + [(self.centre, chin)]
        points += [(self.centre - half * x, y) for x, y in reversed(right[1:])]
        return spline(points, closed=True)

    def side(self, sign: float, x: float, y: float) -> tuple[float, float]:
        """A point given in half face widths from the face's centre line."""
        return self.centre + sign * x * self.half, y

    @property
    def long_haired(self) -> bool:
        """Whether hair hangs down behind the face."""
        return self.layout.hair_style in ("bob", "long", "wavy")

    @property
    def ears_visible(self) -> bool:
        """Whether the hair leaves the ears free."""
        return not self.long_haired and self.layout.hair_style != "curly"

    def lip_curves(self) -> tuple[Points, Points, Points, Points]:
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
