"""The same measures of pictures that any other software made."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from PIL import Image

from codiff.errors import InputError, InputNotice
from codiff.evaluation.batches import Results
from codiff.evaluation.benchmark import Evaluation
from codiff.evaluation.benchmark_data import Case
from codiff.evaluation.comparison import Reference, columns, numbers
from codiff.evaluation.folders import FolderCases, Folders, reference_pictures
from codiff.evaluation.judges import Judges
from codiff.evaluation.methods import Method
from codiff.evaluation.metrics import METRICS
from codiff.evaluation.notes import noted, shortened
from codiff.evaluation.progress import tracked
from codiff.evaluation.protocols import LEAST
from codiff.evaluation.report import Looks, write_report
from codiff.files import sole_writer
from codiff.modalities.mask import colour
from codiff.pixels import from_uint8


def evaluate_images(folders: Folders, judges: Judges, out: Path, batch: int = 16) -> Path:
    """Measure the pictures of a folder and write the report; a metric whose input is missing is left out by name.

    Raises:
        InputError: there are no pictures or fewer than 8, they do not pair with masks, captions or labels, or files
            are damaged; everything is opened before anything is measured.
    """
    cases = FolderCases(folders)
    if len(cases) < LEAST:
        raise InputError(f"{folders.images} holds {len(cases)} pictures; at least {LEAST} are needed for intervals")
    first, notes = cases.picture(0).shape, list[str]()
    with noted(notes):
        for item in tracked(range(len(cases)), "opening pictures"):
            cases.check_size(item, first)
            judges.check([cases[item]])
    for note in shortened(notes):
        warnings.warn(note, InputNotice, stacklevel=2)
    with sole_writer(out):
        name = folders.images.resolve().name
        with noted(notes):
            reference = _reference(folders, judges, cases, batch)
            scores = _scores(cases, judges, batch)
            found = numbers(scores, reference)
        metrics = columns(list(METRICS), judges.extractor)
        measured = [metric for metric in metrics if metric.name in found.estimates]
        evaluation = Evaluation(
            title=f"{len(cases)} pictures of {name}",
            settings={key: None if value is None else Path(value).name for key, value in vars(folders).items()},
            lead=name,
            methods=[Method(name, "", ())],
            metrics=measured,
            numbers={name: found},
            scores={name: scores},
            left_out={metric.title: f"it needs {metric.needs}" for metric in metrics if metric not in measured},
            notes=shortened(notes),
        )
        return write_report(evaluation, out, _looks(cases))


def _scores(cases: FolderCases, judges: Judges, batch: int) -> Results:
    parts = []
    for start in tracked(range(0, len(cases), batch), "judging"):
        items = range(start, min(start + batch, len(cases)))
        parts.append(judges.scores(from_uint8(cases.pictures(items)), [cases[item] for item in items]))
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


@torch.no_grad()
def _reference(folders: Folders, judges: Judges, cases: FolderCases, batch: int) -> Reference | None:
    """Features of the reference pictures, which come first: what is wrong with them is told at once."""
    extractor = judges.extractor
    if folders.reference is None or extractor is None:
        return None
    pictures = reference_pictures(folders.reference)
    ours, theirs = cases.picture(0).shape, pictures.read(range(1))[0].shape
    if ours != theirs:
        raise InputError(
            f"pictures of {ours[1]} x {ours[0]} pixels and reference pictures of {theirs[1]} x {theirs[0]} do not "
            "compare; resize the reference"
        )
    parts = []
    for start in tracked(range(0, pictures.count, batch), "reference pictures"):
        read = pictures.read(range(start, min(start + batch, pictures.count)))
        if read.shape[1:] != theirs:
            raise InputError(f"{folders.reference}: reference pictures must have one size, but they have several")
        images = from_uint8(read)
        parts.append(extractor.network(images.to(judges.device)).float().cpu())
    return Reference(extractor, torch.cat(parts))


def _looks(cases: FolderCases) -> Looks:
    def drawn(case: Case, side: int) -> dict[str, Image.Image]:
        if case.mask is None:
            return {}
        return {"mask": Image.fromarray(colour(case.mask)).resize((side, side), Image.Resampling.NEAREST)}

    return Looks(cases.__getitem__, lambda _, item: Image.fromarray(cases.picture(item)), drawn)
