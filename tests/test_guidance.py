import math

import pytest
import torch
from models import collaborators, dynamic_diffusers, noise, raw_batch, timesteps
from torch import Tensor

from codiff import Collaborative, Guidance, InputError, Mean, Weighted
from codiff.constant_conditions import constant_conditions
from codiff.denoiser import Conditions, Denoiser, DenoiserOutput
from codiff.guidance import with_and_without


@pytest.fixture(autouse=True)
def _no_gradients() -> object:
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def tokens() -> dict[str, Tensor]:
    return collaborators().encode(raw_batch(2))


@pytest.fixture(scope="module")
def nothing(tokens: dict[str, Tensor]) -> dict[str, Tensor]:
    return collaborators().unconditional(tokens)


X, T = noise(), timesteps(900, 10)


def test_scale_one_is_the_conditional_estimate(tokens: dict[str, Tensor], nothing: dict[str, Tensor]) -> None:
    for denoiser in (collaborators()["text"], Mean(collaborators())):
        assert torch.equal(Guidance(denoiser, nothing, 1.0)(X, T, tokens).sample, denoiser(X, T, tokens).sample)


def test_scale_zero_is_the_unconditional_estimate(tokens: dict[str, Tensor], nothing: dict[str, Tensor]) -> None:
    for denoiser in (collaborators()["text"], Mean(collaborators())):
        guided, plain = Guidance(denoiser, nothing, 0.0)(X, T, tokens), denoiser(X, T, nothing)
        assert torch.equal(guided.sample, plain.sample)
        assert not torch.allclose(guided.sample, denoiser(X, T, tokens).sample)


def test_the_estimate_is_linear_in_the_scale(tokens: dict[str, Tensor], nothing: dict[str, Tensor]) -> None:
    denoiser = collaborators()["mask"]
    conditional, unconditional = denoiser(X, T, tokens).sample, denoiser(X, T, nothing).sample
    for scale in (-1.0, 0.5, 2.0, 7.5):
        expected = unconditional + scale * (conditional - unconditional)
        torch.testing.assert_close(Guidance(denoiser, nothing, scale)(X, T, tokens).sample, expected)


@pytest.mark.parametrize("rule", ["mean", "weighted"])
def test_guiding_the_parts_is_guiding_the_whole_when_influences_are_fixed(
    rule: str, tokens: dict[str, Tensor], nothing: dict[str, Tensor]
) -> None:
    models = collaborators()
    weights = {"text": 1.0, "mask": 2.0, "sketch": 3.0}
    composition = Mean(models) if rule == "mean" else Weighted(models, weights)
    whole = Guidance(composition, nothing, 3.0)(X, T, tokens)
    parts = composition.guided(nothing, 3.0)(X, T, tokens)
    torch.testing.assert_close(parts.sample, whole.sample)
    assert not torch.allclose(parts.sample, composition(X, T, tokens).sample)


def test_guided_composition_keeps_the_influences_of_the_conditions(
    tokens: dict[str, Tensor], nothing: dict[str, Tensor]
) -> None:
    models = collaborators()
    composition = Collaborative(models, dynamic_diffusers())
    guided = composition.guided(nothing, 3.0)
    before, after = composition(X, T, tokens).influences, guided(X, T, tokens).influences
    assert before is not None
    assert after is not None
    assert all(torch.equal(before[m], after[m]) for m in tokens)
    expected = sum(before[m] * Guidance(models[m], nothing, 3.0)(X, T, tokens).sample for m in tokens)
    torch.testing.assert_close(guided(X, T, tokens).sample, expected)
    assert composition.collaborators is models  # the original is as it was
    assert composition.guided(nothing, 1.0) is composition


def test_guidance_around_a_composition_reports_conditional_influences(
    tokens: dict[str, Tensor], nothing: dict[str, Tensor]
) -> None:
    composition = Collaborative(collaborators(), dynamic_diffusers())
    guided, plain = Guidance(composition, nothing, 2.0)(X, T, tokens).influences, composition(X, T, tokens).influences
    assert guided is not None
    assert plain is not None
    assert all(torch.equal(guided[m], plain[m]) for m in tokens)
    assert Guidance(collaborators()["text"], nothing, 2.0)(X, T, tokens).influences is None


def test_negative_conditions_take_the_place_of_none(tokens: dict[str, Tensor], nothing: dict[str, Tensor]) -> None:
    models = collaborators()
    avoid = {**nothing, "text": models["text"].encode("a young woman")}  # one for the whole batch
    guided = Guidance(models["text"], avoid, 2.0)(X, T, tokens).sample
    away = models["text"](X, T, {"text": avoid["text"].expand_as(tokens["text"])}).sample
    torch.testing.assert_close(guided, 2.0 * models["text"](X, T, tokens).sample - away)
    assert not torch.allclose(guided, Guidance(models["text"], nothing, 2.0)(X, T, tokens).sample)
    # Moving away from the condition itself leaves it where it is.
    same = Guidance(models["text"], tokens, 5.0)(X, T, tokens).sample
    torch.testing.assert_close(same, models["text"](X, T, tokens).sample)


def test_unconditional_tokens_match_the_conditions(tokens: dict[str, Tensor], nothing: dict[str, Tensor]) -> None:
    assert list(nothing) == list(tokens)
    for modality, value in nothing.items():
        assert value.shape == tokens[modality].shape
        assert not value.any()
        assert tokens[modality].any(dim=-1).all()  # no encoder produces them


@pytest.mark.parametrize("scale", [math.nan, math.inf, -math.inf])
def test_the_scale_must_be_finite(scale: float, nothing: dict[str, Tensor]) -> None:
    with pytest.raises(InputError, match="guidance scale must be a finite number"):
        Guidance(collaborators()["text"], nothing, scale)
    with pytest.raises(InputError, match="guidance scale must be a finite number"):
        Mean(collaborators()).guided(nothing, scale)


class Counted:
    """A denoiser that remembers the batches it was asked about."""

    def __init__(self, denoiser: Denoiser) -> None:
        self.denoiser, self.batches = denoiser, list[int]()

    def __call__(self, latents: Tensor, timestep: Tensor, conditions: Conditions) -> DenoiserOutput:
        self.batches.append(len(latents))
        return self.denoiser(latents, timestep, conditions)


def test_with_and_without_a_condition_is_one_call(tokens: dict[str, Tensor], nothing: dict[str, Tensor]) -> None:
    composition = Collaborative(collaborators(), dynamic_diffusers())
    asked = Counted(composition)
    given, base = with_and_without(asked, X, T, tokens, nothing)
    assert asked.batches == [2 * len(X)]
    for found, conditions in ((given, tokens), (base, nothing)):
        expected = composition(X, T, {m: value.expand(len(X), *value.shape[1:]) for m, value in conditions.items()})
        torch.testing.assert_close(found.sample, expected.sample)
        assert found.influences is not None
        assert expected.influences is not None
        for modality in tokens:
            torch.testing.assert_close(found.influences[modality], expected.influences[modality])


def test_conditions_of_other_lengths_are_asked_about_one_by_one(tokens: dict[str, Tensor]) -> None:
    asked = Counted(collaborators()["text"])
    longer = {"text": tokens["text"].repeat(1, 2, 1)}
    found = with_and_without(asked, X, T, {"text": tokens["text"]}, longer)
    assert asked.batches == [len(X), len(X)]
    for output, conditions in zip(found, (tokens, longer), strict=True):
        assert torch.equal(output.sample, asked.denoiser(X, T, conditions).sample)


def test_joined_conditions_are_kept_for_an_image_and_no_longer(
    tokens: dict[str, Tensor], nothing: dict[str, Tensor]
) -> None:
    denoiser = collaborators()["mask"]
    changed = {"mask": tokens["mask"].clone()}
    with constant_conditions():
        first = with_and_without(denoiser, X, T, changed, nothing)[0].sample
        assert torch.equal(with_and_without(denoiser, X, T, changed, nothing)[0].sample, first)
        changed["mask"].mul_(-1)
        assert not torch.allclose(with_and_without(denoiser, X, T, changed, nothing)[0].sample, first)
