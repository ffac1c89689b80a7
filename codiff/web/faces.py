"""Ready-made conditions: drawn faces, which every model of faces understands."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codiff.data.face_attributes import sample_face
from codiff.data.face_captions import caption
from codiff.data.face_renderer import render
from codiff.data.faces import SPLITS
from codiff.pipeline import CollaborativePipeline
from codiff.web.condition_kinds import Drawing, Labels, Words, kind_of
from codiff.web.field_error import FieldError

_SERIES = 1  # trainings use series 0
_MOST = 2**31
_CHOSEN = {"long beard": 0, "moustache": 10, "glasses": 18, "beanie": 19, "child": 27, "goatee": 34}


@dataclass(frozen=True)
class DrawnFace:
    """One drawn face, as words, labels and lines.

    Attributes:
        name: for people.
        caption: what it shows.
        labels: label map uint8 (h, w).
        lines: dark lines on white, uint8 (h, w).
        picture: RGB, of the same size.
        seed: that suits it.
    """

    name: str
    caption: str
    labels: NDArray[np.uint8]
    lines: NDArray[np.uint8]
    picture: Image.Image
    seed: int

    def conditions(self, pipe: CollaborativePipeline) -> dict[str, Any]:
        """Modality -> what a request takes, as far as the kinds of a model's encoders are words, labels or lines."""
        known: dict[type, Any] = {Words: self.caption, Labels: self.labels, Drawing: Image.fromarray(self.lines)}
        kinds = {modality: type(kind_of(pipe.collaborators[modality].encoder)) for modality in pipe.modalities}
        return {modality: known[kind] for modality, kind in kinds.items() if kind in known}


@cache
def example_faces(size: int) -> list[DrawnFace]:
    """The faces of the project's example files, `size` pixels high; no training saw them."""
    return [_drawn(name, SPLITS["validation"][item], 0, size, item) for name, item in _CHOSEN.items()]


def procedural_face(seed: int, size: int) -> DrawnFace:
    """Face number `seed` of an endless series that no training saw.

    Raises:
        FieldError: of "seed": not a whole number from 0 to 2^31 - 1.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < _MOST:
        raise FieldError("seed", f"the number of a face is a whole number from 0 to {_MOST - 1}, not {seed!r:.40}")
    return _drawn(f"face {seed}", seed, _SERIES, size, seed)


def _drawn(name: str, index: int, series: int, size: int, seed: int) -> DrawnFace:
    face = sample_face(index, series)
    sheets = render(face, size)
    return DrawnFace(name, caption(face), sheets.mask, sheets.sketch, Image.fromarray(sheets.image), seed)
