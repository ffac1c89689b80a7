"""The noise schedule that the published files store, computed from its two numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def schedule_buffers(scheduler: Mapping[str, Any]) -> dict[str, Tensor]:
    """The twelve buffers (timesteps,) in float64, by the names they have in the files (Ho et al., arXiv:2006.11239,
    eq. 6-7 for the posterior).

    Args:
        scheduler: arguments of `DDIMScheduler` with a scaled linear schedule.
    """
    ends = scheduler["beta_start"] ** 0.5, scheduler["beta_end"] ** 0.5
    betas = torch.linspace(*ends, scheduler["num_train_timesteps"], dtype=torch.float64) ** 2
    alphas = 1.0 - betas
    product = alphas.cumprod(0)
    before = torch.cat([product.new_ones(1), product[:-1]])
    variance = betas * (1.0 - before) / (1.0 - product)
    return {
        "betas": betas,
        "alphas_cumprod": product,
        "alphas_cumprod_prev": before,
        "sqrt_alphas_cumprod": product.sqrt(),
        "sqrt_one_minus_alphas_cumprod": (1.0 - product).sqrt(),
        "log_one_minus_alphas_cumprod": (1.0 - product).log(),
        "sqrt_recip_alphas_cumprod": product.rsqrt(),
        "sqrt_recipm1_alphas_cumprod": (1.0 / product - 1.0).sqrt(),
        "posterior_variance": variance,
        "posterior_log_variance_clipped": variance.clamp(min=1e-20).log(),
        "posterior_mean_coef1": betas * before.sqrt() / (1.0 - product),
        "posterior_mean_coef2": (1.0 - before) * alphas.sqrt() / (1.0 - product),
    }
