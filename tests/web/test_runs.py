"""Requests at work: how many, in which order, and how each of them ends."""

from __future__ import annotations

import gc
import logging
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import pairwise
from typing import Any

import pytest
import torch
from engines import until
from PIL import Image

from codiff.errors import InputError, InputNotice
from codiff.web.field_error import RUN, FieldError
from codiff.web.limits import Limits
from codiff.web.notices import heard
from codiff.web.runs import Done, Event, Run, Step, Task, Waiting, Workers

_MOST = 2000  # steps of work that is to be ended before it is over


class Work:
    """Steps of nothing, which can be held up; remembers how many were done."""

    def __init__(self, steps: int = _MOST, gate: threading.Event | None = None) -> None:
        self.steps, self.gate = steps, gate
        self.done = 0
        self.over = threading.Event()

    def __call__(self, run: Run) -> str:
        try:
            run.step(0, self.steps)
            for index in range(self.steps):
                if self.gate is not None:
                    self.gate.wait(10)
                self.done = index + 1
                run.step(index + 1, self.steps)
                time.sleep(0.005)
        finally:
            self.over.set()
        return "result"


@pytest.fixture
def new() -> Iterator[Callable[..., Workers]]:
    made = []

    def make(**limits: Any) -> Workers:
        made.append(Workers(Limits(**limits)))
        return made[-1]

    yield make
    for workers in made:
        workers.close()


@pytest.fixture
def workers(new: Callable[..., Workers]) -> Workers:
    return new()


def raised(workers: Workers, error: Exception, **options: Any) -> FieldError:
    """What a client is told of an error in its work."""

    def work(_run: Run) -> None:
        raise error

    with pytest.raises(FieldError) as caught:
        list(workers.run(work, owner="a", **options))
    return caught.value


class TestEvents:
    def test_waiting_then_steps_then_the_result(self, workers: Workers) -> None:
        events = list(workers.run(Work(5), owner="a"))
        assert events[0] == Waiting(1)
        assert events[-1] == Done("result")
        steps = [event for event in events if isinstance(event, Step)]
        assert steps[-1].index == steps[-1].of == 5
        assert [step.index for step in steps] == sorted(step.index for step in steps)
        assert [step.seconds for step in steps] == sorted(step.seconds for step in steps)

    def test_no_preview_is_lost_or_told_twice(self, workers: Workers) -> None:
        previews = [Image.new("RGB", (2, 2), (number, 0, 0)) for number in range(3)]
        slow = threading.Event()

        def work(run: Run) -> str:
            for number, preview in enumerate(previews):
                run.step(2 * number + 1, 6, preview)
                run.step(2 * number + 2, 6)
                slow.wait(1.2)
            return "result"

        steps = [event for event in workers.run(work, owner="a") if isinstance(event, Step)]
        assert [step.preview for step in steps if step.preview] == previews
        assert len(steps) > len(previews)  # heartbeats between them

    def test_something_is_told_each_half_second(self, workers: Workers) -> None:
        def work(run: Run) -> str:
            run.step(0, 1)
            time.sleep(1.3)
            return "result"

        times = [time.monotonic() for _ in workers.run(work, owner="a")]
        assert len(times) >= 4
        assert max(after - before for before, after in pairwise(times)) < 1.0

    def test_many_quick_steps_are_told_a_few_times_a_second(self, workers: Workers) -> None:
        def work(run: Run) -> str:
            for index in range(100):
                run.step(index + 1, 100)
                time.sleep(0.01)
            return "result"

        steps = [event for event in workers.run(work, owner="a") if isinstance(event, Step)]
        assert steps[-1].index == 100
        assert 2 <= len(steps) <= 15

    def test_a_quick_end_is_told_at_once(self, workers: Workers) -> None:
        def work(run: Run) -> str:
            run.step(1, 1)
            return "result"

        list(workers.run(work, owner="a"))
        begun = time.monotonic()
        for _ in range(5):
            list(workers.run(work, owner="a"))
        assert time.monotonic() - begun < 1.0


class TestOrder:
    @pytest.mark.parametrize("count", [1, 2])
    def test_only_so_many_at_once_first_come_first_served(self, new: Callable[..., Workers], count: int) -> None:
        workers, gate = new(workers=count), threading.Event()
        works = [Work(1, gate) for _ in range(5)]
        streams = [workers.run(work, owner=f"{number}") for number, work in enumerate(works)]
        for stream in streams:
            next(stream)
        until(lambda: workers.working == count)
        assert workers.waiting == 5 - count
        positions = [
            [event for event in (next(stream), next(stream)) if isinstance(event, Waiting)]
            for stream in streams[count:]
        ]
        assert [told[-1].position for told in positions] == list(range(1, 6 - count))
        assert positions[0][-1].in_words == "Waiting for another run to end"
        assert Waiting(1).in_words == "Starting"
        assert Waiting(2, 1).in_words == "Waiting: number 2 in the queue"
        assert [work.done for work in works] == [0] * 5
        gate.set()
        assert all(list(stream)[-1] == Done("result") for stream in streams)

    def test_one_too_many_is_refused_politely(self, new: Callable[..., Workers]) -> None:
        workers, gate = new(queue=2), threading.Event()
        streams = [workers.run(Work(1, gate), owner="a") for _ in range(3)]
        for stream in streams:
            next(stream)
            until(lambda: workers.working == 1)
        with pytest.raises(FieldError, match="2 requests are waiting already; try again") as caught:
            next(workers.run(Work(1), owner="b"))
        assert caught.value.field == RUN
        gate.set()
        assert all(list(stream)[-1] == Done("result") for stream in streams)

    def test_workers_share_the_cores(self, new: Callable[..., Workers], monkeypatch: pytest.MonkeyPatch) -> None:
        set_to: list[int] = []
        monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
        monkeypatch.setattr(torch, "set_num_threads", set_to.append)
        workers, gate = new(workers=3), threading.Event()
        streams = [workers.run(Work(1, gate), owner="a") for _ in range(3)]
        for stream in streams:
            next(stream)
        until(lambda: workers.working == 3)
        gate.set()
        assert set_to == [2, 2, 2]


class TestStopping:
    def test_a_closed_stream_ends_the_work_within_a_step(self, workers: Workers) -> None:
        work = Work()
        stream = workers.run(work, owner="a")
        until(lambda: isinstance(next(stream), Step))
        stream.close()
        done = work.done
        assert work.over.wait(2)
        assert work.done <= done + 1
        until(lambda: workers.working == 0)

    def test_one_that_waits_never_begins(self, workers: Workers) -> None:
        gate, second = threading.Event(), Work()
        first, later = workers.run(Work(1, gate), owner="a"), workers.run(second, owner="b")
        next(first)
        until(lambda: workers.working == 1)
        next(later)
        later.close()
        assert workers.waiting == 0
        gate.set()
        assert list(first)[-1] == Done("result")
        assert second.done == 0

    def test_nobody_who_listens(self, new: Callable[..., Workers]) -> None:
        workers, work = new(silent_seconds=1), Work()
        stream = workers.run(work, owner="a")
        until(lambda: isinstance(next(stream), Step))
        assert work.over.wait(3)
        assert 0 < work.done < _MOST
        assert not [event for event in stream if isinstance(event, Done)]

    def test_who_waits_without_listening_gives_his_place_away(self, new: Callable[..., Workers]) -> None:
        workers, gate = new(silent_seconds=1, queue=1), threading.Event()
        first, silent = workers.run(Work(1, gate), owner="a"), workers.run(Work(1), owner="b")
        next(first)
        until(lambda: workers.working == 1)
        next(silent)
        until(lambda: next(first) is not None and _accepted(workers), 5)
        gate.set()
        assert list(first)[-1] == Done("result")

    def test_a_slow_listener_is_one(self, new: Callable[..., Workers]) -> None:
        workers = new(silent_seconds=1)
        events = []
        for event in workers.run(Work(300), owner="a"):
            events.append(event)
            time.sleep(0.3)
        assert events[-1] == Done("result")

    def test_all_of_a_session_can_be_stopped_and_nothing_else(self, new: Callable[..., Workers]) -> None:
        workers, gate = new(workers=2), threading.Event()
        works = {"a": Work(), "b": Work(3, gate), "a2": Work()}
        streams = {name: workers.run(work, owner=name[0]) for name, work in works.items()}
        for stream in streams.values():
            next(stream)
        until(lambda: works["a"].done > 0 and workers.waiting == 1)
        workers.stop("a")
        assert works["a"].over.wait(2)
        gate.set()
        assert not [event for name in ("a", "a2") for event in streams[name] if isinstance(event, Done)]
        assert works["a2"].done == 0
        assert list(streams["b"])[-1] == Done("result")

    def test_one_task_of_a_session_can_be_stopped_alone(self, new: Callable[..., Workers]) -> None:
        workers, gate = new(workers=2), threading.Event()
        works = {Task.DRAW: Work(3, gate), Task.COMPARE: Work(), Task.EDIT: Work(3, gate)}
        streams = {task: workers.run(work, owner="a", task=task) for task, work in works.items()}
        for stream in streams.values():
            next(stream)
        until(lambda: works[Task.COMPARE].done > 0 and workers.waiting == 1)
        workers.stop("b", Task.COMPARE)
        workers.stop("a", Task.COMPARE)
        assert works[Task.COMPARE].over.wait(2)
        gate.set()
        assert not [event for event in streams[Task.COMPARE] if isinstance(event, Done)]
        assert list(streams[Task.DRAW])[-1] == list(streams[Task.EDIT])[-1] == Done("result")

    def test_closing_ends_all_and_takes_nothing_more(self, workers: Workers) -> None:
        work, waiting = Work(), Work()
        streams = [workers.run(work, owner="a"), workers.run(waiting, owner="b")]
        for stream in streams:
            next(stream)
        until(lambda: work.done > 0)
        workers.close()
        assert work.over.is_set()
        assert work.done < _MOST
        assert waiting.done == 0
        assert not [event for stream in streams for event in stream if isinstance(event, Done)]
        with pytest.raises(FieldError, match="shut down"):
            next(workers.run(Work(1), owner="c"))


def _accepted(workers: Workers) -> bool:
    """Whether there is room for one more, who leaves at once."""
    try:
        with closing(workers.run(Work(1), owner="c")) as stream:
            next(stream)
    except FieldError:
        return False
    return True


class TestErrors:
    def test_a_wrong_input_names_its_field(self, workers: Workers) -> None:
        error = raised(workers, FieldError("mask", "mask: it is blank"))
        assert (error.field, str(error)) == ("mask", "mask: it is blank")
        error = raised(workers, InputError("values that are not finite"))
        assert (error.field, str(error)) == (RUN, "values that are not finite")

    @pytest.mark.parametrize(
        "error",
        [
            torch.OutOfMemoryError("CUDA out of memory"),
            MemoryError(),
            RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
        ],
        ids=["accelerator", "python", "cpu"],
    )
    def test_too_little_memory_tells_what_to_lower(self, workers: Workers, error: Exception) -> None:
        told = raised(workers, error, lighter="count")
        assert told.field == "count"
        assert "memory does not suffice for this; lower it" in str(told)
        told = raised(workers, error)
        assert told.field == RUN
        assert "try again" in str(told)

    def test_what_nobody_foresaw_is_logged_not_told(self, workers: Workers, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.ERROR, "codiff.web"):
            error = raised(workers, ZeroDivisionError("secret of the server"))
        assert error.field == RUN
        assert "secret" not in str(error)
        number = caplog.records[-1].getMessage().split()[-1]
        assert number in str(error)
        assert "secret of the server" in caplog.text
        assert list(workers.run(Work(1), owner="a"))[-1] == Done("result")

    def test_too_much_time(self, new: Callable[..., Workers]) -> None:
        workers, work = new(run_seconds=1), Work()
        with pytest.raises(FieldError, match="longer than 1 s; ask for fewer steps") as caught:
            list(workers.run(work, owner="a"))
        assert caught.value.field == "steps"
        assert work.done < _MOST

    def test_work_knows_what_makes_it_shorter(self, new: Callable[..., Workers]) -> None:
        def work(run: Run) -> None:
            run.shorten = ("learning", "learn less")
            while True:
                run.checkpoint()

        with pytest.raises(FieldError, match="longer than 1 s; learn less") as caught:
            list(new(run_seconds=1).run(work, owner="a"))
        assert caught.value.field == "learning"

    def test_an_error_holds_on_to_no_memory(self, workers: Workers) -> None:
        alive: list[weakref.ref[Any]] = []

        def work(_run: Run) -> None:
            large = torch.zeros(10)
            alive.append(weakref.ref(large))
            raise MemoryError

        with pytest.raises(FieldError) as caught:
            list(workers.run(work, owner="a"))
        gc.collect()
        assert caught.value is not None
        assert alive[0]() is None


class TestNotices:
    def test_each_run_hears_its_own(self, new: Callable[..., Workers]) -> None:
        workers, both = new(workers=2), threading.Barrier(2, timeout=10)

        def work(name: str) -> Callable[[Run], list[str]]:
            def told(run: Run) -> list[str]:
                for number in range(20):
                    both.wait()
                    _notice(f"{name} {number % 2}")
                return run.notes

            return told

        streams = [workers.run(work(name), owner=name) for name in ("a", "b")]
        for stream in streams:
            next(stream)
        ends: list[Event[list[str]]] = [list(stream)[-1] for stream in streams]
        assert ends == [Done(["a 0", "a 1"]), Done(["b 0", "b 1"])]

    def test_others_are_told_as_before(self) -> None:
        def inside() -> list[str]:
            with heard() as messages:
                _notice("inside")
                thread = threading.Thread(target=_notice, args=("outside",))
                thread.start()
                thread.join()
            return messages

        with pytest.warns(InputNotice, match="outside") as told:
            assert inside() == ["inside"]
        assert len(told) == 1

    def test_what_is_heard_inside_is_not_heard_outside(self) -> None:
        with heard() as outer, heard() as inner:
            _notice("once")
        assert (outer, inner) == ([], ["once"])


def _notice(message: str) -> None:
    warnings.warn(message, InputNotice, stacklevel=2)
