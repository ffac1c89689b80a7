"""How long editors take on this server."""

from __future__ import annotations

import statistics
import threading
from collections import defaultdict, deque

_KEPT = 9  # times of each
_SHIPPED = {
    "sdedit": "a few seconds",
    "blended": "a few seconds",
    "ddim-inversion": "some ten seconds",
    "diffedit": "some ten seconds",
    "imagic": "about half a minute for the first edit of a photo, and then seconds,",
}


class EditTimes:
    """The latest times of each editor; safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: defaultdict[tuple[str, bool], deque[float]] = defaultdict(lambda: deque(maxlen=_KEPT))

    def note(self, editor: str, seconds: float, *, learned: bool) -> None:
        """An edit was drawn.

        Args:
            editor: its name.
            seconds: of work.
            learned: whether the photo was learned in them.
        """
        with self._lock:
            self._seconds[editor, learned].append(seconds)

    def told(self, editor: str) -> str:
        """How long an edit takes, in a sentence."""
        with self._lock:
            plain, learning = (list(self._seconds[editor, learned]) for learned in (False, True))
        parts = []
        if learning:
            parts.append(f"{_about(learning)} with learning the photo")
        if plain:
            parts.append(f"{_about(plain)} {'with a photo that was learned' if learning else ''}".strip())
        if parts:
            return f"Takes {', '.join(parts)} here."
        return f"Takes {_SHIPPED[editor]} with the shipped model." if editor in _SHIPPED else ""


def _about(seconds: list[float]) -> str:
    middle = statistics.median(seconds)
    return f"about {max(1, round(middle))} s" if middle < 90 else f"about {round(middle / 60)} min"
