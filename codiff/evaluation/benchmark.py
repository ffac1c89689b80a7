"""The reference benchmark: tune, generate, measure and compare every method of a model under one protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from torch import Tensor

from codiff.evaluation.batches import Batches, Job, Results
from codiff.evaluation.benchmark_data import BenchmarkData, Pictures
from codiff.evaluation.comparison import Differences, Numbers, Reference, columns, differences, numbers
from codiff.evaluation.generation import Generator, picture_path, save_pictures
from codiff.evaluation.influence_statistics import Influences, batch_statistics, summarised
from codiff.evaluation.intervals import Estimate
from codiff.evaluation.judges import FEATURES, Judges
from codiff.evaluation.loss_by_timestep import SEED as LOSS_SEED
from codiff.evaluation.loss_by_timestep import LossTable, loss_table, losses, timesteps_of
from codiff.evaluation.memorisation import Memorisation, memorisation
from codiff.evaluation.methods import Method, digest, leads_of
from codiff.evaluation.metrics import Metric
from codiff.evaluation.notes import noted, shortened
from codiff.evaluation.progress import tracked
from codiff.evaluation.protocols import Protocol
from codiff.evaluation.tuning import SEED as TUNING_SEED
from codiff.evaluation.tuning import Tuned, Tuning, tune
from codiff.evaluation.verdicts import Verdict, verdicts
from codiff.pixels import from_uint8

DIVERSITY_SEED = 3_000_000
_OF_ONE = 4  # pictures of one condition, for the diversity
_FEATURES_AT_ONCE = 50


@dataclass(frozen=True)
class Evaluation:
    """All that a report tells.

    Attributes:
        title: what was measured, in a line.
        settings: all that the numbers depend on.
        lead: the method that is the model's own, of which more is shown.
        methods: rows, as they were measured.
        metrics: columns.
        numbers: method -> its numbers.
        real: the same of the real pictures of the conditions, as far as it can be measured: what is the most to expect.
        differences: each rule that the dynamic diffusers were trained for, minus others.
        verdicts: what the numbers say of the paper's claims.
        left_out: method or metric -> why it is not there.
        tuned: how scales and weights were chosen; None where nothing was.
        tuned_on: where the conditions came from.
        influences: method -> statistics, of methods whose influences vary.
        losses: by timestep; None where they were not measured.
        memorisation: method -> tests.
        scores: method -> values of each picture.
        notes: what metrics told of their inputs.
    """

    title: str
    settings: dict[str, Any]
    lead: str
    methods: list[Method]
    metrics: list[Metric]
    numbers: dict[str, Numbers]
    scores: dict[str, Results]
    real: dict[str, Estimate] = field(default_factory=dict)
    differences: dict[str, Differences] = field(default_factory=dict)
    verdicts: list[Verdict] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    tuned: Tuned | None = None
    tuned_on: str = ""
    influences: dict[str, Influences] = field(default_factory=dict)
    losses: LossTable | None = None
    memorisation: dict[str, Memorisation] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Benchmark:
    """One protocol on one model.

    Attributes:
        protocol: what is measured.
        data: its conditions and real pictures.
        generator: the model, with the protocol's steps.
        judges: who measure.
        methods: before tuning.
        left_out: methods that the model does not support, and why.
        tuning: how scales and weights are searched.
        batch: pictures at once.
        loss_cases: on so many cases losses by timestep are measured; 0 leaves them out.
        folder: where everything goes.
        processes: who share the work.
        notes: what was told of the conditions when they were opened.
    """

    protocol: Protocol
    data: BenchmarkData
    generator: Generator
    judges: Judges
    methods: list[Method]
    left_out: dict[str, str]
    tuning: Tuning
    batch: int
    loss_cases: int
    folder: Path
    processes: PartialState
    notes: Sequence[str] = ()

    @property
    def batches(self) -> Batches:
        """The work and its results."""
        return Batches(self.folder / "work", self.processes)

    def settings(self, model: str) -> dict[str, Any]:
        """All that the numbers depend on but the methods and the number of conditions, which may grow.

        Args:
            model: digest of its files.
        """
        pipe, extractor = self.generator.pipe, self.judges.extractor
        return {
            "protocol": self.protocol.part_of or self.protocol.name,
            "model": model,
            "data": self.data.fingerprint,
            "steps": self.generator.steps,
            "eta": self.generator.taken_eta,
            "scheduler": type(pipe.scheduler).__name__,
            "dtype": str(pipe.collaborators.dtype).removeprefix("torch."),
            "judges": self.judges.digest,
            "features": extractor and extractor.digest,
            "batch": self.batch,
            "tuning": {**asdict(self.tuning), "scales": list(self.tuning.scales)},
        }

    def run(self) -> tuple[Tuned, list[Results]]:
        """Do all work that is not done yet; every process takes part."""
        tuned = tune(self.methods, self.tuning, self.batches, self._attempt, self.batch)
        scores = self.batches.run([self._job(method) for method in tuned.methods], "generating and judging")
        others = [*self._diversity_jobs(tuned.methods), *self._loss_jobs(tuned.methods)]
        self.batches.run([*others, *self._reference_jobs(), self._real_job()], "losses and real pictures")
        return tuned, scores

    def evaluation(self, tuned: Tuned, scores: Sequence[Results], settings: dict[str, Any]) -> Evaluation:
        """Compare what `run` has measured, and note what was told on the way."""
        by_name = dict(zip((method.name for method in tuned.methods), scores, strict=True))
        leads = [name for name in leads_of(self.generator.pipe) if name in by_name] or [tuned.methods[-1].name]
        told = [*self.notes, *self.batches.notes([self._job(method) for method in tuned.methods])]
        reference, notes = self._reference(), shortened(list(dict.fromkeys(told)))
        diverse = self._diverse(tuned.methods)
        metrics = columns(self.protocol.metrics, self.judges.extractor)
        with noted(notes):
            found = {
                name: numbers(by_name[name], reference, diverse.get(name))
                for name in tracked(list(by_name), "intervals")
            }
            tables = {lead: differences(lead, by_name, metrics, reference, diverse) for lead in leads}
            copies = self._memorisation(tuned.methods, leads[0], by_name)
        measured = [metric for metric in metrics if any(metric.name in each.estimates for each in found.values())]
        absent = {metric.title: f"needs {metric.needs}" for metric in metrics if metric not in measured}
        return Evaluation(
            title=f"{self.protocol.name}: {self.protocol.conditions} conditions",
            settings=settings,
            lead=leads[0],
            methods=tuned.methods,
            metrics=measured,
            numbers=found,
            scores=by_name,
            real=self._real(),
            differences=tables,
            verdicts=verdicts(tables, tuned.methods, measured),
            left_out={**self.left_out, **absent},
            tuned=tuned,
            tuned_on=self.data.tuning_from,
            influences=self._influences(tuned.methods, by_name),
            losses=self._losses(tuned.methods),
            memorisation=copies,
            notes=notes,
        )

    def _attempt(self, method: Method, items: range) -> Results:
        cases = self.data.tuning.of(items)
        made = self.generator(method, cases, [TUNING_SEED + item for item in items])
        scores = self.judges.scores(from_uint8(made.pictures), cases)
        return {name: values for name, values in scores.items() if values.ndim == 1}

    def _job(self, method: Method) -> Job:
        def compute(items: range) -> Results:
            cases = self.data.cases.of(items)
            made = self.generator(method, cases, items, influences=not method.is_single)
            save_pictures(self.folder, method, items, made.pictures)
            scores = self.judges.scores(from_uint8(made.pictures), cases)
            if method.is_single or made.influences is None:
                return scores
            masks = [case.mask for case in cases if case.mask is not None]
            return scores | batch_statistics(made.influences, np.stack(masks) if len(masks) == len(cases) else None)

        def intact(items: range) -> bool:
            return all(picture_path(self.folder, method.name, item).is_file() for item in items)

        name = f"pictures/{method.name}-{digest(method)}"
        return Job(name, self.protocol.conditions, compute, self.batch, intact)

    def _features_job(self, pictures: Pictures) -> Job:
        extractor = self.judges.extractor
        assert extractor is not None

        @torch.no_grad()
        def compute(items: range) -> Results:
            images = from_uint8(pictures.read(items)).to(self.judges.device)
            return {FEATURES: extractor.network(images).float()}

        name = f"features/{extractor.digest[:16]}-{pictures.fingerprint}"
        return Job(name, pictures.count, compute, _FEATURES_AT_ONCE)

    def _reference_jobs(self) -> list[Job]:
        if self.judges.extractor is None:
            return []
        wanted = [self.data.reference]
        if "memorisation" in self.protocol.metrics:
            wanted += [each for each in (self.data.training, self.data.held_out) if each is not None]
        return [self._features_job(pictures) for pictures in wanted]

    def _features(self, pictures: Pictures) -> Tensor:
        return self.batches.results([self._features_job(pictures)])[0][FEATURES]

    def _reference(self) -> Reference | None:
        extractor = self.judges.extractor
        return None if extractor is None else Reference(extractor, self._features(self.data.reference))

    def _diversity_jobs(self, methods: Sequence[Method]) -> list[Job]:
        if not self.protocol.diversity or self.judges.extractor is None:
            return []

        def job(method: Method) -> Job:
            def compute(items: range) -> Results:
                cases = [self.data.cases[item // _OF_ONE] for item in items]
                made = self.generator(method, cases, [DIVERSITY_SEED + item for item in items])
                return {FEATURES: self.judges.scores(from_uint8(made.pictures), cases)[FEATURES]}

            name = f"diversity/{method.name}-{digest(method)}"
            return Job(name, self.protocol.diversity * _OF_ONE, compute, self.batch)

        return [job(method) for method in methods]

    def _diverse(self, methods: Sequence[Method]) -> dict[str, Tensor]:
        found = self.batches.results(self._diversity_jobs(methods))
        return {
            method.name: results[FEATURES].unflatten(0, (-1, _OF_ONE))
            for method, results in zip(methods, found, strict=False)
        }

    def _loss_jobs(self, methods: Sequence[Method]) -> list[Job]:
        if not self.loss_cases:
            return []
        pipe = self.generator.pipe
        timesteps = timesteps_of(pipe.scheduler)

        def compute(items: range) -> Results:
            seeds = [LOSS_SEED + item for item in items]
            return losses(pipe, methods, self.data.cases.of(items), seeds, timesteps)

        return [Job(f"losses/{digest(*methods)}", min(self.loss_cases, self.protocol.conditions), compute, self.batch)]

    def _losses(self, methods: Sequence[Method]) -> LossTable | None:
        found = self.batches.results(self._loss_jobs(methods))
        return loss_table(found[0], methods, timesteps_of(self.generator.pipe.scheduler)) if found else None

    def _influences(self, methods: Sequence[Method], scores: dict[str, Results]) -> dict[str, Influences]:
        training_timesteps = self.generator.pipe.scheduler.config.num_train_timesteps
        found = {
            method.name: summarised(
                scores[method.name], method.modalities, self.generator.timesteps, training_timesteps
            )
            for method in methods
            if "influence_steps" in scores[method.name]
        }
        return {name: influences for name, influences in found.items() if influences.varies}

    def _memorisation(
        self, methods: Sequence[Method], lead: str, scores: dict[str, Results]
    ) -> dict[str, Memorisation]:
        """Of every model: each collaborator alone, and all of them together under the lead."""
        training, held_out = self.data.training, self.data.held_out
        if "memorisation" not in self.protocol.metrics or training is None or held_out is None:
            return {}
        if self.judges.extractor is None:
            return {}
        known, unseen = self._features(training), self._features(held_out)
        tested = [method.name for method in methods if method.is_single or method.name == lead]
        return {name: memorisation(scores[name][FEATURES], known, unseen) for name in tracked(tested, "memorisation")}

    def _real_job(self) -> Job:
        """What the judges say of the real pictures of the conditions."""

        def compute(items: range) -> Results:
            cases = self.data.cases.of(items)
            return self.judges.scores(from_uint8(np.stack([case.picture for case in cases])), cases)

        return Job("real", self.protocol.conditions, compute, _FEATURES_AT_ONCE)

    def _real(self) -> dict[str, Estimate]:
        return numbers(self.batches.results([self._real_job()])[0], None).estimates
