"""What a command line tells people, all of it on standard error: progress, notes, errors."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import diffusers.utils.logging
import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from codiff.errors import InputError, InputNotice

WRONG_INPUT, FAILED, INTERRUPTED = 2, 1, 130


def debugging() -> bool:
    """Whether CODIFF_DEBUG asks for tracebacks and for what libraries log."""
    return os.environ.get("CODIFF_DEBUG", "") not in ("", "0")


def tell(message: str) -> None:
    """One line for people; work goes on where nobody listens any more."""
    with suppress(BrokenPipeError):
        typer.echo(" ".join(message.split()), err=True)


def failed(error: BaseException) -> int:
    """Tell what went wrong in one line; the exit code."""
    if debugging():
        traceback.print_exception(error, file=sys.stderr)
    if isinstance(error, InputError):
        tell(f"error: {error}")
        return WRONG_INPUT
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error):
        tell("error: out of memory; lower --count, use --device cpu, or close other programs")
        return FAILED
    tell(f"error: {type(error).__name__}: {error} (not foreseen: CODIFF_DEBUG=1 shows where; please report it)")
    return FAILED


@contextmanager
def quiet() -> Iterator[None]:
    """Libraries are silent but for errors, and each `InputNotice` becomes a line "note: ..."."""
    if debugging():
        yield
        return
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    for name in ("transformers", "accelerate", "huggingface_hub"):
        logging.getLogger(name).setLevel(logging.ERROR)
    told: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *_place: Any, **_kwargs: Any) -> None:
        if issubclass(category, InputNotice) and str(message) not in told:
            told.add(str(message))
            tell(f"note: {message}")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", InputNotice)
        warnings.showwarning = show
        yield


@contextmanager
def no_notes() -> Iterator[None]:
    """Notices are not told."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputNotice)
        yield


@contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM ends a command as Ctrl-C does: by an exception, so that nothing half-written stays."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def progress() -> Progress:
    """A bar on standard error, where that is a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"))
    return Progress(
        *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, disable=not console.is_terminal
    )
