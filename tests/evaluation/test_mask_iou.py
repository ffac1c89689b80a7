"""Intersection over union against a mask made by hand and torchmetrics; what metrics refuse before anything is made."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchmetrics.classification import MulticlassJaccardIndex

from codiff import FaceParser, InputError
from codiff.evaluation.inputs import check_images, check_masks, check_parser
from codiff.evaluation.mask_accuracy import mask_accuracy
from codiff.evaluation.mask_iou import mask_iou, mask_overlaps, miou_difference

NAMES = ("a", "b", "c", "d", "e")


class Reads:
    """A parser that answers what is given to it."""

    def __init__(self, labels: Tensor, classes: int = 5) -> None:
        self.labels, self.classes = labels, classes

    def parse(self, images: Tensor) -> Tensor:
        return self.labels[: len(images)]


def blank(labels: Tensor) -> Tensor:
    return torch.zeros(len(labels), 3, *labels.shape[1:])


def random_labels(seed: int, count: int = 6, classes: int = 5) -> Tensor:
    return torch.randint(0, classes, (count, 8, 8), generator=torch.Generator().manual_seed(seed))


def test_a_mask_made_by_hand() -> None:
    mask = torch.tensor([[[0, 0, 1], [0, 1, 1], [2, 2, 2]]])
    read = torch.tensor([[[0, 0, 0], [0, 1, 1], [2, 2, 1]]])
    overlaps = mask_overlaps(Reads(read), blank(mask), mask)
    assert overlaps.tolist() == [[[3, 4], [2, 4], [2, 3], [0, 0], [0, 0]]]
    found = mask_iou(overlaps, NAMES)
    assert {name: round(value.mean, 6) for name, value in found.classes.items()} == {"a": 0.75, "b": 0.5, "c": 0.666667}
    assert found.mean.mean == pytest.approx((0.75 + 0.5 + 2 / 3) / 3)
    assert mask_accuracy(Reads(read), blank(mask), mask).tolist() == [pytest.approx(7 / 9)]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 5))
def test_equals_torchmetrics(seed: int, classes: int) -> None:
    mask, read = random_labels(seed, classes=classes), random_labels(seed + 1, classes=classes)
    read[:, :4] = mask[:, :4]
    found = mask_iou(mask_overlaps(Reads(read, classes), blank(mask), mask), NAMES[:classes], resamples=20)
    each = MulticlassJaccardIndex(num_classes=classes, average="none")(read, mask)
    assert [value.mean for value in found.classes.values()] == pytest.approx(each.tolist(), abs=1e-6)
    assert found.mean.mean == pytest.approx(float(each.mean()), abs=1e-6)
    assert found.mean.low <= found.mean.mean <= found.mean.high


def test_permutation_duplication_and_batches() -> None:
    mask, read = random_labels(1), random_labels(2)
    read[:3] = mask[:3]
    overlaps = mask_overlaps(Reads(read), blank(mask), mask)
    plain = mask_iou(overlaps, NAMES)
    assert mask_iou(overlaps.flip(0), NAMES).mean.mean == pytest.approx(plain.mean.mean)
    doubled = mask_iou(overlaps.repeat(2, 1, 1), NAMES)
    assert doubled.mean.mean == pytest.approx(plain.mean.mean)
    assert doubled.mean.high - doubled.mean.low < plain.mean.high - plain.mean.low
    parts = [mask_overlaps(Reads(read[at : at + 2]), blank(mask[at : at + 2]), mask[at : at + 2]) for at in (0, 2, 4)]
    assert torch.equal(torch.cat(parts), overlaps)
    perfect = mask_iou(mask_overlaps(Reads(mask), blank(mask), mask), NAMES)
    assert (perfect.mean.low, perfect.mean.mean, perfect.mean.high) == (1, 1, 1)


def test_a_difference_is_paired() -> None:
    mask, read = random_labels(1, 40), random_labels(2, 40)
    read[:, :4] = mask[:, :4]
    better = read.clone()
    better[:, 4:5] = mask[:, 4:5]
    first, second = (mask_overlaps(Reads(labels), blank(mask), mask) for labels in (better, read))
    found, own = miou_difference(first, second), mask_iou(first, NAMES).mean
    assert found.mean == pytest.approx(own.mean - mask_iou(second, NAMES).mean.mean)
    assert 0 < found.low < found.mean < found.high
    reverse = miou_difference(second, first)
    assert (reverse.low, reverse.mean, reverse.high) == pytest.approx((-found.high, -found.mean, -found.low))
    same = miou_difference(first, first)
    assert (same.low, same.mean, same.high) == (0, 0, 0)


def test_a_class_of_one_image_keeps_its_interval() -> None:
    mask = torch.zeros(4, 8, 8, dtype=torch.long)
    mask[0, 0, 0] = 4
    found = mask_iou(mask_overlaps(Reads(mask), blank(mask), mask), NAMES)
    assert list(found.classes) == ["a", "e"]
    assert found.classes["e"].low == 1


def test_with_a_real_parser() -> None:
    torch.manual_seed(0)
    parser = FaceParser(classes=5, channels=(8, 8)).eval()
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    masks = parser.parse(images)
    assert mask_iou(mask_overlaps(parser, images, masks), NAMES).mean.mean == 1


@pytest.mark.parametrize("metric", [mask_accuracy, mask_overlaps])
@pytest.mark.parametrize(
    ("images", "masks", "message"),
    [
        (torch.zeros(0, 3, 8, 8), torch.zeros(0, 8, 8).long(), "there are no images"),
        (torch.zeros(2, 3, 8, 8), torch.zeros(3, 8, 8).long(), "do not pair"),
        (torch.zeros(2, 3, 8, 8), torch.zeros(2, 8, 4).long(), "do not pair"),
        (torch.zeros(2, 3, 8, 8), torch.zeros(2, 1, 8, 8).long(), "do not pair"),
        (torch.zeros(2, 1, 8, 8), torch.zeros(2, 8, 8).long(), "expected \\(batch, 3, h, w\\)"),
        (torch.zeros(2, 3, 8, 8), torch.zeros(2, 8, 8), "expected integer labels"),
        (torch.zeros(2, 3, 8, 8), torch.full((2, 8, 8), 5), "hold class 5, the parser knows 5 classes"),
        (torch.zeros(2, 3, 8, 8), torch.full((2, 8, 8), -1), "hold class -1"),
        (torch.full((2, 3, 8, 8), 255.0), torch.zeros(2, 8, 8).long(), "from 255 to 255; expected \\[-1, 1\\]"),
        (torch.full((2, 3, 8, 8), float("nan")), torch.zeros(2, 8, 8).long(), "expected \\[-1, 1\\]"),
    ],
)
def test_refusals(metric: object, images: Tensor, masks: Tensor, message: str) -> None:
    assert callable(metric)
    with pytest.raises(InputError, match=message):
        metric(Reads(random_labels(0)), images, masks)


def test_what_can_be_refused_before_anything_is_generated() -> None:
    parser = FaceParser(classes=11, channels=(8, 8))
    with pytest.raises(InputError, match="11 classes, the masks have 19"):
        check_parser(parser)
    check_parser(FaceParser(channels=(8, 8)))
    with pytest.raises(InputError, match="there are no masks"):
        check_masks(parser, torch.zeros(0, 8, 8, dtype=torch.long))
    with pytest.raises(InputError, match=r"of torch\.uint8; expected floats"):
        check_images(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    overlaps = torch.ones(2, 5, 2)
    with pytest.raises(InputError, match="5 classes, but 19 names"):
        mask_iou(overlaps)
    with pytest.raises(InputError, match="at least one"):
        mask_iou(overlaps[:0], NAMES)
    with pytest.raises(InputError, match="at least one"):
        miou_difference(overlaps[:0], overlaps[:0])
    with pytest.raises(InputError, match=r"equal shapes, got \(2, 5, 2\) and \(1, 5, 2\)"):
        miou_difference(overlaps, overlaps[:1])
