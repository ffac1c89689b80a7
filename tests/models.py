"""Tiny real models for the tests: latents of 4 channels and 4 x 4 pixels, pictures of 32 x 32."""

from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler
from torch import Tensor

from codiff import CollaborativePipeline, Collaborator, Collaborators, DynamicDiffuser, DynamicDiffusers
from codiff.dynamic_diffuser import HEADS
from codiff.modalities.text import train_tokenizer

MODALITIES = ("text", "mask", "sketch")
CHANNELS, SIDE, PIXELS, FEATURES = 4, 4, 32, 8
CAPTIONS = (
    "this man has a long beard and is in his sixties",
    "a young woman",
    "the child has no beard",
    "a man with stubble in his thirties",
)
UNET: dict[str, Any] = {
    "sample_size": SIDE,
    "in_channels": CHANNELS,
    "out_channels": CHANNELS,
    "block_out_channels": [8, 16],
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "mid_block_type": None,
    "up_block_types": ["UpBlock2D", "UpBlock2D"],
    "cross_attention_dim": FEATURES,
    "attention_head_dim": 4,
}
DYNAMIC_UNET = {**UNET, "out_channels": 1}
ENCODERS: dict[str, dict[str, Any]] = {
    "text": {"vocab_size": 40, "max_tokens": 16, "features": FEATURES, "layers": 1, "heads": 2, "head_dim": 4},
    "mask": {"size": PIXELS, "features": FEATURES, "channels": 4, "downsample": 8},
    "sketch": {"size": PIXELS, "features": FEATURES, "channels": 4, "downsample": 8},
}
SCHEDULE: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.0015,
    "beta_end": 0.0195,
    "beta_schedule": "scaled_linear",
}


def collaborator(modality: str, *, seed: int = 0, encoder_name: str | None = None, spatial: int = 0) -> Collaborator:
    """A random collaborator; `encoder_name` gives any modality the encoder of one of `ENCODERS`."""
    kind = encoder_name or modality
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Collaborator(modality, ENCODERS[kind], UNET, encoder_name, spatial)
    if kind == "text":
        model.encoder.tokenizer = train_tokenizer(CAPTIONS, ENCODERS["text"]["vocab_size"])
    return model.eval()


def dynamic_diffuser(*, seed: int = 0, spatial: int = 0, activation: str = "softmax") -> DynamicDiffuser:
    """A random dynamic diffuser, with logits large enough for influences far from equal."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        unet_config = {**DYNAMIC_UNET, "out_channels": len(HEADS[activation])}
        model = DynamicDiffuser(unet_config, spatial, activation)
        model.network.unet.conv_out.weight.data.mul_(4.0)
    return model.eval()


def new_collaborators(modalities: Iterable[str] = MODALITIES) -> Collaborators:
    """Random collaborators; the mask's also reads its tokens as a map."""
    models = {m: collaborator(m, seed=seed, spatial=2 * (m == "mask")) for seed, m in enumerate(modalities)}
    return Collaborators.of(models).eval()


def new_dynamic_diffusers(modalities: Iterable[str] = MODALITIES, activation: str = "softmax") -> DynamicDiffusers:
    """Random dynamic diffusers; the mask's also reads its tokens as a map."""
    models = {
        m: dynamic_diffuser(seed=100 + seed, spatial=2 * (m == "mask"), activation=activation)
        for seed, m in enumerate(modalities)
    }
    return DynamicDiffusers.of(models).eval()


# The same, built once, for tests that leave them as they are.
collaborators = cache(new_collaborators)
dynamic_diffusers = cache(new_dynamic_diffusers)


@cache
def numbered(count: int) -> tuple[Collaborators, DynamicDiffusers, dict[str, Tensor]]:
    """`count` modalities that no code has heard of, their models, and tokens of a batch of 2 for them."""
    names = [f"modality{number}" for number in range(count)]
    ours = Collaborators.of({m: collaborator(m, seed=k, encoder_name="sketch") for k, m in enumerate(names)})
    theirs = DynamicDiffusers.of({m: dynamic_diffuser(seed=50 + k) for k, m in enumerate(names)})
    tokens = {m: torch.randn(2, 3 + k, FEATURES, generator=seeded(k)) for k, m in enumerate(names)}
    return ours, theirs, tokens


def autoencoder() -> AutoencoderKL:
    """A random autoencoder of 32-pixel pictures."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = AutoencoderKL(
            block_out_channels=[8] * 4,
            down_block_types=["DownEncoderBlock2D"] * 4,
            up_block_types=["UpDecoderBlock2D"] * 4,
            layers_per_block=1,
            norm_num_groups=4,
            latent_channels=CHANNELS,
            sample_size=PIXELS,
        )
    return model.eval()


def new_pipeline(
    modalities: Iterable[str] = MODALITIES, *, dynamic: bool = True, scheduler: Any = None
) -> CollaborativePipeline:
    """A pipeline of its own, for tests that change it."""
    names = list(modalities)
    pipe = CollaborativePipeline(
        autoencoder(),
        new_collaborators(names),
        new_dynamic_diffusers(names) if dynamic else None,
        scheduler or DDIMScheduler(**SCHEDULE, clip_sample=False),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


@cache
def shared_pipeline() -> CollaborativePipeline:
    """One pipeline for the tests that leave it as it is."""
    return new_pipeline()


def with_scheduler(scheduler: Any) -> CollaborativePipeline:
    """The models of the shared pipeline under another scheduler."""
    shared = shared_pipeline()
    pipe = CollaborativePipeline(shared.vae, shared.collaborators, shared.dynamic_diffusers, scheduler)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def raw_conditions(modalities: Iterable[str] = MODALITIES, *, variant: int = 0) -> dict[str, Any]:
    """Raw conditions of one picture; each variant differs in all modalities."""
    labels = np.zeros((PIXELS, PIXELS), np.uint8)
    labels[8 + variant : 24, 6:26] = 1 + variant
    lines = torch.zeros(PIXELS, PIXELS)
    lines[10 + 3 * variant] = 1.0
    every = {"text": CAPTIONS[variant], "mask": labels, "sketch": lines}
    return {modality: every[modality] for modality in modalities}


def raw_batch(count: int, modalities: Iterable[str] = MODALITIES) -> dict[str, list[Any]]:
    """Lists of raw conditions, one item a picture."""
    rows = [raw_conditions(variant=variant) for variant in range(count)]
    return {modality: [row[modality] for row in rows] for modality in modalities}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(batch: int = 2, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Gaussian latents (batch, 4, 4, 4)."""
    return torch.randn(batch, CHANNELS, SIDE, SIDE, generator=seeded(seed)).to(dtype)


def timesteps(*values: int) -> Tensor:
    """(batch,)."""
    return torch.tensor(values)
