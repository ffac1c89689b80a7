"""A photo on the page, on which the eyes are marked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import gradio as gr
from PIL import Image

from codiff.web.edit_request import Place
from codiff.web.field_error import FieldError
from codiff.web.painter import asset
from codiff.web.painting import jpeg_url

_SHOWN = 800  # pixels of the longer side
_EYES = 2


def eye_marks(**settings: Any) -> gr.HTML:
    """A place for a photo; its value is a list of up to two places, as shares of the photo's width and height.

    Its event `input` says that marks were moved. The property `picture` is the data URL of what is shown.
    """
    return gr.HTML(
        [],
        html_template=asset("eyes.html"),
        css_template=asset("eyes.css"),
        js_on_load=asset("elements.js") + asset("eyes.js"),
        apply_default_css=False,
        picture=None,
        **settings,
    )


def shown_photo(photo: Image.Image, marks: Sequence[Place]) -> dict[str, Any]:
    """An update that shows a photo and marks places in it, as shares of its width and height."""
    small = photo.copy()
    small.thumbnail((_SHOWN, _SHOWN), Image.Resampling.LANCZOS)
    update: dict[str, Any] = gr.update(value=[list(place) for place in marks], picture=jpeg_url(small))
    return update


def shares(photo: Image.Image, places: Sequence[Place]) -> list[Place]:
    """Places in pixels of a photo as shares of its width and height."""
    return [(x / photo.width, y / photo.height) for x, y in places]


def marked(value: Any) -> list[Place]:
    """The places that are marked: none, or two.

    Raises:
        FieldError: of "eyes".
    """
    places = value or []
    pairs = isinstance(places, list) and all(isinstance(place, list) and len(place) == 2 for place in places)
    if not pairs or not all(_is_share(part) for place in places for part in place):
        raise FieldError("eyes", "each mark is two numbers from 0 to 1: shares of the photo's width and height")
    if len(places) not in (0, _EYES):
        raise FieldError("eyes", "mark both eyes, or remove the marks")
    return [(float(x), float(y)) for x, y in places]


def _is_share(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and 0 <= value <= 1
