"""Files in the JSON that pages and programs exchange with Gradio."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from codiff.errors import InputError

MOST_VALUES = 200_000
"""A small JSON text can become a large structure in memory; nobody has use for more values than these."""

_FILE = "gradio.FileData"


def read_json(body: bytes) -> Any:
    """The value of a JSON text.

    Raises:
        InputError: it is none, or has too many values or too deep ones.
    """
    if sum(map(body.count, (b",", b"[", b"{"))) > MOST_VALUES:
        raise InputError("this JSON has too many values")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InputError("the request is no JSON, or too deep") from error


def disarm(value: Any, may_read: Callable[[str], bool], may_send: Callable[[str], bool]) -> None:
    """Change what a client sent so that Gradio opens nothing but files that are the client's own.

    Gradio opens what it finds as "path" of a file, and decodes or fetches "url". Addresses are always taken out: what
    belongs to this server has a path as well.

    Args:
        value: JSON; changed in place.
        may_read: whether a path is a file of the client's.
        may_send: whether a text names no other's files: none can be sent to and fro until it looks like one's own.

    Raises:
        InputError: a path is not the client's.
    """
    for node in _nodes(value):
        if isinstance(node, dict):
            if node.get("url") is not None:
                node["url"] = None
            if node.get("is_stream"):
                node["is_stream"] = False
        path = node.get("path") if isinstance(node, dict) else None
        foreign = isinstance(path, str) and not may_read(path)
        if foreign or (isinstance(node, str) and not may_send(node)):
            raise InputError("this file is not one of yours, or has expired; upload it again")


def told_files(value: Any) -> Iterator[str]:
    """Paths of the files in what Gradio answers, whole or as changes of an answer before: [action, keys, value]."""
    for node in _nodes(value):
        if isinstance(node, dict):
            path, meta = node.get("path"), node.get("meta")
            if isinstance(path, str) and isinstance(meta, dict) and meta.get("_type") == _FILE:
                yield path
        elif isinstance(node, list) and len(node) == 3 and node[0] in ("add", "replace"):
            keys, path = node[1:]
            if isinstance(keys, list) and keys[-1:] == ["path"] and isinstance(path, str):
                yield path


def _nodes(value: Any) -> Iterator[Any]:
    """A JSON value and all in it, keys of objects included."""
    todo = [value]
    while todo:
        node = todo.pop()
        yield node
        if isinstance(node, dict):
            todo.extend(node)
            todo.extend(node.values())
        elif isinstance(node, list):
            todo.extend(node)
