"""Files of visitors at work: opened and searched a few at a time, since each may take some 150 MB for a while."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from codiff.web.field_error import FieldError

_PATIENCE = 10.0  # seconds: opening a photo takes less than one


class Reading:
    """Turns at opening files and at finding and reading faces; who is not in the queue of runs takes one for each.

    Args:
        count: turns at once.
        patience: seconds that others wait for theirs.
    """

    def __init__(self, count: int, patience: float = _PATIENCE) -> None:
        self._turns = threading.BoundedSemaphore(count)
        self._patience = patience

    @contextmanager
    def turn(self, field: str, *, patient: bool = False) -> Iterator[None]:
        """One turn, as soon as there is one. No turn is to be asked for within another.

        Args:
            field: what is read.
            patient: whether it waits as long as it takes, as for what was opened in an earlier turn.

        Raises:
            FieldError: of `field`: there is none for too long.
        """
        if not self._turns.acquire(timeout=None if patient else self._patience):
            raise FieldError(field, "the server is busy; try again in a minute")
        try:
            yield
        finally:
            self._turns.release()
