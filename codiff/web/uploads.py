"""What kinds of files may be uploaded, judged by their content and never by their names."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path

from PIL import Image

from codiff.errors import InputError
from codiff.image_files import FORMATS, looks_like
from codiff.web.limits import Limits
from codiff.web.payloads import read_json

_ZIP = b"PK\x03\x04"
_EXPANDED = 4  # times its size that a tensor's file may hold


ANY = f"a picture ({', '.join(FORMATS)}), a mask, or settings (JSON)"
"""What may be uploaded at all."""


def check_upload(path: Path, limits: Limits, wanted: str = ANY) -> None:
    """Let in pictures, JSON and tensors (`.pt`) of a bearable size; nothing is decoded to find out.

    Args:
        path: of the file.
        limits: of its size.
        wanted: what to upload instead of something else, in words.

    Raises:
        InputError: it is something else, too large, or holds too many pixels.
    """
    size = path.stat().st_size
    if size > limits.upload_bytes:
        raise InputError(f"this file has {_mega(size)}; at most {_mega(limits.upload_bytes)} can be uploaded")
    with path.open("rb") as stream:
        head = stream.read(512)
    if not head:
        raise InputError("this file is empty; export or download it again")
    if head.startswith(_ZIP):
        _check_tensor(path, size)
    elif head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"["):
        _check_json(path)
    else:
        _check_picture(path, head, limits, wanted)


def _check_picture(path: Path, head: bytes, limits: Limits, wanted: str) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of many pixels, which are counted below
            with Image.open(path, formats=FORMATS) as image:  # reads the header alone
                pixels = image.width * image.height
    except Image.DecompressionBombError as error:
        raise InputError(f"this picture has far too many pixels; at most {_million(limits.pixels)}") from error
    except Exception as error:  # decoders raise whatever a broken byte leads them to
        raise InputError(f"this file can not be used: it looks like {looks_like(head)}. Upload {wanted}") from error
    if pixels > limits.pixels:
        raise InputError(too_many_pixels(pixels, limits))


def too_many_pixels(pixels: int, limits: Limits) -> str:
    """What to tell of a picture with so many."""
    return f"this picture has {_million(pixels)}; at most {_million(limits.pixels)} can be taken: scale it down first"


def _check_json(path: Path) -> None:
    try:
        read_json(path.read_bytes())
    except InputError as error:
        raise InputError(f"this file begins like JSON, but is damaged or no settings: {error}") from error


def _check_tensor(path: Path, size: int) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        raise InputError("this file can not be used: it looks like a damaged zip archive") from error
    if not any(entry.filename.rpartition("/")[2] == "data.pkl" for entry in entries):
        raise InputError("this file can not be used: it looks like a zip archive. Unpack it, and upload a picture")
    if sum(entry.file_size for entry in entries) > _EXPANDED * size:
        raise InputError("this tensor's file is compressed; save it again with torch.save(tensor, path)")


def _mega(count: int) -> str:
    return f"{count / 2**20:.1f} MiB"


def _million(pixels: int) -> str:
    return f"{pixels / 1e6:.1f} million pixels"
