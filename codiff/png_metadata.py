"""PNGs that say how they were made."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

METADATA_KEY = "codiff"


def png_with(picture: Image.Image, metadata: Mapping[str, Any]) -> bytes:
    """A PNG with metadata as JSON in a tEXt chunk."""
    info, png = PngImagePlugin.PngInfo(), io.BytesIO()
    info.add_text(METADATA_KEY, json.dumps(metadata))
    picture.save(png, format="PNG", pnginfo=info)
    return png.getvalue()


def read_metadata(path: Path) -> dict[str, Any]:
    """What `png_with` wrote beside a picture; empty where there is nothing, or no whole picture."""
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            picture.load()
            metadata = json.loads(picture.info.get(METADATA_KEY, "{}"))
    except (OSError, ValueError, SyntaxError):
        return {}
    return metadata if isinstance(metadata, dict) else {}
