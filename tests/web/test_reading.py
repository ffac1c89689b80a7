"""Files of visitors are opened, and faces found in them, a few at a time."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
from engines import engine, until
from models import PIXELS
from PIL import Image

from codiff import FaceParser
from codiff.web.edit_request import Framing
from codiff.web.edits import Edits
from codiff.web.engine import Engine
from codiff.web.field_error import FieldError
from codiff.web.limits import Limits
from codiff.web.reading import Reading


@pytest.fixture(scope="module")
def parsing() -> Iterator[Engine]:
    with closing(engine(Limits(workers=2))) as opened:
        opened.parser = FaceParser().eval()
        yield opened


@pytest.fixture(scope="module")
def photo() -> bytes:
    content = io.BytesIO()
    Image.effect_noise((PIXELS, PIXELS), 90).convert("RGB").save(content, format="PNG")
    return content.getvalue()


@pytest.mark.parametrize("count", [1, 3])
def test_only_so_many_at_once(count: int) -> None:
    reading, gate, lock = Reading(count), threading.Event(), threading.Lock()
    inside, most = 0, 0

    def read() -> None:
        nonlocal inside, most
        with reading.turn("photo"):
            with lock:
                inside += 1
                most = max(most, inside)
            gate.wait(10)
            with lock:
                inside -= 1

    with ThreadPoolExecutor(8) as pool:
        turns = [pool.submit(read) for _ in range(8)]
        until(lambda: inside == count)
        gate.set()
        for turn in turns:
            turn.result()
    assert most == count


def test_a_turn_ends_with_an_error() -> None:
    reading = Reading(1, patience=0.01)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), reading.turn("photo"):
            raise ZeroDivisionError


@pytest.mark.parametrize(
    "work",
    [
        lambda ours, photo: ours.parse(photo),
        lambda ours, photo: Edits(ours).open(photo),
    ],
    ids=["parse", "open"],
)
def test_who_waits_too_long_is_told_so(parsing: Engine, photo: bytes, work: Callable[..., Any]) -> None:
    parsing.reading = Reading(2, patience=0.05)
    work(parsing, photo)
    with parsing.reading.turn("photo"):
        work(parsing, photo)
        with (
            parsing.reading.turn("photo"),
            pytest.raises(FieldError, match="the server is busy; try again in a minute") as caught,
        ):
            work(parsing, photo)
    assert caught.value.field == "photo"
    work(parsing, photo)


@pytest.mark.parametrize(
    "work",
    [
        lambda edits, photo: edits.faces(photo) == [],
        lambda edits, photo: not edits.framed(photo, Framing()).is_part,
    ],
    ids=["faces", "framed"],
)
def test_faces_of_an_open_photo_wait_for_their_turn(parsing: Engine, photo: bytes, work: Callable[..., bool]) -> None:
    parsing.reading = Reading(1, patience=0.05)
    edits = Edits(parsing)
    opened = edits.open(photo)
    with ThreadPoolExecutor(1) as pool:
        with parsing.reading.turn("photo"):
            waiting = pool.submit(work, edits, opened)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.3)
        assert waiting.result(timeout=10)
