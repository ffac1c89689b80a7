"""Edits whose right answer is known, and what is told of them."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.edit_tasks import KINDS, drawn_by_lot
from benchmarks.editing import MEAN_ALPHAS, Measured, at_equal_identity, claims, column
from codiff.data.faces import ProceduralFaces


@pytest.mark.parametrize("number", range(6))
def test_tasks_change_what_they_say_and_nothing_else(number: int) -> None:
    before = ProceduralFaces("validation", 64)[number]
    tasks = drawn_by_lot(before, number)
    assert {name: task.modalities for name, task in tasks.items()} == KINDS
    assert drawn_by_lot(before, number)["both"].after.caption == tasks["both"].after.caption
    for task in tasks.values():
        assert task.before is before
        assert task.after.face.identity == before.face.identity
        assert task.after.face.description.gender == before.face.description.gender
    text, mask, both = (tasks[name] for name in ("text", "mask", "both"))
    assert (text.after.mask == before.mask).all()
    assert text.after.face.description.age != before.face.description.age
    assert mask.after.face.description == before.face.description
    assert (mask.after.mask != before.mask).mean() > 0.005
    assert (both.after.mask == mask.after.mask).all()
    assert both.after.face.description == text.after.face.description
    assert both.target["text"] == text.target["text"]
    assert both.target["mask"] is both.after.mask
    assert both.source["text"] == before.caption
    assert both.source["mask"] is before.mask


def invented(own: tuple[float, float], slope: float, count: int = 40) -> list[Measured]:
    """Faces on which imagic has this agreement and colour error, and with the mean the agreement is `slope` times the
    colour error, of 10 alpha levels; all of them shifted alike from face to face."""
    faces = []
    for shift in np.linspace(-0.01, 0.01, count):
        rows = {"both/imagic": own, "both/imagic, text alone": (0.4, 0.0), "both/imagic, mask alone": (0.6, 0.0)}
        rows |= {f"both/imagic, mean, alpha {alpha:g}": (slope * 10 * alpha, 10 * alpha) for alpha in MEAN_ALPHAS}
        faces.append(
            {
                row: {"mask": obeyed + shift, "beard": obeyed + shift, "age": obeyed + shift, "colours": colours}
                for row, (obeyed, colours) in rows.items()
            }
        )
    return faces


def test_equal_identity_is_read_off_the_means_curve() -> None:
    difference, beyond = at_equal_identity(invented((0.5, 8.0), slope=0.05), "mask")
    assert beyond == 0
    assert difference.mean == pytest.approx(0.5 - 0.05 * 8.0)
    assert difference.low == pytest.approx(difference.high) == pytest.approx(difference.mean)


def test_beyond_the_curve_its_end_is_taken() -> None:
    difference, beyond = at_equal_identity(invented((0.5, 99.0), slope=0.05), "caption")
    assert difference.mean == pytest.approx(0.5 - 0.05 * 15.0)
    assert beyond == 1


def test_claims_compare_what_each_alone_was_not_told() -> None:
    faces = invented((0.5, 8.0), slope=0.05)
    told = claims(faces)
    assert told["imagic minus imagic of the text alone: mask"].mean == pytest.approx(0.1)
    assert told["imagic minus imagic of the mask alone: caption"].mean == pytest.approx(-0.1)
    assert len(told) == 4
    assert column(faces, "both/imagic", "caption") == pytest.approx(column(faces, "both/imagic", "beard"))
