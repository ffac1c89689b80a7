"""The command line as tests call it."""

from collections.abc import Callable

import pytest

from codiff.main import main

Command = Callable[..., tuple[int, str, str]]
"""Arguments -> exit code, standard output, standard error."""


def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Calls the command line in this process."""

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([*map(str, arguments)])
        return code, *capsys.readouterr()

    return call


def refused(result: tuple[int, str, str], *parts: str) -> None:
    """One line that names these parts, exit code 2, nothing on standard output."""
    code, said, told = result
    assert (code, said) == (2, "")
    assert told.startswith("error: ")
    assert told.count("\n") == 1, told
    for part in parts:
        assert part in told
