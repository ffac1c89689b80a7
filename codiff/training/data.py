"""Which faces a training sees."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from codiff.data.faces import ProceduralFaces
from codiff.training.settings import Settings


class DataSettings(Settings):
    """Procedural faces and where they are cached.

    Attributes:
        size: side in pixels.
        cache: folder of the rendered faces (about 5 bytes a pixel and face; 2.3 GB for 30,000 faces at 128 pixels).
        limit: only the first so many faces.
    """

    size: int = Field(default=128, ge=32)
    cache: str = "~/.cache/codiff"
    limit: int | None = Field(default=None, gt=0)


def open_faces(settings: DataSettings, split: str) -> ProceduralFaces:
    """The cached faces of a split."""
    return ProceduralFaces(split, settings.size, limit=settings.limit).cached(Path(settings.cache).expanduser())
