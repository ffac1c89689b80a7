"""What a condition is outside the model: how it is checked, kept in records and saved as a file."""

from __future__ import annotations

import base64
import io
import math
import warnings
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from codiff.errors import InputError, InputNotice
from codiff.image_files import FORMATS, open_image, open_raw
from codiff.modalities import Modality
from codiff.modalities.mask import MASK_PALETTE, LabelMaps, read_labels, resize_labels
from codiff.modalities.sketch import LineDrawings, read_sketch
from codiff.modalities.text import TextModality
from codiff.web.limits import Limits
from codiff.web.uploads import too_many_pixels


class ConditionKind(ABC):
    """One kind of condition. What `accepted` returns is its plain form: the record gives it back to the bit."""

    name: ClassVar[str]
    ending: ClassVar[str]
    """Of the files that hold one."""

    @abstractmethod
    def accepted(self, value: Any, encoder: Modality, limits: Limits) -> Any:
        """The plain form of what a client sent; paths are never opened.

        Raises:
            InputError: it is too large, or none of this kind.
        """

    @abstractmethod
    def content(self, plain: Any) -> bytes:
        """A plain form as a file."""

    def stored(self, plain: Any) -> str:
        """A plain form as JSON can hold it."""
        return base64.b64encode(self.content(plain)).decode()

    def restored(self, stored: str) -> Any:
        """What `accepted` takes of what `stored` returned.

        Raises:
            InputError: it is not base64.
        """
        try:
            return base64.b64decode(stored, validate=True)
        except ValueError as error:
            raise InputError(f"its data are not base64 ({error})") from error


class Words(ConditionKind):
    """A text."""

    name, ending = "words", ".txt"

    def accepted(self, value: Any, encoder: Modality, limits: Limits) -> str:  # noqa: ARG002
        if not isinstance(value, str):
            raise InputError(f"words are expected, not {type(value).__name__}")
        if len(value) > limits.text:
            raise InputError(f"{len(value):,} characters are too many; write at most {limits.text:,}")
        return value

    def content(self, plain: str) -> bytes:
        return plain.encode("utf-8", errors="replace")

    def stored(self, plain: str) -> str:
        return plain

    def restored(self, stored: str) -> str:
        return stored


class Labels(ConditionKind):
    """A label map; plain: uint8 (h, h)."""

    name, ending = "labels", ".png"

    def accepted(self, value: Any, encoder: Modality, limits: Limits) -> np.ndarray:
        assert isinstance(encoder, LabelMaps)
        source = value if isinstance(value, np.ndarray) else opened_picture(value, encoder.name, limits)
        if isinstance(source, np.ndarray):
            _check_pixels(source.shape, encoder.name, limits)
        labels = read_labels(source, letterbox=encoder.letterbox, snap=encoder.snap)
        if len(labels) > limits.condition_side:
            _tell_reduced(encoder.name, len(labels), limits)
            labels = resize_labels(labels, limits.condition_side)
        return labels

    def content(self, plain: np.ndarray) -> bytes:
        picture = Image.frombytes("P", plain.shape[::-1], np.ascontiguousarray(plain).tobytes())
        picture.putpalette([value for colour in MASK_PALETTE for value in colour])
        return _png(picture)


class Drawing(ConditionKind):
    """A line drawing; plain: a picture of mode L, or RGBA where transparency may carry the lines."""

    name, ending = "drawing", ".png"

    def accepted(self, value: Any, encoder: Modality, limits: Limits) -> Image.Image:
        assert isinstance(encoder, LineDrawings)
        picture = opened_picture(value, encoder.name, limits)
        if max(picture.size) > limits.condition_side:
            lines = read_sketch(picture, limits.condition_side, encoder.letterbox)[0, 0].numpy()
            _tell_reduced(encoder.name, max(picture.size), limits)
            return Image.fromarray(np.rint(255 * (1 - lines)).astype(np.uint8))
        if picture.has_transparency_data:
            plain = picture.convert("RGBA")
            plain.info = {}
            return plain
        return open_image(picture, what=encoder.name).convert("L")

    def content(self, plain: Image.Image) -> bytes:
        return _png(plain)


class File(ConditionKind):
    """What only its encoder understands; plain: the bytes of a file."""

    name, ending = "file", ".bin"

    def accepted(self, value: Any, encoder: Modality, limits: Limits) -> bytes:
        if not isinstance(value, bytes):
            raise InputError(f"{encoder.name}: a file is expected, not {type(value).__name__}")
        _check_bytes(value, encoder.name, limits)
        return value

    def content(self, plain: bytes) -> bytes:
        return plain


def kind_of(encoder: Modality) -> ConditionKind:
    """The kind of condition that an encoder reads."""
    kinds: tuple[tuple[type[Modality], ConditionKind], ...] = (
        (TextModality, Words()),
        (LabelMaps, Labels()),
        (LineDrawings, Drawing()),
    )
    return next((kind for family, kind in kinds if isinstance(encoder, family)), File())


def opened_picture(value: Any, what: str, limits: Limits) -> Image.Image:
    """A picture that a client sent: bytes, an array or an opened image, never a path; decoded as it is stored.

    Raises:
        InputError: too large, or no picture.
    """
    if isinstance(value, bytes):
        _check_bytes(value, what, limits)
        _check_header(value, what, limits)
    elif not isinstance(value, (Image.Image, np.ndarray)):
        raise InputError(f"{what}: a picture is expected, not {type(value).__name__}")
    else:
        _check_pixels(value.shape[:2] if isinstance(value, np.ndarray) else value.size, what, limits)
    return open_raw(value, what)


def _check_header(content: bytes, what: str, limits: Limits) -> None:
    """The size that a picture claims, before it is decoded; what is no picture is refused later."""
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            size = picture.size
    except Exception:  # whatever a broken byte leads a decoder to
        return
    _check_pixels(size, what, limits)


def _check_bytes(content: bytes, what: str, limits: Limits) -> None:
    if len(content) > limits.upload_bytes:
        most = limits.upload_bytes / 2**20
        raise InputError(f"{what}: {len(content) / 2**20:.1f} MiB are too many; send at most {most:.0f} MiB")


def _check_pixels(size: tuple[int, ...], what: str, limits: Limits) -> None:
    count = math.prod(size)
    if count > limits.pixels:
        raise InputError(f"{what}: {too_many_pixels(count, limits)}")


def _tell_reduced(what: str, side: int, limits: Limits) -> None:
    message = f"{what}: reduced from {side} to {limits.condition_side} pixels"
    warnings.warn(message, InputNotice, stacklevel=2)


def _png(picture: Image.Image) -> bytes:
    content = io.BytesIO()
    picture.save(content, format="PNG", optimize=True)
    return content.getvalue()
