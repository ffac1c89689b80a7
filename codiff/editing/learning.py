"""How Imagic learns a picture."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from codiff.errors import InputError
from codiff.pipeline import CollaborativePipeline

_SMALL = 50_000_000  # parameters of a collaborator: below, steps are cheap and rates may be high


@dataclass(frozen=True)
class Learning:
    """The two stages that learn a picture (Huang et al., arXiv:2304.10530, algorithm 3; Kawar et al., "Imagic", 2023,
    arXiv:2210.09276, section 3.2). The defaults are the published ones, but for LoRA.

    Attributes:
        token_steps, token_rate: stage A, the tokens: Adam steps and learning rate.
        model_steps, model_rate: stage B, the collaborator.
        rank: of the LoRA matrices (Hu et al., arXiv:2106.09685) in all linear layers and convolutions that stage B
            learns; None fine-tunes all of the collaborator's UNet.
        batch_size: noises and timesteps that the loss of a step is averaged over.
        together: one loss of the composition for all modalities at once instead of one after another.
        seed: of noises, timesteps and LoRA's initial values.
    """

    token_steps: int = 500
    token_rate: float = 1e-3
    model_steps: int = 1000
    model_rate: float = 1e-4
    rank: int | None = 8
    batch_size: int = 1
    together: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"token_steps": 0, "model_steps": 0, "batch_size": 1, "seed": 0, "rank": 1}
        for name, lowest in least.items():
            value = getattr(self, name)
            if name == "rank" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
                raise InputError(f"{name} must be a whole number from {lowest} on, not {value!r}")
        for name in ("token_rate", "model_rate"):
            rate = getattr(self, name)
            if not isinstance(rate, (int, float)) or not (math.isfinite(rate) and rate > 0):
                raise InputError(f"{name} must be a positive number, not {rate!r}")

    def to_json(self) -> dict[str, Any]:
        """All settings by name."""
        return asdict(self)


PUBLISHED = Learning(model_rate=1e-6, rank=None)
"""What the published editing scripts do: 500 steps at 1e-3, 1,000 steps of the whole UNet at 1e-6, batches of one."""

_SMALL_LORA = Learning(token_steps=60, token_rate=2e-2, model_steps=40, model_rate=1e-3, rank=8, batch_size=4)
_SMALL_FULL = Learning(token_steps=60, token_rate=2e-2, model_steps=40, model_rate=1e-4, rank=None, batch_size=4)


def learning_for(pipe: CollaborativePipeline, *, full: bool = False) -> Learning:
    """Settings that suit a model's size: the published ones for large collaborators; fewer, larger steps for such as
    the demo model's.

    Args:
        full: fine-tune the whole UNet instead of LoRA matrices.
    """
    first = pipe.collaborators[pipe.modalities[0]]
    small = sum(value.numel() for value in first.parameters()) < _SMALL
    if full:
        return _SMALL_FULL if small else PUBLISHED
    return _SMALL_LORA if small else Learning()
