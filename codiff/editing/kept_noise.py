"""The noise that leads to a learned photo, in a file beside what was learned, so that it is found only once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from codiff.files import written_aside

_NAME = "noise"


def noise_file(learned: Path, rule: str, modalities: Iterable[str], steps: int) -> Path:
    """Where that noise is, or will be: learning anew, even under the same name, gives another place.

    Args:
        learned: file of what was learned to the end.
        rule: tells the model and the composition that were asked.
        modalities: that were asked.
        steps: of the inversion.
    """
    with learned.open("rb") as stream:
        content = hashlib.file_digest(stream, "sha256").hexdigest()
    key = hashlib.sha256(json.dumps([content, rule, sorted(modalities), steps]).encode()).hexdigest()
    return learned.with_name(f"{learned.stem}-{key[:16]}-noise.safetensors")


def known_noise(path: Path) -> Tensor | None:
    """What `keep_noise` wrote, on the CPU; None where there is no such file, or a damaged one."""
    try:
        return load_file(path)[_NAME]
    except (OSError, SafetensorError, KeyError):
        return None


def keep_noise(path: Path, noise: Tensor) -> None:
    """Write noise (1, channels, h, w), whole or not at all.

    Raises:
        InputError: it cannot be written.
    """
    with written_aside(path) as temporary:
        save_file({_NAME: noise.detach().cpu().contiguous()}, temporary)
