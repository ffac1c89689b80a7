"""The editors by name, and what each takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from codiff.editing.blended import STRENGTH as BLENDED
from codiff.editing.blended import blended
from codiff.editing.ddim_inversion import STRENGTH as DDIM
from codiff.editing.ddim_inversion import ddim_inversion
from codiff.editing.diffedit import STRENGTH as DIFFEDIT
from codiff.editing.diffedit import diffedit
from codiff.editing.edit import Edit
from codiff.editing.imagic import ALPHA, ALPHAS, imagic
from codiff.editing.sdedit import STRENGTH as SDEDIT
from codiff.editing.sdedit import sdedit
from codiff.errors import InputError

_SHARES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class Editor:
    """One editor, and what those who offer it must know.

    Attributes:
        edit: the function.
        purpose: what it is good for, in one plain sentence.
        strength: what its strength is called there.
        default, low, high: of the strength.
        tried: strengths that a search tries.
        takes: arguments of the function besides those of all: "source", "region", "learned", "start".
        each: whether modalities can have strengths of their own.
        inverts: whether it retraces a path of DDIM, and so has its own scheduler.
        confined: whether it must be told a region, or what shows one.
    """

    edit: Callable[..., Edit]
    purpose: str
    default: float
    strength: str = "strength"
    low: float = 0.0
    high: float = 1.0
    tried: Sequence[float] = _SHARES
    takes: tuple[str, ...] = ()
    each: bool = False
    inverts: bool = False
    confined: bool = False

    @property
    def learns(self) -> bool:
        """Whether it learns the photo before it edits."""
        return "learned" in self.takes

    def draws(self, *, region: bool) -> bool:
        """Whether images of different seeds differ: who retraces a path draws only to find a region.

        Args:
            region: whether one is given.
        """
        return not self.inverts or ("region" in self.takes and not region)


EDITORS: dict[str, Editor] = {
    "imagic": Editor(
        imagic,
        "Learns your photo first, then changes it: keeps the person best, and one learned photo serves many edits.",
        ALPHA,
        strength="alpha",
        low=ALPHAS[0],
        high=ALPHAS[1],
        tried=(0.0, 0.25, 0.5, 0.75, 1.0, 1.25),
        takes=("learned", "start"),
        each=True,
    ),
    "sdedit": Editor(
        sdedit,
        "Blurs your photo with noise and redraws it: good for a quick look and for small changes everywhere.",
        SDEDIT,
    ),
    "ddim-inversion": Editor(
        ddim_inversion,
        "Finds the noise that leads to your photo and redraws it from there: keeps the person without any learning.",
        DDIM,
        takes=("source",),
        inverts=True,
    ),
    "blended": Editor(
        blended,
        "Changes one part, such as hair or glasses, and keeps every other pixel as it is.",
        BLENDED,
        takes=("source", "region"),
        confined=True,
    ),
    "diffedit": Editor(
        diffedit,
        "Finds by itself which part has to change, and keeps the rest.",
        DIFFEDIT,
        takes=("source", "region"),
        inverts=True,
    ),
}
"""All editors, the one that learns first."""


def editor_named(name: str) -> Editor:
    """The editor of this name.

    Raises:
        InputError: unknown.
    """
    if name not in EDITORS:
        raise InputError(f"unknown editor {name!r}; known: {', '.join(EDITORS)}")
    return EDITORS[name]
