"""Photograph the page for README and docs, in the system's Chromium: `python -m benchmarks.web_pictures`. Look at them
before committing them."""

from __future__ import annotations

import argparse
import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.pictures import save
from codiff.errors import InputError
from codiff.figures import beside, on_paper
from codiff.web.environment import prepare
from codiff.web.listening import listen
from codiff.web.storage import Storage

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
DESK, PHONE = (1600, 1000), (360, 780)
PATIENCE = 300_000  # milliseconds
LEVELS = 64
TOLD = "document.querySelector('#generate-progress .told')?.textContent"


@contextmanager
def served(model: str) -> Iterator[str]:
    """The address of the page for a model."""
    storage = Storage()
    try:
        prepare(storage.root)
        from codiff.web.engine import Engine
        from codiff.web.page import build, look
        from codiff.web.server import PageServer

        engine = Engine.load(model, storage.limits)
        with (
            listen("127.0.0.1", 0) as listener,
            PageServer(build(engine, storage), storage, listener, look=look()) as server,
        ):
            yield server.url
        engine.close()
    finally:
        storage.close()


@contextmanager
def browser() -> Iterator[Any]:
    """Chromium, without a window.

    Raises:
        InputError: it is not installed.
    """
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, BROWSERS)), None)
    if chromium is None:
        raise InputError("Chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


def opened(chromium: Any, url: str, size: tuple[int, int], scheme: str) -> Any:
    """The page as a new visitor sees it."""
    context = chromium.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto(url)
    page.wait_for_function(f"{TOLD} === 'Ready'")
    return page


def generate(page: Any, example: int, count: int) -> None:
    """Pictures of an example's conditions, all three of them."""
    page.locator("#generate-examples button").nth(example).click()
    page.wait_for_function(f"{example} === 0 || document.querySelector('#generate-seed input').value !== '0'")
    page.check("#generate-sketch .switch input")
    page.fill("#generate-count input[type=number]", str(count))
    page.press("#generate-count input[type=number]", "Tab")
    page.click("#generate-run")


def finished(page: Any) -> None:
    """Wait for the pictures."""
    page.wait_for_function(f"/picture/.test({TOLD})")
    page.wait_for_selector("#generate-gallery img")
    page.wait_for_timeout(600)  # the thumbnails come a moment later
    page.wait_for_load_state("load")
    page.evaluate("document.activeElement.blur()")


def photograph(page: Any, part: str | None = None) -> Image.Image:
    """What is on the screen, or a part of the page, once pictures are decoded and nothing moves any more."""
    page.evaluate("Promise.all([...document.images].map((image) => image.decode().catch(() => null)))")
    seen = page if part is None else page.locator(part)
    return Image.open(io.BytesIO(seen.screenshot(animations="disabled"))).convert("RGB")


def compact(picture: Image.Image) -> Image.Image:
    """The same with fewer levels a channel: nobody sees it, and it takes a third less."""
    steps = LEVELS - 1
    levels = [round(round(level * steps / 255) * 255 / steps) for level in range(256)]
    return picture.point(levels * len(picture.getbands()))


def inside(page: Any, step: int) -> None:
    """Look into the result at one step."""
    page.evaluate("document.querySelector('#generate-inside').scrollIntoView({ block: 'center' })")
    page.click("#generate-inside")
    page.wait_for_selector("#inside-overlays .grid img")
    page.fill("#inside-step input[type=number]", str(step))
    page.press("#inside-step input[type=number]", "Tab")
    page.wait_for_function(f"/^step {step} /.test(document.querySelector('#inside-curve figcaption').textContent)")
    page.evaluate("document.activeElement.blur()")


def steer(page: Any) -> None:
    """Raise one model's influence where a stroke of the brush goes."""
    page.click("#generate-steer > button")
    page.get_by_role("tab", name="Text").click()
    sheet = page.locator("#generate-steer-text-painter .sheet")
    sheet.scroll_into_view_if_needed()
    box = sheet.bounding_box()
    place = [
        (box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in ((0.3, 0.75), (0.5, 0.85), (0.7, 0.75))
    ]
    page.mouse.move(*place[0])
    page.mouse.down()
    for each in place[1:]:
        page.mouse.move(*each, steps=8)
    page.mouse.up()


def phones(chromium: Any, url: str) -> Image.Image:
    """Three screens of a phone: painting, drawing, looking inside."""
    page = opened(chromium, url, PHONE, "dark")
    page.locator("#generate-mask .tools").scroll_into_view_if_needed()
    page.evaluate("document.querySelector('#generate-mask').scrollIntoView()")
    screens = [photograph(page)]
    generate(page, 3, 4)
    page.wait_for_function(f"/^Step (1[0-9]|[5-9]) /.test({TOLD})")
    page.evaluate("document.querySelector('#generate-progress').scrollIntoView({ block: 'center' })")
    screens.append(photograph(page))
    finished(page)
    inside(page, 15)
    page.evaluate("document.querySelector('#inside-step').scrollIntoView()")
    screens.append(photograph(page))
    return on_paper(beside(screens, gap=24))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    options = parser.parse_args()
    with served(options.model) as url, browser() as chromium:
        page = opened(chromium, url, DESK, "light")
        generate(page, 3, 4)
        finished(page)
        pictures = {"web-generate": photograph(page)}
        inside(page, 15)
        pictures["web-inside"] = photograph(page)
        page.get_by_role("tab", name="Generate").click()
        steer(page)
        pictures["web-steer"] = photograph(page, "#generate-steer")
        pictures["web-phone"] = phones(chromium, url)
    for name, picture in pictures.items():
        save(compact(picture), options.out / f"{name}.png")


if __name__ == "__main__":
    main()
