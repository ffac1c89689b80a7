"""The strengths that were tried, side by side on the page."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from codiff.editing.strength import StrengthSearch, Trial, told
from codiff.web.painter import asset
from codiff.web.painting import jpeg_url, png_url


def trials_strip(**settings: Any) -> gr.HTML:
    """A place for what `shown_trials` and `shown_curve` return."""
    return gr.HTML("", css_template=asset("trials.css"), apply_default_css=False, padding=False, **settings)


def shown_trials(search: StrengthSearch) -> str:
    """HTML of the pictures, and below each its strength and what judges say of it; where they say the same of all, that
    nothing was chosen."""
    taken = "chosen" if search.decided else "the usual"
    items = (_item(trial, taken if trial is search.best else None) for trial in (*search.common, *search.varied))
    undecided = "" if search.decided else f'<p class="undecided">{html.escape(_undecided(search))}</p>'
    return f'{undecided}<ul class="trials">{"".join(items)}</ul>'


def shown_curve(curve: Path) -> str:
    """HTML of the drawn search."""
    told_by = "The strengths that were tried: how far each obeys and keeps, against each other and by strength"
    with Image.open(curve) as picture:
        return f'<img class="curve" src="{png_url(picture)}" alt="{told_by}">'


def _undecided(search: StrengthSearch) -> str:
    """Why nothing was chosen."""
    return (
        "The judge sees no difference between these strengths: all obey about equally. The usual one, "
        f"{told(search.best.strengths)}, is taken. Look at the pictures and choose yourself."
    )


def _item(trial: Trial, taken: str | None) -> str:
    strength = html.escape(told(trial.strengths))
    mark = "" if taken is None else f" ({taken})"
    chosen = "" if taken is None else " class=chosen"
    return (
        f'<li{chosen}><img src="{jpeg_url(trial.image)}" alt="Strength {strength}{mark}">'
        f"<p><strong>{strength}{mark}</strong><br>obeys {trial.obeys:.2f}<br>keeps {trial.identity:.2f}</p></li>"
    )
