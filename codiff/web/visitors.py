"""Whose a session is, and who may read which file."""

from __future__ import annotations

import re
import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote

_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")  # 32 bytes in base64
_MOST_KEYS = 20_000


class Visitors:
    """What each visitor owns, by a secret that his browser keeps as a cookie.

    A client without cookies is the visitor None. What it owns is protected by its name alone, which nobody can guess:
    whoever has a session's hash or a file's address from such a client may use it, as with any secret.

    Args:
        root: the folder outside of which nothing is ever served.
        public: files that everybody may read, such as pictures that the page begins with.
    """

    def __init__(self, root: Path, public: Iterable[str | Path] = ()) -> None:
        self._root = root.resolve()
        self.public = frozenset(Path(path).resolve() for path in public if Path(path).is_absolute())
        self._path = re.compile(re.escape(str(self._root)) + r"[^\s\"'<>()?#&]*")
        self._lock = threading.Lock()
        self._keys: OrderedDict[str, str | None] = OrderedDict()
        self._readers: dict[Path, set[str | None]] = {}

    @staticmethod
    def new_token() -> str:
        """The secret of a new visitor."""
        return secrets.token_urlsafe(32)

    @staticmethod
    def known_token(text: str | None) -> str | None:
        """A cookie's value if it can be a visitor's secret."""
        return text if text is not None and _TOKEN.fullmatch(text) else None

    def claim(self, key: str, visitor: str | None) -> bool:
        """Whether a session or an event is this visitor's; it becomes so where it was nobody's."""
        with self._lock:
            owner = self._keys.setdefault(key, visitor)
            self._keys.move_to_end(key)
            while len(self._keys) > _MOST_KEYS:
                self._keys.popitem(last=False)
            return owner == visitor

    def owns(self, key: str, visitor: str | None) -> bool:
        """Whether a session or an event is this visitor's already."""
        with self._lock:
            return key in self._keys and self._keys[key] == visitor

    def grant(self, path: str, visitor: str | None) -> None:
        """A visitor may read a file, if it lies below the root."""
        place = self._inside(path)
        if place is not None:
            with self._lock:
                self._readers.setdefault(place, set()).add(visitor)

    def may_read(self, path: str, visitor: str | None) -> bool:
        """Whether a path is that of a regular file that this visitor may read, reached without any link."""
        if "\0" in path:
            return False
        place = Path(path)
        try:
            if str(place.resolve()) != path or not place.is_file():
                return False
        except (OSError, RuntimeError):  # too long, or links that go round
            return False
        if place in self.public:
            return True
        with self._lock:
            readers = self._readers.get(place, set())
        return visitor in readers or None in readers

    def may_send(self, text: str, visitor: str | None) -> bool:
        """Whether a text names no files below the root but those that this visitor may read."""
        if str(self._root) not in text or self.may_read(text, visitor):
            return True
        return all(self.may_read(unquote(path), visitor) for path in self._path.findall(text))

    def prune(self) -> None:
        """Forget files that are gone."""
        with self._lock:
            for place in [place for place in self._readers if not place.is_file()]:
                del self._readers[place]

    def _inside(self, path: str) -> Path | None:
        try:
            place = Path(path).resolve()
            return place if place.is_relative_to(self._root) and place.is_file() else None
        except (OSError, ValueError, RuntimeError):
            return None
