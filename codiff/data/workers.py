"""The same work on many items, in several processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from typing import Protocol, TypeVar

from codiff.errors import InputError, InputNotice

Item = TypeVar("Item")
Result = TypeVar("Result")
_AT_ONCE = 4  # items that a worker takes at once


class Run(Protocol):
    """As the built-in `map` of one iterable."""

    def __call__(self, function: Callable[[Item], Result], items: Iterable[Item], /) -> Iterator[Result]:
        """Results in the order of the items."""


@contextmanager
def workers(processes: int | None = None) -> Iterator[Run]:
    """Gives a `map` whose results come in the order of the items, from `processes` processes (all cores without).

    Workers are silent about how they adapted their inputs. They end with the process that started them, however it
    ends; only that one hears of Ctrl-C.

    Raises:
        InputError: less than one process, or one of them was ended from outside.
    """
    count = processes if processes is not None else os.cpu_count() or 1
    if count < 1:
        raise InputError(f"at least one process is needed, not {count}")
    if count == 1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InputNotice)
            yield map
        return
    pool = ProcessPoolExecutor(count, initializer=_begin)
    try:
        yield partial(pool.map, chunksize=_AT_ONCE)
    except BrokenProcessPool as error:
        raise InputError(
            "a worker process was ended from outside, as happens where memory runs out; use fewer processes"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """In a new worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    warnings.simplefilter("ignore", InputNotice)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
