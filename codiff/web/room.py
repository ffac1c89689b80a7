"""Whether a folder may take more files, counted seldom enough to cost little."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path

_PAUSE = 20  # times as long as counting took until files are counted again: a twentieth of one core at most


class Room:
    """The room that a folder has for files.

    Args:
        root: the folder.
        most: bytes of all files in it together beyond which there is no room.
    """

    def __init__(self, root: Path, most: int) -> None:
        self._root, self._most = root, most
        self._counting = threading.Lock()
        self._bytes, self._stale = 0, 0.0

    @property
    def is_left(self) -> bool:
        """Whether there is any; who asks while somebody counts is answered by the count before."""
        if time.monotonic() >= self._stale and self._counting.acquire(blocking=False):
            try:
                begun = time.monotonic()
                self._bytes = _bytes_below(self._root)
                now = time.monotonic()
                self._stale = now + _PAUSE * (now - begun)
            finally:
                self._counting.release()
        return self._bytes <= self._most


def _bytes_below(root: Path) -> int:
    """Of all files in a folder and its folders; what is removed meanwhile counts or does not."""
    total, folders = 0, [str(root)]
    while folders:
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    with suppress(OSError):
                        total += entry.stat(follow_symlinks=False).st_size
    return total
