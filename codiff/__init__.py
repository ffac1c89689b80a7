"""Collaborative diffusion: models trained separately, one a modality, generate an image together."""

from codiff.autoencoder import StemAutoencoderKL
from codiff.collaborator import Collaborator, Collaborators
from codiff.composition import (
    Additive,
    AdditiveCollaborative,
    Blended,
    Collaborative,
    Composition,
    GuidanceSum,
    InfluenceBias,
    Mean,
    Weighted,
    cosine_decay,
    linear_decay,
    official_recipe,
    sharpened,
    strengthened,
)
from codiff.denoiser import Conditions, Denoiser, DenoiserOutput
from codiff.dynamic_diffuser import DynamicDiffuser, DynamicDiffusers
from codiff.errors import InputError, InputNotice
from codiff.guidance import Guidance
from codiff.loss import denoising_loss
from codiff.modalities import Modality
from codiff.pipeline import CollaborativePipeline, CollaborativePipelineOutput, generators
from codiff.recognition import AttributeClassifier, FaceParser
from codiff.sampling import Step, sample

__version__ = "0.1.0"

__all__ = [
    "Additive",
    "AdditiveCollaborative",
    "AttributeClassifier",
    "Blended",
    "Collaborative",
    "CollaborativePipeline",
    "CollaborativePipelineOutput",
    "Collaborator",
    "Collaborators",
    "Composition",
    "Conditions",
    "Denoiser",
    "DenoiserOutput",
    "DynamicDiffuser",
    "DynamicDiffusers",
    "FaceParser",
    "Guidance",
    "GuidanceSum",
    "InfluenceBias",
    "InputError",
    "InputNotice",
    "Mean",
    "Modality",
    "StemAutoencoderKL",
    "Step",
    "Weighted",
    "cosine_decay",
    "denoising_loss",
    "generators",
    "linear_decay",
    "official_recipe",
    "sample",
    "sharpened",
    "strengthened",
]
