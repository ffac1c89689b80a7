"""Work in batches: what is done once is kept, whatever happens, and processes share it."""

from __future__ import annotations

import threading
import warnings
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from codiff.errors import InputError, InputNotice
from codiff.evaluation.batches import Batches, Job, Results
from codiff.evaluation.report_folder import SETTINGS, check_settings
from codiff.files import sole_writer, write_json


@dataclass
class Process:
    """One of some that wait for each other, as threads."""

    process_index: int = 0
    num_processes: int = 1
    barrier: threading.Barrier = field(default_factory=lambda: threading.Barrier(1))

    @property
    def is_main_process(self) -> bool:
        return False  # draws no progress

    def wait_for_everyone(self) -> None:
        self.barrier.wait()


@dataclass
class Squares:
    """Squares of the items; remembers what it was asked for, and may be interrupted."""

    asked: list[range] = field(default_factory=list)
    fails_at: int | None = None

    def __call__(self, items: range) -> Results:
        if items.start == self.fails_at:
            raise KeyboardInterrupt
        self.asked.append(items)
        return {"square": torch.tensor([item**2 for item in items]), "batches": torch.ones(1)}

    def job(self, **kwargs: Any) -> Job:
        return Job("squares", 10, self, 4, **kwargs)


def batches(folder: Path, process: Any = None) -> Batches:
    return Batches(folder, process or Process())


def test_results_are_joined_in_order(tmp_path: Path) -> None:
    squares = Squares()
    (found,) = batches(tmp_path).run([squares.job()], "")
    assert found["square"].tolist() == [item**2 for item in range(10)]
    assert found["batches"].tolist() == [1, 1, 1]
    assert squares.asked == [range(4), range(4, 8), range(8, 10)]


def test_what_was_interrupted_goes_on(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        batches(tmp_path).run([Squares(fails_at=4).job()], "")
    again = Squares()
    (found,) = batches(tmp_path).run([again.job()], "")
    assert again.asked == [range(4, 8), range(8, 10)]
    assert found["square"].tolist() == [item**2 for item in range(10)]


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_damaged_results_are_made_anew(tmp_path: Path, damage: str) -> None:
    batches(tmp_path).run([Squares().job()], "")
    path = sorted((tmp_path / "squares").iterdir())[1]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes({"flip": bytes(content), "cut": bytes(content[:-3]), "empty": b""}[damage])
    again = Squares()
    batches(tmp_path).run([again.job()], "")
    assert again.asked == [range(4, 8)]


def test_what_belongs_to_a_batch_besides_is_made_anew(tmp_path: Path) -> None:
    batches(tmp_path).run([Squares().job()], "")
    again = Squares()
    batches(tmp_path).run([again.job(intact=lambda items: items.start != 8)], "")
    assert again.asked == [range(8, 10)]


def test_results_of_what_never_ran_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="missing or damaged; all processes must share one folder"):
        batches(tmp_path).results([Squares().job()])


def test_what_was_told_is_kept_with_what_it_was_about(tmp_path: Path) -> None:
    def telling(items: range) -> Results:
        for message in ("some captions are cut", f"{items.start} is odd"):
            warnings.warn(message, InputNotice, stacklevel=1)
        return {"item": torch.tensor(items)}

    job = Job("telling", 4, telling, 2)
    batches(tmp_path).run([job], "")
    later = batches(tmp_path)
    later.run([Job("telling", 4, Squares(fails_at=0), 2)], "")  # nothing is left to do
    assert later.notes([job]) == ["some captions are cut", "0 is odd", "2 is odd"]


def test_processes_share_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codiff.evaluation.batches.noted", nullcontext)  # filters of warnings are shared by threads
    barrier, squares, found = threading.Barrier(2), [Squares(), Squares()], {}

    def work(rank: int) -> None:
        jobs = [squares[rank].job(), Job("more", 3, squares[rank], 2)]
        found[rank] = batches(tmp_path, Process(rank, 2, barrier)).run(jobs, "")

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each.asked for each in squares] == [[range(4), range(2, 3), range(8, 10)], [range(2), range(4, 8)]]
    assert found[0][0]["square"].tolist() == found[1][0]["square"].tolist() == [item**2 for item in range(10)]


def test_only_one_writes_into_a_folder(tmp_path: Path) -> None:
    busy = pytest.raises(InputError, match=r"is in use by process \d+ since")
    with sole_writer(tmp_path), busy, sole_writer(tmp_path):
        pass
    with sole_writer(tmp_path):
        assert (tmp_path / "owner.json").exists()
    assert not (tmp_path / "owner.json").exists()


def test_what_killed_writers_left_is_removed(tmp_path: Path) -> None:
    leftover = tmp_path / "work" / "squares" / ".00000-00004.safetensors.123.partial"
    leftover.parent.mkdir(parents=True)
    leftover.touch()
    with sole_writer(tmp_path):
        assert not leftover.exists()


def test_other_settings_are_refused(tmp_path: Path) -> None:
    check_settings(tmp_path, {"steps": 25})
    write_json(tmp_path / SETTINGS, {"steps": 25, "eta": 0.0})
    check_settings(tmp_path, {"steps": 25, "eta": 0.0})
    with pytest.raises(InputError, match=r"other settings \(steps: 25 -> 50\); choose another folder"):
        check_settings(tmp_path, {"steps": 50, "eta": 0.0})
    (tmp_path / SETTINGS).write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        check_settings(tmp_path, {})
