"""A stage that takes milliseconds a step, and trainings of it in processes of their own, which can be killed."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import resource
import signal
import socket
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from pydantic import Field
from safetensors.torch import save_file
from torch import Tensor, nn

from codiff.errors import InputError
from codiff.training.loop import Interrupted, train
from codiff.training.settings import LoopSettings, Settings
from codiff.training.stage import Stage

STEPS = 24
LOOP: dict[str, Any] = {
    "steps": STEPS,
    "batch_size": 3,
    "learning_rate": 0.02,
    "warmup_steps": 4,
    "schedule": "cosine",
    "ema_decay": 0.9,
    "checkpoint_every": 3,
    "log_every": 1000,  # without a log there are no curves, whose drawing takes longer than everything else here
}


class LinearSettings(Settings):
    loop: LoopSettings
    width: int = Field(default=8, gt=0)
    dropout: float = 0.2
    noise: float = 0.1


class LinearStage(Stage):
    """Regression by a network of two layers, with noise on the data and dropout: both must be resumed exactly.

    Attributes:
        before_batch: called with the number of the micro-batch, counted from the start of this process.
        spoilt: numbers of the micro-batches whose loss is not a number.
    """

    name = "linear"
    settings: LinearSettings
    model: nn.Sequential

    def __init__(
        self,
        *,
        examples: int = 10,
        before_batch: Callable[[int], None] = lambda _: None,
        spoilt: tuple[int, ...] = (),
        width: int = 8,
        dropout: float = 0.2,
        noise: float = 0.1,
        **loop: Any,
    ) -> None:
        self.loop = LoopSettings(**{**LOOP, **loop})
        self.settings = LinearSettings(loop=self.loop, width=width, dropout=dropout, noise=noise)
        torch.manual_seed(self.loop.seed)
        self.model = nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Dropout(dropout), nn.Linear(width, 4))
        self.inputs = torch.randn(examples, 4, generator=torch.Generator().manual_seed(1))
        self.examples = examples
        self.before_batch, self.spoilt = before_batch, spoilt
        self.batches = 0

    def batch(self, indices: Tensor, generator: torch.Generator) -> Tensor:
        self.before_batch(self.batches)
        self.batches += 1
        return self.inputs[indices] + self.settings.noise * torch.randn(len(indices), 4, generator=generator)

    def losses(self, batch: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        target = batch.flip(1) + self.settings.noise * torch.randn(batch.shape, generator=generator)
        loss = ((self.model(batch) - target) ** 2).mean()
        return {"loss": loss * torch.nan if self.batches - 1 in self.spoilt else loss}

    def save(self, folder: Path) -> None:
        save_file(dict(self.model.state_dict()), folder / "linear.safetensors")

    def picture(self) -> Image.Image:
        return Image.new("RGB", (4, 4))


def digest(output: Path) -> dict[str, str]:
    """SHA-256 of the weights, the averages and the optimiser's state of a finished training, and of its model."""
    files = sorted([*(output / "checkpoint").glob("*.safetensors"), *(output / "model").glob("*.safetensors")])
    return {str(file.relative_to(output)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def leftovers(output: Path) -> list[str]:
    """Names of what an unfinished writing left behind."""
    return [path.name for path in output.rglob("*") if path.suffix in (".partial", ".old")]


# -- processes: from a server that has imported everything already, without this process's threads ----------------

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["codiff.training.loop", "torch.distributed"])


def started(target: Callable[..., None], *arguments: Any) -> ForkServerProcess:
    """A process that runs a function of this module."""
    process = _context.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


def ended(process: ForkServerProcess, seconds: float = 120) -> int:
    """Wait for the end of a process: its exit status, or minus the signal that killed it."""
    process.join(seconds)
    assert process.exitcode is not None, "the process hangs"
    return process.exitcode


def trained(output: Path, pause: float = 0.0) -> None:
    """A whole training, with a pause before each step for the parent to interfere. Exits with 0 when asked to stop."""
    torch.set_num_threads(1)
    try:
        train(LinearStage(before_batch=lambda _: time.sleep(pause)), output)
    except Interrupted:
        return


def killed_at_rename(output: Path, number: int) -> None:
    """A training that is killed in place of the renaming of this number (from 0) of folders."""
    original, renamings = Path.rename, 0

    def rename(self: Path, target: Path) -> Path:
        nonlocal renamings
        if renamings == number:
            os.kill(os.getpid(), signal.SIGKILL)
        renamings += 1
        return original(self, target)

    Path.rename = rename  # type: ignore[assignment, method-assign]
    trained(output)


def killed_while_exporting(output: Path) -> None:
    """A training that is killed when half of the finished model is written."""
    torch.set_num_threads(1)
    stage = LinearStage()

    def save(folder: Path) -> None:
        (folder / "half").write_text("a model")
        os.kill(os.getpid(), signal.SIGKILL)

    stage.save = save  # type: ignore[method-assign]
    train(stage, output)


def on_a_full_disk(output: Path, limit: int) -> None:
    """A training of which no file can become larger than `limit` bytes after the first checkpoint; tells the error."""
    torch.set_num_threads(1)

    def fill(number: int) -> None:
        if number == 4:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    try:
        train(LinearStage(before_batch=fill, width=1000), output)
    except InputError as error:
        (output / "error.txt").write_text(str(error))


def one_of_two(output: Path, rank: int, port: int, stop_at: int | None) -> None:
    """One process of two, in the environment that torchrun gives them; the second one is asked to stop."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)

    def stop(number: int) -> None:
        if number == stop_at and rank == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    try:
        train(LinearStage(before_batch=stop), output)
    except Interrupted:
        return


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
