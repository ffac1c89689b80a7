"""Attention of a training on CPUs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode


class Float32Attention(TorchFunctionMode):
    """A context in which scaled dot-product attention computes in float32, whatever autocast says.

    On CPUs the backward pass of fused attention in bfloat16 is several times slower than in float32, and then most of
    what a collaborator's training step spends on attention: `python -m benchmarks.attention` shows both.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is not scaled_dot_product_attention:
            return func(*args, **kwargs)
        with torch.autocast("cpu", enabled=False):
            result: Tensor = func(*map(_widened, args), **{name: _widened(value) for name, value in kwargs.items()})
        query = args[0] if args else kwargs["query"]
        return result.to(query.dtype)


def _widened(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value
