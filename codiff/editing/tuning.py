"""A collaborator that learns beside the pipeline's own, which is left untouched."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners import lora
from torch import Tensor, nn

from codiff.collaborator import Collaborator
from codiff.constant_conditions import ConditionProjection
from codiff.errors import InputError


def twin(model: Collaborator, *, copied: bool) -> Collaborator:
    """The same collaborator with modules of its own around the same weights, frozen; or around copies, trainable.

    Whatever is then put into its modules, or done to copied weights, the original does not notice. The encoder is the
    original's.
    """
    shared: dict[int, object] = {id(model.encoder): model.encoder}
    for value in model.network.parameters():
        data = value.detach().clone() if copied else value.detach()
        shared[id(value)] = nn.Parameter(data, requires_grad=copied)
    return copy.deepcopy(model, shared)


class Tuned:
    """A twin and what it learns.

    Args:
        model: the pipeline's collaborator.
        rank: of LoRA matrices; None for all of the UNet's weights.
        generator: draws LoRA's initial values; on the CPU.

    Raises:
        InputError: the whole of a UNet in half precision, where steps of common rates are rounded away.
    """

    def __init__(self, model: Collaborator, rank: int | None, generator: torch.Generator) -> None:
        if rank is None and model.dtype != torch.float32:
            raise InputError(
                f"full fine-tuning needs float32 weights, these are {model.dtype}; load the model so, or use LoRA"
            )
        self._original = model
        self.model = twin(model, copied=rank is None)
        self.model.eval()
        if rank is not None:
            _add_lora(self.model.network, rank, generator)
        self.parameters: dict[str, nn.Parameter] = {
            name: value for name, value in self.model.network.named_parameters() if value.requires_grad
        }

    @torch.no_grad()
    def merged(self) -> Collaborator:
        """The same with LoRA's products added to the weights, so that sampling has fewer layers to call; as it is where
        there is no LoRA, or where weights in half precision would round its products away."""
        layers = {
            name: layer
            for name, layer in self.model.network.named_modules()
            if isinstance(layer, (lora.Linear, lora.Conv2d))
        }
        if not layers or self.model.dtype != torch.float32:
            return self.model
        merged = twin(self._original, copied=False)
        for name, layer in layers.items():
            weight = merged.network.get_parameter(f"{name}.weight")
            weight.data = weight.data + layer.get_delta_weight("default")  # the original's stays as it is
        return merged.eval()

    def state(self) -> dict[str, Tensor]:
        """Copies of what it has learned, by name, on the CPU."""
        return {name: value.detach().cpu().clone().contiguous() for name, value in self.parameters.items()}

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` returned.

        Raises:
            InputError: other names or shapes.
        """
        found = {name: value.shape for name, value in state.items()}
        if found != {name: value.shape for name, value in self.parameters.items()}:
            raise InputError("the learned weights are not of this model's shape; learn the edit anew with this model")
        for name, value in self.parameters.items():
            value.copy_(state[name])


def _reads_tokens(name: str, module: nn.Module) -> bool:
    """Whether a layer reads the condition: those stay as they are, or the picture would be learned whatever the tokens
    say, and no other tokens could change it."""
    return isinstance(module, ConditionProjection) or name == "to_map" or ".add_embedding." in name


def _add_lora(network: nn.Module, rank: int, generator: torch.Generator) -> None:
    targets = [
        name
        for name, module in network.named_modules()
        if isinstance(module, (nn.Linear, nn.Conv2d))
        and min(module.weight.shape[:2]) >= rank
        and not _reads_tokens(name, module)
    ]
    if not targets:
        raise InputError(f"this model has no layer of width {rank} or more for LoRA of rank {rank}; take a lower rank")
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=targets)
    with torch.random.fork_rng():  # peft draws initial values from the global generator; they are replaced below
        inject_adapter_in_model(config, network)
    for name, value in network.named_parameters():
        if value.requires_grad:
            value.data = value.data.float()
            if ".lora_A." in name:
                drawn = torch.empty(value.shape)
                nn.init.kaiming_uniform_(drawn, a=math.sqrt(5), generator=generator)
                value.data.copy_(drawn)
