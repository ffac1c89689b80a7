from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codiff.data.faces import ProceduralFaces
from codiff.data.flip import WithFlips, flipped
from codiff.errors import InputError
from codiff.modalities.mask import MASK_CLASSES

PAIRS = [(left, left.replace("left", "right")) for left in MASK_CLASSES if left.startswith("left")]


@dataclass
class Example:
    image: Any
    alternatives: dict[str, list[Any]]


@settings(max_examples=50, deadline=None)
@given(side=st.integers(1, 9), seed=st.integers(0, 2**32 - 1))
def test_each_pixel_moves_to_the_other_side_and_left_becomes_right(side: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
    sketch = rng.integers(0, 256, (side, side), dtype=np.uint8)
    labels = rng.integers(0, 19, (side, side), dtype=np.uint8)
    example = Example(image, {"text": ["A left turn."], "mask": [labels], "sketch": [sketch]})
    other = flipped(example)
    assert (other.image == np.fliplr(image)).all()
    assert (other.alternatives["sketch"][0] == np.fliplr(sketch)).all()
    assert other.alternatives["text"] == ["A left turn."]
    swapped = {4: 5, 5: 4, 6: 7, 7: 6, 8: 9, 9: 8}
    for (row, column), label in np.ndenumerate(labels):
        assert other.alternatives["mask"][0][row, side - 1 - column] == swapped.get(int(label), int(label))
    again = flipped(other)
    assert (again.image == image).all()
    assert all((again.alternatives[key][0] == example.alternatives[key][0]).all() for key in ("mask", "sketch"))


def columns(mask: Any, name: str) -> float:
    """Where a class lies, from 0 (image left) to 1."""
    return float(np.nonzero(mask == MASK_CLASSES.index(name))[1].mean() / mask.shape[1])


@pytest.mark.parametrize(("left", "right"), PAIRS)
def test_left_stays_on_the_persons_left(left: str, right: str) -> None:
    faces = ProceduralFaces("train", 64, limit=40)
    index = next(i for i, face in enumerate(faces) if {*map(MASK_CLASSES.index, (left, right))} <= {*face.mask.flat})
    for example in (faces[index], flipped(faces[index])):
        mask = example.alternatives["mask"][0]
        assert columns(mask, left) > 0.5 > columns(mask, right)


def test_a_data_set_with_flips() -> None:
    faces = ProceduralFaces("train", 32, limit=3)
    both = WithFlips(faces)
    assert len(both) == len(list(both)) == 6
    for index in range(3):
        assert (both[index].image == faces[index].image).all()
        assert (both[index + 3].image == faces[index].image[:, ::-1]).all()
        assert both[index + 3].alternatives["text"] == faces[index].alternatives["text"]
    for index in (-1, 6):
        with pytest.raises(IndexError):
            both[index]


def test_modalities_that_cannot_be_flipped() -> None:
    with pytest.raises(InputError, match="palette: it is not known how a flip changes it; known: text, mask, sketch"):
        flipped(Example(np.zeros((2, 2, 3), np.uint8), {"palette": [1]}))
