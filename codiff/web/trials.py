"""The strengths that were tried, side by side on the page."""

from __future__ import annotations

import html
from typing import Any

import gradio as gr

from codiff.editing.strength import StrengthSearch, Trial, told
from codiff.web.painter import asset
from codiff.web.painting import jpeg_url


def trials_strip(**settings: Any) -> gr.HTML:
    """A place for what `shown_trials` returns."""
    return gr.HTML("", css_template=asset("trials.css"), apply_default_css=False, padding=False, **settings)


def shown_trials(search: StrengthSearch) -> str:
    """HTML of the pictures, and below each its strength and what judges say of it."""
    items = (_item(trial, trial is search.best) for trial in (*search.common, *search.varied))
    return f'<ul class="trials">{"".join(items)}</ul>'


def _item(trial: Trial, chosen: bool) -> str:
    strength = html.escape(told(trial.strengths))
    mark = " (chosen)" if chosen else ""
    return (
        f'<li{" class=chosen" if chosen else ""}><img src="{jpeg_url(trial.image)}" alt="Strength {strength}{mark}">'
        f"<p><strong>{strength}{mark}</strong><br>obeys {trial.obeys:.2f}<br>keeps {trial.identity:.2f}</p></li>"
    )
