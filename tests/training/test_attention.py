"""Attention of trainings on CPUs."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from codiff.training.attention import Float32Attention

SHAPE = (2, 4, 16, 8)


def heads(seed: int) -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed)).bfloat16().requires_grad_()


@pytest.mark.parametrize("by_name", [False, True])
def test_attention_computes_in_float32(by_name: bool) -> None:
    query, key, value = (heads(seed) for seed in range(3))
    wide = [heads.detach().float().requires_grad_() for heads in (query, key, value)]
    expected = scaled_dot_product_attention(wide[0], wide[1], wide[2])
    with torch.autocast("cpu", dtype=torch.bfloat16), Float32Attention():
        if by_name:
            result = scaled_dot_product_attention(query=query, key=key, value=value)
        else:
            result = scaled_dot_product_attention(query, key, value)
    assert result.dtype == torch.bfloat16
    assert torch.equal(result, expected.bfloat16())
    result.float().sum().backward()
    expected.sum().backward()
    assert query.grad is not None
    assert wide[0].grad is not None
    assert torch.equal(query.grad, wide[0].grad.bfloat16())


def test_masks_stay_masks() -> None:
    query, key, value = (heads(seed) for seed in range(3))
    seen = torch.ones(16, 16, dtype=torch.bool).tril()
    expected = scaled_dot_product_attention(query.float(), key.float(), value.float(), seen, 0.0)
    with Float32Attention():
        result = scaled_dot_product_attention(query, key, value, seen, 0.0)
    assert torch.equal(result, expected.bfloat16())


def test_the_rest_is_left_alone() -> None:
    with Float32Attention():
        product = heads(0) @ heads(1).transpose(-1, -2)
    assert product.dtype == torch.bfloat16
