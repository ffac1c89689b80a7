"""Features, their cache, and the diversity that is read off them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from codiff import FaceParser, InputError
from codiff.evaluation.diversity import diversity
from codiff.evaluation.features import FeatureExtractor, extract_features, parser_features
from codiff.pixels import from_uint8


def parser(seed: int = 0) -> FaceParser:
    torch.manual_seed(seed)
    return FaceParser(classes=5, channels=(8, 16)).eval()


def pictures(count: int = 5, *, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)


class Counting(nn.Module):
    """Mean colours, and how many pictures were looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.seen = 0

    def forward(self, images: Tensor) -> Tensor:
        self.seen += len(images)
        return images.mean(dim=(2, 3)) * self.scale


def counting() -> tuple[Counting, FeatureExtractor]:
    network = Counting()
    return network, FeatureExtractor(network, "FD-colour", "KD-colour")


def test_parser_features_are_means_of_all_levels() -> None:
    network = parser()
    features = extract_features(parser_features(network), pictures(), batch=2)
    levels = network.features(from_uint8(pictures()))
    expected = torch.cat([level.mean(dim=(2, 3)) for level in levels], dim=1)
    assert features.shape == (5, 24)
    torch.testing.assert_close(features, expected.detach(), rtol=1e-4, atol=1e-5)


def test_only_inception_may_be_called_fid() -> None:
    extractor = parser_features(parser())
    assert (extractor.frechet, extractor.kernel) == ("FD-parser", "KD-parser")


def test_cached_features_are_not_computed_again(tmp_path: Path) -> None:
    network, extractor = counting()
    first = extract_features(extractor, pictures(), cache=tmp_path)
    again = extract_features(extractor, pictures(), batch=2, cache=tmp_path)
    assert network.seen == 5
    assert torch.equal(first, again)
    assert [path.suffix for path in tmp_path.iterdir()] == [".safetensors"]


def test_another_picture_order_or_network_is_another_key(tmp_path: Path) -> None:
    network, extractor = counting()
    extract_features(extractor, pictures(), cache=tmp_path)
    changed = pictures()
    changed[4, 15, 15, 2] ^= 1
    for other in (changed, pictures()[::-1], pictures()[:4], pictures().reshape(5, 8, 32, 3)):
        seen = network.seen
        assert torch.equal(extract_features(extractor, other, cache=tmp_path), extract_features(extractor, other))
        assert network.seen == seen + 2 * len(other)
    with torch.no_grad():
        network.scale.mul_(2)
    seen = network.seen
    extract_features(FeatureExtractor(network, "FD-colour", "KD-colour"), pictures(), cache=tmp_path)
    assert network.seen == seen + 5
    assert len(list(tmp_path.iterdir())) == 6


@pytest.mark.parametrize("damage", ["cut", "flipped", "html"])
def test_damaged_caches_are_written_anew(tmp_path: Path, damage: str) -> None:
    network, extractor = counting()
    expected = extract_features(extractor, pictures(), cache=tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    flipped = whole[:-1] + bytes([whole[-1] ^ 1])  # safetensors itself does not notice
    path.write_bytes({"cut": whole[:50], "flipped": flipped, "html": b"<html>"}[damage])
    assert torch.equal(extract_features(extractor, pictures(), cache=tmp_path), expected)
    assert network.seen == 10
    extract_features(extractor, pictures(), cache=tmp_path)
    assert network.seen == 10


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (pictures()[:0], "there are no pictures"),
        (pictures()[0], "expected bytes"),
        (pictures().astype(np.float32), "expected bytes"),
        (pictures().transpose(0, 3, 1, 2), "expected bytes"),
    ],
)
def test_refuses_what_is_no_pictures(wrong: NDArray[np.uint8], message: str) -> None:
    with pytest.raises(InputError, match=message):
        extract_features(counting()[1], wrong)


def test_diversity_by_hand() -> None:
    triangle = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 4.0]])  # sides 5, 4 and 3
    same = torch.ones(3, 2)
    assert diversity(torch.stack([triangle, same])).tolist() == [4, 0]
    assert diversity(torch.stack([triangle[[2, 0, 1]], triangle * 10])).tolist() == [4, 40]


def test_diversity_of_gaussians() -> None:
    # the distance of two points of the plane is Rayleigh with sigma = sqrt(2): its mean is sqrt(pi)
    drawn = torch.randn(2, 400, 2, generator=torch.Generator().manual_seed(0))
    assert diversity(drawn).tolist() == pytest.approx([math.sqrt(math.pi)] * 2, abs=0.1)


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 1, 4), (3, 4)])
def test_diversity_refuses(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="two pictures or more"):
        diversity(torch.zeros(shape))
