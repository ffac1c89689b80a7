"""What a benchmark ran on, for beside its numbers."""

from __future__ import annotations

import os
import platform

import torch


def machine() -> str:
    """As in "2 CPU cores (x86_64), torch 2.13.0+cpu"."""
    return f"{os.cpu_count()} CPU cores ({platform.machine()}), torch {torch.__version__}"
