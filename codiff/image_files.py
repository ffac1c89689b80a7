"""The one safe way to open images: checked, decoded, converted, every adaptation announced."""

from __future__ import annotations

import io
import re
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps

from codiff.errors import InputError, InputNotice

ImageSource = str | Path | bytes | Image.Image | np.ndarray

# Pillow knows some forty formats, many of them with little-tested decoders: only what people exchange is let in.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
MAX_PIXELS = 64_000_000

_SIGNATURES = (
    (b"version https://git-lfs", "a git-LFS pointer, not the file itself; fetch it with `git lfs pull`"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a zip archive, as PyTorch files and office documents are"),
    (b"\x80", "a Python pickle (a tensor? save it again with PyTorch 1.6 or newer)"),
    (b"8BPS", "a Photoshop document"),
    (b"\x1f\x8b", "a gzip archive"),
)
_MARKUP = (
    ("<!doctype html", "an HTML page, as a failed download leaves; download it again"),
    ("<html", "an HTML page, as a failed download leaves; download it again"),
    ("<svg", "an SVG drawing"),
    ("<?xml", "an XML document, perhaps an SVG drawing"),
)


def open_image(source: ImageSource, *, what: str = "image") -> Image.Image:
    """An 8-bit sRGB image of any size, mode RGB, of a file's path or bytes, a PIL image or a uint8 array.

    Rotated as its EXIF data say, converted from CMYK and by its colour profile, 16-bit scaled, transparency flattened
    on white, the first frame of several: each such adaptation is announced by an `InputNotice`.

    Args:
        source: path, encoded bytes, PIL image, or array (h, w), (h, w, 3) or (h, w, 4) in 0..255.
        what: what the image is for; messages begin with it.

    Raises:
        InputError: no such file, not an image, damaged, or over 64 megapixels.
    """
    image = open_raw(source, what)
    label = _label(source, what)
    profile = image.info.get("icc_profile")
    image = _flatten(_eight_bit(image, label), label)
    return _to_srgb(image, profile, label)


def open_raw(source: ImageSource, what: str) -> Image.Image:
    """A decoded image in the mode it is stored in (P, L, I;16, RGBA, ...): for pictures whose values are codes.

    Takes the sources of `open_image` and raises as it does; only EXIF rotation and the choice of a frame are applied.
    """
    label = _label(source, what)
    if isinstance(source, np.ndarray):
        return _from_array(source, label)
    if isinstance(source, Image.Image):
        return _decode(source, label)
    if isinstance(source, bytes):
        return _open_stream(io.BytesIO(source), label)
    if isinstance(source, (str, Path)):
        return _open_path(Path(source), label)
    raise InputError(f"{label}: a path, bytes, a PIL image or a uint8 array is expected, not {type(source).__name__}")


def looks_like(head: bytes) -> str:
    """What a file that is not what it should be seems to hold, by its first bytes (some hundreds), for messages."""
    for signature, description in _SIGNATURES:
        if head.startswith(signature):
            return description
    if head[4:8] == b"ftyp":
        return "an HEIC, AVIF or video file"
    text = head.decode("utf-8", errors="replace").lstrip("\ufeff \t\r\n").lower()
    for start, description in _MARKUP:
        if text.startswith(start):
            return description
    readable = sum((c.isprintable() or c.isspace()) and c != "\ufffd" for c in text)
    if text and readable >= 0.95 * len(text):
        return "text"
    return "nothing that is known here"


def square(values: np.ndarray, *, letterbox: bool, fill: float, what: str) -> np.ndarray:
    """`values` (h, w), padded with `fill` to a square about their centre where `letterbox` allows it.

    Raises:
        InputError: not square, and `letterbox` is False or the square would be over 64 megapixels.
    """
    height, width = values.shape
    if height == width:
        return values
    if not letterbox:
        raise InputError(
            f"{what}: {width} x {height} pixels, but a square is expected; crop it, or pad it with letterbox=True"
        )
    side = max(height, width)
    check_pixels(side**2, f"{what}, padded to a square")  # a strip of a file can ask for a thousand times its pixels
    padded = np.full((side, side), fill, dtype=values.dtype)
    top, left = (side - height) // 2, (side - width) // 2
    padded[top : top + height, left : left + width] = values
    return padded


def check_pixels(count: int, what: str) -> None:
    """Refuse pictures without pixels or with more than `MAX_PIXELS` (InputError)."""
    if count == 0:
        raise InputError(f"{what}: it has no pixels")
    if count > MAX_PIXELS:
        raise InputError(f"{what}: {count / 1e6:.0f} MP, limit {MAX_PIXELS / 1e6:.0f} MP; scale it down first")


def _label(source: object, what: str) -> str:
    return f"{what} {str(source)[:200]!r}" if isinstance(source, (str, Path)) else what


def _from_array(array: np.ndarray, label: str) -> Image.Image:
    if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise InputError(
            f"{label}: an array of uint8 in 0..255 shaped (h, w), (h, w, 3) or (h, w, 4) is expected, "
            f"not {array.dtype} shaped {array.shape}"
        )
    check_pixels(array.shape[0] * array.shape[1], label)
    return Image.fromarray(np.ascontiguousarray(array))


def _open_path(path: Path, label: str) -> Image.Image:
    if str(path).startswith(("http:/", "https:/")):
        raise InputError(f"{label}: web addresses are not fetched; download the file and give its path")
    try:
        if path.is_dir():
            raise InputError(f"{label}: this is a folder; give the path of one image file")
        if not path.exists():
            raise InputError(f"{label}: there is no such file")
        if not path.is_file():
            raise InputError(f"{label}: this is not a regular file")
        with path.open("rb") as stream:
            return _open_stream(stream, label)
    except OSError as error:
        raise InputError(f"{label}: cannot be read: {error.strerror or error}") from error


def _open_stream(stream: BinaryIO, label: str) -> Image.Image:
    head = stream.read(512)
    stream.seek(0)
    if not head:
        raise InputError(f"{label}: the file is empty; download or export it again")
    try:
        image = Image.open(stream, formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        # Pillow's own limit, usually above ours, stops here and names the size in its message.
        found = re.search(r"(\d+) pixels", str(error))
        check_pixels(int(found[1]) if found else MAX_PIXELS + 1, label)
        raise InputError(f"{label}: above Pillow's limit, lowered in this process: {error}") from error
    except Exception as error:  # decoders raise whatever a broken byte leads them to
        raise InputError(
            f"{label}: not a readable image; it looks like {_image_or(head)}. Expected: {', '.join(FORMATS)}"
        ) from error
    return _decode(image, label)


def _image_or(head: bytes) -> str:
    known = {b"\x89PNG": "PNG", b"\xff\xd8\xff": "JPEG", b"RIFF": "WEBP", b"GIF8": "GIF", b"II*\0": "TIFF"}
    for signature, name in known.items():
        if head.startswith(signature):
            return f"a damaged {name} file; download or export it again"
    return looks_like(head)


def _decode(image: Image.Image, label: str) -> Image.Image:
    """Load the pixels of an opened image: current frame, upright."""
    check_pixels(image.width * image.height, label)  # known from the header, before anything is decoded
    try:
        animated, frame = getattr(image, "is_animated", False), image.tell()
        image.load()
    except Exception as error:  # decoders raise whatever a broken byte leads them to
        raise InputError(f"{label}: cut short or damaged ({error}); download or export it again") from error
    upright = _upright(image)
    if animated:
        warnings.warn(f"{label}: holds several pictures; number {frame + 1} is used", InputNotice, stacklevel=2)
    if upright is not image:
        warnings.warn(f"{label}: turned upright, as its EXIF data say", InputNotice, stacklevel=2)
    return upright


def _upright(image: Image.Image) -> Image.Image:
    try:
        if image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9):
            return ImageOps.exif_transpose(image)
    except Exception:  # unreadable EXIF data say nothing about the pixels, which are whole
        return image
    return image


def _eight_bit(image: Image.Image, label: str) -> Image.Image:
    if image.mode == "F":
        raise InputError(f"{label}: floating-point pixels have no agreed range; export it with 8 or 16 bits")
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image)  # (h, w); Pillow's own conversion would clip at 255
    if values.min() < 0 or values.max() > 65535:
        raise InputError(f"{label}: values {values.min()} to {values.max()} exceed 16 bits; export it with 8 or 16")
    warnings.warn(f"{label}: 16-bit values scaled to 8 bits", InputNotice, stacklevel=2)
    return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))  # 65535 = 255 * 257


def _flatten(image: Image.Image, label: str) -> Image.Image:
    """Without transparency: on white, the paper of a browser or a print."""
    if not image.has_transparency_data:
        return image
    colours = _convert(image, "RGBA", label)
    alpha = colours.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return colours.convert("RGB")
    warnings.warn(f"{label}: transparency flattened on white", InputNotice, stacklevel=2)
    paper = Image.new("RGB", colours.size, "white")
    paper.paste(colours, mask=alpha)
    return paper


def _to_srgb(image: Image.Image, profile: bytes | None, label: str) -> Image.Image:
    if image.mode in ("1", "P"):
        image = image.convert("RGB")
    converted = _by_profile(image, profile, label) if profile else None
    if converted is None:
        if image.mode not in ("L", "RGB"):
            warnings.warn(f"{label}: {image.mode} colours converted to sRGB", InputNotice, stacklevel=2)
        converted = _convert(image, "RGB", label)
    converted.info = {}  # the profile and the orientation of the source no longer hold
    return converted


def _convert(image: Image.Image, mode: str, label: str) -> Image.Image:
    try:
        return image.convert(mode)
    except ValueError as error:
        raise InputError(f"{label}: {image.mode} colours cannot be converted; export it as RGB") from error


def _by_profile(image: Image.Image, profile: bytes, label: str) -> Image.Image | None:
    """Converted to sRGB by the embedded colour profile; None where that is broken, does not fit or is sRGB already."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        description = ImageCms.getProfileDescription(source).strip()
        if image.mode == "RGB" and description.startswith("sRGB"):
            return None
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        warnings.warn(f"{label}: its colour profile is unusable and ignored", InputNotice, stacklevel=2)
        return None
    warnings.warn(f"{label}: converted to sRGB from the colour profile {description!r}", InputNotice, stacklevel=2)
    return converted
