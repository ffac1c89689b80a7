"""Lines under inputs that say what is wrong with them, and are empty otherwise."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import gradio as gr

from codiff.web.field_error import RUN, FieldError

Updates = Mapping[Any, Any]
"""Component -> its new value or properties."""

_NUMBERS = count()  # of messages: what is said again is new, so that it is read out and brought to view again


class ErrorLines:
    """The lines of one form.

    Args:
        form: its name, which begins the ids of the lines.
    """

    def __init__(self, form: str) -> None:
        self._form = form
        self._lines: dict[str, gr.HTML] = {}
        self._sections: dict[str, gr.Accordion] = {}

    def place(self, field: str, section: gr.Accordion | None = None) -> gr.HTML:
        """A new line, here on the page, for a field of `FieldError`.

        Args:
            field: its name.
            section: what it is in and may be closed: it opens when something is wrong with the field.
        """
        line = gr.HTML("", elem_id=f"{self._form}-{field}-error", elem_classes="error-line", padding=False)
        self._lines[field] = line
        if section is not None:
            self._sections[field] = section
        return line

    @property
    def components(self) -> list[gr.HTML | gr.Accordion]:
        """All lines and their sections, as outputs of whatever can go wrong."""
        return [*self._lines.values(), *dict.fromkeys(self._sections.values())]

    def cleared(self, fields: Sequence[str] | None = None) -> Updates:
        """Updates that empty these lines, or all."""
        return {line: "" for field, line in self._lines.items() if fields is None or field in fields}

    def shown(self, error: FieldError) -> Updates:
        """Updates that show an error beside its field, or, where that is not on the form, beside the run."""
        line = self._lines.get(error.field) or self._lines[RUN]
        section = self._sections.get(error.field)
        opened = {} if section is None else {section: gr.update(open=True)}
        return {**self.cleared(), **opened, line: said(str(error))}

    def noted(self, field: str, messages: Sequence[str]) -> Updates:
        """Updates that tell beside a field how it was adapted."""
        return {self._lines[field]: notes(messages)}


def said(message: str, kind: str = "error") -> str:
    """HTML of a message, which may hold anything; read out at once by screen readers where it is an error."""
    role = "alert" if kind == "error" else "status"
    return f'<p class="{kind}" role="{role}" data-number="{next(_NUMBERS)}">{html.escape(_sentence(message))}</p>'


def notes(messages: Sequence[str]) -> str:
    """HTML of how inputs were adapted, a line each."""
    return "".join(said(message, "note") for message in messages)


def _sentence(message: str) -> str:
    """What is wrong, without the name of the field that it stands beside, as a sentence."""
    text = message.strip()
    return f"{text[:1].upper()}{text[1:]}" if text else text
