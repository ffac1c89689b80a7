import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from codiff.data.faces import ProceduralFaces
from codiff.errors import InputError
from codiff.photos.aligning import EYES, Alignment, cut_out
from codiff.photos.pasting import paste_back

places = st.floats(20.0, 380.0)


def scene(width: int = 400, height: int = 300) -> Image.Image:
    """Smooth in both directions, every place in a colour of its own."""
    rows, columns = np.mgrid[0:height, 0:width]
    return Image.fromarray(
        np.stack([columns * 255 // width, rows * 255 // height, 255 - rows // 2], 2).astype(np.uint8)
    )


@given(places, places, places, places)
@settings(max_examples=50, deadline=None)
def test_eyes_come_to_where_models_know_them(x: float, y: float, u: float, v: float) -> None:
    eyes = tuple(sorted([(x, y), (u, v)]))
    if np.hypot(x - u, y - v) < 4:
        return
    alignment = Alignment.of_eyes(eyes)  # type: ignore[arg-type]
    np.testing.assert_allclose(alignment.to_photo(np.array(EYES)), np.array(eyes), atol=1e-8)
    back = np.column_stack([np.array(eyes), np.ones(2)]) @ alignment.from_photo().T
    np.testing.assert_allclose(back, np.array(EYES), atol=1e-8)
    # a turn and a scale, never a mirror or a shear
    assert np.linalg.det(alignment.matrix[:, :2]) == pytest.approx(alignment.side**2)


@pytest.mark.parametrize("size", [32, 128, 300])
def test_the_crop_shows_the_photo(size: int) -> None:
    alignment = Alignment.of_eyes(((170.0, 130.0), (230.0, 150.0)))
    crop = np.asarray(cut_out(scene(), alignment, size), dtype=float)
    middles = (np.array([[0.3, 0.4], [0.5, 0.5], [0.7, 0.6]]) * size).astype(int)
    for column, row in middles:
        x, y = alignment.to_photo((np.array([[column, row]]) + 0.5) / size)[0]
        assert crop[row, column, 0] == pytest.approx(x * 255 / 400, abs=2.5)
        assert crop[row, column, 1] == pytest.approx(y * 255 / 300, abs=2.5)


def test_fine_patterns_are_averaged_not_sampled() -> None:
    checks = (np.indices((800, 800)).sum(axis=0) % 2 * 255).astype(np.uint8)
    alignment = Alignment.of_eyes(((330.0, 380.0), (470.0, 380.0)))
    crop = np.asarray(cut_out(Image.fromarray(checks), alignment, 64), dtype=float)
    assert np.abs(crop - 127.5).max() < 6


def test_beyond_the_edges_the_photo_is_mirrored() -> None:
    alignment = Alignment.of_eyes(((20.0, 100.0), (60.0, 100.0)))
    crop = np.asarray(cut_out(scene(), alignment, 64), dtype=float)
    left = alignment.to_photo(np.array([[0.5 / 64, 0.5]]))[0]
    assert left[0] < -10
    assert crop[32, 0, 0] == pytest.approx(-left[0] * 255 / 400, abs=2.5)


def test_eyes_that_would_need_a_crop_of_the_universe() -> None:
    with pytest.raises(InputError, match="reaches too far beyond the photo's edges"):
        cut_out(scene(), Alignment.of_eyes(((0.0, 150.0), (400.0, 150.0))), 64)


def test_an_unedited_crop_changes_the_photo_by_rounding_alone() -> None:
    photo = scene()
    alignment = Alignment.of_eyes(((185.0, 140.0), (215.0, 146.0)))
    crop = cut_out(photo, alignment, 128)
    pasted, where = paste_back(photo, crop, crop, alignment)
    assert np.abs(np.asarray(pasted, dtype=int) - np.asarray(photo, dtype=int)).max() <= 3
    untouched = np.asarray(where) == 0
    assert np.array_equal(np.asarray(pasted)[untouched], np.asarray(photo)[untouched])
    assert 0.1 < (~untouched).mean() < 0.4


def test_only_the_region_is_changed() -> None:
    photo, alignment = scene(), Alignment.of_eyes(((170.0, 130.0), (230.0, 130.0)))
    crop = cut_out(photo, alignment, 100)
    region = np.zeros((100, 100), dtype=bool)
    region[40:60, 30:70] = True
    edited = np.asarray(crop).copy()
    edited[region] = (255, 0, 255)
    pasted, where = paste_back(photo, crop, Image.fromarray(edited), alignment, region)
    changed = np.abs(np.asarray(pasted, dtype=int) - np.asarray(photo, dtype=int)).max(axis=2) > 6
    corners = alignment.to_photo(np.array([[0.3, 0.4], [0.7, 0.6]]))
    rows, columns = np.nonzero(changed)
    margin = 0.04 * alignment.side
    assert corners[0, 0] - margin <= columns.min()
    assert columns.max() <= corners[1, 0] + margin
    assert corners[0, 1] - margin <= rows.min()
    assert rows.max() <= corners[1, 1] + margin
    x, y = alignment.to_photo(np.array([[0.5, 0.5]]))[0].astype(int)
    assert np.abs(np.asarray(pasted)[y, x].astype(int) - (255, 0, 255)).max() < 30
    assert np.asarray(where)[y, x] == 255


def test_an_empty_region_leaves_the_photo() -> None:
    photo, alignment = scene(), Alignment.of_eyes(((170.0, 130.0), (230.0, 130.0)))
    crop = cut_out(photo, alignment, 64)
    pasted, where = paste_back(photo, crop, crop.rotate(90), alignment, np.zeros((64, 64), dtype=bool))
    assert np.array_equal(np.asarray(pasted), np.asarray(photo))
    assert not np.asarray(where).any()


def test_a_cast_over_the_edited_face_is_taken_away() -> None:
    face = Image.fromarray(ProceduralFaces("validation", 128)[3].image)
    photo = face.resize((256, 256), Image.Resampling.BICUBIC)
    alignment = Alignment.of_eyes(((96.0, 121.0), (158.0, 121.0)))
    crop = cut_out(photo, alignment, 128)
    cast = Image.fromarray(np.clip(np.asarray(crop, dtype=float) * 0.8 + (30, 0, -10), 0, 255).astype(np.uint8))
    pasted, _ = paste_back(photo, crop, cast, alignment)
    error = np.abs(np.asarray(pasted, dtype=float) - np.asarray(photo, dtype=float)).mean()
    naive = np.abs(np.asarray(cast, dtype=float) - np.asarray(crop, dtype=float)).mean()
    assert error < 0.4 * naive
