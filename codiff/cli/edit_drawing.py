"""From a checked edit to its files: the strength found, the images drawn, everything written."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.progress import Progress
from torch import Tensor

from codiff.cli.drawing import AT_ONCE, composition_of
from codiff.cli.edit_judges import Evaluators
from codiff.cli.edit_plan import Plan
from codiff.cli.outputs import Signer, save_png
from codiff.cli.show import no_notes, progress
from codiff.editing import Edit, Sampling
from codiff.editing.curve import curve_picture
from codiff.editing.imagic import INVERSION
from codiff.editing.strength import StrengthSearch, Trial, find_strength, told
from codiff.figures import below, on_paper, overview, strip, words
from codiff.pipeline import CollaborativePipeline, generators
from codiff.pixels import from_uint8

_SIDE = 256  # of a picture in a grid


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
        self._bar: Progress | None = None
        self._line: Any = None
        self._begun = self._learning = 0.0
        self._inverted: Tensor | None = None
        settings = plan.settings
        self._sampling = Sampling(
            num_inference_steps=settings.steps,
            guidance_scale=settings.guidance,
            composition=composition_of(pipe, settings.composition, plan.wanted.request),
            eta=settings.eta,
        )

    def run(self) -> Done:
        """Draw and write everything."""
        started = time.monotonic()
        with self._shown(), no_notes():  # what is read again was told of before
            search = self._search() if self.plan.wanted.strengths is None else None
            strengths = dict(self.plan.wanted.strengths or {}) if search is None else search.best.strengths
            edits = self._images(strengths)
            images = [image for edit in edits for image in edit.images]
            self._write(strengths, images, edits[0], search)
        sampling = time.monotonic() - started - self._learning
        return Done(strengths, search, edits[0].measured, round(self._learning, 1), round(sampling, 1))

    def _images(self, strengths: Mapping[str, float]) -> list[Edit]:
        wanted = self.plan.wanted
        return [
            self._edit(strengths, wanted.seed + start, min(AT_ONCE, wanted.count - start))
            for start in range(0, wanted.count, AT_ONCE)
        ]

    def _edit(self, strengths: Mapping[str, float], seed: int, count: int) -> Edit:
        wanted, plan = self.plan.wanted, self.plan
        kwargs: dict[str, Any] = {"strength": next(iter(strengths.values()))}
        if "source" in wanted.kind.options:
            kwargs["source"] = dict(wanted.source) or None
        if "region" in wanted.kind.options:
            kwargs["region"] = wanted.region
        if "learned" in wanted.kind.options:
            assert plan.learned is not None
            known = plan.learned.exists()
            kwargs = {
                "alpha": dict(strengths),
                "learned": plan.learned if known else None,
                "learning": None if known else wanted.learning,
                "save_to": plan.learned,
                "on_learning": self._on_learning,
                **self._start(),
            }
        self._begin(f"sampling at {wanted.kind.strength} {told(strengths)}")
        edit = wanted.kind.edit(
            self.pipe,
            wanted.framed.crop,
            dict(wanted.conditions),
            generator=generators(seed, count),
            sampling=self._sampling,
            on_step=lambda step: self._advance(step.index + 1, step.count, "step"),
            **kwargs,
        )
        self._inverted = edit.start if wanted.start == INVERSION else None
        return edit

    def _start(self) -> dict[str, Any]:
        """What imagic samples from; the photo is inverted once."""
        return {"start": self.plan.wanted.start} if self._inverted is None else {"latents": self._inverted}

    def _search(self) -> StrengthSearch:
        wanted = self.plan.wanted
        assert self.evaluators is not None
        photo = from_uint8(np.ascontiguousarray(self.plan.photo.pixels[:1]))
        judges = self.evaluators.judges(self.pipe, photo, wanted.conditions)
        return find_strength(
            lambda strengths: self._edit(strengths, wanted.seed, 1).images,
            judges,
            list(wanted.conditions),
            wanted.kind.tried,
            each=wanted.kind.each,
        )

    def _write(
        self, strengths: Mapping[str, float], images: Sequence[Image.Image], edit: Edit, search: StrengthSearch | None
    ) -> None:
        plan, outputs = self.plan, self.plan.outputs
        metadata = plan.metadata(strengths)
        region = None if edit.region is None else edit.region[0, 0].cpu().numpy()
        for seed, image in zip(outputs.seeds, images, strict=True):
            self._save(image, outputs.image(seed), {"seed": seed, **metadata})
            if plan.wanted.framed.is_part:
                whole = plan.wanted.framed.put_back(image, region)
                self._save(whole, outputs.figure(seed, "photo"), {"figure": "photo", "seed": seed, **metadata})
        shown = [Image.fromarray(plan.photo.pixels[0]), *images]
        captions = ["before", *(f"seed {seed}" for seed in outputs.seeds)]
        if region is not None:
            shown.insert(1, Image.fromarray((region * 255).astype(np.uint8)).convert("RGB"))
            captions.insert(1, "region")
        how = f"{plan.wanted.editor}, {plan.wanted.kind.strength} {told(strengths)}; {plan.settings}"
        picture = overview(plan.cards(self.pipe), shown, captions, how, _SIDE)
        self._save(picture, outputs.grid, {"figure": "grid", "seeds": list(outputs.seeds), **metadata})
        if search is not None:
            name = plan.wanted.kind.strength
            self._save(curve_picture(search, name), plan.extra("curve"), {"figure": "curve", **metadata})
            self._save(trials_picture(search, shown[0], name), plan.extra("strip"), {"figure": "strip", **metadata})

    def _save(self, picture: Image.Image, path: Path, metadata: Mapping[str, Any]) -> None:
        save_png(picture, path, metadata, self.signer)

    @contextmanager
    def _shown(self) -> Iterator[None]:
        with progress() as self._bar:
            yield

    def _begin(self, what: str) -> None:
        assert self._bar is not None
        if self._line is not None:
            self._bar.remove_task(self._line)
        self._line = self._bar.add_task(what, total=None, state="")
        self._begun = time.monotonic()

    def _advance(self, done: int, total: int, unit: str) -> None:
        assert self._bar is not None
        self._bar.update(self._line, completed=done, total=total, state=f"{unit} {done} of {total}")

    def _on_learning(self, done: int, total: int, loss: float) -> None:
        assert self._bar is not None
        self._learning = time.monotonic() - self._begun
        self._bar.update(
            self._line,
            description="learning the photo",
            completed=done,
            total=total,
            state=f"step {done} of {total}, loss {loss:.3f}",
        )


def trials_picture(search: StrengthSearch, photo: Image.Image, name: str) -> Image.Image:
    """The photo and what each strength makes of it, with the scores; the choice is named."""
    rows = [([photo, *_images(search.common)], ["before", *_captions(search.common, search.best)], f"By {name}")]
    if search.varied:
        rows.append((_images(search.varied), _captions(search.varied, search.best), "One modality's changed"))
    note = "Obeys: mean agreement with the target. Keeps: identity. Both are of the judges, 1 is best."
    column = below([strip(images, captions, title=title) for images, captions, title in rows], gap=12)
    return on_paper(below([column, words(note, column.width, size=12)], gap=8))


def _images(trials: Sequence[Trial]) -> list[Image.Image]:
    return [trial.image for trial in trials]


def _captions(trials: Sequence[Trial], best: Trial) -> list[str]:
    """Strength and scores of each; the chosen one is named."""
    chosen = {id(best): " (chosen)"}
    return [
        f"{told(trial.strengths)}: obeys {trial.obeys:.2f}, keeps {trial.identity:.2f}{chosen.get(id(trial), '')}"
        for trial in trials
    ]
