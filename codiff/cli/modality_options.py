"""One option for each modality of the chosen model: which model that is must be known before the rest is parsed."""

from __future__ import annotations

import argparse
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from codiff.errors import InputError
from codiff.model_files import find_model, read_index

DEFAULT_MODEL = "demo"
_HELP = ("-h", "--help")
_PANEL = "Conditions (any subset of what the model has)"


def chosen_modalities(arguments: Sequence[str]) -> list[str]:
    """The modalities of the model that the arguments of a command name with --model.

    Raises:
        InputError: that model is missing or broken; where only help is asked for there are none then.
    """
    if not any(argument in _HELP for argument in arguments):
        return modalities_of(find_model(_chosen_model(arguments)))
    try:
        return modalities_of(find_model(_chosen_model(arguments), local_files_only=True))
    except InputError:
        return []


def _chosen_model(arguments: Sequence[str]) -> str:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    try:
        return str(parser.parse_known_args(list(arguments))[0].model)
    except argparse.ArgumentError:  # --model without a value: the real parser says so
        return DEFAULT_MODEL


def modalities_of(folder: Path) -> list[str]:
    """What a model's folder says it can be conditioned on, without loading it.

    Raises:
        InputError: not a codiff model, or broken.
    """
    read_index(folder)
    listing = folder / "collaborators" / "config.json"
    try:
        modalities = json.loads(listing.read_text(encoding="utf-8"))["modalities"]
        if not modalities or not all(isinstance(name, str) and name for name in modalities):
            raise ValueError("it lists no modalities")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{listing} is missing or broken ({error}); download or convert the model again") from error
    return list(modalities)


def condition_options(command: Callable[..., None], modalities: Sequence[str]) -> dict[str, str]:
    """Modality -> the option that takes its condition; `--condition-X` where `command` has an `--X` of its own."""
    taken = {"--help"}
    for name, parameter in inspect.signature(command, eval_str=True).parameters.items():
        for info in getattr(parameter.annotation, "__metadata__", ()):
            taken.update(info.param_decls or (f"--{name.replace('_', '-')}",))
    return {name: f"--condition-{name}" if f"--{name}" in taken else f"--{name}" for name in modalities}


def with_conditions(command: Callable[..., None], options: Mapping[str, str]) -> Callable[..., None]:
    """`command(conditions, ...)` with an option for each modality in place of `conditions`, for typer to parse."""
    signature = inspect.signature(command, eval_str=True)
    kind = inspect.Parameter.KEYWORD_ONLY
    own = [parameter.replace(kind=kind) for name, parameter in signature.parameters.items() if name != "conditions"]
    fields = {f"condition_{number}": modality for number, modality in enumerate(options)}
    offered = [
        inspect.Parameter(field, kind, default=_option(modality, options[modality]), annotation=str | None)
        for field, modality in fields.items()
    ]

    def parsed(**values: Any) -> None:
        given = {modality: values.pop(field) for field, modality in fields.items()}
        command({modality: value for modality, value in given.items() if value is not None}, **values)

    parsed.__doc__, parsed.__name__ = command.__doc__, command.__name__
    parsed.__annotations__ = {parameter.name: parameter.annotation for parameter in [*offered, *own]}
    parsed.__signature__ = inspect.Signature([*offered, *own])  # type: ignore[attr-defined]
    return parsed


def _option(modality: str, option: str) -> Any:
    return typer.Option(
        None, option, metavar="VALUE", rich_help_panel=_PANEL, show_default=False,
        help=f"What the {modality} collaborator follows: words, or the path of a file.",
    )  # fmt: skip
