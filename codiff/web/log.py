"""What goes wrong while the page is served, told to whoever serves it in one line each."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any

from gradio import queueing, routes

from codiff.cli.show import debugging, tell

_LOGGERS = ("uvicorn.error", "codiff.web")
_LONGEST = 300  # characters of an error's message, of which clients may make up some


def tell_in_one_line() -> None:
    """Errors that are logged, and those whose tracebacks Gradio prints, become a line; CODIFF_DEBUG shows all.

    Anybody can send nonsense, and a traceback of each would bury what matters.
    """
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.setLevel(logging.DEBUG if debugging() else logging.ERROR)
        if not debugging():
            logger.handlers, logger.propagate = [_OneLine()], False
    if not debugging():
        for module in (queueing, routes):
            module.traceback = _Tracebacks


class _OneLine(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not isinstance(error, asyncio.CancelledError):
            _tell(record.getMessage().strip(), error)


class _Tracebacks:
    """Stands for the module `traceback` where Gradio uses it."""

    @staticmethod
    def print_exc(*_args: Any, **_kwargs: Any) -> None:
        error = sys.exc_info()[1]
        if error is not None:
            _tell("a request failed", error)


def _tell(what: str, error: BaseException) -> None:
    message = str(error)[:_LONGEST]
    tell(f"error: {what}: {type(error).__name__}: {message} (CODIFF_DEBUG=1 shows where)")
