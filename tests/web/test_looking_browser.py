"""In a real browser: what was drawn is looked into, picture by picture and step by step, and survives a reload."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from browser import browser as browser
from browser import watched
from engines import Site, engine
from serving import served

from codiff.web.limits import Limits

pytest.importorskip("gradio", reason="gradio is not installed: pip install 'codiff[web]'")

LIMITS = Limits(painter_side=64)
TOLD = "document.querySelector('#generate-progress .told').textContent"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    from codiff.web.page import build, look

    drawing = engine(LIMITS)
    with served(lambda storage: build(drawing, storage), LIMITS, look=look()) as server:
        yield Site(server.url, drawing)
    drawing.close()


@pytest.fixture
def page(site: Site, browser: Any) -> Iterator[Any]:
    """With two pictures."""
    with watched(browser, site.url, tolerated=("AbortError", "Connection errored out")) as opened:
        opened.goto(site.url)
        opened.wait_for_selector("#generate-mask .sheet")
        opened.wait_for_function(f"{TOLD} === 'Ready'")
        opened.fill("#generate-count input[type=number]", "2")
        opened.press("#generate-count input[type=number]", "Tab")
        opened.click("#generate-run")
        opened.wait_for_function(f"/^2 pictures in /.test({TOLD})")
        yield opened


def source(page: Any, figures: str) -> str:
    found: str = page.locator(f"#inside-{figures} figure img").first.get_attribute("src")
    return found


def changed(page: Any, figures: str, before: str) -> str:
    page.wait_for_function(
        "([place, before]) => document.querySelector(place).getAttribute('src') !== before",
        arg=[f"#inside-{figures} figure img", before],
    )
    return source(page, figures)


def test_the_picture_that_was_chosen_is_the_one_that_is_looked_into(page: Any) -> None:
    page.click("#generate-gallery .thumbnail-item >> nth=1")
    page.click("#generate-inside")
    page.wait_for_selector("#inside-picture label.selected:has-text('seed 1')")
    page.wait_for_selector("#inside-overlays figure img")
    second = source(page, "overlays")
    page.check("#inside-picture input >> nth=0")
    first = changed(page, "overlays", second)
    page.click("role=tab[name='Generate']")
    page.click("#generate-gallery .thumbnail-item >> nth=0")
    page.click("#generate-gallery .thumbnail-item >> nth=1")
    page.click("#generate-inside")
    assert changed(page, "overlays", first) == second


def test_a_step_beyond_the_last_is_the_last(page: Any) -> None:
    page.click("#generate-inside")
    before = source(page, "curve")
    field = "#inside-step input[type=number]"
    page.fill(field, "999")
    page.press(field, "Tab")
    changed(page, "curve", before)
    page.wait_for_function("/^step 20 of 20/.test(document.querySelector('#inside-curve figcaption').textContent)")
    assert page.input_value(field) == "20"


def test_figures_are_enlarged_and_put_away_by_the_keyboard(page: Any) -> None:
    page.click("#generate-inside")
    page.focus("#inside-maps .look")
    page.keyboard.press("Enter")
    page.wait_for_selector("#inside-maps dialog[open] img")
    page.keyboard.press("Escape")
    page.wait_for_selector("#inside-maps dialog", state="hidden")


def test_a_reload_brings_back_pictures_and_their_inside(page: Any) -> None:
    shown = page.locator("#generate-gallery img").first.get_attribute("src")
    page.reload()
    page.wait_for_selector("#generate-progress .told")
    page.wait_for_function(f"{TOLD} === 'Ready'")
    page.wait_for_selector("#generate-gallery img")
    assert page.locator("#generate-gallery img").first.get_attribute("src") == shown
    assert page.is_enabled("#generate-archive")
    page.click("#generate-inside")
    page.wait_for_selector("#inside-maps figure img")
