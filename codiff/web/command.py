"""`codiff web`: the page, served until it is stopped."""

from __future__ import annotations

import math
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from codiff.cli.modality_options import DEFAULT_MODEL
from codiff.cli.show import tell
from codiff.errors import InputError
from codiff.model_files import find_model
from codiff.web.accounts import Accounts, add_account
from codiff.web.launch import Plan, launch
from codiff.web.limits import Limits
from codiff.web.listening import is_local, listen

PORT = 7860
_SHORTEST = Limits.run_seconds / 60 + 5  # minutes: a run makes its folder first, and writes into it last
_LONGEST = 7 * 24 * 60.0


def _visitors(help_text: str, *names: str, **kwargs: Any) -> Any:
    return typer.Option(*names, help=help_text, rich_help_panel="Who may come", **kwargs)


def _load(help_text: str) -> Any:
    return typer.Option(help=help_text, rich_help_panel="How much at once")


def web(
    model: Annotated[str, typer.Option(help="demo, a model's folder, or a hub id.", metavar="NAME")] = DEFAULT_MODEL,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, ...; or the fastest there is.", metavar="NAME", show_default=False)
    ] = None,
    port: Annotated[int, typer.Option(help="Where to listen; 0 takes any port that is free.")] = PORT,
    show: Annotated[bool, typer.Option("--open/--no-open", help="Show the page in this machine's browser.")] = False,
    host: Annotated[
        str, _visitors("Address to listen on: 127.0.0.1 for this machine alone, 0.0.0.0 for its networks.")
    ] = "127.0.0.1",
    domain: Annotated[
        list[str] | None,
        _visitors("Name by which others reach the page; may be repeated.", metavar="NAME", show_default=False),
    ] = None,
    share: Annotated[bool, _visitors("A public address, by way of Gradio's servers.", "--share")] = False,
    auth: Annotated[
        Path | None,
        _visitors("Who may log in: names and hashed passwords.", metavar="FILE", show_default=False),
    ] = None,
    add_user: Annotated[
        str | None,
        _visitors("Only ask for a password, and add it to the file.", metavar="NAME", show_default=False),
    ] = None,
    workers: Annotated[int, _load("Runs at once; they share processor and memory.")] = Limits.workers,
    queue: Annotated[int, _load("Runs that may wait; whoever comes then is asked to try later.")] = Limits.queue,
    keep: Annotated[float, _load("Minutes that visitors' files live.")] = Limits.keep_seconds / 60,
) -> None:
    """Open a page to paint, write and see which model decided what.

    It draws faces of captions, masks and sketches, shows and steers who decided where, and edits photos. It runs until
    Ctrl-C, and keeps nothing then.

    Only this machine reaches it, unless --host or --share is given. Whoever reaches it can use it, unless --auth names
    a file of accounts, which --add-user writes.
    """
    if add_user is not None:
        _add_user(auth, add_user)
        return
    limits = _limits(workers, queue, keep)
    accounts = None if auth is None else Accounts.read(auth)
    _require_gradio()
    with listen(host, port) as listener:
        find_model(model)
        _warn(host, share=share, protected=accounts is not None)
        names = () if is_local(host) else (host,)
        launch(Plan(model, device, limits, (*names, *(domain or ())), accounts, share, show), listener)


def _limits(workers: int, queue: int, keep: float) -> Limits:
    for name, value in (("workers", workers), ("queue", queue)):
        if value < 1:
            raise InputError(f"--{name} must be 1 or more, not {value}")
    if not (math.isfinite(keep) and _SHORTEST <= keep <= _LONGEST):
        raise InputError(
            f"--keep must be from {_SHORTEST:.0f} to {_LONGEST:.0f} minutes, not {keep:g}: files have to outlive a "
            f"run, which may take {Limits.run_seconds / 60:.0f}"
        )
    return Limits(workers=workers, queue=queue, keep_seconds=60 * keep)


def _add_user(auth: Path | None, name: str) -> None:
    if auth is None:
        raise InputError("--add-user needs --auth FILE, the file to write into")
    password = typer.prompt("password", hide_input=True, confirmation_prompt=True, err=True)
    replaced = add_account(auth, name, password)
    tell(f"{name!r} has a new password in {auth}" if replaced else f"{name!r} may log in with --auth {auth}")


def _require_gradio() -> None:
    """Raises:
    InputError: the extra `web` is missing.
    """
    if find_spec("gradio") is None:
        raise InputError("this needs the library gradio: pip install 'codiff[web]'")


def _warn(host: str, *, share: bool, protected: bool) -> None:
    if is_local(host) and not share:
        return
    if not protected:
        tell("note: everybody who reaches this page can use it; --auth FILE asks for a password")
    if not is_local(host):
        tell("note: what is sent to and fro is not encrypted; put the page behind a proxy that speaks https")
