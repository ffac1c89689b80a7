import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from codiff.errors import InputError, InputNotice
from codiff.modalities.sketch import SketchModality, read_sketch


def drawing(size: int = 64, width: int = 4) -> np.ndarray:
    """Lines uint8 (size, size): 255 on a cross and a ring, 0 elsewhere."""
    image = Image.new("L", (size, size))
    pen = ImageDraw.Draw(image)
    pen.line((size // 8, size // 2, size - size // 8, size // 2), fill=255, width=width)
    pen.line((size // 2, 0, size // 2, size), fill=255, width=width)
    pen.ellipse((size // 4, size // 4, 3 * size // 4, 3 * size // 4), outline=255, width=width)
    return np.array(image)


def encoded(pixels: np.ndarray, image_format: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, image_format, **options)
    return stream.getvalue()


def ink_on_glass(lines: np.ndarray, ink: int) -> np.ndarray:
    return np.dstack([np.full((*lines.shape, 3), ink, np.uint8), lines])


def test_every_way_of_drawing_reads_alike(tmp_path: Path) -> None:
    lines = drawing()
    expected = torch.from_numpy(lines / np.float32(255))
    (tmp_path / "dark.png").write_bytes(encoded(255 - lines))
    for source in (
        encoded(255 - lines),
        encoded(lines),
        tmp_path / "dark.png",
        255 - lines,
        Image.fromarray(lines).convert("RGB"),
        ink_on_glass(lines, 0),
        ink_on_glass(lines, 255),
        encoded(ink_on_glass(lines, 200)),
        lines == 255,
        lines / 255,
        (lines / 255)[None],
        expected,
        expected[None],
        expected[None, None],
        expected.to(torch.bfloat16),
        expected == 1,
    ):
        sketch = read_sketch(source, 64)
        assert (sketch.dtype, sketch.shape) == (torch.float32, (1, 1, 64, 64))
        assert torch.equal(sketch[0, 0], expected)


def test_paper_and_ink_need_not_be_pure() -> None:
    lines = drawing() / np.float32(255)
    kraft = np.rint(115 * (1 - lines)).astype(np.uint8)  # black ink on brown paper: darker than middle grey
    assert torch.equal(read_sketch(kraft, 64)[0, 0], torch.from_numpy(lines))
    chalk = np.rint(40 + 215 * lines).astype(np.uint8)
    assert torch.allclose(read_sketch(chalk, 64)[0, 0], torch.from_numpy(lines))


def test_a_dark_frame_does_not_make_the_paper_dark() -> None:
    framed = 255 - drawing()
    framed[:2] = framed[-2:] = framed[:, :2] = framed[:, -2:] = 0
    assert read_sketch(framed, 64)[0, 0, 8:24, 8:12].max() == 0


def test_shaded_cut_outs_are_read_by_their_brightness() -> None:
    paper = np.dstack([255 - drawing()] * 3 + [np.full((64, 64), 255, np.uint8)])
    paper[:4, :4, 3] = 0  # an opaque sheet with a clipped corner
    with pytest.warns(InputNotice, match="transparency"):
        assert torch.equal(read_sketch(paper, 64)[0, 0], torch.from_numpy(drawing() / np.float32(255)))
    sticker = np.dstack([255 - drawing()] * 3 + [np.zeros((64, 64), np.uint8)])
    sticker[20:44, 20:44, 3] = 255  # a small sheet: opacity alone would be a filled square
    with pytest.warns(InputNotice, match="transparency"):
        assert read_sketch(sticker, 64)[0, 0, 25:28, 25:28].max() == 0


@pytest.mark.parametrize("size", [32, 64, 96, 200])
def test_sizes(size: int) -> None:
    sketch = read_sketch(255 - drawing(64), size)
    assert sketch.shape == (1, 1, size, size)
    assert 0 <= sketch.min() <= sketch.max() <= 1
    assert sketch[0, 0, size // 2, size // 4 :].max() > 0.9


def test_moderate_reduction_is_the_mean_over_areas() -> None:
    lines = drawing(128, width=4)
    areas = lines.reshape(64, 2, 64, 2).mean(axis=(1, 3)) / 255
    assert np.abs(read_sketch(lines, 64)[0, 0].numpy() - areas).max() < 1e-6


def test_fine_lines_survive_strong_reduction() -> None:
    sketch = read_sketch(255 - drawing(512, width=2), 32)[0, 0]
    assert sketch[16, 4:28].min() > 0.5
    assert sketch[2:6, 2:6].max() == 0


def test_batches() -> None:
    batch = torch.stack([torch.eye(16), torch.eye(16).flip(0)])[:, None]
    assert torch.equal(SketchModality(size=16, channels=8).read(batch), batch)
    assert torch.equal(SketchModality(size=16, channels=8).read_all([batch[0], batch[1].numpy()]), batch)


def test_adaptations_are_announced() -> None:
    deep = (65535 - drawing().astype(np.uint16) * 257).astype(np.uint16)
    with pytest.warns(InputNotice, match="16-bit"):
        assert read_sketch(encoded(deep), 64).mean() == pytest.approx(drawing().mean() / 255)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.full((64, 64), 255, np.uint8), "blank; draw lines, or leave the sketch out"),
        (np.zeros((64, 64, 3), np.uint8), "blank"),
        (np.zeros((64, 64, 4), np.uint8), "blank"),
        (torch.zeros(64, 64), "blank"),
        (torch.cat([torch.ones(1, 1, 8, 8), torch.zeros(1, 1, 8, 8)]), "blank"),
        (torch.full((8, 8), 1.5), "values from 1.5 to 1.5"),
        (torch.full((8, 8), torch.nan), "values from nan"),
        (-torch.eye(8), "values from -1"),
        (torch.ones(8, 8, dtype=torch.uint8), "torch.uint8"),
        (torch.eye(8).to_sparse(), "sparse"),
        (np.ones((8, 8), np.int64), "int64"),
        (torch.ones(2, 3, 8, 8), "shape"),
        (torch.ones(2, 8, 8), "shape"),
        (torch.ones(8), "shape"),
        (torch.ones(0, 1, 8, 8), "no pixels"),
        (torch.ones(1).expand(10**5, 10**5), "limit 64 MP"),
        (torch.eye(8)[:6], "8 x 6 pixels, but a square is expected"),
        (b"<html>", "HTML page"),
        (3.5, "not float"),
    ],
)
def test_refusals(source: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_sketch(source, 32)


def test_a_speck_of_dust_is_no_drawing() -> None:
    paper = np.full((400, 400), 250, np.uint8)
    paper[200, 200:203] = 0
    paper += np.random.default_rng(0).integers(0, 6, paper.shape, dtype=np.uint8)  # grain
    with pytest.raises(InputError, match="blank"):
        read_sketch(paper, 64)


def test_letterbox_pads_with_empty_paper() -> None:
    sketch = read_sketch(255 - drawing()[:32], 64, letterbox=True)[0, 0]
    assert sketch[:16].max() == 0
    assert torch.equal(sketch[16:48], torch.from_numpy(drawing()[:32] / np.float32(255)))


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_lines_stay_in_range(side: int, size: int, seed: int) -> None:
    values = np.random.default_rng(seed).random((side, side), dtype=np.float32)
    values[0, 0] = 1
    sketch = read_sketch(values, size)
    assert sketch.shape == (1, 1, size, size)
    assert 0 <= sketch.min() <= sketch.max() <= 1


def test_modality() -> None:
    modality = SketchModality(size=32, features=6, channels=8, downsample=4)
    sketch = modality.read(255 - drawing(64))
    assert modality(sketch).shape == modality.encode(255 - drawing(64)).shape == (1, 64, 6)
    modality(sketch).sum().backward()
    assert all(parameter.grad is not None for parameter in modality.parameters())
    picture = modality.picture(sketch, 32)
    assert np.array_equal(np.asarray(picture)[..., 0], np.rint(255 * (1 - sketch[0, 0].numpy())))
    assert (picture.mode, modality.picture(sketch, 100).size) == ("RGB", (100, 100))
    assert modality.describe(torch.eye(10)[None, None]) == "sketch, lines on 10% of it"
    assert SketchModality(size=32, channels=8, letterbox=True).read(drawing()[:30]).shape == (1, 1, 32, 32)
