"""An edit at work: the photo learned, the strength found, pictures drawn, in a worker's thread, step by step."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from codiff.cli.edit_plan import Plan, make_plan
from codiff.editing import Edit
from codiff.editing.imagic import INVERSION
from codiff.editing.photo import FAMILIAR, kept_quality
from codiff.editing.schedule import first_step
from codiff.editing.strength import Judges, Strengths, told
from codiff.editing.task import Editing
from codiff.errors import InputError, InputNotice
from codiff.modalities.text import TextModality
from codiff.pipeline import CollaborativePipeline
from codiff.pixels import from_uint8
from codiff.sampling import Step
from codiff.web.choices import with_scheduler
from codiff.web.edit_files import EditResult, Found, stored
from codiff.web.edit_request import CheckedEdit
from codiff.web.engine import Engine
from codiff.web.field_error import RUN, FieldError
from codiff.web.previews import Previews
from codiff.web.runs import Event, Run, Task
from codiff.web.storage import SessionFolder

_LOG = logging.getLogger("codiff.web")
_REFERENCE_STEPS = 20  # that a judge takes for each caption; for the progress alone


class EditRun:
    """One edit.

    Args:
        engine: whose model, workers and signer are used.
        edit: what to do.
        session: where files go.
        previews: whether somebody sees what is foreseen, which takes time.

    Attributes:
        stage: what it is doing, in words.
    """

    def __init__(self, engine: Engine, edit: CheckedEdit, session: SessionFolder, *, previews: bool = True) -> None:
        self._engine, self._edit, self._session = engine, edit, session
        self._pipe = with_scheduler(engine.pipe, edit.checked.settings.scheduler)
        self._trying, self._foreseen = edit.wanted.strengths is None, previews
        self.stage = "Drawing"

    def events(self) -> Generator[Event[EditResult], None, None]:
        """Waiting, then steps with previews, then `Done(EditResult)`; closing the iterator ends the work within a step.

        Raises:
            FieldError: a full queue, an input that turned out wrong, too little memory or time, or something
                unforeseen.
        """
        owner = self._session.name
        yield from self._engine.workers.run(self._work, owner=owner, task=Task.EDIT, lighter="count")

    def _work(self, run: Run) -> EditResult:
        with self._explained():
            folder = self._session.new_folder("edit")
            plan = make_plan(self._pipe, self._edit.wanted, self._edit.checked.settings, folder)
            self._tell_familiarity(plan)
            steps = _Steps(run, self._pipe if self._foreseen else None)
            editing = Editing(self._pipe, plan.task(self._pipe), self._on_draw, steps.sampled, self._learned(steps))
            steps.expect(self._expected(editing))
            if self._edit.left:
                run.shorten = (RUN, "what was learned of your photo is kept: Edit again goes on from there")
            found = self._found(run, plan, editing, steps)
            run.checkpoint()
            notes = list(dict.fromkeys([*self._edit.notes, *run.notes]))
            return stored(self._pipe, self._edit, plan, found, self._engine.edit_signer, notes)

    def _found(self, run: Run, plan: Plan, editing: Editing, steps: _Steps) -> Found:
        photo = from_uint8(np.ascontiguousarray(plan.photo.pixels[:1]))
        search, wanted = None, plan.wanted
        if wanted.strengths is None:
            search = editing.find_strength(self._judges(photo, steps), wanted.seed)
            self._trying = False
        strengths = search.best.strengths if search is not None else dict(wanted.strengths or {})
        edit = editing.draw(strengths, wanted.seed, wanted.count)
        kept = self._kept(photo, edit)
        return Found(edit, strengths, search, kept, editing.learning_seconds, run.seconds)

    def _judges(self, photo: Tensor, steps: _Steps) -> Judges:
        assert self._engine.evaluators is not None
        self.stage = "Drawing what the target alone looks like, to judge by"
        target = self._edit.wanted.target.values
        try:
            return self._engine.evaluators.judges(self._pipe, photo, target, steps.made)
        except InputError as error:
            message = f"nobody here can judge {', '.join(target)} to find a strength: choose one"
            raise FieldError("strength", message) from error

    @torch.no_grad()
    def _kept(self, photo: Tensor, edit: Edit) -> list[float] | None:
        if self._engine.evaluators is None:
            return None
        pictures = from_uint8(np.stack([np.asarray(image) for image in edit.images]))
        return [float(score) for score in self._engine.evaluators.identity(photo)(pictures)]

    def _on_draw(self, strengths: Strengths) -> None:
        self.stage = f"{'Trying' if self._trying else 'Drawing at'} strength {told(strengths)}"

    def _learned(self, steps: _Steps) -> Callable[[int, int, float], None]:
        def on_learning(done: int, total: int, _loss: float) -> None:
            self.stage = f"Learning your photo, step {done} of {total}"
            steps.made()

        return on_learning

    def _tell_familiarity(self, plan: Plan) -> None:
        quality = kept_quality(self._pipe, plan.photo)
        if quality < FAMILIAR:
            warnings.warn(
                f"this model knows few faces like this one ({quality:.0f} dB where {FAMILIAR:g} are usual): it changes "
                "even where nothing is edited",
                InputNotice,
                stacklevel=2,
            )

    def _expected(self, editing: Editing) -> int:
        """How many steps it takes in all; some more where the strengths of several modalities are varied."""
        edit, wanted = self._edit, self._edit.wanted
        steps, kind = edit.checked.settings.steps, wanted.kind

        def drawing(strength: float) -> int:
            taken = steps if kind.learns else steps - first_step(steps, strength)
            return taken * (3 if kind.inverts else 1)

        inverting = steps if kind.learns and wanted.start == INVERSION and editing.inverted is None else 0
        if wanted.strengths is not None:
            return edit.left + inverting + drawing(next(iter(wanted.strengths.values())))
        count = len(wanted.target.values)
        varied = 2 * count * steps if kind.each and count > 1 else 0
        encoders = (self._pipe.collaborators[modality].encoder for modality in wanted.target.values)
        references = _REFERENCE_STEPS * sum(isinstance(encoder, TextModality) for encoder in encoders)
        tried = sum(map(drawing, kind.tried)) + varied + drawing(kind.default)
        return edit.left + inverting + references + tried

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """What fails while files are written tells visitors nothing of the server's folders."""
        try:
            yield
        except InputError as error:
            if isinstance(error, FieldError) or str(self._session.path) not in str(error):
                raise
            _LOG.error("an edit cannot be stored: %s", error)
            raise FieldError(RUN, "the server cannot store pictures just now; try again later") from error


class _Steps:
    """Counts the steps of all parts of an edit; with a pipeline it foresees pictures, too."""

    def __init__(self, run: Run, pipe: CollaborativePipeline | None) -> None:
        self._run, self._previews = run, None if pipe is None else Previews(pipe)
        self._done, self._expected = 0, 1

    def expect(self, steps: int) -> None:
        """So many in all, as far as is foreseen."""
        self._expected = steps
        self._run.step(0, steps)

    def made(self, preview: Image.Image | None = None) -> None:
        """One more."""
        self._done += 1
        self._run.step(self._done, max(self._expected, self._done), preview)

    def sampled(self, step: Step) -> None:
        """One more of sampling."""
        self._run.checkpoint()
        self.made(None if self._previews is None else self._previews.of(step.prediction()))
