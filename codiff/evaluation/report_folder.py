"""The folder of an evaluation: one writer at a time, and one set of settings for all that lies there."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from codiff.errors import InputError
from codiff.files import locked, recover, write_json

SETTINGS = "settings.json"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Only one evaluation writes into a folder; what a killed one left half done there is put in order.

    Raises:
        InputError: another process writes there, or nothing can be written there.
    """
    owner = folder / "owner.json"

    def busy() -> str:
        return f"{folder} is in use by {_owner(owner)}; wait for it or choose another folder"

    with locked(folder, folder / ".lock", busy):
        try:
            for home in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
                recover(home)
            write_json(owner, {"pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")})
            yield
        finally:
            owner.unlink(missing_ok=True)


def _owner(path: Path) -> str:
    try:
        known = json.loads(path.read_text())
        return f"process {known['pid']} since {known['since']}"
    except (OSError, ValueError, KeyError, TypeError):  # it is starting or ending just now
        return "another process"


def check_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Refuse a folder in which something else was measured; changes nothing.

    Raises:
        InputError: names what differs.
    """
    record = folder / SETTINGS
    if not record.exists():
        return
    try:
        before = json.loads(record.read_text(encoding="utf-8"))
        changed = [name for name in {**before, **settings} if before.get(name) != settings.get(name)]
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{record} cannot be read ({error}); choose another folder") from error
    if changed:
        differences = "; ".join(f"{name}: {before.get(name)} -> {settings.get(name)}" for name in changed)
        raise InputError(f"{folder} holds an evaluation with other settings ({differences}); choose another folder")
