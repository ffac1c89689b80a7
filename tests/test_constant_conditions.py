"""Keys and values of constant conditions."""

from collections.abc import Callable
from typing import Any

import models
import pytest
import torch
from diffusers import DDIMScheduler
from torch import Tensor
from torch.nn.functional import linear
from torch.overrides import TorchFunctionMode

from codiff import Collaborative, sample
from codiff.constant_conditions import ConditionProjection, constant_conditions

STEPS = 4


class Projections(TorchFunctionMode):
    """Counts the projections of tokens that are computed."""

    def __init__(self, weights: list[Tensor]) -> None:
        super().__init__()
        self.weights, self.count = {id(weight) for weight in weights}, 0

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is linear and id(args[1]) in self.weights
        return func(*args, **(kwargs or {}))


def projections(*networks: torch.nn.Module) -> list[ConditionProjection]:
    return [module for network in networks for module in network.modules() if isinstance(module, ConditionProjection)]


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_computed_once_an_image(guidance: float) -> None:
    collaborators, diffusers, tokens = models.numbered(2)
    layers = projections(collaborators, diffusers)
    assert layers
    composition = Collaborative(collaborators, diffusers)
    composition = composition.guided({m: torch.zeros_like(value[:1]) for m, value in tokens.items()}, guidance)
    scheduler = DDIMScheduler()
    scheduler.set_timesteps(STEPS)
    with Projections([layer.weight for layer in layers]) as counted:
        found = sample(composition, scheduler, models.noise(), tokens)
    assert counted.count == len(layers)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ConditionProjection, "forward", torch.nn.Linear.forward)
        assert torch.equal(found, sample(composition, scheduler, models.noise(), tokens))


def layer() -> ConditionProjection:
    torch.manual_seed(0)
    return ConditionProjection.of(torch.nn.Linear(3, 5))


def test_changed_tokens_are_projected_anew() -> None:
    projection, tokens = layer(), torch.randn(2, 4, 3)
    with torch.no_grad(), constant_conditions():
        first = projection(tokens).clone()
        tokens += 1
        assert not torch.equal(projection(tokens), first)
        assert torch.equal(projection(tokens - 1), linear(tokens - 1, projection.weight, projection.bias))
        assert projection(tokens[:1]).shape == (1, 4, 5)


def test_gradients_are_never_kept() -> None:
    projection, tokens = layer(), torch.randn(2, 4, 3)
    with constant_conditions():
        assert projection(tokens) is not projection(tokens)
        assert projection(tokens).requires_grad


def test_nothing_is_kept_outside() -> None:
    projection, tokens = layer(), torch.randn(2, 4, 3)
    with torch.no_grad():
        assert projection(tokens) is not projection(tokens)
        with constant_conditions():
            kept = projection(tokens)
            assert projection(tokens) is kept
        with constant_conditions():
            assert projection(tokens) is not kept


def test_in_inference_mode() -> None:
    with torch.inference_mode(), constant_conditions():
        projection, tokens = layer(), torch.randn(2, 4, 3)
        assert projection(tokens) is projection(tokens)
