"""Steering by hand: how people raise or lower what the influences say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from codiff.composition.base import Influences
from codiff.errors import InputError

MOST_NATS = 20.0
"""Largest strength, value of a map and factor of a curve, up or down: odds times 5e8, all that float32 can tell."""

Curve = Sequence[tuple[float, float]] | Callable[[Tensor], Tensor]
"""Points (fraction of the noise schedule, factor), joined by straight lines and level beyond the outermost; or a
function of fractions (batch,) that returns factors (batch,). Fraction 1 is all noise, where sampling begins, 0 the
finished image."""


class InfluenceBias:
    """I'_m = S I_m exp(b_m) / sum_j I_j exp(b_j), S = sum_j I_j, b_m(p, t) = (strength_m + map_m(p)) curve_m(t).

    A `Reweight`: `composition.steered(InfluenceBias(strengths={"mask": 1.0}))`. The bias b is in nats, as the logits of
    dynamic diffusers are, so that under a softmax it is added to them: at b = 1 a modality's odds against the others
    are e = 2.7 times the learned ones, at -1 as much less. Only differences between modalities count, and where there
    are none, as outside what was painted, influences stay as they are to the bit; an influence of 0 stays 0.

    The sum S of each pixel is kept. It is 1 under rules that share influence. Under `Additive` rules it is how strongly
    the picture is guided there, which `guidance_scale` sets for all; steering only says by whom.

    Modalities that a request lacks are passed over: see `check`.

    Args:
        strengths: modality -> nats, at all pixels.
        maps: modality -> nats (height, width) of any size, over the whole image: areas of the latent grid are averaged,
            or interpolated where the map is coarser.
        curves: modality -> how much of its strength and map holds when; all of it, always, where there is none.
        timesteps: of the training schedule, which fractions are of.

    Raises:
        InputError: a number is not finite or beyond 20, or a map or a curve has another form.
    """

    def __init__(
        self,
        strengths: Mapping[str, float] | None = None,
        maps: Mapping[str, Any] | None = None,
        curves: Mapping[str, Curve | Sequence[Sequence[float]]] | None = None,
        *,
        timesteps: int = 1000,
    ) -> None:
        self.strengths = {m: _number(value, f"the strength of {m!r}") for m, value in (strengths or {}).items()}
        self.maps = {m: _plane(value, f"the map of {m!r}") for m, value in (maps or {}).items()}
        self.curves = {m: _curve(value, f"the curve of {m!r}") for m, value in (curves or {}).items()}
        self.timesteps = timesteps

    @property
    def modalities(self) -> list[str]:
        """Those that it speaks of."""
        return list({**self.strengths, **self.maps, **self.curves})

    def check(self, present: Sequence[str]) -> None:
        """That it can do to these modalities what it says.

        Raises:
            InputError: it speaks of one that is not among them, or there are fewer than two.
        """
        absent = [modality for modality in self.modalities if modality not in present]
        if absent:
            raise InputError(
                f"{', '.join(map(repr, absent))} cannot be steered without a condition; there is {', '.join(present)}"
            )
        if len(present) < 2:
            raise InputError(
                f"{', '.join(present)} alone decides everything, so there is nothing to steer; give a second condition"
            )

    def at(self, modality: str, timestep: Tensor, size: tuple[int, int]) -> Tensor:
        """The bias b of a modality, 0 where nothing is said of it: float32 (batch, 1, *size) at timesteps (batch,).

        Raises:
            InputError: a function that is a curve returned something else than factors.
        """
        level = torch.full((1, 1, *size), self.strengths.get(modality, 0.0), device=timestep.device)
        if modality in self.maps:
            level = level + resized(self.maps[modality].to(timestep.device)[None, None], size)
        return level * self._factors(modality, timestep.reshape(-1)).reshape(-1, 1, 1, 1)

    def __call__(self, influences: Influences, timestep: Tensor) -> Influences:
        """Influences (batch, 1, h, w) at timesteps (batch,), steered."""
        if len(influences) == 1 or not any(modality in influences for modality in self.modalities):
            return influences
        learned = torch.stack(list(influences.values()))  # (modalities, batch, 1, h, w)
        shares = learned.to(torch.promote_types(learned.dtype, torch.float32))
        when, size = timestep.to(shares.device), (shares.shape[-2], shares.shape[-1])
        bias = torch.stack([self.at(modality, when, size) for modality in influences])
        total = shares.sum(dim=0)
        steered = total * torch.softmax(shares.log() + bias, dim=0)
        unequal = (bias != bias[:1]).any(dim=0) & (total > 0)
        return dict(zip(influences, torch.where(unequal, steered.to(learned.dtype), learned), strict=True))

    def _factors(self, modality: str, timestep: Tensor) -> Tensor:
        """(batch,), of one modality's curve."""
        curve = self.curves.get(modality)
        fractions = timestep.float() / self.timesteps
        if curve is None:
            return torch.ones_like(fractions)
        if callable(curve):
            return _returned(curve(fractions), fractions, f"the curve of {modality!r}")
        where, factors = np.array(curve).T
        return torch.from_numpy(np.interp(fractions.cpu().numpy(), where, factors)).to(fractions)


def resized(planes: Tensor, size: tuple[int, int]) -> Tensor:
    """(batch, channels, h, w) at another size: the mean over each new pixel's area, bilinear where it grows."""
    least = (min(planes.shape[-2], size[0]), min(planes.shape[-1], size[1]))
    return interpolate(adaptive_avg_pool2d(planes, least), size=size, mode="bilinear", align_corners=False)


def _number(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not abs(float(value)) <= MOST_NATS:
        raise InputError(f"{what} must be a number from {-MOST_NATS:g} to {MOST_NATS:g}, not {value!r:.100}")
    return float(value)


def _plane(value: Any, what: str) -> Tensor:
    """float32 (height, width)."""
    try:
        given = value if isinstance(value, Tensor) else torch.from_numpy(np.asarray(value))
        plane = given.detach().to("cpu", torch.float32, copy=True)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{what} must be an array (height, width), not {type(value).__name__}") from error
    if plane.ndim != 2 or not plane.numel():
        raise InputError(f"{what} must be an array (height, width), not one of shape {tuple(plane.shape)}")
    if not (plane.abs() <= MOST_NATS).all():
        raise InputError(f"{what} must hold finite numbers from {-MOST_NATS:g} to {MOST_NATS:g}")
    return plane


def _curve(value: Any, what: str) -> Curve:
    """A function as it is; points in their order."""
    if callable(value):
        return value
    form = f"{what} must be a list of points (fraction from 0 to 1, factor) like [(1, 1), (0, 0)]"
    try:
        points = sorted((float(fraction), float(factor)) for fraction, factor in value)
    except (TypeError, ValueError) as error:
        raise InputError(form) from error
    if not points or any(not 0 <= fraction <= 1 for fraction, _ in points):
        raise InputError(f"{form}; got {value!r:.100}")
    if len({fraction for fraction, _ in points}) < len(points):
        raise InputError(f"{what} has two points at one fraction; move them apart")
    return tuple((fraction, _number(factor, f"a factor of {what}")) for fraction, factor in points)


def _returned(factors: Any, fractions: Tensor, what: str) -> Tensor:
    """What a function returned, (batch,)."""
    fits = isinstance(factors, Tensor) and factors.shape == fractions.shape
    if not fits or not bool(torch.isfinite(factors).all()) or bool((factors.abs() > MOST_NATS).any()):
        raise InputError(
            f"{what} must return {len(fractions)} finite factors from {-MOST_NATS:g} to {MOST_NATS:g}, a tensor of "
            f"shape {tuple(fractions.shape)}, for fractions of that shape"
        )
    return factors.to(fractions)
