"""Errors that appear beside the input they concern."""

from __future__ import annotations

from codiff.errors import InputError

RUN = "run"
"""The field of what no input is to blame for: a full queue, an error of the server."""

_ON_THE_PAGE = {
    "letterbox=True": 'the option "pad to a square"',
    "snap=True": 'the option "snap to the nearest colours"',
}


class FieldError(InputError):
    """What is wrong with one input of the page.

    Args:
        field: its name: a modality, "seed", "count", "steps", "scheduler", "guidance", "composition", "bias", "record",
            "conditions" where there are none at all, or `RUN`.
        message: for people, as every `InputError`'s.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def on_the_page(field: str, error: InputError) -> FieldError:
    """The same error beside a field, with Python's arguments by the names that the page gives them."""
    message = str(error)
    for argument, option in _ON_THE_PAGE.items():
        message = message.replace(argument, option)
    return FieldError(field, message)
