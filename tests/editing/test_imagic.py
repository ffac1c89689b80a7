"""Imagic: what it learns, keeps, saves and samples."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from edits import BOTH, FEW, QUICK, digest, picture, pipeline, target
from models import new_pipeline, noise, raw_conditions, timesteps
from safetensors.torch import load_file, save_file

from codiff import CollaborativePipeline, InputError, generators
from codiff.composition import rule
from codiff.editing import Edit, Learned, Learning, Sampling, imagic, learning_for
from codiff.editing.learned import model_digest
from codiff.editing.learner import Learner
from codiff.editing.learning import PUBLISHED
from codiff.editing.photo import encode
from codiff.editing.tuning import Tuned, twin
from codiff.errors import InputNotice
from codiff.pixels import from_uint8

NOTHING = replace(QUICK, token_steps=0, model_steps=0)
WAYS = pytest.mark.parametrize(
    "learning", [QUICK, replace(QUICK, rank=None), replace(QUICK, together=True)], ids=["lora", "full", "together"]
)


def edited(**kwargs: Any) -> Edit:
    settings: dict[str, Any] = {"generator": generators(0, 1), "sampling": FEW, **kwargs}
    if "learned" not in settings:
        settings.setdefault("learning", QUICK)
    return imagic(pipeline(), picture(), target(), **settings)


@WAYS
def test_learning_fits_the_picture(learning: Learning) -> None:
    """Both stages lower the loss of noises that they never saw."""
    pipe = pipeline()
    latents = encode(pipe, from_uint8(np.asarray(picture())[None]))
    settings = replace(learning, token_steps=4, model_steps=8, batch_size=4)
    tokens = {modality: value.contiguous() for modality, value in pipe.collaborators.encode(target()).items()}
    learner = Learner(pipe, Learned(settings, "", "", tokens), latents, rule("mean", pipe.collaborators, {}))
    unseen = noise(32, seed=5), torch.linspace(0, 999, 32).long()

    def losses() -> list[float]:
        return [float(learner.loss(group, *unseen).detach()) for group in learner.learned.groups]

    before = losses()
    learner.run()
    assert all(after < 0.97 * begun for begun, after in zip(before, losses(), strict=True))


@WAYS
def test_saved_and_reused(learning: Learning, tmp_path: Path) -> None:
    path = tmp_path / "edit.safetensors"
    first = edited(learning=learning, save_to=path)
    for learned in (path, str(path), first.learned):
        again = edited(learned=learned)
        assert torch.equal(again.latents, first.latents)
    other = edited(learned=path, alpha=0.2, generator=generators(5, 2), sampling=Sampling(3, guidance_scale=2.0))
    assert len(other.images) == 2
    retargeted = imagic(pipeline(), picture(), {"text": "a young woman"}, learned=path, sampling=FEW)
    assert torch.isfinite(retargeted.latents).all()


@WAYS
def test_learning_and_inverting_leave_the_pipeline_as_it_was(learning: Learning) -> None:
    pipe = new_pipeline()
    before = digest(pipe)
    imagic(pipe, picture(), target(), learning=learning, start="inversion", sampling=FEW)
    assert digest(pipe) == before


def test_what_was_learned_to_the_end_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "edit.safetensors"
    edited(learning=NOTHING, save_to=path)
    written = path.stat().st_ino
    edited(learned=path, save_to=path)
    assert path.stat().st_ino == written
    edited(learned=path, save_to=tmp_path / "copy.safetensors")
    assert (tmp_path / "copy.safetensors").read_bytes() == path.read_bytes()


def test_digests_follow_every_change_of_the_weights() -> None:
    pipe = new_pipeline()
    first = model_digest(pipe, ["mask"])
    assert model_digest(pipe, ["mask"]) == first
    assert model_digest(new_pipeline(), ["mask"]) == first
    weights = next(pipe.collaborators["mask"].parameters())
    with torch.no_grad():
        weights.add_(1e-3)
    changed = model_digest(pipe, ["mask"])
    assert changed != first
    weights.data = weights.data - 1e-3
    assert model_digest(pipe, ["mask"]) != changed
    assert model_digest(pipe, ["text"]) != first


def test_a_model_without_condition_dropout_is_told_of_guidance() -> None:
    pipe = new_pipeline()
    pipe.register_to_config(condition_dropout=False)
    with pytest.warns(InputNotice, match="trained without condition dropout"):
        imagic(pipe, picture(), target(), learning=NOTHING, sampling=Sampling(2, guidance_scale=2.0))


def test_lora_is_small_and_full_is_whole() -> None:
    lora, full = edited().learned, edited(learning=replace(QUICK, rank=None)).learned
    assert lora is not None
    assert full is not None
    for modality in BOTH:
        whole = dict(pipeline().collaborators[modality].network.named_parameters())
        assert full.weights[modality].keys() == whole.keys()
        assert all(".lora_" in name for name in lora.weights[modality])


def test_stages_learn_what_they_should() -> None:
    tokens_only = edited(learning=replace(QUICK, model_steps=0)).learned
    weights_only = edited(learning=replace(QUICK, token_steps=0)).learned
    assert tokens_only is not None
    assert weights_only is not None
    encoded = pipeline().collaborators.encode(target())
    for modality in BOTH:
        assert not torch.equal(tokens_only.tokens[modality], encoded[modality])
        assert torch.equal(weights_only.tokens[modality], encoded[modality])
        changed = [value for name, value in weights_only.weights[modality].items() if ".lora_B." in name]
        unchanged = [value for name, value in tokens_only.weights[modality].items() if ".lora_B." in name]
        assert any(value.any() for value in changed)
        assert not any(value.any() for value in unchanged)


@pytest.mark.parametrize("alpha", [-1.0, 0.0, 0.3, 2.5])
def test_tokens_are_interpolated(alpha: float) -> None:
    """With weights as they were, the edit is what the pipeline's own models make of the interpolated tokens."""
    learning = replace(QUICK, model_steps=0, token_steps=4)
    edit = edited(learning=learning, alpha={"text": alpha, "mask": 1.0})
    assert edit.learned is not None
    pipe = new_pipeline()
    text = alpha * pipe.collaborators["text"].encode(target()["text"]) + (1 - alpha) * edit.learned.tokens["text"]
    pipe.collaborators["text"].encode = lambda _raw: text
    expected = pipe(target(), num_inference_steps=4, generator=generators(0, 1), output_type="latent").images
    torch.testing.assert_close(edit.latents, expected, atol=1e-4, rtol=1e-4)


def test_begins_with_the_noise_that_it_is_given() -> None:
    """The published scripts pass theirs under a name that the sampler ignores."""
    start = noise(1, seed=7)
    edit = edited(learning=NOTHING, latents=start)
    assert torch.equal(edit.start, start)
    expected = pipeline()(target(), num_inference_steps=4, latents=start, output_type="latent").images
    torch.testing.assert_close(edit.latents, expected)
    other = edited(learning=NOTHING, latents=noise(1, seed=8))
    assert not torch.allclose(other.latents, edit.latents, atol=1e-2)
    by_seed = edited(learning=NOTHING)
    assert torch.equal(by_seed.start, torch.randn(1, *pipeline().latent_shape, generator=generators(0, 1)[0]))


def test_begins_with_the_inverted_picture() -> None:
    """At alpha 0 the way out is the way in, so the picture comes back; seeds make no difference."""
    sampling = Sampling(10)
    learned = edited().learned
    found = [
        edited(learned=learned, alpha=0.0, start="inversion", generator=generators(seed, 1), sampling=sampling)
        for seed in (0, 9)
    ]
    assert torch.equal(found[0].latents, found[1].latents)
    known = encode(pipeline(), from_uint8(np.asarray(picture())[None]))
    drawn = edited(learned=learned, alpha=0.0, sampling=sampling)
    assert (found[0].latents - known).norm() < 0.2 * (drawn.latents - known).norm()
    with pytest.raises(InputError, match="either latents"):
        edited(start="inversion", latents=noise(1))
    with pytest.raises(InputError, match="unknown start 'here'"):
        edited(start="here")


def test_together_learns_through_the_composition() -> None:
    apart, joint = edited().learned, edited(learning=replace(QUICK, together=True)).learned
    assert apart is not None
    assert joint is not None
    assert (apart.total, joint.total) == (8, 4)
    assert not torch.equal(apart.tokens["mask"], joint.tokens["mask"])


class Stop(Exception):  # noqa: N818
    pass


@WAYS
@pytest.mark.parametrize("at", [1, 2, 3])
def test_interrupted_learning_goes_on_to_the_same_result(learning: Learning, at: int, tmp_path: Path) -> None:
    path = tmp_path / "edit.safetensors"

    def stop(done: int, _total: int, _loss: float) -> None:
        if done == at:
            raise Stop

    with pytest.raises(Stop):
        edited(learning=learning, save_to=path, on_learning=stop)
    half = Learned.load(path)
    assert (half.done, half.finished) == (at, False)
    resumed = edited(learned=path, save_to=path)
    whole = edited(learning=learning)
    assert torch.equal(resumed.latents, whole.latents)
    assert resumed.learned is not None
    assert whole.learned is not None
    for modality in BOTH:
        assert torch.equal(resumed.learned.tokens[modality], whole.learned.tokens[modality])
        for name, value in whole.learned.weights[modality].items():
            assert torch.equal(resumed.learned.weights[modality][name], value)
    assert Learned.load(path).finished
    assert not Learned.load(path).optimizer


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_wait_for_the_step_and_save(number: signal.Signals, tmp_path: Path) -> None:
    path = tmp_path / "edit.safetensors"
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        edited(save_to=path, on_learning=lambda done, *_: os.kill(os.getpid(), number) if done == 3 else None)
    assert Learned.load(path).done == 3
    assert signal.getsignal(number) is before
    assert torch.equal(edited(learned=path).latents, edited().latents)


def test_a_loss_that_is_not_finite_stops(tmp_path: Path) -> None:
    pipe = new_pipeline(("text",))
    torch.nn.init.constant_(pipe.collaborators["text"].network.unet.conv_out.bias, float("nan"))
    with pytest.raises(InputError, match="not finite"):
        imagic(pipe, picture(), target(("text",)), learning=QUICK, save_to=tmp_path / "edit.safetensors")
    assert Learned.load(tmp_path / "edit.safetensors").done == 0


@pytest.mark.parametrize(
    ("alpha", "told"),
    [
        (-1.1, "from -1 to 2.5"),
        (2.6, "from -1 to 2.5"),
        (float("nan"), "from -1 to 2.5"),
        ("1", "from -1 to 2.5"),
        ({"text": 1.0}, "alpha is given for text, but the target has text, mask"),
        ({"text": 1.0, "mask": 9.0}, "mask"),
    ],
)
def test_alphas_out_of_range(alpha: Any, told: str) -> None:
    with pytest.raises(InputError, match=told):
        edited(alpha=alpha)


def test_learned_edits_of_others_are_refused() -> None:
    learned = edited(learning=NOTHING).learned
    assert learned is not None
    with pytest.raises(InputError, match="another photo"):
        imagic(pipeline(), picture(1), target(), learned=learned)
    other = new_pipeline()
    with torch.no_grad():
        next(other.collaborators["mask"].parameters()).add_(1e-3)
    with pytest.raises(InputError, match="another model"):
        imagic(other, picture(), target(), learned=learned)
    with pytest.raises(InputError, match="another model"):
        imagic(new_pipeline(("text",)), picture(), target(("text",)), learned=learned)
    with pytest.raises(InputError, match="knows text, mask, not sketch"):
        imagic(pipeline(), picture(), target(("sketch",)), learned=learned)
    with pytest.raises(InputError, match="either"):
        imagic(pipeline(), picture(), target(), learned=learned, learning=QUICK)


def test_damaged_and_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "edit.safetensors"
    edited(learning=NOTHING, save_to=path)
    whole = path.read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.safetensors").write_text("not a file of tensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    save_file(load_file(path), tmp_path / "later.safetensors", metadata={"codiff": json.dumps({"format": 99})})
    for name in ("cut", "text", "foreign", "later"):
        with pytest.raises(InputError, match="not a learned edit, or damaged"):
            Learned.load(tmp_path / f"{name}.safetensors")
    with pytest.raises(InputError, match="there is no learned edit"):
        Learned.load(tmp_path / "absent.safetensors")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"token_steps": -1}, "token_steps"),
        ({"model_steps": 1.5}, "model_steps"),
        ({"batch_size": 0}, "batch_size"),
        ({"rank": 0}, "rank"),
        ({"seed": True}, "seed"),
        ({"token_rate": 0.0}, "token_rate"),
        ({"model_rate": float("inf")}, "model_rate"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        replace(QUICK, **settings)


def test_what_cannot_be_learned_is_told() -> None:
    with pytest.raises(InputError, match="lower rank"):
        edited(learning=replace(QUICK, rank=1000))
    with pytest.raises(InputError, match="one picture at a time"):
        imagic(pipeline(), [picture(0), picture(1)], target(), learning=QUICK, generator=generators(0, 2))
    half = new_pipeline(("text",)).to(dtype=torch.bfloat16)
    with pytest.raises(InputError, match="float32"):
        imagic(half, picture(), target(("text",)), learning=replace(QUICK, rank=None))
    offloaded = new_pipeline(("text",))
    offloaded.enable_model_cpu_offload(device="cpu")
    with pytest.raises(InputError, match="offloaded"):
        imagic(offloaded, picture(), target(("text",)), learning=QUICK)


def test_half_precision_learns_with_lora() -> None:
    half = new_pipeline(("text",)).to(dtype=torch.bfloat16)
    edit = imagic(half, picture(), target(("text",)), learning=QUICK, sampling=FEW)
    assert edit.learned is not None
    assert {value.dtype for value in edit.learned.weights["text"].values()} == {torch.float32}


def test_twins_share_weights_until_they_learn() -> None:
    model = pipeline().collaborators["mask"]
    sharing, own = twin(model, copied=False), twin(model, copied=True)
    assert sharing.encoder is own.encoder is model.encoder
    for name, value in model.network.named_parameters():
        aliased, copied = dict(sharing.network.named_parameters())[name], dict(own.network.named_parameters())[name]
        assert aliased is not value
        assert aliased.data_ptr() == value.data_ptr() != copied.data_ptr()
        assert not aliased.requires_grad
        assert copied.requires_grad


def tuned_at_random(dtype: torch.dtype) -> tuple[CollaborativePipeline, Tuned]:
    pipe = new_pipeline(("mask",)).to(dtype=dtype)
    generator = torch.Generator().manual_seed(0)
    tuned = Tuned(pipe.collaborators["mask"], 2, generator)
    tuned.load({name: torch.randn(value.shape, generator=generator) / 8 for name, value in tuned.state().items()})
    return pipe, tuned


def test_merged_lora_says_the_same() -> None:
    pipe, tuned = tuned_at_random(torch.float32)
    original = pipe.collaborators["mask"]
    before = {name: value.clone() for name, value in original.state_dict().items()}
    merged, tokens = tuned.merged(), pipe.collaborators.encode(raw_conditions(("mask",)))
    assert not any(".lora_" in name for name, _ in merged.named_parameters())
    with torch.no_grad():
        said = [model(noise(1), timesteps(500), tokens).sample for model in (merged, tuned.model, original)]
    torch.testing.assert_close(said[0], said[1], rtol=1e-4, atol=1e-4)
    assert float((said[0] - said[2]).abs().max()) > 0.1
    assert all(torch.equal(value, before[name]) for name, value in original.state_dict().items())


def test_lora_is_not_merged_into_half_precision() -> None:
    _, tuned = tuned_at_random(torch.bfloat16)
    assert tuned.merged() is tuned.model


def test_settings_that_suit_a_model() -> None:
    assert learning_for(pipeline()).rank is not None
    assert learning_for(pipeline(), full=True).rank is None
    assert (PUBLISHED.token_steps, PUBLISHED.model_steps) == (500, 1000)
    assert (PUBLISHED.token_rate, PUBLISHED.model_rate, PUBLISHED.rank, PUBLISHED.batch_size) == (1e-3, 1e-6, None, 1)


def test_draws_are_a_function_of_seed_and_step() -> None:
    learned = edited(learning=NOTHING).learned
    assert learned is not None
    first, second = (Learner(pipeline(), learned, noise(1), None) for _ in range(2))  # type: ignore[arg-type]
    assert torch.equal(first.draw(3)[0], second.draw(3)[0])
    assert not torch.equal(first.draw(3)[0], first.draw(4)[0])
    assert first.draw(0)[1].dtype == torch.int64
