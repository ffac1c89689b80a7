"""Libraries that only some of codiff's users need."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from codiff.errors import InputError


def library(name: str) -> Any:
    """The module `name` of a library that `pip install codiff[train]` brings.

    Raises:
        InputError: it is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        package = name.partition(".")[0]
        raise InputError(f"this needs the library {package}: pip install 'codiff[train]'") from error
