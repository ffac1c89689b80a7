"""The editors by name, and what each takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from codiff.editing import Edit, blended, ddim_inversion, diffedit, imagic, sdedit
from codiff.editing.blended import STRENGTH as BLENDED
from codiff.editing.ddim_inversion import STRENGTH as DDIM
from codiff.editing.diffedit import STRENGTH as DIFFEDIT
from codiff.editing.imagic import ALPHA, ALPHAS
from codiff.editing.sdedit import STRENGTH as SDEDIT
from codiff.errors import InputError

AUTO = "auto"
_SHARES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class Editor:
    """One editor as the command line offers it.

    Attributes:
        edit: the function.
        strength: what its strength is called there.
        default, low, high: of the strength.
        tried: strengths that a search tries.
        options: options of the command that it takes besides those of all.
        each: whether modalities can have strengths of their own.
        inverts: whether it retraces a path of DDIM, and so has its own scheduler.
        confined: whether it must be told a region, or what shows one.
    """

    edit: Callable[..., Edit]
    default: float
    strength: str = "strength"
    low: float = 0.0
    high: float = 1.0
    tried: Sequence[float] = _SHARES
    options: tuple[str, ...] = ()
    each: bool = False
    inverts: bool = False
    confined: bool = False


EDITORS: Mapping[str, Editor] = {
    "imagic": Editor(
        imagic,
        ALPHA,
        strength="alpha",
        low=ALPHAS[0],
        high=ALPHAS[1],
        tried=(0.0, 0.25, 0.5, 0.75, 1.0, 1.25),
        options=("learned", "full-fine-tuning", "start"),
        each=True,
    ),
    "sdedit": Editor(sdedit, SDEDIT),
    "ddim-inversion": Editor(ddim_inversion, DDIM, options=("source",), inverts=True),
    "blended": Editor(blended, BLENDED, options=("source", "region"), confined=True),
    "diffedit": Editor(diffedit, DIFFEDIT, options=("source", "region"), inverts=True),
}


def editor_named(name: str, given: Mapping[str, object]) -> Editor:
    """The editor of this name, if it takes what is given.

    Args:
        given: option -> its value, or None, False or nothing where it is not given.

    Raises:
        InputError: unknown, or an option that only other editors take.
    """
    if name not in EDITORS:
        raise InputError(f"unknown editor {name!r}; known: {', '.join(EDITORS)}")
    editor = EDITORS[name]
    for option in (option for option, value in given.items() if value and option not in editor.options):
        able = ", ".join(other for other, row in EDITORS.items() if option in row.options)
        raise InputError(f"{name} takes no --{option}; leave it out, or use --editor {able}")
    return editor


def parse_strength(text: str | None, name: str, editor: Editor, modalities: Sequence[str]) -> dict[str, float] | None:
    """Strength by modality of "0.7" or "text=0.7,mask=1"; the editor's own for None; None for "auto".

    Raises:
        InputError: no number, out of range, or modalities that are not edited.
    """
    if text == AUTO:
        return None
    if text is None:
        return dict.fromkeys(modalities, editor.default)
    if "=" not in text:
        return dict.fromkeys(modalities, _number(text, name, editor))
    if not editor.each:
        raise InputError(f"{name} has one strength for all modalities; give one number, not {text!r}")
    pairs = [part.partition("=") for part in text.split(",")]
    values = {modality.strip(): value for modality, _, value in pairs}
    if values.keys() != set(modalities) or len(pairs) != len(values):
        raise InputError(f"--strength {text!r} must give one number for each of {', '.join(modalities)}")
    return {modality: _number(values[modality], name, editor) for modality in modalities}


def _number(text: str, name: str, editor: Editor) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not editor.low <= value <= editor.high:
        raise InputError(
            f"the {editor.strength} of {name} must be {AUTO}, or a number from {editor.low:g} to {editor.high:g}, "
            f"not {text!r}"
        )
    return value
