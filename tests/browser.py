"""A real browser without a window, for tests of pages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_PATIENCE = 120_000  # milliseconds: machines that test are busy, and nothing is waited for longer than it takes


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The system's Chromium."""
    chromium = next(filter(None, map(shutil.which, _NAMES)), None)
    if chromium is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


@contextmanager
def watched(browser: Any, url: str, *, tolerated: Sequence[str] = (), **context: Any) -> Iterator[Any]:
    """A page in a context of its own; errors of its scripts and requests to elsewhere than `url` fail the test.

    Args:
        tolerated: parts of error messages on the console that fail nothing.
        context: of Playwright, as `viewport`.
    """
    visitor = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})
    visitor.set_default_timeout(_PATIENCE)
    visitor.set_default_navigation_timeout(_PATIENCE)
    page = visitor.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if _is_fault(message, tolerated) else None)
    page.on("request", lambda request: faults.append(request.url) if _is_foreign(request.url, url) else None)
    yield page
    visitor.close()
    assert faults == []


def alert(page: Any, place: str) -> str:
    """What is said in a place of the page, once something is."""
    line = page.locator(f"{place} [role=alert]")
    line.wait_for()
    text: str = line.inner_text()
    return text


def no_alert(page: Any, place: str) -> None:
    """Wait until nothing is said there."""
    page.locator(f"{place} [role=alert]").wait_for(state="detached")


def cut_off(page: Any) -> list[str]:
    """What is seen on a page and reaches beyond its left or right edge, but for what lies in a box that scrolls."""
    found: list[str] = page.evaluate(_CUT_OFF)
    return found


_CUT_OFF = """() => {
  const boxes = function* (node) {
    for (let at = node.parentElement; at && !at.matches(".gradio-container, body"); at = at.parentElement) yield at;
  };
  return [...document.querySelectorAll("body *")].filter((node) => {
    const { left, right, width, height } = node.getBoundingClientRect();
    if (width < 2 || height < 2 || (left > -1 && right < innerWidth + 1) || !node.checkVisibility()) return false;
    return [...boxes(node)].every((box) => !["auto", "scroll"].includes(getComputedStyle(box).overflowX));
  }).map((node) => node.outerHTML.slice(0, 160));
}"""


def _is_fault(message: Any, tolerated: Sequence[str]) -> bool:
    return message.type == "error" and not any(part in message.text for part in tolerated)


def _is_foreign(requested: str, url: str) -> bool:
    return not requested.startswith((url, "data:", "blob:"))
