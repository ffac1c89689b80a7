import json
import math
import os
import random
import signal
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_stage import (
    STEPS,
    LinearStage,
    digest,
    ended,
    free_port,
    killed_at_rename,
    killed_while_exporting,
    leftovers,
    on_a_full_disk,
    one_of_two,
    started,
    trained,
)
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from codiff.errors import InputError
from codiff.training.checkpoint import load_checkpoint
from codiff.training.loop import Interrupted, Trainer, indices_of, order, seed_of, train


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a training that nobody interrupts ends with."""
    output = tmp_path_factory.mktemp("whole")
    train(LinearStage(), output)
    assert len(digest(output)) == 4
    return digest(output)


def send(number: int, at: int) -> Callable[[int], None]:
    """Send this process a signal at the beginning of one step."""
    return lambda step: os.kill(os.getpid(), number) if step == at else None


def weights(stage: LinearStage) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in stage.model.parameters()]


def progress(output: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((output / "checkpoint" / "progress.json").read_text())
    return content


# -- order of the data ------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(examples=st.integers(1, 40), seed=st.integers(0, 5), epoch=st.integers(0, 5))
def test_each_epoch_is_a_permutation(examples: int, seed: int, epoch: int) -> None:
    assert order(examples, seed, epoch).sort().values.tolist() == list(range(examples))
    assert torch.equal(order(examples, seed, epoch), order(examples, seed, epoch))


def test_orders_differ_by_epoch_and_seed() -> None:
    orders = [order(50, seed, epoch).tolist() for seed in range(3) for epoch in range(3)]
    assert len({tuple(row) for row in orders}) == 9


@settings(max_examples=30, deadline=None)
@given(examples=st.integers(1, 25), count=st.integers(1, 30))
def test_epochs_are_joined_end_to_end(examples: int, count: int) -> None:
    steps = math.ceil(3 * examples / count)
    drawn = torch.cat([indices_of(step, count, examples, 7) for step in range(steps)])
    for epoch in range(3):
        assert torch.equal(drawn[epoch * examples :][:examples], order(examples, 7, epoch))


def test_seeds_are_functions_of_their_parts() -> None:
    assert seed_of(0, "noise", 3, 1) == 970820533283743419
    assert seed_of(1, 23) != seed_of(12, 3)


# -- resumption --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_save_and_the_same_call_goes_on(tmp_path: Path, whole: dict[str, str], number: signal.Signals) -> None:
    handler = signal.getsignal(number)
    with pytest.raises(Interrupted, match=rf"{number.name}: saved at step 8 in .*goes on from there"):
        train(LinearStage(before_batch=send(number, 7)), tmp_path)
    assert signal.getsignal(number) is handler
    assert progress(tmp_path)["step"] == 8
    assert not (tmp_path / "model").exists()
    assert train(LinearStage(), tmp_path) == tmp_path / "model"
    assert digest(tmp_path) == whole


def test_a_signal_in_the_last_step_changes_nothing(tmp_path: Path, whole: dict[str, str]) -> None:
    train(LinearStage(before_batch=send(signal.SIGTERM, STEPS - 1)), tmp_path)
    assert digest(tmp_path) == whole


def test_a_finished_training_is_not_trained_again(tmp_path: Path, whole: dict[str, str]) -> None:
    train(LinearStage(), tmp_path)
    stage = LinearStage()
    train(stage, tmp_path)
    assert stage.batches == 0
    assert digest(tmp_path) == whole


def test_asked_to_stop_from_outside(tmp_path: Path, whole: dict[str, str]) -> None:
    process = started(trained, tmp_path, 0.2)
    wait_for(tmp_path / "checkpoint")
    assert process.pid is not None
    os.kill(process.pid, signal.SIGTERM)
    assert ended(process) == 0
    assert 3 <= progress(tmp_path)["step"] < STEPS
    assert not leftovers(tmp_path)
    train(LinearStage(), tmp_path)
    assert digest(tmp_path) == whole


def wait_for(path: Path, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} does not appear"
        time.sleep(0.001)


def kill_when_saving(output: Path) -> None:
    """Start a training and kill it as soon as a temporary folder of a checkpoint is there."""
    process = started(trained, output)
    assert process.pid is not None
    mine = f".checkpoint.{process.pid}.partial"
    while process.is_alive() and not (output / mine).exists():
        time.sleep(0.0002)
    process.kill()
    ended(process)


def test_killed_again_and_again(tmp_path: Path, whole: dict[str, str]) -> None:
    moments = random.Random(3)
    for attempt in range(8):
        if attempt % 2:
            kill_when_saving(tmp_path)
        else:
            process = started(trained, tmp_path, 0.004)
            time.sleep(moments.uniform(0.03, 0.2))
            process.kill()
            ended(process)
    train(LinearStage(), tmp_path)
    assert digest(tmp_path) == whole
    assert not leftovers(tmp_path)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_killed_between_two_renamings(tmp_path: Path, whole: dict[str, str], number: int) -> None:
    assert ended(started(killed_at_rename, tmp_path, number)) == -signal.SIGKILL
    assert leftovers(tmp_path)
    assert (tmp_path / "checkpoint").exists() is (number != 1)
    with pytest.raises(Interrupted):  # the step after the checkpoint that was there or returned
        train(LinearStage(before_batch=send(signal.SIGTERM, 0)), tmp_path)
    assert progress(tmp_path)["step"] == (7 if number == 2 else 4)
    assert not leftovers(tmp_path)
    train(LinearStage(), tmp_path)
    assert digest(tmp_path) == whole


def test_killed_while_the_model_is_written(tmp_path: Path, whole: dict[str, str]) -> None:
    assert ended(started(killed_while_exporting, tmp_path)) == -signal.SIGKILL
    assert not (tmp_path / "model").exists()
    assert leftovers(tmp_path)
    train(LinearStage(), tmp_path)
    assert digest(tmp_path) == whole
    assert not leftovers(tmp_path)


def test_an_error_while_the_model_is_written_leaves_the_training(tmp_path: Path, whole: dict[str, str]) -> None:
    stage = LinearStage()

    def save(folder: Path) -> None:
        (folder / "half").write_text("a model")
        raise KeyboardInterrupt

    stage.save = save  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        train(stage, tmp_path)
    assert not (tmp_path / "model").exists()
    assert not leftovers(tmp_path)
    train(LinearStage(), tmp_path)
    assert digest(tmp_path) == whole


def test_two_processes_resume_exactly(tmp_path: Path, whole: dict[str, str]) -> None:
    for stop_at, name in ((None, "straight"), (10, "stopped"), (3, "stopped"), (None, "stopped")):
        port = free_port()
        both = [started(one_of_two, tmp_path / name, rank, port, stop_at) for rank in range(2)]
        assert [ended(process) for process in both] == [0, 0]
        if stop_at is not None:
            assert 0 < progress(tmp_path / name)["step"] < STEPS
    assert digest(tmp_path / "straight") == digest(tmp_path / "stopped") != whole
    with pytest.raises(InputError, match="processes: 2 -> 1"):
        train(LinearStage(), tmp_path / "stopped")


# -- one writer ----------------------------------------------------------------------------------------------------


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    process = started(trained, tmp_path, 1.0)
    wait_for(tmp_path / "owner.json")
    with pytest.raises(InputError, match=rf"is in use by process {process.pid} since \d{{4}}-.*; wait for it"):
        train(LinearStage(), tmp_path)
    process.kill()
    ended(process)
    train(LinearStage(steps=STEPS), tmp_path)  # the dead hold no lock
    assert not (tmp_path / "owner.json").exists()


def test_the_owner_may_be_just_starting(tmp_path: Path) -> None:
    process = started(trained, tmp_path, 1.0)
    wait_for(tmp_path / "owner.json")
    (tmp_path / "owner.json").write_text("{")
    with pytest.raises(InputError, match="is in use by another process; wait for it"):
        train(LinearStage(), tmp_path)
    process.kill()
    ended(process)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write into .*file.*Choose another folder"):
        train(LinearStage(), tmp_path / "file" / "output")


# -- settings ------------------------------------------------------------------------------------------------------


def stopped_at(output: Path, step: int, **stage: Any) -> None:
    with pytest.raises(Interrupted):
        train(LinearStage(before_batch=send(signal.SIGTERM, step - 1), **stage), output)


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    stopped_at(tmp_path, 5)
    with pytest.raises(InputError) as refused:
        train(LinearStage(learning_rate=0.5, betas=(0.8, 0.9)), tmp_path)
    assert "loop.betas: [0.9, 0.999] -> [0.8, 0.9]; loop.learning_rate: 0.02 -> 0.5" in str(refused.value)
    assert "--allow-changes" in str(refused.value)
    assert "loop.steps" not in str(refused.value)
    assert json.loads((tmp_path / "settings.json").read_text())["loop"]["learning_rate"] == 0.02
    train(LinearStage(learning_rate=0.5), tmp_path, allow_changes=True)
    assert json.loads((tmp_path / "settings.json").read_text())["loop"]["learning_rate"] == 0.5


def test_other_data_are_refused(tmp_path: Path) -> None:
    def stage(fingerprint: str | None, **arguments: Any) -> LinearStage:
        made = LinearStage(**arguments)
        made.fingerprint = fingerprint
        return made

    with pytest.raises(Interrupted):
        train(stage("faces-1", before_batch=send(signal.SIGTERM, 3)), tmp_path)
    with pytest.raises(InputError, match="data and frozen models: faces-1 -> faces-2"):
        train(stage("faces-2"), tmp_path)
    with pytest.raises(Interrupted):
        train(stage("faces-1", before_batch=send(signal.SIGTERM, 1)), tmp_path)
    train(stage(None), tmp_path)  # where one of the two is not known, nothing can be said


def test_settings_that_are_new_since_then_have_their_defaults(tmp_path: Path) -> None:
    stopped_at(tmp_path, 3)
    record = tmp_path / "settings.json"
    before = json.loads(record.read_text())
    del before["width"], before["loop"]["betas"]
    record.write_text(json.dumps(before))
    with pytest.raises(InputError, match=r"settings \(loop\.betas: \[0\.9, 0\.999\] -> \[0\.8, 0\.9\]\)\. Train"):
        train(LinearStage(betas=(0.8, 0.9)), tmp_path)
    record.write_text(json.dumps(before | {"width": -1, "gone": 3}))
    with pytest.raises(InputError, match=r"gone: 3 -> None; loop\.betas: None -> .*width: -1 -> 8"):
        train(LinearStage(), tmp_path)
    record.write_text(json.dumps(before))
    train(LinearStage(), tmp_path)


def test_unreadable_settings(tmp_path: Path) -> None:
    stopped_at(tmp_path, 3)
    (tmp_path / "settings.json").write_text("{")
    with pytest.raises(InputError, match=r"settings\.json cannot be read"):
        train(LinearStage(), tmp_path)
    train(LinearStage(), tmp_path, allow_changes=True)


def test_fp16_needs_a_gpu(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(InputError, match='"fp16" needs a GPU'):
        train(LinearStage(precision="fp16"), tmp_path)


def test_one_process_can_train_at_several_precisions(tmp_path: Path) -> None:
    train(LinearStage(precision="bf16", steps=2), tmp_path / "first")
    train(LinearStage(precision="no", steps=2), tmp_path / "second")


# -- losses that are not numbers -------------------------------------------------------------------------------------


def test_a_step_without_a_finite_loss_is_skipped(tmp_path: Path) -> None:
    before: list[list[Tensor]] = []
    stage = LinearStage(before_batch=lambda _: before.append(weights(stage)), spoilt=(0, 5, 6), warmup_steps=0)
    train(stage, tmp_path)
    same = [all(map(torch.equal, first, second)) for first, second in pairwise(before)]
    assert [number for number, unchanged in enumerate(same) if unchanged] == [0, 5, 6]
    assert progress(tmp_path)["ema_step"] == STEPS - 3


def test_skipped_steps_are_resumed_exactly(tmp_path: Path) -> None:
    train(LinearStage(spoilt=(2, 9)), tmp_path / "straight")
    stopped_at(tmp_path / "stopped", 6, spoilt=(2,))
    train(LinearStage(spoilt=(3,)), tmp_path / "stopped")
    assert digest(tmp_path / "straight") == digest(tmp_path / "stopped")


def test_the_number_of_skipped_steps_is_resumed(tmp_path: Path) -> None:
    stopped_at(tmp_path, 6, spoilt=(4, 5), skip_limit=3)
    with pytest.raises(InputError, match="the loss of 3 steps in a row"):
        train(LinearStage(spoilt=(0,), skip_limit=3), tmp_path)


def test_repeated_losses_without_a_number_stop(tmp_path: Path) -> None:
    stage = LinearStage(spoilt=tuple(range(20, 99)), accumulation=2, skip_limit=3, batch_size=2)
    with pytest.raises(InputError) as stopped:
        train(stage, tmp_path)
    last = [*indices_of(24, 2, stage.examples, 0).tolist(), *indices_of(25, 2, stage.examples, 0).tolist()]
    assert f"the loss of 3 steps in a row was not finite (last batch: examples {last})" in str(stopped.value)
    assert f"checkpoint is in {tmp_path}" in str(stopped.value)
    assert progress(tmp_path)["step"] == 12
    assert all(torch.isfinite(value).all() for value in load_file(tmp_path / "checkpoint/model.safetensors").values())
    train(LinearStage(accumulation=2, skip_limit=3, batch_size=2), tmp_path)


# -- damage ----------------------------------------------------------------------------------------------------------


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 16
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [truncate, flip, Path.unlink])
@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "ema.safetensors"])
def test_damaged_weights(tmp_path: Path, name: str, damage: Callable[[Path], None]) -> None:
    stopped_at(tmp_path, 3)
    damage(tmp_path / "checkpoint" / name)
    with pytest.raises(InputError, match=r"checkpoint is damaged .*remove the folder to start anew"):
        train(LinearStage(), tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"step": 3}', '{"step": 3, "sha256": {"model.safetensors": 1}}'])
def test_damaged_progress(tmp_path: Path, content: str) -> None:
    stopped_at(tmp_path, 3)
    (tmp_path / "checkpoint" / "progress.json").write_text(content)
    with pytest.raises(InputError, match="checkpoint is damaged"):
        train(LinearStage(), tmp_path)


def test_the_checkpoint_of_another_model(tmp_path: Path) -> None:
    stopped_at(tmp_path, 3)
    with pytest.raises(InputError, match=r"another shape \(3 weights differ, first 0\.bias: \(8,\) there, \(9,\) here"):
        train(LinearStage(width=9), tmp_path, allow_changes=True)


def test_checkpoints_of_the_first_version_are_read(tmp_path: Path, whole: dict[str, str]) -> None:
    stopped_at(tmp_path, 6)
    old = {key: value for key, value in progress(tmp_path).items() if key in ("step", "log", "seconds")}
    (tmp_path / "checkpoint" / "progress.json").write_text(json.dumps(old))
    train(LinearStage(), tmp_path)
    assert digest(tmp_path) == whole


def test_a_full_disk(tmp_path: Path) -> None:
    assert ended(started(on_a_full_disk, tmp_path, 20_000)) == 0
    message = (tmp_path / "error.txt").read_text()
    assert message.startswith(f"cannot write {tmp_path / 'checkpoint'}: File too large after")
    assert "are free. Make room" in message
    assert not leftovers(tmp_path)
    stage = LinearStage(width=1000)
    optimizer = torch.optim.AdamW(stage.model.parameters())
    restored = load_checkpoint(tmp_path, stage.model, optimizer, None)
    assert restored is not None
    assert restored["step"] == 3
    train(stage, tmp_path)


# -- the arithmetic of a step ------------------------------------------------------------------------------------------


def test_accumulation_is_a_larger_batch(tmp_path: Path) -> None:
    plain: dict[str, Any] = {"dropout": 0.0, "noise": 0.0, "ema_decay": None, "steps": 8}
    once, twice = LinearStage(**plain, batch_size=2), LinearStage(**plain, batch_size=1, accumulation=2)
    train(once, tmp_path / "once")
    train(twice, tmp_path / "twice")
    assert twice.batches == 2 * once.batches
    for first, second in zip(weights(once), weights(twice), strict=True):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-6)


def observed(output: Path, **loop: Any) -> tuple[list[float], list[float]]:
    """Learning rate and gradient norm of every step."""
    trainer = Trainer(LinearStage(**loop), output)
    rates: list[float] = []
    norms: list[float] = []

    def note(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        group = optimizer.param_groups[0]
        rates.append(group["lr"])
        norms.append(float(torch.cat([value.grad.flatten() for value in group["params"]]).norm()))

    trainer.optimizer.register_step_pre_hook(note)
    trainer.run()
    return rates, norms


def test_learning_rate_in_closed_form(tmp_path: Path) -> None:
    rates, _ = observed(tmp_path / "cosine", steps=20, warmup_steps=4, learning_rate=0.02)
    waves = [0.5 * (1 + math.cos(math.pi * (step - 4) / 16)) for step in range(4, 20)]
    assert rates == pytest.approx([0.0, 0.005, 0.01, 0.015, *(0.02 * wave for wave in waves)])
    rates, _ = observed(tmp_path / "constant", steps=6, warmup_steps=2, learning_rate=0.02, schedule="constant")
    assert rates == pytest.approx([0.0, 0.01, 0.02, 0.02, 0.02, 0.02])


def test_gradients_are_clipped(tmp_path: Path) -> None:
    _, free = observed(tmp_path / "free", max_grad_norm=1e9)
    _, clipped = observed(tmp_path / "clipped", max_grad_norm=0.05)
    assert min(free) > 0.05
    assert clipped == pytest.approx([0.05] * STEPS, rel=1e-3)


def test_averages_in_closed_form(tmp_path: Path) -> None:
    seen: list[list[Tensor]] = []
    stage = LinearStage(before_batch=lambda _: seen.append(weights(stage)), ema_decay=0.7)
    train(stage, tmp_path)
    seen.append(weights(stage))
    averages = seen[0]
    for step, current in enumerate(seen[1:]):
        decay = min(0.7, 1 - (1 + step) ** -0.75)
        averages = [decay * old + (1 - decay) * new for old, new in zip(averages, current, strict=True)]
    exported = load_file(tmp_path / "model" / "linear.safetensors")
    for name, expected in zip(dict(stage.model.named_parameters()), averages, strict=True):
        torch.testing.assert_close(exported[name], expected)
    assert not torch.equal(exported["0.weight"], stage.model.state_dict()["0.weight"])


def test_without_averages_the_weights_themselves_are_exported(tmp_path: Path) -> None:
    stage = LinearStage(ema_decay=None)
    train(stage, tmp_path)
    exported = load_file(tmp_path / "model" / "linear.safetensors")
    assert all(torch.equal(exported[name], value) for name, value in stage.model.state_dict().items())
    assert not (tmp_path / "checkpoint" / "ema.safetensors").exists()


def test_frozen_parameters_stay_as_they_are(tmp_path: Path) -> None:
    stage = LinearStage()
    stage.model[0].requires_grad_(False)
    first = weights(stage)
    train(stage, tmp_path)
    assert [torch.equal(before, after) for before, after in zip(first, weights(stage), strict=True)] == [
        True,
        True,
        False,
        False,
    ]
    assert "0.weight" not in load_file(tmp_path / "checkpoint" / "model.safetensors")


# -- what there is to look at ------------------------------------------------------------------------------------------


def test_curves_samples_and_events(tmp_path: Path) -> None:
    stopped_at(tmp_path, 5, log_every=2, picture_every=4)
    train(LinearStage(log_every=2, picture_every=4), tmp_path)
    with Image.open(tmp_path / "curves.png") as curves:
        assert min(curves.size) > 100
    pictures = sorted(path.name for path in (tmp_path / "samples").iterdir())
    assert pictures == [f"step-{step:07d}.png" for step in range(4, STEPS + 1, 4)]
    log = progress(tmp_path)["log"]
    assert [entry["step"] for entry in log] == list(range(2, STEPS + 1, 2))
    assert set(log[0]) == {"step", "learning_rate", "seconds", "loss"}
    shown = events(tmp_path / "tensorboard")
    assert [event.step for event in accumulated(tmp_path / "tensorboard").Images("samples")] == list(
        range(4, STEPS + 1, 4)
    )
    assert [step for step, _ in shown] == [entry["step"] for entry in log]
    assert [value for _, value in shown] == pytest.approx([entry["loss"] for entry in log])


def accumulated(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder), size_guidance={"images": 0})
    accumulator.Reload()
    return accumulator


def events(folder: Path) -> list[tuple[int, float]]:
    """Steps and values of the loss, as TensorBoard shows them."""
    return [(event.step, event.value) for event in accumulated(folder).Scalars("loss")]


def test_curves_of_losses_that_are_not_numbers(tmp_path: Path) -> None:
    train(LinearStage(steps=4, log_every=1, spoilt=(0, 2)), tmp_path / "some")
    train(LinearStage(steps=2, log_every=1, spoilt=(0, 1)), tmp_path / "all")
    assert (tmp_path / "some" / "curves.png").exists()
    assert (tmp_path / "all" / "curves.png").exists()


def test_the_loss_goes_down(tmp_path: Path) -> None:
    train(LinearStage(steps=150, log_every=1, checkpoint_every=1000, ema_decay=None), tmp_path)
    losses = [entry["loss"] for entry in progress(tmp_path)["log"]]
    assert sum(losses[-20:]) < 0.5 * sum(losses[:20])
