"""What an evaluation found, as report.json, report.md and report.html."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import codiff
from codiff.evaluation import methods as method_records
from codiff.evaluation import report_figures as figures
from codiff.evaluation import tuning as tuning_records
from codiff.evaluation.benchmark import Evaluation
from codiff.evaluation.benchmark_data import Case
from codiff.evaluation.comparison import Differences
from codiff.evaluation.influence_statistics import PAPER_CLAIMS, Influences, judged
from codiff.evaluation.intervals import Estimate
from codiff.evaluation.loss_by_timestep import LossTable
from codiff.evaluation.metrics import METRICS
from codiff.evaluation.report_document import Picture, Section, Table, html, markdown
from codiff.figures import evenly
from codiff.files import write_json, written_aside
from codiff.modalities.mask import MASK_CLASSES

_SHOWN, _WORST = 6, 6


@dataclass(frozen=True)
class Looks:
    """How cases and pictures are looked up for figures.

    Attributes:
        case: number -> the case.
        made: (method, number) -> its picture.
        drawn: (case, side) -> its conditions as pictures; None where there is nothing to draw.
    """

    case: Callable[[int], Case]
    made: figures.Made
    drawn: figures.Drawn | None = None


def write_report(evaluation: Evaluation, folder: Path, looks: Looks) -> Path:
    """Write all files of a report and return the path of the HTML one.

    Raises:
        InputError: the folder cannot be written.
    """
    parts = [
        _results(evaluation),
        _verdicts(evaluation),
        _differences(evaluation),
        _pictures(evaluation, folder, looks),
        _influences(evaluation, folder),
        _losses(evaluation, folder),
        _memorisation(evaluation),
        _classes(evaluation),
        _tuning(evaluation, folder),
        _failures(evaluation, folder, looks),
        _settings(evaluation),
    ]
    sections = [part for part in parts if part is not None]
    title = f"codiff benchmark, {evaluation.title}"
    write_json(folder / "report.json", as_json(evaluation))
    for name, text in (("report.md", markdown(title, sections, folder)), ("report.html", html(title, sections))):
        with written_aside(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return folder / "report.html"


def _results(evaluation: Evaluation) -> Section:
    metrics = evaluation.metrics
    headings = ["method", "chosen", *(metric.headed for metric in metrics)]
    rows = [
        [method.name, method.described() if evaluation.tuned else "", *_cells(evaluation, method.name)]
        for method in evaluation.methods
    ]
    if evaluation.real:
        shown = {
            metric.name: metric.shown(evaluation.real[metric.name])
            for metric in metrics
            if metric.name in evaluation.real
        }
        rows.append(["real pictures", "", *(shown.get(metric.name, "") for metric in metrics)])
    note = "Bootstrap 95% intervals over the pictures. Identical conditions and initial noise for every method."
    if evaluation.real:
        note += " Real pictures are those that the conditions were taken from: what the judges say at best."
    section = Section("Results", tables=[Table(headings, rows, note)])
    section.words += [f"Left out: {name}: {reason}." for name, reason in evaluation.left_out.items()]
    section.words += [f"Note: {note}." for note in evaluation.notes]
    return section


def _cells(evaluation: Evaluation, method: str) -> list[str]:
    estimates = evaluation.numbers[method].estimates
    return [metric.shown(estimates[metric.name]) if metric.name in estimates else "" for metric in evaluation.metrics]


def _verdicts(evaluation: Evaluation) -> Section | None:
    if not evaluation.verdicts:
        return None
    rows = [[verdict.claim, verdict.told, verdict.why] for verdict in evaluation.verdicts]
    note = (
        "By the 95% intervals of paired differences: to beat, an interval above 0, undecided where it includes 0; to "
        "be no worse, no interval on the worse side; to lose in at least one metric, such an interval, and also a "
        "p-value below 0.05 after correction where the metric has one."
    )
    return Section("What the numbers say", tables=[Table(["claim", "verdict", "numbers"], rows, note, worded=True)])


def _differences(evaluation: Evaluation) -> Section | None:
    tables = [_difference_table(evaluation, lead, table) for lead, table in evaluation.differences.items() if table]
    return Section("Paired differences", tables=tables) if tables else None


def _difference_table(evaluation: Evaluation, lead: str, table: Differences) -> Table:
    measured = {name for row in table.values() for name in row}
    metrics = [metric for metric in evaluation.metrics if metric.name in measured]
    rows = []
    for name, row in table.items():
        cells = []
        for metric in metrics:
            found = row[metric.name]
            cells.append(f"{metric.shown(found.estimate, signed=True)} p {_p(found.p_value)}")
        rows.append([name, *cells])
    note = (
        "Paired by condition and noise, with bootstrap 95% intervals. p: two-sided, by permutation or, of what is "
        "measured on whole sets, by the interval; corrected for all of this table by Benjamini and Hochberg's method."
    )
    return Table([f"{lead} minus", *(metric.headed for metric in metrics)], rows, note)


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _pictures(evaluation: Evaluation, folder: Path, looks: Looks) -> Section:
    count = len(next(iter(evaluation.scores[evaluation.lead].values())))
    numbers = evenly(count, _SHOWN)
    cases = {number: looks.case(number) for number in numbers}
    names = [method.name for method in evaluation.methods]
    path = figures.save(
        figures.side_by_side(cases, names, looks.made, looks.drawn), folder / "figures" / "side-by-side.png"
    )
    return Section(
        "The same conditions under every method",
        pictures=[Picture(path, f"Conditions {', '.join(f'{number:05d}' for number in numbers)}, not chosen by hand.")],
    )


def _influences(evaluation: Evaluation, folder: Path) -> Section | None:
    if not evaluation.influences:
        return None
    home = folder / "figures"
    section = Section("Influences")
    curves = figures.influence_curves(evaluation.influences)
    section.pictures.append(Picture(figures.save(curves, home / "influence-curves.png"), "Mean influence by timestep."))
    learned = [name for name in (evaluation.lead, *evaluation.differences) if name in evaluation.influences]
    for name in dict.fromkeys(learned or evaluation.influences):
        _tell_influences(section, name, evaluation.influences[name], home)
    return section


def _tell_influences(section: Section, name: str, found: Influences, home: Path) -> None:
    """Of one rule: the paper's claims, the mean maps, and the classes of the mask."""
    section.tables.append(_claims(name, found))
    maps = figures.save(figures.influence_maps(found), home / f"influence-maps-{name}.png")
    section.pictures.append(Picture(maps, f"{name}: influence averaged over all pictures."))
    if found.class_means:
        path = figures.save(figures.influence_classes(found), home / f"influence-classes-{name}.png")
        section.pictures.append(Picture(path, f"{name}: mean influence on the pixels of each class of the mask."))
        section.tables.append(_class_table(name, found))


def _claims(name: str, found: Influences) -> Table:
    rows = []
    for claim in PAPER_CLAIMS:
        result = judged(claim, found)
        if result is not None:
            estimate, verdict = result
            rows.append([claim.words, verdict, METRICS["mask"].shown(estimate, signed=True)])
    note = (
        f"Of {name}. The numbers are differences of mean influences in percentage points with bootstrap 95% intervals "
        "over pictures: before minus after half of the training timesteps; contours (pixels beside another class) "
        "minus other pixels; skin minus elsewhere."
    )
    return Table(["the paper's claim", "verdict", "difference"], rows, note, worded=True)


def _class_table(name: str, found: Influences) -> Table:
    columns = [{**found.class_means[modality], "all": found.means[modality]} for modality in found.modalities]
    rows = [[part, *(column[part].percent() for column in columns)] for part in columns[0]]
    note = f"{name}: mean over all steps, with bootstrap 95% intervals over pictures."
    return Table(["class", *(f"{modality} %" for modality in found.modalities)], rows, note)


def _losses(evaluation: Evaluation, folder: Path) -> Section | None:
    table = evaluation.losses
    if table is None:
        return None
    headings = ["method", *(f"t {timestep}" for timestep in table.timesteps)]
    rows = [[name, *(_interval(value) for value in values)] for name, values in table.losses.items()]
    if table.best_single:
        rows.append(["best single", *table.best_single])
    note = "Mean squared error without guidance, with bootstrap 95% intervals over pictures."
    section = Section("Loss by timestep", tables=[Table(headings, rows, note)])
    if table.gains:
        section.tables.append(_gain_table(table))
        picture = figures.save(figures.loss_curves(table), folder / "figures" / "losses.png")
        section.pictures.append(
            Picture(picture, "Loss over that of the best single collaborator: below 1 mixing pays. Dashed: one alone.")
        )
        section.words.append(_where_mixing_pays(evaluation.lead, table))
    return section


def _interval(value: Estimate, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    return f"{value.mean:{sign}.4f} [{value.low:{sign}.4f}, {value.high:{sign}.4f}]"


def _gain_table(table: LossTable) -> Table:
    rows = []
    for name, gains in table.gains.items():
        cells = [f"{_interval(gain, signed=True)} {table.verdict(name, place)}" for place, gain in enumerate(gains)]
        rows.append([name, *cells])
    note = (
        "Loss minus that of the best single collaborator at that timestep, on the same pictures and noise; the verdict "
        "is by the bootstrap 95% interval of the paired difference."
    )
    return Table(["rule", *(f"t {timestep}" for timestep in table.timesteps)], rows, note)


def _where_mixing_pays(lead: str, table: LossTable) -> str:
    if lead not in table.gains:
        return ""
    told = [
        f"{words} at t {', '.join(map(str, at))}"
        for words in ("mixing pays", "one would do", "no difference")
        if (at := _at(lead, table, words))
    ]
    return f"{lead} against the best single collaborator: {'; '.join(told)}."


def _at(lead: str, table: LossTable, verdict: str) -> list[int]:
    return [timestep for place, timestep in enumerate(table.timesteps) if table.verdict(lead, place) == verdict]


def _memorisation(evaluation: Evaluation) -> Section | None:
    if not evaluation.memorisation:
        return None
    percent = METRICS["mask"]
    rows = [
        [
            name,
            percent.shown(found.training_share),
            f"{100 * found.null[0]:.1f} to {100 * found.null[1]:.1f}",
            _p(found.p_value),
            percent.shown(found.flagged),
        ]
        for name, found in evaluation.memorisation.items()
    ]
    note = (
        "Nearer to training: share of pictures nearer to the nearest training picture than to the nearest of equally "
        "many held-out ones, 50% by chance, and 95% of what chance gives. Flagged: share that is suspiciously near to "
        "one training picture, 1% by chance."
    )
    headings = ["model", "nearer to training %", "by chance %", "p", "flagged %"]
    return Section("Memorisation", tables=[Table(headings, rows, note)])


def _classes(evaluation: Evaluation) -> Section | None:
    ious = {name: found.ious for name, found in evaluation.numbers.items() if found.ious}
    if not ious:
        return None
    parts = [part for part in MASK_CLASSES if any(part in row for row in ious.values())]
    rows = [[name, *(row[part].percent() if part in row else "" for part in parts)] for name, row in ious.items()]
    note = "In percent, with bootstrap 95% intervals over pictures."
    return Section("Intersection over union by class", tables=[Table(["method", *parts], rows, note)])


def _tuning(evaluation: Evaluation, folder: Path) -> Section | None:
    tuned = evaluation.tuned
    if tuned is None:
        return None
    section = Section("How guidance and weights were chosen")
    if any(each.reached for candidates in tuned.candidates.values() for each in candidates):
        told = METRICS["sum"].title if any(metric.name == "caption" for metric in evaluation.metrics) else "mask + CLIP"
        section.words.append(
            f"By {told} on {evaluation.tuned_on}; of scales within one standard error of the best the smallest."
        )
        edge = "the largest that was tried reached most"
        rows = [
            [method.name, method.described(), edge if tuned.at_edge(method) else ""] for method in evaluation.methods
        ]
        section.tables.append(Table(["method", "chosen", "remark"], rows, worded=True))
        path = figures.save(figures.tuning_curves(tuned), folder / "figures" / "tuning.png")
        section.pictures.append(
            Picture(path, "What each guidance scale reached on the tuning conditions; circles: chosen.")
        )
    else:
        section.words.append("They were given, not searched: methods may have better ones.")
    return section


def _failures(evaluation: Evaluation, folder: Path, looks: Looks) -> Section | None:
    scores = {
        name: values.double().numpy() for name, values in evaluation.scores[evaluation.lead].items() if values.ndim == 1
    }
    worst = figures.worst_cases(scores, evaluation.metrics, _WORST)
    if not worst:
        return None
    cases = {number: looks.case(number) for entries in worst.values() for number, _ in entries}
    picture = figures.failures(worst, cases, evaluation.lead, looks.made, looks.drawn)
    path = figures.save(picture, folder / "figures" / "failures.png")
    return Section(
        "Failure cases",
        pictures=[Picture(path, f"Lowest values of {evaluation.lead} by each metric, what was asked for first.")],
    )


def _settings(evaluation: Evaluation) -> Section:
    rows = [[name, str(value)] for name, value in evaluation.settings.items()]
    return Section("Settings", tables=[Table(["setting", "value"], rows, worded=True)])


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """All numbers of a report."""
    return {
        "title": evaluation.title,
        "settings": evaluation.settings,
        "made_with": made_with(),
        "lead": evaluation.lead,
        "methods": {method.name: method_records.as_json(method) for method in evaluation.methods},
        "left_out": evaluation.left_out,
        "notes": evaluation.notes,
        "results": {name: _plain(found.estimates) for name, found in evaluation.numbers.items()},
        "iou": {name: _plain(found.ious) for name, found in evaluation.numbers.items() if found.ious},
        "real": _plain(evaluation.real),
        "differences": {
            lead: {
                name: {metric: {**asdict(each.estimate), "p_value": each.p_value} for metric, each in row.items()}
                for name, row in table.items()
            }
            for lead, table in evaluation.differences.items()
        },
        "verdicts": [asdict(verdict) for verdict in evaluation.verdicts],
        "influences": {name: _influence_json(found) for name, found in evaluation.influences.items()},
        "losses": evaluation.losses and asdict(evaluation.losses),
        "memorisation": {
            name: {key: value for key, value in asdict(found).items() if key != "ratios"}
            for name, found in evaluation.memorisation.items()
        },
        "tuning": evaluation.tuned and tuning_records.as_json(evaluation.tuned),
    }


def made_with() -> dict[str, str]:
    """Software and machine that a report was written by."""
    return {"codiff": codiff.__version__, "torch": torch.__version__, "machine": platform.machine()}


def _plain(estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: asdict(estimate) for name, estimate in estimates.items()}


def _influence_json(found: Influences) -> dict[str, Any]:
    claims = {claim.words: result for claim in PAPER_CLAIMS if (result := judged(claim, found)) is not None}
    return {
        "modalities": list(found.modalities),
        "timesteps": list(found.timesteps),
        "mean": found.steps.tolist(),
        "early_minus_late": _plain(found.early_minus_late),
        "means": _plain(found.means),
        "class_means": {modality: _plain(row) for modality, row in found.class_means.items()},
        "classes": None if found.classes is None else _without_nan(found.classes),
        "contrasts": {region: _plain(row) for region, row in found.contrasts.items()},
        "claims": {words: {**asdict(estimate), "verdict": verdict} for words, (estimate, verdict) in claims.items()},
    }


def _without_nan(values: NDArray[np.float64]) -> list[Any]:
    """JSON knows no NaN."""
    plain = values.astype(object)
    plain[np.isnan(values)] = None
    found: list[Any] = plain.tolist()
    return found
