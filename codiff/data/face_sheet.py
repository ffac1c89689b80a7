"""A contact sheet of procedural faces: picture, mask, sketch and caption of each."""

from __future__ import annotations

import math

from PIL import Image

from codiff.data.face_attributes import sample_face
from codiff.data.face_captions import caption
from codiff.data.face_renderer import render
from codiff.errors import InputError
from codiff.figures import QUIET, below, beside, fitted, on_paper, words
from codiff.modalities.mask import colour

MOST_FACES, SIZES = 200, (32, 1024)
_MOST_PIXELS = 40_000_000  # of the whole sheet: viewers and the memory of small machines take no more


def face_sheet(count: int = 12, *, start: int = 0, seed: int = 0, size: int = 128) -> Image.Image:
    """Faces `start` .. `start + count - 1` of the series `seed`, each `size` pixels high.

    Raises:
        InputError: too many or too large faces, or a negative number.
    """
    if not 1 <= count <= MOST_FACES:
        raise InputError(f"count must be from 1 to {MOST_FACES}, not {count}; draw several sheets with start")
    if not SIZES[0] <= size <= SIZES[1]:
        raise InputError(f"size must be from {SIZES[0]} to {SIZES[1]} pixels, not {size}")
    if start < 0 or seed < 0:
        raise InputError("start and seed must be 0 or more")
    if 3 * count * size**2 > _MOST_PIXELS:
        raise InputError(
            f"{count} faces of {size} pixels make a sheet of over {_MOST_PIXELS // 10**6} MP; lower one of them"
        )
    cells = [_cell(start + number, seed, size) for number in range(count)]
    columns = math.ceil(math.sqrt(count / 3))  # a cell is about three times as wide as it is high
    rows = [beside(cells[first : first + columns], gap=28) for first in range(0, count, columns)]
    return on_paper(below(rows, gap=20))


def _cell(index: int, seed: int, size: int) -> Image.Image:
    face = sample_face(index, seed)
    drawn = render(face, size)
    sheets = (drawn.image, colour(drawn.mask), drawn.sketch)
    pictures = beside([fitted(Image.fromarray(sheet), size) for sheet in sheets], gap=4)
    text = 13 if size >= 96 else 11
    number = words(str(index), 8 * len(str(index)) + 4, size=text, colour=QUIET)
    said = words(caption(face), pictures.width - number.width - 6, size=text)
    return below([pictures, beside([number, said], gap=6)], gap=5)
