"""An analysis in words and tables, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping

from codiff.study.analysis import Analysis, Preference, Rate

_READING = """\
Preference: share of choices of the first method, with its Wilson 95% interval. p: two-sided sign test, corrected by
Holm's method for the pairs of a question. The test over choices takes all choices as independent, which those of one
participant are not quite; the test over participants counts who chose which method more often and needs no such
assumption. Equal methods give 50%."""


def markdown(analysis: Analysis, asked: Mapping[str, str]) -> str:
    """The report; `asked` maps each question's name to the words that participants read."""
    parts = [f"# User study {analysis.study}", _people(analysis)]
    for name in dict.fromkeys(each.question for each in analysis.preferences):
        rows = [each for each in analysis.preferences if each.question == name]
        parts += [f"## {name}: {asked.get(name, '')}", _table(rows)]
    return "\n\n".join([*parts, _READING]) + "\n"


def percent(rate: Rate) -> str:
    """As in "62.5% [58.1, 66.7]"."""
    return f"{100 * rate.share:.1f}% [{100 * rate.low:.1f}, {100 * rate.high:.1f}]"


def _people(analysis: Analysis) -> str:
    passed = ", ".join(f"{name} {100 * rate.share:.0f}%" for name, rate in analysis.checks_passed.items())
    if analysis.checks:
        excluded = (
            f"{analysis.excluded} excluded for failing more than {analysis.allowed_failures} of {analysis.checks} "
            f"attention checks (of those who always guess, {100 * analysis.chance_of_passing:.1f}% would pass)"
        )
    else:
        excluded = "nobody excluded, as the study has no attention checks"
    lines = [
        f"- Participants: {analysis.participants} counted, {excluded}.",
        *([f"- Checks passed by all participants: {passed}."] if passed else []),
        *([f"- Files left out as copies of another: {analysis.copies}."] if analysis.copies else []),
        f"- The left or upper picture was chosen in {percent(analysis.first_place)} of {analysis.first_place.total:,} "
        f"choices; half the choices took less than {analysis.seconds:.1f} s.",
    ]
    return "\n".join(lines)


def _table(rows: list[Preference]) -> str:
    head = ("first", "second", "choices", "first preferred", "p", "participants: first / second / tied", "p of these")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for each in rows:
        people = f"{each.participants_first} / {each.participants_second} / {each.participants_tied}"
        lines.append(
            f"| {_cell(each.first)} | {_cell(each.second)} | {each.rate.total:,} | {percent(each.rate)} | "
            f"{_p(each.p_holm)} | {people} | {_p(each.p_participants_holm)} |"
        )
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
