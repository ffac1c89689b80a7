"""Requests at work: a bounded number at once, told of step by step, and ended as soon as nobody listens."""

from __future__ import annotations

import gc
import logging
import queue
import secrets
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from PIL import Image
from torch import Tensor

from codiff.errors import InputError
from codiff.web.field_error import RUN, FieldError
from codiff.web.limits import Limits
from codiff.web.notices import heard
from codiff.web.request import Checked

_LOG = logging.getLogger("codiff.web")
_PACE = 0.2  # seconds between two events at least: a browser takes time for each, on this machine perhaps
_BEAT = 0.5  # seconds between two events at most: only between them can a generator be closed

T = TypeVar("T")


class Task(Enum):
    """What a visitor asks for, each cancelled by a button of its own."""

    DRAW = "draw"
    COMPARE = "compare"
    EDIT = "edit"


@dataclass(frozen=True)
class Waiting:
    """A request that is not worked on yet.

    Attributes:
        position: 1 is the next.
        behind: runs that have to end before the next begins; 0 where it begins at once.
    """

    position: int
    behind: int = 0

    @property
    def in_words(self) -> str:
        """For people."""
        if self.position > 1:
            return f"Waiting: number {self.position} in the queue"
        return "Waiting for another run to end" if self.behind else "Starting"


@dataclass(frozen=True)
class Step:
    """How far a request is; told again about every half second, even where nothing changed.

    Attributes:
        index: steps that are done, 0 at the beginning.
        of: all steps.
        preview: its finished pictures and the predicted x_0 of those at work, in a row; None where there is no new one.
        seconds: since the work began.
    """

    index: int
    of: int
    preview: Image.Image | None
    seconds: float


@dataclass(frozen=True)
class Done(Generic[T]):
    """The last event, which a request that was stopped lacks.

    Attributes:
        result: what the work returned.
    """

    result: T


Event = Waiting | Step | Done[T]


@dataclass(frozen=True)
class Result:
    """What was drawn; all files lie in the session's folder.

    Attributes:
        images: the pictures.
        captions: one for each.
        paths: the same as PNG files with metadata, signed where that is installed.
        record: what restores the request, as JSON can hold it.
        record_path: that as a file.
        archive_path: a zip file of pictures, conditions and record.
        influences: modality -> (steps, batch, 1, h, w), float32 on the CPU; None where the rule has none.
        conflict: disagreement of the collaborators, (steps, batch, h, w); None where there is one alone.
        timesteps: at which both were, from noise to image.
        seconds: of work.
        checked: the request.
        notes: how inputs were adapted, for people.
    """

    images: list[Image.Image]
    captions: list[str]
    paths: list[Path]
    record: dict[str, Any]
    record_path: Path
    archive_path: Path
    influences: dict[str, Tensor] | None
    conflict: Tensor | None
    timesteps: list[float]
    seconds: float
    checked: Checked
    notes: tuple[str, ...] = ()


class Stopped(Exception):  # noqa: N818  (nothing is wrong)
    """Ends the work of a request that nobody waits for any more."""


@dataclass(eq=False)
class Run:
    """One request, as its work sees it.

    Attributes:
        owner: name of the session's folder.
        limits: what it may take.
        task: what it is for; None where nothing but its session ends it.
        notes: how inputs were adapted, noted while it worked.
        shorten: the input that makes it shorter, and what to do with it.
    """

    owner: str
    limits: Limits
    task: Task | None = None
    notes: list[str] = field(default_factory=list)
    shorten: tuple[str, str] = ("steps", "ask for fewer steps or pictures")
    _steps: queue.SimpleQueue[Step | None] = field(default_factory=queue.SimpleQueue)
    _asked_to_stop: bool = False
    _began: float | None = None
    _unheard_since: float | None = None

    @property
    def seconds(self) -> float:
        """Since the work began."""
        return 0.0 if self._began is None else time.monotonic() - self._began

    @property
    def is_over(self) -> bool:
        """Whether nobody waits for it any more."""
        since = self._unheard_since
        unheard = since is not None and time.monotonic() - since > self.limits.silent_seconds
        return self._asked_to_stop or unheard or not threading.main_thread().is_alive()

    def stop(self) -> None:
        """End it within a step."""
        self._asked_to_stop = True

    def checkpoint(self) -> None:
        """To be called often, after each step at least.

        Raises:
            Stopped: it was stopped, nobody listened for `limits.silent_seconds`, or the process ends.
            FieldError: it takes longer than `limits.run_seconds`; of the input that `shorten` names.
        """
        if self.is_over:
            raise Stopped
        if self.seconds > self.limits.run_seconds:
            place, remedy = self.shorten
            raise FieldError(place, f"this takes longer than {self.limits.run_seconds:g} s; {remedy}")

    def step(self, index: int, of: int, preview: Image.Image | None = None) -> None:
        """Tell how far the work is; a `checkpoint`, too.

        Args:
            index: steps that are done.
            of: all steps.
            preview: what is foreseen.
        """
        self.checkpoint()
        self._steps.put(Step(index, of, preview, self.seconds))

    def _latest(self) -> Step | None:
        """All that was told since the last call as one step; waits for a moment where nothing was."""
        latest, preview = None, None
        with suppress(queue.Empty):
            step = self._steps.get(timeout=_BEAT - _PACE)
            while True:
                if step is not None:
                    latest, preview = step, step.preview or preview
                step = self._steps.get_nowait()
        return None if latest is None else replace(latest, preview=preview)


class Workers:
    """Threads that work on requests, first come, first served.

    Args:
        limits: `workers` at once, `queue` waiting.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._lock = threading.Lock()
        self._waiting: dict[Run, Future[Any]] = {}
        self._working: set[Run] = set()
        cores = max(1, torch.get_num_threads() // limits.workers)
        self._threads = ThreadPoolExecutor(
            limits.workers, thread_name_prefix="codiff-run", initializer=torch.set_num_threads, initargs=(cores,)
        )

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    @property
    def working(self) -> int:
        """How many requests are worked on."""
        return len(self._working)

    def run(
        self, work: Callable[[Run], T], *, owner: str, task: Task | None = None, lighter: str | None = None
    ) -> Generator[Event[T], None, None]:
        """Events of a piece of work, which queues up when the first of them is asked for.

        Closing the generator ends the work within one step; so does not going on with it for `limits.silent_seconds`.

        Args:
            work: done in a thread; it calls `Run.step`.
            owner: name of the session's folder.
            task: what it is for.
            lighter: the field to lower where memory does not suffice; None where there is none.

        Raises:
            FieldError: the queue is full, an input turned out wrong, memory or time does not suffice, or something
                unforeseen happened, which is logged.
        """
        run = Run(owner, self.limits, task)
        future = self._submit(run, work, lighter)
        try:
            for event in self._events(run, future):
                run._unheard_since = time.monotonic()
                yield event
                run._unheard_since = None
        finally:
            self._end([run])

    def stop(self, owner: str, task: Task | None = None) -> None:
        """End what a session asked for; its iterators end without `Done`.

        Args:
            owner: name of the session's folder.
            task: what alone is ended; all without.
        """
        with self._lock:
            owned = [run for run in (*self._waiting, *self._working) if run.owner == owner]
        self._end(run for run in owned if task in (None, run.task))

    def close(self) -> None:
        """End everything, and wait until it has ended."""
        with self._lock:
            runs = [*self._waiting, *self._working]
        self._end(runs)
        self._threads.shutdown(cancel_futures=True)

    def _end(self, runs: Iterable[Run]) -> None:
        for run in runs:
            run.stop()
            with self._lock:
                future = self._waiting.pop(run, None)
            if future is not None:
                future.cancel()

    def _events(self, run: Run, future: Future[T | None]) -> Iterator[Event[T]]:
        event: Waiting | Step = self._waiting_of(run)
        told = -_PACE  # the first step is told at once
        yield event
        while not (future.done() and run._steps.empty()):
            wait([future], max(0.0, told + _PACE - time.monotonic()))
            latest = run._latest()
            if latest is not None:
                event = latest
            elif isinstance(event, Step):
                event = replace(event, preview=None, seconds=run.seconds)
            else:
                event = self._waiting_of(run)
            if latest is not None or not future.done():
                told = time.monotonic()
                yield event
        result = None if future.cancelled() else future.result()
        if result is not None:
            yield Done(result)

    def _submit(self, run: Run, work: Callable[[Run], T], lighter: str | None) -> Future[T | None]:
        self._end([other for other in list(self._waiting) if other.is_over])
        with self._lock:
            if len(self._waiting) >= self.limits.queue:
                count = len(self._waiting)
                waiting = "1 request is" if count == 1 else f"{count} requests are"
                raise FieldError(RUN, f"{waiting} waiting already; try again in a minute")
            try:
                future = self._threads.submit(self._work, run, work, lighter)
            except RuntimeError as error:
                raise FieldError(RUN, "the server is being shut down; try again later") from error
            self._waiting[run] = future
        future.add_done_callback(lambda _: run._steps.put(None))
        return future

    def _work(self, run: Run, work: Callable[[Run], T], lighter: str | None) -> T | None:
        """The result; None where it was stopped."""
        with self._lock:
            self._waiting.pop(run, None)
            self._working.add(run)
        run._began = time.monotonic()
        try:
            with heard() as run.notes:
                run.checkpoint()
                return work(run)
        except Stopped:
            return None
        except Exception as error:
            memory, failure = _is_memory(error), _for_the_client(error, lighter)
        finally:
            with self._lock:
                self._working.discard(run)
        if memory:
            _free_memory()
        raise failure  # out here, so that nothing is left of the error and of all that its frames held

    def _waiting_of(self, run: Run) -> Waiting:
        with self._lock:
            if run not in self._waiting:
                return Waiting(1)
            busy = len(self._working) >= self.limits.workers
            return Waiting(1 + list(self._waiting).index(run), len(self._working) if busy else 0)


def _for_the_client(error: Exception, lighter: str | None) -> FieldError:
    """One clear message; what nobody foresaw is logged under a number that the message gives."""
    if isinstance(error, FieldError):
        return FieldError(error.field, str(error))
    if isinstance(error, InputError):
        return FieldError(RUN, str(error))
    if _is_memory(error):
        _LOG.warning("out of memory: %s", str(error).splitlines()[:1])
        remedy = "try again in a minute" if lighter is None else "lower it, or try again in a minute"
        return FieldError(lighter or RUN, f"the server's memory does not suffice for this; {remedy}")
    number = secrets.token_hex(4)
    _LOG.error("unforeseen error %s", number, exc_info=error)
    return FieldError(RUN, f"something unforeseen went wrong on the server, which noted it as {number}; try again")


def _is_memory(error: Exception) -> bool:
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)


def _free_memory() -> None:
    gc.collect()
    if torch.accelerator.is_available():
        torch.accelerator.empty_cache()
