"""See inside: figures and comparisons are those of the picture that is looked at, or there are none."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from engines import STEPS, engine, request, result_of, until

gr = pytest.importorskip("gradio", reason="gradio is not installed: pip install 'codiff[web]'")

from codiff.web.engine import Engine, Result  # noqa: E402
from codiff.web.generate_tab import GenerateTab  # noqa: E402
from codiff.web.inside_tab import InsideTab  # noqa: E402
from codiff.web.storage import Storage  # noqa: E402

VISIT: Any = SimpleNamespace(session_hash="visit")  # what a tab asks of a request


class Opened(NamedTuple):
    tab: InsideTab
    engine: Engine
    result: Result


@pytest.fixture(scope="module")
def opened() -> Iterator[Opened]:
    """The tab, and a result of two pictures."""
    drawing, storage = engine(), Storage()

    async def made() -> InsideTab:
        """Within a loop, as Gradio opens one where there is none, and closes none."""
        with gr.Blocks() as page:
            return InsideTab(drawing, storage, GenerateTab(drawing, storage, page))

    tab = asyncio.run(made())
    checked = drawing.check(request(count=2))
    yield Opened(tab, drawing, result_of(drawing.draw(checked, storage.session("visit"))))
    drawing.close()
    storage.close()


def test_without_a_result_there_are_no_figures(opened: Opened) -> None:
    tab = opened.tab
    figures = {tab._overlays, tab._maps, tab._curve, tab._conflict}
    assert dict(tab._looked(None, 0, 0)) == {figure: [] for figure in figures}
    assert all(dict(tab._looked(opened.result, STEPS, 1))[figure] for figure in figures)


def test_a_run_that_brought_nothing_changes_nothing(opened: Opened) -> None:
    tab = opened.tab
    first = tab._opened(opened.result, None, VISIT)
    assert (first[tab._ways], first[tab._archive]["value"], first[tab._progress]["text"]) == ([], None, "")
    assert set(tab._opened(opened.result, first[tab._seen], VISIT)) == {tab._step}


def test_a_comparison_ends_when_another_picture_is_looked_at(opened: Opened) -> None:
    tab = opened.tab
    comparing = tab._compared(opened.result, 1, VISIT)
    next(comparing)
    assert tab._ways not in tab._followed(opened.result, 0, 1, 1, VISIT)
    next(comparing)
    assert tab._followed(opened.result, 0, 0, 1, VISIT)[tab._ways] == []
    last = list(comparing)[-1]
    assert (last[tab._ways], last[tab._progress]["text"]) == ([], "Stopped")
    until(lambda: opened.engine.workers.working == 0)
