"""Models that take turns on an accelerator."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from accelerate import cpu_offload_with_hook
from accelerate.hooks import UserCpuOffloadHook
from torch import nn


def offloaded_in_turn(models: Sequence[nn.Module], device: torch.device) -> list[UserCpuOffloadHook]:
    """Keep models on the CPU but for the one that works: each comes to `device` when it is called and sends the one
    before it back; the first sends back the last, because the models of a composition are called in a circle."""
    hooks: list[UserCpuOffloadHook] = []
    for model in models:
        hooks.append(cpu_offload_with_hook(model, device, hooks[-1] if hooks else None)[1])
    hooks[0].hook.prev_module_hook = hooks[-1] if len(hooks) > 1 else None
    return hooks
