from pathlib import Path

import numpy as np
import pytest
from celeba import REAL, face
from PIL import Image

from codiff.data.edges import draw_edges
from codiff.data.faces import ProceduralFaces
from codiff.modalities.sketch import read_sketch

PHOTOS = [*sorted((REAL / "london_faces").glob("*.jpg"))[:4], *sorted((REAL / "fairface_adults").glob("*.jpg"))[:8]]


def test_a_step_becomes_one_line_on_its_dark_side() -> None:
    image = np.full((64, 64, 3), 200, np.uint8)
    image[:, 32:] = 60
    drawn = draw_edges(image)
    dark = np.flatnonzero((drawn < 128).all(axis=0))
    assert 1 <= len(dark) <= 3
    assert set(dark) <= set(range(32, 36))
    assert (np.delete(drawn, range(28, 36), axis=1) == 255).all()


@pytest.mark.parametrize("level", [0, 7, 128, 255])
def test_even_surfaces_are_blank(level: int) -> None:
    rng = np.random.default_rng(0)
    grain = np.clip(rng.normal(level, 0.6, (64, 64, 1)).round(), 0, 255).astype(np.uint8)
    assert (draw_edges(np.full((64, 64, 3), level, np.uint8)) == 255).all()
    if level >= 128:
        assert (draw_edges(np.repeat(grain, 3, axis=2)) > 128).all()


def test_the_same_every_time_and_mirrored_with_the_picture() -> None:
    image = face(3).image
    assert (draw_edges(image) == draw_edges(image)).all()
    difference = np.abs(draw_edges(image[:, ::-1])[:, ::-1].astype(int) - draw_edges(image))
    assert difference.max() <= 1


def test_lines_lie_where_the_drawn_sketches_have_them() -> None:
    for example in ProceduralFaces("train", 128, limit=4):
        drawn, wanted = draw_edges(example.image) < 128, example.sketch < 200
        near = np.max([np.roll(wanted, (y, x), (0, 1)) for y in (-2, 0, 2) for x in (-2, 0, 2)], axis=0)
        assert near[drawn].mean() > 0.6
        assert 0.02 < drawn.mean() < 0.13


@pytest.mark.skipif(not PHOTOS, reason=f"needs real photos in {REAL}")
@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.stem)
def test_real_photos_become_line_drawings(path: Path) -> None:
    with Image.open(path) as photo:
        side = min(photo.size)
        image = np.array(photo.convert("RGB").crop((0, 0, side, side)).resize((256, 256)))
    drawn = draw_edges(image)
    assert drawn.shape == (256, 256)
    assert 0.01 < (drawn < 128).mean() < 0.13
    assert (drawn == 255).mean() > 0.8
    lines = read_sketch(drawn, 128)
    assert lines.shape == (1, 1, 128, 128)
    assert np.abs(draw_edges((image * 0.7).astype(np.uint8)) / 255 - drawn / 255).mean() < 0.05
