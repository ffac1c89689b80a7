"""What is painted on the page <-> label maps, line drawings and maps of steering, exactly and checked."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codiff.errors import InputError
from codiff.image_files import open_raw
from codiff.modalities.mask import MASK_PALETTE, read_labels, resize_labels
from codiff.modalities.sketch import read_sketch

Colour = tuple[int, int, int]

GREYS: tuple[Colour, ...] = tuple((level, level, level) for level in range(256))
"""Colours of drawings by value: 0 is ink, 255 paper."""
INK, PAPER = 0, 255

AS_LEARNED, RAISED, LOWERED = 0, 1, 2
STEERING: tuple[Colour, ...] = ((255, 255, 255), (214, 69, 65), (47, 109, 214))
"""Colours of what is painted for steering: as learned (shown as nothing), raised, lowered."""
_SIGNS = np.array([0.0, 1.0, -1.0], dtype=np.float32)

_START = "data:image/png;base64,"
_MOST_SIDE = 1024  # pixels of what a painter may send
_MOST_CHARACTERS = 4 * 2**20
_MASK_SHADES = 64  # that no mask has by intention, and every photo has more of
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png_url(image: Image.Image) -> str:
    """A picture as a data URL that a painter or an <img> shows, lossless and without metadata."""
    stream = io.BytesIO()
    bare = image.copy()
    bare.info = {}
    bare.save(stream, format="PNG")
    return _START + base64.b64encode(stream.getvalue()).decode()


def file_url(path: Path) -> str:
    """A PNG file as a data URL: as it is, with all that it says of its origin."""
    return _START + base64.b64encode(path.read_bytes()).decode()


def jpeg_url(image: Image.Image) -> str:
    """An RGB picture as a data URL, small and nearly as it is: for what is soon replaced."""
    stream = io.BytesIO()
    image.save(stream, format="JPEG", quality=90, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def indexed(values: NDArray[np.uint8], colours: tuple[Colour, ...]) -> Image.Image:
    """Values (h, w) as a palette picture: pixel = value, colour = `colours[value]`."""
    image = Image.fromarray(values, "P")
    image.putpalette([level for colour in colours for level in colour])
    return image


def painted_labels(labels: NDArray[np.uint8], most: int) -> str:
    """What a painter shows of labels (h, h) in 0..18, at most `most` pixels a side."""
    kept = labels if labels.shape[0] <= most else resize_labels(labels, most)
    return png_url(indexed(kept, MASK_PALETTE))


def painted_lines(drawing: Image.Image) -> str:
    """What a painter shows of a drawing (h, h), dark on light, or with lines that only its opacity tells."""
    if drawing.has_transparency_data:
        lines = read_sketch(drawing, drawing.width)[0, 0].numpy()
        drawing = Image.fromarray(np.rint(255 * (1 - lines)).astype(np.uint8))
    return png_url(indexed(np.asarray(drawing.convert("L")), GREYS))


def painted_steering(values: NDArray[np.floating]) -> str:
    """What a painter shows of a map (h, h): raised where positive, lowered where negative."""
    return png_url(indexed(np.where(values > 0, RAISED, np.where(values < 0, LOWERED, 0)).astype(np.uint8), STEERING))


def labels_of(value: str | None) -> NDArray[np.uint8]:
    """Labels uint8 (h, h) in 0..18 of what a painter of masks holds.

    Raises:
        InputError: nothing is painted, or it is no PNG of exactly the palette's colours.
    """
    content = _content(value, "mask", "paint one, press Random face, or switch the mask off")
    return read_labels(content)


def lines_of(value: str | None) -> Image.Image:
    """The drawing, mode L, dark on light, of what a painter of sketches holds.

    Raises:
        InputError: nothing is drawn, or it is no PNG.
    """
    content = _content(value, "sketch", "draw lines, upload a drawing, or switch the sketch off")
    return open_raw(content, "sketch").convert("L")


def steering_of(value: str | None) -> NDArray[np.float32] | None:
    """Values float32 (h, h): 1 raised, -1 lowered, 0 as learned; None where nothing is painted.

    Raises:
        InputError: it is no PNG of exactly the colours of `STEERING`.
    """
    if not value:
        return None
    picture = np.asarray(open_raw(_content(value, "steering"), "steering").convert("RGB"))  # (h, h, 3)
    matches = (picture[:, :, None] == np.array(STEERING)).all(axis=3)  # (h, h, values)
    if not matches.any(axis=2).all():
        raise InputError("steering: it has colours that the brush does not paint; clear it and paint it again")
    signs = _SIGNS[matches.argmax(axis=2)]
    return signs if signs.any() else None


def uploaded_labels(path: Path, *, snap: bool, letterbox: bool, most: int) -> NDArray[np.uint8]:
    """Labels uint8 (h, h) in 0..18, h <= `most`, of an uploaded mask in any form that codiff reads.

    Raises:
        InputError: see `read_labels`; the upload's place on the server is not named.
    """
    with _unnamed(path):
        labels = read_labels(path, snap=snap, letterbox=letterbox)
    return labels if labels.shape[0] <= most else resize_labels(labels, most)


def looks_like_photo(path: Path) -> bool:
    """Whether a file is a picture of more shades than a mask has classes."""
    try:
        pixels = np.asarray(open_raw(path, "mask").convert("RGB"))
    except InputError:
        return False
    return len(np.unique(pixels.reshape(-1, 3), axis=0)) > _MASK_SHADES


def uploaded_lines(path: Path, *, letterbox: bool, most: int) -> Image.Image:
    """An uploaded drawing of any kind that codiff reads, as dark lines on white: mode L (most, most).

    Raises:
        InputError: see `read_sketch`; the upload's place on the server is not named.
    """
    with _unnamed(path):
        lines = read_sketch(path, most, letterbox)[0, 0].numpy()
    return Image.fromarray(np.rint(255 * (1 - lines)).astype(np.uint8))


def _content(value: str | None, what: str, empty: str = "paint something") -> bytes:
    """The bytes of the PNG in a data URL, small enough to be opened.

    Raises:
        InputError: there is nothing, or no data URL of a PNG, or too large a one.
    """
    if not value:
        raise InputError(f"{what}: nothing is painted; {empty}")
    if not isinstance(value, str) or not value.startswith(_START):
        raise InputError(f"{what}: a PNG as a data URL ({_START}...) is expected")
    if len(value) > _MOST_CHARACTERS:
        raise InputError(f"{what}: {len(value):,} characters, limit {_MOST_CHARACTERS:,}; send a smaller PNG")
    try:
        content = base64.b64decode(value[len(_START) :], validate=True)
    except binascii.Error as error:
        raise InputError(f"{what}: the data URL is damaged ({error}); send it again") from error
    _check_size(content, what)
    return content


def _check_size(content: bytes, what: str) -> None:
    """Refuse by the header of a PNG, before anything is decoded."""
    width, height = (int.from_bytes(content[start : start + 4], "big") for start in (16, 20))
    if content[:8] != _SIGNATURE or content[12:16] != b"IHDR":
        raise InputError(f"{what}: it is no PNG; a PNG as a data URL is expected")
    if max(width, height) > _MOST_SIDE:
        raise InputError(f"{what}: {width} x {height} pixels, limit {_MOST_SIDE} x {_MOST_SIDE}; send a smaller PNG")


@contextmanager
def _unnamed(path: Path) -> Iterator[None]:
    """Errors about a file name it as its owner does."""
    try:
        yield
    except InputError as error:
        raise InputError(str(error).replace(str(path), path.name)) from error
