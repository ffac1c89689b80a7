"""The folder of an evaluation: one set of settings for all that lies there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codiff.errors import InputError

SETTINGS = "settings.json"


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
        raise InputError(f"{folder} was made with other settings ({differences}); choose another folder")
