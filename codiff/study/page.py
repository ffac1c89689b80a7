"""The page of a study: one HTML file that holds everything and loads nothing."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import warnings
from collections.abc import Mapping
from importlib.resources import files
from string import Template
from typing import Any, Literal

from PIL import Image

from codiff.errors import InputNotice

Coding = Literal["PNG", "JPEG"]

_LOSSLESS_SIDE = 256  # pixels; up to here 75 pictures of pure noise stay below 20 MB
_QUALITY = 95  # of JPEG, without chroma subsampling: differences between methods must not drown in those of coding


def coding_of(pictures: Mapping[str, Image.Image], size: int) -> Coding:
    """How all pictures of a study are stored: the same for every method, so that coding tells none from another."""
    return "PNG" if min(size, max(max(picture.size) for picture in pictures.values())) <= _LOSSLESS_SIDE else "JPEG"


def fitted(picture: Image.Image, size: int, resampling: Image.Resampling) -> Image.Image:
    """A picture of at most `size` pixels a side; that one is scaled down is announced by an `InputNotice`."""
    if max(picture.size) <= size:
        return picture
    warnings.warn(f"pictures are scaled down to {size} pixels", InputNotice, stacklevel=2)
    small = picture.copy()
    small.thumbnail((size, size), resampling)
    return small


def data_uri(picture: Image.Image, coding: Coding) -> str:
    """A picture as the page embeds it; of what its file said about itself nothing is kept."""
    bare = picture.convert("RGB").copy()
    bare.info = {}  # comments and profiles may name the method
    stream = io.BytesIO()
    if coding == "PNG":
        bare.save(stream, format="PNG", optimize=True)
    else:
        bare.save(stream, format="JPEG", quality=_QUALITY, subsampling=0, optimize=True)
    return f"data:image/{coding.lower()};base64,{base64.b64encode(stream.getvalue()).decode()}"


def digest(content: Mapping[str, Any]) -> str:
    """Sixteen hexadecimal digits that tell one study from every other: of all that its page shows."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def render(content: Mapping[str, Any]) -> str:
    """The HTML of a page with this content, which its script reads as JSON.

    Its Content-Security-Policy lets in nothing but the script and the style that stand in it, by their SHA-256
    digests (W3C, CSP level 3), and pictures that are embedded.
    """
    script, style = _source("page.js"), _source("page.css")
    policy = (
        f"default-src 'none'; img-src data:; script-src {_source_hash(script)}; style-src {_source_hash(style)}; "
        "base-uri 'none'; form-action 'none'"
    )
    # In HTML a data block ends at the first "</script", and "<!--" opens a comment: no "<" may stand in it.
    data = json.dumps(content, sort_keys=True).replace("<", "\\u003c")
    return Template(_source("page.html")).substitute(policy=policy, style=style, script=script, content=data)


def _source(name: str) -> str:
    return files("codiff.study").joinpath(name).read_text(encoding="utf-8")


def _source_hash(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"
