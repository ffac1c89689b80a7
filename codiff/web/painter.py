"""The painter: a canvas of numbered colours in the page, for masks, sketches and steering alike."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import gradio as gr

from codiff.modalities.mask import MASK_CLASSES, MASK_PALETTE
from codiff.web.painting import AS_LEARNED, GREYS, INK, LOWERED, PAPER, RAISED, STEERING, Colour

_SIDE = 256  # pixels of a new canvas; one that is loaded keeps its own


@dataclass(frozen=True)
class Brush:
    """One colour of the palette.

    Attributes:
        name: what it stands for.
        value: what a pixel painted with it holds.
        chosen: whether it is the one to begin with.
    """

    name: str
    value: int
    chosen: bool = False


def painter(
    title: str,
    colours: Sequence[Colour],
    brushes: Sequence[Brush],
    *,
    blank: int = 0,
    clear: int | None = None,
    size: int = _SIDE // 16,
    **settings: Any,
) -> gr.HTML:
    """A canvas whose value is a PNG as a data URL, "" where nothing is painted.

    Its pixels are exact: no edge is smoothed, and what arrives at the server is what was painted. The property
    `underlay` is the data URL of a picture that shows through. (No subclass: Gradio would write a stub file beside it.)

    Args:
        title: what is painted, for screen readers.
        colours: by value.
        brushes: the palette.
        blank: value of an empty canvas.
        clear: value that is shown as nothing, over a picture; None: none is.
        size: of the brush to begin with, in pixels of a new canvas.
        settings: of `gr.HTML`.
    """
    settled = {
        "title": title,
        "colours": colours,
        "brushes": [asdict(brush) for brush in brushes],
        "blank": blank,
        "clear": clear,
        "side": _SIDE,
        "size": size,
    }
    return gr.HTML(
        **{"value": "", **settings},
        html_template=template("painter", settled),
        css_template=asset("painter.css"),
        js_on_load=asset("elements.js") + asset("painter.js"),
        apply_default_css=False,
        underlay=None,
    )


def mask_painter(title: str, classes: int = len(MASK_CLASSES), **settings: Any) -> gr.HTML:
    """Paints labels: the first so many of `MASK_CLASSES`, in CelebAMask-HQ's colours."""
    names = [name.replace("_", " ") for name in MASK_CLASSES[:classes]]
    brushes = [Brush(name, value, chosen=name == "hair") for value, name in enumerate(names)]
    return painter(title, MASK_PALETTE[:classes], brushes, **settings)


def sketch_painter(title: str, **settings: Any) -> gr.HTML:
    """Draws dark lines on white paper."""
    brushes = [Brush("Pen", INK, chosen=True), Brush("Eraser", PAPER)]
    return painter(title, GREYS, brushes, blank=PAPER, size=3, **settings)


def steering_painter(title: str, **settings: Any) -> gr.HTML:
    """Paints where influence is raised or lowered, over a picture."""
    brushes = [Brush("Raise", RAISED, chosen=True), Brush("Lower", LOWERED), Brush("As learned", AS_LEARNED)]
    return painter(title, STEERING, brushes, blank=AS_LEARNED, clear=AS_LEARNED, size=_SIDE // 8, **settings)


@cache
def asset(name: str) -> str:
    """A file of the page."""
    return files("codiff.web").joinpath("assets", name).read_text(encoding="utf-8")


def template(name: str, settings: Mapping[str, Any]) -> str:
    """The HTML of a component with its settings in it: an update of one property removes all others from a component
    that is not on the screen."""
    written = base64.b64encode(json.dumps(settings).encode()).decode()
    return asset(f"{name}.html").replace("SETTINGS", written)
