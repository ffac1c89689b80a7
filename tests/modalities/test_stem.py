import pytest
import torch

from codiff.errors import InputError
from codiff.modalities.stem import ConvStem, check_size


@pytest.mark.parametrize("downsample", [2, 4, 8, 16])
def test_tokens_are_a_row_major_map(downsample: int) -> None:
    stem = ConvStem(3, 8, 5, downsample)
    picture = torch.randn(2, 3, 2 * downsample, 4 * downsample, generator=torch.Generator().manual_seed(0))
    tokens = stem(picture)
    assert tokens.shape == (2, 8, 5)
    change = picture.clone()
    change[:, :, downsample + downsample // 2, 3 * downsample + downsample // 2] += 10
    moved = (stem(change) - tokens).abs().sum(dim=(0, 2))
    assert moved.argmax() == 1 * 4 + 3


def test_pictures_follow_the_precision_of_the_weights() -> None:
    assert ConvStem(1, 8, 4, 2).to(torch.bfloat16)(torch.zeros(1, 1, 4, 4)).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("channels", "features", "downsample", "message"),
    [
        (8, 4, 1, "downsample"),
        (8, 4, 6, "downsample"),
        (0, 4, 2, "channels"),
        (8, 0, 2, "features"),
    ],
)
def test_impossible_sizes_are_refused(channels: int, features: int, downsample: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ConvStem(1, channels, features, downsample)


@pytest.mark.parametrize("size", [0, 4, 12])
def test_sizes_that_do_not_divide_are_refused(size: int) -> None:
    with pytest.raises(InputError, match="multiple of downsample = 8"):
        check_size(size, 8)
