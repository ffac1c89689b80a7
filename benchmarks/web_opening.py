"""How soon a new visitor of the page has a picture and an edit of it, and how often the picture in the making changes:
`python -m benchmarks.web_opening`.

Starts `codiff web` as a process of its own, opens the page in the system's Chromium as --visits new visitors do, one
after another, and presses Generate as soon as the page says that it is ready, with all as the page begins. Then
downloads the picture, picks it in the Edit tab and edits it towards a caption and the mask that was read from it: with
all as the tab begins, by Imagic, which learns it first, and by Imagic again towards another caption. Prints seconds,
median and worst. The browser shares the processor with the server.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from typing import Any

import gradio

from benchmarks.machine import machine
from benchmarks.web_load import served
from benchmarks.web_pictures import DESK, TOLD, browser, opened

NOTE_PREVIEWS = """() => {
  window.previews = [];
  const draw = CanvasRenderingContext2D.prototype.drawImage;
  CanvasRenderingContext2D.prototype.drawImage = function (...given) {
    if (this.canvas.closest("#generate-preview")) window.previews.push(performance.now() / 1000);
    return draw.apply(this, given);
  };
}"""
PICTURE = f"/picture/.test({TOLD}) && document.querySelector('#generate-gallery img')?.complete"
EDITED = "document.querySelector('#edit-progress .told').textContent"
CAPTIONS = ("This man has a long beard. He is in his sixties.", "This man has a long beard. He is young.")


def visit(chromium: Any, url: str) -> dict[str, float]:
    """Seconds of one visit by what they are of."""
    begun = time.perf_counter()
    page = opened(chromium, url, DESK, "light")
    ready = time.perf_counter()
    page.evaluate(NOTE_PREVIEWS)
    pressed = page.evaluate("performance.now() / 1000")
    page.click("#generate-run")
    page.wait_for_function(PICTURE)
    done = time.perf_counter()
    shown = [pressed, *page.evaluate("[...new Set(window.previews), performance.now() / 1000]")]
    with page.expect_download() as download:
        page.click("#generate-picture")
    page.click("[data-tab-id=edit]")
    page.set_input_files("#edit-file input[type=file]", download.value.path())
    page.locator("#edit-eyes .photo img[src^=data]").wait_for()
    first = edit(page, CAPTIONS[0])
    both = time.perf_counter() - begun
    page.check("#edit-editor input[value=imagic]")
    learned, again = (edit(page, caption) for caption in CAPTIONS)
    page.context.close()
    return {
        "from opening the page until it is ready": ready - begun,
        "from opening the page to the first preview": ready - begun + shown[1] - pressed,
        "from opening the page to the picture": done - begun,
        "longest wait between pictures in the making": max(
            later - earlier for earlier, later in itertools.pairwise(shown)
        ),
        "an edit of it": first,
        "from opening the page to that edit": both,
        "an edit by Imagic, which learns the picture first": learned,
        "another by Imagic, of what it learned": again,
    }


def edit(page: Any, caption: str) -> float:
    """Seconds of one edit."""
    page.fill("#edit-text-value textarea", caption)
    page.evaluate(f"{EDITED} = ''")
    begun = time.perf_counter()
    page.click("#edit-run")
    page.wait_for_function(f"/ s in all\\.$/.test({EDITED})")
    return time.perf_counter() - begun


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo", help="'demo', a folder or a hub id")
    parser.add_argument("--visits", type=int, default=5)
    arguments = parser.parse_args()
    arguments.workers, arguments.clients = 1, 1
    begun = time.perf_counter()
    with served(arguments) as url, browser() as chromium:
        started = time.perf_counter() - begun
        visits = [visit(chromium, url) for _ in range(arguments.visits)]
    versions = f"gradio {gradio.__version__}, Chromium without a window"
    print(f"`{arguments.model}`, {arguments.visits} visits, {machine()}, {versions}\n")
    print("| seconds | median | worst |\n|---|---|---|")
    print(f"| from the command until the page is served | {started:.1f} | |")
    for name in visits[0]:
        values = [each[name] for each in visits]
        print(f"| {name} | {statistics.median(values):.1f} | {max(values):.1f} |")


if __name__ == "__main__":
    main()
