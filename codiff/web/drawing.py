"""From a checked request to pictures: sampled in a worker's thread, told of step by step, written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from codiff.cli.drawing import Settings, tensor_digest
from codiff.cli.outputs import Outputs, Signer, save_png, slug
from codiff.cli.steering import recorded
from codiff.composition import Composition, InfluenceBias, rule
from codiff.evaluation.disagreement import Listener, disagreement
from codiff.pipeline import CollaborativePipeline, CollaborativePipelineOutput, generators
from codiff.web.condition_kinds import Words, kind_of
from codiff.web.exports import metadata
from codiff.web.previews import Previews
from codiff.web.records import carried, record_of
from codiff.web.request import Checked
from codiff.web.runs import Run

_AT_ONCE = 4  # pictures that are sampled together: of more, two cores foresee none within a second


@dataclass(frozen=True)
class Way:
    """One way to draw a request.

    Attributes:
        caption: of its pictures.
        composition: name of the rule.
        modalities: that take part.
        steered: whether the request's bias holds.
    """

    caption: str
    composition: str
    modalities: tuple[str, ...]
    steered: bool = True


@dataclass(frozen=True)
class Drawn:
    """Pictures of one way.

    Attributes:
        way: which.
        settings, bias, digest: what determines them.
        images: the pictures.
        influences: modality -> (steps, batch, 1, h, w); None where the rule has none.
        conflict: `disagreement` of the collaborators, (steps, batch, h, w); None where there is one alone.
        timesteps: of the sampling.
    """

    way: Way
    settings: Settings
    bias: InfluenceBias | None
    digest: str
    images: list[Image.Image]
    influences: dict[str, Tensor] | None
    conflict: Tensor | None
    timesteps: list[float]


def composed(pipe: CollaborativePipeline, name: str, bias: InfluenceBias | None) -> Composition:
    """The rule of this name, steered."""
    composition = rule(name, pipe.collaborators, pipe.dynamic_diffusers or {})
    return composition if bias is None else composition.steered(bias)


def request_digest(settings: Settings, inputs: Mapping[str, Tensor], bias: InfluenceBias | None) -> str:
    """SHA-256 of all that determines pictures but their seed, as `codiff generate` computes it.

    Args:
        settings: of model and sampling.
        inputs: modality -> what its encoder reads.
        bias: steering.
    """
    read = {modality: tensor_digest(value) for modality, value in inputs.items()}
    parts = [asdict(settings), read] if bias is None else [asdict(settings), read, recorded(bias)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def draw_ways(
    run: Run, pipe: CollaborativePipeline, checked: Checked, ways: Sequence[Way], *, previews: bool = True
) -> list[Drawn]:
    """The pictures of all ways, from the same noise.

    Args:
        run: what is told of the steps.
        pipe: with the request's scheduler.
        previews: whether somebody sees what becomes of them; decoding takes up to half of the time.
    """
    groups = -(-checked.request.count // _AT_ONCE)
    progress = _Progress(run, Previews(pipe) if previews else None, checked.settings.steps * len(ways) * groups)
    return [_draw_way(progress, pipe, checked, way) for way in ways]


class _Progress:
    """Tells a run of the steps of all ways, with previews where there are any."""

    def __init__(self, run: Run, previews: Previews | None, steps: int) -> None:
        self._run, self._previews, self._steps = run, previews, steps
        self._timesteps: list[float] = []
        self.finished: list[Image.Image] = []  # of all ways
        run.step(0, steps)

    def last_timesteps(self, count: int) -> list[float]:
        """Of the last `count` steps."""
        return self._timesteps[-count:]

    def __call__(self, _pipe: Any, _step: int, timestep: Tensor, tensors: dict[str, Tensor]) -> None:
        self._run.checkpoint()
        self._timesteps.append(float(timestep))
        preview = None if self._previews is None else self._previews.of(tensors["prediction"], self.finished)
        self._run.step(len(self._timesteps), self._steps, preview)


def _draw_way(progress: _Progress, pipe: CollaborativePipeline, checked: Checked, way: Way) -> Drawn:
    settings = replace(checked.settings, composition=way.composition)
    bias = checked.request.bias if way.steered and len(way.modalities) > 1 else None
    composition = composed(pipe, way.composition, bias)
    noise = generators(checked.request.seed, checked.request.count)
    images: list[Image.Image] = []
    influences, conflicts = [], []
    for start in range(0, len(noise), _AT_ONCE):
        output, conflict = _sample(progress, pipe, checked, way, composition, noise[start : start + _AT_ONCE])
        images += output.images
        progress.finished += output.images
        influences += [output.influences] if output.influences else []
        conflicts += [] if conflict is None else [conflict]
    return Drawn(
        way,
        settings,
        bias,
        request_digest(settings, {modality: checked.inputs[modality] for modality in way.modalities}, bias),
        images,
        {name: torch.cat([maps[name] for maps in influences], dim=1) for name in influences[0]} if influences else None,
        torch.cat(conflicts, dim=1) if conflicts else None,
        progress.last_timesteps(settings.steps),
    )


def _sample(
    progress: _Progress,
    pipe: CollaborativePipeline,
    checked: Checked,
    way: Way,
    composition: Composition,
    noise: list[torch.Generator],
) -> tuple[CollaborativePipelineOutput, Tensor | None]:
    """Pictures that are sampled together, and where their collaborators disagreed."""
    listener = Listener(pipe.scheduler, len(noise))
    several = len(way.modalities) > 1
    output = pipe(
        {modality: checked.request.conditions[modality] for modality in way.modalities},
        num_inference_steps=checked.settings.steps,
        composition=listener.hearing(composition) if several else composition,
        guidance_scale=checked.settings.guidance,
        eta=checked.settings.eta,
        generator=noise,
        callback_on_step_end=progress,
        callback_on_step_end_tensor_inputs=("latents", "prediction"),
        return_influences=True,
    )
    heard = output.influences if several else None
    return output, None if heard is None else disagreement(heard, listener.foreseen)


def write_pictures(
    folder: Path, pipe: CollaborativePipeline, checked: Checked, drawn: Sequence[Drawn], signer: Signer | None
) -> list[Path]:
    """All pictures as PNG files with metadata, as `codiff generate` writes and signs them and, unless they are named by
    the several ways that made them, names them; each carries its record besides."""
    paths = []
    for each in drawn:
        conditions = {modality: checked.request.conditions[modality] for modality in each.way.modalities}
        seeds = range(checked.request.seed, checked.request.seed + len(each.images))
        name = slug(each.way.caption) if len(drawn) > 1 else _name(pipe, conditions)
        outputs = Outputs(folder, name or "picture", each.digest, seeds)
        record = record_of(pipe, _alone(checked, each, conditions))
        told = metadata(pipe, conditions, checked.described, each.settings, each.bias, each.digest)
        for seed, picture in zip(seeds, each.images, strict=True):
            claimed = {"seed": seed, **told}
            besides = carried({**record, "seed": seed})
            save_png(picture, outputs.image(seed), {**claimed, **besides}, _signing(signer, claimed))
            paths.append(outputs.image(seed))
    return paths


def _alone(checked: Checked, drawn: Drawn, conditions: Mapping[str, Any]) -> Checked:
    """The request for the first picture of a way alone."""
    request = replace(checked.request, conditions=conditions, count=1, bias=drawn.bias)
    return replace(checked, request=request, settings=drawn.settings)


def _signing(signer: Signer | None, claimed: Mapping[str, Any]) -> Signer | None:
    """Signs this and no more: credentials cut short what is as long as a record."""
    return None if signer is None else lambda png, _metadata: signer(png, claimed)


def captions(checked: Checked, drawn: Sequence[Drawn]) -> list[str]:
    """One for each picture: the way where there are several, the seed where there are several or one way alone."""
    told = []
    for each in drawn:
        count = len(each.images)
        seeds = [f"seed {checked.request.seed + number}" for number in range(count)]
        of_the_way = [each.way.caption] if count == 1 else [f"{each.way.caption}, {seed}" for seed in seeds]
        told += seeds if len(drawn) == 1 else of_the_way
    return told


def pictures_of(drawn: Sequence[Drawn]) -> list[Image.Image]:
    """All of them, way by way."""
    return [picture for each in drawn for picture in each.images]


def _name(pipe: CollaborativePipeline, conditions: Mapping[str, Any]) -> str:
    """A slug of the first condition's words, or of its modality."""
    modality, plain = next(iter(conditions.items()))
    words = isinstance(kind_of(pipe.collaborators[modality].encoder), Words)
    return slug(plain if words else modality) or slug(modality) or "image"
