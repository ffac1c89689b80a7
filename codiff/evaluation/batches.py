"""Work in batches whose results are kept in files: resumable, and shared among processes and machines."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import PartialState
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from codiff.errors import InputError
from codiff.evaluation.notes import noted
from codiff.evaluation.progress import tracked
from codiff.files import written_aside

Results = dict[str, Tensor]
"""Name -> values; their first dimension counts the items, or the batches where a batch is summed up."""

_CHECKSUM, _NOTES = "sha256", "notes"


@dataclass(frozen=True)
class Job:
    """Something that is computed item by item, in batches.

    Attributes:
        name: its folder; it must tell everything that the results depend on but the items.
        count: of the items.
        compute: results of a range of items; the same whenever and wherever it is called.
        batch: how many at once.
        intact: whether what `compute` writes besides, if anything, is all there.
    """

    name: str
    count: int
    compute: Callable[[range], Results]
    batch: int
    intact: Callable[[range], bool] = lambda _: True

    def ranges(self) -> list[range]:
        """The batches."""
        return [range(start, min(start + self.batch, self.count)) for start in range(0, self.count, self.batch)]

    def file(self, items: range) -> str:
        """Where the results of a batch lie."""
        return f"{self.name}/{items.start:05d}-{items.stop:05d}.safetensors"


class Batches:
    """Computes what no file holds yet.

    Args:
        folder: of the files; all processes must see the same one.
        processes: those that share the work; each takes every n-th batch, whatever is done already, so that all
            agree on who does what without asking.
    """

    def __init__(self, folder: Path, processes: PartialState) -> None:
        self.folder, self.processes = folder, processes

    def run(self, jobs: Sequence[Job], title: str) -> list[Results]:
        """Results of each job, all its batches joined; every process gets them all.

        Raises:
            InputError: the folder cannot be written, or is not the same for all processes.
        """
        batches = [(job, items) for job in jobs for items in job.ranges()]
        batches.sort(key=lambda batch: batch[1].start)  # jobs on the same items one after the other: they are read once
        mine = batches[self.processes.process_index :: self.processes.num_processes]
        for job, items in tracked(mine, title, shown=self.processes.is_main_process):
            path = self.folder / job.file(items)
            if not job.intact(items) or _read(path) is None:
                notes: list[str] = []
                with noted(notes):
                    results = job.compute(items)
                _write(path, results, notes)
        self.processes.wait_for_everyone()
        return self.results(jobs)

    def results(self, jobs: Sequence[Job]) -> list[Results]:
        """Results of jobs that have run, all batches of each joined.

        Raises:
            InputError: a batch is missing or damaged.
        """
        return [self._joined(job) for job in jobs]

    def notes(self, jobs: Sequence[Job]) -> list[str]:
        """What was told while jobs that have run were computed, whenever and by whom that was, each once."""
        paths = [self.folder / job.file(items) for job in jobs for items in job.ranges()]
        return list(dict.fromkeys(note for path in paths for note in _notes(path)))

    def _joined(self, job: Job) -> Results:
        parts = []
        for items in job.ranges():
            found = _read(self.folder / job.file(items))
            if found is None:
                raise InputError(
                    f"{self.folder / job.file(items)} is missing or damaged; all processes must share one folder, and "
                    "the same command makes it anew"
                )
            parts.append(found)
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _write(path: Path, results: Results, notes: Sequence[str]) -> None:
    tensors = {name: value.detach().cpu().contiguous() for name, value in results.items()}
    with written_aside(path) as temporary:
        save_file(tensors, temporary, metadata={_CHECKSUM: _digest(tensors), _NOTES: json.dumps(notes)})


def _notes(path: Path) -> list[str]:
    with safe_open(path, framework="pt") as file:
        found: list[str] = json.loads((file.metadata() or {}).get(_NOTES, "[]"))
    return found


def _read(path: Path) -> Results | None:
    """The results in a file; None where there is none, or where it is damaged, which costs only time."""
    try:
        with safe_open(path, framework="pt") as file:
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            intact = (file.metadata() or {}).get(_CHECKSUM) == _digest(found)
    except (OSError, SafetensorError):
        return None
    return found if intact else None


def _digest(tensors: Results) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
