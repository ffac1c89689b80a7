"""`codiff edit`: a face in a picture, edited towards conditions."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from codiff.cli.drawing import open_device, relax, settings_of
from codiff.cli.edit_drawing import Drawing
from codiff.cli.edit_editors import AUTO, editor_named, parse_strength
from codiff.cli.edit_judges import Evaluators, Named
from codiff.cli.edit_messages import summary, tell_done, tell_plan
from codiff.cli.edit_photo import cut_alike, frame, in_the_crop, tell_familiarity
from codiff.cli.edit_plan import Given, Plan, Wanted, make_plan, parse_source
from codiff.cli.generate import MOST_IMAGES
from codiff.cli.modality_options import DEFAULT_MODEL, modalities_of
from codiff.cli.outputs import Signer, check_writable, name_for, signer_of
from codiff.cli.requests import check_seed
from codiff.cli.schedulers import SCHEDULERS, check_sampling, check_scheduler, scheduler_named
from codiff.composition import RULES, check_modalities, learned_rule
from codiff.editing import learning_for
from codiff.editing.curve import check_drawable
from codiff.editing.editors import EDITORS
from codiff.editing.imagic import INVERSION, NOISE, STARTS
from codiff.errors import InputError
from codiff.model_files import find_model
from codiff.pipeline import CollaborativePipeline

GUIDANCE = 2.0  # more, as for generating, takes an edit further from the photo
_DDIM = "ddim"


def _editing(help_text: str, *names: str, **kwargs: Any) -> Any:
    return typer.Option(*names, help=help_text, rich_help_panel="Editing", show_default=False, **kwargs)


def _framing(help_text: str, *names: str, **kwargs: Any) -> Any:
    panel = "The face in the photo (found without)"
    return typer.Option(*names, help=help_text, rich_help_panel=panel, show_default=False, **kwargs)


def _judging(help_text: str, **kwargs: Any) -> Any:
    panel = "Judges of --strength auto (the model's own without)"
    return typer.Option(help=help_text, rich_help_panel=panel, show_default=False, **kwargs)


def _sampling(help_text: str, *names: str, **kwargs: Any) -> Any:
    return typer.Option(*names, help=help_text, rich_help_panel="Sampling", **kwargs)


def edit(
    conditions: dict[str, str],
    photo: Annotated[str, typer.Argument(help="A picture with a face, of any size.", show_default=False)],
    editor: Annotated[str, typer.Option(help=f"{', '.join(EDITORS)}.", metavar="NAME", rich_help_panel="Editing")] = (
        "imagic"
    ),
    strength: Annotated[
        str | None,
        _editing(
            "auto finds it; 0 keeps the photo, 1 follows the target; imagic: alpha, also as text=0.8,mask=1.",
            metavar="auto|NUMBER",
        ),
    ] = None,
    source: Annotated[
        list[str] | None, _editing("What the photo shows, as mask=now.png; repeatable.", metavar="MODALITY=VALUE")
    ] = None,
    region: Annotated[str | None, _editing("What may change, white in a picture.", metavar="FILE")] = None,
    learned: Annotated[
        Path | None, _editing("What imagic learned of this photo before, also for another target.", metavar="FILE")
    ] = None,
    full_fine_tuning: Annotated[
        bool, _editing("imagic learns all weights instead of LoRA's.", "--full-fine-tuning")
    ] = False,
    together: Annotated[
        bool, _editing("imagic learns all modalities by one loss instead of one after another.", "--together")
    ] = False,
    start: Annotated[
        str | None, _editing("What imagic samples from: inversion of the photo (one image), or noise.", metavar="NAME")
    ] = None,
    face: Annotated[int | None, _framing("Which of several faces: 0 is the leftmost.", metavar="NUMBER")] = None,
    eyes: Annotated[str | None, _framing("Where the eyes are, in pixels.", metavar="X,Y,X,Y")] = None,
    aligned: Annotated[bool, _framing("Edit the whole picture, as it is.", "--aligned")] = False,
    clip: Annotated[str | None, _judging("CLIP's folder or hub id, for captions.", metavar="NAME")] = None,
    face_parser: Annotated[Path | None, _judging("BiSeNet's weights, for masks.", metavar="FILE")] = None,
    face_embedder: Annotated[Path | None, _judging("A face recognition network, for identity.", metavar="FILE")] = None,
    model: Annotated[str, _sampling("demo, a model's folder, or a hub id.", metavar="NAME")] = DEFAULT_MODEL,
    count: Annotated[int, _sampling("Images, 1 to 64.")] = 1,
    seed: Annotated[int, _sampling("Of the first image; the others count up.")] = 0,
    steps: Annotated[int, _sampling("Denoising steps of the whole schedule.")] = 25,
    scheduler: Annotated[str | None, _sampling(f"{', '.join(SCHEDULERS)}; or the model's own.", metavar="NAME")] = None,
    guidance: Annotated[
        float | None, _sampling("1 follows the conditions plainly, more follows closer; 2 where the model allows it.")
    ] = None,
    composition: Annotated[
        str | None, _sampling(f"{', '.join(RULES)}; or what the model was trained for.", metavar="NAME")
    ] = None,
    letterbox: Annotated[bool, _sampling("Pad conditions that are not square.", "--letterbox")] = False,
    snap: Annotated[bool, _sampling("Take a palette's nearest colour where colours are off.", "--snap")] = False,
    device: Annotated[str | None, _sampling("cpu, cuda, ...; or the fastest there is.", metavar="NAME")] = None,
    out: Annotated[Path, typer.Option(help="Where the pictures go.", metavar="FOLDER", rich_help_panel="Output")] = (
        Path("out")
    ),
    credentials: Annotated[
        bool,
        typer.Option(
            "--credentials/--no-credentials", help="Sign the pictures: Content Credentials.", rich_help_panel="Output"
        ),
    ] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a summary on standard output.", rich_help_panel="Output")
    ] = False,
) -> None:
    """Edit a face towards any subset of a model's conditions, and keep the person.

    imagic learns the photo first (about a minute for the demo model on two cores) and keeps what it learned in an
    edit.safetensors: the same command with another --strength or --seed only samples, and after Ctrl-C it goes on
    learning. sdedit noises the photo and denoises it towards the target. ddim-inversion retraces its noise. blended and
    diffedit change a region alone.
    """
    given = {"source": source, "region": region, "learned": learned, "start": start}
    learns = {"full-fine-tuning": full_fine_tuning, "together": together}
    kind = editor_named(editor, {**given, **learns})
    strengths = parse_strength(strength, editor, kind, list(conditions))
    _check(count, steps, guidance, scheduler, composition, kind.inverts)
    _check_start(start, count)
    if count > 1 and not kind.draws(region=region is not None):
        raise InputError(
            f"{count} images of {editor} would be equal: it retraces a path and draws nothing; leave --count out"
        )
    if learned is not None and any(learns.values()):
        raise InputError("a learned edit knows how it was learned; leave --full-fine-tuning and --together out")
    check_writable(out)
    folder = find_model(model)
    modalities = modalities_of(folder)
    check_modalities(conditions, dict.fromkeys(modalities))
    described = parse_source(source or [], modalities)
    named = Named(clip, face_parser, face_embedder)
    evaluators = _evaluators(folder, named, wanted=strengths is None)
    pipe = CollaborativePipeline.from_pretrained(folder).to(open_device(device))
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = scheduler_named(_DDIM if kind.inverts else scheduler, pipe.scheduler)
    check_sampling(pipe.scheduler, steps, 0.0)
    relax(pipe, letterbox=letterbox, snap=snap)
    learning = None
    if kind.learns and learned is None:
        learning = replace(learning_for(pipe, full=full_fine_tuning), together=together)
    framed = frame(pipe, photo, aligned=aligned, face=face, eyes=eyes)
    wanted = Wanted(
        framed,
        in_the_crop(pipe, framed, Given.of_options(conditions)),
        in_the_crop(pipe, framed, Given.of_options(described)),
        name_for(conditions),
        editor,
        strengths,
        None if region is None else cut_alike(framed, region, labels=True),
        learned,
        learning,
        start or (INVERSION if count == 1 else NOISE),
        count,
        check_seed(seed, count),
        "" if named == Named() else str(named),
    )
    sampling = {
        "steps": steps,
        "guidance": usual_guidance(pipe) if guidance is None else guidance,
        "composition": composition or learned_rule(pipe.dynamic_diffusers or {}),
        "eta": 0.0,
    }
    settings = settings_of(pipe, folder, model, sampling)
    _run(pipe, make_plan(pipe, wanted, settings, out), evaluators, signer_of(credentials, edited=True), as_json)


def usual_guidance(pipe: CollaborativePipeline) -> float:
    """The scale of edits where none is given."""
    return GUIDANCE if pipe.config.condition_dropout else 1.0


def _run(
    pipe: CollaborativePipeline, plan: Plan, evaluators: Evaluators | None, signer: Signer | None, as_json: bool
) -> None:
    tell_familiarity(pipe, plan.photo)
    tell_plan(plan)
    started = time.monotonic()
    done = Drawing(pipe, plan, evaluators, signer).run()
    tell_done(plan, done, round(time.monotonic() - started, 1))
    if as_json:
        typer.echo(json.dumps(summary(plan, done), indent=2))


def _check(
    count: int, steps: int, guidance: float | None, scheduler: str | None, composition: str | None, inverts: bool
) -> None:
    if not 1 <= count <= MOST_IMAGES:
        raise InputError(f"count must be from 1 to {MOST_IMAGES}, not {count}")
    if steps < 1:
        raise InputError(f"steps must be 1 or more, not {steps}")
    if guidance is not None and not math.isfinite(guidance):
        raise InputError(f"guidance must be a finite number, not {guidance}")
    if composition not in (None, *RULES):
        raise InputError(f"unknown composition {composition!r}; known: {', '.join(RULES)}")
    check_scheduler(scheduler)
    if inverts and scheduler not in (None, _DDIM):
        raise InputError(f"this editor retraces a path of {_DDIM}; leave --scheduler {scheduler} out")


def _check_start(start: str | None, count: int) -> None:
    if start not in (None, *STARTS):
        raise InputError(f"unknown start {start!r}; known: {', '.join(STARTS)}")
    if start == INVERSION and count > 1:
        raise InputError(f"{count} images from the inversion of one photo would be equal; use --start {NOISE}")


def _evaluators(folder: Path, named: Named, *, wanted: bool) -> Evaluators | None:
    """Who judges, where a strength is to be found.

    Raises:
        InputError: nobody can, or judges are named though nothing is to be found.
    """
    if wanted:
        check_drawable()
        return Evaluators(folder, named)
    if named != Named():
        raise InputError(f"--clip, --face-parser and --face-embedder are for --strength {AUTO} alone")
    return None
