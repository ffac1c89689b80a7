"""How often somebody may fail to log in."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable

MOST, MOST_OF_ALL, WITHIN = 5, 50, 60.0  # failures of one client, of all together, in so many seconds


class Attempts:
    """Failed logins of the last minute.

    Args:
        clock: seconds, never going back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: defaultdict[str, deque[float]] = defaultdict(deque)
        self._all: deque[float] = deque()

    def begin(self, client: str) -> float:
        """Seconds until this client may try; 0 where it may now, which counts as a failure until it turns out well."""
        with self._lock:
            now = self._clock()
            self._forget(now)
            waits = [0.0]
            for failures, most in ((self._failures.get(client, deque()), MOST), (self._all, MOST_OF_ALL)):
                if len(failures) >= most:
                    waits.append(failures[-most] + WITHIN - now)
            if max(waits) == 0:
                self._failures[client].append(now)
                self._all.append(now)
            return max(waits)

    def succeeded(self, client: str) -> None:
        """The last try was none of the failures, and those before are forgiven."""
        with self._lock:
            own = self._failures.pop(client, deque())
            if own:
                self._all.remove(own[-1])

    def _forget(self, now: float) -> None:
        for client, failures in list(self._failures.items()):
            _drop_old(failures, now)
            if not failures:
                del self._failures[client]
        _drop_old(self._all, now)


def _drop_old(failures: deque[float], now: float) -> None:
    while failures and failures[0] <= now - WITHIN:
        failures.popleft()
