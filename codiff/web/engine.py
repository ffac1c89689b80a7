"""One loaded model, shared by all visitors: checks what they ask for and draws it."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from codiff.cli.drawing import model_digest, model_name, open_device
from codiff.cli.edit_judges import Evaluators, Named
from codiff.cli.outputs import Signer, signer_of
from codiff.composition import learned_rules
from codiff.editing.photo import picture_side
from codiff.errors import InputError
from codiff.evaluation.inputs import Parser
from codiff.image_files import open_image
from codiff.modalities.mask import MASK_CLASSES
from codiff.model_files import find_model
from codiff.pipeline import CollaborativePipeline
from codiff.pixels import from_uint8
from codiff.web.checking import checked_bias, checked_seed, checked_settings, chosen, read_conditions, whole
from codiff.web.choices import choices_of, with_scheduler
from codiff.web.condition_kinds import opened_picture
from codiff.web.drawing import Drawn, Way, captions, draw_ways, pictures_of, request_digest, write_pictures
from codiff.web.exports import write_archive, write_record
from codiff.web.faces import DrawnFace, example_faces, procedural_face
from codiff.web.field_error import RUN, FieldError, on_the_page
from codiff.web.limits import Limits
from codiff.web.notices import heard
from codiff.web.reading import Reading
from codiff.web.records import Restored, record_of, restored
from codiff.web.request import Checked, Request
from codiff.web.runs import Event, Result, Run, Task, Workers
from codiff.web.steering_files import write_steering
from codiff.web.storage import SessionFolder

__all__ = ["Checked", "Engine", "Request", "Restored", "Result"]

_LOG = logging.getLogger("codiff.web")

_OF_FACES = {
    "nose": (MASK_CLASSES.index("nose"),),
    "eyes": tuple(MASK_CLASSES.index(name) for name in ("eyeglass", "left_eye", "right_eye")),
    "mouth": tuple(MASK_CLASSES.index(name) for name in ("mouth", "upper_lip", "lower_lip")),
}
"""Parts that every face shows from the front -> classes."""
# Measured with the shipped parser: in 500 drawn faces, which it was trained for, at least 1.2 % nose, 0.5 % eyes and
# 0.6 % mouth; in plain pictures, noise and grids of faces less than 0.3 % of one of them at least.
_LEAST = 0.003


class Engine:
    """A model, its evaluators and the workers that draw with it. Requests may come from many threads at once: nothing
    that they share is ever changed.

    Args:
        pipe: the model, ready to draw.
        name: how metadata call it.
        weights: digest of its files.
        limits: what visitors may ask for.
        evaluators: that came with it.
        signer, edit_signer: what signs pictures that are made, and photos that are edited; None for unsigned ones.

    Attributes:
        choices: what the model leaves to choose.
        workers: where drawing and editing are done.
        reading: where files of visitors are opened, and faces found and read in them: as many at once as workers.
        parser: labels pictures; None where the model has none.
    """

    def __init__(
        self,
        pipe: CollaborativePipeline,
        name: str,
        weights: str,
        limits: Limits = Limits(),  # noqa: B008  (frozen)
        *,
        evaluators: Evaluators | None = None,
        signer: Signer | None = None,
        edit_signer: Signer | None = None,
    ) -> None:
        self.pipe, self.name, self.weights, self.limits = pipe, name, weights, limits
        self.evaluators, self.signer, self.edit_signer = evaluators, signer, edit_signer
        self.parser: Parser | None = None if evaluators is None else evaluators.parser
        self.choices = choices_of(pipe)
        self.workers = Workers(limits)
        self.reading = Reading(limits.workers)

    @classmethod
    def load(
        cls,
        model: str,
        limits: Limits = Limits(),  # noqa: B008  (frozen)
        device: str | None = None,
        *,
        dtype: torch.dtype = torch.float32,
        sign: bool = True,
    ) -> Engine:
        """Load "demo", a folder or a hub id, with the evaluators that lie beside it.

        Args:
            device: its name; None for the fastest there is.
            dtype: of the weights in memory.
            sign: whether pictures get Content Credentials, where their packages are installed.

        Raises:
            InputError: no such model, or a broken one; no such device.
        """
        folder = find_model(model)
        pipe = CollaborativePipeline.from_pretrained(folder, torch_dtype=dtype).to(open_device(device))
        pipe.set_progress_bar_config(disable=True)
        judged = (folder / "face_parser").is_dir()
        signer = signer_of(sign)
        return cls(
            pipe,
            model_name(model, folder),
            model_digest(folder),
            limits,
            evaluators=Evaluators(folder, Named()) if judged else None,
            signer=signer,
            edit_signer=None if signer is None else signer_of(sign, edited=True),
        )

    def check(self, request: Request) -> Checked:
        """The request with the model's own choices filled in and its conditions read; nothing is queued or written.

        Raises:
            FieldError: names the input that is wrong.
        """
        with heard() as notes:
            plain, inputs = read_conditions(self.pipe, request.conditions, self.limits)
        count = whole("count", request.count, 1, self.limits.images)
        seed = checked_seed(request.seed, count)
        settings = checked_settings(self.pipe, request, self.choices, self.limits, self.name, self.weights)
        bias = checked_bias(request.bias, list(plain), self.limits)
        completed = Request(
            plain, seed, count, settings.steps, settings.scheduler, settings.guidance, settings.composition, bias
        )
        described = {
            modality: self.pipe.collaborators[modality].encoder.describe(inputs[modality]) for modality in plain
        }
        digest = request_digest(settings, inputs, bias)
        return Checked(completed, inputs, described, settings, digest, tuple(notes))

    def draw(
        self, checked: Checked, folder: SessionFolder, *, compositions: Sequence[str] = (), previews: bool = True
    ) -> Generator[Event[Result], None, None]:
        """Waiting, then steps, then `Done(Result)`; closing the generator ends the work within a step.

        Args:
            checked: what `check` returned.
            folder: where the files go.
            compositions: rules to draw with, all from the same noise; the request's own without.
            previews: whether steps show what is foreseen.

        Raises:
            FieldError: an unknown rule, a full queue, too little memory or time, or something unforeseen.
        """
        names = [chosen("composition", name, self.choices.compositions) for name in dict.fromkeys(compositions)]
        modalities = tuple(checked.request.conditions)
        ways = [Way(name, name, modalities) for name in names or [checked.settings.composition]]
        return self._run(checked, folder, ways, Task.DRAW, previews=previews)

    def compare(self, checked: Checked, folder: SessionFolder, place: int = 0) -> Generator[Event[Result], None, None]:
        """As `draw`: one picture in each of `ways`, all from the same noise; `influences` and `conflict` are those of
        the request's rule. Steps show the finished ones and the one at work.

        Args:
            checked: what `check` returned.
            folder: where the files go.
            place: from 0: which of the request's pictures is drawn in other ways.

        Raises:
            FieldError: as `draw`.
        """
        asked = checked.request
        one = replace(checked, request=replace(asked, seed=asked.seed + place, count=1))
        return self._run(one, folder, self.ways(checked), Task.COMPARE)

    def ways(self, checked: Checked) -> list[Way]:
        """The request's rule, the other rules that the model learned, the mean, and each collaborator alone, in this
        order. Only the first is steered."""
        modalities, own = tuple(checked.request.conditions), checked.settings.composition
        ways = [Way(own, own, modalities)]
        if len(modalities) > 1:
            learned = learned_rules(self.pipe.dynamic_diffusers) if self.pipe.dynamic_diffusers else ()
            ways += [Way(name, name, modalities, steered=False) for name in (*learned, "mean") if name != own]
            ways += [Way(f"{modality} alone", own, (modality,), steered=False) for modality in modalities]
        return ways

    def restore(self, content: bytes | str) -> Restored:
        """The request in a record, or in a picture's metadata; it is still to be checked.

        Raises:
            FieldError: of "record".
        """
        return restored(content, self.pipe, self.limits, model=self.name, weights=self.weights)

    def parse(self, picture: Image.Image | NDArray[np.uint8] | bytes) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
        """The label map uint8 (side, side) of a picture at the model's size, cut to its central square, and notes.

        Raises:
            FieldError: of "photo": not a picture, too large, the model has no face parser, or the server is busy.
        """
        if self.parser is None:
            raise FieldError("photo", "this model has no face parser; paint a mask, or upload one")
        with self.reading.turn("photo"):
            return self._parsed(picture, self.parser)

    def examples(self) -> list[DrawnFace]:
        """Ready-made conditions: the faces of the project's example files."""
        return example_faces(self.limits.painter_side)

    def procedural(self, seed: int) -> DrawnFace:
        """A face of an endless series, as caption, label map and line drawing.

        Raises:
            FieldError: of "seed".
        """
        return procedural_face(seed, self.limits.painter_side)

    def close(self) -> None:
        """End all work, and wait for it."""
        self.workers.close()

    def _parsed(
        self, picture: Image.Image | NDArray[np.uint8] | bytes, parser: Parser
    ) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
        side = picture_side(self.pipe)
        try:
            with heard() as notes:
                opened = open_image(opened_picture(picture, "photo", self.limits), what="photo")
        except InputError as error:
            raise on_the_page("photo", error) from error
        if opened.width != opened.height:
            notes.append(f"photo: {opened.width} x {opened.height} pixels; its central square is taken")
        pixels = np.asarray(ImageOps.fit(opened, (side, side), Image.Resampling.LANCZOS))[None]
        labels = parser.parse(from_uint8(pixels))[0].cpu().numpy().astype(np.uint8)
        return labels, (*notes, *_doubts(labels))

    def _run(
        self, checked: Checked, folder: SessionFolder, ways: Sequence[Way], task: Task, *, previews: bool = True
    ) -> Generator[Event[Result], None, None]:
        pipe = with_scheduler(self.pipe, checked.settings.scheduler)

        def work(run: Run) -> Result:
            drawn = draw_ways(run, pipe, checked, ways, previews=previews)
            return self._stored(run, checked, folder, drawn)

        lighter = "count" if checked.request.count > 1 else None
        return self.workers.run(work, owner=folder.name, task=task, lighter=lighter)

    def _stored(self, run: Run, checked: Checked, session: SessionFolder, drawn: Sequence[Drawn]) -> Result:
        """The pictures in files, and what the page shows of them."""
        run.checkpoint()
        record = record_of(self.pipe, checked)
        with _explained():
            folder = session.new_folder("pictures")
            paths = write_pictures(folder, self.pipe, checked, drawn, self.signer)
            record_path = write_record(folder, record)
            bias = checked.request.bias
            extras = [] if bias is None else write_steering(folder, bias)
            archive = write_archive(folder, self.pipe, checked.request.conditions, [*paths, *extras], record_path)
        return Result(
            images=pictures_of(drawn),
            captions=captions(checked, drawn),
            paths=paths,
            record=record,
            record_path=record_path,
            archive_path=archive,
            influences=drawn[0].influences,
            conflict=drawn[0].conflict,
            timesteps=drawn[0].timesteps,
            seconds=run.seconds,
            checked=checked,
            notes=tuple(dict.fromkeys([*checked.notes, *run.notes])),
        )


def _doubts(labels: NDArray[np.uint8]) -> list[str]:
    """What to tell of labels that a face parser found where perhaps no face is. Skin it finds in any picture."""
    shares = np.bincount(labels.ravel(), minlength=len(MASK_CLASSES)) / labels.size
    missing = [name for name, parts in _OF_FACES.items() if shares[list(parts)].sum() < _LEAST]
    if not missing:
        return []
    return [
        f"photo: hardly any {' or '.join(missing)} was found in it. The mask may be wrong: look it over, or take a "
        "picture that shows one face from the front and little else"
    ]


@contextmanager
def _explained() -> Iterator[None]:
    """What fails while files are written tells visitors nothing of the server's folders."""
    try:
        yield
    except FieldError:
        raise
    except (InputError, OSError) as error:
        _LOG.error("pictures cannot be stored: %s", error)
        raise FieldError(RUN, "the server cannot store pictures just now; try again later") from error
