"""The part of a form about sampling: how many pictures, from which seed, how carefully."""

from __future__ import annotations

import secrets
from typing import Any

import gradio as gr

from codiff.cli.requests import MOST_SEED
from codiff.web.choices import Choices
from codiff.web.condition_inputs import QUIET, Data
from codiff.web.engine import Engine, Request
from codiff.web.error_lines import ErrorLines, Updates
from codiff.web.field_error import FieldError
from codiff.web.limits import Limits

_SEEDS = 2**31  # that the dice throw: short enough to be written down
_SAMPLERS = {
    "dpm++": "DPM++: good pictures in few steps",
    "ddim": "DDIM: plain and steady",
    "ddpm": "DDPM: adds fresh noise at each step; needs many",
    "euler": "Euler: simple and quick",
    "unipc": "UniPC: good pictures in few steps",
}
_RULES = {
    "collaborative": "Collaborative: as learned, for each place and step",
    "additive": "Additive: each adds what it knows, as learned",
    "mean": "Mean: all have an equal say",
    "guidance-sum": "Sum: each adds what it knows, equally",
    "official": "Collaborative, as in the published code",
    "no-spatial": "Collaborative, but the same for all places",
    "no-temporal": "Collaborative, but the same for all steps",
    "no-spatial-no-temporal": "Collaborative, but the same always and everywhere",
}


def hinted(form: str, name: str) -> dict[str, str]:
    """What an input is called in the document; its `info` is shown when a pointer or the keyboard comes near."""
    return {"elem_id": f"{form}-{name}", "elem_classes": "hinted"}


class SettingsSection:
    """The sampling's inputs, here on the page.

    Args:
        engine: whose model they are for.
        errors: gets a line for each.
        form: its name, which begins all ids.
        usual: what it begins with.
    """

    def __init__(self, engine: Engine, errors: ErrorLines, form: str, usual: Request = Request({})) -> None:  # noqa: B008
        self._errors, self._form, self._usual = errors, form, usual
        self._place_often(engine.limits)
        self._most_seed = MOST_SEED - engine.limits.images
        with gr.Accordion("More settings", open=False, elem_id=f"{form}-more") as more:
            self._place_seldom(engine.limits, engine.choices, more)

    def _place_often(self, limits: Limits) -> None:
        """What most visitors change."""
        form, errors, usual = self._form, self._errors, self._usual
        with gr.Row(elem_classes="settings"):
            with gr.Column(min_width=220):
                self._count = gr.Slider(
                    1, limits.images, min(usual.count, limits.images), step=1, label="Pictures",
                    info="Each from noise of its own.", **hinted(form, "count"),
                )  # fmt: skip
                errors.place("count")
            with gr.Column(min_width=220):
                with gr.Row(elem_classes="seed"):
                    self._seed = gr.Textbox(  # browsers' numbers keep no more than 53 bits
                        str(usual.seed), lines=1, max_lines=1, label="Seed",
                        info="A whole number that the noise is drawn from: the same one, with the same settings, gives "
                        "the same picture.",
                        min_width=90, html_attributes=gr.InputHTMLAttributes(autocomplete="off"),
                        **hinted(form, "seed"),
                    )  # fmt: skip
                    dice = gr.Button("Random", size="sm", min_width=44, elem_classes="dice", elem_id=f"{form}-dice")
                errors.place("seed")
        dice.click(lambda: str(secrets.randbelow(_SEEDS)), None, self._seed, **QUIET)

    def _place_seldom(self, limits: Limits, choices: Choices, section: gr.Accordion) -> None:
        """What few visitors change."""
        form, errors, usual = self._form, self._errors, self._usual
        guidance = choices.guidance if usual.guidance is None else usual.guidance
        self._steps = gr.Slider(
            1, limits.steps, min(usual.steps, limits.steps), step=1, label="Steps",
            info="How often the noise is lowered: more take longer and add detail.", **hinted(form, "steps"),
        )  # fmt: skip
        errors.place("steps", section)
        self._guidance = gr.Slider(
            0, limits.guidance, guidance, step=0.1, label="Guidance",
            info="1 follows what you gave plainly, more follows it closer and varies less.",
            **hinted(form, "guidance"),
        )  # fmt: skip
        errors.place("guidance", section)
        self._scheduler = gr.Dropdown(
            [(_SAMPLERS.get(name, name), name) for name in choices.schedulers], value=choices.schedulers[0],
            label="Sampler", info="How each step is computed.", **hinted(form, "scheduler"),
        )  # fmt: skip
        errors.place("scheduler", section)
        self._composition = gr.Dropdown(
            [(_RULES.get(name, name), name) for name in choices.compositions], value=choices.compositions[0],
            label="Combination", info="How the models share the decision.", **hinted(form, "composition"),
        )  # fmt: skip
        errors.place("composition", section)

    @property
    def components(self) -> list[Any]:
        """All inputs."""
        return [self._count, self._seed, self._steps, self._guidance, self._scheduler, self._composition]

    def given(self, data: Data) -> dict[str, Any]:
        """Arguments of a `Request`, unchecked but for the seed.

        Raises:
            FieldError: of "seed".
        """
        return {
            "seed": self._whole(data[self._seed]),
            "count": data[self._count],
            "steps": data[self._steps],
            "scheduler": data[self._scheduler],
            "guidance": data[self._guidance],
            "composition": data[self._composition],
        }

    def filled(self, request: Request) -> Updates:
        """Updates that show a request's settings."""
        return {
            self._seed: str(request.seed),
            self._count: request.count,
            self._steps: request.steps,
            self._scheduler: request.scheduler,
            self._guidance: request.guidance,
            self._composition: request.composition,
        }

    def seeded(self, seed: int) -> Updates:
        """Updates that show another seed."""
        return {self._seed: str(seed)}

    def _whole(self, typed: Any) -> int:
        """A seed, exactly as it was typed."""
        digits = str(typed or "").strip()
        if digits.isascii() and digits.isdecimal() and len(digits) <= len(str(MOST_SEED)):
            seed = int(digits)
            if seed <= self._most_seed:
                return seed
        found = f"not {digits!r:.40}" if digits else "and none is given"
        raise FieldError("seed", f"the seed must be a whole number from 0 to {self._most_seed}, {found}")
