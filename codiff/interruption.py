"""SIGINT and SIGTERM wait until a step is over, so that what is saved is always a whole step's state."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Asked:
    """Whether a signal came that asks to stop.

    Attributes:
        signal: its number; 0 where none came.
    """

    def __init__(self) -> None:
        self.signal = 0

    def note(self, number: int, _frame: FrameType | None) -> None:
        """The handler."""
        self.signal = number


@contextmanager
def postponed() -> Iterator[Asked]:
    """Within it both signals are only noted; other threads than the main one never get any."""
    asked = Asked()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.signal(number, asked.note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
