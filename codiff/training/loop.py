"""The training loop of all stages: exact resumption, averages, pictures and curves, on accelerate."""

from __future__ import annotations

import hashlib
import json
import math
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs, send_to_device
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from pydantic import ValidationError
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn

from codiff.errors import InputError
from codiff.files import sole_writer, write_json, written_aside
from codiff.interruption import postponed
from codiff.training.attention import Float32Attention
from codiff.training.checkpoint import load_checkpoint, save_checkpoint
from codiff.training.curves import draw_curves
from codiff.training.settings import Settings
from codiff.training.stage import Stage

_FINGERPRINT = "data and frozen models"  # its name among the settings
_PLACES = frozenset({"data.folder", "data.cache", "data.workers"})  # what lies there shows in the fingerprint


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
    parts = [order(examples, seed, int(epoch))[positions[epochs == epoch] % examples] for epoch in epochs.unique()]
    return torch.cat(parts)


class Interrupted(Exception):  # noqa: N818 (nothing is wrong)
    """The training was asked to stop; everything is saved and the same command goes on."""


def _on_cpu() -> bool:
    """Whether there is no accelerator: accelerate joins the processes of torchrun on CPUs only when it is told so."""
    return not torch.accelerator.is_available()


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
        if self.settings.precision == "fp16" and not torch.cuda.is_available():
            raise InputError('precision "fp16" needs a GPU; set loop.precision to "bf16" or "no"')
        self.accelerator = Accelerator(
            cpu=_on_cpu(),
            mixed_precision=self.settings.precision,
            gradient_accumulation_steps=self.settings.accumulation,
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
        )
        self.world, self.device = self.accelerator.num_processes, self.accelerator.device
        self._check_settings(allow_changes)
        self.parameters = [parameter for parameter in stage.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=self.settings.learning_rate,
            betas=self.settings.betas,
            weight_decay=self.settings.weight_decay,
        )
        self.ema = None
        if self.settings.ema_decay is not None:
            self.ema = EMAModel(self.parameters, decay=self.settings.ema_decay, use_ema_warmup=True, power=0.75)
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
        for model in stage.frozen:
            model.to(self.device)
        if self.ema is not None:
            self.ema.to(self.device)

    def _check_settings(self, allow_changes: bool) -> None:
        settings = json.loads(self.stage.settings.model_dump_json())
        now = {**settings, "processes": self.world, _FINGERPRINT: self.stage.fingerprint}
        record = self.output / "settings.json"
        if (self.output / "checkpoint").exists() and not allow_changes:
            changed = _differences(_read_settings(record, type(self.stage.settings)), now)
            if changed:
                raise InputError(
                    f"{self.output} holds a training with other settings ({'; '.join(changed)}). Train into another "
                    "folder, or pass --allow-changes to go on with the new ones (the result is then no longer "
                    "reproducible from its settings)"
                )
        if self.accelerator.is_main_process:
            write_json(record, now)

    def _restore(self) -> None:
        progress = load_checkpoint(self.output, self.stage.model, self.optimizer, self.ema)
        if progress is None:
            return
        self.step, self.log, self.seconds = progress["step"], progress["log"], progress["seconds"]
        self.skipped = progress.get("skipped", 0)
        if self.accelerator.scaler is not None and "scaler" in progress:
            self.accelerator.scaler.load_state_dict(progress["scaler"])

    def run(self) -> None:
        """Train to the last step, then write the finished model.

        Raises:
            Interrupted: SIGINT or SIGTERM came before the last step was done; the state is saved.
            InputError: the loss stays non-finite, or the folder cannot be written.
        """
        main = self.accelerator.is_main_process
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        shown = Progress(*columns, TimeRemainingColumn(), TextColumn("{task.fields[loss]}"), disable=not main)
        with postponed() as asked, self.stage.reading(self._plan()), shown as bar:
            task = bar.add_task(self.stage.name, total=self.settings.steps, completed=self.step, loss="")
            while self.step < self.settings.steps:
                started = time.perf_counter()
                losses = self._one_step()
                self.step += 1
                self.seconds += time.perf_counter() - started
                self._record(losses)
                bar.update(task, completed=self.step, loss=f"loss {losses['loss']:.4f}")
                self._keep(self._agreed(asked.signal))
            self._picture()
            self.checkpoint()
            self._export()

    def release(self) -> None:
        """Let go of the distributed wrapper before the group of processes is destroyed. Where an error's frames keep it
        longer, its end waits for the group's threads with Python's lock held, and they may wait for that lock."""
        del self.model, self.prepared
        self.accelerator.free_memory()

    def _keep(self, asked: int) -> None:
        """Save what is due after a step but the last; `asked` is the signal that asks to stop, or 0."""
        if self.step == self.settings.steps:
            return
        if self.step % self.settings.checkpoint_every == 0 or asked:
            self.checkpoint()
        if asked:
            self.accelerator.wait_for_everyone()
            name = signal.Signals(asked).name
            raise Interrupted(
                f"{name}: saved at step {self.step} in {self.output}; the same command goes on from there"
            )
        if self.step % self.settings.picture_every == 0:
            self._picture()

    def _agreed(self, received: int) -> int:
        """The signal that any process has received: all stop after the same step, or one waits for another forever."""
        return int(self.accelerator.gather(torch.tensor([received], device=self.device)).max())

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
        seen: list[int] = []
        for micro in range(settings.accumulation):
            position = self.step * settings.accumulation + micro
            mine = self._indices(position)
            seen += mine.tolist()
            generator = torch.Generator().manual_seed(seed_of(settings.seed, "noise", position, rank))
            # Layers such as dropout draw from the global generator.
            torch.manual_seed(seed_of(settings.seed, "dropout", position, rank))
            with self.accelerator.accumulate(self.model):
                batch = send_to_device(self.stage.batch(mine, generator), self.device)
                with self.accelerator.autocast(), self._attention():
                    losses = self.model(batch, generator)
                self.accelerator.backward(losses["loss"])
                if self.accelerator.sync_gradients:
                    self._update(seen)
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach()) / settings.accumulation
        return sums

    def _indices(self, position: int) -> Tensor:
        """The examples of this process's micro-batch number `position`: (batch,)."""
        count = self.settings.batch_size * self.world
        indices = indices_of(position, count, self.stage.examples, self.settings.seed)
        return indices.reshape(self.world, self.settings.batch_size)[self.accelerator.process_index]

    def _plan(self) -> Iterator[Tensor]:
        """The examples of all micro-batches that are left."""
        first, last = (step * self.settings.accumulation for step in (self.step, self.settings.steps))
        return map(self._indices, range(first, last))

    def _attention(self) -> AbstractContextManager[Any]:
        return Float32Attention() if self.device.type == "cpu" and self.settings.precision == "bf16" else nullcontext()

    def _update(self, seen: list[int]) -> None:
        """Step the optimiser unless a gradient is not finite: one such step ruins the weights."""
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.settings.max_grad_norm)
        finite = math.isfinite(float(norm))
        if finite or self.accelerator.scaler is not None:  # a gradient scaler skips the step itself, and scales down
            self.prepared.step()
        self.prepared.zero_grad()
        self.skipped = 0 if finite else self.skipped + 1
        if finite and self.ema is not None:
            self.ema.step(self.parameters)
        if self.skipped >= self.settings.skip_limit:
            raise InputError(
                f"the loss of {self.skipped} steps in a row was not finite (last batch: examples {seen}); the last "
                f"good checkpoint is in {self.output}. Lower the learning rate, or train in fp32 or bf16."
            )

    def _record(self, losses: dict[str, float]) -> None:
        if self.step % self.settings.log_every == 0:
            seconds = round(self.seconds, 1)
            self.log.append({"step": self.step, "learning_rate": self._rate, "seconds": seconds, **losses})

    def checkpoint(self) -> None:
        """Save the state and the curves."""
        self.accelerator.wait_for_everyone()
        if not self.accelerator.is_main_process:
            return
        progress = {"step": self.step, "log": self.log, "seconds": self.seconds, "skipped": self.skipped}
        if self.accelerator.scaler is not None:
            progress["scaler"] = self.accelerator.scaler.state_dict()
        save_checkpoint(self.output, self.stage.model, self.optimizer, self.ema, progress)
        draw_curves(self.log, self.output, self.stage.name)

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The stage's model with its averaged weights."""
        if self.ema is not None:
            self.ema.store(self.parameters)
            self.ema.copy_to(self.parameters)
        self.stage.model.eval()
        try:
            yield
        finally:
            self.stage.model.train()
            if self.ema is not None:
                self.ema.restore(self.parameters)

    def _picture(self) -> None:
        if not self.accelerator.is_main_process:
            return
        with self._averaged(), torch.no_grad():
            picture = self.stage.picture()
        if picture is not None:
            with written_aside(self.output / "samples" / f"step-{self.step:07d}.png") as temporary:
                picture.save(temporary, format="PNG")

    def _export(self) -> None:
        if self.accelerator.is_main_process:
            with self._averaged(), written_aside(self.output / "model") as folder:
                folder.mkdir()
                self.stage.save(folder)
        self.accelerator.wait_for_everyone()


def _read_settings(path: Path, kind: type[Settings]) -> dict[str, Any]:
    """The settings on record, with the defaults of those that did not exist yet when they were written."""
    try:
        before: dict[str, Any] = json.loads(path.read_text())
        known = {key: value for key, value in before.items() if key in kind.model_fields}
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path} cannot be read ({error}), so nobody knows what the checkpoint beside it was trained with; pass "
            "--allow-changes to go on with the present settings"
        ) from error
    with suppress(ValidationError):  # what is no longer valid is a difference, too
        return before | json.loads(kind.model_validate(known).model_dump_json())
    return before


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What has changed, as "name: old -> new"; names like "loop.steps"."""
    old, new = _flat(before), _flat(now)
    if old.get(_FINGERPRINT) is None or new.get(_FINGERPRINT) is None:  # nothing is known of one of the two
        old[_FINGERPRINT] = new[_FINGERPRINT] = None
    changed = sorted(key for key in (old.keys() | new.keys()) - _PLACES if old.get(key) != new.get(key))
    return [f"{key}: {old.get(key)} -> {new.get(key)}" for key in changed]


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


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
    processes = PartialState(cpu=_on_cpu())
    with sole_writer(output) if processes.is_main_process else nullcontext():
        processes.wait_for_everyone()  # until the first process has the lock and has put the folder in order
        try:
            trainer = Trainer(stage, output, allow_changes=allow_changes)
            try:
                trainer.run()
            finally:
                trainer.release()
        finally:
            processes.destroy_process_group()
            AcceleratorState._reset_state()  # another training in this process may want another precision
    return output / "model"
