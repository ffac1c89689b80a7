"""Small parts of the page that Gradio has none of: progress, previews over their place, figures, picture buttons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from codiff.web.painter import asset, template
from codiff.web.painting import file_url, jpeg_url, png_url
from codiff.web.runs import Step, Waiting

_THUMBNAIL = 128  # pixels
_COMING = Image.new("RGBA", (1, 1), (128, 128, 128, 40))  # where a picture will be: seen on light and dark pages


def progress_line(**settings: Any) -> gr.HTML:
    """A bar and a line of text below it; its value is what `told` returns."""
    return _part("progress", told(), **settings)


def told(text: str = "", done: float = 0.0) -> dict[str, Any]:
    """What a line of progress shows.

    Args:
        text: in words.
        done: share of the work, 0 to 1.
    """
    return {"text": text, "done": done}


def run_and_cancel(verb: str, form: str) -> tuple[gr.Button, gr.Button]:
    """The buttons that begin and end the work of a form."""
    with gr.Row(elem_classes="run"):
        run = gr.Button(verb, variant="primary", min_width=140, scale=3, elem_id=f"{form}-run")
        cancel = gr.Button("Cancel", interactive=False, min_width=90, scale=1, elem_id=f"{form}-cancel")
    return run, cancel


def how_far(event: Waiting | Step) -> dict[str, Any]:
    """What a line of progress shows of an event."""
    if isinstance(event, Waiting):
        return told(event.in_words)
    if not event.index:
        return told("Drawing")
    left = event.seconds / event.index * (event.of - event.index)
    return told(f"Step {event.index} of {event.of}, about {_duration(left)} left", event.index / event.of)


def preview(**settings: Any) -> gr.HTML:
    """Pictures in the making, laid over the part before; its value is what `foreseen` returns, None to hide it."""
    return _part("preview", None, **settings)


def foreseen(event: Waiting | Step) -> dict[str, str] | None:
    """What a preview shows of an event; None where there is nothing new."""
    row = event.preview if isinstance(event, Step) else None
    return None if row is None else {"row": jpeg_url(row)}


def picture_buttons(title: str, choices: Mapping[str, Image.Image], **settings: Any) -> gr.HTML:
    """Buttons with pictures; the event `select` carries the index of the one that was pressed.

    Args:
        title: for screen readers.
        choices: name -> picture.
        settings: of `gr.HTML`.
    """
    size = (_THUMBNAIL, _THUMBNAIL)
    shown = [
        {"name": name, "picture": png_url(picture.resize(size, Image.Resampling.LANCZOS))}
        for name, picture in choices.items()
    ]
    return _part("examples", None, title=title, choices=shown, **settings)


def figures(title: str, empty: str = "", *, columns: int = 3, skipped: int = 0, **settings: Any) -> gr.HTML:
    """Pictures with captions, all in one row where there is room; the value is what `drawn_figures` returns.

    Args:
        title: what they show, for screen readers.
        empty: what stands there while there is none.
        columns: that a row has at least, so that few pictures are no larger than others are.
        skipped: columns that stay empty before the first picture.
        settings: of `gr.HTML`.
    """
    shown = {"title": title, "nothing": empty, "columns": columns, "skipped": skipped}
    return gr.HTML(
        [],
        html_template=template("figures", shown),
        css_template=asset("figures.css"),
        js_on_load=asset("figures.js"),
        apply_default_css=False,
        **settings,
    )


def drawn_figures(pictures: Mapping[str, Image.Image]) -> list[dict[str, Any]]:
    """What `figures` show of pictures by their captions."""
    return [
        _figure(caption, picture, jpeg_url(picture) if picture.mode == "RGB" else png_url(picture))
        for caption, picture in pictures.items()
    ]


def stored_figures(paths: Mapping[str, Path]) -> list[dict[str, Any]]:
    """What `figures` show of PNG files by their captions: as they are, with all that they say of their origin."""
    shown = []
    for caption, path in paths.items():
        with Image.open(path) as picture:
            shown.append(_figure(caption, picture, file_url(path)))
    return shown


def in_the_making(captions: Sequence[str], row: Image.Image | None) -> list[dict[str, Any]]:
    """What `figures` show of square pictures that are drawn one after the other, each in its own place from the
    beginning.

    Args:
        captions: of all.
        row: the first of them, side by side; None before there is any.
    """
    side = _THUMBNAIL if row is None else row.height
    pictures = [] if row is None else [row.crop((left, 0, left + side, side)) for left in range(0, row.width, side)]
    pictures += [_COMING.resize((side, side))] * (len(captions) - len(pictures))
    return drawn_figures(dict(zip(captions, pictures, strict=True)))


def _figure(caption: str, picture: Image.Image, url: str) -> dict[str, Any]:
    return {"src": url, "caption": caption, "width": picture.width, "height": picture.height}


def _part(name: str, value: Any, **settings: Any) -> gr.HTML:
    return gr.HTML(
        value,
        html_template=asset(f"{name}.html"),
        css_template=asset(f"{name}.css"),
        js_on_load=asset(f"{name}.js"),
        apply_default_css=False,
        **settings,
    )


def _duration(seconds: float) -> str:
    return f"{max(1, round(seconds))} s" if seconds < 90 else f"{round(seconds / 60)} min"
