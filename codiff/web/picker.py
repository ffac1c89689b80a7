"""A button that hands over the content of a file, which is kept no longer than it is read."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr

from codiff.errors import InputError
from codiff.web.limits import Limits
from codiff.web.painter import asset
from codiff.web.storage import SessionFolder
from codiff.web.uploads import ANY, check_upload

_TEXT = 4 / 3  # characters of base64 for a byte
_ENVELOPE = 2**16  # characters of a request around a file


def file_picker(
    text: str,
    hint: str,
    endings: Sequence[str],
    limits: Limits,
    *,
    value: Any = None,
    named: bool = False,
    **settings: Any,
) -> gr.HTML:
    """A button; its event `upload` says that a file was picked.

    The file comes with the request, not by Gradio's upload, so that what is wrong with it can be said beside it.

    Args:
        text: on the button.
        hint: shown when a pointer rests on it.
        endings: of files that are offered, with their dots.
        limits: `upload_bytes` counts here.
        value: a file to begin with, {"name": ..., "data": base64}.
        named: whether the button shows the file's name.
        settings: of `gr.HTML`.
    """
    return gr.HTML(
        value,
        html_template=asset("picker.html"),
        css_template=asset("picker.css"),
        js_on_load=asset("picker.js"),
        apply_default_css=False,
        text=text,
        hint=hint,
        accept=",".join(endings),
        most=most_picked(limits),
        named=named,
        **settings,
    )


def most_picked(limits: Limits) -> int:
    """Bytes of a file that can be picked: within a request it becomes longer than it is, as text."""
    return int((limits.upload_bytes - _ENVELOPE) / _TEXT)


def picked_content(value: Any, limits: Limits) -> tuple[str, bytes]:
    """Name and content of what a picker holds.

    Raises:
        InputError: it is no file, too large a one, or one that the browser could not read.
    """
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise InputError("no file came with this; pick one")
    size, most = value.get("size"), most_picked(limits)
    if isinstance(size, int) and size > most:
        raise InputError(
            f"this file has {size / 2**20:.1f} MiB, and at most {most / 2**20:.1f} MiB can be picked here: "
            "make it smaller first"
        )
    if not isinstance(value.get("data"), str):
        raise InputError("your browser could not read this file; pick it again")
    if len(value["data"]) > limits.upload_bytes:
        raise InputError(f"this file is too large; at most {most / 2**20:.1f} MiB can be picked here")
    try:
        return Path(value["name"]).name[:100] or "file", base64.b64decode(value["data"], validate=True)
    except binascii.Error as error:
        raise InputError("this file arrived damaged; pick it again") from error


@contextmanager
def picked_file(value: Any, folder: SessionFolder, limits: Limits, wanted: str = ANY) -> Iterator[Path]:
    """What a picker holds as a file of the session, for as long as it is read.

    Args:
        value: of the picker.
        folder: where it lies meanwhile.
        limits: of its size.
        wanted: what to upload instead of what is no such file, in words.

    Raises:
        InputError: it is no file, too large, or of no kind that is known here.
    """
    name, content = picked_content(value, limits)
    path = folder.new(name)
    try:
        path.write_bytes(content)
        check_upload(path, limits, wanted)
        yield path
    finally:
        path.unlink(missing_ok=True)
        path.parent.rmdir()
