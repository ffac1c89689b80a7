"""Which part of a person's own photo is edited, and how it comes back."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codiff.errors import InputError, InputNotice
from codiff.photos.aligning import EYES, Alignment, cut_labels, cut_out
from codiff.photos.finding import FoundFace, Place, check_eyes, choose_face, find_faces
from codiff.photos.own_photo import OwnPhoto
from codiff.photos.pasting import paste_back

_BLURRED = 2.0  # pixels of the photo for one of the model from which on it is told
_ALIGNED = 0.03  # of the side: eyes so near to where models know them need no alignment


class FaceChoiceError(InputError):
    """No face was found in a photo, or more than one.

    Attributes:
        found: what was found, from left to right.
    """

    def __init__(self, message: str, found: Sequence[FoundFace]) -> None:
        super().__init__(message)
        self.found = list(found)


@dataclass(frozen=True)
class Framed:
    """The face that is edited.

    Attributes:
        crop: what editors see: the photo itself where it is aligned, else the face cut out, RGB, square.
        photo: the whole photo; None where the crop is all of it.
        alignment: how the crop was cut out.
        eyes_seen: whether the eyes were found or given; otherwise they were placed by the proportions of the face.
        aligned: whether the photo shows one face as models know faces, and nothing was cut out.
    """

    crop: Image.Image
    photo: OwnPhoto | None = None
    alignment: Alignment | None = None
    eyes_seen: bool = True
    aligned: bool = False

    @property
    def is_part(self) -> bool:
        """Whether the crop is put back into a photo of more pixels."""
        return self.photo is not None

    @property
    def place(self) -> str | None:
        """Names the photo and where in it the crop lies; None where the crop is all of it."""
        if self.photo is None or self.alignment is None:
            return None
        digest = hashlib.sha256(self.photo.picture.tobytes() + self.alignment.matrix.tobytes())
        return digest.hexdigest()

    def cut_alike(self, picture: Image.Image, *, labels: bool) -> Image.Image:
        """What of a picture lies where the crop does, if it has the size of the photo; else the picture as it is.

        Args:
            labels: whether its pixels are labels, which cannot be mixed.
        """
        if self.photo is None or self.alignment is None or self.aligned or picture.size != self.photo.picture.size:
            return picture
        return (cut_labels if labels else cut_out)(picture, self.alignment, self.crop.width)

    def put_back(self, edited: Image.Image, region: NDArray[np.bool_] | None) -> Image.Image:
        """The whole photo with the edited face.

        Args:
            edited: of the crop's size.
            region: (side, side), where the edit is wanted; None for everywhere.
        """
        assert self.photo is not None
        assert self.alignment is not None
        return self.photo.changed(*paste_back(self.photo.picture, self.crop, edited, self.alignment, region))


def frame_whole(photo: OwnPhoto, side: int) -> Framed:
    """A square picture that is one face as models know faces; it is put back where it has more than `side` pixels.

    Raises:
        InputError: it is not square.
    """
    width, height = photo.picture.size
    if width != height:
        raise InputError(f"photo: {width} x {height} pixels, but an aligned picture of one face is square; crop it")
    if width <= side:
        return Framed(photo.picture, aligned=True)
    alignment = Alignment.whole(width)
    _note_blur(alignment, side)
    crop = photo.picture.resize((side, side), Image.Resampling.LANCZOS)
    return Framed(crop, photo, alignment, aligned=True)


def frame_eyes(photo: OwnPhoto, side: int, places: Sequence[Place]) -> Framed:
    """The face with its eyes at these places, in pixels of the photo, as a crop of `side` pixels.

    Raises:
        InputError: they are not two eyes within the photo, or the face reaches too far beyond its edges.
    """
    return _cut(photo, side, Alignment.of_eyes(check_eyes(places, photo.picture.size)))


def frame_face(photo: OwnPhoto, side: int, number: int | None = None) -> Framed:
    """The face of a photo as models know faces. A square picture is taken as it is where its face lies so already, and
    where none is found in it and it has the very size of models' pictures: drawings are seldom found.

    Args:
        side: of the crop, in pixels.
        number: which of several faces, counted from the left from 0.

    Raises:
        FaceChoiceError: there is none, or which of several is not told.
        InputError: faces cannot be searched here, or this one reaches too far beyond the photo's edges.
    """
    width, height = photo.picture.size
    like_models = width == height == side
    found = _found(photo.picture, needed=number is not None or not like_models)
    aligned = any(_is_aligned(each, width) for each in found) if found else like_models
    if number is None and width == height and aligned:
        return frame_whole(photo, side)
    try:
        chosen = choose_face(found, number)
    except InputError as error:
        raise FaceChoiceError(str(error), found) from error
    return _cut(photo, side, Alignment.of_eyes(chosen.eyes), chosen.eyes_seen)


def _found(picture: Image.Image, *, needed: bool) -> list[FoundFace]:
    """Faces in a picture; none where they cannot be searched and need not be."""
    try:
        return find_faces(picture)
    except InputError:
        if needed:
            raise
        return []


def _is_aligned(face: FoundFace, side: int) -> bool:
    return bool(np.abs(np.array(face.eyes) / side - np.array(EYES)).max() <= _ALIGNED)


def _cut(photo: OwnPhoto, side: int, alignment: Alignment, eyes_seen: bool = True) -> Framed:
    crop = cut_out(photo.picture, alignment, side)
    _note_blur(alignment, side)
    return Framed(crop, photo, alignment, eyes_seen)


def _note_blur(alignment: Alignment, side: int) -> None:
    if alignment.side > _BLURRED * side:
        told = (
            f"the face is {alignment.side:.0f} pixels wide here and the model draws {side}: what is edited gets softer"
        )
        warnings.warn(told, InputNotice, stacklevel=4)
