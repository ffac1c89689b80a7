"""How much a visitor may ask for: components of the page show these limits, the server enforces them."""

from __future__ import annotations

from dataclasses import dataclass, fields

from codiff.errors import InputError


@dataclass(frozen=True)
class Limits:
    """All of them at least 1.

    Attributes:
        images: of one request.
        steps: denoising steps.
        guidance: largest scale; the least is 0.
        text: characters of a caption.
        upload_bytes: of one uploaded file.
        pixels: of one uploaded picture.
        painter_side: pixels along the side of what is painted.
        condition_side: pixels along the side of a condition; larger ones are reduced.
        record_bytes: of a JSON file that is loaded.
        queue: requests that wait, beyond those that are worked on.
        workers: requests that are worked on at once.
        run_seconds: that one request may take, waiting excluded.
        silent_seconds: after which a request that nobody listens to any more is given up.
        keep_seconds: that files live.
        stored_bytes: of all files together, beyond which no more are taken in.
    """

    images: int = 8
    steps: int = 100
    guidance: float = 20.0
    text: int = 2000
    upload_bytes: int = 12 * 2**20
    pixels: int = 16_000_000
    painter_side: int = 512
    condition_side: int = 1024
    record_bytes: int = 32 * 2**20
    queue: int = 20
    workers: int = 1
    run_seconds: float = 600
    silent_seconds: float = 20
    keep_seconds: float = 3600
    stored_bytes: int = 4 * 2**30

    def __post_init__(self) -> None:
        """Raises:
        InputError: one of them is less than 1.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 1:
                raise InputError(f"the limit {field.name} must be at least 1, not {value!r}")
