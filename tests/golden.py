"""The recorded numbers of the published code: where they lie, and a model converted from their checkpoints."""

import os
import re
import subprocess
import sys
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from codiff import Collaborative, CollaborativePipeline
from codiff.convert import convert, yaml_description

SHARED = Path(__file__).parents[2] / "shared"
FOLDER = Path(os.environ.get("CODIFF_GOLDEN", SHARED / "reference" / "golden"))
"""CODIFF_GOLDEN runs the suite on another set of the same format."""

REAL = SHARED / "real"
ABSENT = f"the recorded numbers are not here ({FOLDER})"

requires_golden = pytest.mark.skipif(not FOLDER.is_dir(), reason=ABSENT)


class Golden:
    """One set of checkpoints and recorded numbers."""

    def __init__(self, folder: Path) -> None:
        self.config = next((FOLDER / "configs").glob("*_codiff_*.yaml"))
        self.name = re.sub(r"_codiff_.*", "", self.config.stem)
        self.checkpoints = folder / "checkpoints"
        command = [sys.executable, str(FOLDER / "make_tiny_ckpts.py"), str(self.checkpoints)]
        subprocess.run(command, check=True, capture_output=True)
        self.model = folder / "model"
        convert(self.checkpoints, self.model, yaml_description(self.config), name=self.name)

    def expected(self, file: str) -> dict[str, Tensor]:
        return load_file(FOLDER / "expected" / f"{file}.safetensors")

    @cached_property
    def pipe(self) -> CollaborativePipeline:
        pipe = CollaborativePipeline.from_pretrained(self.model)
        pipe.set_progress_bar_config(disable=True)
        return pipe

    def fresh(self) -> CollaborativePipeline:
        """The model once more, to be trained."""
        return CollaborativePipeline.from_pretrained(self.model)

    @cached_property
    def tokens(self) -> dict[str, Tensor]:
        """Tokens of the recorded conditions, two of each."""
        with torch.no_grad():
            text = self.pipe.collaborators["text"].encode(self.ids)
            mask = self.pipe.collaborators["mask"].encode(self.one_hot)
        return {"text": text, "mask": mask.expand(len(text), *mask.shape[1:])}

    @cached_property
    def ids(self) -> Tensor:
        return self.expected("text")["token_ids"]

    @cached_property
    def one_hot(self) -> Tensor:
        return self.expected("mask")["one_hot"].long()

    def composition(self, **settings: Any) -> Collaborative:
        return Collaborative(self.pipe.collaborators, self.pipe.dynamic_diffusers, **settings)


def distance(found: Tensor, expected: Tensor) -> float:
    """Relative L2."""
    assert found.shape == expected.shape
    return float((found.double() - expected.double()).norm() / expected.double().norm())


EXACT, CLOSE, GRADIENTS = 1e-6, 2e-5, 1e-4
"""Relative L2 that the recording's authors suggest: for text, masks and schedules; for estimates, influences,
trajectories and the autoencoder; for gradient norms."""
