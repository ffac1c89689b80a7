"""Rules by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from codiff.composition.additive import AdditiveCollaborative, GuidanceSum
from codiff.composition.base import Composition
from codiff.composition.collaborative import FITTING, Collaborative
from codiff.composition.fixed import Mean
from codiff.composition.reweighting import official_recipe
from codiff.denoiser import Denoiser
from codiff.dynamic_diffuser import DynamicDiffuser
from codiff.errors import InputError

RULES: dict[str, Callable[[Mapping[str, Denoiser], Mapping[str, DynamicDiffuser]], Composition]] = {
    "collaborative": Collaborative,
    "additive": AdditiveCollaborative,
    "mean": lambda collaborators, _: Mean(collaborators),
    "guidance-sum": lambda collaborators, _: GuidanceSum(collaborators),
    "official": partial(Collaborative, reweight=official_recipe),
    "no-spatial": partial(Collaborative, spatial_variation=False),
    "no-temporal": partial(Collaborative, influence_timestep=500),
    "no-spatial-no-temporal": partial(Collaborative, spatial_variation=False, influence_timestep=500),
}
"""Rules that need nothing but the models, by name. `no-temporal` asks the dynamic diffusers at mid-schedule."""


def rule(
    name: str, collaborators: Mapping[str, Denoiser], dynamic_diffusers: Mapping[str, DynamicDiffuser]
) -> Composition:
    """The rule of `RULES` with this name over these models.

    Raises:
        InputError: unknown name, or a rule that these dynamic diffusers were not trained for.
    """
    if name not in RULES:
        raise InputError(f"unknown composition {name!r}; known: {', '.join(RULES)}")
    return RULES[name](collaborators, dynamic_diffusers)


def learned_rules(dynamic_diffusers: Mapping[str, DynamicDiffuser]) -> tuple[str, ...]:
    """Names of the rules that these dynamic diffusers were trained for, the default first; "collaborative" where there
    are none."""
    trained = sorted({dynamic_diffusers[modality].config.activation for modality in dynamic_diffusers})
    return FITTING[trained[0]] if trained else FITTING["softmax"]


def learned_rule(dynamic_diffusers: Mapping[str, DynamicDiffuser]) -> str:
    """Name of the rule that these dynamic diffusers were trained for, of two the default."""
    return learned_rules(dynamic_diffusers)[0]
