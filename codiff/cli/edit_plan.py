"""An edit that was checked before any work: what is edited, how, and where its files go."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

import codiff
from codiff.cli.drawing import Settings, composition_of, read_conditions, tensor_digest
from codiff.cli.outputs import Outputs, is_file, shown
from codiff.cli.requests import Request
from codiff.composition import check_modalities
from codiff.editing import Learned, Learning, Sampling
from codiff.editing.blended import region_of
from codiff.editing.editors import Editor, editor_named
from codiff.editing.learned import model_digest
from codiff.editing.photo import Photo, read_photo
from codiff.editing.region import read_region
from codiff.editing.task import EditTask
from codiff.errors import InputError
from codiff.figures import Card
from codiff.image_files import ImageSource
from codiff.photos.framing import Framed
from codiff.pipeline import CollaborativePipeline

_SIDE = 256  # of a condition's picture


@dataclass(frozen=True)
class Given:
    """Conditions, and how records call them.

    Attributes:
        values: modality -> raw condition.
        told: modality -> words as they are, of a picture its name.
        pictures: modalities whose condition is a picture.
    """

    values: Mapping[str, Any]
    told: Mapping[str, str]
    pictures: Collection[str] = ()

    @classmethod
    def of_options(cls, options: Mapping[str, str]) -> Given:
        """Of words and paths."""
        told = {modality: shown(value) for modality, value in options.items()}
        return cls(options, told, [modality for modality, value in options.items() if is_file(value)])


@dataclass(frozen=True)
class Wanted:
    """What was asked for.

    Attributes:
        framed: the face that is edited.
        target, source: conditions of what it becomes, and of what the photo shows.
        name: slug that files are called by.
        editor: name.
        strengths: by modality; None to find them.
        region: see `read_region`; None where there is none.
        learned: file of what is learned, which must exist unless `learning` is given; None for a name of its own.
        learning: how imagic learns where that file is not there; None where it does not learn.
        start: what imagic samples from.
        count, seed: of the images.
        judges: names those who find the strength; empty where it is given, or the model's own do.
    """

    framed: Framed
    target: Given
    source: Given
    name: str
    editor: str
    strengths: Mapping[str, float] | None
    region: ImageSource | Tensor | None
    learned: Path | None
    learning: Learning | None
    start: str
    count: int
    seed: int
    judges: str = ""

    @property
    def kind(self) -> Editor:
        """The editor."""
        return editor_named(self.editor)

    @property
    def request(self) -> Request:
        """The target's conditions."""
        return Request(dict(self.target.values), self.seed)


@dataclass(frozen=True)
class Plan:
    """A checked edit.

    Attributes:
        wanted: what was asked for.
        settings: of the sampling.
        photo: as the model sees it.
        inputs: modality -> what its encoder reads of the target.
        described: modality -> that in words.
        outputs: files of the images and the grid.
        learned: the file of what is learned, of imagic alone.
    """

    wanted: Wanted
    settings: Settings
    photo: Photo
    inputs: dict[str, Tensor]
    described: dict[str, str]
    outputs: Outputs
    learned: Path | None

    def extra(self, kind: str) -> Path:
        """A figure about the edit as a whole."""
        return self.outputs.folder / f"{self.outputs.name}-{self.outputs.digest[:8]}-{kind}.png"

    def task(self, pipe: CollaborativePipeline) -> EditTask:
        """What is to be drawn."""
        wanted, settings = self.wanted, self.settings
        sampling = Sampling(
            num_inference_steps=settings.steps,
            guidance_scale=settings.guidance,
            composition=composition_of(pipe, settings.composition, wanted.request),
            eta=settings.eta,
        )
        return EditTask(
            wanted.editor,
            wanted.framed.crop,
            wanted.target.values,
            sampling,
            wanted.source.values,
            wanted.region,
            self.learned,
            wanted.learning,
            wanted.start,
            f"{settings.weights} {settings.composition}",
        )

    def metadata(self, strengths: Mapping[str, float]) -> dict[str, Any]:
        """What pictures record: all but the photo."""
        conditions = {
            modality: {"given": self.wanted.target.told[modality], "read_as": words}
            for modality, words in self.described.items()
        }
        return {
            "codiff": codiff.__version__,
            "editor": self.wanted.editor,
            self.wanted.kind.strength: dict(strengths),
            "conditions": conditions,
            "source": dict(self.wanted.source.told),
            "region": self.wanted.region is not None,
            "start": self.wanted.start if self.learned is not None else None,
            "settings": asdict(self.settings),
            "digest": self.outputs.digest,
        }

    def cards(self, pipe: CollaborativePipeline) -> list[Card]:
        """The target's conditions: words as they were given, of a picture what its encoder reads in it."""
        cards, target = [], self.wanted.target
        for modality, read in self.inputs.items():
            told, picture = target.told[modality], pipe.collaborators[modality].encoder.picture(read, _SIDE)
            pictured = modality in target.pictures
            title, text = (f"{modality}: {told}", self.described[modality]) if pictured else (modality, told)
            cards.append(Card(title, text, picture))
        return cards


def parse_source(given: Sequence[str], modalities: Sequence[str]) -> dict[str, str]:
    """Modality -> value of options like "mask=now.png".

    Raises:
        InputError: no "=", or a modality that the model lacks or that is given twice.
    """
    source: dict[str, str] = {}
    for text in given:
        modality, found, value = text.partition("=")
        if not found or not value:
            raise InputError(f"--source {text!r} must be like {modalities[0]}=VALUE: what the photo shows")
        if modality in source:
            raise InputError(f"--source gives {modality} twice")
        source[modality] = value
    if source:
        check_modalities(source, dict.fromkeys(modalities))
    return source


def make_plan(pipe: CollaborativePipeline, wanted: Wanted, settings: Settings, out: Path) -> Plan:
    """Read all that is given once, for errors and for the names of the files.

    Raises:
        InputError: the photo, a condition, the region or the learned edit is wrong, or a file of somebody else stands
            at one of the names.
    """
    pipe.note_guidance(settings.guidance, composition_of(pipe, settings.composition, wanted.request))
    photo = read_photo(pipe, wanted.framed.crop)
    inputs = read_conditions(pipe, wanted.request)
    source = read_conditions(pipe, Request(dict(wanted.source.values), 0))
    region = None if wanted.region is None else read_region(wanted.region, photo.pixels.shape[1])
    read = {
        "photo": photo.digest,
        "place": wanted.framed.place,
        "target": {modality: tensor_digest(value) for modality, value in inputs.items()},
        "source": {modality: tensor_digest(value) for modality, value in source.items()},
        "region": None if region is None else tensor_digest(region),
    }
    if wanted.kind.confined:
        region_of(pipe, wanted.target.values, wanted.region, wanted.source.values)
    learned, learning = _learned_file(pipe, wanted, read, out)
    how = {
        "editor": wanted.editor,
        "strengths": wanted.judges if wanted.strengths is None else dict(wanted.strengths),
        "learned": None if learned is None else [learned.name, learning and learning.to_json(), wanted.start],
    }
    digest = _hash([asdict(settings), read, how])
    seeds, figures = range(wanted.seed, wanted.seed + wanted.count), ["photo"] if wanted.framed.is_part else []
    outputs = Outputs(out, wanted.name, digest, seeds, figures)
    outputs.check_free()
    described = {modality: pipe.collaborators[modality].encoder.describe(value) for modality, value in inputs.items()}
    return Plan(wanted, settings, photo, inputs, described, outputs, learned)


def _learned_file(
    pipe: CollaborativePipeline, wanted: Wanted, read: Mapping[str, Any], out: Path
) -> tuple[Path | None, Learning | None]:
    """Where what imagic learns is, or will be, and how it is learned: its own name tells that, the model and the photo.

    Raises:
        InputError: what is there does not fit.
    """
    if wanted.learned is not None:
        path = wanted.learned
    elif wanted.learning is not None:
        key = _hash(
            [model_digest(pipe, wanted.target.values), read["photo"], read["target"], wanted.learning.to_json()]
        )
        path = out / f"{wanted.name}-{key[:8]}-edit.safetensors"
    else:
        return None, None
    if wanted.learning is not None and not path.exists():
        return path, wanted.learning
    known = Learned.load(path)
    known.check(pipe, read["photo"], wanted.target.values)
    return path, known.settings


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
