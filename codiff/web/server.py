"""The page on the network: Gradio behind doors of our own, started and stopped cleanly."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gradio as gr
import uvicorn
from fastapi import FastAPI
from gradio import networking, tunneling
from starlette.types import ASGIApp

from codiff.errors import InputError
from codiff.web.accounts import Accounts
from codiff.web.attendance import PATIENCE, Attendance
from codiff.web.gate import Gate
from codiff.web.hosts import Hosts
from codiff.web.limits import Limits
from codiff.web.listening import address_of
from codiff.web.log import tell_in_one_line
from codiff.web.login import Checker, Login
from codiff.web.payloads import told_files
from codiff.web.privacy import Privacy
from codiff.web.storage import Storage
from codiff.web.visitors import Visitors

_MOST_SESSIONS = 200  # of which Gradio remembers inputs and states
_MOST_CONNECTIONS = 1000
_STARTING = 60.0  # seconds
_STOPPING = 3  # seconds that open connections get
_OFTEN = 60.0  # seconds between looks for files that are too old
_SPACES = "https://huggingface.co https://*.hf.space"


class PageServer:
    """Serves a page from threads of its own, between `start` and `stop`; a context manager of the two.

    Args:
        blocks: the page; its queue is set here.
        storage: where files of visitors lie, Gradio's own among them, see `environment.prepare`; its limits count.
        listener: see `listening.listen`.
        look: what `gradio.mount_gradio_app` takes of a page's appearance: theme, css, js, head and their paths.
        names: that the page is reached by, beyond localhost and this machine's own.
        accounts: who may log in; None for everybody, without.
        stop_session: called with the hash of a session that cancelled what it asked for, or went away before it was
            done; Gradio alone does not end everything then.
        patience: seconds within which a client has to listen to what it asked for.

    Attributes:
        url: the address on this machine.
    """

    def __init__(
        self,
        blocks: gr.Blocks,
        storage: Storage,
        listener: socket.socket,
        *,
        look: Mapping[str, Any] | None = None,
        names: Iterable[str] = (),
        accounts: Accounts | None = None,
        stop_session: Callable[[str], None] = lambda _session: None,
        patience: float = PATIENCE,
    ) -> None:
        self.url = address_of(listener)
        self._blocks, self._storage, self._limits, self._listener = blocks, storage, storage.limits, listener
        self._hosts = Hosts(names)
        app = _mounted(blocks, storage.limits, look or {}, accounts)
        self._visitors = Visitors(storage.root, told_files(blocks.config))
        self._stop_session = stop_session
        self._server = uvicorn.Server(_settings(self._guarded(app, accounts is not None, patience)))
        self._thread = threading.Thread(target=self._serve, name="codiff-server", daemon=True)
        self._keeper = threading.Thread(target=self._keep, name="codiff-keeper", daemon=True)
        self._over = threading.Event()
        self._failure: BaseException | None = None
        self._tunnels: list[Any] = []

    def __enter__(self) -> PageServer:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether it answers."""
        return self._server.started and self._thread.is_alive()

    def start(self) -> None:
        """Return as soon as it answers.

        Raises:
            InputError: it did not start.
        """
        self._thread.start()
        self._keeper.start()
        begun = time.monotonic()
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() - begun > _STARTING:
                self.stop()
                raise InputError(f"the server did not start: {self._failure or 'it took too long'}")
            time.sleep(0.01)

    def share(self) -> str:
        """A public address that leads here until the server stops, by way of Gradio's servers.

        Raises:
            InputError: there is none to be had.
        """
        host, port = self._listener.getsockname()[:2]
        before = list(tunneling.CURRENT_TUNNELS)
        try:
            address: str = networking.setup_tunnel(host, port, secrets.token_urlsafe(32), None, None)
        except Exception as error:  # of the network, or of the program that is fetched for it
            raise InputError(f"there is no address to share: {error}; try again later, or leave out --share") from error
        self._tunnels = [tunnel for tunnel in tunneling.CURRENT_TUNNELS if tunnel not in before]
        self._hosts.add(urlsplit(address).hostname or "")
        return address

    def stop(self) -> None:
        """End the queue, close all connections, and listen no more."""
        self._over.set()
        for tunnel in self._tunnels:
            tunnel.kill()
        self._blocks.close(verbose=False)
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(_STARTING)
        self._listener.close()

    def _serve(self) -> None:
        try:
            self._server.run(sockets=[self._listener])
        except (Exception, SystemExit) as error:  # told by `start`
            self._failure = error

    def _keep(self) -> None:
        """Remove files that are too old, but none that the page begins with."""
        while not self._over.wait(min(_OFTEN, self._limits.keep_seconds / 4)):
            for path in self._visitors.public:
                _touch(path, self._storage.root)
            self._storage.expire()
            self._visitors.prune()

    def _guarded(self, app: FastAPI, login: bool, patience: float) -> ASGIApp:
        """The page's app behind all that stands before it."""
        blocks, queue = self._blocks, self._blocks._queue

        async def leave(session: str) -> None:
            await queue.clean_events(session_hash=session)
            self._stop_session(session)

        framed = blocks.space_id is not None
        functions = any(getattr(block, "server_fns", None) for block in blocks.blocks.values())
        attendance = Attendance(leave, patience)
        inner: ASGIApp = Privacy(
            app,
            self._visitors,
            attendance,
            self._limits,
            stop=self._stop_session,
            crowded=lambda: self._storage.is_full,
            framed=framed,
        )
        inner = Login(inner, blocks.app) if login else inner
        return Gate(inner, self._hosts, self._limits.upload_bytes, _SPACES if framed else "", functions)


def _mounted(blocks: gr.Blocks, limits: Limits, look: Mapping[str, Any], accounts: Accounts | None) -> FastAPI:
    """An app that shows the page, with all of Gradio's own that is not needed switched off."""
    tell_in_one_line()
    blocks.queue(api_open=False, max_size=limits.queue)
    blocks.state_session_capacity = _MOST_SESSIONS
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        footer_links=["api"],
        auth=None if accounts is None else Checker(accounts).admit,
        root_path=os.environ.get("GRADIO_ROOT_PATH"),
        allowed_paths=[],
        blocked_paths=[],
        show_error=False,
        max_file_size=limits.upload_bytes,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        **look,
    )
    blocks.app = blocks.server_app = app.routes[-1].app  # type: ignore[attr-defined]  # what launch() sets
    blocks.has_launched = True  # without, Gradio would not check paths itself
    return app


def _settings(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        ws="none",
        server_header=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=_STOPPING,
    )


def _touch(path: Path, root: Path) -> None:
    """Make a file, and the folders below the root that it lies in, as young as new ones."""
    for place in (path, *path.parents):
        if place.is_relative_to(root) and place != root and place.exists():
            os.utime(place)
