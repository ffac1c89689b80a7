"""What is compared: every collaborator alone, and every rule of composition over all of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import torch

from codiff.composition import RULES, Composition, Mean, Weighted, learned_rules, rule
from codiff.errors import InputError
from codiff.evaluation.benchmark_data import Case
from codiff.pipeline import CollaborativePipeline

WEIGHTED = "weighted"
_ALONE = "-alone"


@dataclass(frozen=True)
class Method:
    """One row of a table.

    Attributes:
        name: also the name of its folder of pictures.
        rule: name in `codiff.composition.RULES`, or "weighted".
        modalities: whose conditions it is given.
        guidance: scale of classifier-free guidance.
        weights: of "weighted", modality -> influence; None where the rule has none.
    """

    name: str
    rule: str
    modalities: tuple[str, ...]
    guidance: float = 1.0
    weights: tuple[tuple[str, float], ...] | None = None

    @property
    def is_single(self) -> bool:
        """Whether one collaborator works alone."""
        return len(self.modalities) == 1

    def composition(self, pipe: CollaborativePipeline) -> Composition:
        """The rule over a pipeline's models.

        Raises:
            InputError: the models do not support it.
        """
        if self.is_single:
            return Mean(pipe.collaborators)
        if self.rule == WEIGHTED:
            weights = dict(self.weights or ((modality, 1.0) for modality in self.modalities))
            return Weighted(pipe.collaborators, weights)
        return rule(self.rule, pipe.collaborators, pipe.dynamic_diffusers or {})

    def described(self) -> str:
        """What was chosen for it, as in "guidance 2, text 0.5, mask 0.5"."""
        weights = ", ".join(f"{modality} {weight:.3g}" for modality, weight in self.weights or ())
        return f"guidance {self.guidance:g}" + (f"; {weights}" if weights else "")


def leads_of(pipe: CollaborativePipeline) -> tuple[str, ...]:
    """The rules that a model's dynamic diffusers were trained for, its default first: what others are compared with."""
    return learned_rules(pipe.dynamic_diffusers or {})


def methods_of(
    pipe: CollaborativePipeline, example: Case, wanted: Sequence[str] | None = None
) -> tuple[list[Method], dict[str, str]]:
    """The methods that a model supports, and why others are left out.

    Args:
        example: any case; each rule is tried on its conditions.
        wanted: names; all without.

    Raises:
        InputError: a name that there is not, or that the model does not support.
    """
    modalities = tuple(pipe.modalities)
    known = {f"{modality}{_ALONE}": Method(f"{modality}{_ALONE}", "mean", (modality,)) for modality in modalities}
    if len(modalities) > 1:
        names = ["mean", WEIGHTED, *(name for name in RULES if name != "mean")]
        known |= {name: Method(name, name, modalities) for name in names}
    if wanted is not None and not wanted:
        raise InputError(f"no method is named; this model has {', '.join(known)}")
    for name in wanted or ():
        if name not in known:
            raise InputError(f"unknown method {name!r}; this model has {', '.join(known)}")
    chosen = list(known) if wanted is None else [name for name in known if name in wanted]
    refused = {name: reason for name in chosen if (reason := _refusal(pipe, known[name], example))}
    if wanted is not None and refused:
        name, reason = next(iter(refused.items()))
        raise InputError(f"method {name!r} cannot be measured: {reason}")
    return [known[name] for name in chosen if name not in refused], refused


@torch.no_grad()
def _refusal(pipe: CollaborativePipeline, method: Method, example: Case) -> str | None:
    """Why a model does not support a method; None where it does."""
    try:
        composition = method.composition(pipe)
        if composition.needs_unconditional and not pipe.config.condition_dropout:
            return "the model was trained without condition dropout, so it has no unconditional estimate"
        tokens = pipe.collaborators.encode(conditions_of(method.modalities, [example]))
        latents = torch.zeros(1, *pipe.latent_shape, dtype=pipe.collaborators.dtype, device=pipe.device)
        tokens = {modality: value.to(pipe.device) for modality, value in tokens.items()}
        composition.influences(latents, torch.zeros(1, dtype=torch.long, device=pipe.device), tokens)
    except InputError as error:
        return str(error)
    return None


def conditions_of(modalities: Sequence[str], cases: Sequence[Case]) -> dict[str, list[object]]:
    """Raw conditions of these modalities, as a pipeline takes them.

    Raises:
        InputError: the cases lack one of the modalities.
    """
    for modality in modalities:
        if modality not in cases[0].conditions:
            raise InputError(f"the data have no {modality}; they have {', '.join(cases[0].conditions)}")
    return {modality: [case.conditions[modality] for case in cases] for modality in modalities}


def simplex(modalities: Sequence[str], parts: int) -> list[tuple[tuple[str, float], ...]]:
    """Weights that are multiples of 1 / parts and sum to 1, without those that leave a single modality."""

    def rest(count: int, left: int) -> list[tuple[int, ...]]:
        if count == 1:
            return [(left,)]
        return [(first, *others) for first in range(left + 1) for others in rest(count - 1, left - first)]

    grid = [shares for shares in rest(len(modalities), parts) if sum(share > 0 for share in shares) > 1]
    return [
        tuple((modality, share / parts) for modality, share in zip(modalities, shares, strict=True)) for shares in grid
    ]


def digest(*methods: Method) -> str:
    """Names methods with their scales and weights."""
    told = json.dumps([asdict(method) for method in methods], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:12]


def as_json(method: Method) -> Mapping[str, object]:
    """What a report records of a method."""
    weights = None if method.weights is None else dict(method.weights)
    return {"rule": method.rule, "modalities": list(method.modalities), "guidance": method.guidance, "weights": weights}
