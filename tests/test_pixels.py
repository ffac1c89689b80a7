import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from codiff.pixels import from_uint8, to_uint8

shapes = st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6), st.just(3))


@given(arrays(np.uint8, shapes))
def test_bytes_come_back(images: NDArray[np.uint8]) -> None:
    tensor = from_uint8(images)
    assert tensor.shape == (len(images), 3, *images.shape[1:3])
    assert tensor.dtype == torch.float32
    assert tensor.min() >= -1
    assert tensor.max() <= 1
    assert np.array_equal(to_uint8(tensor), images)


def test_every_byte_comes_back() -> None:
    every = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    for dtype in (torch.float32, torch.float16):
        assert np.array_equal(to_uint8(from_uint8(every).to(dtype)), every)


@given(arrays(np.float32, (1, 3, 4, 4), elements=st.floats(-3, 3, width=32)))
def test_values_go_to_the_nearest_byte(values: NDArray[np.float32]) -> None:
    found = to_uint8(torch.from_numpy(values)).astype(np.float64).transpose(0, 3, 1, 2)
    wanted = (np.clip(values.astype(np.float64), -1, 1) + 1) * 127.5
    assert np.abs(found - wanted).max() <= 0.5 + 1e-4


def test_ends_middle_and_what_lies_beyond() -> None:
    values = torch.tensor([-7.0, -1.0, 1.0, 7.0]).reshape(1, 1, 1, 4).expand(1, 3, 1, 4)
    assert to_uint8(values)[0, 0, :, 0].tolist() == [0, 0, 255, 255]
    assert to_uint8(torch.full((1, 3, 1, 1), 0.1, requires_grad=True)).item(0) == 140


def test_read_only_and_strided_pictures_are_copied() -> None:
    images = np.zeros((2, 8, 8, 3), np.uint8)
    images.setflags(write=False)
    tensor = from_uint8(images[:, ::2, ::-2])
    tensor += 1.0
    assert tensor.shape == (2, 3, 4, 4)
    assert not images.any()


@pytest.mark.parametrize("size", [1, 5])
def test_channels_stay_in_order(size: int) -> None:
    image = np.zeros((1, size, size, 3), np.uint8)
    image[..., 0] = 255
    assert from_uint8(image)[0, :, 0, 0].tolist() == [1.0, -1.0, -1.0]
