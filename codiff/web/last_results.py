"""What each visitor drew last, so that a page that is loaded again shows it for as long as its files are kept."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from codiff.web.limits import Limits
from codiff.web.privacy import COOKIE
from codiff.web.runs import Result
from codiff.web.visitors import Visitors

_MOST = 50  # results: each holds its maps in memory


class LastResults:
    """One result a visitor, known by his cookie; a client without one is not remembered.

    Args:
        limits: `keep_seconds` counts here.
    """

    def __init__(self, limits: Limits) -> None:
        self._seconds = limits.keep_seconds
        self._lock = threading.Lock()
        self._results: OrderedDict[str, tuple[float, Result]] = OrderedDict()

    def keep(self, request: gr.Request, result: Result) -> None:
        """Remember this instead of what was before."""
        visitor = _visitor(request)
        if visitor is None:
            return
        with self._lock:
            self._results.pop(visitor, None)
            self._results[visitor] = (time.monotonic(), result)
            self._drop_old()

    def of(self, request: gr.Request) -> Result | None:
        """What this visitor drew last; None where that is nothing, or files of it are gone."""
        with self._lock:
            self._drop_old()
            _, result = self._results.get(_visitor(request) or "", (0.0, None))
        if result is None or not all(path.is_file() for path in _files(result)):
            return None
        return result

    def _drop_old(self) -> None:
        """The oldest, which are the first, as long as they are too old or too many."""
        oldest = time.monotonic() - self._seconds
        while self._results and (len(self._results) > _MOST or next(iter(self._results.values()))[0] < oldest):
            self._results.popitem(last=False)


def for_browser(record: Mapping[str, Any], request: gr.Request) -> str:
    """What a browser keeps of a record, and of which login; as text, since JavaScript rounds large seeds."""
    return json.dumps({"of": _login(request), "record": record})


def of_browser(kept: object, request: gr.Request) -> dict[str, Any] | None:
    """The record that `for_browser` gave; None where there is none, or it belongs to another login."""
    if getattr(request, "username", None) is not None and _visitor(request) is None:
        return None
    try:
        told = json.loads(str(kept))
        return dict(told["record"]) if told["of"] == _login(request) else None
    except (ValueError, TypeError, KeyError):
        return None


def _login(request: gr.Request) -> str | None:
    """Names a login, after which a visitor is a new one, without telling his secret; None where nobody logs in."""
    visitor = _visitor(request) if getattr(request, "username", None) is not None else None
    return visitor and hashlib.sha256(visitor.encode()).hexdigest()[:16]


def _visitor(request: gr.Request) -> str | None:
    return Visitors.known_token(request.cookies.get(COOKIE))


def _files(result: Result) -> list[Path]:
    return [*result.paths, result.record_path, result.archive_path]
