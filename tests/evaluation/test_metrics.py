"""Metrics against hand-made cases and independent computations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from codiff import AttributeClassifier, FaceParser, InputError
from codiff.evaluation.attribute_accuracy import attribute_accuracy
from codiff.evaluation.intervals import Estimate, difference_interval, mean_interval
from codiff.evaluation.mask_accuracy import mask_accuracy


@pytest.fixture
def parser() -> FaceParser:
    torch.manual_seed(0)
    return FaceParser(classes=5, channels=(8, 8, 8, 8)).eval()


@pytest.fixture
def classifier() -> AttributeClassifier:
    torch.manual_seed(0)
    return AttributeClassifier({"age": ["young", "old"], "hat": ["no", "yes", "two"]}, channels=(8, 8)).eval()


def images(count: int) -> Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_mask_accuracy_counts_pixels(parser: FaceParser) -> None:
    pictures = images(3)
    masks = parser.parse(pictures)
    assert mask_accuracy(parser, pictures, masks).tolist() == [1.0, 1.0, 1.0]
    wrong = masks.clone()
    wrong[1, :8] = (wrong[1, :8] + 1) % 5  # a quarter of the second mask
    assert mask_accuracy(parser, pictures, wrong).tolist() == [1.0, 0.75, 1.0]


def test_mask_accuracy_follows_a_permutation(parser: FaceParser) -> None:
    pictures, order = images(4), torch.tensor([2, 0, 3, 1])
    masks = torch.randint(0, 5, (4, 32, 32), generator=torch.Generator().manual_seed(2))
    plain = mask_accuracy(parser, pictures, masks)
    assert torch.allclose(mask_accuracy(parser, pictures[order], masks[order]), plain[order])


def test_what_duplication_and_emptiness_do(parser: FaceParser, classifier: AttributeClassifier) -> None:
    pictures = images(3)
    masks = torch.randint(0, 5, (3, 32, 32), generator=torch.Generator().manual_seed(2))
    once = mask_accuracy(parser, pictures, masks)
    assert torch.allclose(mask_accuracy(parser, pictures.repeat(2, 1, 1, 1), masks.repeat(2, 1, 1)), once.repeat(2))
    truth = ["young", "old", "old"]
    read = attribute_accuracy(classifier, pictures, {"age": truth})["age"]
    twice = attribute_accuracy(classifier, pictures.repeat(2, 1, 1, 1), {"age": truth * 2})["age"]
    assert torch.equal(twice, read.repeat(2))
    turned = attribute_accuracy(classifier, pictures.flip(0), {"age": truth[::-1]})["age"]
    assert torch.equal(turned, read.flip(0))
    with pytest.raises(InputError):
        mask_accuracy(parser, pictures[:0], masks[:0])
    with pytest.raises(InputError):
        attribute_accuracy(classifier, pictures[:0], {"age": []})


def test_mask_accuracy_refuses_what_does_not_pair(parser: FaceParser) -> None:
    with pytest.raises(InputError, match="do not pair"):
        mask_accuracy(parser, images(2), torch.zeros(3, 32, 32, dtype=torch.long))
    with pytest.raises(InputError, match="class 7"):
        mask_accuracy(parser, images(1), torch.full((1, 32, 32), 7))


def test_attribute_accuracy_counts_agreement(classifier: AttributeClassifier) -> None:
    pictures = images(4)
    read = classifier.classify(pictures)
    truth = {"age": [["young", "old"][int(value)] for value in read["age"]]}
    assert attribute_accuracy(classifier, pictures, truth)["age"].tolist() == [1.0] * 4
    truth["age"][2] = "old" if truth["age"][2] == "young" else "young"
    assert attribute_accuracy(classifier, pictures, truth)["age"].tolist() == [1.0, 1.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        ({"beard": ["no"]}, "does not know 'beard'"),
        ({"age": ["young", "old"]}, "1 images but 2"),
        ({"age": ["blue"]}, "'blue' is unknown"),
    ],
)
def test_attribute_accuracy_refuses_what_it_does_not_know(
    classifier: AttributeClassifier, truth: dict[str, list[str]], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        attribute_accuracy(classifier, images(1), truth)


def test_interval_agrees_with_the_normal_theory() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, size=400)
    estimate = mean_interval(values)
    half = 1.96 * values.std(ddof=1) / 20
    assert estimate.mean == pytest.approx(values.mean())
    assert estimate.low == pytest.approx(values.mean() - half, abs=0.05)
    assert estimate.high == pytest.approx(values.mean() + half, abs=0.05)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-10, 10), min_size=1, max_size=30))
def test_interval_holds_its_mean(values: list[float]) -> None:
    estimate = mean_interval(values)
    assert estimate.low <= estimate.mean + 1e-9
    assert estimate.mean <= estimate.high + 1e-9


def test_paired_difference_sees_through_common_variation() -> None:
    common = np.random.default_rng(1).normal(0.0, 5.0, size=200)
    noise = np.random.default_rng(2).normal(0.0, 0.1, size=200)
    difference = difference_interval(common + 0.2 + noise, common)
    assert 0 < difference.low < 0.2 < difference.high + 0.02
    alone = mean_interval(common + 0.2 + noise)
    assert alone.low < 0 < alone.high


def test_p_values_of_intervals_are_those_of_normal_theory() -> None:
    ratio = Estimate(*np.log([0.81, 0.70, 0.94]))  # the example of Altman & Bland, who find 0.005
    assert ratio.p_value == pytest.approx(0.005, abs=0.0005)
    assert Estimate(1.959964, 0.0, 2 * 1.959964).p_value == pytest.approx(0.05, abs=1e-6)
    assert Estimate(-3.0, -4.0, -2.0).p_value == Estimate(3.0, 2.0, 4.0).p_value
    assert Estimate(0.0, -1.0, 1.0).p_value == 1
    assert (Estimate(0.0, 0.0, 0.0).p_value, Estimate(0.3, 0.3, 0.3).p_value) == (1, 0)


def test_estimates_are_told_in_percent() -> None:
    estimate = Estimate(0.0125, -0.002, 0.0284)
    assert estimate.percent() == "1.2 [-0.2, 2.8]"
    assert estimate.signed() == "+1.2 [-0.2, +2.8]"


def test_intervals_refuse_nothing_and_nonsense() -> None:
    with pytest.raises(InputError, match="non-empty"):
        mean_interval([])
    with pytest.raises(InputError, match="finite"):
        mean_interval([1.0, float("nan")])
    with pytest.raises(InputError, match="equal number"):
        difference_interval([1.0, 2.0], [1.0])
