import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from codiff.errors import InputNotice
from codiff.photos.own_photo import OwnPhoto

pytestmark = pytest.mark.filterwarnings("ignore::codiff.errors.InputNotice")


def other_profile() -> bytes:
    """sRGB's profile with its red and green primaries exchanged, under another name."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace(b"rXYZ", b"????", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"????", b"gXYZ", 1)
    return profile.replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be"))


def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(20, 236, (24, 32, 3), dtype=np.uint8)


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, "PNG", **options)
    return path


def where(value: int = 255) -> Image.Image:
    """The left half."""
    mask = np.zeros((24, 32), np.uint8)
    mask[:, :16] = value
    return Image.fromarray(mask)


def test_what_is_not_edited_stays_to_the_bit(tmp_path: Path) -> None:
    photo = OwnPhoto.open(saved(Image.fromarray(pixels()), tmp_path / "a.png"))
    result = np.asarray(photo.changed(Image.new("RGB", (32, 24), (1, 2, 3)), where(7)))
    assert np.array_equal(result[:, 16:], pixels()[:, 16:])
    assert (result[:, :16] == (1, 2, 3)).all()


def test_the_profile_survives_and_colours_mean_the_same(tmp_path: Path) -> None:
    profile = other_profile()
    photo = OwnPhoto.open(saved(Image.fromarray(pixels()), tmp_path / "a.png", icc_profile=profile))
    assert not np.array_equal(np.asarray(photo.picture), pixels())  # seen in sRGB
    result = photo.changed(photo.picture, where())  # an edit that changes nothing
    out = io.BytesIO()
    result.save(out, "PNG")
    again = Image.open(out)
    assert again.info["icc_profile"] == profile
    difference = np.abs(np.asarray(again, dtype=int) - pixels())
    assert difference[:, 16:].max() == 0
    assert np.median(difference[:, :16]) <= 1


def test_photos_are_upright_and_tell_nothing_else(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "camera of somebody"
    path = saved(Image.fromarray(pixels()), tmp_path / "a.png", exif=exif.tobytes())
    photo = OwnPhoto.open(path)
    assert photo.picture.size == (24, 32)
    result = photo.changed(photo.picture, Image.new("L", (24, 32)))
    assert np.array_equal(np.asarray(result), np.rot90(pixels(), -1))
    out = io.BytesIO()
    result.save(out, "PNG")
    assert not Image.open(out).getexif()


def test_an_alpha_channel_that_hides_nothing_changes_nothing(tmp_path: Path) -> None:
    profile = other_profile()
    path = saved(Image.fromarray(pixels()).convert("RGBA"), tmp_path / "a.png", icc_profile=profile)
    result = OwnPhoto.open(path).changed(Image.new("RGB", (32, 24), (1, 2, 3)), where())
    assert result.mode == "RGB"
    assert result.info["icc_profile"] == profile
    assert np.array_equal(np.asarray(result)[:, 16:], pixels()[:, 16:])


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_other_kinds_become_srgb(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tiff"
    Image.fromarray(pixels()).convert(mode).save(path, "TIFF")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputNotice)
        photo = OwnPhoto.open(path)
    result = photo.changed(Image.new("RGB", (32, 24), (9, 9, 9)), where())
    assert (result.mode, result.size) == ("RGB", (32, 24))
    assert np.array_equal(np.asarray(result)[:, 16:], np.asarray(photo.picture)[:, 16:])
