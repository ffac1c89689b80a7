"""`codiff`: its commands, and how every error becomes one line and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import typer

import codiff
from codiff.cli.convert import convert
from codiff.cli.data import data
from codiff.cli.edit import edit
from codiff.cli.evaluate import evaluate
from codiff.cli.faces import faces
from codiff.cli.generate import generate
from codiff.cli.modality_options import chosen_modalities, condition_options, with_conditions
from codiff.cli.origin import origin
from codiff.cli.show import INTERRUPTED, WRONG_INPUT, debugging, failed, quiet, stoppable, tell
from codiff.cli.study import study
from codiff.cli.train import assemble, train
from codiff.web.command import web

_DESCRIPTION = """Faces from a caption, a mask and a sketch together, by models trained separately, one a modality.

Start with: codiff generate --text "This man has a long beard. He is in his sixties." --count 4
"""
_CONDITIONED: Mapping[str, Callable[..., None]] = {"generate": generate, "edit": edit}
# The class of all misuses; typer exports this one kind of it.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command of `codiff`: 0 done, 1 failed, 2 wrong input, 130 interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    options: dict[str, str] = {}
    with quiet(), stoppable():
        try:
            if given[0] in _CONDITIONED:
                options = condition_options(_CONDITIONED[given[0]], chosen_modalities(given))
            command = typer.main.get_command(build(options))
            code = command.main(args=given, prog_name="codiff", standalone_mode=False)
        except _UsageError as error:
            tell(f"error: {_misuse(error, options)}")
            return WRONG_INPUT
        except (KeyboardInterrupt, typer.Abort):
            code = INTERRUPTED
        except Exception as error:
            return failed(error)
        if code == INTERRUPTED:
            tell("interrupted; what was written is whole, and the same command goes on")
        return code if isinstance(code, int) else 0


def build(options: Mapping[str, str]) -> typer.Typer:
    """All commands; `generate` and `edit` have these options for the modalities of its model."""
    app = typer.Typer(
        help=_DESCRIPTION, add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=debugging()
    )
    app.callback()(_top)
    generating = with_conditions(generate, options), with_conditions(edit, options)
    for command in (*generating, web, faces, evaluate, origin, train, assemble, convert):
        app.command(command.__name__, help=_flowing(command.__doc__ or ""))(command)
    app.add_typer(data, name="data")
    app.add_typer(study, name="study")
    return app


def _flowing(text: str) -> str:
    """Paragraphs without the line breaks of the source, for any width of terminal."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _top(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=lambda value: _version(value), help="Print the version."),
    ] = False,
) -> None:
    pass


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"codiff {codiff.__version__}")
        raise typer.Exit


def _misuse(error: Any, options: Mapping[str, str]) -> str:
    """What is wrong with the arguments, and where to read what is right."""
    message = error.format_message().rstrip(".")
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "codiff"
    if hasattr(error, "possibilities") and options:
        message = f"{message}; the conditions of this model are {', '.join(options.values())}"
    return f"{message[:1].lower()}{message[1:]}; see {command} --help"
