"""The editor and the strength that `codiff edit` is given."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from codiff.editing import editors
from codiff.editing.editors import EDITORS, Editor
from codiff.errors import InputError

AUTO = "auto"
_LEARNING = ("full-fine-tuning", "together")  # how it is learned


def editor_named(name: str, given: Mapping[str, object]) -> Editor:
    """The editor of this name, if it takes what is given.

    Args:
        given: option -> its value, or None, False or nothing where it is not given.

    Raises:
        InputError: unknown, or an option that only other editors take.
    """
    editor = editors.editor_named(name)
    for option in (option for option, value in given.items() if value and option not in options_of(editor)):
        able = ", ".join(other for other, row in EDITORS.items() if option in options_of(row))
        raise InputError(f"{name} takes no --{option}; leave it out, or use --editor {able}")
    return editor


def options_of(editor: Editor) -> tuple[str, ...]:
    """Options of the command that an editor takes besides those of all."""
    return (*editor.takes, *_LEARNING) if editor.learns else editor.takes


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
