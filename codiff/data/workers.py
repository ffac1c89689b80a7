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
_MOST_PER_CORE = 4  # more processes only take memory from one another
_AT_ONCE = 4  # items that a worker takes at once


class Run(Protocol):
    """As the built-in `map` of one iterable."""

    def __call__(self, function: Callable[[Item], Result], items: Iterable[Item], /) -> Iterator[Result]:
        """Results in the order of the items."""


def count_workers(processes: int | None) -> int:
    """How many processes work where `processes` are asked for: as many as there are cores without.

    Raises:
        InputError: less than one, or more than four a core.
    """
    cores = os.cpu_count() or 1
    if processes is None:
        return cores
    if processes < 1:
        raise InputError(f"at least one process is needed, not {processes}")
    if processes > _MOST_PER_CORE * cores:
        raise InputError(f"{_MOST_PER_CORE * cores} processes at most work on {cores} cores, not {processes}")
    return processes


@contextmanager
def workers(processes: int | None = None) -> Iterator[Run]:
    """Gives a `map` whose results come in the order of the items, from `processes` processes (all cores without).

    Workers are silent about how they adapted their inputs. They end with the process that started them, however it
    ends; only that one hears of Ctrl-C.

    Raises:
        InputError: the number makes no sense, or one of the processes was ended from outside.
    """
    count = count_workers(processes)
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
