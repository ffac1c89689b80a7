"""The files that participants hand in: read strictly, since they come from strangers."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from codiff.errors import InputError, InputNotice
from codiff.study.key import Key, Record, found

_MOST_BYTES = 10_000_000


class Answer(Record):
    """One choice.

    Attributes:
        trial, chosen: opaque names of the trial and of the picture.
        place: where that picture stood: 1 left or above, 2 right or below.
        milliseconds: from both pictures being visible to the choice.
    """

    trial: str
    chosen: str
    place: Literal[1, 2]
    milliseconds: int = Field(ge=0)


class Answers(Record):
    """All choices of one participant, as the page writes them.

    Attributes:
        study: id of the study that was answered.
        participant: 32 random hexadecimal digits.
        seed: of the order that this participant saw.
        mirrored: whether this participant saw all pairs in exchanged places.
        answers: in the order they were given.
    """

    format: Literal["codiff study answers"]
    version: Literal[1]
    study: str
    participant: str = Field(pattern=r"^[0-9a-f]{32}$")
    seed: int
    mirrored: bool
    answers: list[Answer]

    def fault(self, key: Key) -> str:
        """What makes these no complete answers to the key's study; "" where nothing does."""
        if self.study != key.study:
            return f"answers study {self.study[:40]!r}, but the key is that of {key.study!r}"
        trials = [answer.trial for answer in self.answers]
        if len(set(trials)) < len(trials):
            return "answers a choice twice"
        if set(trials) != set(key.trials):
            return f"answers {len(set(trials) & set(key.trials))} of the study's {len(key.trials)} choices"
        for answer in self.answers:
            trial = key.trials[answer.trial]
            pair = (trial.second, trial.first) if self.mirrored else (trial.first, trial.second)
            if answer.chosen != pair[answer.place - 1]:
                return f"names a picture in choice {answer.trial} that did not stand in place {answer.place}"
        return ""


def read_answers(path: str | Path, key: Key) -> Answers:
    """The complete answers of one participant to the key's study.

    Raises:
        InputError: unreadable, of another form or study, incomplete, or contradicting the key.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            text = stream.read(_MOST_BYTES + 1)
        if len(text) > _MOST_BYTES:
            raise InputError(f"{path} is over {_MOST_BYTES / 1e6:.0f} MB, more than any answers; leave it out")
        answers = Answers.model_validate_json(text)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValidationError as error:
        raise InputError(f"{path} holds no answers of a study ({found(error)}); leave it out") from error
    fault = answers.fault(key)
    if fault:
        raise InputError(f"{path} {fault}; analyse each study with its own key, and leave out what is not whole")
    return answers


def read_all(paths: Iterable[str | Path], key: Key) -> tuple[list[Answers], int]:
    """Every participant's answers, and how many files were copies of another; those count once (`InputNotice`).

    Raises:
        InputError: as `read_answers`, no file, or different answers of the same participant.
    """
    by_participant: dict[str, Answers] = {}
    files: dict[str, Path] = {}
    copies = 0
    for path in map(Path, paths):
        answers = read_answers(path, key)
        earlier = by_participant.setdefault(answers.participant, answers)
        files.setdefault(answers.participant, path)
        if earlier is answers:
            continue
        if earlier != answers:
            raise InputError(
                f"{files[answers.participant]} and {path} are different answers of the same participant; keep the one "
                "that was handed in first"
            )
        copies += 1
        warnings.warn(f"{path} is a copy of {files[answers.participant]} and counts once", InputNotice, stacklevel=2)
    if not by_participant:
        raise InputError("no answers are given; name the files that participants handed in")
    return list(by_participant.values()), copies
