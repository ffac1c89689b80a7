"""What visitors ask the editors for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codiff.cli.edit_plan import Wanted
from codiff.web.request import Checked

DEFAULT_EDITOR = "sdedit"
DEFAULT_STEPS = 25
QUICK, FULL = "quick", "full"

Place = tuple[float, float]


@dataclass(frozen=True)
class Framing:
    """Which part of a photo is edited; where nothing is said, its only face.

    Attributes:
        eyes: their places, as shares of the photo's width and height.
        face: number of one of several faces, counted from the left from 0.
        aligned: whether the whole, square picture is a face as models know them.
    """

    eyes: Sequence[Place] = ()
    face: int | None = None
    aligned: bool = False


@dataclass(frozen=True)
class EditRequest:
    """What a visitor asked for, unchecked.

    Attributes:
        photo: content of the file.
        framing: which part of it.
        conditions: modality -> the target, as in a `Request`; only those that are switched on.
        editor: its name.
        strength: of the edit; None to find it.
        source: modality -> what the photo shows; what the face parser reads in it is added.
        region: where it may change, booleans (h, h); None for where source and target differ, or everywhere.
        learning: `QUICK` or `FULL`, for editors that learn.
        seed: of the first picture; the others count up.
        count: of pictures.
        steps: of denoising.
        scheduler: its short name; None for the editor's own.
        guidance: scale; None for the usual one of edits.
        composition: the rule; None for the model's own.
    """

    photo: bytes
    conditions: Mapping[str, Any]
    framing: Framing = Framing()
    editor: str = DEFAULT_EDITOR
    strength: float | None = None
    source: Mapping[str, Any] = field(default_factory=dict)
    region: NDArray[np.bool_] | None = None
    learning: str = QUICK
    seed: int = 0
    count: int = 1
    steps: int = DEFAULT_STEPS
    scheduler: str | None = None
    guidance: float | None = None
    composition: str | None = None


@dataclass(frozen=True)
class CheckedEdit:
    """An edit that can be drawn.

    Attributes:
        checked: target and sampling.
        wanted: all of it, as the command line's `make_plan` takes it.
        photo: SHA-256 of what editors see of the photo.
        framing: which part of it that is, as in the request.
        region: what was painted, as in the request.
        learned: the file of what is learned of the photo; None where nothing is.
        left: steps of learning that are still to be made.
        notes: how inputs were adapted, for people.
    """

    checked: Checked
    wanted: Wanted
    photo: str
    framing: Framing
    region: NDArray[np.bool_] | None
    learned: Path | None
    left: int
    notes: tuple[str, ...] = ()

    @property
    def reused(self) -> bool:
        """Whether all that is to be learned was learned before."""
        return self.learned is not None and not self.left
