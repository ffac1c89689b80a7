"""Which faces a training sees."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from codiff.data.celeba_captions import PAPER_ATTRIBUTES
from codiff.data.celeba_hq import CelebAHQ
from codiff.data.celeba_labels import DEGREES, FILE, find_labels, read_labels_file
from codiff.data.faces import ProceduralFaces
from codiff.data.flip import WithFlips
from codiff.data.prepared import PreparedShards, is_prepared, read_index
from codiff.errors import InputError
from codiff.training.face_data import UNKNOWN, DrawnFaces, FaceData, FacesInFiles, Labels
from codiff.training.read_ahead import default_workers
from codiff.training.settings import Settings

_OF_FILES = ("captions", "attributes", "labels", "draw_sketches", "flip", "workers")
_OF_PREPARATION = ("captions", "draw_sketches")  # decided when `codiff data prepare` wrote
_FLIPS = "-flips"  # in fingerprints


class DataSettings(Settings):
    """Procedural faces, or CelebA-HQ in a folder.

    Attributes:
        kind: "procedural" or "celeba-hq"; None for CelebA-HQ where a folder is given, else procedural faces.
        folder: of CelebA-HQ: raw, preprocessed, or written by `codiff data prepare`.
        size: side in pixels; of prepared data, the one they were prepared at.
        cache: folder of what is computed once: procedural faces (about 5 bytes a pixel and face; 2.3 GB for 30,000
            faces at 128 pixels), and latents (50 KB a picture for latents of 3 x 64 x 64) and conditions.
        limit: only the first so many faces.
        captions: caption file; the one that lies with the data without.
        attributes: of which captions and labels tell.
        labels: CelebA-Dialog's label file, for attribute classifiers; the one that lies with the data without.
        draw_sketches: draw sketches from the pictures though there are published ones.
        flip: every example is there a second time, mirrored, with left and right parts exchanged.
        workers: processes that read ahead; None for one a core, eight at most; 0 to read in the training's own.
    """

    kind: Literal["procedural", "celeba-hq"] | None = None
    folder: str | None = None
    size: int = Field(default=128, ge=32)
    cache: str = "~/.cache/codiff"
    limit: int | None = Field(default=None, gt=0)
    captions: str | None = None
    attributes: tuple[str, ...] = PAPER_ATTRIBUTES
    labels: str | None = None
    draw_sketches: bool = False
    flip: bool = False
    workers: int | None = Field(default=None, ge=0, le=64)

    @model_validator(mode="after")
    def _check_kind(self) -> DataSettings:
        if self.in_files and self.folder is None:
            raise ValueError("these are settings for CelebA-HQ: give the folder it lies in (--data DIR)")
        if self.folder is not None and not self.in_files:
            raise ValueError("procedural faces lie in no folder; leave kind out, or the folder")
        unused = [] if self.in_files else self.changed(_OF_FILES)
        if unused:
            raise ValueError(f"{unused[0]} is for CelebA-HQ, and these are procedural faces; give its folder, too")
        return self

    def changed(self, names: Iterable[str]) -> list[str]:
        """Which of these settings are not their defaults."""
        return [name for name in names if getattr(self, name) != type(self).model_fields[name].default]

    @property
    def in_files(self) -> bool:
        """Whether the faces are CelebA-HQ's."""
        return self.kind == "celeba-hq" or (self.kind is None and self.folder is not None)

    @property
    def cache_folder(self) -> Path:
        """The cache as a path."""
        return Path(self.cache).expanduser()


def open_data(settings: DataSettings, split: str, modalities: Sequence[str]) -> FaceData:
    """The faces of a split, with conditions of these modalities.

    Raises:
        InputError: there is no such data, conditions of a modality are missing, or the size is another one.
    """
    if not settings.in_files:
        return DrawnFaces(open_faces(settings, split))
    assert settings.folder is not None
    folder = Path(settings.folder).expanduser()
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}; give the one that holds CelebA-HQ, or was prepared of it")
    examples = (_prepared if is_prepared(folder) else _in_files)(settings, folder, split, modalities)
    return FacesInFiles(
        WithFlips(examples) if settings.flip else examples,
        size=settings.size,
        fingerprint=f"{examples.fingerprint}{_FLIPS * settings.flip}",
        pictures_fingerprint=f"{examples.pictures_fingerprint}{_FLIPS * settings.flip}",
        read_labels=partial(_labels, settings, folder, examples),
        workers=default_workers() if settings.workers is None else settings.workers,
    )


def open_faces(settings: DataSettings, split: str) -> ProceduralFaces:
    """The cached procedural faces of a split."""
    return ProceduralFaces(split, settings.size, limit=settings.limit).cached(settings.cache_folder)


def _in_files(settings: DataSettings, folder: Path, split: str, modalities: Sequence[str]) -> CelebAHQ:
    return CelebAHQ(
        folder,
        split,
        settings.size,
        modalities=modalities,
        captions=None if settings.captions is None else Path(settings.captions).expanduser(),
        attributes=settings.attributes,
        limit=settings.limit,
        draw_sketches=settings.draw_sketches,
    )


def _prepared(settings: DataSettings, folder: Path, split: str, modalities: Sequence[str]) -> PreparedShards:
    prepared = read_index(folder).settings
    if prepared.size != settings.size:
        raise InputError(
            f"{folder} was prepared at {prepared.size} pixels, but data.size is {settings.size}: prepare it with "
            f"--size {settings.size}, or set data.size={prepared.size}"
        )
    decided = settings.changed(_OF_PREPARATION)
    if decided:
        raise InputError(f"data.{decided[0]} was decided when {folder} was prepared; leave it out, or prepare anew")
    if "text" in modalities and set(settings.attributes) != set(prepared.attributes):
        raise InputError(
            f"the captions in {folder} tell of {', '.join(prepared.attributes)}, but data.attributes are "
            f"{', '.join(settings.attributes)}: prepare it with --attributes {','.join(settings.attributes)}"
        )
    return PreparedShards(folder, split, modalities=modalities, limit=settings.limit)


def _labels(settings: DataSettings, folder: Path, examples: CelebAHQ | PreparedShards) -> Labels:
    """Labels of the examples by their names; once more where there are flips."""
    homes = [folder, *(examples.files.image_folder.parents[:2] if isinstance(examples, CelebAHQ) else ())]
    path = find_labels(*homes) if settings.labels is None else Path(settings.labels).expanduser()
    if path is None:
        raise InputError(
            f"no labels of {', '.join(settings.attributes)} with {folder}, and an attribute classifier needs them: put "
            f"CelebA-Dialog's {FILE} there, or give its place (data.labels=FILE)"
        )
    names = [int(example.name) for example in examples]
    known = read_labels_file(path, settings.attributes)
    targets = {name: np.array([of.get(index, UNKNOWN) for index in names]) for name, of in known.items()}
    if not all((found != UNKNOWN).any() for found in targets.values()):
        raise InputError(f"labels {str(path)!r}: they are of none of the {len(names)} images; give those of these data")
    digest = hashlib.sha256(b"".join(name.encode() + found.tobytes() for name, found in targets.items())).hexdigest()
    return Labels(
        dict.fromkeys(targets, DEGREES),
        {name: np.tile(found, 1 + settings.flip) for name, found in targets.items()},
        f"{examples.fingerprint}{_FLIPS * settings.flip}, labels-{digest[:16]}",
    )
