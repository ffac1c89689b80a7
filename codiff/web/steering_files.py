"""Steering as the files that `codiff generate --steer` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codiff.cli.outputs import slug
from codiff.composition import InfluenceBias
from codiff.files import write_json, written_aside

STEERING_FILE = "steering.json"

_FULL = 140  # levels between red and blue of 1, as `codiff.cli.steering.bias_values` reads them


def write_steering(folder: Path, bias: InfluenceBias) -> list[Path]:
    """The steering and its maps as files of one folder; maps to 1/140 of their largest value.

    Raises:
        InputError: a curve is a function, or a file cannot be written.
    """
    table, maps = {}, []
    for modality in bias.modalities:
        entry: dict[str, Any] = {"strength": bias.strengths.get(modality, 0.0)}
        curve, plane = bias.curves.get(modality), bias.maps.get(modality)
        if curve is not None and not callable(curve):
            entry["curve"] = [list(point) for point in curve]
        if plane is not None and bool(plane.any()):
            scale = float(plane.abs().max())
            path = folder / f"steering-{slug(modality) or 'map'}.png"
            with written_aside(path) as temporary:
                _picture(plane.numpy() / scale).save(temporary, format="PNG", optimize=True)
            entry |= {"map": path.name, "scale": scale}
            maps.append(path)
        table[modality] = entry
    path = folder / STEERING_FILE
    write_json(path, table)
    return [path, *maps]


def _picture(values: NDArray[np.floating]) -> Image.Image:
    """Values (h, w) in [-1, 1]: red raises, blue lowers."""
    levels = np.rint(values * _FULL)
    planes = [np.maximum(levels, 0), np.zeros_like(levels), np.maximum(-levels, 0)]
    return Image.fromarray(np.stack(planes, axis=-1).astype(np.uint8))
