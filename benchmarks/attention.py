"""Fused attention in float32 and bfloat16, forward and backward: `python -m benchmarks.attention`.

The shapes are those of the demo model's collaborators in training. Both precisions run in turn in the same process;
prints the best of --rounds, and bfloat16 as a ratio to float32.
"""

from __future__ import annotations

import argparse
import platform
import time

import torch
from torch.nn.functional import scaled_dot_product_attention

SHAPES = {
    "self-attention, 16 x 16": (256, 256, 16),
    "cross-attention to 32 tokens": (256, 32, 16),
    "self-attention, 8 x 8": (64, 64, 32),
}
HEADS = 4


def seconds(batch: int, shape: tuple[int, int, int], dtype: torch.dtype) -> tuple[float, float]:
    """Of one forward and of one backward pass."""
    queries, keys, width = shape
    lengths = (queries, keys, keys)
    inputs = [torch.randn(batch, HEADS, length, width, dtype=dtype, requires_grad=True) for length in lengths]
    started = time.perf_counter()
    result = scaled_dot_product_attention(*inputs)  # type: ignore[arg-type]
    forward = time.perf_counter()
    result.sum().backward()
    return forward - started, time.perf_counter() - forward


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    machine = f"{torch.get_num_threads()} threads, {platform.machine()}, torch {torch.__version__}"
    print(f"batch {arguments.batch}, {HEADS} heads, cpu, {machine}, best of {arguments.rounds}, milliseconds\n")
    print("| attention | pass | float32 | bfloat16 | bfloat16 / float32 |\n|---|---|---|---|---|")
    for name, shape in SHAPES.items():
        best = {dtype: (float("inf"), float("inf")) for dtype in (torch.float32, torch.bfloat16)}
        for _ in range(arguments.rounds + 1):
            for dtype, known in best.items():
                best[dtype] = tuple(map(min, known, seconds(arguments.batch, shape, dtype)))  # type: ignore[assignment]
        for index, direction in enumerate(("forward", "backward")):
            wide, narrow = (1000 * best[dtype][index] for dtype in (torch.float32, torch.bfloat16))
            print(f"| {name} | {direction} | {wide:.1f} | {narrow:.1f} | {narrow / wide:.2f} |")


if __name__ == "__main__":
    main()
