"""The page: what visitors see and do, put together of its tabs."""

from __future__ import annotations

from typing import Any

import gradio as gr

from codiff.web.api import Endpoints
from codiff.web.condition_inputs import QUIET
from codiff.web.edit_tab import build_edit_tab
from codiff.web.engine import Engine
from codiff.web.generate_tab import GenerateTab
from codiff.web.hints import HINTS
from codiff.web.inside_tab import InsideTab
from codiff.web.painter import asset
from codiff.web.storage import Storage

TITLE = "codiff: paint, write, see who decided what"
_INSIDE = "inside"
_SCRIPTS = "\n".join(map(asset, ("runs.js", "hints.js", "focus.js")))


def build(engine: Engine, storage: Storage) -> gr.Blocks:
    """The page for one model.

    Args:
        engine: what draws and edits.
        storage: where the files of visitors go.
    """
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as page:
        gr.HTML(asset("header.html"), js_on_load=_SCRIPTS, hints=HINTS, elem_classes="masthead", padding=False)
        with gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab("Generate", id="generate"):
                generate = GenerateTab(engine, storage, page)
            with gr.Tab("See inside", id=_INSIDE, render_children=True):
                InsideTab(engine, storage, generate)
            with gr.Tab("Edit", id="edit"):
                build_edit_tab(engine, storage)
        generate.inside.click(lambda: gr.Tabs(selected=_INSIDE), None, tabs, **QUIET)
        Endpoints(engine, storage)
    return page


def look() -> dict[str, Any]:
    """How the page looks, as arguments of `Blocks.launch` and `gr.mount_gradio_app`; no font comes from elsewhere."""
    theme = gr.themes.Base(
        primary_hue=gr.themes.colors.teal,
        secondary_hue=gr.themes.colors.teal,
        neutral_hue=gr.themes.colors.slate,
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
        font_mono=["ui-monospace", "Menlo", "Consolas", "monospace"],
        radius_size=gr.themes.sizes.radius_md,
    ).set(
        # Every text at 4.5 times the luminance of its ground at least (WCAG 2.2, 1.4.3).
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_400",
        block_label_text_color="*neutral_700",
        block_label_text_color_dark="*neutral_200",
        block_title_text_color="*neutral_700",
        block_title_text_color_dark="*neutral_200",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_600",
        button_primary_text_color="white",
        button_secondary_background_fill="*neutral_100",
        button_secondary_background_fill_hover="*neutral_200",
        checkbox_border_color="*neutral_500",
        checkbox_border_color_dark="*neutral_400",
        color_accent="*primary_600",
        slider_color="*primary_600",
    )
    return {"theme": theme, "css": asset("page.css")}
