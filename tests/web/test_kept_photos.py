"""Where the photos lie that visitors pick to be edited."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from engines import engine, until
from serving import picture
from small_disk import files_of_at_most

from codiff.web.edit_tab import EditTab, build_edit_tab
from codiff.web.limits import Limits
from codiff.web.storage import Storage

VISIT = gr.Request(session_hash="abc")


@pytest.fixture
def storage() -> Iterator[Storage]:
    opened = Storage(Limits(stored_bytes=20_000))
    yield opened
    opened.close()


@pytest.fixture
def tab(storage: Storage) -> Iterator[EditTab]:
    with closing(engine()) as drawing:

        async def made() -> EditTab:
            """Within a loop, as Gradio opens one where there is none, and closes none."""
            with gr.Blocks(analytics_enabled=False):
                return build_edit_tab(drawing, storage)

        yield asyncio.run(made())


def picked(tab: EditTab, content: bytes) -> dict[Any, Any]:
    """Updates after a file was picked."""
    file = {"name": "me.png", "size": len(content), "data": base64.b64encode(content).decode()}
    fresh = {state: state.value for state in (tab._painted, tab._awaited)}
    return dict(tab._opened({tab._file: file, **fresh}, VISIT))


def kept(storage: Storage) -> list[bytes]:
    """Photos in the visit's folder."""
    return [path.read_bytes() for path in storage.session("abc").path.glob("*/photo")]


def test_a_visit_keeps_the_last_photo_alone(tab: EditTab, storage: Storage) -> None:
    for side in (32, 40, 48):
        updates = picked(tab, picture(side))
        assert Path(updates[tab._photo]).read_bytes() == picture(side)
        assert kept(storage) == [picture(side)]


def test_a_full_disk_is_told_beside_the_photo(tab: EditTab, storage: Storage) -> None:
    picked(tab, picture(32))
    with files_of_at_most(100):
        updates = picked(tab, picture(40))
    assert "The server cannot store your photo just now; try again later" in str(updates)
    assert tab._photo not in updates
    assert kept(storage) == [picture(32)]


def test_so_is_a_full_server(tab: EditTab, storage: Storage) -> None:
    storage.session("other").new("photo.png").write_bytes(bytes(20_001))
    until(lambda: storage.is_full)
    updates = picked(tab, picture(32))
    assert "The server has no room for more files just now; try again later" in str(updates)
    assert kept(storage) == []
