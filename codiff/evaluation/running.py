"""From a model and a protocol to a report, by as many processes as were started."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from accelerate import PartialState
from PIL import Image

from codiff.evaluation.benchmark import Benchmark
from codiff.evaluation.benchmark_data import BenchmarkData, Case, open_data
from codiff.evaluation.generation import Generator, read_picture
from codiff.evaluation.judges import Judges
from codiff.evaluation.methods import conditions_of, methods_of
from codiff.evaluation.notes import noted
from codiff.evaluation.progress import tracked
from codiff.evaluation.protocols import Protocol
from codiff.evaluation.report import Looks, write_report
from codiff.evaluation.report_folder import SETTINGS, check_settings
from codiff.evaluation.tuning import Tuning
from codiff.files import sole_writer, write_json
from codiff.pipeline import CollaborativePipeline


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        protocol: what is measured, see `Protocol.smaller`.
        methods: names; None for all.
        tuning: how scales and weights are searched.
        batch: pictures at once.
        losses: cases of the loss by timestep.
        data: folder of CelebA-HQ; drawn faces need none.
    """

    protocol: Protocol
    methods: Sequence[str] | None = None
    tuning: Tuning = field(default_factory=Tuning)
    batch: int = 16
    losses: int = 64
    data: Path | None = None


def open_benchmark(
    pipe: CollaborativePipeline, judges: Judges, request: Request, folder: Path, processes: PartialState
) -> Benchmark:
    """Everything opened and checked, before anything is generated.

    Raises:
        InputError: data, judges, methods and model do not fit together.
    """
    protocol, tuning = request.protocol, request.tuning
    pipe.scheduler_for(protocol.steps)  # refuses more steps than it has
    if not pipe.config.condition_dropout:
        tuning = tuning.without_guidance()
    data = open_data(protocol, pipe.vae.config.sample_size, tuning.cases, request.data)
    conditions_of(pipe.modalities, [data.cases[0]])
    methods, left_out = methods_of(pipe, data.cases[0], request.methods)
    notes: list[str] = []
    with noted(notes):
        _check(judges, data, quiet=not processes.is_main_process, thorough=protocol.data != "faces")
    generator = Generator(pipe, protocol.steps, protocol.eta)
    return Benchmark(
        protocol=protocol,
        data=data,
        generator=generator,
        judges=judges.to(pipe.device),
        methods=methods,
        left_out=left_out,
        tuning=tuning,
        batch=request.batch,
        loss_cases=request.losses,
        folder=folder,
        processes=processes,
        notes=notes,
    )


def _check(judges: Judges, data: BenchmarkData, *, quiet: bool, thorough: bool) -> None:
    """Open the conditions, all of them where they come from files that may be damaged."""
    for cases in (data.tuning, data.cases):
        shown = range(len(cases)) if thorough else range(1)
        for item in tracked(shown, "opening conditions", shown=thorough and not quiet):
            judges.check([cases[item]])


def run_benchmark(benchmark: Benchmark, model: str) -> Path | None:
    """Generate, measure and report; the path of report.html, and None in all processes but the first.

    Args:
        model: digest of the model's files.

    Raises:
        InputError: the folder is in use, holds something else or cannot be written.
    """
    folder, processes = benchmark.folder, benchmark.processes
    settings = benchmark.settings(model)
    with sole_writer(folder) if processes.is_main_process else nullcontext():
        check_settings(folder, settings)
        processes.wait_for_everyone()  # until the first process has the lock and has put the folder in order
        if processes.is_main_process:
            write_json(folder / SETTINGS, settings)
        tuned, scores = benchmark.run()
        processes.destroy_process_group()  # the first reports alone; torchmetrics would wait for the others
        if not processes.is_main_process:
            return None
        evaluation = benchmark.evaluation(tuned, scores, settings)
        return write_report(evaluation, folder, looks_of(benchmark))


def looks_of(benchmark: Benchmark) -> Looks:
    """Cases and pictures for the figures of a report."""
    pipe = benchmark.generator.pipe

    def drawn(case: Case, side: int) -> dict[str, Image.Image]:
        found = {}
        for modality in pipe.modalities:
            encoder = pipe.collaborators[modality].encoder
            picture = encoder.picture(encoder.read_all(case.conditions[modality]), side)
            if picture is not None:
                found[modality] = picture
        return found

    def made(method: str, item: int) -> Image.Image:
        return read_picture(benchmark.folder, method, item)

    return Looks(benchmark.data.cases.__getitem__, made, drawn)
