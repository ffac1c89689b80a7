"""Sums of influences against masks and influences made by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from codiff.evaluation.influence_statistics import (
    PAPER_CLAIMS,
    Influences,
    batch_statistics,
    judged,
    region_weights,
    summarised,
)
from codiff.modalities.mask import MASK_CLASSES

SKIN = MASK_CLASSES.index("skin")
TIMESTEPS = (900.0, 600.0, 300.0, 0.0)


def halves(count: int = 3) -> np.ndarray:
    """Masks of 8 x 8 pixels, background at the left and skin at the right."""
    masks = np.zeros((count, 8, 8), np.uint8)
    masks[:, :, 4:] = SKIN
    return masks


def influences(mask_share: Tensor) -> dict[str, Tensor]:
    """Two modalities that share one unit; (steps, batch, 1, h, w)."""
    return {"text": 1 - mask_share, "mask": mask_share}


def of(mask_share: Tensor, masks: np.ndarray | None, timesteps: tuple[float, ...] = TIMESTEPS) -> Influences:
    found = batch_statistics(influences(mask_share), masks)
    return summarised(found, ("text", "mask"), timesteps, 1000)


def test_weights_of_classes_and_regions() -> None:
    classes, regions = region_weights(halves(1), (4, 4))
    assert classes[0, 0].tolist() == [[1, 1, 0, 0]] * 4
    assert classes[0, SKIN].tolist() == [[0, 0, 1, 1]] * 4
    contours, interior, skin, elsewhere = regions[0]
    assert contours.tolist() == [[0, 0.5, 0.5, 0]] * 4  # columns 3 and 4 of the mask lie beside another class
    assert torch.equal(interior, 1 - contours)
    assert torch.equal(skin, classes[0, SKIN])
    assert torch.equal(elsewhere, 1 - skin)
    assert torch.equal(classes.sum(dim=1), torch.ones(1, 4, 4))


def test_contours_of_rows() -> None:
    turned = halves(1).transpose(0, 2, 1)
    assert region_weights(turned, (8, 8))[1][0, 0].sum(dim=1).tolist() == [0, 0, 0, 8, 8, 0, 0, 0]


def test_equal_influences_are_equal_everywhere() -> None:
    found = of(torch.full((4, 3, 1, 4, 4), 0.5), halves())
    assert np.allclose(found.maps, 0.5)
    assert np.allclose(found.steps, 0.5)
    assert found.classes is not None
    assert np.allclose(found.classes[:, :, [0, SKIN]], 0.5)
    assert np.isnan(found.classes[:, :, 2]).all()
    assert not found.varies
    assert found.contrasts["skin"]["text"].mean == pytest.approx(0)


def test_influence_that_follows_the_mask_and_time() -> None:
    share = torch.zeros(4, 3, 1, 4, 4)
    share[:2, ..., 1:3] = 1.0  # the mask has all influence early, at the columns that touch the contour
    share[:, ..., :1] = 0.25
    found = of(share, halves())
    assert found.varies
    assert found.classes is not None
    assert found.classes[1, 0, [0, SKIN]] == pytest.approx([0.625, 0.5])
    assert found.early_minus_late["mask"].mean == pytest.approx(0.5)
    assert found.early_minus_late["text"].mean == pytest.approx(-0.5)
    # contours lie in the two middle columns: 0.5 over the steps; inside: half of them, and 0.25 and 0 beside
    assert found.contrasts["contours"]["mask"].mean == pytest.approx(0.5 - (0.5 + 0.25) / 3)
    assert found.contrasts["skin"]["text"].mean == pytest.approx(0.75 - 0.625)
    assert found.means["mask"].mean == pytest.approx((0.625 + 0.5) / 2 / 2 + (0.25 / 4) / 2)
    assert list(found.class_means["mask"]) == ["background", "skin"]
    assert found.class_means["mask"]["background"].mean == pytest.approx((0.625 + 0.125) / 2)
    assert found.class_means["mask"]["skin"].mean == pytest.approx(0.25)


def test_claims_hold_or_do_not() -> None:
    share = torch.zeros(4, 3, 1, 4, 4)
    share[:2, ..., 1:3] = 1.0
    found = of(share, halves())
    verdicts = [(claim.contrast, judged(claim, found)) for claim in PAPER_CLAIMS]
    assert [(contrast, result and result[1]) for contrast, result in verdicts] == [
        ("early", "holds"),
        ("early", "holds"),
        ("contours", "holds"),
        ("skin", "undecided"),
    ]
    turned = of(1 - share, halves())
    assert [result and result[1] for result in (judged(claim, turned) for claim in PAPER_CLAIMS[:3])] == [
        "does not hold"
    ] * 3


def test_without_masks_only_time_is_told() -> None:
    found = of(torch.rand(4, 3, 1, 4, 4, generator=torch.Generator().manual_seed(0)), None)
    assert found.classes is None
    assert found.contrasts == {}
    assert judged(PAPER_CLAIMS[2], found) is None
    assert of(torch.rand(1, 2, 1, 4, 4), None, (999.0,)).early_minus_late == {}


def test_batches_add_up() -> None:
    share = torch.rand(4, 6, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    masks = np.random.default_rng(0).integers(0, 19, (6, 8, 8)).astype(np.uint8)
    parts = [batch_statistics(influences(share[:, rows]), masks[rows]) for rows in (slice(0, 2), slice(2, 6))]
    joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    whole, parted = of(share, masks), summarised(joined, ("text", "mask"), TIMESTEPS, 1000)
    assert np.allclose(whole.maps, parted.maps)
    assert whole.classes is not None
    assert parted.classes is not None
    assert np.allclose(whole.classes, parted.classes, equal_nan=True)
    mean = parted.class_means["mask"]["nose"]
    assert mean.mean == pytest.approx(whole.class_means["mask"]["nose"].mean)
    assert mean == whole.class_means["mask"]["nose"]
    assert mean.low < mean.mean < mean.high
    assert whole.contrasts["skin"]["mask"].mean == pytest.approx(parted.contrasts["skin"]["mask"].mean)
