"""Published checkpoints -> a codiff folder that `CollaborativePipeline.from_pretrained` loads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler
from torch import Tensor

from codiff import CollaborativePipeline, Collaborators, DynamicDiffusers
from codiff.convert.checkpoint import check_whole, open_checkpoint
from codiff.convert.description import PUBLISHED_NAMES, Description, preset_description, presets
from codiff.convert.parts import Part, account, check_schedule
from codiff.convert.schedule import schedule_buffers
from codiff.convert.sources import Source, find_sources, kind_of, parts_of, told_by_name
from codiff.convert.weights import write_weights
from codiff.errors import InputError
from codiff.files import locked, recover, write_json, written_aside
from codiff.modalities.word_pieces import word_piece_tokenizer
from codiff.model_files import replaceable, write_checksums

REPORT = "conversion.json"
Progress = Callable[[str], None]
"""Called with the folder of each part before it is written."""


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
    gives a collaborator, and the model has no dynamic diffusers. From the autoencoder's file alone comes an autoencoder
    alone.

    Args:
        source: the folder of checkpoints, or one checkpoint.
        output: the codiff folder, written whole or not at all.
        description: what the model is made of, see `preset_description` and `yaml_description`.
        name: what the files' names begin with, as 512 in 512_text.ckpt.
        dtype: of the weights written.
        vocabulary: of the text model, see `word_piece_tokenizer`; None leaves a model that reads token ids alone.

    Returns:
        The report, which is also written into the folder: for each file its size, how many of its tensors are used, and
        which are ignored and why; the files that were left unread; and the parameters of each part.

    Raises:
        InputError: a file is missing, damaged, mislabelled or does not fit the description; the vocabulary is of no
            use; or the output cannot be written.
    """
    output = replaceable(output)
    sources, unread = find_sources(source, name, description)
    buffers = schedule_buffers(description.scheduler)
    report: dict[str, Any] = {"files": {}, "unread": unread, "dtype": str(dtype).removeprefix("torch."), "parts": {}}
    for each in sources:
        report["files"][each.path.name] = _check(each, buffers, description)
    _check_same_autoencoder(sources)
    _load_vocabulary(sources, vocabulary)
    with _alone(output), written_aside(output) as folder:
        _write_configuration(folder, [part for each in sources for part in each.taken], description)
        for each in sources:
            for part in each.taken:
                if progress is not None:
                    progress(part.folder)
                _write_part(folder / part.folder, part, each.path, dtype)
                report["parts"][part.folder] = sum(value.numel() for value in part.model.parameters())
        write_json(folder / REPORT, report)
        write_checksums(folder)
    return report


@contextmanager
def _alone(output: Path) -> Iterator[None]:
    """Only one process writes a folder; what a killed one left half done is removed."""
    lock = output.with_name(f".{output.name}.lock")
    busy = f"{output} is being written by another process; wait for it, or give another one"
    with locked(output, lock, lambda: busy):
        try:
            recover(output.parent, output.name)
            yield
        finally:
            lock.unlink(missing_ok=True)


def _check(source: Source, buffers: Mapping[str, Tensor], description: Description) -> dict[str, Any]:
    """Account for a file's keys; what does not fit is told with its likely cause."""
    check_whole(source.path)
    state = open_checkpoint(source.path)
    held = kind_of(state)
    if held != source.role and not (held == "mask" and source.role == "sketch"):
        what = f"{held} model" if held else "model of another kind"
        raise InputError(f"{source.path} is named as a {source.role} file, but holds a {what}: give it back its name")
    try:
        told = account(source.path, state, source.parts, buffers)
    except InputError as error:
        raise InputError(f"{error}. {_cause(source, state, buffers, description)}") from error
    check_schedule(source.path, state, buffers)
    return {"bytes": source.path.stat().st_size, **told.summary()}


def _cause(source: Source, state: Mapping[str, Tensor], buffers: Mapping[str, Tensor], description: Description) -> str:
    for name in presets():
        other = preset_description(name)
        if other != description:
            try:
                account(source.path, state, parts_of(source.path, source.role, other), buffers)
            except InputError:
                continue
            return f"The file fits the preset {name}: the wrong preset or configuration was given"
    held = [modality for modality, published in PUBLISHED_NAMES.items()
            if any(key.startswith(f"model.{published}_unet.") for key in state)]  # fmt: skip
    described = told_by_name(source.path, description).collaborators
    untold = [modality for modality in held if modality not in described]
    if untold and untold[0] in description.optional:
        return f"It also has a model of {untold[0]}, which its name must tell (..._codiff_{'_'.join(held)}.ckpt)"
    if untold:
        return f"It also has a model of {untold[0]}: give the --config that names it"
    return "The wrong preset or configuration was given, or it is a file of another model or a partial download"


def _check_same_autoencoder(sources: list[Source]) -> None:
    """Collaborators work together only on the latents of one autoencoder (InputError)."""
    states = [(source, open_checkpoint(source.path)) for source in sources]
    first, expected = states[0]
    for source, state in states[1:]:
        different = [key for key in expected if key.startswith("first_stage_model.")
                     and not torch.equal(state[key], expected[key])]  # fmt: skip
        if different:
            raise InputError(
                f"{first.path} and {source.path} were trained on different autoencoders ({different[0]}), so their "
                "models cannot work together; convert each alone by giving its file"
            )


def _load_vocabulary(sources: list[Source], vocabulary: str | Path | None) -> None:
    if vocabulary is None:
        return
    encoders = [part.model.encoder for each in sources for part in each.taken if part.folder == "collaborators/text"]
    if not encoders:
        raise InputError("a vocabulary is given, but no text model is converted")
    tokenizer = word_piece_tokenizer(vocabulary)
    if tokenizer.get_vocab_size() != encoders[0].vocab_size:
        raise InputError(
            f"vocabulary {vocabulary} has {tokenizer.get_vocab_size()} pieces, but the text model was trained with "
            f"{encoders[0].vocab_size}: give that one"
        )
    encoders[0].tokenizer = tokenizer


def _write_configuration(folder: Path, parts: list[Part], description: Description) -> None:
    """All but the weights. An autoencoder alone makes no pipeline."""
    models = {part.folder: part.model for part in parts}
    members = {
        group: {Path(name).name: model for name, model in models.items() if Path(name).parent.name == group}
        for group in ("collaborators", "dynamic_diffusers")
    }
    for name, model in models.items():
        model.save_config(folder / name)
    if not members["collaborators"]:
        return
    diffusers = DynamicDiffusers.of(members["dynamic_diffusers"]) if members["dynamic_diffusers"] else None
    collaborators = Collaborators.of(members["collaborators"])
    scheduler = DDIMScheduler(**description.scheduler)
    vae = models["vae"]
    CollaborativePipeline(vae, collaborators, diffusers, scheduler, condition_dropout=False).save_config(folder)
    scheduler.save_pretrained(folder / "scheduler")
    collaborators.save_config(folder / "collaborators")
    if diffusers is not None:
        diffusers.save_config(folder / "dynamic_diffusers")
    for name, model in members["collaborators"].items():
        model.encoder.save_assets(folder / "collaborators" / name)


def _write_part(folder: Path, part: Part, path: Path, dtype: torch.dtype) -> None:
    shapes = part.shapes()

    def read(names: list[str]) -> dict[str, Tensor]:
        state = open_checkpoint(path)  # opened anew for each shard: what was read of it before leaves the memory
        return {name: _weight(state[part.keys[name]], shapes[name], dtype, part.keys[name]) for name in names}

    write_weights(folder, shapes, read, dtype)


def _weight(found: Tensor, shape: torch.Size, dtype: torch.dtype, key: str) -> Tensor:
    weight = found.contiguous().reshape(shape).to(dtype, copy=True)
    if not torch.isfinite(weight).all():
        lost = "; --half bf16 has the range for it" if torch.isfinite(found).all() else ""
        raise InputError(f"{key} holds values that are not finite in {str(dtype).removeprefix('torch.')}{lost}")
    return weight
