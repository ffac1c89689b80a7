"""How often what a sampling foresees is shown."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from models import PIXELS, noise, shared_pipeline
from PIL import Image

from codiff.web.previews import Previews


class Sampling:
    """Steps and decodings that take so many seconds each, on a clock of its own."""

    def __init__(self, step: float, decoding: float) -> None:
        self.now, self.step, self.decoding = 0.0, step, decoding
        self.previews = Previews(cast(Any, SimpleNamespace(decode=self._decode)), lambda: self.now)

    def _decode(self, latents: torch.Tensor) -> list[Image.Image]:
        self.now += self.decoding
        return [Image.new("RGB", (2, 2))] * len(latents)

    def times(self, steps: int = 200) -> list[float]:
        """When each preview came."""
        shown = []
        for _ in range(steps):
            self.now += self.step
            if self.previews.of(noise(1)) is not None:
                shown.append(self.now)
        return shown


@pytest.mark.parametrize(
    ("step", "decoding", "share"),
    [
        (0.01, 0.01, 0.03),  # quick all through
        (0.05, 0.1, 0.21),
        (0.3, 0.13, 0.21),  # the demo model on one core, one picture
        (0.6, 0.3, 0.34),  # four of them: one preview a second costs more
        (0.2, 0.4, 0.51),
        (0.1, 2.0, 0.51),  # a decoder that takes seconds
        (3.0, 0.1, 0.04),  # steps that do
    ],
)
def test_decoding_takes_its_share_and_something_is_shown_each_second(
    step: float, decoding: float, share: float
) -> None:
    sampling = Sampling(step, decoding)
    times = sampling.times()
    assert times[0] == pytest.approx(step + decoding)  # the first step's at once
    assert decoding * len(times) / sampling.now <= share
    longest = max(after - before for before, after in pairwise(times))
    assert longest <= max(1.0, step + decoding, 2 * decoding + step) + 1e-6
    assert min(after - before for before, after in pairwise(times)) >= 0.4


def test_a_row_of_many_large_pictures_is_reduced() -> None:
    pictures = [Image.new("RGB", (512, 512), (number, 0, 0)) for number in range(8)]
    for count, size in ((1, (512, 512)), (2, (1024, 512)), (8, (1024, 128))):
        decoder = SimpleNamespace(decode=lambda _latents, count=count: pictures[:count])
        row = Previews(cast(Any, decoder)).of(noise(1))
        assert row is not None
        assert row.size == size
        assert row.getpixel((size[0] - 1, 0)) == (count - 1, 0, 0)


def test_a_row_of_pictures() -> None:
    row = Previews(shared_pipeline()).of(noise(3))
    assert row is not None
    assert row.size == (3 * PIXELS, PIXELS)
    expected = shared_pipeline().decode(noise(3))[2]
    assert row.crop((2 * PIXELS, 0, 3 * PIXELS, PIXELS)).tobytes() == expected.tobytes()
    longer = Previews(shared_pipeline()).of(noise(3), [Image.new("RGB", (PIXELS, PIXELS), "red")])
    assert longer is not None
    assert longer.getpixel((0, 0)) == (255, 0, 0)
    assert longer.crop((PIXELS, 0, 4 * PIXELS, PIXELS)).tobytes() == row.tobytes()
