"""The form's settings: a seed is kept as it is typed, or refused; what is wrong opens the section that it is in."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from engines import engine

from codiff.cli.requests import MOST_SEED

gr = pytest.importorskip("gradio", reason="gradio is not installed: pip install 'codiff[web]'")

from codiff.web.error_lines import ErrorLines, said  # noqa: E402
from codiff.web.field_error import RUN, FieldError  # noqa: E402
from codiff.web.limits import Limits  # noqa: E402
from codiff.web.settings_section import SettingsSection  # noqa: E402

LIMITS = Limits(images=4)


@pytest.fixture(scope="module")
def form() -> Iterator[tuple[SettingsSection, ErrorLines]]:
    drawing = engine(LIMITS)

    async def made() -> tuple[SettingsSection, ErrorLines]:
        """Within a loop, as Gradio opens one where there is none, and closes none."""
        with gr.Blocks():
            errors = ErrorLines("form")
            settings = SettingsSection(drawing, errors, "form")
            errors.place(RUN)
        return settings, errors

    yield asyncio.run(made())
    drawing.close()


def given(settings: SettingsSection, seed: Any) -> Any:
    """What the form asks for where this is typed as its seed."""
    data = dict.fromkeys(settings.components)
    typed = next(each for each in settings.components if each.label == "Seed")
    return settings.given({**data, typed: seed})["seed"]


@pytest.mark.parametrize("seed", [0, 7, 2**53 + 1, MOST_SEED - LIMITS.images])
def test_a_seed_is_kept_exactly(form: tuple[SettingsSection, ErrorLines], seed: int) -> None:
    settings, _ = form
    assert given(settings, f" {seed} ") == seed
    (shown,) = settings.seeded(seed).values()
    assert given(settings, shown) == seed


@pytest.mark.parametrize("typed", ["", " ", None, "1.5", "-1", "1e3", "1 000", "abc", "٣", MOST_SEED, "9" * 50])
def test_anything_else_is_refused_with_the_range(form: tuple[SettingsSection, ErrorLines], typed: Any) -> None:
    with pytest.raises(FieldError, match=f"whole number from 0 to {MOST_SEED - LIMITS.images}, (not|and none)") as told:
        given(form[0], typed)
    assert told.value.field == "seed"
    assert "None" not in str(told.value)
    assert len(str(told.value)) < 200


@pytest.mark.parametrize(("field", "opens"), [("steps", True), ("seed", False)])
def test_an_error_opens_the_section_it_is_in(form: tuple[SettingsSection, ErrorLines], field: str, opens: bool) -> None:
    _, errors = form
    shown = errors.shown(FieldError(field, "it is wrong"))
    sections = [component for component in shown if isinstance(component, gr.Accordion)]
    assert [shown[section]["open"] for section in sections] == ([True] if opens else [])
    assert set(shown) <= set(errors.components)
    assert [line.elem_id for line, text in shown.items() if text and line not in sections] == [f"form-{field}-error"]


def test_what_is_said_again_is_new() -> None:
    assert said("it is wrong") != said("it is wrong")
