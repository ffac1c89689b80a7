"""Pages that are served to tests as `codiff web` serves them, and their visitors."""

from __future__ import annotations

import asyncio
import io
import json
import os
import secrets
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import httpx
import numpy as np
import pytest
from PIL import Image

from codiff.web.environment import prepare
from codiff.web.limits import Limits
from codiff.web.listening import listen
from codiff.web.storage import Storage

if TYPE_CHECKING:
    from codiff.web.server import PageServer

Build = Callable[[Storage], "gr.Blocks"]

STEP = 0.1  # seconds of one step of the test page's work
MADE = {"_type": "gradio.FileData"}


@contextmanager
def served(build: Build, limits: Limits | None = None, **kwargs: Any) -> Iterator[PageServer]:
    """A server on loopback of the page that `build` makes; one at a time in a process.

    Args:
        limits: the usual ones without.
        kwargs: of `PageServer`.
    """
    before = dict(os.environ)
    storage = Storage(limits or Limits())
    try:
        prepare(storage.root)
        with listen("127.0.0.1", 0) as listener, asyncio.run(_made(build, storage, listener, kwargs)) as server:
            yield server
    finally:
        storage.close()
        os.environ.clear()
        os.environ.update(before)


async def _made(build: Build, storage: Storage, listener: socket.socket, kwargs: dict[str, Any]) -> PageServer:
    """Made within a loop, as Gradio opens one for each of its locks where there is none, and closes none of them."""
    from codiff.web.server import PageServer

    return PageServer(build(storage), storage, listener, **kwargs)


class Work:
    """The functions of a small page, and what happened in them.

    Attributes:
        opened: paths that were handed to functions.
        steps: that were done.
        closed: set while nothing is drawn.
    """

    def __init__(self) -> None:
        self.opened: list[Any] = []
        self.steps = 0
        self.closed = threading.Event()

    def draw(self, steps: float) -> Iterator[str]:
        """So many steps, unless somebody closes it."""
        self.closed.clear()
        try:
            for step in range(int(steps)):
                self.steps += 1
                time.sleep(STEP)
                yield f"step {step + 1}"
        finally:
            self.closed.set()

    def open_file(self, path: str | None) -> str:
        self.opened.append(path)
        return "" if path is None else Path(path).read_text(errors="replace")[:100]

    def open_picture(self, path: str | None) -> str:
        self.opened.append(path)
        return "nothing" if path is None else f"{Path(path).stat().st_size} bytes"

    def fail(self, how: str) -> str:
        if how == "memory":
            raise MemoryError
        raise RuntimeError(f"a secret of the server: {how}")


def small_page(work: Work) -> Build:
    """A page with all that lets something come in or go out."""

    def build(storage: Storage) -> gr.Blocks:
        def own(words: str, request: gr.Request) -> str:
            path = storage.session(request.session_hash).new("words.txt")
            path.write_text(words)
            return str(path)

        def paint(words: str) -> Image.Image:
            return Image.fromarray(np.random.default_rng(zlib.crc32(words.encode())).integers(0, 9, (8, 8), np.uint8))

        beginning = storage.session("the page").new("beginning.png")
        Image.new("RGB", (4, 4)).save(beginning)
        with gr.Blocks() as blocks:
            words, number, out = gr.Textbox(), gr.Number(), gr.Textbox()
            file, photo = gr.File(), gr.Image(value=str(beginning), type="filepath", format="png")
            painted, value = gr.Image(format="png"), gr.JSON()
            gr.Button().click(work.draw, number, out, api_name="draw", concurrency_id="draw", concurrency_limit=1)
            gr.Button().click(work.open_file, file, out, api_name="open_file")
            gr.Button().click(work.open_picture, photo, out, api_name="open_picture")
            gr.Button().click(work.fail, words, out, api_name="fail")
            gr.Button().click(paint, words, painted, api_name="paint")
            gr.Button().click(own, words, file, api_name="own")
            gr.Button().click(lambda given: given, value, value, api_name="echo")
            gr.Button().click(lambda given: given, words, out, api_name="quick", queue=False)
        return blocks

    return build


class Visitor(httpx.Client):
    """What a browser does for somebody who visits a page: it keeps a cookie, and has a session.

    Attributes:
        session: the session's hash.
        config: what the page told of itself.
    """

    def __init__(self, server: PageServer) -> None:
        super().__init__(base_url=server.url, timeout=60, trust_env=False)
        self.cookies.set("codiff-visitor", secrets.token_urlsafe(32))
        self.session = secrets.token_hex(6)
        self.config: dict[str, Any] = server._blocks.config

    def number(self, name: str) -> int:
        """Of the function that the API calls so."""
        return next(each["id"] for each in self.config["dependencies"] if each["api_name"] == name)

    def join(self, name: str, *data: Any, **fields: Any) -> httpx.Response:
        """Ask for something."""
        body = {"data": list(data), "fn_index": self.number(name), "session_hash": self.session, **fields}
        return self.post("/gradio_api/queue/join", json=body)

    def ask(self, name: str, *data: Any) -> dict[str, Any]:
        """Ask, and wait for the answer."""
        event = self.join(name, *data).raise_for_status().json()["event_id"]
        with self.listen() as answer:
            for message in told(answer):
                if message["msg"] == "process_completed" and message["event_id"] == event:
                    return {"success": message["success"], **message["output"]}
        raise AssertionError("the stream ended without an answer")

    def listen(self) -> Any:
        """The stream of what is told to the session."""
        return self.stream("GET", "/gradio_api/queue/data", params={"session_hash": self.session})

    def cancel(self, name: str, event: str, session: str | None = None) -> httpx.Response:
        """Ask for an end."""
        body = {"session_hash": session or self.session, "fn_index": self.number(name), "event_id": event}
        return self.post("/gradio_api/cancel", json=body)

    def upload(self, content: bytes, name: str = "a.png") -> httpx.Response:
        return self.post("/gradio_api/upload", files={"files": (name, content)})

    def file(self, path: str) -> httpx.Response:
        return self.get(f"/gradio_api/file={path}")


def told(answer: httpx.Response) -> Iterator[dict[str, Any]]:
    """Messages of a stream, as they come."""
    for line in answer.iter_lines():
        if line.startswith("data:"):
            yield json.loads(line[5:])


def given(path: str, **fields: Any) -> dict[str, Any]:
    """A file as clients of the API name it."""
    return {"path": path, "meta": MADE, **fields}


def picture(side: int = 8, image_format: str = "PNG") -> bytes:
    """A file of noise."""
    stream = io.BytesIO()
    noise = np.random.default_rng(side).integers(0, 255, (side, side, 3), np.uint8)
    Image.fromarray(noise).save(stream, image_format)
    return stream.getvalue()


def raw(server: PageServer, text: str) -> socket.socket:
    """A connection by which something was sent as it is."""
    host, _, port = server.url.removeprefix("http://").rpartition(":")
    line = socket.create_connection((host, int(port)), timeout=60)
    line.sendall(text.encode())
    return line


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Until it is so; busy machines take their time."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds, "it did not come true"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[PageServer]:
    """A server of the small page, with the `LIMITS` of the module that asks for it."""
    with served(small_page(Work()), request.module.LIMITS) as running:
        yield running


@pytest.fixture(scope="module")
def visitor(server: PageServer) -> Iterator[Visitor]:
    """A visitor of that server."""
    with Visitor(server) as browser:
        yield browser
