"""From a checked edit to its files: the strength found, the images drawn, everything written, and progress shown."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.progress import Progress

from codiff.cli.drawing import AT_ONCE
from codiff.cli.edit_files import write_edit
from codiff.cli.edit_judges import Evaluators
from codiff.cli.edit_plan import Plan
from codiff.cli.outputs import Signer
from codiff.cli.show import no_notes, progress
from codiff.editing import Edit
from codiff.editing.strength import Judges, Strengths, StrengthSearch, told
from codiff.editing.task import Editing
from codiff.pipeline import CollaborativePipeline
from codiff.pixels import from_uint8
from codiff.sampling import Step


@dataclass
class Done:
    """What an edit came to.

    Attributes:
        strengths: by modality.
        search: how they were found; None where they were given.
        measured: numbers that the editor tells of the first image.
        learning, sampling: seconds.
    """

    strengths: dict[str, float]
    search: StrengthSearch | None = None
    measured: dict[str, float] = field(default_factory=dict)
    learning: float = 0.0
    sampling: float = 0.0


class Drawing:
    """One edit at work.

    Args:
        pipe: with the scheduler to sample with.
        plan: what to draw.
        evaluators: judge where the strength is to be found.
        signer: signs the pictures.
    """

    def __init__(
        self, pipe: CollaborativePipeline, plan: Plan, evaluators: Evaluators | None, signer: Signer | None
    ) -> None:
        self.pipe, self.plan, self.evaluators, self.signer = pipe, plan, evaluators, signer
        self._editing = Editing(pipe, plan.task(pipe), self._on_draw, self._on_step, self._on_learning)
        self._bar: Progress | None = None
        self._line: Any = None

    def run(self) -> Done:
        """Draw and write everything."""
        started = time.monotonic()
        judges = None if self.plan.wanted.strengths is not None else self._judges()
        with self._shown(), no_notes():  # what is read again was told of before
            search = None if judges is None else self._editing.find_strength(judges, self.plan.wanted.seed)
            strengths = dict(self.plan.wanted.strengths or {}) if search is None else search.best.strengths
            edits = list(self._edits(strengths))
            write_edit(self.pipe, self.plan, strengths, edits, search, self.signer)
        learning = self._editing.learning_seconds
        sampling = time.monotonic() - started - learning
        return Done(strengths, search, edits[0].measured, round(learning, 1), round(sampling, 1))

    def _edits(self, strengths: Strengths) -> Iterator[Edit]:
        seed, count = self.plan.wanted.seed, self.plan.wanted.count
        for start in range(0, count, AT_ONCE):
            yield self._editing.draw(strengths, seed + start, min(AT_ONCE, count - start))

    def _judges(self) -> Judges:
        assert self.evaluators is not None
        photo = from_uint8(np.ascontiguousarray(self.plan.photo.pixels[:1]))
        return self.evaluators.judges(self.pipe, photo, self.plan.wanted.target.values)

    @contextmanager
    def _shown(self) -> Iterator[None]:
        with progress() as self._bar:
            yield

    def _on_draw(self, strengths: Strengths) -> None:
        assert self._bar is not None
        if self._line is not None:
            self._bar.remove_task(self._line)
        what = f"sampling at {self.plan.wanted.kind.strength} {told(strengths)}"
        self._line = self._bar.add_task(what, total=None, state="")

    def _on_step(self, step: Step) -> None:
        assert self._bar is not None
        done, total = step.index + 1, step.count
        self._bar.update(self._line, completed=done, total=total, state=f"step {done} of {total}")

    def _on_learning(self, done: int, total: int, loss: float) -> None:
        assert self._bar is not None
        self._bar.update(
            self._line,
            description="learning the photo",
            completed=done,
            total=total,
            state=f"step {done} of {total}, loss {loss:.3f}",
        )
