"""Input notices of one visitor's request, kept apart from those of all others."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from codiff.errors import InputNotice

_HEARD: ContextVar[list[str] | None] = ContextVar("heard", default=None)
_LOCK = threading.Lock()
_show_others: Any = None


@contextmanager
def heard() -> Iterator[list[str]]:
    """The `InputNotice`s of this thread within, each once, in a list that fills meanwhile; nobody else is told of them.

    `warnings.catch_warnings` changes the whole process, so that requests in several threads would read each other's
    notices. Here one function, installed for good, hands each notice to the thread that it was made in.
    """
    _install()
    messages: list[str] = []
    token = _HEARD.set(messages)
    try:
        yield messages
    finally:
        _HEARD.reset(token)


def _install() -> None:
    global _show_others
    with _LOCK:
        if warnings.showwarning is not _show:
            _show_others, warnings.showwarning = warnings.showwarning, _show
        if warnings.filters[:1] != [("always", None, InputNotice, None, 0)]:
            warnings.simplefilter("always", InputNotice)


def _show(message: Warning | str, category: type[Warning], *place: Any, **kwargs: Any) -> None:
    messages = _HEARD.get()
    if messages is None or not issubclass(category, InputNotice):
        _show_others(message, category, *place, **kwargs)
    elif str(message) not in messages:
        messages.append(str(message))
