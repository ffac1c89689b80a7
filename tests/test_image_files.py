import io
import os
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from codiff.errors import InputError, InputNotice
from codiff.image_files import looks_like, open_image, open_raw, square


def encoded(image: Image.Image, image_format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()


def gradient(mode: str = "RGB") -> Image.Image:
    rows, columns = np.mgrid[0:12, 0:16] * 16
    return Image.fromarray(np.stack([rows, columns, 255 - rows], axis=2).astype(np.uint8)).convert(mode)


def png_header(width: int, height: int) -> bytes:
    """A PNG that announces its size and breaks off: whoever decodes it fails."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0"))


def swapped_profile() -> bytes:
    """sRGB's profile with its red and green primaries exchanged, under another name."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace(b"rXYZ", b"????", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"????", b"gXYZ", 1)
    return profile.replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be"))


@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "BMP", "TIFF"])
def test_reads_lossless_formats_exactly(image_format: str, tmp_path: Path) -> None:
    options = {"lossless": True} if image_format == "WEBP" else {}
    path = tmp_path / "picture"
    path.write_bytes(encoded(gradient(), image_format, **options))
    for source in (path, str(path), path.read_bytes(), gradient(), np.asarray(gradient())):
        image = open_image(source)
        assert image.mode == "RGB"
        assert np.array_equal(np.asarray(image), np.asarray(gradient()))


def test_reads_jpeg_and_gif() -> None:
    assert open_image(encoded(gradient(), "JPEG")).size == (16, 12)
    assert open_image(encoded(gradient("P"), "GIF")).mode == "RGB"


@pytest.mark.parametrize(("shape", "mode"), [((4, 5), "L"), ((4, 5, 3), "RGB"), ((4, 5, 4), "RGBA")])
def test_raw_arrays_keep_their_mode(shape: tuple[int, ...], mode: str) -> None:
    image = open_raw(np.full(shape, 7, np.uint8), "mask")
    assert (image.mode, image.size) == (mode, (5, 4))


@pytest.mark.parametrize("mode", ["P", "L", "1", "RGBA", "I;16"])
def test_raw_files_keep_their_mode(mode: str) -> None:
    image = Image.fromarray(np.full((3, 3), 500, np.uint16)) if mode == "I;16" else gradient(mode)
    raw = open_raw(encoded(image, "PNG"), "mask")
    assert raw.mode == mode
    assert np.array_equal(np.asarray(raw), np.asarray(image))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "an HTML page"),
        (b"\n<html lang=en>", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "git lfs pull"),
        (b"just a few words", "looks like text"),
        ("ein Bildchen für Zoë".encode(), "looks like text"),
        (b"<?xml version='1.0'?><svg/>", "an XML document"),
        (b"%PDF-1.7", "a PDF"),
        (b"PK\x03\x04", "a zip archive"),
        (b"\x00\x00\x00\x18ftypheic", "HEIC"),
        (bytes(range(128, 256)), "a Python pickle"),
        (bytes(64), "nothing that is known"),
        (b"\x89PNG\r\n\x1a\n", "a damaged PNG"),
    ],
)
def test_says_what_a_file_is_instead_of_an_image(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "face.png"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as failure:
        open_image(path)
    assert "face.png" in str(failure.value)


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"])
def test_refuses_files_that_are_cut_short(image_format: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    whole = encoded(Image.fromarray(noise), image_format)
    with pytest.raises(InputError, match="damaged"):
        open_image(whole[: len(whole) // 2])


def test_refuses_formats_outside_the_list() -> None:
    with pytest.raises(InputError, match="PNG, JPEG, WEBP, BMP, TIFF, GIF"):
        open_image(encoded(gradient(), "PPM"))


# Pillow warns from 89 megapixels on and refuses from 179 on; ours is the lower limit.
@pytest.mark.parametrize(("side", "megapixels"), [(8_100, 66), (10_000, 100), (20_000, 400)])
def test_refuses_huge_images_before_decoding(side: int, megapixels: int) -> None:
    with pytest.raises(InputError, match=f"{megapixels} MP, limit 64 MP"):
        open_image(png_header(side, side))


def test_refuses_what_exceeds_a_lower_limit_of_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(InputError, match="Pillow's limit"):
        open_image(encoded(gradient(), "PNG"))


def test_refuses_paths_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        open_image(tmp_path / "missing.png")
    with pytest.raises(InputError, match="a folder"):
        open_image(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        open_image("nul\0byte.png")
    with pytest.raises(InputError, match="cannot be read"):
        open_image("x" * 5000)
    with pytest.raises(InputError, match="not fetched"):
        open_image("https://example.org/face.png")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(InputError, match="not a regular file"):
            open_image(tmp_path / "pipe")


@pytest.mark.parametrize(
    "source",
    [
        np.zeros((4, 4), np.float32),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((2, 4, 4, 3), np.uint8),
        np.zeros((0, 4), np.uint8),
        Image.new("RGB", (0, 3)),
        42,
        None,
    ],
)
def test_refuses_what_is_no_picture(source: Any) -> None:
    with pytest.raises(InputError, match="photo: "):
        open_image(source, what="photo")


def test_turns_photos_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees
    with pytest.warns(InputNotice, match="upright"):
        image = open_image(encoded(gradient(), "PNG", exif=exif.tobytes()))
    assert np.array_equal(np.asarray(image), np.rot90(np.asarray(gradient()), k=-1))


def test_unreadable_exif_data_do_not_stop_a_photo() -> None:
    assert open_image(encoded(gradient(), "PNG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")).size == (16, 12)


def test_takes_the_first_frame() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime")]
    animation = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    with pytest.warns(InputNotice, match="number 1 is used"):
        image = open_image(animation)
    assert image.getpixel((0, 0)) == (255, 0, 0)


def test_scales_16_bit_values() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    with pytest.warns(InputNotice, match="16-bit"):
        grey = np.asarray(open_image(encoded(Image.fromarray(ramp), "PNG")))[..., 0]
    assert np.array_equal(grey, np.arange(256).reshape(16, 16))


@pytest.mark.parametrize("values", [np.full((2, 2), 70000, np.int32), np.full((2, 2), 0.5, np.float32)])
def test_refuses_values_without_an_agreed_range(values: np.ndarray) -> None:
    with pytest.raises(InputError, match="8 or 16"):
        open_image(Image.fromarray(values))


def test_flattens_transparency_on_white() -> None:
    pixels = np.array([[[0, 0, 0, 0], [0, 0, 0, 255], [255, 0, 0, 127]]], np.uint8)
    with pytest.warns(InputNotice, match="white"):
        image = open_image(encoded(Image.fromarray(pixels), "PNG"))
    assert np.asarray(image)[0].tolist() == [[255, 255, 255], [0, 0, 0], [255, 128, 128]]
    assert open_image(encoded(gradient("RGBA"), "PNG")).mode == "RGB"  # opaque: nothing to tell


def test_converts_cmyk() -> None:
    with pytest.warns(InputNotice, match="CMYK"):
        image = open_image(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "TIFF"))
    assert image.getpixel((0, 0)) == (255, 0, 0)


def test_converts_by_the_colour_profile() -> None:
    red = Image.new("RGB", (8, 8), (255, 0, 0))
    with pytest.warns(InputNotice, match="'test built-in'"):
        image = open_image(encoded(red, "PNG", icc_profile=swapped_profile()))
    assert image.getpixel((0, 0)) == (0, 255, 0)
    assert "icc_profile" not in image.info
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert open_image(encoded(red, "PNG", icc_profile=profile)).getpixel((0, 0)) == (255, 0, 0)
    with pytest.warns(InputNotice, match="unusable"):
        assert open_image(encoded(red, "PNG", icc_profile=b"nonsense")).getpixel((0, 0)) == (255, 0, 0)


def test_leaves_the_image_it_is_given_alone() -> None:
    given_image = gradient()
    given_image.info["icc_profile"] = b"nonsense"
    with pytest.warns(InputNotice, match="unusable"):
        open_image(given_image).putpixel((0, 0), (1, 2, 3))
    assert given_image.getpixel((0, 0)) == gradient().getpixel((0, 0))
    assert given_image.info == {"icc_profile": b"nonsense"}


FUZZED = {
    name: encoded(gradient("P" if name == "GIF" else "RGB"), name)
    for name in ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
}


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(FUZZED)), st.lists(st.tuples(st.integers(0, 10_000), st.binary(min_size=1, max_size=4))))
def test_damaged_files_raise_nothing_but_input_errors(name: str, damage: list[tuple[int, bytes]]) -> None:
    content = bytearray(FUZZED[name])
    for position, value in damage:
        start = position % len(content)
        content[start : start + len(value)] = value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputNotice)
        try:
            image = open_image(bytes(content))
        except InputError:
            return
    assert image.mode == "RGB"


@given(st.binary(max_size=600))
def test_every_head_is_described(head: bytes) -> None:
    assert looks_like(head)


def test_squares_are_kept_and_others_padded_about_the_centre() -> None:
    wide = np.ones((2, 4), np.uint8)
    with pytest.raises(InputError, match="4 x 2 pixels, but a square is expected"):
        square(wide, letterbox=False, fill=0, what="mask")
    assert square(wide, letterbox=True, fill=0, what="mask").tolist() == [[0] * 4, [1] * 4, [1] * 4, [0] * 4]
    assert square(wide.T, letterbox=True, fill=0, what="mask").shape == (4, 4)
    with pytest.raises(InputError, match="mask, padded to a square: 400 MP, limit 64 MP"):
        square(np.ones((2, 20_000), np.uint8), letterbox=True, fill=0, what="mask")
    assert square(wide[:, :2], letterbox=False, fill=0, what="mask").tolist() == [[1, 1], [1, 1]]
