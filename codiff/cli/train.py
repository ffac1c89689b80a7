"""`codiff train` and `codiff assemble`: from a preset to a model folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from codiff.cli.outputs import check_writable
from codiff.cli.show import tell
from codiff.errors import InputError
from codiff.training.assemble import assemble as assemble_model
from codiff.training.assemble import check_output
from codiff.training.loop import Interrupted
from codiff.training.loop import train as train_stage
from codiff.training.recipes import STAGES, check_stage, folder_of, stage_for
from codiff.training.settings import preset_names, read_preset


def train(
    stage: Annotated[str, typer.Argument(metavar="STAGE", help=f"{', '.join(STAGES)}.", show_default=False)],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME=VALUE", help="Settings that differ from the preset's, as loop.steps=2000.", show_default=False
        ),
    ] = None,
    preset: Annotated[str, typer.Option(help=f"{', '.join(preset_names())}, or a .toml file.")] = "demo-128",
    modality: Annotated[str | None, typer.Option(help="Which collaborator.", show_default=False)] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of CelebA-HQ: raw, preprocessed, or written by codiff data prepare.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Of all stages; without: runs/PRESET.", show_default=False)
    ] = None,
    allow_changes: Annotated[bool, typer.Option("--allow-changes", help="Go on though settings have changed.")] = False,
) -> None:
    """Train one stage of a model, or go on where it was stopped.

    Order: face-parser, attribute-classifier, vae, a collaborator for each modality, dynamic-diffusers; then codiff
    assemble. They train on procedural faces, or on CelebA-HQ in --data. Every stage trains into a folder of its own
    below --out, with checkpoints, curves and sample pictures. Ctrl-C saves; the same command goes on from there.
    """
    tables = read_preset(preset)
    check_stage(tables, stage, modality)
    runs = out or Path("runs") / Path(preset).stem
    folder = folder_of(runs, stage, modality)
    check_writable(folder)
    changed = [*(overrides or []), *([] if data is None else [f"data.folder={_quoted(data)}"])]
    ready = stage_for(tables, stage, runs, modality, changed)
    tell(
        f"{ready.name}: {ready.loop.steps} steps of {ready.loop.batch_size} of {ready.examples} examples, into {folder}"
    )
    try:
        model = train_stage(ready, folder, allow_changes=allow_changes)
    except Interrupted as stopped:
        tell(str(stopped))
        return
    tell(f"trained: {model}")


def _quoted(path: Path) -> str:
    """A path as a string in TOML."""
    return json.dumps(str(path), ensure_ascii=False)


def assemble(
    runs: Annotated[Path, typer.Argument(help="Folder of the trained stages.", show_default=False)],
    output: Annotated[Path, typer.Argument(help="Folder of the model to write.", show_default=False)],
    half: Annotated[bool, typer.Option("--half", help="Store the weights in half precision.")] = False,
) -> None:
    """Collect trained stages into one model folder."""
    if not runs.is_dir():
        raise InputError(f"there is no folder {runs}; give the one that codiff train wrote into")
    check_output(output)
    check_writable(output.parent)
    for part, millions in assemble_model(runs, output, half=half).items():
        tell(f"{part}: {millions:.2f} M parameters")
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file()) / 2**20
    tell(f"{output}: {size:.1f} MiB")
