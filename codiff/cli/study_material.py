"""Pictures for a study, drawn by the methods that are compared, from the conditions of a protocol."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from codiff.cli.drawing import model_digest, open_device
from codiff.cli.generate import GUIDANCE
from codiff.cli.show import progress
from codiff.errors import InputError
from codiff.evaluation.benchmark_data import Case, Cases, open_data
from codiff.evaluation.generation import Generator, picture_path, save_pictures
from codiff.evaluation.methods import WEIGHTED, Method, methods_of
from codiff.evaluation.protocols import protocol_named
from codiff.evaluation.report_folder import SETTINGS, check_settings
from codiff.files import sole_writer, write_json, written_aside
from codiff.model_files import find_model
from codiff.pipeline import CollaborativePipeline
from codiff.study.folders import Folders

_AT_ONCE = 8


@dataclass(frozen=True)
class Drawn:
    """What is drawn.

    Attributes:
        model: name, folder or hub id.
        methods: names as `codiff evaluate --methods` takes them.
        conditions: so many of the protocol's, drawn by the seed.
        seed: of that draw; picture k is drawn from seed k, as in the benchmark.
        guidance: scale of every method; None for that of `codiff generate`.
        protocol: whose conditions and steps.
        data: folder of CelebA-HQ; drawn faces need none.
        device: name; None for the fastest.
    """

    model: str
    methods: Sequence[str]
    conditions: int
    seed: int
    guidance: float | None
    protocol: str
    data: Path | None = None
    device: str | None = None


def draw_material(wanted: Drawn, folder: Path) -> Folders:
    """Draw what is not there yet, and the masks and captions that it was drawn from.

    Raises:
        InputError: an unknown method, model or protocol, too few methods or conditions, or a folder that holds
            something else.
    """
    if len(set(wanted.methods)) < 2 or WEIGHTED in wanted.methods:
        raise InputError(
            f"--methods takes two or more of the rules and single models, without {WEIGHTED}, as mean,text-alone"
        )
    protocol, home = protocol_named(wanted.protocol), find_model(wanted.model)
    pipe = CollaborativePipeline.from_pretrained(home).to(open_device(wanted.device))
    pipe.set_progress_bar_config(disable=True)
    cases = open_data(protocol, pipe.vae.config.sample_size, 1, wanted.data).cases
    if not 1 <= wanted.conditions <= len(cases):
        raise InputError(f"{protocol.name} has {len(cases)} conditions, {wanted.conditions} are asked for")
    numbers = sorted(random.Random(wanted.seed).sample(range(len(cases)), wanted.conditions))
    own = GUIDANCE if pipe.config.condition_dropout else 1.0
    scale = own if wanted.guidance is None else wanted.guidance
    methods = [replace(method, guidance=scale) for method in methods_of(pipe, cases[0], wanted.methods)[0]]
    settings = {
        "model": model_digest(home),
        "protocol": protocol.name,
        "guidance": scale,
        "conditions": numbers,
    }
    with sole_writer(folder):
        check_settings(folder, settings)
        write_json(folder / SETTINGS, settings)
        _write_conditions(folder, cases, numbers)
        _draw(Generator(pipe, protocol.steps, protocol.eta), methods, cases, numbers, folder)
    masks = folder / "masks"
    return Folders(
        folder / "images",
        [method.name for method in methods],
        folder / "captions.json",
        masks if masks.is_dir() else None,
    )


def _write_conditions(folder: Path, cases: Cases, numbers: Sequence[int]) -> None:
    captions = {f"{number:05d}.png": cases[number].caption for number in numbers}
    with written_aside(folder / "captions.json") as temporary:
        temporary.write_text(json.dumps(captions, indent=1), encoding="utf-8")
    for number in numbers:
        mask = cases[number].mask
        if mask is not None:
            with written_aside(folder / "masks" / f"{number:05d}.png") as temporary:
                Image.fromarray(mask).save(temporary, format="PNG")


def _draw(generator: Generator, methods: Sequence[Method], cases: Cases, numbers: Sequence[int], folder: Path) -> None:
    with progress() as bar:
        line = bar.add_task("drawing", total=len(methods) * len(numbers), state="")
        for method in methods:
            for start in range(0, len(numbers), _AT_ONCE):  # whole batches, so that going on ends with the same bytes
                some = numbers[start : start + _AT_ONCE]
                if not all(picture_path(folder, method.name, number).exists() for number in some):
                    chosen: list[Case] = [cases[number] for number in some]
                    save_pictures(folder, method, some, generator(method, chosen, some).pictures)
                bar.update(line, advance=len(some), state=method.name)
