"""From a preset's tables to a stage that is ready to train, and where each stage of a model lies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from diffusers import AutoencoderKL

from codiff.collaborator import Collaborator, Collaborators
from codiff.errors import InputError
from codiff.training.collaborator import CollaboratorSettings, CollaboratorStage, build_collaborator
from codiff.training.data import DataSettings, open_data
from codiff.training.dynamic_diffusers import DynamicDiffusersSettings, DynamicDiffusersStage
from codiff.training.recognition import AttributeClassifierStage, FaceParserStage, RecognitionSettings
from codiff.training.settings import SettingsType, settings_from
from codiff.training.stage import Stage
from codiff.training.vae import VAESettings, VAEStage

Preset = Mapping[str, Any]
"""The tables of a TOML file: one a stage, and `schedule` and `data`, which stages share."""
Model = TypeVar("Model")

COLLABORATOR = "collaborator"
_SHARED = ("data", "schedule")


def stage_for(
    preset: Preset, stage_name: str, runs: Path, modality: str | None = None, overrides: Sequence[str] = ()
) -> Stage:
    """The stage `stage_name` (one of `STAGES`) of a preset, on the models that were trained into `runs` before.

    Args:
        modality: which collaborator; for that stage alone.
        overrides: like `loop.steps=2000` or `data.limit=500`.

    Raises:
        InputError: no such stage or modality, wrong settings, or a model that must be trained first.
    """
    check_stage(preset, stage_name, modality)
    return STAGES[stage_name](_with_paths(preset, runs), runs, modality, list(overrides))


def check_stage(preset: Preset, stage_name: str, modality: str | None) -> None:
    """Raises:
    InputError: no such stage, or a modality where none belongs, or none where one does.
    """
    if stage_name not in STAGES:
        raise InputError(f"unknown stage {stage_name!r}; known: {', '.join(STAGES)}")
    if stage_name not in preset:
        known = ", ".join(name for name in STAGES if name in preset) or "none that is trained"
        raise InputError(f"this preset has no table [{stage_name}]; it has {known}")
    if stage_name != COLLABORATOR:
        if modality is not None:
            raise InputError(f"--modality belongs to the stage {COLLABORATOR}, not to {stage_name}")
        return
    known = ", ".join(preset[COLLABORATOR])
    if modality is None:
        raise InputError(f"which collaborator? Give --modality, one of {known}")
    if modality not in preset[COLLABORATOR]:
        raise InputError(f"this preset has no collaborator {modality!r}; it has {known}")


def folder_of(runs: Path, stage_name: str, modality: str | None = None) -> Path:
    """Where a stage trains; its finished model lies in `model` below."""
    return runs / (stage_name if modality is None else f"{stage_name}-{modality}")


def _with_paths(value: Any, runs: Path) -> Any:
    """`{runs}` in the preset's texts stands for the folder of all stages."""
    if isinstance(value, Mapping):
        return {key: _with_paths(each, runs) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_paths(each, runs) for each in value]
    return value.replace("{runs}", str(runs)) if isinstance(value, str) else value


def _settings(kind: type[SettingsType], preset: Preset, table: Mapping[str, Any], overrides: list[str]) -> SettingsType:
    """A stage's settings, with what stages share where it takes that."""
    shared = {name: preset[name] for name in _SHARED if name in kind.model_fields and name in preset}
    own = {
        name: {**shared[name], **table[name]} if name in shared and name in table else value
        for name, value in table.items()
    }
    return settings_from(kind, {**shared, **own}, overrides)


def _data(preset: Preset, overrides: list[str]) -> DataSettings:
    """The data of stages whose settings hold none: the preset's, with overrides like `data.limit=500`."""
    mine = [override.removeprefix("data.") for override in overrides if override.startswith("data.")]
    return settings_from(DataSettings, {**preset.get("data", {}), **preset.get("vae", {}).get("data", {})}, mine)


def open_trained(kind: type[Model], folder: Path) -> Model:
    """The finished model that a stage left in `folder`/model, in evaluation mode.

    Raises:
        InputError: it is not trained yet, or its files are damaged.
    """
    home = folder / "model"
    if not home.is_dir():
        raise InputError(f"{home} is missing: train that stage first (codiff train --help)")
    try:
        model: Any = kind.from_pretrained(home)  # type: ignore[attr-defined]
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(f"{home} cannot be loaded: {error}; remove it and train that stage again") from error
    opened: Model = model.eval().requires_grad_(False)
    return opened


def _check_folders(folders: Mapping[str, str | None]) -> None:
    for setting, folder in folders.items():
        if folder is not None and not Path(folder).expanduser().exists():
            raise InputError(f"{setting}: {folder} is missing: train that stage first, or give another folder")


def _face_parser(preset: Preset, runs: Path, modality: str | None, overrides: list[str]) -> Stage:  # noqa: ARG001
    return FaceParserStage(_recognition(preset, "face-parser", overrides))


def _attribute_classifier(preset: Preset, runs: Path, modality: str | None, overrides: list[str]) -> Stage:  # noqa: ARG001
    return AttributeClassifierStage(_recognition(preset, "attribute-classifier", overrides))


def _recognition(preset: Preset, stage_name: str, overrides: list[str]) -> RecognitionSettings:
    settings = _settings(RecognitionSettings, preset, preset[stage_name], overrides)
    _check_folders({"initial": settings.initial})
    return settings


def _vae(preset: Preset, runs: Path, modality: str | None, overrides: list[str]) -> Stage:  # noqa: ARG001
    settings = _settings(VAESettings, preset, preset["vae"], overrides)
    perceptual = {f"perceptual.{kind}": folder for kind, folder in settings.perceptual.items()}
    _check_folders({**perceptual, "initial": settings.initial})
    return VAEStage(settings)


def _collaborator(preset: Preset, runs: Path, modality: str | None, overrides: list[str]) -> Stage:
    assert modality is not None
    data = _data(preset, overrides)
    vae = open_trained(AutoencoderKL, folder_of(runs, "vae"))
    table = {"modality": modality, **preset[COLLABORATOR][modality]}
    stage_overrides = [override for override in overrides if not override.startswith("data.")]
    settings = _settings(CollaboratorSettings, preset, table, stage_overrides)
    _check_folders({"initial": settings.initial})
    collaborator = build_collaborator(settings, vae.config.latent_channels)
    faces = open_data(data, "train", [modality])
    collaborator.encoder.fit(chain.from_iterable(face.alternatives[modality] for face in faces))
    return CollaboratorStage(settings, vae, faces, collaborator, data.cache_folder)


def _dynamic_diffusers(preset: Preset, runs: Path, modality: str | None, overrides: list[str]) -> Stage:  # noqa: ARG001
    stage_overrides = [override for override in overrides if not override.startswith("data.")]
    settings = _settings(DynamicDiffusersSettings, preset, preset["dynamic-diffusers"], stage_overrides)
    _check_folders({"initial": settings.initial})
    data = _data(preset, overrides)
    vae = open_trained(AutoencoderKL, folder_of(runs, "vae"))
    names = list(preset[COLLABORATOR])
    models = {name: open_trained(Collaborator, folder_of(runs, COLLABORATOR, name)) for name in names}
    faces = open_data(data, "train", names)
    return DynamicDiffusersStage(settings, vae, faces, Collaborators.of(models), data.cache_folder)


STAGES: dict[str, Callable[[Preset, Path, str | None, list[str]], Stage]] = {
    "face-parser": _face_parser,
    "attribute-classifier": _attribute_classifier,
    "vae": _vae,
    COLLABORATOR: _collaborator,
    "dynamic-diffusers": _dynamic_diffusers,
}
"""Stages by name, in the order in which they build on each other."""
