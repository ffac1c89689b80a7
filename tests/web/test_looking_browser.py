"""In a real browser: what was drawn is looked into, picture by picture and step by step, and survives a reload."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from browser import browser as browser
from browser import watched
from engines import Site, engine
from numpy.typing import NDArray
from PIL import Image
from serving import served

from codiff.png_metadata import METADATA_KEY
from codiff.web.limits import Limits

pytest.importorskip("gradio", reason="gradio is not installed: pip install 'codiff[web]'")

LIMITS = Limits(painter_side=64)
TOLD = "document.querySelector('#generate-progress .told').textContent"
WATCH = """() => {
  [window.seen, window.shifts, window.since] = [[], [], Infinity];
  const ways = document.querySelector("#inside-ways");
  const note = () => {
    const images = [...ways.querySelectorAll("figure img")];
    const drawn = images.filter((image) => image.src.startsWith("data:image/jpeg")).length;
    if (!window.seen.length) requestAnimationFrame(() => requestAnimationFrame((now) => (window.since = now)));
    window.seen.push({ figures: images.length, drawn });
  };
  new MutationObserver(note).observe(ways, { subtree: true, attributes: true, attributeFilter: ["src"] });
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (entry.startTime > window.since) window.shifts.push(entry.value);
  }).observe({ type: "layout-shift" });
}"""
"""Remembers how many places there are for ways, how many show something that is drawn, and what moves from then on."""


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


def compare(page: Any) -> None:
    page.click("#inside-compare")
    page.wait_for_function("/ways of seed/.test(document.querySelector('#inside-progress .told').textContent)")
    page.wait_for_function("document.querySelector('#inside-ways figure img').src.startsWith('data:image/png')")


def opened(png: bytes) -> tuple[dict[str, Any], NDArray[np.int64]]:
    """What a picture says of its origin, and its pixels."""
    with Image.open(io.BytesIO(png)) as picture:
        return json.loads(picture.info[METADATA_KEY]), np.asarray(picture.convert("RGB")).astype(int)


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


def test_the_comparison_is_of_the_picture_that_is_looked_at(page: Any) -> None:
    page.click("#generate-gallery .thumbnail-item >> nth=1")
    made = page.request.get(page.get_attribute("#generate-gallery .media-button img", "src")).body()
    page.click("#generate-inside")
    page.wait_for_selector("#inside-picture label.selected:has-text('seed 1')")
    compare(page)
    assert page.inner_text("#inside-progress .told").startswith("4 ways of seed 1 in ")
    own = base64.b64decode(source(page, "ways").removeprefix("data:image/png;base64,"))
    told, pixels = opened(own)
    assert told["seed"] == 1
    assert told["settings"]["composition"] == "collaborative"
    assert abs(pixels - opened(made)[1]).max() <= 1  # where four are drawn together, they are rounded otherwise
    with page.expect_download() as download:
        page.click("#inside-archive")
    with zipfile.ZipFile(download.value.path()) as archive:
        assert sum(name.endswith("-seed1.png") for name in archive.namelist()) == 4
    page.check("#inside-picture input >> nth=0")
    page.wait_for_selector("#inside-ways .empty", state="visible")
    compare(page)
    assert page.inner_text("#inside-progress .told").startswith("4 ways of seed 0 in ")


def test_a_new_result_puts_the_comparison_of_the_old_one_away(page: Any) -> None:
    page.click("#generate-inside")
    compare(page)
    assert page.is_enabled("#inside-archive")
    maps = source(page, "maps")
    page.click("role=tab[name='Generate']")
    page.fill("#generate-seed input", "7")
    page.press("#generate-seed input", "Tab")
    page.click("#generate-run")
    page.wait_for_function(f"{TOLD} === 'Starting' || /^Step|^Drawing/.test({TOLD})")
    page.wait_for_function(f"/^2 pictures in /.test({TOLD})")
    page.click("#generate-inside")
    changed(page, "maps", maps)
    page.wait_for_selector("#inside-ways .empty", state="visible")
    assert page.locator("#inside-ways figure").count() == 0
    assert page.inner_text("#inside-progress .told") == ""
    assert page.is_disabled("#inside-archive")


def test_each_way_appears_in_its_place_while_it_is_drawn(page: Any) -> None:
    page.click("#generate-inside")
    page.evaluate(WATCH)
    compare(page)
    seen, shifts = page.evaluate("[window.seen, window.shifts]")
    assert {each["figures"] for each in seen} == {4}
    drawn = [each["drawn"] for each in seen][:-1]  # at last they are the files
    assert drawn[0] == 0
    assert drawn == sorted(drawn)
    assert drawn[-1] >= 1
    assert sum(shifts) < 0.01


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
