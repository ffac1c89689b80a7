"""Composition rules: how much each collaborator contributes to the noise estimate, pixel by pixel."""

from codiff.composition.additive import Additive, AdditiveCollaborative, GuidanceSum
from codiff.composition.base import Composition, Influences, Reweight, check_modalities
from codiff.composition.collaborative import Collaborative
from codiff.composition.fixed import Blended, Mean, Weighted
from codiff.composition.reweighting import cosine_decay, linear_decay, official_recipe, sharpened, strengthened
from codiff.composition.rules import RULES, learned_rule, learned_rules, rule
from codiff.composition.steering import InfluenceBias

__all__ = [
    "RULES",
    "Additive",
    "AdditiveCollaborative",
    "Blended",
    "Collaborative",
    "Composition",
    "GuidanceSum",
    "InfluenceBias",
    "Influences",
    "Mean",
    "Reweight",
    "Weighted",
    "check_modalities",
    "cosine_decay",
    "learned_rule",
    "learned_rules",
    "linear_decay",
    "official_recipe",
    "rule",
    "sharpened",
    "strengthened",
]
