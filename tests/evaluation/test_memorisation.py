"""Memorisation against injected copies, and paired tests against exact enumeration."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from codiff import InputError
from codiff.evaluation.memorisation import memorisation
from codiff.evaluation.paired_test import paired_test

WIDTH = 16


def faces(count: int, seed: int) -> Tensor:
    """Features of one source."""
    return torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed))


def test_a_model_that_copies_nothing_stays_at_chance() -> None:
    found = memorisation(faces(400, 1), faces(1000, 2), faces(500, 3), permutations=400)
    assert found.null[0] < found.training_share.mean < found.null[1]
    assert found.p_value > 0.05
    assert found.flagged.low <= 0.01 <= found.flagged.high + 0.01
    assert 0 < found.threshold < 1
    assert found.ratios.shape == (400,)


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_injected_copies_are_found(share: float) -> None:
    training, generated = faces(1000, 2), faces(400, 1)
    copies = round(share * len(generated))
    noise = 0.01 * faces(copies, 4)
    generated[:copies] = training[:copies] + noise
    found = memorisation(generated, training, faces(500, 3), permutations=400)
    assert found.flagged.mean == pytest.approx(share + 0.01, abs=0.02)  # the threshold flags 1% of what is new
    assert set(range(copies)) <= set((found.ratios < found.threshold).nonzero().flatten().tolist())
    assert found.ratios.argmin() < copies


def test_a_model_that_only_copies() -> None:
    training = faces(400, 2)
    found = memorisation(training[:200], training, faces(400, 3), permutations=200)
    assert found.training_share.mean == 1
    assert found.p_value == pytest.approx(1 / 201)
    assert found.ratios.max() == 0
    assert found.flagged.mean == 1


def test_copies_of_held_out_pictures_are_no_memory_of_training() -> None:
    held_out = faces(300, 3)
    found = memorisation(held_out[:100].clone(), faces(300, 2), held_out, permutations=200)
    assert found.training_share.mean == 0
    assert found.p_value == 1


def test_order_changes_nothing_of_the_ratios() -> None:
    generated, training, held_out = faces(50, 1), faces(200, 2), faces(100, 3)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(0))
    plain = memorisation(generated, training, held_out, permutations=10)
    moved = memorisation(generated[order], training.flip(0), held_out, permutations=10)
    torch.testing.assert_close(moved.ratios, plain.ratios[order])


def test_ratios_equal_the_definition() -> None:
    generated, training = faces(3, 1).double().numpy(), faces(60, 2).double().numpy()
    found = memorisation(torch.tensor(generated), torch.tensor(training), faces(60, 3), neighbours=5, permutations=5)
    for row, ratio in zip(generated, found.ratios.tolist(), strict=True):
        near = np.sort(np.linalg.norm(training - row, axis=1))[:5]
        assert ratio == pytest.approx(near[0] / near.mean())


@pytest.mark.parametrize(
    ("generated", "training", "held_out", "message"),
    [
        (faces(0, 1), faces(60, 2), faces(60, 3), "0 generated images"),
        (faces(5, 1), faces(50, 2), faces(60, 3), "50 training images; at least 51"),
        (faces(5, 1), faces(60, 2), faces(0, 3), "0 held-out images"),
        (faces(5, 1)[:, :3], faces(60, 2), faces(60, 3), "different extractors"),
        (faces(5, 1), faces(60, 2), faces(60, 2), "held-out pictures are in the training set too"),
    ],
)
def test_refusals(generated: Tensor, training: Tensor, held_out: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        memorisation(generated, training, held_out, permutations=5)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=2, max_size=7))
def test_paired_test_equals_all_exchanges(differences: list[int]) -> None:
    second = np.arange(len(differences), dtype=float)
    found = paired_test(second + differences, second)
    sums = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True)))
        for signs in product((1, -1), repeat=len(differences))
    ]
    assert found.p_value == pytest.approx(np.mean([value >= abs(sum(differences)) for value in sums]))
    assert found.pairs == len(differences)


def test_paired_test_sees_through_common_variation() -> None:
    rng = np.random.default_rng(0)
    common = rng.normal(0, 5, 100)
    found = paired_test(common + 0.3 + rng.normal(0, 0.5, 100), common)
    assert found.p_value < 0.01
    assert found.difference.low > 0
    opposite = paired_test(common, common + 0.3)
    assert opposite.difference.high < 0


def test_paired_test_is_uniform_without_a_difference() -> None:
    rng = np.random.default_rng(1)
    small = sum(paired_test(rng.normal(size=9), rng.normal(size=9)).p_value < 0.1 for _ in range(60))
    assert small <= 13  # of 60, 6 are expected


def test_paired_test_of_equal_methods_and_refusals() -> None:
    values = np.arange(20.0)
    assert paired_test(values, values).p_value == 1
    assert paired_test([1.0], [2.0]).p_value == 1
    with pytest.raises(InputError, match="equal number"):
        paired_test([1.0, 2.0], [1.0])
    with pytest.raises(InputError, match="non-empty"):
        paired_test([], [])
