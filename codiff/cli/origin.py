"""`codiff origin`: how a picture was made."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from codiff.credentials import Origin, can_sign, read_origin
from codiff.errors import InputError
from codiff.png_metadata import read_metadata


def origin(
    picture: Annotated[Path, typer.Argument(help="A PNG.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print all of it on standard output.")] = False,
) -> None:
    """Tell how a picture was made: its Content Credentials, and the metadata beside it."""
    if not picture.is_file():
        raise InputError(f"there is no file {picture}")
    credentials = read_origin(picture) if can_sign() else None
    metadata = read_metadata(picture)
    if as_json:
        told = {"credentials": None if credentials is None else asdict(credentials), "metadata": metadata}
        typer.echo(json.dumps(told, indent=2))
        return
    typer.echo(_told(credentials))
    if not metadata:
        typer.echo("no metadata of codiff")
    for name, value in metadata.items():
        typer.echo(f"{name}: {value if isinstance(value, str) else json.dumps(value)}")


def _told(credentials: Origin | None) -> str:
    if not can_sign():
        return "Content Credentials are not read: pip install 'codiff[provenance]'"
    if credentials is None:
        return "no Content Credentials: it carries none, or other software removed them"
    if not credentials.intact:
        return "CHANGED: this is not the picture that was signed"
    kind = "a photo edited with codiff" if credentials.edited else "a picture made with codiff"
    trust = "" if credentials.trusted else ", whom no known authority vouches for"
    return f"as it was signed: {kind}; signed by {credentials.signer}{trust}"
