"""The files of a result: pictures as the command line writes them, the record, and all of it in one archive."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import codiff
from codiff.cli.drawing import Settings
from codiff.cli.steering import recorded
from codiff.composition import InfluenceBias
from codiff.files import write_json, written_aside
from codiff.pipeline import CollaborativePipeline
from codiff.web.condition_kinds import Words, kind_of

RECORD_FILE = "settings.json"
ARCHIVE_FILE = "codiff.zip"


def metadata(
    pipe: CollaborativePipeline,
    conditions: Mapping[str, Any],
    described: Mapping[str, str],
    settings: Settings,
    bias: InfluenceBias | None,
    digest: str,
) -> dict[str, Any]:
    """What a picture tells of itself but its seed, as `codiff generate` writes it; files are named as in archives."""
    given = {
        modality: plain if isinstance(kind_of(pipe.collaborators[modality].encoder), Words) else name
        for (modality, plain), name in zip(conditions.items(), file_names(pipe, conditions).values(), strict=True)
    }
    return {
        "codiff": codiff.__version__,
        "conditions": {modality: {"given": given[modality], "read_as": described[modality]} for modality in conditions},
        "settings": asdict(settings),
        "steering": None if bias is None else recorded(bias),
        "digest": digest,
    }


def file_names(pipe: CollaborativePipeline, conditions: Mapping[str, Any]) -> dict[str, str]:
    """Modality -> name of the file that holds its condition."""
    return {modality: f"{modality}{kind_of(pipe.collaborators[modality].encoder).ending}" for modality in conditions}


def write_record(folder: Path, record: Mapping[str, Any]) -> Path:
    """The record as a file."""
    path = folder / RECORD_FILE
    write_json(path, record)
    return path


def write_archive(
    folder: Path, pipe: CollaborativePipeline, conditions: Mapping[str, Any], pictures: list[Path], record: Path
) -> Path:
    """A zip file of pictures, conditions and record; names are the server's own."""
    path = folder / ARCHIVE_FILE
    with written_aside(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for picture in pictures:
            archive.write(picture, picture.name)
        for modality, name in file_names(pipe, conditions).items():
            kind = kind_of(pipe.collaborators[modality].encoder)
            archive.writestr(name, kind.content(conditions[modality]))
        archive.write(record, record.name)
    return path
