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
from codiff.web.uploads import check_upload

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
        most=int((limits.upload_bytes - _ENVELOPE) / _TEXT),
        named=named,
        **settings,
    )


def picked_content(value: Any, limits: Limits) -> tuple[str, bytes]:
    """Name and content of what a picker holds.

    Raises:
        InputError: it is no file, or too large a one.
    """
    if not isinstance(value, dict) or not all(isinstance(value.get(key), str) for key in ("name", "data")):
        raise InputError("no file came with this; pick one")
    if len(value["data"]) > limits.upload_bytes:
        raise InputError(f"this file is too large; at most {limits.upload_bytes / _TEXT / 2**20:.0f} MiB can be taken")
    try:
        return Path(value["name"]).name[:100] or "file", base64.b64decode(value["data"], validate=True)
    except binascii.Error as error:
        raise InputError("this file arrived damaged; pick it again") from error


@contextmanager
def picked_file(value: Any, folder: SessionFolder, limits: Limits) -> Iterator[Path]:
    """What a picker holds as a file of the session, for as long as it is read.

    Raises:
        InputError: it is no file, too large, or of no kind that is known here.
    """
    name, content = picked_content(value, limits)
    path = folder.new(name)
    try:
        path.write_bytes(content)
        check_upload(path, limits)
        yield path
    finally:
        path.unlink(missing_ok=True)
        path.parent.rmdir()
