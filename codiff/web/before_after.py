"""A photo before and after an edit, one over the other, with a divider that pointers and the keyboard move."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from codiff.web.painter import asset
from codiff.web.painting import file_url


def before_after(**settings: Any) -> gr.HTML:
    """A place for two pictures of one size; its value is what `compared` returns, None for nothing.

    Gradio's own has no keyboard: its divider is neither reached by Tab nor known to screen readers.
    """
    return gr.HTML(
        None,
        html_template=asset("compare.html"),
        css_template=asset("compare.css"),
        js_on_load=asset("elements.js") + asset("compare.js"),
        apply_default_css=False,
        **settings,
    )


def compared(before: Path, after: Path) -> dict[str, str]:
    """What the place shows of two PNG files, as they are."""
    return {"before": file_url(before), "after": file_url(after)}
