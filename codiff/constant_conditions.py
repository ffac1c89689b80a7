"""What depends on the conditions alone, computed once for all steps of an image."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

_Known = dict[Hashable, tuple[tuple[Tensor, ...], Tensor]]
_KNOWN: ContextVar[_Known | None] = ContextVar("known", default=None)


@contextmanager
def constant_conditions() -> Iterator[None]:
    """Within it `computed_once` computes once; what was computed is forgotten at its end.

    Only this thread's calls take part, and only those without gradients.
    """
    token = _KNOWN.set({})
    try:
        yield
    finally:
        _KNOWN.reset(token)


def computed_once(owner: object, tokens: tuple[Tensor, ...], compute: Callable[[], Tensor]) -> Tensor:
    """What `compute` makes of these tokens for this owner, who outlives the image; within `constant_conditions` from
    the first time on."""
    known = None if torch.compiler.is_compiling() else _KNOWN.get()
    if known is None or torch.is_grad_enabled():
        return compute()
    # A key holds while the tokens live, so they are kept beside it.
    key = id(owner), tuple((each.data_ptr(), each.shape, each.stride(), each.dtype, _version(each)) for each in tokens)
    if key not in known:
        known[key] = tokens, compute()
    return known[key][1]


class ConditionProjection(nn.Linear):
    """The projection of tokens to keys or values."""

    @classmethod
    def of(cls, linear: nn.Linear) -> ConditionProjection:
        """The same layer with the same parameters."""
        shape = linear.in_features, linear.out_features
        projection = cls(*shape, bias=linear.bias is not None, device="meta")
        projection.weight, projection.bias = linear.weight, linear.bias
        return projection

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, tokens, out_features) of (batch, tokens, in_features)."""
        return computed_once(self, (tokens,), lambda: super(ConditionProjection, self).forward(tokens))


def _version(tokens: Tensor) -> int:
    """How often they were changed in place; tensors of inference mode do not count that."""
    return 0 if tokens.is_inference() else tokens._version


def share_projections(network: nn.Module) -> None:
    """Make the keys and values of all cross-attention in a diffusers network `ConditionProjection`s."""
    for module in network.modules():
        if isinstance(module, Attention) and module.is_cross_attention:
            module.to_k = ConditionProjection.of(module.to_k)
            module.to_v = ConditionProjection.of(module.to_v)
