"""`codiff generate`: pictures of conditions, and what led to them."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

import codiff
from codiff.cli.drawing import Settings, Task, draw, open_device, plan, relax, runs_of, settings_of
from codiff.cli.modality_options import DEFAULT_MODEL, modalities_of
from codiff.cli.outputs import Signer, check_writable, signer_of
from codiff.cli.requests import Request, check_seed, read_batch
from codiff.cli.schedulers import SCHEDULERS, check_sampling, check_scheduler, scheduler_named
from codiff.cli.show import no_notes, progress, tell
from codiff.cli.steering import naming, read_steering, recorded, told, training_timesteps
from codiff.composition import RULES, InfluenceBias, check_modalities, learned_rule
from codiff.errors import InputError
from codiff.model_files import find_model
from codiff.pipeline import CollaborativePipeline

MOST_IMAGES = 64
GUIDANCE = 2.0


def _sampling(help_text: str, *names: str, **kwargs: Any) -> Any:
    return typer.Option(*names, help=help_text, rich_help_panel="Sampling", **kwargs)


def _output(help_text: str, *names: str, **kwargs: Any) -> Any:
    return typer.Option(*names, help=help_text, rich_help_panel="Output", **kwargs)


def generate(
    conditions: dict[str, str],
    model: Annotated[str, _sampling("demo, a model's folder, or a hub id.", metavar="NAME")] = DEFAULT_MODEL,
    count: Annotated[int, _sampling("Images of each set of conditions, 1 to 64.")] = 4,
    seed: Annotated[int, _sampling("Of the first image; the others count up.")] = 0,
    steps: Annotated[int, _sampling("Denoising steps.")] = 50,
    scheduler: Annotated[str | None, _sampling(f"{', '.join(SCHEDULERS)}; or the model's own.", metavar="NAME")] = None,
    guidance: Annotated[
        float | None, _sampling(f"1 follows conditions plainly, more closer; {GUIDANCE:g} where the model allows it.")
    ] = None,
    composition: Annotated[
        str | None, _sampling(f"{', '.join(RULES)}; or what the model was trained for.", metavar="NAME")
    ] = None,
    eta: Annotated[float, _sampling("Noise of ddim, 0 to 1.")] = 0.0,
    steer: Annotated[
        Path | None, _sampling("Raise or lower modalities: strength, curve and map of each, as JSON.", metavar="FILE")
    ] = None,
    letterbox: Annotated[bool, _sampling("Pad pictures that are not square.", "--letterbox")] = False,
    snap: Annotated[bool, _sampling("Take a palette's nearest colour where colours are off.", "--snap")] = False,
    device: Annotated[str | None, _sampling("cpu, cuda, ...; or the fastest there is.", metavar="NAME")] = None,
    out: Annotated[Path, _output("Where the pictures go.", metavar="FOLDER")] = Path("out"),
    influences: Annotated[bool, _output("Also draw which model influenced what.", "--influences")] = False,
    intermediates: Annotated[bool, _output("Also draw what each step foresees.", "--intermediates")] = False,
    batch: Annotated[Path | None, _output("Many sets of conditions, one JSON object a line.", metavar="FILE")] = None,
    credentials: Annotated[
        bool, _output("Sign the pictures: Content Credentials.", "--credentials/--no-credentials")
    ] = True,
    as_json: Annotated[bool, _output("Print a summary on standard output.", "--json")] = False,
) -> None:
    """Generate images that follow any subset of a model's conditions, together.

    Each image is a PNG that records its seed, conditions, model and settings; an overview shows them all.

    A line of a batch file is like {"text": "A man.", "mask": "a.png", "seed": 3, "name": "a"}: conditions, with paths
    from the file's own folder, and if you like a seed, a name and steer. What a line leaves out is taken from the
    command.
    The same command given again goes on: finished lines are skipped.
    """
    _check_numbers(count, steps, guidance, eta)
    check_scheduler(scheduler)
    if composition not in (None, *RULES):
        raise InputError(f"unknown composition {composition!r}; known: {', '.join(RULES)}")
    check_writable(out)
    folder = find_model(model)
    common = Request(conditions, check_seed(seed, count), bias=_steering(steer, folder))
    requests = _requests(folder, common, batch, steer, count)
    pipe = CollaborativePipeline.from_pretrained(folder).to(open_device(device))
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = scheduler_named(scheduler, pipe.scheduler)
    check_sampling(pipe.scheduler, steps, eta)
    relax(pipe, letterbox=letterbox, snap=snap)
    if guidance is None:
        guidance = GUIDANCE if pipe.config.condition_dropout else 1.0
    composition = composition or learned_rule(pipe.dynamic_diffusers or {})
    sampling = {"steps": steps, "guidance": guidance, "composition": composition, "eta": eta}
    settings = settings_of(pipe, folder, model, sampling)
    wanted = {"influences": influences, "overlay": influences, "intermediates": intermediates}
    figures = [kind for kind, is_wanted in wanted.items() if is_wanted]
    signer = signer_of(credentials)
    tasks = [plan(pipe, request, settings, out, count, figures) for request in requests]
    summary = _run(pipe, settings, tasks, signer, resume=batch is not None)
    if as_json:
        typer.echo(json.dumps(summary, indent=2))


def _check_numbers(count: int, steps: int, guidance: float | None, eta: float) -> None:
    if not 1 <= count <= MOST_IMAGES:
        raise InputError(f"count must be from 1 to {MOST_IMAGES}, not {count}; use --batch for more")
    if steps < 1:
        raise InputError(f"steps must be 1 or more, not {steps}")
    if guidance is not None and not math.isfinite(guidance):
        raise InputError(f"guidance must be a finite number, not {guidance}")
    if not 0 <= eta <= 1:
        raise InputError(f"eta must be from 0 to 1, not {eta}")


def _steering(path: Path | None, folder: Path) -> InfluenceBias | None:
    return None if path is None else read_steering(path, modalities_of(folder), training_timesteps(folder))


def _requests(folder: Path, common: Request, batch: Path | None, steer: Path | None, count: int) -> list[Request]:
    modalities = modalities_of(folder)
    if batch is not None:
        return read_batch(batch, modalities, common, count, training_timesteps(folder))
    check_modalities(common.conditions, dict.fromkeys(modalities))
    if common.bias is not None:
        with naming(str(steer)):
            common.bias.check(list(common.conditions))
    return [common]


def _run(
    pipe: CollaborativePipeline, settings: Settings, tasks: list[Task], signer: Signer | None, *, resume: bool
) -> dict[str, Any]:
    """Draw all tasks that are not done, telling how far it is; what there is then, for --json."""
    skipped = [resume and task.outputs.done() for task in tasks]
    todo = [task for task, skip in zip(tasks, skipped, strict=True) if not skip]
    _tell_plan(pipe, settings, tasks, todo)
    started = time.monotonic()
    with progress() as bar:
        line = bar.add_task("", total=sum(runs_of(task) for task in todo) * settings.steps, state="")
        for number, task in enumerate(todo, start=1):
            place = f"{number} of {len(todo)}: " if len(todo) > 1 else ""
            bar.update(line, description=f"{place}{task.outputs.name}")

            def on_step(step: int) -> None:
                bar.update(line, advance=1, state=f"step {step} of {settings.steps}")

            with no_notes():  # conditions are read again; what was to be told of them was told
                draw(pipe, task, settings, on_step, signer)
    seconds = round(time.monotonic() - started, 1)
    for task in todo:
        tell(f"wrote {task.outputs.grid}")
    tell(f"{sum(len(task.outputs.seeds) for task in todo)} images in {seconds} s, all in {tasks[0].outputs.folder}")
    results = [
        {
            "line": task.request.line,
            "skipped": skip,
            "conditions": task.described,
            "steering": recorded(task.request.bias) if task.request.bias else None,
            **task.outputs.listing(),
        }
        for task, skip in zip(tasks, skipped, strict=True)
    ]
    return {"codiff": codiff.__version__, "settings": asdict(settings), "seconds": seconds, "results": results}


def _tell_plan(pipe: CollaborativePipeline, settings: Settings, tasks: list[Task], todo: list[Task]) -> None:
    if len(todo) < len(tasks):
        tell(f"{len(tasks) - len(todo)} of {len(tasks)} lines are done already")
    if not todo:
        return
    images = sum(len(task.outputs.seeds) for task in todo)
    conditions = ", ".join(tasks[0].described) if len(tasks) == 1 else f"{len(todo)} lines"
    steering = f", {told(tasks[0].request.bias)}" if len(tasks) == 1 and tasks[0].request.bias else ""
    tell(f"{images} {'image' if images == 1 else 'images'} of {conditions}: {settings}{steering}, on {pipe.device}")
