"""What editors take besides a picture and its conditions, and what they return."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from PIL import Image
from torch import Tensor

from codiff.composition import Composition
from codiff.sampling import Step

if TYPE_CHECKING:
    from codiff.editing.learned import Learned

OnStep = Callable[[Step], None]
"""Called after each step of a sampling; for progress bars."""


@dataclass(frozen=True)
class Sampling:
    """How an editor samples, named as in `CollaborativePipeline.__call__`.

    Attributes:
        num_inference_steps: of the whole noise schedule; editors that begin in its middle take a share of them.
        guidance_scale: of each collaborator towards the target; 1 switches it off.
        composition: a rule over the pipeline's models; None for what its dynamic diffusers were trained for.
        eta: of DDIM, 0 to 1; editors that retrace a path take none.
    """

    num_inference_steps: int = 50
    guidance_scale: float = 1.0
    composition: Composition | None = None
    eta: float = 0.0


DEFAULT = Sampling()
"""As the pipeline samples."""


@dataclass
class Edit:
    """What an editor returns.

    Attributes:
        images: one for each generator, at the model's size.
        latents: what they were decoded from, (batch, channels, h, w).
        start: the noise, or the noised or inverted picture, that sampling began with, (batch, channels, h, w).
        region: where the picture was edited, bool (batch, 1, height, width) in pixels; None where everywhere.
        learned: tokens and weights that other edits of the same picture can reuse; None for editors that learn nothing.
        measured: numbers by name; which ones, each editor says.
    """

    images: list[Image.Image]
    latents: Tensor
    start: Tensor
    region: Tensor | None = None
    learned: Learned | None = None
    measured: dict[str, float] = field(default_factory=dict)
