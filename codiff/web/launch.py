"""From a model to a page that answers, until somebody stops it."""

from __future__ import annotations

import socket
import time
import webbrowser
from dataclasses import dataclass

from codiff.cli.show import tell
from codiff.errors import InputError
from codiff.interruption import postponed
from codiff.web.accounts import Accounts
from codiff.web.environment import prepare
from codiff.web.limits import Limits
from codiff.web.storage import Storage

_LOOK = 0.2  # seconds between looks for a signal


@dataclass(frozen=True)
class Plan:
    """What is to be served, and to whom.

    Attributes:
        model: "demo", a folder, or a hub id.
        device: its name; None for the fastest there is.
        limits: of what visitors ask for.
        names: that the page is reached by, beyond localhost and this machine's own.
        accounts: who may log in; None for everybody, without.
        share: whether to ask Gradio's servers for a public address.
        show: whether to show the page in this machine's browser.
    """

    model: str
    device: str | None
    limits: Limits
    names: tuple[str, ...] = ()
    accounts: Accounts | None = None
    share: bool = False
    show: bool = False


def launch(plan: Plan, listener: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM; then end what runs, and remove all that visitors left.

    Raises:
        InputError: the model cannot be loaded, there is no address to share, or the server stopped by itself.
    """
    storage = Storage(plan.limits)
    try:
        prepare(storage.root)
        _serve(plan, storage, listener)
    finally:
        storage.close()


def _serve(plan: Plan, storage: Storage, listener: socket.socket) -> None:
    tell(f"loading the model {plan.model}")
    # Imported only now: Gradio reads the environment, which had to be prepared before.
    from codiff.web.engine import Engine
    from codiff.web.page import build, look
    from codiff.web.server import PageServer

    engine = Engine.load(plan.model, plan.limits, plan.device)
    try:
        blocks = build(engine, storage)
        server = PageServer(
            blocks,
            storage,
            listener,
            look=look(),
            names=plan.names,
            accounts=plan.accounts,
            stop_session=lambda session: engine.workers.stop(storage.session(session).name),
        )
        with server:
            _tell_addresses(server.url, server.share() if plan.share else None)
            if plan.show:
                webbrowser.open(server.url)
            with postponed() as asked:
                while server.running and not asked.signal:
                    time.sleep(_LOOK)
            if not asked.signal:
                raise InputError("the server stopped by itself; CODIFF_DEBUG=1 shows more")
            tell("stopping; what runs ends within a step")
            engine.close()
    finally:
        engine.close()


def _tell_addresses(local: str, public: str | None) -> None:
    if public is not None:
        tell(f"everybody reaches it by {public}")
    tell(f"open {local} in a browser; Ctrl-C stops it")
