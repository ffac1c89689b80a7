import math
from collections.abc import Mapping
from functools import cache
from itertools import combinations

import pytest
import torch
from models import (
    DYNAMIC_UNET,
    FEATURES,
    MODALITIES,
    collaborator,
    collaborators,
    dynamic_diffuser,
    dynamic_diffusers,
    new_dynamic_diffusers,
    noise,
    numbered,
    raw_batch,
    seeded,
    timesteps,
)
from torch import Tensor

from codiff import (
    Additive,
    AdditiveCollaborative,
    Blended,
    Collaborative,
    Composition,
    Conditions,
    DenoiserOutput,
    DynamicDiffuser,
    DynamicDiffusers,
    GuidanceSum,
    InputError,
    Mean,
    Weighted,
    cosine_decay,
    official_recipe,
)
from codiff.composition import RULES, Influences, learned_rule, rule

ADDING = ("additive", "guidance-sum")
SUBSETS = [subset for size in (1, 2, 3) for subset in combinations(MODALITIES, size)]


@pytest.fixture(autouse=True)
def _no_gradients() -> object:
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def tokens() -> dict[str, Tensor]:
    return collaborators().encode(raw_batch(2))


@cache
def adding() -> DynamicDiffusers:
    return new_dynamic_diffusers(activation="softplus")


def ready(name: str) -> Composition:
    """A rule of this name over the tiny models, told what no condition is."""
    models = collaborators()
    diffusers = adding() if name == "additive" else dynamic_diffusers()
    nothing = models.unconditional(models.encode(raw_batch(1)))
    return rule(name, models, diffusers).guided(nothing, 1.0)


def total(influences: Mapping[str, Tensor]) -> Tensor:
    return torch.stack(list(influences.values())).sum(dim=0)


def influences_of(output: DenoiserOutput) -> dict[str, Tensor]:
    assert output.influences is not None
    return output.influences


def plane(value: float, *, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.full((1, 1, 4, 4), value, dtype=dtype)


def two(p: float, *, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    return {"mask": plane(p, dtype=dtype), "text": plane(1 - p, dtype=dtype)}


class TestCollaborative:
    @pytest.mark.parametrize("count", [1, 2, 3, 5])
    def test_any_number_of_modalities(self, count: int) -> None:
        models, diffusers, conditions = numbered(count)
        x, t = noise(), timesteps(900, 10)
        output = Collaborative(models, diffusers)(x, t, conditions)
        influences = influences_of(output)
        assert list(influences) == list(conditions)
        assert all(share.shape == (2, 1, 4, 4) and (share >= 0).all() for share in influences.values())
        torch.testing.assert_close(total(influences), torch.ones(2, 1, 4, 4))
        # Equations 6 and 7, term by term.
        exponentials = {m: torch.exp(diffusers[m](x, t, conditions[m])) for m in conditions}
        weighted = [exponentials[m] * models[m](x, t, conditions).sample for m in conditions]
        torch.testing.assert_close(output.sample, torch.stack(weighted).sum(dim=0) / total(exponentials))

    def test_influences_of_the_tests_are_not_trivial(self, tokens: dict[str, Tensor]) -> None:
        influences = Collaborative(collaborators(), dynamic_diffusers()).influences(noise(), timesteps(900, 10), tokens)
        assert all(share.std() > 0.02 for share in influences.values())

    @pytest.mark.parametrize("subset", SUBSETS, ids="+".join)
    def test_only_modalities_present_take_part(self, subset: tuple[str, ...], tokens: dict[str, Tensor]) -> None:
        conditions = {modality: tokens[modality] for modality in subset}
        x, t = noise(), timesteps(500, 20)
        whole = Collaborative(collaborators(), dynamic_diffusers())(x, t, conditions)
        alone = Collaborative(collaborators(subset), dynamic_diffusers(subset))
        assert set(influences_of(whole)) == set(subset)
        torch.testing.assert_close(total(influences_of(whole)), torch.ones(2, 1, 4, 4))
        if subset == MODALITIES[: len(subset)]:  # the helpers give the same weights to the same positions
            assert torch.equal(whole.sample, alone(x, t, conditions).sample)

    @pytest.mark.parametrize("modality", MODALITIES)
    def test_one_modality_is_its_collaborator_to_the_bit(self, modality: str, tokens: dict[str, Tensor]) -> None:
        models, conditions = collaborators(), {modality: tokens[modality]}
        x, t = noise(), timesteps(700, 3)
        expected = models[modality](x, t, conditions).sample
        for name in RULES:
            output = ready(name)(x, t, conditions)
            torch.testing.assert_close(output.sample, expected, msg=name)
            assert name in ADDING or torch.equal(output.sample, expected), name
            assert torch.equal(influences_of(output)[modality], torch.ones(2, 1, 4, 4)), name
        assert torch.equal(Collaborative(models, {})(x, t, conditions).sample, expected)

    def test_without_spatial_variation(self, tokens: dict[str, Tensor]) -> None:
        models, diffusers, x, t = collaborators(), dynamic_diffusers(), noise(), timesteps(900, 10)
        full = Collaborative(models, diffusers).influences(x, t, tokens)
        flat = Collaborative(models, diffusers, spatial_variation=False).influences(x, t, tokens)
        for modality, share in flat.items():
            assert share.shape == (2, 1, 4, 4)
            assert torch.equal(share, share[..., :1, :1].expand_as(share))
            torch.testing.assert_close(share[:, 0, 0, 0], full[modality].mean(dim=(1, 2, 3)))
            assert not torch.equal(share[0], share[1])
        torch.testing.assert_close(total(flat), torch.ones(2, 1, 4, 4))

    def test_without_temporal_variation(self, tokens: dict[str, Tensor]) -> None:
        models, diffusers, x = collaborators(), dynamic_diffusers(), noise()
        full = Collaborative(models, diffusers)
        fixed = Collaborative(models, diffusers, influence_timestep=300)
        at_300 = full.influences(x, timesteps(300, 300), tokens)
        for t in (timesteps(1, 1), timesteps(999, 400)):
            influences = fixed.influences(x, t, tokens)
            assert all(torch.equal(influences[m], at_300[m]) for m in tokens)
            assert any(not torch.equal(full.influences(x, t, tokens)[m], at_300[m]) for m in tokens)
        # The collaborators themselves still see the time.
        assert not torch.equal(fixed(x, timesteps(1, 1), tokens).sample, fixed(x, timesteps(999, 999), tokens).sample)

    def test_reweight_comes_after_the_softmax_and_sees_the_true_time(self, tokens: dict[str, Tensor]) -> None:
        seen: list[Tensor] = []

        def only_text(influences: dict[str, Tensor], timestep: Tensor) -> dict[str, Tensor]:
            torch.testing.assert_close(total(influences), torch.ones(2, 1, 4, 4))
            seen.append(timestep)
            return {m: torch.full_like(share, float(m == "text")) for m, share in influences.items()}

        models, x, t = collaborators(), noise(), timesteps(900, 10)
        steered = Collaborative(models, dynamic_diffusers(), reweight=only_text, influence_timestep=500)
        torch.testing.assert_close(steered(x, t, tokens).sample, models["text"](x, t, tokens).sample)
        assert len(seen) == 1
        assert torch.equal(seen[0], t)

    def test_a_missing_dynamic_diffuser_is_named(self, tokens: dict[str, Tensor]) -> None:
        partial = Collaborative(collaborators(), dynamic_diffusers(("text", "mask")))
        with pytest.raises(InputError, match="unknown modality 'sketch'"):
            partial(noise(), timesteps(1, 1), tokens)


class TestTokens:
    """Tokens are read as a set by cross-attention, and as a square, row by row, by a collaborator with a map."""

    def test_their_places_matter_only_to_a_map(self) -> None:
        tokens = torch.randn(1, 16, FEATURES, generator=seeded(0))
        turned = tokens.flip(1)
        for spatial, matters in ((0, False), (2, True)):
            model = collaborator("mask", spatial=spatial)
            one, other = (model(noise(1), timesteps(500), {"mask": t}).sample for t in (tokens, turned))
            assert torch.allclose(one, other, atol=1e-4) != matters
            diffuser = dynamic_diffuser(spatial=spatial)
            one, other = (diffuser(noise(1), timesteps(500), t) for t in (tokens, turned))
            assert torch.allclose(one, other, atol=1e-4) != matters

    def test_a_map_is_fitted_to_the_latents(self) -> None:
        model = collaborator("mask", spatial=2)
        tokens = torch.randn(1, 1, FEATURES, generator=seeded(0))
        quarters = tokens.expand(1, 4, FEATURES)  # the same everywhere, whatever their number
        one, other = (model(noise(1), timesteps(500), {"mask": t}).sample for t in (tokens, quarters))
        torch.testing.assert_close(one, other)
        uneven = torch.randn(1, 4, FEATURES, generator=seeded(0))
        assert model(noise(1), timesteps(500), {"mask": uneven}).sample.shape == (1, 4, 4, 4)


class TestFixedRules:
    def test_mean(self, tokens: dict[str, Tensor]) -> None:
        models, x, t = collaborators(), noise(), timesteps(900, 10)
        output = Mean(models)(x, t, tokens)
        estimates = [models[m](x, t, tokens).sample for m in tokens]
        torch.testing.assert_close(output.sample, torch.stack(estimates).mean(dim=0))
        assert all(torch.equal(share, torch.full((2, 1, 4, 4), 1 / 3)) for share in influences_of(output).values())

    def test_weighted(self, tokens: dict[str, Tensor]) -> None:
        models, x, t = collaborators(), noise(), timesteps(900, 10)
        composition = Weighted(models, {"text": 3.0, "mask": 1.0, "sketch": 0.0})
        both = {m: tokens[m] for m in ("text", "mask")}
        expected = 0.75 * models["text"](x, t, both).sample + 0.25 * models["mask"](x, t, both).sample
        for conditions in (both, tokens):  # a weight of zero is like absence
            torch.testing.assert_close(composition(x, t, conditions).sample, expected)
        shares = influences_of(composition(x, t, {m: tokens[m] for m in ("sketch", "mask")}))
        assert torch.equal(shares["mask"], torch.ones(2, 1, 4, 4))

    def test_weighted_errors(self, tokens: dict[str, Tensor]) -> None:
        models = collaborators()
        for weight in (-1.0, math.nan, math.inf):
            with pytest.raises(InputError, match="finite and >= 0"):
                Weighted(models, {"text": weight})
        with pytest.raises(InputError, match="unknown modality 'mask'"):
            Weighted(models, {"text": 1.0, "sketch": 1.0})(noise(), timesteps(1, 1), tokens)
        with pytest.raises(InputError, match="all zero"):
            Weighted(models, {"text": 0.0, "mask": 1.0})(noise(), timesteps(1, 1), {"text": tokens["text"]})

    def test_blended(self, tokens: dict[str, Tensor]) -> None:
        models, x, t = collaborators(), noise(), timesteps(900, 10)
        left = torch.zeros(1, 1, 4, 4)
        left[..., :2] = 3.0
        conditions = {m: tokens[m] for m in ("text", "mask")}
        output = Blended(models, {"text": left, "mask": (3.0 - left).expand(2, 1, 4, 4)})(x, t, conditions)
        text, mask = (models[m](x, t, conditions).sample for m in conditions)
        torch.testing.assert_close(output.sample, torch.cat([text[..., :2], mask[..., 2:]], dim=-1))
        half = Blended(models, {m: torch.full((1, 1, 4, 4), 0.2) for m in tokens})(x, t, tokens)
        torch.testing.assert_close(half.sample, Mean(models)(x, t, tokens).sample)

    def test_blended_errors(self, tokens: dict[str, Tensor]) -> None:
        models, x, t = collaborators(), noise(), timesteps(1, 1)
        text = {"text": tokens["text"]}
        for wrong in (-1.0, math.nan, math.inf):
            with pytest.raises(InputError, match="finite and >= 0"):
                Blended(models, {"text": plane(wrong)})
        for shape in ((1, 1, 8, 8), (3, 1, 4, 4), (1, 4, 4), (1, 4, 4, 4)):
            with pytest.raises(InputError, match=r"'text' has shape .* expected \(2, 1, 4, 4\) or \(1, 1, 4, 4\)"):
                Blended(models, {"text": torch.ones(shape)})(x, t, text)
        with pytest.raises(InputError, match="every pixel needs a modality"):
            Blended(models, {"text": torch.eye(4)[None, None]})(x, t, text)
        with pytest.raises(InputError, match="unknown modality 'mask'"):
            Blended(models, {"text": plane(1.0)})(x, t, {m: tokens[m] for m in ("text", "mask")})


class TestRules:
    @pytest.mark.parametrize("name", RULES)
    def test_every_rule_runs(self, name: str, tokens: dict[str, Tensor]) -> None:
        output = ready(name)(noise(), timesteps(900, 10), tokens)
        assert output.sample.shape == (2, 4, 4, 4)
        assert output.sample.isfinite().all()
        if name not in ADDING:
            torch.testing.assert_close(total(influences_of(output)), torch.ones(2, 1, 4, 4))

    def test_rules_differ(self, tokens: dict[str, Tensor]) -> None:
        outputs = [ready(name)(noise(), timesteps(900, 10), tokens) for name in RULES]
        for one, other in combinations(outputs, 2):
            assert not torch.allclose(one.sample, other.sample)

    def test_unknown_rule(self) -> None:
        with pytest.raises(InputError, match="unknown composition 'median'; known: collaborative, additive, mean"):
            rule("median", collaborators(), dynamic_diffusers())

    def test_unknown_and_no_modality(self, tokens: dict[str, Tensor]) -> None:
        composition = Mean(collaborators())
        with pytest.raises(InputError, match="unknown modality 'smell': this model has text, mask, sketch"):
            composition(noise(), timesteps(1, 1), {"smell": tokens["text"]})
        with pytest.raises(InputError, match="no condition given: give at least one of text, mask, sketch"):
            composition(noise(), timesteps(1, 1), {})

    def test_a_new_rule_only_chooses_influences(self, tokens: dict[str, Tensor]) -> None:
        class Last(Composition):
            def influences(self, latents: Tensor, timestep: Tensor, conditions: Conditions) -> Influences:  # noqa: ARG002
                last = list(conditions)[-1]
                return {m: latents.new_full((len(latents), 1, 1, 1), float(m == last)) for m in conditions}

        models, x, t = collaborators(), noise(), timesteps(900, 10)
        assert torch.equal(Last(models)(x, t, tokens).sample, models["sketch"](x, t, tokens).sample)


class TestAdditive:
    def test_influences_of_one_are_a_product_of_experts(self, tokens: dict[str, Tensor]) -> None:
        models, x, t = collaborators(), noise(), timesteps(900, 10)
        nothing = models.unconditional(tokens)
        given = torch.stack([models[m](x, t, tokens).sample for m in tokens])
        base = torch.stack([models[m](x, t, {m: nothing[m].expand_as(tokens[m])}).sample for m in tokens])
        output = GuidanceSum(models).guided(nothing, 1.5)(x, t, tokens)
        torch.testing.assert_close(output.sample, base.mean(dim=0) + 1.5 * (given - base).sum(dim=0))

    def test_a_product_of_experts_is_the_mean_at_as_many_times_the_scale(self, tokens: dict[str, Tensor]) -> None:
        models, x, t = collaborators(), noise(), timesteps(900, 10)
        nothing = models.unconditional(tokens)
        added = GuidanceSum(models).guided(nothing, 1.5)(x, t, tokens).sample
        shared = Mean(models).guided(nothing, 1.5 * len(tokens))(x, t, tokens).sample
        torch.testing.assert_close(added, shared)

    @pytest.mark.parametrize("scale", [1.0, 2.0])
    def test_influences_that_sum_to_one_are_the_guided_composition(
        self, scale: float, tokens: dict[str, Tensor]
    ) -> None:
        class Shared(Additive):
            def influences(self, latents: Tensor, timestep: Tensor, conditions: Conditions) -> Influences:
                return Collaborative(self.collaborators, dynamic_diffusers()).influences(latents, timestep, conditions)

        models, x, t = collaborators(), noise(), timesteps(900, 10)
        nothing = models.unconditional(tokens)
        expected = Collaborative(models, dynamic_diffusers()).guided(nothing, scale)(x, t, tokens)
        torch.testing.assert_close(Shared(models).guided(nothing, scale)(x, t, tokens).sample, expected.sample)

    def test_influences_are_the_softplus_of_each_logit_alone(self, tokens: dict[str, Tensor]) -> None:
        models, diffusers, x, t = collaborators(), adding(), noise(), timesteps(900, 10)
        influences = AdditiveCollaborative(models, diffusers).influences(x, t, tokens)
        for modality, share in influences.items():
            logits = diffusers[modality](x, t, tokens[modality])
            torch.testing.assert_close(share, torch.log1p(torch.exp(logits)))
        fewer = {m: tokens[m] for m in list(tokens)[:2]}
        again = AdditiveCollaborative(models, diffusers).influences(x, t, fewer)
        assert all(torch.equal(again[m], influences[m]) for m in fewer)

    def test_influences_weigh_both_the_base_and_the_directions(self, tokens: dict[str, Tensor]) -> None:
        models, x, t = collaborators(), noise(), timesteps(900, 10)
        nothing = {m: value.expand_as(tokens[m]) for m, value in models.unconditional(tokens).items()}
        rule_ = AdditiveCollaborative(models, adding())
        shares = rule_.influences(x, t, tokens)
        base = {m: models[m](x, t, nothing).sample for m in tokens}
        expected = sum(shares[m] * base[m] for m in tokens) / total(shares)
        expected = expected + 2 * sum(shares[m] * (models[m](x, t, tokens).sample - base[m]) for m in tokens)
        torch.testing.assert_close(rule_.guided(nothing, 2.0)(x, t, tokens).sample, expected)

    def test_it_needs_to_know_what_no_condition_is(self, tokens: dict[str, Tensor]) -> None:
        with pytest.raises(InputError, match=r"GuidanceSum adds to the unconditional estimate: call guided"):
            GuidanceSum(collaborators())(noise(), timesteps(900, 10), tokens)

    def test_dynamic_diffusers_mean_nothing_under_the_other_activation(self) -> None:
        with pytest.raises(InputError, match=r"trained with softmax .* applies softplus: use collaborative"):
            AdditiveCollaborative(collaborators(), dynamic_diffusers())
        with pytest.raises(InputError, match=r"trained with softplus .* applies softmax: use additive"):
            Collaborative(collaborators(), adding())
        with pytest.raises(ValueError, match="activation must be one of softmax, softplus, both"):
            DynamicDiffuser(DYNAMIC_UNET, activation="relu")

    def test_dynamic_diffusers_of_both_rules_have_a_logit_for_each(self, tokens: dict[str, Tensor]) -> None:
        models, both, x, t = collaborators(), new_dynamic_diffusers(activation="both"), noise(), timesteps(900, 10)
        logits = {m: both[m](x, t, tokens[m]) for m in tokens}
        assert {value.shape[1] for value in logits.values()} == {2}
        shares = Collaborative(models, both).influences(x, t, tokens)
        expected = torch.softmax(torch.stack([value[:, :1] for value in logits.values()]), dim=0)
        torch.testing.assert_close(torch.stack(list(shares.values())), expected)
        weights = AdditiveCollaborative(models, both).influences(x, t, tokens)
        expected = torch.nn.functional.softplus(torch.stack([value[:, 1:] for value in logits.values()]))
        torch.testing.assert_close(torch.stack(list(weights.values())), expected)

    def test_a_shift_multiplies_the_odds_of_one_rule_alone(self, tokens: dict[str, Tensor]) -> None:
        models, both, x, t = collaborators(), new_dynamic_diffusers(activation="both"), noise(), timesteps(900, 10)
        before = Collaborative(models, both).influences(x, t, tokens)
        added = AdditiveCollaborative(models, both).influences(x, t, tokens)
        both["text"].shift("softmax", math.log(2))
        after = Collaborative(models, both).influences(x, t, tokens)
        odds = [found["text"] / (1 - found["text"]) for found in (before, after)]
        torch.testing.assert_close(odds[1], 2 * odds[0], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(AdditiveCollaborative(models, both).influences(x, t, tokens), added)
        with pytest.raises(ValueError, match="has logits of softmax, not of 'softplus'"):
            dynamic_diffusers()["text"].shift("softplus", 1.0)

    def test_a_model_knows_its_rule(self) -> None:
        assert learned_rule(dynamic_diffusers()) == "collaborative"
        assert learned_rule(adding()) == "additive"
        assert learned_rule(new_dynamic_diffusers(activation="both")) == "additive"
        assert learned_rule({}) == "collaborative"


class TestCosineDecay:
    @pytest.mark.parametrize(
        ("t", "mask"), [(981, 0.666), (751, 0.599), (501, 0.401), (251, 0.137), (101, 0.025), (1, 0.0)]
    )
    def test_published_values(self, t: int, mask: float) -> None:
        influences = official_recipe(two(0.5), timesteps(t))
        torch.testing.assert_close(influences["mask"], plane(mask), atol=1e-3, rtol=0)
        torch.testing.assert_close(total(influences), plane(1.0))

    @pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9, 1.0])
    def test_closed_form_for_two_modalities(self, p: float) -> None:
        for t in (1, 101, 501, 981):
            s = (math.cos((1 - t / 1000) * math.pi) + 1) / 2
            influences = official_recipe(two(p), timesteps(t))
            torch.testing.assert_close(influences["mask"], plane(2 * p * s / (1 + p * s)))
            torch.testing.assert_close(influences["text"], plane((1 - p * s) / (1 + p * s)))

    def test_three_modalities_sum_to_one_and_the_others_keep_their_proportions(self) -> None:
        before = {"text": plane(0.1), "mask": plane(0.6), "sketch": plane(0.3)}
        for t in (1, 501, 981):
            after = official_recipe(before, timesteps(t))
            assert list(after) == list(before)
            torch.testing.assert_close(total(after), plane(1.0))
            torch.testing.assert_close(after["sketch"], 3 * after["text"])
            s = (math.cos((1 - t / 1000) * math.pi) + 1) / 2
            torch.testing.assert_close(after["mask"], plane(1.2 * s / (1 + 0.6 * s)))

    def test_scale_and_schedule_length(self) -> None:
        influences = cosine_decay("text", scale=5.0, timesteps=100)(two(0.75), timesteps(50))  # p = 0.25, s = 0.5
        torch.testing.assert_close(influences["text"], plane(5 * 0.125 / (1 + 4 * 0.125)))

    def test_timesteps_of_a_batch_may_differ(self) -> None:
        batch = {m: share.expand(2, 1, 4, 4) for m, share in two(0.5).items()}
        both = official_recipe(batch, timesteps(981, 101))
        for row, t in enumerate((981, 101)):
            assert torch.equal(both["mask"][row : row + 1], official_recipe(two(0.5), timesteps(t))["mask"])

    def test_absent_or_alone_it_changes_nothing(self) -> None:
        without = {"text": plane(0.4), "sketch": plane(0.6)}
        assert official_recipe(without, timesteps(101)) is without
        alone = {"mask": plane(1.0)}
        assert official_recipe(alone, timesteps(101)) is alone

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
    @pytest.mark.parametrize("rest", [0.0, 1e-7])
    def test_saturated_influences_still_sum_to_one(self, rest: float, dtype: torch.dtype) -> None:
        mask, other = plane(1.0, dtype=dtype), plane(rest, dtype=dtype)
        after = official_recipe({"text": other, "mask": mask, "sketch": other}, timesteps(101))
        torch.testing.assert_close(total(after), mask)
        torch.testing.assert_close(after["text"], after["sketch"])
        assert after["text"].dtype == dtype
