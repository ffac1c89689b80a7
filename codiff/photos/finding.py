"""Where faces are in a photo: OpenCV's cascades (Viola & Jones, CVPR 2001), whose package carries its models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codiff.errors import InputError

Place = tuple[float, float]  # x, y in pixels
Eyes = tuple[Place, Place]  # the one further left in the picture first

_SEARCHED = 640  # pixels of the longer side, at most: enough for faces of a twentieth of it
_SMALLEST = 0.06  # of the longer side
_EYES: Eyes = ((0.305, 0.388), (0.695, 0.388))  # of the cascade's box: mean of 34 portraits with marked eyes
_WINDOW = 0.19  # of the box, on each side of where an eye is expected
_EYE = 0.12  # of the box, at least
_ENLARGED = 300  # pixels of a box below which eyes are searched enlarged


@dataclass(frozen=True)
class FoundFace:
    """One face, in pixels of the photo.

    Attributes:
        eyes: their middles.
        box: left, top, right, bottom.
        eyes_seen: whether both eyes were found; otherwise they were placed by the proportions of the box.
    """

    eyes: Eyes
    box: tuple[float, float, float, float]
    eyes_seen: bool


def find_faces(photo: Image.Image) -> list[FoundFace]:
    """Upright faces seen from the front, from left to right. How many are found in real photos: docs/editing.md.

    Args:
        photo: upright, of any mode.

    Raises:
        InputError: OpenCV is not installed.
    """
    scale = min(1.0, _SEARCHED / max(photo.size))
    size = (max(1, round(photo.width * scale)), max(1, round(photo.height * scale)))
    grey = np.asarray(photo.convert("L").resize(size, Image.Resampling.BOX))
    least = max(24, round(_SMALLEST * max(size)))
    boxes = _cascade("frontalface_alt2").detectMultiScale(
        _opencv().equalizeHist(grey), scaleFactor=1.1, minNeighbors=5, minSize=(least, least)
    )
    faces = [_face(grey, float(left), float(top), float(side), scale) for left, top, side, _ in boxes]
    return sorted(faces, key=lambda face: face.box)


def choose_face(faces: Sequence[FoundFace], number: int | None = None) -> FoundFace:
    """The face of this number, counted from the left from 0; the only one without.

    Raises:
        InputError: there is none, there are several and no number is given, or there is no such number.
    """
    if not faces:
        raise InputError(
            "no face was found: faces must be upright and seen from the front. Otherwise say where the eyes are"
        )
    listed = "; ".join(f"{index} at {_middle(face)}" for index, face in enumerate(faces))
    if number is None and len(faces) > 1:
        raise InputError(f"{len(faces)} faces were found; choose one by its number: {listed}")
    if number is not None and not 0 <= number < len(faces):
        raise InputError(f"there is no face number {number}; found were {listed}")
    return faces[number or 0]


def check_eyes(places: Sequence[Place], size: tuple[int, int]) -> Eyes:
    """The middles of two eyes in a photo of this width and height, in order.

    Raises:
        InputError: not two, outside the photo, or hardly apart.
    """
    if len(places) != 2:
        raise InputError(f"two eyes are expected, each as x and y in pixels, not {len(places)}")
    first, second = sorted((float(x), float(y)) for x, y in places)
    for x, y in (first, second):
        if not (0 <= x <= size[0] and 0 <= y <= size[1]):
            raise InputError(f"the eye at {x:g}, {y:g} lies outside the photo of {size[0]} x {size[1]} pixels")
    if np.hypot(second[0] - first[0], second[1] - first[1]) < 4:
        raise InputError("the eyes are less than four pixels apart: give the middle of each")
    return first, second


def _middle(face: FoundFace) -> str:
    left, top, right, bottom = face.box
    return f"({(left + right) / 2:.0f}, {(top + bottom) / 2:.0f})"


def _face(grey: NDArray[np.uint8], left: float, top: float, side: float, scale: float) -> FoundFace:
    expected = [(left + side * across, top + side * down) for across, down in _EYES]
    found = [_eye(grey, place, side) for place in expected]
    seen = [place for place in found if place is not None]
    first, second = seen if len(seen) == 2 else expected
    box = (left / scale, top / scale, (left + side) / scale, (top + side) / scale)
    eyes = ((first[0] / scale, first[1] / scale), (second[0] / scale, second[1] / scale))
    return FoundFace(eyes, box, len(seen) == 2)


def _eye(grey: NDArray[np.uint8], expected: Place, side: float) -> Place | None:
    """The eye nearest to where it is expected."""
    corner = [max(0, round(middle - _WINDOW * side)) for middle in expected]
    window = grey[corner[1] : round(expected[1] + _WINDOW * side), corner[0] : round(expected[0] + _WINDOW * side)]
    if min(window.shape) < 8:
        return None
    factor = 3 if side < _ENLARGED else 1
    size = (window.shape[1] * factor, window.shape[0] * factor)
    large = np.asarray(Image.fromarray(window).resize(size, Image.Resampling.BICUBIC))
    least = max(8, round(_EYE * side * factor))
    boxes = _cascade("eye_tree_eyeglasses").detectMultiScale(
        large, scaleFactor=1.05, minNeighbors=4, minSize=(least, least)
    )
    places = [
        (corner[0] + float(x + width / 2) / factor, corner[1] + float(y + height / 2) / factor)
        for x, y, width, height in boxes
    ]
    return min(places, key=lambda place: np.hypot(place[0] - expected[0], place[1] - expected[1]), default=None)


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise InputError(
            "faces are found with OpenCV, which is missing: pip install 'codiff[photo]', or say where the eyes are"
        ) from error
    return cv2


@cache
def _cascade(name: str) -> Any:
    vision = _opencv()
    path = Path(vision.data.haarcascades) / f"haarcascade_{name}.xml"
    if not path.is_file():
        raise InputError(
            "this OpenCV no longer carries the cascades that find faces: pip install 'codiff[photo]', or say where the "
            "eyes are"
        )
    return vision.CascadeClassifier(str(path))
