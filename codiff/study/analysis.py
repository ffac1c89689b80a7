"""What participants preferred: rates with intervals and sign tests, after those who failed the checks are excluded."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from scipy.stats import binomtest

from codiff.errors import InputError
from codiff.study.answers import Answers
from codiff.study.checks import allowed, chance_of_passing
from codiff.study.key import Key


@dataclass(frozen=True)
class Rate:
    """A share with its 95% interval, all in [0, 1].

    Attributes:
        share, low, high: the share and the Wilson score interval (Wilson, 1927).
        count, total: whose share it is.
    """

    share: float
    low: float
    high: float
    count: int
    total: int


@dataclass(frozen=True)
class Preference:
    """How often one method was chosen over another.

    Attributes:
        question: what was asked.
        first, second: the methods.
        rate: of choices of the first among all choices between the two.
        p_value, p_holm: of the two-sided sign test over choices, as it is and corrected by Holm's method for all pairs
            of the question.
        participants_first, participants_second, participants_tied: who chose the first method more often, the second,
            or both equally often.
        p_participants, p_participants_holm: of the two-sided sign test over participants, ties left out. It stays valid
            where choices of one participant resemble each other, which the test over choices takes as independent.
    """

    question: str
    first: str
    second: str
    rate: Rate
    p_value: float
    p_holm: float
    participants_first: int
    participants_second: int
    participants_tied: int
    p_participants: float
    p_participants_holm: float


@dataclass(frozen=True)
class Analysis:
    """What the answers to a study say.

    Attributes:
        study: its id.
        participants: whose answers count.
        excluded: who failed too many attention checks.
        copies: files left out because they are copies of another.
        checks, allowed_failures: of each participant, and how many of them may be failed.
        chance_of_passing: probability that somebody who always guesses is not excluded.
        checks_passed: question -> share of passed checks of all participants, excluded ones too: a check that most
            people fail is a bad check.
        first_place: share of choices of the left or upper picture, 0.5 where people have no habit; checks left out.
        seconds: median time of a choice.
        preferences: of every question and pair, in the key's order.
    """

    study: str
    participants: int
    excluded: int
    copies: int
    checks: int
    allowed_failures: int
    chance_of_passing: float
    checks_passed: dict[str, Rate]
    first_place: Rate
    seconds: float
    preferences: list[Preference]


def analyse(answers: Sequence[Answers], key: Key, *, copies: int = 0) -> Analysis:
    """Preferences of all who passed the attention checks.

    Args:
        answers: complete, one of each participant, as `read_all` gives them.
        key: of their study.
        copies: how many files were left out, for the record.

    Raises:
        InputError: nobody passed the checks.
    """
    checks = key.checks()
    most = allowed(len(checks), key.allowed_failures)
    kept = [each for each in answers if sum(not passed for _, passed in _check_results(each, key)) <= most]
    if not kept:
        raise InputError(
            f"nothing is left to analyse: all {len(answers)} participants failed more than {most} of {len(checks)} "
            "attention checks; look at the checks themselves"
        )
    choices = [answer for each in kept for answer in each.answers if answer.trial not in checks]
    results = [result for each in answers for result in _check_results(each, key)]
    by_question = {name: [passed for question, passed in results if question == name] for name in key.questions}
    return Analysis(
        study=key.study,
        participants=len(kept),
        excluded=len(answers) - len(kept),
        copies=copies,
        checks=len(checks),
        allowed_failures=most,
        chance_of_passing=chance_of_passing(len(checks), key.allowed_failures),
        checks_passed={name: rate(sum(passed), len(passed)) for name, passed in by_question.items() if passed},
        first_place=rate(sum(answer.place == 1 for answer in choices), len(choices)),
        seconds=statistics.median(answer.milliseconds for answer in choices) / 1000,
        preferences=[each for question in key.questions for each in _preferences(question, kept, key)],
    )


def rate(count: int, total: int) -> Rate:
    """`count` of `total`, which is 1 or more, with its Wilson score interval at 95%."""
    interval = binomtest(count, total).proportion_ci(confidence_level=0.95, method="wilson")
    return Rate(count / total, float(interval.low), float(interval.high), count, total)


def sign_test(first: int, second: int) -> float:
    """Two-sided p-value of `first` against `second` signs where both are equally likely; 1 without any
    (Dixon & Mood, 1946)."""
    return float(binomtest(first, first + second).pvalue) if first + second else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values of m tests, corrected for all of them: the k-th smallest becomes the largest of
    (m - j + 1) p_(j) over j <= k, at most 1 (Holm, 1979)."""
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, (len(p_values) - rank) * p_values[place])
        corrected[place] = min(1.0, largest)
    return corrected


def _check_results(answers: Answers, key: Key) -> Iterator[tuple[str, bool]]:
    """Question of each attention check, and whether it was passed."""
    for answer in answers.answers:
        trial = key.trials[answer.trial]
        if trial.correct is not None:
            yield trial.question, answer.chosen == trial.correct


def _preferences(question: str, kept: Sequence[Answers], key: Key) -> list[Preference]:
    pairs = list(combinations(key.methods, 2))
    balances = [[_balance(each, question, *pair, key) for each in kept] for pair in pairs]
    counts = [(sum(a for a, _ in each), sum(b for _, b in each)) for each in balances]
    people = [(sum(a > b for a, b in each), sum(b > a for a, b in each)) for each in balances]
    p_values = [sign_test(*each) for each in counts]
    p_people = [sign_test(*each) for each in people]
    return [
        Preference(
            question=question,
            first=pairs[i][0],
            second=pairs[i][1],
            rate=rate(counts[i][0], sum(counts[i])),
            p_value=p_values[i],
            p_holm=p_holm,
            participants_first=people[i][0],
            participants_second=people[i][1],
            participants_tied=len(kept) - sum(people[i]),
            p_participants=p_people[i],
            p_participants_holm=p_people_holm,
        )
        for i, (p_holm, p_people_holm) in enumerate(zip(holm(p_values), holm(p_people), strict=True))
    ]


def _balance(answers: Answers, question: str, first: str, second: str, key: Key) -> tuple[int, int]:
    """How often one participant chose the first method over the second, and the other way round."""
    chosen: Counter[str] = Counter()
    for answer in answers.answers:
        trial = key.trials[answer.trial]
        shown = {key.pictures[trial.first].method, key.pictures[trial.second].method}
        if trial.correct is None and trial.question == question and shown == {first, second}:
            chosen[key.pictures[answer.chosen].method] += 1
    return chosen[first], chosen[second]
