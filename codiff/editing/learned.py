"""What Imagic has learned of a picture, and its file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

import codiff
from codiff.editing.learning import Learning
from codiff.errors import InputError
from codiff.files import written_aside
from codiff.pipeline import CollaborativePipeline

_KEY = "codiff"
_FORMAT = 1
_PARTS = ("tokens", "weights", "optimizer")
_DIGESTS: WeakKeyDictionary[nn.Module, tuple[tuple[tuple[int, int], ...] | None, str]] = WeakKeyDictionary()


@dataclass
class Learned:
    """Optimised tokens and fine-tuned weights: with them, other alphas, seeds, samplers and targets only cost sampling.

    It holds what makes the person in the picture recognisable: keep it as you keep the picture.

    Attributes:
        settings: how it was learned.
        model: digest of the model that it belongs to.
        photo: digest of the picture's pixels.
        tokens: modality -> optimised tokens (1, tokens, features).
        weights: modality -> learned weights by name: LoRA's, or all.
        done: steps that were made; less than `total` after an interruption.
        optimizer: its state in the middle of a stage.
    """

    settings: Learning
    model: str
    photo: str
    tokens: dict[str, Tensor]
    weights: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    done: int = 0
    optimizer: dict[str, Tensor] = field(default_factory=dict)

    @property
    def groups(self) -> list[list[str]]:
        """Modalities that are learned at once, in order."""
        modalities = list(self.tokens)
        return [modalities] if self.settings.together else [[modality] for modality in modalities]

    @property
    def total(self) -> int:
        """Steps of both stages of all modalities."""
        return len(self.groups) * (self.settings.token_steps + self.settings.model_steps)

    @property
    def finished(self) -> bool:
        """Whether all steps were made."""
        return self.done >= self.total

    def check(self, pipe: CollaborativePipeline, photo: str, modalities: Iterable[str]) -> None:
        """Raises:
        InputError: it belongs to another model or picture, or does not know these modalities.
        """
        foreign = [modality for modality in self.tokens if modality not in pipe.collaborators]
        if foreign or self.model != model_digest(pipe, self.tokens):
            raise InputError(
                "the learned edit belongs to another model (or to this one in another precision); learn it anew"
            )
        if self.photo != photo:
            raise InputError("the learned edit belongs to another photo; give that one, or learn this one")
        unlearned = [modality for modality in modalities if modality not in self.tokens]
        if unlearned:
            raise InputError(
                f"the learned edit knows {', '.join(self.tokens)}, not {', '.join(unlearned)}; learn it anew with all "
                "modalities that are to be edited"
            )

    def save(self, path: str | Path) -> None:
        """Write a safetensors file, whole or not at all.

        Raises:
            InputError: it cannot be written.
        """
        tensors = {f"tokens.{modality}": value for modality, value in self.tokens.items()}
        for modality, weights in self.weights.items():
            tensors |= {f"weights.{modality}.{name}": value for name, value in weights.items()}
        tensors |= {f"optimizer.{name}": value for name, value in self.optimizer.items()}
        about = {
            "format": _FORMAT,
            "codiff": codiff.__version__,
            "settings": self.settings.to_json(),
            "model": self.model,
            "photo": self.photo,
            "modalities": list(self.tokens),
            "done": self.done,
        }
        plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        with written_aside(path) as temporary:
            save_file(plain, temporary, metadata={_KEY: json.dumps(about)})

    @classmethod
    def load(cls, path: str | Path) -> Learned:
        """What `save` wrote.

        Raises:
            InputError: there is no such file, or it is damaged or of another kind.
        """
        path = Path(path)
        if not path.is_file():
            raise InputError(f"there is no learned edit {path}; give the .safetensors file that an edit wrote")
        try:
            with safe_open(path, "pt") as file:
                about = json.loads((file.metadata() or {})[_KEY])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)
            if about["format"] != _FORMAT:
                raise ValueError(f"its format is {about['format']}, this version reads {_FORMAT}")
            return cls._of(about, tensors)
        except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path} is not a learned edit, or damaged ({error}); learn it anew") from error

    @classmethod
    def _of(cls, about: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Learned:
        parts: dict[str, dict[str, Tensor]] = {part: {} for part in _PARTS}
        for name, value in tensors.items():
            part, rest = name.split(".", 1)
            parts[part][rest] = value
        weights: dict[str, dict[str, Tensor]] = {}
        for name, value in parts["weights"].items():
            modality, rest = name.split(".", 1)
            weights.setdefault(modality, {})[rest] = value
        tokens = {modality: parts["tokens"][modality] for modality in about["modalities"]}
        settings = Learning(**about["settings"])
        done = int(about["done"])
        return cls(settings, about["model"], about["photo"], tokens, weights, done, parts["optimizer"])


def model_digest(pipe: CollaborativePipeline, modalities: Iterable[str]) -> str:
    """SHA-256 of the weights that an edit rests on: these modalities' collaborators and the autoencoder."""
    parts = (*(pipe.collaborators[modality] for modality in sorted(modalities)), pipe.vae)
    return hashlib.sha256(" ".join(map(_part_digest, parts)).encode()).hexdigest()


def _part_digest(part: nn.Module) -> str:
    """SHA-256 of a module's weights, which is kept as long as they are the same tensors and nobody writes into them."""
    state = sorted(part.state_dict().items())
    tracked = not any(value.is_inference() for _, value in state)
    version = tuple((value.data_ptr(), value._version) for _, value in state) if tracked else None
    known = _DIGESTS.get(part)
    if known is not None and version is not None and known[0] == version:
        return known[1]
    digest = hashlib.sha256()
    for name, value in state:
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    _DIGESTS[part] = (version, digest.hexdigest())
    return digest.hexdigest()
