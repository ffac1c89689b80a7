"""From one set of conditions to its files: checked and named beforehand, then sampled, drawn and written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

import codiff
from codiff.cli.outputs import Outputs, Signer, is_file, name_for, save_png, shown, slug
from codiff.cli.requests import Request
from codiff.cli.schedulers import name_of
from codiff.cli.steering import recorded, told
from codiff.composition import AdditiveCollaborative, Collaborative, Composition, rule
from codiff.errors import InputError
from codiff.figures import Card, evenly, influence_overlays, influence_strips, on_paper, overview, strip
from codiff.pipeline import CollaborativePipeline, CollaborativePipelineOutput, generators

AT_ONCE = 8  # images that are sampled together: more only need more memory
_FORESEEN = 8  # steps that a strip of foreseen pictures shows
_SIDE = 256  # of a picture in an overview


@dataclass(frozen=True)
class Settings:
    """All that determines a picture besides its conditions, their steering and its seed.

    Attributes:
        model: its name, without the folders it lies in.
        weights: digest of its files.
        steps, scheduler, guidance, composition, eta: of the sampling.
    """

    model: str
    weights: str
    steps: int
    scheduler: str
    guidance: float
    composition: str
    eta: float

    def __str__(self) -> str:
        eta = f", eta {self.eta:g}" if self.eta else ""
        sampling = f"{self.steps} steps of {self.scheduler}{eta}, guidance {self.guidance:g}, {self.composition}"
        return f"model {self.model}, {sampling}"


def model_digest(folder: Path) -> str:
    """Of a model's settings and of its weights by their recorded checksums."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".json":
            digest.update(path.read_bytes())
        elif path.suffix == ".safetensors":
            digest.update(f"{path.relative_to(folder).as_posix()} {path.stat().st_size}".encode())
    return digest.hexdigest()


def model_name(model: str, folder: Path) -> str:
    """How metadata call a model: a shipped or hub one by its name, a folder by its last part."""
    return folder.resolve().name if Path(model).expanduser().is_dir() else model


def open_device(name: str | None) -> torch.device:
    """The device of this name, or the fastest there is.

    Raises:
        InputError: this machine has no such device.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.zeros(1, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0][:120]
        raise InputError(f"device {name!r} cannot be used here ({reason}); leave --device out, or use cpu") from error


def relax(pipe: CollaborativePipeline, **allowances: bool) -> None:
    """Let the encoders adapt what they would refuse, as far as each knows how (`letterbox`, `snap`).

    Raises:
        InputError: no encoder of the model knows one of them.
    """
    for name in (name for name, allowed in allowances.items() if allowed):
        able = [pipe.collaborators[m].encoder for m in pipe.modalities if hasattr(pipe.collaborators[m].encoder, name)]
        if not able:
            raise InputError(f"no modality of this model knows --{name}; leave it out")
        for encoder in able:
            setattr(encoder, name, True)


@dataclass(frozen=True)
class Task:
    """A request that was checked: its conditions can be read, its files are named.

    Attributes:
        request: what was asked for.
        outputs: its files.
        described: modality -> the condition in words, as its encoder reads it.
    """

    request: Request
    outputs: Outputs
    described: dict[str, str]


def plan(
    pipe: CollaborativePipeline, request: Request, settings: Settings, folder: Path, count: int, figures: Sequence[str]
) -> Task:
    """Read the conditions once, for errors and for the names of the files.

    Raises:
        InputError: a condition is wrong, or a file of somebody else stands at one of the names.
    """
    with request.located():
        inputs = read_conditions(pipe, request)
        composition_of(pipe, settings.composition, request)
        read = {modality: tensor_digest(value) for modality, value in inputs.items()}
        determining = [asdict(settings), read, *([recorded(request.bias)] if request.bias else [])]
        digest = hashlib.sha256(json.dumps(determining).encode()).hexdigest()
        name = slug(request.name or "") or name_for(request.conditions)
        outputs = Outputs(folder, name, digest, range(request.seed, request.seed + count), figures)
        outputs.check_free()
    described = {modality: pipe.collaborators[modality].encoder.describe(value) for modality, value in inputs.items()}
    return Task(request, outputs, described)


def read_conditions(pipe: CollaborativePipeline, request: Request) -> dict[str, Tensor]:
    """Modality -> what its encoder reads, (1, ...).

    Raises:
        InputError: a condition is wrong.
    """
    inputs = {}
    for modality, value in request.conditions.items():
        try:
            inputs[modality] = pipe.collaborators[modality].encoder.read_all(value)
        except InputError as error:
            message = str(error).replace("letterbox=True", "--letterbox").replace("snap=True", "--snap")
            raise InputError(message) from error
    return inputs


def tensor_digest(value: Tensor) -> str:
    """SHA-256 of a tensor's shape and values."""
    plain = value.cpu().contiguous()
    array = (plain.float() if plain.is_floating_point() else plain).numpy()
    return hashlib.sha256(f"{array.dtype} {array.shape} ".encode() + array.tobytes()).hexdigest()


def composition_of(pipe: CollaborativePipeline, name: str, request: Request) -> Composition:
    """The rule of this name, steered as the request says.

    Raises:
        InputError: it needs dynamic diffusers, which the model does not have; or a modality is steered that the request
            lacks, or the only one it has.
    """
    composition = rule(name, pipe.collaborators, pipe.dynamic_diffusers or {})
    predicted = isinstance(composition, Collaborative | AdditiveCollaborative)
    if predicted and pipe.dynamic_diffusers is None and len(request.conditions) > 1:
        raise InputError(f"{name} needs dynamic diffusers, which this model does not have; use --composition mean")
    if request.bias is None:
        return composition
    request.bias.check(list(request.conditions))
    return composition.steered(request.bias)


OnStep = Callable[[int], None]


def runs_of(task: Task) -> int:
    """How many times the sampler runs for a task."""
    return -(-len(task.outputs.seeds) // AT_ONCE)


def draw(
    pipe: CollaborativePipeline, task: Task, settings: Settings, on_step: OnStep, signer: Signer | None = None
) -> None:
    """Sample a task's images and write all its files; `on_step` is called with the number of each step."""
    outputs, pictures = task.outputs, []
    for start in range(0, len(outputs.seeds), AT_ONCE):
        seeds = outputs.seeds[start : start + AT_ONCE]
        result, timesteps = _sampled(pipe, task, settings, seeds, on_step)
        pictures += result.images
        for place, seed in enumerate(seeds):
            metadata = {"seed": seed, **_metadata(task, settings)}
            save_png(result.images[place], outputs.image(seed), metadata, signer)
            for kind, figure in _figures(pipe, result, place, timesteps, outputs.figures).items():
                save_png(figure, outputs.figure(seed, kind), {"figure": kind, **metadata}, signer)
    captions = [f"seed {seed}" for seed in outputs.seeds]
    cards = condition_cards(pipe, task.request.conditions, read_conditions(pipe, task.request), task.described)
    steering = [told(task.request.bias)] if task.request.bias else []
    grid = overview(cards, pictures, captions, ", ".join([str(settings), *steering]), _SIDE)
    overall = {"figure": "grid", "seeds": list(outputs.seeds), **_metadata(task, settings)}
    save_png(grid, outputs.grid, overall, signer)


def _sampled(
    pipe: CollaborativePipeline, task: Task, settings: Settings, seeds: Sequence[int], on_step: OnStep
) -> tuple[CollaborativePipelineOutput, list[str]]:
    """The pipeline's output for these seeds, and the timesteps it went through."""
    timesteps: list[str] = []

    def after_step(_pipe: Any, step: int, timestep: Tensor, _state: dict[str, Tensor]) -> None:
        timesteps.append(f"{float(timestep):.0f}")
        on_step(step + 1)

    result = pipe(
        task.request.conditions,
        num_inference_steps=settings.steps,
        composition=composition_of(pipe, settings.composition, task.request),
        guidance_scale=settings.guidance,
        eta=settings.eta,
        generator=generators(seeds[0], len(seeds)),
        callback_on_step_end=after_step,
        return_influences="influences" in task.outputs.figures,
        return_intermediates="intermediates" in task.outputs.figures,
    )
    return result, timesteps


def _figures(
    pipe: CollaborativePipeline,
    result: CollaborativePipelineOutput,
    place: int,
    timesteps: Sequence[str],
    kinds: Sequence[str],
) -> dict[str, Image.Image]:
    """The figures of one image of a result, by kind."""
    figures: dict[str, Image.Image] = {}
    if result.influences is not None:
        shares = {modality: maps[:, place, 0].numpy() for modality, maps in result.influences.items()}
        means = {modality: maps.mean(axis=0) for modality, maps in shares.items()}
        drawn = {
            "influences": influence_strips(shares, timesteps),
            "overlay": influence_overlays(result.images[place], means),
        }
        figures.update({kind: figure for kind, figure in drawn.items() if kind in kinds})
    if result.predictions is not None:
        figures["intermediates"] = _foreseen(pipe, result.predictions[:, place], timesteps)
    return figures


@torch.no_grad()
def _foreseen(pipe: CollaborativePipeline, predictions: Tensor, timesteps: Sequence[str]) -> Image.Image:
    """The pictures of predicted x_0 (steps, channels, h, w), a few of the steps."""
    steps = evenly(len(predictions), _FORESEEN)
    pictures = pipe.decode(predictions[steps].to(pipe.device))
    captions = [f"step {step + 1}, t {timesteps[step]}" for step in steps]
    return on_paper(strip(pictures, captions, title="The picture foreseen at each step"))


def condition_cards(
    pipe: CollaborativePipeline,
    conditions: Mapping[str, str],
    inputs: Mapping[str, Tensor],
    described: Mapping[str, str],
) -> list[Card]:
    """Words as they were given; of a file what its encoder reads in it.

    Args:
        conditions: modality -> words or a path.
        inputs, described: what its encoder reads, (1, ...), and that in words.
    """
    cards = []
    for modality, read in inputs.items():
        value = conditions[modality]
        picture = pipe.collaborators[modality].encoder.picture(read, _SIDE)
        title, text = (f"{modality}: {shown(value)}", described[modality]) if is_file(value) else (modality, value)
        cards.append(Card(title, text, picture))
    return cards


def _metadata(task: Task, settings: Settings) -> dict[str, Any]:
    given = {modality: shown(value) for modality, value in task.request.conditions.items()}
    return {
        "codiff": codiff.__version__,
        "conditions": {
            modality: {"given": given[modality], "read_as": words} for modality, words in task.described.items()
        },
        "settings": asdict(settings),
        "steering": recorded(task.request.bias) if task.request.bias else None,
        "digest": task.outputs.digest,
    }


def settings_of(pipe: CollaborativePipeline, folder: Path, model: str, sampling: Mapping[str, Any]) -> Settings:
    """The settings of a pipeline and of a call of it."""
    return Settings(model_name(model, folder), model_digest(folder), scheduler=name_of(pipe.scheduler), **sampling)
