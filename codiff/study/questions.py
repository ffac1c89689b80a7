"""What people are asked, and what they are shown for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image

from codiff.errors import InputError


@dataclass(frozen=True)
class Condition:
    """One set of conditions and what each method made of it, wherever the pictures come from.

    Attributes:
        name: of the condition, unique in a study; participants never see it.
        pictures: method -> RGB picture of any size.
        caption: the words given, if any.
        mask: the mask given, drawn in colours, if any.
        original: of edits the picture before, if any.
    """

    name: str
    pictures: Mapping[str, Image.Image]
    caption: str | None = None
    mask: Image.Image | None = None
    original: Image.Image | None = None


@dataclass(frozen=True)
class Question:
    """A forced choice between two pictures.

    Attributes:
        ask: what participants read.
        label: names the reference on the page; "" where there is none.
        material: the attribute of `Condition` that is shown as reference; None where the pictures alone are judged.
        drawn: whether the reference is a drawing of flat colours.
    """

    ask: str
    label: str = ""
    material: str | None = None
    drawn: bool = False

    def reference(self, condition: Condition) -> str | Image.Image | None:
        """What is shown with the two pictures; None where nothing is, or where it is not given."""
        return None if self.material is None else getattr(condition, self.material)


QUESTIONS: Mapping[str, Question] = {
    "realism": Question("Which picture looks more like a real photograph?"),
    "text": Question("Which picture fits the description better?", "Description", "caption"),
    "mask": Question("Which picture fits the coloured map better?", "Map of the parts", "mask", drawn=True),
    "identity": Question("Which picture shows the person of the original better?", "Original", "original"),
}
"""By the name that commands, keys and reports call them."""


def answerable(conditions: Sequence[Condition]) -> list[str]:
    """Names of the questions whose reference every condition has, or that need none."""
    return [
        name
        for name, question in QUESTIONS.items()
        if question.material is None or all(question.reference(condition) is not None for condition in conditions)
    ]


def check_questions(names: Sequence[str], conditions: Sequence[Condition]) -> None:
    """Each is known, asked once and has its reference.

    Raises:
        InputError: otherwise, or none is asked.
    """
    for name in names:
        if name not in QUESTIONS:
            raise InputError(f"unknown question {name!r}; known: {', '.join(QUESTIONS)}")
    if not names or len(set(names)) < len(names):
        raise InputError(f"ask each question once, and one at least; known: {', '.join(QUESTIONS)}")
    possible = answerable(conditions)
    for name in names:
        if name not in possible:
            raise InputError(f"the question {name!r} needs the {QUESTIONS[name].material} of every condition")
