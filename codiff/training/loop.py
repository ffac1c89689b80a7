"""The training loop of all stages: exact resumption, averages, pictures and curves, on accelerate."""

from __future__ import annotations

import hashlib
import json
import math
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from filelock import FileLock, Timeout
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn

from codiff.errors import InputError
from codiff.files import write_json, written_aside
from codiff.training.checkpoint import load_checkpoint, save_checkpoint
from codiff.training.curves import draw_curves
from codiff.training.stage import Stage


def seed_of(*parts: int | str) -> int:
    """A seed that is a pure function of its parts, the same on every machine."""
    digest = hashlib.sha256(":".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def order(examples: int, seed: int, epoch: int) -> Tensor:
    """The order of the examples in one epoch: a pure function of seed and epoch."""
    return torch.randperm(examples, generator=torch.Generator().manual_seed(seed_of(seed, "order", epoch)))


def indices_of(step: int, count: int, examples: int, seed: int) -> Tensor:
    """The `count` examples of global micro-step `step`, epochs joined end to end: (count,)."""
    positions = torch.arange(step * count, (step + 1) * count)
    epochs = positions // examples
    return torch.cat([order(examples, seed, int(epoch))[positions[epochs == epoch] % examples] for epoch in epochs.unique()])


class Interrupted(Exception):
    """The training was asked to stop; everything is saved and the same command goes on."""


@dataclass
class _Signals:
    """Remembers SIGINT and SIGTERM until the step is over."""

    received: int | None = None
    _before: dict[int, Any] = field(default_factory=dict)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.received = number

    @contextmanager
    def caught(self) -> Iterator[None]:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._note)
        try:
            yield
        finally:
            for number, handler in self._before.items():
                signal.signal(number, handler)


@contextmanager
def locked(output: Path) -> Iterator[None]:
    """Only one training writes into a folder.

    Raises:
        InputError: another process trains there.
    """
    output.mkdir(parents=True, exist_ok=True)
    owner = output / "owner.json"
    try:
        with FileLock(output / ".lock", timeout=0):
            owner.write_text(json.dumps({"pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}))
            try:
                yield
            finally:
                owner.unlink(missing_ok=True)
    except Timeout as error:
        known = json.loads(owner.read_text()) if owner.exists() else {"pid": "?", "since": "?"}
        raise InputError(
            f"{output} is in use by process {known['pid']} since {known['since']}; wait for it or train into another folder"
        ) from error


class _Step(nn.Module):
    """The stage's loss as a module, so that a distributed wrapper sees one forward pass."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage, self.model = stage, stage.model

    def forward(self, batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
        return self.stage.losses(batch, generator)


class Trainer:
    """Runs one stage to its last step, from its last checkpoint where there is one."""

    def __init__(self, stage: Stage, output: Path, *, allow_changes: bool = False) -> None:
        self.stage, self.output, self.settings = stage, output, stage.loop
        self.accelerator = Accelerator(
            mixed_precision=self.settings.precision,
            gradient_accumulation_steps=self.settings.accumulation,
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
        )
        self.world = self.accelerator.num_processes
        self._check_settings(allow_changes)
        parameters = [parameter for parameter in stage.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(
            parameters, lr=self.settings.learning_rate, betas=self.settings.betas, weight_decay=self.settings.weight_decay
        )
        self.ema = None
        if self.settings.ema_decay is not None:
            self.ema = EMAModel(parameters, decay=self.settings.ema_decay, use_ema_warmup=True, power=0.75)
        self.step, self.skipped = 0, 0
        self.log: list[dict[str, float]] = []
        self.seconds = 0.0
        self._restore()
        schedule = get_scheduler(
            self.settings.schedule if self.settings.schedule == "cosine" else "constant_with_warmup",
            self.optimizer,
            num_warmup_steps=self.settings.warmup_steps,
            num_training_steps=self.settings.steps,
        )
        self.rate_at = schedule.lr_lambdas[0]  # a pure function of the step: nothing to save or restore
        self.model, self.prepared = self.accelerator.prepare(_Step(stage), self.optimizer)
        if self.ema is not None:
            self.ema.to(self.accelerator.device)

    def _check_settings(self, allow_changes: bool) -> None:
        now = {**json.loads(self.stage.settings.model_dump_json()), "processes": self.world}
        record = self.output / "settings.json"
        if record.exists() and (self.output / "checkpoint").exists():
            before = json.loads(record.read_text())
            changed = sorted(key for key in now.keys() | before.keys() if now.get(key) != before.get(key))
            if changed and not allow_changes:
                listed = "; ".join(f"{key}: {before.get(key)} -> {now.get(key)}" for key in changed)
                raise InputError(
                    f"{self.output} holds a training with other settings ({listed}). Train into another folder, or pass "
                    "--allow-changes to go on with the new ones (the result is then no longer reproducible from its settings)"
                )
        if self.accelerator.is_main_process:
            write_json(record, now)

    def _restore(self) -> None:
        progress = load_checkpoint(self.output, self.stage.model, self.optimizer, self.ema)
        if progress is not None:
            self.step, self.log, self.seconds = progress["step"], progress["log"], progress["seconds"]

    def run(self) -> None:
        """Train to the last step.

        Raises:
            Interrupted: SIGINT or SIGTERM came; the state is saved.
            InputError: the loss stays non-finite, or the folder cannot be written.
        """
        signals, columns = _Signals(), (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with signals.caught(), Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[loss]}")) as bar:
            task = bar.add_task(self.stage.name, total=self.settings.steps, completed=self.step, loss="")
            while self.step < self.settings.steps:
                started = time.perf_counter()
                losses = self._one_step()
                self.step += 1
                self.seconds += time.perf_counter() - started
                self._record(losses)
                bar.update(task, completed=self.step, loss=f"loss {losses['loss']:.4f}")
                if self.step % self.settings.checkpoint_every == 0 or signals.received is not None:
                    self.checkpoint()
                if self.step % self.settings.picture_every == 0:
                    self._picture()
                if signals.received is not None:
                    name = signal.Signals(signals.received).name
                    raise Interrupted(f"{name}: saved at step {self.step} in {self.output}; the same command goes on from there")
        self.checkpoint()
        self._export()

    @property
    def _rate(self) -> float:
        """The learning rate of the present step."""
        return self.settings.learning_rate * float(self.rate_at(self.step))

    def _one_step(self) -> dict[str, float]:
        settings, rank = self.settings, self.accelerator.process_index
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate
        sums: dict[str, float] = {}
        for micro in range(settings.accumulation):
            position = self.step * settings.accumulation + micro
            count = settings.batch_size * self.world
            mine = indices_of(position, count, self.stage.examples, settings.seed)[rank * settings.batch_size :][: settings.batch_size]
            generator = torch.Generator().manual_seed(seed_of(settings.seed, "noise", position, rank))
            torch.manual_seed(seed_of(settings.seed, "dropout", position, rank))  # layers draw from the global generator
            with self.accelerator.accumulate(self.model):
                batch = self.stage.batch(mine, generator)
                with self.accelerator.autocast():
                    losses = self.model(batch, generator)
                self.accelerator.backward(losses["loss"])
                if self.accelerator.sync_gradients:
                    self._update(mine)
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach()) / settings.accumulation
        return sums

    def _update(self, indices: Tensor) -> None:
        """Step the optimiser unless a gradient is not finite: one such step ruins the weights."""
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.settings.max_grad_norm)
        if math.isfinite(float(norm)):
            self.skipped = 0
            self.prepared.step()
            if self.ema is not None:
                self.ema.step(parameter for parameter in self.stage.model.parameters() if parameter.requires_grad)
        else:
            self.skipped += 1
        self.prepared.zero_grad()
        if self.skipped >= self.settings.skip_limit:
            raise InputError(
                f"the loss of {self.skipped} steps in a row was not finite (last batch: examples {indices.tolist()}); the last "
                f"good checkpoint is in {self.output}. Lower the learning rate, or train in fp32 or bf16."
            )

    def _record(self, losses: dict[str, float]) -> None:
        if self.step % self.settings.log_every == 0:
            self.log.append({"step": self.step, "learning_rate": self._rate, "seconds": round(self.seconds, 1), **losses})

    def checkpoint(self) -> None:
        """Save the state and the curves."""
        self.accelerator.wait_for_everyone()
        if not self.accelerator.is_main_process:
            return
        progress = {"step": self.step, "log": self.log, "seconds": self.seconds}
        save_checkpoint(self.output, self.stage.model, self.optimizer, self.ema, progress)
        draw_curves(self.log, self.output, self.stage.name)

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The stage's model with its averaged weights."""
        parameters = [parameter for parameter in self.stage.model.parameters() if parameter.requires_grad]
        if self.ema is not None:
            self.ema.store(parameters)
            self.ema.copy_to(parameters)
        self.stage.model.eval()
        yield
        self.stage.model.train()
        if self.ema is not None:
            self.ema.restore(parameters)

    def _picture(self) -> None:
        if not self.accelerator.is_main_process:
            return
        with self._averaged(), torch.no_grad():
            picture = self.stage.picture()
        if picture is not None:
            with written_aside(self.output / "samples" / f"step-{self.step:07d}.png") as temporary:
                picture.save(temporary, format="PNG")

    def _export(self) -> None:
        self._picture()
        if self.accelerator.is_main_process:
            with self._averaged(), written_aside(self.output / "model") as folder:
                folder.mkdir()
                self.stage.save(folder)
        self.accelerator.wait_for_everyone()


def train(stage: Stage, output: str | Path, *, allow_changes: bool = False) -> Path:
    """Train a stage into a folder and return the folder of the finished model, `output/model`.

    The folder also holds `checkpoint/`, `settings.json`, `curves.png`, TensorBoard events and `samples/`. The same call
    resumes exactly: the order of the data is a pure function of seed and epoch; noise, timesteps and dropout of seed,
    step and process.

    Raises:
        Interrupted: SIGINT or SIGTERM came; the state is saved.
        InputError: the folder is in use, cannot be written or holds a training with other settings.
    """
    output = Path(output)
    with locked(output):
        trainer = Trainer(stage, output, allow_changes=allow_changes)
        try:
            trainer.run()
        finally:
            trainer.accelerator.end_training()
    return output / "model"
