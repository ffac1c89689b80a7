"""`codiff faces`: a contact sheet of the procedural faces."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from codiff.cli.outputs import check_writable
from codiff.cli.show import tell
from codiff.data.face_sheet import face_sheet
from codiff.errors import InputError
from codiff.files import written_aside


def faces(
    sheet: Annotated[Path, typer.Argument(help="The PNG file to write.", show_default=False)],
    count: Annotated[int, typer.Option(help="How many faces, 1 to 200.")] = 12,
    start: Annotated[int, typer.Option(help="Number of the first face.")] = 0,
    seed: Annotated[int, typer.Option(help="Which series of faces; training uses 0.")] = 0,
    size: Annotated[int, typer.Option(help="Side of a face in pixels, 32 to 1024.")] = 128,
) -> None:
    """Draw procedural faces with their masks, sketches and captions."""
    if sheet.suffix.lower() != ".png":
        raise InputError(f"the sheet is written as PNG: give a name like {sheet.with_suffix('.png')}, not {sheet}")
    check_writable(sheet.parent)
    if sheet.is_dir():
        raise InputError(f"{sheet} is a folder; give the name of a file")
    picture = face_sheet(count, start=start, seed=seed, size=size)
    with written_aside(sheet) as temporary:
        picture.save(temporary, format="PNG")
    tell(f"{count} faces, {picture.width} x {picture.height} pixels: {sheet}")
