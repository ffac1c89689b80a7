"""`codiff convert`: published checkpoints to a model folder."""

from __future__ import annotations

import json
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import torch
import typer

from codiff.cli.outputs import check_writable
from codiff.cli.show import progress, tell
from codiff.convert import Description, preset_description, presets, yaml_description
from codiff.convert import convert as convert_checkpoints
from codiff.errors import InputError


class Half(StrEnum):
    """Half-precision formats."""

    FP16 = "fp16"
    BF16 = "bf16"


_DTYPES = {None: torch.float32, Half.FP16: torch.float16, Half.BF16: torch.bfloat16}


def convert(
    source: Annotated[
        Path,
        typer.Argument(metavar="PRETRAINED_DIR", help="Folder of the .ckpt files, or one of them.", show_default=False),
    ],
    output: Annotated[Path, typer.Argument(help="Folder of the model to write.", show_default=False)],
    preset: Annotated[str | None, typer.Option(help=f"{' or '.join(presets())}.", show_default=False)] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="YAML", help="A published configuration, for other sizes.", show_default=False),
    ] = None,
    half: Annotated[Half | None, typer.Option(help="Store the weights in half precision.", show_default=False)] = None,
    vocab: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="BERT's vocab.txt or a hub id, so that --text works.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report on standard output.")] = False,
) -> None:
    """Convert published checkpoints of Collaborative Diffusion.

    The collaborative file (as 512_codiff_mask_text.ckpt) suffices; uni-modal files alone give single collaborators.
    Nothing in the files is run, and every tensor in them is accounted for in conversion.json.
    """
    description, name = _described(preset, config)
    check_writable(output.parent)
    with progress() as bar:
        task = bar.add_task("converting", total=None, state="")
        report = convert_checkpoints(
            source,
            output,
            description,
            name=name,
            dtype=_DTYPES[half],
            vocabulary=vocab,
            progress=lambda part: bar.update(task, state=part),
        )
    for file, told in report["files"].items():
        tell(f"{file}: {told['used']} tensors used" + _ignored(told["ignored"]))
    if report["unread"]:
        tell(f"left unread: {', '.join(report['unread'])}")
    if vocab is None and "collaborators/text" in report["parts"]:
        tell("the text model has no vocabulary, so it takes token ids alone; convert with --vocab to use --text")
    tell(f"converted: {output}")
    if as_json:
        typer.echo(json.dumps(report))


def _described(preset: str | None, config: Path | None) -> tuple[Description, str]:
    """What the model is made of, and what the names of its files begin with."""
    if (preset is None) == (config is None):
        raise InputError(f"give --preset ({', '.join(presets())}) or --config with a published YAML, one of them")
    if preset is not None:
        return preset_description(preset), preset.rpartition("-")[2]
    assert config is not None
    return yaml_description(config), re.sub(r"_(codiff_\w+|vae|text|mask|sketch)$", "", config.stem)


def _ignored(reasons: dict[str, list[str]]) -> str:
    return "".join(f"; ignored {len(keys)}: {reason}" for reason, keys in reasons.items())
