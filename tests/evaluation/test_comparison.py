"""Tuning, differences and verdicts on values made by hand."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import PartialState
from torch import Tensor, nn

from codiff.errors import InputError, InputNotice
from codiff.evaluation.batches import Batches, Results
from codiff.evaluation.comparison import Difference, Reference, columns, differences, numbers
from codiff.evaluation.features import FeatureExtractor
from codiff.evaluation.intervals import Estimate, mean_interval
from codiff.evaluation.loss_by_timestep import loss_table
from codiff.evaluation.methods import Method
from codiff.evaluation.metrics import METRICS
from codiff.evaluation.notes import noted, shortened
from codiff.evaluation.report_figures import worst_cases
from codiff.evaluation.tuning import Tuning, smallest_good, tune
from codiff.evaluation.verdicts import verdicts
from codiff.modalities.mask import MASK_CLASSES

BOTH = ("text", "mask")
SINGLE = Method("text-alone", "mean", ("text",))
MEAN, WEIGHTED, LEAD = (Method(name, name, BOTH) for name in ("mean", "weighted", "collaborative"))
SCALES = (1.0, 2.0, 3.0)


def random(count: int, seed: int, shift: float = 0.0) -> Tensor:
    return torch.rand(count, generator=torch.Generator().manual_seed(seed)) + shift


def reaching(value: Callable[[Method], float]) -> Callable[[Method, range], Results]:
    """An attempt at tuning in which each method reaches a value of its own."""
    return lambda method, items: {"sum": torch.full((len(items),), value(method))}


# -- tuning ------------------------------------------------------------------------------------------------------------


def test_every_method_gets_its_own_best_scale(tmp_path: Path) -> None:
    best = {"text-alone": 3.0, "mean": 1.0, "collaborative": 2.0}
    attempt = reaching(lambda method: -((method.guidance - best[method.name]) ** 2))
    found = tune([SINGLE, MEAN, LEAD], Tuning(4, SCALES), Batches(tmp_path, PartialState(cpu=True)), attempt, 2)
    assert {method.name: method.guidance for method in found.methods} == best
    assert [found.at_edge(method) for method in found.methods] == [True, False, False]
    assert [each.method.guidance for each in found.candidates["mean"]] == list(SCALES)


def test_of_scales_that_cannot_be_told_apart_the_smallest_is_taken() -> None:
    noise = random(50, 3).double().numpy() - 0.5
    error = noise.std(ddof=1) / np.sqrt(50)
    centred, best = noise - noise.mean(), np.zeros(50)
    for short, chosen in ((0.9 * error, 1), (1.1 * error, 2)):
        assert smallest_good([best - 5, best - short + centred, best, best]) == chosen
    assert smallest_good([np.zeros(1), np.ones(1)]) == 1


def test_a_rising_curve_is_told_though_a_smaller_scale_is_taken(tmp_path: Path) -> None:
    def attempt(method: Method, items: range) -> Results:
        noise = torch.tensor([-1.0, 1.0] * (len(items) // 2))
        return {"sum": 0.1 * method.guidance + noise * (method.guidance == 2)}

    found = tune([MEAN], Tuning(4, SCALES), Batches(tmp_path, PartialState(cpu=True)), attempt, 4)
    assert found.methods[0].guidance == 2
    assert found.at_edge(found.methods[0])


def test_weights_are_chosen_at_the_means_scale_and_then_their_own(tmp_path: Path) -> None:
    def value(method: Method) -> float:
        wanted = 2.0 if method.name == "mean" else 3.0
        text = dict(method.weights).get("text", 0.0) if method.weights else 0.5
        return -((method.guidance - wanted) ** 2) - (text - 0.75) ** 2

    batches = Batches(tmp_path, PartialState(cpu=True))
    found = tune([MEAN, WEIGHTED], Tuning(2, SCALES, 4), batches, reaching(value), 2)
    assert found.methods[1] == replace(WEIGHTED, guidance=3.0, weights=(("text", 0.75), ("mask", 0.25)))
    tried = [(each.method.guidance, each.method.weights) for each in found.candidates["weighted"]]
    assert [scale for scale, _ in tried] == [2.0] * 4 + [1.0, 2.0, 3.0]
    assert tried[0][1] is None  # equal weights
    alone = tune([WEIGHTED], Tuning(2, SCALES, 4), batches, reaching(value), 2)
    assert alone.methods == [found.methods[1]]


def test_a_single_scale_is_taken_without_a_search(tmp_path: Path) -> None:
    def never(*_: object) -> Results:
        raise AssertionError

    found = tune([SINGLE, LEAD], Tuning(4, (2.0,)), Batches(tmp_path, PartialState(cpu=True)), never, 2)
    assert [method.guidance for method in found.methods] == [2.0, 2.0]
    assert not found.at_edge(found.methods[0])
    assert Tuning(4, SCALES).without_guidance().scales == (1.0,)


def test_tuning_without_an_objective_is_refused(tmp_path: Path) -> None:
    batches = Batches(tmp_path, PartialState(cpu=True))
    with pytest.raises(InputError, match="tuning needs mask accuracy and caption accuracy"):
        tune([LEAD], Tuning(2, SCALES), batches, lambda _, items: {"mask": torch.ones(len(items))}, 2)


# -- differences and verdicts ------------------------------------------------------------------------------------------


def reference() -> Reference:
    features = torch.randn(40, 6, generator=torch.Generator().manual_seed(9))
    return Reference(FeatureExtractor(nn.Identity(), "FD-parser", "KD-parser"), features)


def scores(seed: int, shift: float = 0.0, far: float = 0.0) -> Results:
    features = torch.randn(30, 6, generator=torch.Generator().manual_seed(seed)) + far
    return {"mask": random(30, seed, shift), "sum": random(30, seed, 2 * shift), "features": features}


def test_numbers_are_those_of_the_metrics() -> None:
    found = numbers(scores(1), reference())
    assert found.estimates["mask"] == mean_interval(random(30, 1).numpy())
    assert set(found.estimates) == {"mask", "sum", "frechet", "kernel"}
    assert set(numbers(scores(1), None).estimates) == {"mask", "sum"}
    pairs = torch.tensor([[[0.0, 0.0], [3.0, 4.0]]] * 2)
    assert numbers({}, None, pairs).estimates["diversity"] == Estimate(5.0, 5.0, 5.0)


def test_differences_are_paired_and_signed() -> None:
    metrics = columns(["mask", "sum", "frechet"], reference().extractor)
    assert [metric.title for metric in metrics] == ["mask", "mask + caption", "FD-parser"]
    lead = scores(1, 0.1)
    everything = {"lead": lead, "same": lead, "worse": scores(1, 0.0), "far": scores(2, 0.1, far=3.0)}
    pairs = {name: torch.tensor([[[0.0], [far]]] * 3) for name, far in (("lead", 1.0), ("worse", 3.0), ("same", 1.0))}
    table = differences("lead", everything, metrics, reference(), pairs | {"far": pairs["lead"]})
    assert list(table) == ["same", "worse", "far"]
    assert table["worse"]["diversity"].estimate == Estimate(-2.0, -2.0, -2.0)
    assert table["worse"]["diversity"].better(METRICS["diversity"]) is None
    assert table["same"]["mask"] == Difference(Estimate(0.0, 0.0, 0.0), 1.0)
    assert table["same"]["frechet"].estimate.mean == 0
    worse = table["worse"]["mask"]
    assert worse.estimate.mean == pytest.approx(0.1)
    assert worse.estimate.low == pytest.approx(0.1, abs=1e-6)  # the noise is the same
    assert worse.p_value < 0.01
    assert worse.better(METRICS["mask"]) is True
    assert table["far"]["frechet"].better(METRICS["frechet"]) is True  # lower is better
    for metric in ("frechet", "kernel"):
        alone = [numbers(each, reference()).estimates[metric].mean for each in (lead, everything["far"])]
        assert table["far"][metric].estimate.mean == pytest.approx(alone[0] - alone[1])
        assert table["far"][metric].p_value < 0.01
    assert table["same"]["frechet"].p_value == 1


def test_overlaps_are_compared_as_whole_sets() -> None:
    classes = len(MASK_CLASSES)
    union = torch.full((8, classes), 10)
    found = [{"overlaps": torch.stack([torch.full((8, classes), hit), union], dim=2)} for hit in (8, 5)]
    table = differences("lead", {"lead": found[0], "other": found[1]}, columns(["miou"], None), None)
    assert table["other"]["miou"].estimate.mean == pytest.approx(0.3)
    assert table["other"]["miou"].p_value == 0
    assert table["other"]["miou"].better(METRICS["miou"]) is True


def test_verdicts_follow_the_intervals() -> None:
    metrics = columns(["mask", "sum", "frechet"], reference().extractor)
    lead, ablation = scores(1, 0.1), Method("no-spatial", "no-spatial", BOTH)
    everything = {"collaborative": lead, "text-alone": scores(1), "mean": scores(1, 0.2), "no-spatial": lead}
    tables = {"collaborative": differences("collaborative", everything, metrics, reference())}
    found = verdicts(tables, [SINGLE, MEAN, LEAD, ablation], metrics)
    assert [(verdict.claim, verdict.told) for verdict in found] == [
        ("collaborative beats text-alone in mask + caption", "holds"),
        ("collaborative beats mean in mask + caption", "does not hold"),
        ("no-spatial loses to collaborative in at least one metric", "does not hold"),
        ("collaborative is not worse than any other method in FD-parser", "holds"),
    ]
    far = {"collaborative": scores(1, far=3.0), "mean": scores(1)}
    tables = {"collaborative": differences("collaborative", far, metrics, reference())}
    last = verdicts(tables, [MEAN, LEAD], metrics)[-1]
    assert last.holds is False
    assert last.why.startswith("it is worse than mean: +")


def test_to_lose_takes_more_than_one_interval_of_many() -> None:
    low, ablation = Estimate(0.2, 0.1, 0.3), Method("no-spatial", "no-spatial", BOTH)

    def told(p_value: float) -> str:
        table = {"collaborative": {"no-spatial": {"mask": Difference(low, p_value)}}}
        return verdicts(table, [ablation], columns(["mask"], None))[0].told

    assert [told(p_value) for p_value in (0.04, 0.06)] == ["holds", "does not hold"]


def test_ablations_are_held_against_the_rule_that_they_ablate() -> None:
    metrics = columns(["mask", "sum"], None)
    everything = {"additive": scores(1, 0.3), "collaborative": scores(1, 0.2), "no-spatial": scores(1)}
    tables = {lead: differences(lead, everything, metrics, None) for lead in ("additive", "collaborative")}
    methods = [Method(name, name, BOTH) for name in everything]
    assert [verdict.claim for verdict in verdicts(tables, methods, metrics)] == [
        "no-spatial loses to collaborative in at least one metric"
    ]


def test_distances_take_at_most_ten_thousand_pictures() -> None:
    many = replace(reference(), features=torch.arange(20_002.0).reshape(10_001, 2))
    taken = many.for_kernel
    assert len(taken) == 10_000
    assert (taken[1:, 0] > taken[:-1, 0]).all()
    assert replace(many, features=torch.zeros(2, 2048)).resamples == 20


def test_notices_are_kept_once() -> None:
    notes: list[str] = []
    with noted(notes):
        for _ in range(2):
            warnings.warn("few pictures", InputNotice, stacklevel=1)
    assert notes == ["few pictures"]
    assert shortened([*"abcde"]) == [*"abcde"]
    assert shortened([*"abcdefg"]) == [*"abcde", "2 more of this kind"]


# -- losses and failures -----------------------------------------------------------------------------------------------


def test_where_mixing_pays() -> None:
    other, timesteps = replace(SINGLE, name="mask-alone", modalities=("mask",)), [900, 100]
    base = random(50, 0)
    found = {
        "text-alone": torch.stack([base, base + 1], dim=1),
        "mask-alone": torch.stack([base + 1, base], dim=1),
        "mean": torch.stack([base - 0.5, base + 0.5], dim=1),
        "collaborative": torch.stack([base, base], dim=1),
    }
    table = loss_table(found, [SINGLE, other, MEAN, LEAD], timesteps)
    assert table.best_single == ["text-alone", "mask-alone"]
    assert [table.verdict("mean", place) for place in range(2)] == ["mixing pays", "one would do"]
    assert [table.verdict("collaborative", place) for place in range(2)] == ["no difference"] * 2
    assert table.losses["mean"][0].mean == pytest.approx(float(base.mean()) - 0.5, abs=1e-6)
    assert loss_table(found, [MEAN, LEAD], timesteps).gains == {}


def test_worst_cases_are_the_lowest() -> None:
    values = {"mask": np.array([0.9, 0.2, 0.5, 0.2]), "sum": np.array([1.0, 1.2, 1.5, 0.4]), "caption": np.zeros(4)}
    values["beard"] = np.ones(4)  # nothing is wrong with them
    found = worst_cases(values, columns(["mask", "beard", "caption", "sum", "miou"], None), 2)
    assert found == {"mask %": [(3, "20.0"), (1, "20.0")], "mask + caption %": [(3, "40.0"), (0, "100.0")]}


@pytest.mark.parametrize(
    ("name", "estimate", "shown"),
    [
        ("mask", Estimate(0.9312, 0.93, 0.934), "93.1 [93.0, 93.4]"),
        ("frechet", Estimate(12.345, 11.0, 13.0), "12.35 [11.00, 13.00]"),
        ("kernel", Estimate(0.00123, 0.001, 0.002), "1.23 [1.00, 2.00]"),
        ("frechet", Estimate(0.0123, 0.01, 0.02), "0.0123 [0.0100, 0.0200]"),
    ],
)
def test_estimates_are_shown_in_their_unit(name: str, estimate: Estimate, shown: str) -> None:
    assert METRICS[name].shown(estimate) == shown
