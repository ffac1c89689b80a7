"""Drawn portraits: from the attributes of a face to its picture, mask and sketch."""

from __future__ import annotations

from collections.abc import Callable

from codiff.data.face_accessories import paint_earrings, paint_glasses, paint_hat, paint_necklace
from codiff.data.face_attributes import Face
from codiff.data.face_beard import paint_beard, paint_stubble
from codiff.data.face_body import paint_background, paint_clothes, paint_ears, paint_neck
from codiff.data.face_canvas import Sheets
from codiff.data.face_features import paint_age_on_skin, paint_brows, paint_eyes, paint_mouth, paint_nose, paint_skin
from codiff.data.face_hair import paint_hair_behind, paint_hair_in_front
from codiff.data.face_portrait import Portrait
from codiff.errors import InputError

# From back to front; each paints its picture, its label and its contour together, so that the three always agree.
PARTS: tuple[Callable[[Portrait], None], ...] = (
    paint_background,
    paint_hair_behind,
    paint_neck,
    paint_clothes,
    paint_necklace,
    paint_ears,
    paint_skin,
    paint_age_on_skin,
    paint_stubble,
    paint_nose,
    paint_mouth,
    paint_eyes,
    paint_brows,
    paint_beard,
    paint_glasses,
    paint_hair_in_front,
    paint_earrings,
    paint_hat,
)


def render(face: Face, size: int = 128) -> Sheets:
    """Picture (size, size, 3), mask (size, size) and sketch (size, size) of a face, all uint8.

    Args:
        size: side in pixels, >= 32.

    Raises:
        InputError: `size` below 32.
    """
    check_size(size)
    portrait = Portrait(face, size)
    for paint in PARTS:
        paint(portrait)
    return portrait.canvas.finish()


def check_size(size: int) -> None:
    """Refuse sizes at which nothing of a face is left (InputError)."""
    if size < 32:
        raise InputError(f"faces are drawn at 32 pixels or more, not {size}")
