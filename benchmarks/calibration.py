"""How much a modality should count: `torchrun --nproc_per_node 2 -m benchmarks.calibration --model FOLDER`.

Dynamic diffusers learn from the denoising error, which a few pixels of beard or wrinkles hardly change: the better mask
and sketch denoise, the less is left to the caption. One number mends that: how much is added to every logit of the
text's dynamic diffuser. For each learned rule this tries several on faces of the tuning split, which is neither
trained nor measured on, for requests of all modalities and of text with one other, and takes the smallest whose mask
and caption accuracy is within one standard error of the best. --save writes the model with the chosen numbers in its
weights.

Prints and saves (docs/calibration.md, docs/images/calibration.png) what each number gives. Results are kept in --cache,
so that an interrupted run goes on where it was.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from itertools import cycle
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from accelerate import PartialState
from matplotlib.figure import Figure
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from benchmarks.machine import machine
from codiff import CollaborativePipeline, DynamicDiffuser
from codiff.cli.drawing import model_digest
from codiff.composition import learned_rules
from codiff.composition.collaborative import FITTING
from codiff.data.faces import ProceduralFaces
from codiff.errors import InputError
from codiff.evaluation.batches import Batches, Job, Results
from codiff.evaluation.benchmark_data import Cases
from codiff.evaluation.generation import Generator
from codiff.evaluation.intervals import difference_interval, mean_interval
from codiff.evaluation.judges import Judges
from codiff.evaluation.methods import Method
from codiff.evaluation.tuning import smallest_good
from codiff.files import written_aside
from codiff.model_files import find_model, write_checksums
from codiff.pixels import from_uint8

MODALITY = "text"
ACTIVATIONS = {rules[0]: activation for activation, rules in FITTING.items() if len(rules) == 1}
SHOWN = ("mask", "caption", "sum")
BIAS = "network.unet.conv_out.bias"
SEED = 2_000_000
FIRST_FACE = 1000  # of the tuning split: `codiff evaluate` tunes on its beginning
Scores = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Arm:
    """One rule, asked for some modalities, with so many nats added to the text's logits."""

    rule: str
    modalities: tuple[str, ...]
    nats: float

    @property
    def name(self) -> str:
        """Of its folder of results."""
        return f"{self.rule}/{'-'.join(self.modalities)}/{self.nats:g}"


def requests(modalities: list[str]) -> list[tuple[str, ...]]:
    """All modalities, and the calibrated one with each other one."""
    pairs = [(MODALITY, other) for other in modalities if other != MODALITY]
    return [tuple(modalities), *(pair for pair in pairs if len(modalities) > 2)]


class Trial:
    """Scores of arms on the same faces and noise."""

    def __init__(self, folder: Path, arguments: argparse.Namespace, processes: PartialState) -> None:
        self.pipe = CollaborativePipeline.from_pretrained(folder, torch_dtype=torch.bfloat16)
        self.pipe.set_progress_bar_config(disable=True)
        self.judges = Judges.shipped(folder)
        self.generator = Generator(self.pipe, arguments.steps)
        size = self.pipe.vae.config.sample_size
        self.cases = Cases(ProceduralFaces("tuning", size), FIRST_FACE + arguments.faces)
        self.batches, self.arguments = Batches(arguments.cache / settings_of(folder, arguments), processes), arguments
        self.learned = copy.deepcopy(self.pipe.dynamic_diffusers[MODALITY].state_dict())

    def run(self, arms: list[Arm]) -> dict[Arm, Scores]:
        """Metric -> one value per face, of each arm."""
        jobs = [Job(arm.name, self.arguments.faces, partial(self._scores, arm), self.arguments.batch) for arm in arms]
        found = self.batches.run(jobs, "calibrating")
        return {
            arm: {name: values.double().numpy() for name, values in results.items()}
            for arm, results in zip(arms, found, strict=True)
        }

    def _scores(self, arm: Arm, items: range) -> Results:
        model = self.pipe.dynamic_diffusers[MODALITY]
        model.load_state_dict(self.learned)
        model.shift(ACTIVATIONS[arm.rule], arm.nats - self.arguments.holds.get(arm.rule, 0.0))
        cases = [self.cases[FIRST_FACE + item] for item in items]
        method = Method(arm.rule, arm.rule, arm.modalities, self.arguments.guidance)
        made = self.generator(method, cases, [SEED + item for item in items])
        scores = self.judges.scores(from_uint8(made.pictures), cases)
        return {name: scores[name] for name in SHOWN}


def settings_of(folder: Path, arguments: argparse.Namespace) -> str:
    """Names all that scores depend on but arm and face."""
    told = [model_digest(folder), arguments.steps, arguments.guidance, arguments.batch, sorted(arguments.holds.items())]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:12]


def calibrated(found: Mapping[Arm, Scores], rule: str, nats: Sequence[float]) -> float:
    """The smallest number whose sum, averaged over the requests, is within one standard error of the best."""
    sums = [
        np.mean([values["sum"] for arm, values in found.items() if (arm.rule, arm.nats) == (rule, each)], axis=0)
        for each in nats
    ]
    return nats[smallest_good(sums)]


def report(found: Mapping[Arm, Scores], chosen: Mapping[str, float], arguments: argparse.Namespace) -> str:
    """The tables as Markdown."""
    held = "The demo model has the chosen ones in its weights." if arguments.model == "demo" else ""
    lines = [
        "# Calibration",
        "",
        "Dynamic diffusers learn from the denoising error, which a few pixels of beard or wrinkles hardly change: the "
        "better mask and sketch denoise, the less is left to the caption. One number for each rule mends that: how "
        f"many nats are added to every logit of the text's dynamic diffuser. 0 is what training gave. {held}",
        "",
        "![Mask and caption accuracy by what is added](images/calibration.png)",
        "",
        f"{arguments.faces} faces of the tuning split (nothing is trained, tuned or scored on them elsewhere), "
        f"guidance {arguments.guidance:g}, {arguments.steps} steps, bfloat16, seeds {SEED}..., {machine()}. "
        "Accuracies in percent with bootstrap 95% intervals, and differences of the sum from 0 nats on the same faces "
        "and noise. Chosen: of what is within one standard error of the best sum over all requests, the smallest. "
        f"`torchrun --nproc_per_node 2 -m benchmarks.calibration --model {arguments.model} --holds {_told(chosen)}` "
        "makes all of this again from the calibrated model, but for the rounding of its weights.",
    ]
    for rule, number in chosen.items():
        lines += ["", f"## {rule}: {number:g} nats", ""]
        lines += ["| request | nats | mask | caption | sum | sum minus that at 0 |", "|---|---|---|---|---|---|"]
        for arm, values in found.items():
            if arm.rule == rule:
                lines.append(_row(arm, values, found[replace(arm, nats=0.0)], number))
    return "\n".join(lines) + "\n"


def _told(numbers: Mapping[str, float]) -> str:
    return " ".join(f"{rule}={number:g}" for rule, number in numbers.items())


def _row(arm: Arm, values: Scores, base: Scores, chosen: float) -> str:
    shown = [mean_interval(values[name]).percent() for name in SHOWN]
    gain = difference_interval(values["sum"], base["sum"]).signed() if arm.nats else ""
    nats = f"**{arm.nats:g}**" if arm.nats == chosen else f"{arm.nats:g}"
    return f"| {', '.join(arm.modalities)} | {nats} | {' | '.join(shown)} | {gain} |"


def picture(found: Mapping[Arm, Scores], chosen: Mapping[str, float]) -> Figure:
    """Accuracies by number, a panel for each rule."""
    figure, [axes] = plt.subplots(
        1, len(chosen), figsize=(4.6 * len(chosen), 3.4), sharey=True, squeeze=False, layout="constrained"
    )
    for axis, (rule, number) in zip(axes, chosen.items(), strict=True):
        arms = [arm for arm in found if arm.rule == rule]
        for request, style in zip(
            dict.fromkeys(arm.modalities for arm in arms), cycle(("-", "--", ":", "-.")), strict=False
        ):
            line = [arm for arm in arms if arm.modalities == request]
            for name, colour in (("mask", "tab:blue"), ("caption", "tab:orange")):
                means = [100 * found[arm][name].mean() for arm in line]
                label = f"{name}, of {' + '.join(request)}"
                axis.plot([arm.nats for arm in line], means, style, color=colour, marker="o", markersize=3, label=label)
        axis.axvline(number, color="0.6", linewidth=1)
        axis.set(title=f"{rule}: {number:g} chosen", xlabel="nats added to the text's logits", ylabel="accuracy %")
    axes[-1].legend(fontsize=7)
    return figure


def save(folder: Path, added: Mapping[str, float], out: Path) -> None:
    """The model with these numbers added to its weights, rounded to bfloat16 as they were tried, in a new folder.

    Raises:
        InputError: the folder is not new.
    """
    if out.exists():
        raise InputError(f"{out} exists; give a new folder for the calibrated model")
    with written_aside(out) as temporary:
        shutil.copytree(folder, temporary)
        (path,) = (temporary / "dynamic_diffusers" / MODALITY).glob("*.safetensors")
        weights = load_file(path)
        model = DynamicDiffuser.from_pretrained(path.parent, torch_dtype=torch.bfloat16)
        for rule, nats in added.items():
            model.shift(ACTIVATIONS[rule], nats)
        changed = model.state_dict()
        save_file({**weights, BIAS: changed[BIAS].to(weights[BIAS].dtype)}, path, metadata={"format": "pt"})
        write_checksums(temporary)


def parse_arguments() -> argparse.Namespace:
    """Command-line arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a folder or a hub id; with its judges")
    parser.add_argument(
        "--nats", type=float, nargs="+", default=[0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0], help="0 among them"
    )
    parser.add_argument(
        "--holds", type=held, nargs="+", default=[], metavar="RULE=NATS", help="what the weights hold already"
    )
    parser.add_argument("--faces", type=int, default=100, help="at most 2000")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--guidance", type=float, default=2.0)
    parser.add_argument("--batch", type=int, default=25)
    parser.add_argument("--save", type=Path, help="folder for the calibrated model")
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder of the tables and of images/")
    parser.add_argument("--cache", type=Path, default=Path("runs/calibration"), help="folder of unfinished results")
    arguments = parser.parse_args()
    arguments.holds = dict(arguments.holds)
    return arguments


def held(text: str) -> tuple[str, float]:
    """Rule and number of words like additive=0.5."""
    rule, _, number = text.partition("=")
    if rule not in ACTIVATIONS:
        raise argparse.ArgumentTypeError(f"{text!r} is not like additive=0.5")
    return rule, float(number)


def main() -> None:
    """Try all numbers, print and save what they give."""
    arguments, processes = parse_arguments(), PartialState(cpu=True, timeout=timedelta(days=1))
    folder = find_model(arguments.model)
    trial = Trial(folder, arguments, processes)
    rules = learned_rules(trial.pipe.dynamic_diffusers)
    arms = [
        Arm(rule, request, nats)
        for rule in rules
        for request in requests(trial.pipe.modalities)
        for nats in sorted({0.0, *arguments.nats})
    ]
    found = trial.run(arms)
    processes.destroy_process_group()
    if not processes.is_main_process:
        return
    chosen = {rule: calibrated(found, rule, sorted({0.0, *arguments.nats})) for rule in rules}
    text = report(found, chosen, arguments)
    with written_aside(arguments.out / "calibration.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    with written_aside(arguments.out / "images" / "calibration.png") as temporary:
        picture(found, chosen).savefig(temporary, format="png", dpi=110)
    if arguments.save is not None:
        added = {rule: number - arguments.holds.get(rule, 0.0) for rule, number in chosen.items()}
        save(folder, added, arguments.save)
    print(text)


if __name__ == "__main__":
    main()
