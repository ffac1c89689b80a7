"""What inputs were adapted, collected for a report instead of told line by line."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from codiff.errors import InputNotice

_MOST = 5


@contextmanager
def noted(notes: list[str]) -> Iterator[None]:
    """Notices are added to a list, each once, instead of told; other warnings stay what they are."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", InputNotice)
        yield
    for notice in caught:
        if not issubclass(notice.category, InputNotice):
            warnings.warn_explicit(notice.message, notice.category, notice.filename, notice.lineno)
        elif str(notice.message) not in notes:
            notes.append(str(notice.message))


def shortened(notes: Sequence[str]) -> list[str]:
    """The first notes, and how many more there are."""
    rest = len(notes) - _MOST
    return [*notes[:_MOST], *([f"{rest} more of this kind"] if rest > 0 else [])]
