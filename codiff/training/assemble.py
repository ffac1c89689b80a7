"""From the stages of one training to a model folder that pipelines load."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler, DPMSolverMultistepScheduler

from codiff.collaborator import Collaborator, Collaborators
from codiff.dynamic_diffuser import DynamicDiffusers
from codiff.errors import InputError
from codiff.files import written_aside
from codiff.model_files import replaceable, write_checksums
from codiff.pipeline import CollaborativePipeline
from codiff.recognition import AttributeClassifier, FaceParser
from codiff.training.recipes import COLLABORATOR, folder_of, open_trained

RECOGNITION: dict[str, type[Any]] = {"face_parser": FaceParser, "attribute_classifier": AttributeClassifier}
"""Networks that judge pictures, by their folder in a model."""
_KEPT = "*.md"  # a model card is written by hand


def assemble(runs: Path, output: Path, *, half: bool = False) -> dict[str, float]:
    """Collect the stages trained into `runs` as a `CollaborativePipeline` in `output`, whole or not at all.

    Dynamic diffusers and recognition networks are left out where they are not trained; a model card in `output` stays.

    Args:
        half: store the weights in half precision.

    Returns:
        The parts, and the millions of parameters of each.

    Raises:
        InputError: a stage is missing or does not fit the others, or `output` is something else than a model.
    """
    check_output(output)
    dtype = torch.float16 if half else torch.float32
    collaborators, dynamic_diffusers = _models(runs)
    vae = open_trained(AutoencoderKL, folder_of(runs, "vae"))
    judges = {
        name: open_trained(kind, folder_of(runs, name.replace("_", "-")))
        for name, kind in RECOGNITION.items()
        if (folder_of(runs, name.replace("_", "-")) / "model").is_dir()
    }
    trainings = {name: _recorded(folder_of(runs, COLLABORATOR, name)) for name in collaborators}
    scheduler = DPMSolverMultistepScheduler.from_config(DDPMScheduler(**_schedule(trainings)).config)
    pipe = CollaborativePipeline(
        vae.to(dtype),
        collaborators.to(dtype),
        dynamic_diffusers and dynamic_diffusers.to(dtype),
        scheduler,
        condition_dropout=all(settings["condition_dropout"] for settings in trainings.values()),
    )
    with written_aside(output) as folder:
        pipe.save_pretrained(folder)
        for name, judge in judges.items():
            judge.to(dtype).save_pretrained(folder / name)
        write_checksums(folder)
        for card in output.glob(_KEPT):
            shutil.copy2(card, folder / card.name)
    parts = {"vae": vae, **{f"{COLLABORATOR} {name}": collaborators[name] for name in collaborators}}
    if dynamic_diffusers is not None:
        parts.update({f"dynamic diffuser {name}": dynamic_diffusers[name] for name in dynamic_diffusers})
    return {
        name: sum(value.numel() for value in model.parameters()) / 1e6 for name, model in {**parts, **judges}.items()
    }


def check_output(output: Path) -> None:
    """Raises:
    InputError: something stands at `output` that is not a model, and would be lost.
    """
    replaceable(output, _KEPT)


def _models(runs: Path) -> tuple[Collaborators, DynamicDiffusers | None]:
    """All trained collaborators with their dynamic diffusers, in the order of these."""
    found = [
        path.name.removeprefix(f"{COLLABORATOR}-")
        for path in sorted(runs.glob(f"{COLLABORATOR}-*"))
        if (path / "model").is_dir()
    ]
    if not found:
        raise InputError(
            f"{runs} holds no trained collaborator; train one first (codiff train collaborator --modality ...)"
        )
    dynamic_diffusers = None
    if (folder_of(runs, "dynamic-diffusers") / "model").is_dir():
        dynamic_diffusers = open_trained(DynamicDiffusers, folder_of(runs, "dynamic-diffusers"))
        if sorted(dynamic_diffusers) != sorted(found):
            raise InputError(
                f"the dynamic diffusers in {runs} are for {', '.join(dynamic_diffusers)}, but the collaborators are "
                f"{', '.join(found)}; train the dynamic diffusers again"
            )
    names = found if dynamic_diffusers is None else list(dynamic_diffusers)
    return Collaborators.of(
        {name: open_trained(Collaborator, folder_of(runs, COLLABORATOR, name)) for name in names}
    ), dynamic_diffusers


def _schedule(trainings: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The noise schedule that all collaborators were trained with."""
    first, *others = trainings
    for name in others:
        if trainings[name]["schedule"] != trainings[first]["schedule"]:
            raise InputError(f"the collaborators of {first} and {name} were trained with different noise schedules")
    schedule: dict[str, Any] = trainings[first]["schedule"]
    return schedule


def _recorded(folder: Path) -> dict[str, Any]:
    """The settings of a collaborator's training."""
    record = folder / "settings.json"
    try:
        settings: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
        return {"schedule": settings["schedule"], "condition_dropout": settings.get("condition_dropout", True)}
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise InputError(f"{record} is missing or broken ({error}); train that stage again") from error
