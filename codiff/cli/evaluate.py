"""`codiff evaluate`: the reference benchmark of a model, and the same measures of pictures made by other software."""

from __future__ import annotations

import importlib
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from accelerate import PartialState

from codiff.cli.drawing import model_digest, open_device
from codiff.cli.modality_options import DEFAULT_MODEL
from codiff.cli.outputs import check_writable
from codiff.cli.show import tell
from codiff.errors import InputError
from codiff.evaluation.notes import shortened
from codiff.evaluation.protocols import PROTOCOLS, protocol_named
from codiff.model_files import find_model
from codiff.pipeline import CollaborativePipeline

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_PATIENCE = timedelta(days=7)  # of processes that wait for slower ones


def _benchmark(help_text: str, *names: str, **kwargs: Any) -> Any:
    return typer.Option(*names, help=help_text, rich_help_panel="Benchmark", **kwargs)


def _judges(help_text: str, *names: str, **kwargs: Any) -> Any:
    return typer.Option(*names, help=help_text, rich_help_panel="Judges and data", show_default=False, **kwargs)


def _pictures(help_text: str, *names: str, **kwargs: Any) -> Any:
    return typer.Option(
        *names, help=help_text, rich_help_panel="Pictures of other software", show_default=False, **kwargs
    )


def evaluate(
    model: Annotated[str, _benchmark("demo, a model's folder, or a hub id.", metavar="NAME")] = DEFAULT_MODEL,
    protocol: Annotated[str, _benchmark(f"{', '.join(PROTOCOLS)}.", metavar="NAME")] = "demo-3000",
    methods: Annotated[str | None, _benchmark("As a,b,c; without: all.", metavar="NAMES", show_default=False)] = None,
    faces: Annotated[int | None, _benchmark("Only the first so many conditions.", show_default=False)] = None,
    steps: Annotated[int | None, _benchmark("Other than the protocol's.", show_default=False)] = None,
    dtype: Annotated[str, _benchmark(f"{' or '.join(DTYPES)}.", metavar="NAME")] = "float32",
    batch: Annotated[int, _benchmark("Pictures at once.")] = 16,
    guidance: Annotated[
        str, _benchmark("Scales to choose from, as 1,2,3; a single one is taken for every method.", metavar="SCALES")
    ] = "1,1.5,2,3,4.5,7,10",
    tuning_faces: Annotated[int, _benchmark("Conditions on which scales and weights are chosen.")] = 96,
    weight_parts: Annotated[int, _benchmark("Fixed weights are multiples of one over this.")] = 4,
    losses: Annotated[int, _benchmark("Conditions for the loss by timestep; 0 leaves it out.")] = 64,
    device: Annotated[str | None, _benchmark("cpu, cuda, ...", metavar="NAME", show_default=False)] = None,
    out: Annotated[Path, _benchmark("Where the report, the pictures and unfinished work go.", metavar="FOLDER")] = Path(
        "report"
    ),
    data: Annotated[Path | None, _judges("CelebA-HQ, raw or prepared.", metavar="FOLDER")] = None,
    face_parser: Annotated[Path | None, _judges("BiSeNet's weights, for photographs.", metavar="FILE")] = None,
    inception: Annotated[str | None, _judges("InceptionV3's weights, for FID and KID.", metavar="FILE")] = None,
    clip: Annotated[str | None, _judges("CLIP, for the CLIP score: a folder or hub id.", metavar="NAME")] = None,
    images: Annotated[Path | None, _pictures("Measure these instead of a model.", metavar="FOLDER")] = None,
    reference: Annotated[Path | None, _pictures("Real ones, for distances between sets.", metavar="FOLDER")] = None,
    masks: Annotated[Path | None, _pictures("Named as the pictures.", metavar="FOLDER")] = None,
    captions: Annotated[Path | None, _pictures("JSON: picture's name and caption.", metavar="FILE")] = None,
    labels: Annotated[Path | None, _pictures("JSON: picture's name, attributes and classes.", metavar="FILE")] = None,
) -> None:
    """Measure every method of a model under one protocol, and write report.html, report.md and report.json.

    Every collaborator alone and every rule of composition generate from the same conditions and noise, each at its own
    best guidance scale. Start it with torchrun to share the work among processes and machines that see one folder. The
    same command goes on where it was stopped; --faces and --methods may grow.

    With --images, pictures of any other software are measured in the same way: masks by the face parser, attributes of
    --labels by the classifier, sets by the parser's features (the model's own, for drawn faces) or, for photographs, by
    --face-parser, --clip and --inception. A metric whose input is missing is left out by name.
    """
    check_writable(out)
    if batch < 1 or losses < 0:
        raise InputError("--batch must be at least 1, and --losses 0 or more")
    weights = face_parser, inception, clip
    material = {"reference": reference, "masks": masks, "captions": captions, "labels": labels}
    if images is not None:
        _refuse({"methods": methods, "faces": faces, "steps": steps, "data": data})
        judges = _judges_of_images(find_model(model), weights, device)
        folders = _library("folders").Folders(images, **material)
        tell(f"wrote {_library('external').evaluate_images(folders, judges, out, batch)}")
        return
    given = [f"--{name}" for name, value in material.items() if value is not None]
    if given:
        raise InputError(f"{', '.join(given)} belongs to --images, the folder of pictures that are measured")
    if dtype not in DTYPES:
        raise InputError(f"unknown dtype {dtype!r}; known: {', '.join(DTYPES)}")
    chosen = protocol_named(protocol).smaller(faces, steps)
    running, tuning = _library("running"), _library("tuning")
    search = tuning.Tuning(tuning_faces, _scales(guidance), weight_parts)
    request = running.Request(chosen, _names(methods), search, batch, losses, data)
    report = _of_model(request, find_model(model), weights, DTYPES[dtype], device, out)
    if report is not None:
        tell(f"wrote {report}, report.md and report.json beside it")


_Weights = tuple[Path | None, str | None, str | None]
"""Of BiSeNet, InceptionV3 and CLIP."""


def _library(name: str) -> Any:
    """A module of `codiff.evaluation`, imported when it is asked for: most of them need the libraries of an extra."""
    try:
        return importlib.import_module(f"codiff.evaluation.{name}")
    except ModuleNotFoundError as error:
        raise InputError(f"this needs the library {error.name}: pip install 'codiff[eval]'") from error


def _of_model(
    request: Any, folder: Path, weights: _Weights, dtype: torch.dtype, device: str | None, out: Path
) -> Path | None:
    """The report of a model, in the first process."""
    running = _library("running")
    processes = PartialState(cpu=device == "cpu" or not torch.accelerator.is_available(), timeout=_PATIENCE)
    try:
        judges = _library("judges").judges_for(folder, request.protocol, *weights)
        pipe = CollaborativePipeline.from_pretrained(folder, torch_dtype=dtype)
        pipe.to(_device(processes, device))
        pipe.set_progress_bar_config(disable=True)
        benchmark = running.open_benchmark(pipe, judges, request, out, processes)
        if processes.is_main_process:
            _tell_plan(benchmark)
        report: Path | None = running.run_benchmark(benchmark, model_digest(folder))
        return report
    finally:
        processes.destroy_process_group()


def _device(processes: PartialState, wanted: str | None) -> torch.device:
    """Of this process: of several, each has its own.

    Raises:
        InputError: another kind is wanted than several processes have, or one of a number.
    """
    if processes.num_processes == 1:
        return open_device(wanted)
    if wanted not in (None, processes.device.type):
        raise InputError(f"--device {wanted}: {processes.num_processes} processes take {processes.device.type} each")
    found: torch.device = processes.device
    return found


def _refuse(options: dict[str, object]) -> None:
    """Raises:
    InputError: one of them is given.
    """
    given = [f"--{name}" for name, value in options.items() if value is not None]
    if given:
        raise InputError(f"{', '.join(given)} belongs to a model that is measured; --images measures pictures")


def _judges_of_images(model: Path, weights: _Weights, device: str | None) -> Any:
    """The judges of the given weights, or the model's own without any."""
    judging = _library("judges")
    judges = judging.photograph_judges(*weights) if any(weights) else judging.Judges.shipped(model)
    return judges.to(open_device(device))


def _names(given: str | None) -> list[str] | None:
    return None if given is None else [name.strip() for name in given.split(",") if name.strip()]


def _scales(given: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in given.split(","))
    except ValueError as error:
        raise InputError(f"--guidance takes numbers, as 1,2,3 or 2, not {given!r}") from error


def _tell_plan(benchmark: Any) -> None:
    protocol, search = benchmark.protocol, benchmark.tuning
    tell(f"{protocol.name}: {protocol.conditions} conditions, {protocol.steps} steps, {len(benchmark.methods)} methods")
    if len(search.scales) > 1:
        tell(f"guidance scales are chosen on {benchmark.data.tuning_from}")
    for name, reason in benchmark.left_out.items():
        tell(f"note: {name} is left out: {reason}")
    for note in shortened(benchmark.notes):
        tell(f"note: {note}")
