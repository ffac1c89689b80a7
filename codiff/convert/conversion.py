"""Published checkpoints -> a codiff folder that `CollaborativePipeline.from_pretrained` loads."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler
from torch import Tensor

from codiff import CollaborativePipeline, Collaborators, DynamicDiffusers
from codiff.convert.checkpoint import open_checkpoint
from codiff.convert.description import PUBLISHED_NAMES, Description, preset_description, presets
from codiff.convert.parts import Part, account, composed_parts, unimodal_parts
from codiff.convert.schedule import schedule_buffers
from codiff.convert.weights import write_weights
from codiff.errors import InputError
from codiff.files import recover, write_json, written_aside
from codiff.modalities.word_pieces import word_piece_tokenizer
from codiff.model_files import replaceable, write_checksums

REPORT = "conversion.json"
COMPOSED, VAE = "collaborative", "autoencoder"
Progress = Callable[[str], None]
"""Called with the folder of each part before it is written."""

_NAME = re.compile(r"(?P<set>.+?)_(?P<role>codiff_\w+|vae|text|mask|sketch)\.ckpt")


@dataclass(frozen=True)
class Source:
    """A file and the parts that it fills."""

    path: Path
    role: str
    parts: list[Part]


def convert(
    source: Path,
    output: Path,
    description: Description,
    *,
    name: str,
    dtype: torch.dtype = torch.float32,
    vocabulary: str | Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Convert the published checkpoints in a folder, or one of them.

    Where there is a collaborative file it is read alone, because it holds all parts. Otherwise every uni-modal file
    gives a collaborator, and the model has no dynamic diffusers.

    Args:
        source: the folder of checkpoints, or one checkpoint.
        output: the codiff folder, written whole or not at all.
        description: what the model is made of, see `preset_description` and `yaml_description`.
        name: what the files' names begin with, as 512 in 512_text.ckpt.
        dtype: of the weights written.
        vocabulary: of the text model, see `word_piece_tokenizer`; None leaves a model that reads token ids alone.

    Returns:
        The report, which is also written into the folder: for each file its size, how many of its tensors were used and
        which were ignored, and why.

    Raises:
        InputError: a file is missing, damaged, mislabelled or does not fit the description; the vocabulary is of no
            use; or the output cannot be written.
    """
    sources = [_with_parts(path, role, description) for path, role in _files(source, name, description).items()]
    sources = _first_vae_only(sources)
    buffers = schedule_buffers(description.scheduler)
    report: dict[str, Any] = {"files": {}, "dtype": str(dtype).removeprefix("torch."), "parts": {}}
    for each in sources:
        report["files"][each.path.name] = {
            "bytes": each.path.stat().st_size,
            **_check(each, buffers, description).summary(),
        }
    _load_vocabulary(sources, vocabulary)
    output = replaceable(output)
    recover(output.parent, output.name)
    with written_aside(output) as folder:
        _write_configuration(folder, [part for each in sources for part in each.parts], description)
        for each in sources:
            for part in each.parts:
                if progress is not None:
                    progress(part.folder)
                _write_part(folder / part.folder, part, each.path, dtype)
                report["parts"][part.folder] = sum(value.numel() for value in part.model.parameters())
        write_json(folder / REPORT, report)
        write_checksums(folder)
    return report


def _files(source: Path, name: str, description: Description) -> dict[Path, str]:
    """Checkpoints to read and their roles: the collaborative one alone, or all uni-modal ones, or the autoencoder."""
    if source.is_file():
        return {source: _role(source)}
    if not source.is_dir():
        raise InputError(f"there is no folder {source}; give the folder that holds {name}_codiff_mask_text.ckpt")
    found = {path: _role(path) for path in sorted(source.glob(f"{name}_*.ckpt")) if _NAME.fullmatch(path.name)}
    composed = {path: role for path, role in found.items() if role == COMPOSED}
    if composed and description.dynamic_diffuser is not None:
        if len(composed) > 1:
            fitting = [path for path in composed if _told_modalities(path) == set(description.collaborators)]
            composed = dict.fromkeys(fitting[:1], COMPOSED) or composed
        return dict(list(composed.items())[:1])
    unimodal = {path: role for path, role in found.items() if role in description.collaborators}
    chosen = unimodal or {path: role for path, role in found.items() if role == VAE}
    if not chosen or set(chosen.values()) == {VAE}:
        present = ", ".join(path.name for path in sorted(source.glob("*.ckpt"))) or "no .ckpt files"
        wanted = ", ".join(f"{name}_{modality}.ckpt" for modality in description.collaborators)
        raise InputError(f"{source} holds no {name}_codiff_mask_text.ckpt nor any of {wanted}; it holds {present}")
    return chosen


def _role(path: Path) -> str:
    """What a file should hold, by its name."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise InputError(
            f"{path.name} is not named like a published file (512_codiff_mask_text.ckpt, 512_text.ckpt, ...), so its "
            "role is not known; give it back its name"
        )
    role = match["role"]
    return {"vae": VAE}.get(role, COMPOSED if role.startswith("codiff_") else role)


def _told_modalities(path: Path) -> set[str]:
    return set(path.stem.rpartition("codiff_")[2].split("_"))


def _with_parts(path: Path, role: str, description: Description) -> Source:
    if role == COMPOSED:
        return Source(path, role, composed_parts(description))
    if role == VAE:
        raise InputError(
            f"{path} is an autoencoder alone, which generates nothing; give a collaborative or uni-modal file"
        )
    if role not in description.collaborators:
        known = ", ".join(description.collaborators)
        raise InputError(f"{path} is a model of {role}, but the configuration describes {known}")
    return Source(path, role, unimodal_parts(description, role, with_vae=True))


def _first_vae_only(sources: list[Source]) -> list[Source]:
    """All uni-modal files hold the same autoencoder: take text's, as the published collaborative files do."""
    first = next((each for each in sources if each.role == "text"), sources[0])
    return [
        each if each is first else replace(each, parts=[part for part in each.parts if part.folder != "vae"])
        for each in sources
    ]


def _check(source: Source, buffers: Mapping[str, Tensor], description: Description) -> Any:
    """Account for a file's keys; what does not fit is told with its likely cause."""
    state = open_checkpoint(source.path)
    held = _kind(state)
    if held != source.role and not (held == "mask" and source.role == "sketch"):
        what = f"{held} model" if held else "model of another kind"
        raise InputError(f"{source.path} is named as a {source.role} file, but holds a {what}: give it back its name")
    try:
        return account(source.path, state, source.parts, buffers)
    except InputError as error:
        raise InputError(f"{error}. {_cause(source, state, buffers, description)}") from error


def _kind(state: Mapping[str, Tensor]) -> str | None:
    """The role of a file by what it holds."""
    keys = list(state)
    if any(re.match(rf"model\.({'|'.join(PUBLISHED_NAMES.values())})_unet\.", key) for key in keys):
        return COMPOSED
    if any(key.startswith("model.diffusion_model.") for key in keys):
        return "text" if any(key.startswith("cond_stage_model.transformer.") for key in keys) else "mask"
    return VAE if "encoder.conv_in.weight" in state else None


def _cause(source: Source, state: Mapping[str, Tensor], buffers: Mapping[str, Tensor], description: Description) -> str:
    for name in presets():
        other = preset_description(name)
        if other != description:
            try:
                account(source.path, state, _with_parts(source.path, source.role, other).parts, buffers)
            except InputError:
                continue
            return f"The file fits the preset {name}: the wrong preset or configuration was given"
    return "The wrong preset or configuration, or a file of another model or a partial download"


def _load_vocabulary(sources: list[Source], vocabulary: str | Path | None) -> None:
    if vocabulary is None:
        return
    encoders = [part.model.encoder for each in sources for part in each.parts if part.folder == "collaborators/text"]
    if not encoders:
        raise InputError("a vocabulary is given, but no text model is converted")
    encoders[0].tokenizer = word_piece_tokenizer(vocabulary)


def _write_configuration(folder: Path, parts: list[Part], description: Description) -> None:
    """All but the weights."""
    models = {part.folder: part.model for part in parts}
    members = {
        group: {Path(name).name: model for name, model in models.items() if Path(name).parent.name == group}
        for group in ("collaborators", "dynamic_diffusers")
    }
    diffusers = DynamicDiffusers.of(members["dynamic_diffusers"]) if members["dynamic_diffusers"] else None
    collaborators = Collaborators.of(members["collaborators"])
    scheduler = DDIMScheduler(**description.scheduler)
    CollaborativePipeline(models["vae"], collaborators, diffusers, scheduler, condition_dropout=False).save_config(
        folder
    )
    scheduler.save_pretrained(folder / "scheduler")
    collaborators.save_config(folder / "collaborators")
    if diffusers is not None:
        diffusers.save_config(folder / "dynamic_diffusers")
    for name, model in models.items():
        model.save_config(folder / name)
    for name, model in members["collaborators"].items():
        model.encoder.save_assets(folder / "collaborators" / name)


def _write_part(folder: Path, part: Part, path: Path, dtype: torch.dtype) -> None:
    shapes = part.shapes()

    def read(names: list[str]) -> dict[str, Tensor]:
        state = open_checkpoint(path)  # opened anew for each shard: what was read of it before leaves the memory
        return {name: state[part.keys[name]].reshape(shapes[name]).to(dtype, copy=True) for name in names}

    write_weights(folder, shapes, read, dtype)
