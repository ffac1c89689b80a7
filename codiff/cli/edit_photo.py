"""Which part of a person's own photo is edited, and how it comes back."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from codiff.cli.show import tell
from codiff.editing.photo import picture_side
from codiff.errors import InputError
from codiff.photos.aligning import EYES, Alignment, cut_out
from codiff.photos.finding import FoundFace, Place, check_eyes, choose_face, find_faces
from codiff.photos.own_photo import OwnPhoto
from codiff.photos.pasting import paste_back
from codiff.pipeline import CollaborativePipeline
from codiff.pixels import from_uint8

_ALIGNED = 0.03  # of the side: eyes so near to where models know them need no alignment
_FAMILIAR = 26.0  # dB: the autoencoder keeps 99 of 100 drawn faces better than this


@dataclass(frozen=True)
class Framed:
    """The face that is edited.

    Attributes:
        crop: what editors see: the photo itself where it is aligned, else the face cut out, RGB, square.
        photo: the whole photo; None where the crop is all of it.
        alignment: how the crop was cut out.
    """

    crop: Image.Image
    photo: OwnPhoto | None = None
    alignment: Alignment | None = None

    @property
    def is_part(self) -> bool:
        """Whether the crop is put back into a larger photo."""
        return self.photo is not None

    @property
    def place(self) -> str | None:
        """Names the photo and where in it the crop lies; None where the crop is all of it."""
        if self.photo is None or self.alignment is None:
            return None
        digest = hashlib.sha256(self.photo.picture.tobytes() + self.alignment.matrix.tobytes())
        return digest.hexdigest()

    def put_back(self, edited: Image.Image, region: NDArray[np.bool_] | None) -> Image.Image:
        """The whole photo with the edited face.

        Args:
            edited: of the crop's size.
            region: (side, side), where the edit is wanted; None for everywhere.
        """
        assert self.photo is not None
        assert self.alignment is not None
        return self.photo.changed(*paste_back(self.photo.picture, self.crop, edited, self.alignment, region))


def parse_eyes(text: str) -> list[Place]:
    """Two places of an option like "210,340,305,338".

    Raises:
        InputError: not four numbers.
    """
    try:
        x1, y1, x2, y2 = (float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"--eyes takes x,y,x,y in pixels, as 210,340,305,338, not {text!r}") from error
    return [(x1, y1), (x2, y2)]


def frame(
    pipe: CollaborativePipeline, path: str, *, aligned: bool = False, face: int | None = None, eyes: str | None = None
) -> Framed:
    """The face of a photo as the model knows faces; a picture that shows one so already is taken as it is.

    Args:
        aligned: take the picture as it is, unasked.
        face: which of several faces, counted from the left from 0.
        eyes: where the eyes are, see `parse_eyes`; nothing is searched then.

    Raises:
        InputError: the photo cannot be read, shows no face or several, or the options do not fit.
    """
    if sum((aligned, face is not None, eyes is not None)) > 1:
        raise InputError("--aligned, --face and --eyes exclude one another; give one of them")
    photo = OwnPhoto.open(path)
    if aligned:
        return Framed(photo.picture)
    if eyes is not None:
        places = check_eyes(parse_eyes(eyes), photo.picture.size)
        return _cut(pipe, photo, Alignment.of_eyes(places))
    square = photo.picture.width == photo.picture.height
    found = _found(photo.picture, needed=face is not None or not square)
    if face is None and square and (not found or any(_is_aligned(each, photo.picture.width) for each in found)):
        return Framed(photo.picture)
    chosen = _chosen(found, face)
    if not chosen.eyes_seen:
        tell("note: the eyes were not seen clearly, and placed by the face's proportions; --eyes x,y,x,y is exact")
    return _cut(pipe, photo, Alignment.of_eyes(chosen.eyes))


def tell_familiarity(pipe: CollaborativePipeline, pixels: NDArray[np.uint8]) -> None:
    """Say so where the autoencoder cannot keep a face (side, side, 3): no editor can keep it better."""
    quality = kept_quality(pipe, pixels)
    if quality < _FAMILIAR:
        tell(
            f"note: the model's autoencoder keeps this face at {quality:.1f} dB, below {_FAMILIAR:g}: faces unlike "
            "those that it was trained on change even where nothing is edited"
        )


@torch.no_grad()
def kept_quality(pipe: CollaborativePipeline, pixels: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio in dB of a picture (h, w, 3) after encoding and decoding."""
    picture = from_uint8(pixels[None]).to(device=pipe.device, dtype=pipe.vae.dtype)
    decoded = pipe.vae.decode(pipe.vae.encode(picture).latent_dist.mean).sample.clamp(-1, 1)
    return float(10 * torch.log10(4.0 / (decoded.float() - picture.float()).square().mean()))


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


def _chosen(found: list[FoundFace], number: int | None) -> FoundFace:
    try:
        return choose_face(found, number)
    except InputError as error:
        hint = "with --face N" if len(found) > 1 else "with --eyes x,y,x,y, or --aligned"
        raise InputError(f"{error}, {hint}") from error


def _cut(pipe: CollaborativePipeline, photo: OwnPhoto, alignment: Alignment) -> Framed:
    return Framed(cut_out(photo.picture, alignment, picture_side(pipe)), photo, alignment)
