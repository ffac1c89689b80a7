"""From conditions and pictures to a page and its key."""

from __future__ import annotations

import random
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from codiff.errors import InputError, InputNotice
from codiff.files import written_aside
from codiff.study.design import Design, design, opaque
from codiff.study.key import Key, read_key
from codiff.study.page import Coding, coding_of, data_uri, digest, fitted, render
from codiff.study.questions import QUESTIONS, Condition, answerable

PAGE, KEY = "study.html", "key.json"
SECONDS_EACH = 5  # a choice, for the time that participants and researchers are told beforehand


@dataclass(frozen=True)
class Study:
    """What participants get, and what stays with those who ask them."""

    page: str
    key: Key

    def minutes(self) -> int:
        """About how long a participant takes, one at least."""
        return max(1, round(len(self.key.trials) * SECONDS_EACH / 60))

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write both files, the key first: a page without its key would gather answers that nobody can read.

        Raises:
            InputError: another study lies in the folder, or it cannot be written.
        """
        page, key = folder / PAGE, folder / KEY
        if key.exists() or page.exists():
            known = read_key(key).study if key.exists() else None
            if known != self.key.study:
                raise InputError(f"{folder} holds another study, whose answers need its key; choose another folder")
        for path, text in ((key, self.key.model_dump_json(indent=2) + "\n"), (page, self.page)):
            with written_aside(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
        return page, key


def make_study(
    conditions: Sequence[Condition],
    *,
    questions: Sequence[str] | None = None,
    checks: int = 8,
    allowed_failures: float = 0.2,
    seed: int = 0,
    size: int = 512,
    notice: str = "",
) -> Study:
    """A study in which people compare all methods of these conditions; the same arguments give the same study.

    Args:
        conditions: each with a picture of every method.
        questions: names in `QUESTIONS`; without, all whose reference every condition has.
        checks: attention checks of each participant.
        allowed_failures: share of the checks, in [0, 1], up to which a participant may fail; stated before anybody
            has answered, so that it cannot be chosen by the results.
        seed: all random choices but those of the order, which each participant's browser draws.
        size: longest side of a picture on the page, 32 to 2048 pixels; larger ones are scaled down.
        notice: shown before the first choice, paragraphs divided by empty lines: who asks, what for, whom to write to.

    Raises:
        InputError: as `design`, or numbers out of range.
    """
    if not 0 <= allowed_failures <= 1:
        raise InputError(f"the share of checks that may be failed must be from 0 to 1, not {allowed_failures}")
    if not 32 <= size <= 2048:
        raise InputError(f"size must be from 32 to 2048 pixels, not {size}")
    methods = sorted(conditions[0].pictures) if conditions else []
    asked = answerable(conditions) if questions is None else list(questions)
    plan = design(conditions, methods, asked, checks, seed)
    _tell_of_sizes(conditions)
    content = _content(plan, conditions, seed, size, notice)
    study = digest(content)
    key = Key(
        study=study,
        seed=seed,
        methods=methods,
        questions=asked,
        allowed_failures=float(allowed_failures),
        pictures=plan.shown,
        trials=plan.trials,
    )
    return Study(render({"study": study, **content}), key)


def _tell_of_sizes(conditions: Sequence[Condition]) -> None:
    sizes = {picture.size for condition in conditions for picture in condition.pictures.values()}
    if len(sizes) > 1:
        warnings.warn(
            f"the pictures have {len(sizes)} different sizes; all are shown in frames of the same size, where small "
            "ones look blurred",
            InputNotice,
            stacklevel=2,
        )


def _content(plan: Design, conditions: Sequence[Condition], seed: int, size: int, notice: str) -> dict[str, Any]:
    """All that the page shows. Everything is keyed by opaque names and sorted by them when it is written."""
    coding = coding_of(plan.pictures, size)
    rng = random.Random(f"references {seed}")
    by_name = {condition.name: condition for condition in conditions}
    references: dict[str, dict[str, str]] = {}
    names: dict[tuple[str, str], str | None] = {}
    trials = {}
    for name, trial in plan.trials.items():
        place = (trial.question, trial.condition)
        if place not in names:
            reference = _reference(trial.question, by_name[trial.condition], size, coding)
            names[place] = None if reference is None else opaque(references, rng)
            if reference is not None:
                references[str(names[place])] = reference
        pair = {"first": trial.first, "second": trial.second}
        trials[name] = {"question": trial.question, "reference": names[place], **pair}
    return {
        "questions": {name: _question(name) for name in {trial.question for trial in plan.trials.values()}},
        "pictures": _coded(plan.pictures, size, coding),
        "references": references,
        "trials": trials,
        "secondsEach": SECONDS_EACH,
        "notice": [paragraph.strip() for paragraph in notice.split("\n\n") if paragraph.strip()],
    }


def _question(name: str) -> dict[str, str]:
    return {"ask": QUESTIONS[name].ask, "label": QUESTIONS[name].label}


def _coded(pictures: Mapping[str, Image.Image], size: int, coding: Coding) -> dict[str, str]:
    return {
        name: data_uri(fitted(picture, size, Image.Resampling.LANCZOS), coding) for name, picture in pictures.items()
    }


def _reference(name: str, condition: Condition, size: int, coding: Coding) -> dict[str, str] | None:
    """The words or the picture that a question shows besides the two pictures."""
    reference = QUESTIONS[name].reference(condition)
    if reference is None or isinstance(reference, str):
        return None if reference is None else {"words": reference}
    if QUESTIONS[name].drawn:  # few flat colours, whose edges JPEG and smooth scaling would fray
        return {"picture": data_uri(fitted(reference, size, Image.Resampling.NEAREST), "PNG")}
    return {"picture": data_uri(fitted(reference, size, Image.Resampling.LANCZOS), coding)}
