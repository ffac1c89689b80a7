"""What was learned of a visitor's photo, kept in the session's own folder, so that the next edit of it only samples."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Sequence
from pathlib import Path

from codiff.editing import Learned, Learning
from codiff.errors import InputError
from codiff.web.storage import SessionFolder

_FOLDER = "learned"


class LearnedEdits:
    """The learned edits of one session: safetensors files, which go when the session's folder goes.

    Args:
        session: whose they are.
        weights: digest of the model's files.
        modalities: of the model.
    """

    def __init__(self, session: SessionFolder, weights: str, modalities: Sequence[str]) -> None:
        self._folder = session.path / _FOLDER
        self._weights, self._modalities = weights, list(modalities)

    def place(self, photo: str, wanted: Sequence[str], learning: Learning) -> Path:
        """Where what is learned of a photo for these modalities is, or will be.

        What was learned for more modalities serves as well, whatever the target, strength, seed and sampler.

        Args:
            photo: digest of its pixels at the model's size.
            wanted: modalities of the edit.
            learning: how it is learned.
        """
        self._folder.mkdir(mode=0o700, exist_ok=True)
        others = [modality for modality in self._modalities if modality not in wanted]
        for count in range(len(others) + 1):
            for more in itertools.combinations(others, count):
                path = self._path(photo, [*wanted, *more], learning)
                if path.exists():
                    os.utime(self._folder)  # it is still used
                    return path
        return self._path(photo, wanted, learning)

    def _path(self, photo: str, modalities: Sequence[str], learning: Learning) -> Path:
        key = json.dumps([self._weights, photo, sorted(modalities), learning.to_json()])
        return self._folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.safetensors"


def steps_left(path: Path | None, learning: Learning | None, modalities: int) -> int:
    """Steps of learning that are still to be made; 0 where nothing is to be learned.

    Args:
        path: of what is learned, see `LearnedEdits.place`.
        learning: how it is learned.
        modalities: how many are learned where there is no such file yet.
    """
    if path is None or learning is None:
        return 0
    try:
        known = Learned.load(path)
    except InputError:  # not there yet
        return (1 if learning.together else modalities) * (learning.token_steps + learning.model_steps)
    return max(0, known.total - known.done)
