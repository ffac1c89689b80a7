"""One edit by any of the editors, drawn for as many strengths and seeds as are asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from codiff.editing.edit import Edit, OnStep, Sampling
from codiff.editing.editors import Editor, editor_named
from codiff.editing.imagic import INVERSION, NOISE
from codiff.editing.kept_noise import keep_noise, known_noise, noise_file
from codiff.editing.learner import OnLearning
from codiff.editing.learning import Learning
from codiff.editing.strength import Judges, Strengths, StrengthSearch, find_strength
from codiff.image_files import ImageSource
from codiff.pipeline import CollaborativePipeline, generators


@dataclass(frozen=True)
class EditTask:
    """What is edited, towards what and how: all but strengths and seeds. Editors take of it what they know.

    Attributes:
        editor: its name in `EDITORS`.
        photo: the aligned picture.
        conditions: the target: modality -> raw condition.
        sampling: how to sample.
        source: what the photo shows: modality -> raw condition.
        region: see `read_region`.
        learned: the file of what is learned of the photo: read where it exists, else written, also when the learning is
            interrupted.
        learning: how to learn where there is no such file yet.
        start: what imagic samples from, see there.
        rule: tells the model and the sampling's composition, on which the noise of an inversion depends: it is kept
            beside `learned`, and found there; None where it is not kept.
    """

    editor: str
    photo: ImageSource
    conditions: Mapping[str, Any]
    sampling: Sampling
    source: Mapping[str, Any] = field(default_factory=dict)
    region: ImageSource | Tensor | None = None
    learned: Path | None = None
    learning: Learning | None = None
    start: str = NOISE
    rule: str | None = None

    @property
    def kind(self) -> Editor:
        """The editor.

        Raises:
            InputError: there is none of this name.
        """
        return editor_named(self.editor)


class Editing:
    """A task at work. What does not depend on strengths and seeds is computed once.

    Args:
        pipe: with the scheduler to sample with; stays as it is.
        task: what to do.
        on_draw: called with the strengths before they are drawn.
        on_step, on_learning: called after each step of sampling and of learning; what they raise ends the work.

    Attributes:
        learning_seconds: how long learning took, so far.
        inverted: the noise that leads to the photo, for editors that learn it and begin there; None as long as it is
            not known. It does not depend on target, strengths, seeds and guidance.
    """

    def __init__(
        self,
        pipe: CollaborativePipeline,
        task: EditTask,
        on_draw: Callable[[Strengths], None] | None = None,
        on_step: OnStep | None = None,
        on_learning: OnLearning | None = None,
    ) -> None:
        self.pipe, self.task, self.learning_seconds = pipe, task, 0.0
        self._on_draw, self._on_step, self._on_learning = on_draw, on_step, on_learning
        self._begun = 0.0
        self.inverted: Tensor | None = self._kept()

    def draw(self, strengths: Strengths, seed: int, count: int = 1) -> Edit:
        """The edit at these strengths by modality, in images of the seeds from `seed` on.

        Raises:
            InputError: an argument or a file is wrong; nothing is computed then.
        """
        task = self.task
        if self._on_draw is not None:
            self._on_draw(strengths)
        edit = task.kind.edit(
            self.pipe,
            task.photo,
            dict(task.conditions),
            generator=generators(seed, count),
            sampling=task.sampling,
            on_step=self._on_step,
            **(self._of_learning(strengths) if task.kind.learns else self._plain(strengths)),
        )
        if task.kind.learns and task.start == INVERSION and self.inverted is None:
            self.inverted = edit.start
            file = self._noise_file()
            if file is not None:
                keep_noise(file, edit.start)
        return edit

    def find_strength(self, judges: Judges, seed: int) -> StrengthSearch:
        """See there; of the strengths that the editor tries, all drawn from one seed.

        Raises:
            InputError: an argument or a file is wrong.
        """
        kind = self.task.kind
        return find_strength(
            lambda strengths: self.draw(strengths, seed).images,
            judges,
            list(self.task.conditions),
            kind.tried,
            kind.default,
            each=kind.each,
        )

    def _noise_file(self) -> Path | None:
        """Where the noise of the inversion is kept; None where it is not, or nothing is learned yet."""
        task = self.task
        if task.start != INVERSION or task.rule is None or task.learned is None or not task.learned.is_file():
            return None
        return noise_file(task.learned, task.rule, task.conditions, task.sampling.num_inference_steps)

    def _kept(self) -> Tensor | None:
        file = self._noise_file()
        noise = None if file is None else known_noise(file)
        return None if noise is None else noise.to(self.pipe.execution_device)

    def _plain(self, strengths: Strengths) -> dict[str, Any]:
        """Arguments of editors that learn nothing."""
        known = {"source": dict(self.task.source) or None, "region": self.task.region}
        taken = {name: value for name, value in known.items() if name in self.task.kind.takes}
        return {"strength": next(iter(strengths.values())), **taken}

    def _of_learning(self, strengths: Strengths) -> dict[str, Any]:
        """Arguments of editors that learn the photo, which is inverted once."""
        task = self.task
        known = task.learned is not None and task.learned.exists()
        start = {"start": task.start} if self.inverted is None else {"latents": self.inverted}
        self._begun = time.monotonic()
        return {
            "alpha": dict(strengths),
            "learned": task.learned if known else None,
            "learning": None if known else task.learning,
            "save_to": task.learned,
            "on_learning": self._note_learning,
            **start,
        }

    def _note_learning(self, done: int, total: int, loss: float) -> None:
        self.learning_seconds = time.monotonic() - self._begun
        if self._on_learning is not None:
            self._on_learning(done, total, loss)
