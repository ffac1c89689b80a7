"""The photo that `codiff edit` is given: which face of it, and how well the model can keep it."""

from __future__ import annotations

from dataclasses import replace

from PIL import Image

from codiff.cli.edit_plan import Given
from codiff.cli.show import tell
from codiff.editing.photo import FAMILIAR, Photo, kept_quality, picture_side
from codiff.errors import InputError
from codiff.image_files import open_raw
from codiff.modalities.mask import LabelMaps
from codiff.photos.finding import Place
from codiff.photos.framing import FaceChoiceError, Framed, frame_eyes, frame_face, frame_whole
from codiff.photos.own_photo import OwnPhoto
from codiff.pipeline import CollaborativePipeline


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
        return frame_whole(photo, picture_side(pipe))
    if eyes is not None:
        return frame_eyes(photo, picture_side(pipe), parse_eyes(eyes))
    try:
        framed = frame_face(photo, picture_side(pipe), face)
    except FaceChoiceError as error:
        hint = "with --face N" if len(error.found) > 1 else "with --eyes x,y,x,y, or --aligned"
        raise InputError(f"{error}, {hint}") from error
    if not framed.eyes_seen:
        tell("note: the eyes were not seen clearly, and placed by the face's proportions; --eyes x,y,x,y is exact")
    return framed


def in_the_crop(pipe: CollaborativePipeline, framed: Framed, given: Given) -> Given:
    """Conditions as `Framed.cut_alike` leaves them: who paints on a photo paints on all of it."""
    values = dict(given.values)
    for modality in given.pictures:
        labels = isinstance(pipe.collaborators[modality].encoder, LabelMaps)
        values[modality] = cut_alike(framed, values[modality], labels=labels)
    return replace(given, values=values)


def cut_alike(framed: Framed, path: str, *, labels: bool) -> str | Image.Image:
    """See `Framed.cut_alike`; what is no picture stays for its reader to judge."""
    try:
        picture = open_raw(path, "picture")
    except InputError:
        return path
    cut = framed.cut_alike(picture, labels=labels)
    return path if cut is picture else cut


def tell_familiarity(pipe: CollaborativePipeline, photo: Photo) -> None:
    """Say so where the autoencoder cannot keep a face: no editor can keep it better."""
    quality = kept_quality(pipe, photo)
    if quality < FAMILIAR:
        tell(
            f"note: the model's autoencoder keeps this face at {quality:.1f} dB, below {FAMILIAR:g}: faces unlike "
            "those that it was trained on change even where nothing is edited"
        )
