"""The key of a study: what the opaque names on its page stand for. Participants never get it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from codiff.errors import InputError


class Record(BaseModel):
    """What is read from files: nothing unknown in it, nothing changed after."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Shown(Record):
    """What a picture on the page is.

    Attributes:
        method: whose picture it is.
        condition: what it was made of.
        spoiled: whether an attention check shows it with its blocks shuffled.
    """

    method: str
    condition: str
    spoiled: bool = False


class Trial(Record):
    """One choice that every participant makes.

    Attributes:
        question: a name in `QUESTIONS`.
        condition: whose reference is shown.
        first, second: the two pictures; half of the participants see them in exchanged places.
        correct: of an attention check the picture that is evidently right; None for a comparison of methods.
    """

    question: str
    condition: str
    first: str
    second: str
    correct: str | None = None


class Key(Record):
    """All that the page does not tell.

    Attributes:
        version: of this form of the key.
        study: the study's id.
        seed: all random choices of its making.
        methods, questions: their names, in the order of reports.
        allowed_failures: share of the attention checks, in [0, 1], up to which a participant may fail.
        pictures, trials: by their opaque names.
    """

    version: Literal[1] = 1
    study: str
    seed: int
    methods: list[str] = Field(min_length=2)
    questions: list[str] = Field(min_length=1)
    allowed_failures: float = Field(ge=0, le=1)
    pictures: dict[str, Shown]
    trials: dict[str, Trial]

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        for name, trial in self.trials.items():
            pair = (trial.first, trial.second)
            shown = [self.pictures[picture].method for picture in pair if picture in self.pictures]
            if len(shown) < 2 or not set(shown) <= set(self.methods) or trial.question not in self.questions:
                raise ValueError(f"trial {name} names what the key does not hold")
            if trial.correct not in (None, *pair) or (trial.correct is None and shown[0] == shown[1]):
                raise ValueError(f"trial {name} is no comparison and no check")
        return self

    def checks(self) -> dict[str, Trial]:
        """The attention checks."""
        return {name: trial for name, trial in self.trials.items() if trial.correct is not None}


def read_key(path: str | Path) -> Key:
    """The key that was written beside a study's page.

    Raises:
        InputError: unreadable, or no key.
    """
    try:
        return Key.model_validate_json(Path(path).read_bytes())
    except OSError as error:
        raise InputError(
            f"the key {path} cannot be read: {error.strerror or error}; it was written beside the study's page"
        ) from error
    except ValidationError as error:
        raise InputError(f"{path} is not the key of a study ({found(error)}); give the key.json beside its page") from (
            error
        )


def found(error: ValidationError) -> str:
    """The first thing that pydantic complains of, in a few words."""
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the whole'}: {first['msg']}"
