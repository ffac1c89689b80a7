"""What the editors are called on the page."""

from __future__ import annotations

from codiff.editing.editors import EDITORS

_NAMES = {
    "sdedit": "SDEdit",
    "blended": "Blended",
    "ddim-inversion": "DDIM inversion",
    "diffedit": "DiffEdit",
    "imagic": "Imagic",
}
"""In the order of how quickly they are understood; editors that are missing here follow by their own names."""


def shown_name(editor: str) -> str:
    """The name of an editor for people."""
    return _NAMES.get(editor, editor)


def shown_editors() -> list[str]:
    """The names of all editors, in the order in which the page offers them."""
    return [*_NAMES, *(name for name in EDITORS if name not in _NAMES)]
