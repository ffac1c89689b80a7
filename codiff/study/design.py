"""Which pairs participants see: every pair of methods equally often, each method equally often in either place."""

from __future__ import annotations

import random
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from PIL import Image

from codiff.errors import InputError
from codiff.study.checks import most_unlike, spoiled
from codiff.study.key import Shown, Trial
from codiff.study.questions import QUESTIONS, Condition, check_questions


@dataclass
class Design:
    """Trials and their pictures, by opaque names that say nothing of method, condition or purpose.

    Attributes:
        shown: what each picture is.
        pictures: each picture itself, RGB.
        trials: all choices that a participant makes, in no order.
    """

    shown: dict[str, Shown] = field(default_factory=dict)
    pictures: dict[str, Image.Image] = field(default_factory=dict)
    trials: dict[str, Trial] = field(default_factory=dict)


def design(
    conditions: Sequence[Condition], methods: Sequence[str], questions: Sequence[str], checks: int, seed: int
) -> Design:
    """Every question about every pair of methods in every condition, and `checks` attention checks.

    In each question a method stands as often first as second, or once more in one of the places where the numbers of
    conditions and of its pairs are both odd; the next question then evens that out. Checks are spread evenly over the
    questions, and the right picture stands equally often in both places.

    Raises:
        InputError: fewer than two methods, a question that cannot be asked, conditions of the same name or without a
            picture of each method, or checks that cannot be made.
    """
    _check(conditions, methods, questions, checks)
    # Names go into the seed: a reader of codiff's source who guesses the number cannot compute the opaque names.
    rng = random.Random(f"{seed} {sorted(methods)} {[condition.name for condition in conditions]}")
    made = Design()
    names: dict[tuple[str, str], str] = {}
    for condition in conditions:
        for method in methods:
            shown = Shown(method=method, condition=condition.name)
            names[condition.name, method] = _add(made, shown, condition.pictures[method], rng)
    for number, question in enumerate(questions):
        for trial in _comparisons(conditions, methods, question, number, names, rng):
            made.trials[opaque(made.trials, rng)] = trial
    for trial in _checks(made, conditions, methods, questions, checks, names, rng):
        made.trials[opaque(made.trials, rng)] = trial
    return made


def opaque(taken: Container[str], rng: random.Random) -> str:
    """Eight random hexadecimal digits that are not among `taken`."""
    while True:
        name = f"{rng.getrandbits(32):08x}"
        if name not in taken:
            return name


def _add(made: Design, shown: Shown, picture: Image.Image, rng: random.Random) -> str:
    name = opaque(made.shown, rng)
    made.shown[name] = shown
    made.pictures[name] = picture
    return name


def _comparisons(
    conditions: Sequence[Condition],
    methods: Sequence[str],
    question: str,
    number: int,
    names: dict[tuple[str, str], str],
    rng: random.Random,
) -> list[Trial]:
    trials = []
    for i, j in combinations(range(len(methods)), 2):
        # Half of the conditions each way; the odd one goes by a regular tournament of the methods, in which each of an
        # odd number of methods is as often first as second, turned round in every other question.
        extra = len(conditions) % 2 and (j - i + number) % 2
        ahead = len(conditions) // 2 + extra
        for place, condition in enumerate(rng.sample(conditions, len(conditions))):
            pair = (methods[i], methods[j]) if place < ahead else (methods[j], methods[i])
            first, second = (names[condition.name, method] for method in pair)
            trials.append(Trial(question=question, condition=condition.name, first=first, second=second))
    return trials


def _checks(
    made: Design,
    conditions: Sequence[Condition],
    methods: Sequence[str],
    questions: Sequence[str],
    checks: int,
    names: dict[tuple[str, str], str],
    rng: random.Random,
) -> list[Trial]:
    """Pairs of one method's picture and an evidently wrong one, of every question, method and condition in turn."""
    order = rng.sample(conditions, len(conditions))
    turns = rng.sample(methods, len(methods))
    trials = []
    for number in range(checks):
        turn, place = divmod(number, len(questions))
        question = questions[place]
        condition, method = order[(turn + place) % len(order)], turns[(turn + place) % len(turns)]
        right = names[condition.name, method]
        if QUESTIONS[question].material is None:
            shown = Shown(method=method, condition=condition.name, spoiled=True)
            wrong = _add(made, shown, spoiled(condition.pictures[method], rng), rng)
        else:
            wrong = names[most_unlike(question, condition, conditions).name, method]
        first, second = (right, wrong) if (turn + place) % 2 == 0 else (wrong, right)
        trials.append(Trial(question=question, condition=condition.name, first=first, second=second, correct=right))
    return trials


def _check(conditions: Sequence[Condition], methods: Sequence[str], questions: Sequence[str], checks: int) -> None:
    if len(methods) < 2 or len(set(methods)) < len(methods):
        raise InputError(f"a study compares two or more different methods, not {', '.join(methods) or 'none'}")
    if not conditions or len({condition.name for condition in conditions}) < len(conditions):
        raise InputError("a study needs conditions, each with a name of its own")
    for condition in conditions:
        missing = [method for method in methods if method not in condition.pictures]
        if missing:
            raise InputError(f"condition {condition.name!r} has no picture of {missing[0]!r}")
    check_questions(questions, conditions)
    if not 0 <= checks <= len(conditions) * len(questions):
        most = len(conditions) * len(questions)
        raise InputError(f"checks must be from 0 to {most} (conditions times questions), not {checks}")
