"""What a painter holds, read and shown: exactly, and within limits."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

from codiff.errors import InputError
from codiff.modalities.mask import MASK_CLASSES, colour
from codiff.web.faces import procedural_face
from codiff.web.painting import (
    GREYS,
    LOWERED,
    RAISED,
    STEERING,
    indexed,
    labels_of,
    lines_of,
    looks_like_photo,
    painted_labels,
    painted_lines,
    painted_steering,
    png_url,
    steering_of,
    uploaded_labels,
    uploaded_lines,
)

CLASSES = len(MASK_CLASSES)


def maps(most: int) -> st.SearchStrategy[NDArray[np.uint8]]:
    """Square maps of 0..most."""
    sides = st.integers(2, 24)
    return sides.flatmap(lambda side: arrays(np.uint8, (side, side), elements=st.integers(0, most)))


def decoded(url: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])), formats=["PNG"])


class TestMasks:
    @given(maps(CLASSES - 1))
    def test_labels_come_back_to_the_bit(self, labels: NDArray[np.uint8]) -> None:
        assert (labels_of(painted_labels(labels, 64)) == labels).all()

    def test_a_painter_sees_the_colours_of_the_classes(self) -> None:
        labels = np.arange(16, dtype=np.uint8).reshape(4, 4)
        assert (np.asarray(decoded(painted_labels(labels, 64)).convert("RGB")) == colour(labels)).all()

    def test_large_masks_are_reduced_without_new_labels(self) -> None:
        labels = np.array([[3, 13], [0, 18]], np.uint8).repeat(40, axis=0).repeat(40, axis=1)
        shown = labels_of(painted_labels(labels, 32))
        assert shown.shape == (32, 32)
        assert (shown[::16, ::16] == [[3, 13], [0, 18]]).all()
        assert set(np.unique(shown)) == {0, 3, 13, 18}

    @given(maps(CLASSES - 1))
    def test_one_colour_that_is_off_is_refused(self, labels: NDArray[np.uint8]) -> None:
        picture = colour(labels)
        picture[0, 0] = (1, 2, 3)
        with pytest.raises(InputError, match=r"not CelebAMask-HQ|another palette"):
            labels_of(png_url(Image.fromarray(picture)))

    @pytest.mark.parametrize("value", [None, ""])
    def test_nothing_painted_says_what_to_do(self, value: str | None) -> None:
        with pytest.raises(InputError, match="nothing is painted; paint one, press Random face, or switch"):
            labels_of(value)


class TestSketches:
    @given(maps(255))
    def test_drawings_come_back_to_the_bit(self, levels: NDArray[np.uint8]) -> None:
        assert (np.asarray(lines_of(painted_lines(Image.fromarray(levels)))) == levels).all()

    def test_ink_stays_dark_and_paper_light(self) -> None:
        drawn = lines_of(png_url(indexed(np.array([[0, 255], [255, 255]], np.uint8), GREYS)))
        assert np.asarray(drawn).tolist() == [[0, 255], [255, 255]]


class TestSteering:
    @given(maps(2))
    def test_signs_come_back(self, values: NDArray[np.uint8]) -> None:
        expected = np.select([values == RAISED, values == LOWERED], [1.0, -1.0])
        read = steering_of(png_url(indexed(values, STEERING)))
        assert (read is None) == (not values.any())
        if read is not None:
            assert np.array_equal(read, expected)
            again = steering_of(painted_steering(7.5 * read))
            assert again is not None
            assert np.array_equal(again, expected)

    @pytest.mark.parametrize("value", [None, ""])
    def test_nothing_painted_is_none(self, value: str | None) -> None:
        assert steering_of(value) is None

    def test_other_colours_are_refused(self) -> None:
        with pytest.raises(InputError, match="colours that the brush does not paint"):
            steering_of(png_url(Image.new("RGB", (4, 4), (254, 255, 255))))


class TestWhatIsNoPainting:
    @pytest.mark.parametrize("read", [labels_of, lines_of, steering_of])
    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            ("/etc/passwd", "a PNG as a data URL"),
            ("data:text/html;base64,AAAA", "a PNG as a data URL"),
            ({"path": "/etc/passwd"}, "a PNG as a data URL"),
            ("data:image/png;base64,***", "damaged"),
            ("data:image/png;base64,AAAA", "it is no PNG"),
            ("data:image/png;base64," + "A" * 5_000_000, "send a smaller PNG"),
        ],
        ids=["path", "html", "file", "base64", "content", "long"],
    )
    def test_is_refused_unopened(self, read: object, value: object, reason: str) -> None:
        with pytest.raises(InputError, match=reason):
            read(value)  # type: ignore[operator]

    def test_too_many_pixels_are_refused_by_the_header(self) -> None:
        stream = io.BytesIO()
        Image.new("L", (1025, 8)).save(stream, format="PNG")
        header = stream.getvalue()[:40]  # nothing that could be decoded
        with pytest.raises(InputError, match="1025 x 8 pixels, limit 1024"):
            labels_of("data:image/png;base64," + base64.b64encode(header).decode())


class TestUploads:
    def test_every_form_of_a_mask_is_read(self, tmp_path: Path) -> None:
        labels = np.arange(1024, dtype=np.uint8).reshape(32, 32) % CLASSES
        one_hot = torch.zeros(CLASSES, 1024)
        one_hot[torch.from_numpy(labels).flatten().long(), torch.arange(1024)] = 1
        torch.save(one_hot, tmp_path / "mask.pt")
        Image.fromarray(colour(labels)).save(tmp_path / "colours.png")
        Image.fromarray(labels).save(tmp_path / "numbers.png")
        for name in ("mask.pt", "colours.png", "numbers.png"):
            read = uploaded_labels(tmp_path / name, snap=False, letterbox=False, most=64)
            assert (read == labels).all(), name

    def test_colours_that_are_off_need_snapping(self, tmp_path: Path) -> None:
        labels = np.kron(np.array([[1, 13], [0, 18]], np.uint8), np.ones((16, 16), np.uint8))
        path = tmp_path / "mask.jpg"
        Image.fromarray(colour(labels)).save(path, quality=95)
        with pytest.raises(InputError, match="snap=True"):
            uploaded_labels(path, snap=False, letterbox=False, most=64)
        with pytest.warns(UserWarning, match="snapped to the nearest"):
            assert (uploaded_labels(path, snap=True, letterbox=False, most=64)[4:12, 4:12] == 1).all()

    def test_photos_are_told_from_masks(self, tmp_path: Path) -> None:
        photo, mask = procedural_face(3, 128), tmp_path / "mask.png"
        Image.fromarray(colour(photo.labels)).save(mask)
        assert not looks_like_photo(mask)
        for mode in ("RGB", "L"):
            photo.picture.convert(mode).save(tmp_path / "photo.png")
            assert looks_like_photo(tmp_path / "photo.png")
        (tmp_path / "notes.png").write_text("no picture")
        assert not looks_like_photo(tmp_path / "notes.png")

    def test_errors_name_the_file_but_not_its_place(self, tmp_path: Path) -> None:
        path = tmp_path / "notes.png"
        path.write_text("no picture")
        for read in (uploaded_labels, uploaded_lines):
            options = {"snap": False} if read is uploaded_labels else {}
            with pytest.raises(InputError, match=r"notes\.png") as told:
                read(path, letterbox=False, most=64, **options)
            assert str(tmp_path) not in str(told.value)

    def test_drawings_become_dark_lines_on_white(self, tmp_path: Path) -> None:
        drawing = np.zeros((64, 64), np.uint8)  # light on dark
        drawing[30:34] = 255
        Image.fromarray(drawing).save(tmp_path / "lines.png")
        read = np.asarray(uploaded_lines(tmp_path / "lines.png", letterbox=False, most=64))
        assert (read[31:33] == 0).all()
        assert (read[:28] == 255).all()
