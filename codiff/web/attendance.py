"""Who waits for what was asked for, so that nothing is worked out for nobody."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

PATIENCE = 30.0
"""Seconds within which a client must begin to listen after it asked for something."""


class Attendance:
    """Sessions that asked for something, and whether they listen.

    Gradio notices when somebody stops listening, but not when nobody ever began.

    Args:
        leave: what to do with a session that nobody listens to.
        patience: seconds to wait for a listener.
    """

    def __init__(self, leave: Callable[[str], Awaitable[None]], patience: float = PATIENCE) -> None:
        self._leave = leave
        self._patience = patience
        self._listeners: Counter[str] = Counter()
        self._waits: dict[str, asyncio.Task[None]] = {}
        self._sessions: dict[str, str] = {}

    def expect(self, session: str, event: str) -> None:
        """A session asked for something: somebody has to listen soon, to the session or to this event of it."""
        if self.listens(session):
            return
        self._sessions[event] = session
        if session not in self._waits:
            self._waits[session] = asyncio.create_task(self._wait(session))

    @contextmanager
    def listening(self, key: str) -> Iterator[str]:
        """Within it somebody listens to a session, which is told, or to one of its events."""
        session = self._sessions.get(key, key)
        waiting = self._heard(session)
        if waiting is not None:
            waiting.cancel()
        self._listeners[session] += 1
        try:
            yield session
        finally:
            self._listeners[session] -= 1
            if not self._listeners[session]:
                del self._listeners[session]

    def listens(self, session: str) -> bool:
        """Whether somebody listens to a session now."""
        return self._listeners[session] > 0

    async def _wait(self, session: str) -> None:
        await asyncio.sleep(self._patience)
        self._heard(session)
        await self._leave(session)

    def _heard(self, session: str) -> asyncio.Task[None] | None:
        """Expect nothing of a session any more; what waited for it."""
        for event in [event for event, own in self._sessions.items() if own == session]:
            del self._sessions[event]
        return self._waits.pop(session, None)
