"""One task, drawn for several strengths and seeds."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from edits import BOTH, FEW, QUICK, picture, pipeline, target

from codiff import InputError, generators
from codiff.editing import imagic, sdedit
from codiff.editing.editors import EDITORS, editor_named
from codiff.editing.imagic import INVERSION, NOISE
from codiff.editing.inversion import Inversion
from codiff.editing.kept_noise import known_noise
from codiff.editing.task import Editing, EditTask


def task(editor: str, **changes: Any) -> EditTask:
    return EditTask(editor, picture(), target(), FEW, **changes)


def strengths(value: float) -> dict[str, float]:
    return dict.fromkeys(BOTH, value)


def test_it_draws_what_the_editor_draws() -> None:
    told: list[Any] = []
    editing = Editing(pipeline(), task("sdedit"), told.append, lambda step: told.append(step.index))
    edit = editing.draw(strengths(0.5), 3, 2)
    expected = sdedit(pipeline(), picture(), target(), strength=0.5, generator=generators(3, 2), sampling=FEW)
    assert torch.equal(edit.latents, expected.latents)
    assert told == [strengths(0.5), 0, 1]
    assert editing.learning_seconds == 0


def test_a_photo_is_learned_once_and_inverted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learned, told = tmp_path / "learned.safetensors", []
    begun = task("imagic", learned=learned, learning=QUICK, start=INVERSION)
    editing = Editing(pipeline(), begun, on_learning=lambda done, total, _loss: told.append((done, total)))
    first = editing.draw(strengths(1.0), 0)
    assert told[-1] == (8, 8)
    assert editing.learning_seconds > 0
    expected = imagic(pipeline(), picture(), target(), learned=learned, start=INVERSION, sampling=FEW)
    assert torch.equal(first.latents, expected.latents)
    monkeypatch.setattr(Inversion, "__init__", lambda *_args, **_kwargs: pytest.fail("it was inverted again"))
    other = editing.draw(strengths(0.5), 7)
    assert len(told) == 8
    again = Editing(pipeline(), begun)
    again.inverted = editing.inverted
    assert torch.equal(again.draw(strengths(0.5), 0).latents, other.latents)
    assert not torch.equal(other.latents, first.latents)


def test_the_noise_of_an_inversion_is_kept_beside_what_was_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = task("imagic", learned=tmp_path / "a.safetensors", learning=QUICK, start=INVERSION, rule="model mean")
    first = Editing(pipeline(), begun)
    assert first.inverted is None
    expected = first.draw(strengths(1.0), 0)
    others = [
        replace(begun, rule="model collaborative"),
        replace(begun, sampling=replace(FEW, num_inference_steps=3)),
        replace(begun, conditions=target(("text",))),
        replace(begun, rule=None),
        replace(begun, start=NOISE),
    ]
    assert all(Editing(pipeline(), other).inverted is None for other in others)
    kept = next(tmp_path.glob("*-noise.safetensors"))
    with monkeypatch.context() as patch:
        patch.setattr(Inversion, "__init__", lambda *_args, **_kwargs: pytest.fail("it was inverted again"))
        for _ in range(2):  # drawing writes the learned edit again, and must not lose what belongs to it
            again = Editing(pipeline(), begun).draw(strengths(1.0), 5)
            assert torch.equal(again.latents, expected.latents)
    kept.write_bytes(b"damaged")
    assert torch.equal(Editing(pipeline(), begun).draw(strengths(1.0), 0).latents, expected.latents)
    assert known_noise(kept) is not None
    assert begun.learned is not None
    begun.learned.unlink()
    anew = Editing(pipeline(), replace(begun, learning=replace(QUICK, model_steps=1)))
    anew.draw(strengths(1.0), 0)
    assert len(list(tmp_path.glob("*-noise.safetensors"))) == 2


def test_noise_is_drawn_anew_for_each_seed(tmp_path: Path) -> None:
    editing = Editing(pipeline(), task("imagic", learned=tmp_path / "a.safetensors", learning=QUICK, start=NOISE))
    first, other = (editing.draw(strengths(1.0), seed) for seed in (0, 1))
    assert editing.inverted is None
    assert not torch.equal(first.start, other.start)


def test_every_step_of_an_inversion_is_told() -> None:
    steps: list[int] = []
    editing = Editing(pipeline(), task("ddim-inversion"), on_step=lambda step: steps.append(step.index))
    editing.draw(strengths(1.0), 0)
    assert steps == [0, 1, 2, 3] * 3  # there, back as it came, back to the target


def test_what_on_step_raises_ends_the_work() -> None:
    class StoppedError(Exception):
        pass

    def stop(_step: Any) -> None:
        raise StoppedError

    for editor in EDITORS:
        options = {"source": target(BOTH)} if "source" in EDITORS[editor].takes else {}
        region = {"region": np.eye(32, dtype=bool)} if "region" in EDITORS[editor].takes else {}
        learning = {"learning": QUICK} if EDITORS[editor].learns else {}
        editing = Editing(pipeline(), task(editor, **options, **region, **learning), on_step=stop)
        with pytest.raises(StoppedError):
            editing.draw(strengths(0.5), 0)


def test_an_unknown_editor() -> None:
    with pytest.raises(InputError, match="unknown editor 'magic'; known: imagic, sdedit"):
        editor_named("magic")
    with pytest.raises(InputError, match="unknown editor"):
        Editing(pipeline(), task("magic")).draw(strengths(0.5), 0)
