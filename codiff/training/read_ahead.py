"""Reading what is needed next in other processes, in the order in which it is needed."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, Generic, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from codiff.errors import InputError, InputNotice

Read = TypeVar("Read")
Rows = Sequence[int]

_MOST_WORKERS = 8  # more of them hardly read faster from one disk


def default_workers() -> int:
    """As many processes as there are cores for this one, up to eight."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(_MOST_WORKERS, cores)


def read_ahead(read: Callable[[Rows], Read], plan: Iterable[Rows], workers: int) -> Generator[Read]:
    """What `read` gives for each item of the plan, in its order, from `workers` processes that are two items ahead.

    Without workers it is read here, when it is asked for. Workers are silent about how they adapted their inputs. They
    end with the generator; signals that ask to stop are for the process that started them, which saves first.

    Args:
        read: a function, or an object of a class, that processes can be given.

    Raises:
        InputError: `read` raises it, or one of the processes was ended from outside.
    """
    if not workers:
        yield from map(read, plan)
        return
    loader: DataLoader[Read | InputError] = DataLoader(
        _Reading(read),
        sampler=plan,
        batch_size=None,
        num_workers=workers,
        collate_fn=_as_it_is,
        worker_init_fn=_begin,
        generator=torch.Generator(),  # or it would draw from the global one
    )
    try:
        for found in loader:
            if isinstance(found, InputError):
                raise found
            yield found
    except RuntimeError as error:
        if "exited unexpectedly" not in str(error):
            raise
        raise InputError(
            "a process that reads data was ended from outside, as happens where memory runs out; use fewer "
            f"(data.workers={workers // 2})"
        ) from error


class _Reading(Dataset[Any], Generic[Read]):
    """What workers ask for the items of the plan."""

    def __init__(self, read: Callable[[Rows], Read]) -> None:
        self.read = read

    def __getitem__(self, rows: Rows) -> Read | InputError:
        try:
            return self.read(rows)
        except InputError as error:
            return error  # a worker's own error would come with the worker's traceback in its message


def _as_it_is(found: Any) -> Any:
    return found


def _begin(_number: int) -> None:
    """In a new worker."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    warnings.simplefilter("ignore", InputNotice)
