"""What a model leaves to choose, and what it takes where nothing is chosen."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from codiff.cli.generate import GUIDANCE
from codiff.cli.schedulers import SCHEDULERS, name_of, scheduler_named
from codiff.composition import RULES, AdditiveCollaborative, Collaborative, learned_rule, rule
from codiff.errors import InputError
from codiff.pipeline import CollaborativePipeline


@dataclass(frozen=True)
class Choices:
    """Of one model; the first of each is its own.

    Attributes:
        schedulers: short names.
        compositions: names of the rules that its dynamic diffusers fit.
        guidance: scale.
    """

    schedulers: tuple[str, ...]
    compositions: tuple[str, ...]
    guidance: float


def choices_of(pipe: CollaborativePipeline) -> Choices:
    """What this model leaves to choose."""
    fitting = [name for name in RULES if _fits(pipe, name)]
    own = learned_rule(pipe.dynamic_diffusers) if pipe.dynamic_diffusers else "mean"
    return Choices(
        tuple(dict.fromkeys([name_of(pipe.scheduler), *SCHEDULERS])),
        tuple(dict.fromkeys([own, *fitting])),
        GUIDANCE if pipe.config.condition_dropout else 1.0,
    )


def with_scheduler(pipe: CollaborativePipeline, name: str) -> CollaborativePipeline:
    """The same models under the scheduler of this name; `pipe`, which others draw with meanwhile, stays as it is."""
    own = copy.copy(pipe)
    own.register_modules(scheduler=scheduler_named(name if name in SCHEDULERS else None, pipe.scheduler))
    return own


def _fits(pipe: CollaborativePipeline, name: str) -> bool:
    try:
        composition = rule(name, pipe.collaborators, pipe.dynamic_diffusers or {})
    except InputError:
        return False
    predicted = isinstance(composition, Collaborative | AdditiveCollaborative)
    missing = predicted and pipe.dynamic_diffusers is None
    return not missing and (pipe.config.condition_dropout or not composition.needs_unconditional)
