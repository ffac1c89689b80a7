"""What people add to the influences, in Python and as files on the command line."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import Command, command, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from models import (
    MODALITIES,
    PIXELS,
    collaborators,
    dynamic_diffusers,
    new_dynamic_diffusers,
    new_pipeline,
    noise,
    raw_batch,
    raw_conditions,
    seeded,
    shared_pipeline,
    timesteps,
)
from PIL import Image
from torch import Tensor

from codiff import Collaborative, Composition, InfluenceBias, InputError, Weighted, generators
from codiff.cli.steering import MAP_SCALE, bias_values, parse_steering, recorded, told
from codiff.composition import RULES, rule
from codiff.composition.steering import MOST_NATS, resized
from codiff.editing import Sampling, sdedit
from codiff.png_metadata import read_metadata

ADDING = ("additive", "guidance-sum")
KINDS = pytest.mark.parametrize("name", ["collaborative", "mean", "additive"])
"""One rule of each way to come to influences."""


@pytest.fixture(autouse=True)
def _no_gradients() -> object:
    with torch.no_grad():
        yield


def stacked(influences: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(influences.values()))


def steer(bias: InfluenceBias, influences: dict[str, Tensor], *t: int) -> dict[str, Tensor]:
    return bias(influences, timesteps(*(t or (500,) * len(next(iter(influences.values()))))))


class Case:
    """Random logits and biases (modalities, batch, 1, h, w), and the influences of both rules."""

    def __init__(self, seed: int, count: int, batch: int, height: int, width: int) -> None:
        self.names = [f"modality{number}" for number in range(count)]
        source = seeded(seed)
        self.logits = 3 * torch.randn(count, batch, 1, height, width, generator=source)
        self.planes = 2 * torch.randn(count, height, width, generator=source)
        self.strengths = torch.randn(count, generator=source).tolist()
        self.shared = dict(zip(self.names, torch.softmax(self.logits, dim=0), strict=True))
        self.added = dict(zip(self.names, torch.nn.functional.softplus(self.logits), strict=True))

    @property
    def bias(self) -> InfluenceBias:
        planes = dict(zip(self.names, self.planes, strict=True))
        return InfluenceBias(dict(zip(self.names, self.strengths, strict=True)), planes)

    @property
    def nats(self) -> Tensor:
        """b (modalities, 1, 1, h, w), written down without `InfluenceBias`."""
        return self.planes[:, None, None] + torch.tensor(self.strengths).reshape(-1, 1, 1, 1, 1)


CASES = st.builds(
    Case, st.integers(0, 10_000), st.integers(2, 5), st.integers(1, 3), st.integers(1, 6), st.integers(1, 6)
)
EACH_CASE = settings(max_examples=25, deadline=None)


class TestFormula:
    @EACH_CASE
    @given(CASES)
    def test_it_is_added_to_the_logits_before_the_softmax(self, case: Case) -> None:
        expected = torch.softmax(case.logits + case.nats, dim=0)
        torch.testing.assert_close(stacked(steer(case.bias, case.shared)), expected, atol=2e-6, rtol=1e-4)

    @EACH_CASE
    @given(CASES)
    def test_influences_stay_finite_and_keep_their_sum(self, case: Case) -> None:
        for influences in (case.shared, case.added):
            after = stacked(steer(case.bias, influences))
            assert after.isfinite().all()
            assert (after >= 0).all()
            torch.testing.assert_close(after.sum(dim=0), stacked(influences).sum(dim=0), atol=1e-6, rtol=1e-5)

    @EACH_CASE
    @given(CASES)
    def test_where_influences_add_their_shares_of_the_sum_are_steered(self, case: Case) -> None:
        total = stacked(case.added).sum(dim=0)
        shares = {m: value / total for m, value in case.added.items()}
        after = steer(case.bias, case.added)
        for modality, share in steer(case.bias, shares).items():
            torch.testing.assert_close(after[modality] / total, share, atol=1e-6, rtol=1e-4)

    @EACH_CASE
    @given(CASES, st.floats(0.01, 5))
    def test_more_bias_is_more_influence_and_less_for_all_others(self, case: Case, more: float) -> None:
        first = case.names[0]
        before = steer(case.bias, case.shared)
        raised = InfluenceBias({**case.bias.strengths, first: case.strengths[0] + more}, case.bias.maps)
        for modality, after in steer(raised, case.shared).items():
            change = after - before[modality]
            assert (change >= -1e-6).all() if modality == first else (change <= 1e-6).all()
        assert (steer(raised, case.shared)[first].double().mean() > before[first].double().mean() - 1e-9).all()

    @EACH_CASE
    @given(CASES)
    def test_the_order_of_modalities_does_not_matter(self, case: Case) -> None:
        after = steer(case.bias, case.shared)
        turned = steer(case.bias, dict(reversed(case.shared.items())))
        assert list(turned) == list(reversed(after))
        for modality in case.names:
            torch.testing.assert_close(turned[modality], after[modality], atol=1e-6, rtol=1e-5)

    @EACH_CASE
    @given(CASES, st.floats(-MOST_NATS, MOST_NATS))
    def test_the_same_for_all_changes_nothing(self, case: Case, nats: float) -> None:
        same = InfluenceBias(dict.fromkeys(case.names, nats), dict.fromkeys(case.names, case.planes[0]))
        for influences in (case.shared, case.added):
            for modality, after in steer(same, influences).items():
                assert torch.equal(after, influences[modality])

    @EACH_CASE
    @given(CASES)
    def test_each_picture_of_a_batch_is_steered_by_itself(self, case: Case) -> None:
        whole = steer(case.bias, case.shared)
        for row in range(case.logits.shape[1]):
            alone = steer(case.bias, {m: share[row : row + 1] for m, share in case.shared.items()})
            for modality in case.names:
                torch.testing.assert_close(alone[modality], whole[modality][row : row + 1], atol=1e-7, rtol=1e-6)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
    @pytest.mark.parametrize("nats", [-MOST_NATS, 1.0, MOST_NATS])
    def test_saturated_influences_in_any_precision(self, dtype: torch.dtype, nats: float) -> None:
        for share in (0.0, 1e-6, 0.5, 1.0):
            one = torch.full((1, 1, 2, 2), share, dtype=dtype)
            after = steer(InfluenceBias({"a": nats}), {"a": one, "b": 1 - one})
            assert after["a"].dtype == dtype
            assert stacked(after).isfinite().all()
            torch.testing.assert_close(stacked(after).sum(dim=0), torch.ones_like(one))
            if share in (0.0, 1.0):
                torch.testing.assert_close(after["a"], one)

    def test_one_nat_multiplies_the_odds_by_e(self) -> None:
        share = torch.full((1, 1, 1, 1), 0.2)
        after = steer(InfluenceBias({"a": 1.0}), {"a": share, "b": 1 - share})
        assert float(after["a"] / after["b"]) == pytest.approx(0.25 * math.e)

    def test_where_nothing_is_painted_nothing_changes_to_the_bit(self) -> None:
        case = Case(0, 3, 2, 4, 4)
        brush = torch.zeros(4, 4)
        brush[:, :2] = 1.5
        after = steer(InfluenceBias(maps={case.names[1]: brush}), case.shared)
        for modality, share in after.items():
            assert torch.equal(share[..., 2:], case.shared[modality][..., 2:])
            assert (share[..., :2] != case.shared[modality][..., :2]).all()

    def test_an_influence_that_no_modality_has_stays_none(self) -> None:
        nothing = torch.zeros(1, 1, 2, 2)
        after = steer(InfluenceBias({"a": 3.0}), {"a": nothing, "b": nothing})
        assert torch.equal(stacked(after), torch.zeros(2, 1, 1, 2, 2))

    def test_alone_or_absent_a_modality_is_as_it_was(self) -> None:
        alone, others = {"a": torch.ones(1, 1, 2, 2)}, Case(0, 2, 1, 2, 2).shared
        assert steer(InfluenceBias({"a": 5.0}), alone) is alone
        assert steer(InfluenceBias({"a": 5.0}), others) is others


class TestCurve:
    def factors(self, curve: Any, *t: int, of: int = 1000) -> list[float]:
        bias = InfluenceBias({"a": 2.0}, {"a": torch.ones(2, 2)}, {"a": curve}, timesteps=of)
        planes = bias.at("a", timesteps(*t), (2, 2))
        assert planes.shape == (len(t), 1, 2, 2)
        assert torch.equal(planes, planes[..., :1, :1].expand_as(planes))
        return (planes[:, 0, 0, 0] / 3).tolist()

    def test_lines_join_the_points_and_go_on_level(self) -> None:
        curve = [(0.75, 1.0), (0.25, 0.0), (0.5, -1.0)]
        expected = [1.0, 1.0, 0.0, -1.0, -0.5, 0.0, 0.0]
        assert self.factors(curve, 999, 750, 625, 500, 375, 250, 0) == pytest.approx(expected)
        assert self.factors(curve, 50, of=100) == pytest.approx([-1.0])

    def test_one_point_is_a_constant(self) -> None:
        assert self.factors([[0.3, 0.5]], 999, 0) == pytest.approx([0.5, 0.5])

    def test_a_function_of_the_fraction(self) -> None:
        assert self.factors(lambda fraction: fraction**2, 500, 100) == pytest.approx([0.25, 0.01])

    def test_it_changes_influences_when_it_says(self) -> None:
        case = Case(1, 2, 2, 2, 2)
        bias = InfluenceBias({case.names[0]: 2.0}, curves={case.names[0]: [(0.5, 1), (0.4, 0)]})
        early, late = (steer(bias, case.shared, t, t) for t in (900, 100))
        always = steer(InfluenceBias({case.names[0]: 2.0}), case.shared)
        assert torch.equal(stacked(early), stacked(always))
        assert torch.equal(stacked(late), stacked(case.shared))
        mixed = steer(bias, case.shared, 900, 100)
        assert torch.equal(mixed[case.names[0]][1], case.shared[case.names[0]][1])
        torch.testing.assert_close(mixed[case.names[0]][0], always[case.names[0]][0])

    @pytest.mark.parametrize("returned", [1.0, torch.ones(3), torch.tensor([math.nan, 1.0]), torch.tensor([1.0, 21.0])])
    def test_a_function_must_return_factors(self, returned: Any) -> None:
        bias = InfluenceBias({"a": 1.0}, curves={"a": lambda _: returned})
        with pytest.raises(InputError, match=r"the curve of 'a' must return 2 finite factors from -20 to 20"):
            bias.at("a", timesteps(1, 2), (1, 1))


class TestMap:
    def test_smaller_is_the_mean_of_each_area(self) -> None:
        plane = torch.arange(64.0).reshape(1, 1, 8, 8)
        expected = plane.reshape(1, 1, 4, 2, 2, 4).mean(dim=(3, 5))
        torch.testing.assert_close(resized(plane, (4, 2)), expected)

    def test_larger_is_interpolated(self) -> None:
        torch.testing.assert_close(
            resized(torch.tensor([[[[0.0, 4.0]]]]), (2, 4)), torch.tensor([[[[0.0, 1.0, 3.0, 4.0]] * 2]])
        )

    @EACH_CASE
    @given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 9), st.integers(1, 9), st.floats(-5, 5, width=32))
    def test_bounds_hold_and_a_level_stays(self, height: int, width: int, h: int, w: int, level: float) -> None:
        plane = torch.randn(1, 1, height, width, generator=seeded(height * width))
        small = resized(plane, (h, w))
        assert small.shape == (1, 1, h, w)
        assert small.min() >= plane.min() - 1e-5
        assert small.max() <= plane.max() + 1e-5
        torch.testing.assert_close(resized(torch.full_like(plane, level), (h, w)), torch.full((1, 1, h, w), level))

    @pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor, list, np.ndarray.tolist])
    def test_any_array_is_taken_and_copied(self, kind: Callable[[Any], Any]) -> None:
        values = np.array([[1.0, -2.0]])
        bias = InfluenceBias(maps={"a": kind(values)})
        values[:] = 9
        assert torch.equal(bias.at("a", timesteps(5), (1, 2)), torch.tensor([[[[1.0, -2.0]]]]))


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"strengths": {"a": math.nan}}, "the strength of 'a' must be a number from -20 to 20, not nan"),
        ({"strengths": {"a": math.inf}}, "not inf"),
        ({"strengths": {"a": -20.5}}, "not -20.5"),
        ({"strengths": {"a": True}}, "not True"),
        ({"strengths": {"a": "1"}}, "not '1'"),
        ({"maps": {"a": [[1.0, math.nan]]}}, "the map of 'a' must hold finite numbers from -20 to 20"),
        ({"maps": {"a": [[-math.inf]]}}, "finite"),
        ({"maps": {"a": [[30]]}}, "from -20 to 20"),
        ({"maps": {"a": torch.zeros(1, 4, 4)}}, r"not one of shape \(1, 4, 4\)"),
        ({"maps": {"a": np.zeros((0, 4))}}, r"shape \(0, 4\)"),
        ({"maps": {"a": "brush.png"}}, r"an array \(height, width\), not str"),
        ({"curves": {"a": []}}, "a list of points"),
        ({"curves": {"a": 1.0}}, "a list of points"),
        ({"curves": {"a": [1, 0]}}, "a list of points"),
        ({"curves": {"a": [(1, 1, 1)]}}, "a list of points"),
        ({"curves": {"a": [("x", 1)]}}, "a list of points"),
        ({"curves": {"a": [(1.5, 1)]}}, "fraction from 0 to 1"),
        ({"curves": {"a": [(math.nan, 1)]}}, "fraction from 0 to 1"),
        ({"curves": {"a": [(1, 1), (1, 0)]}}, "two points at one fraction"),
        ({"curves": {"a": [(1, math.inf)]}}, "a factor of the curve of 'a' must be a number"),
    ],
)
def test_what_is_no_bias_is_refused(arguments: dict[str, Any], part: str) -> None:
    with pytest.raises(InputError, match=part):
        InfluenceBias(**arguments)


def test_check_names_what_cannot_be_steered() -> None:
    bias = InfluenceBias({"text": 1.0}, {"mask": [[1.0]]})
    bias.check(["mask", "text", "sketch"])
    with pytest.raises(InputError, match="'mask' cannot be steered without a condition; there is text, sketch"):
        bias.check(["text", "sketch"])
    with pytest.raises(InputError, match="text alone decides everything"):
        InfluenceBias({"text": 1.0}).check(["text"])


# -- compositions ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tokens() -> dict[str, Tensor]:
    return collaborators().encode(raw_batch(2))


def plain_rule(name: str) -> Composition:
    diffusers = new_dynamic_diffusers(activation="softplus") if name == "additive" else dynamic_diffusers()
    return rule(name, collaborators(), diffusers)


def guided(composition: Composition, scale: float = 1.0) -> Composition:
    models = collaborators()
    return composition.guided(models.unconditional(models.encode(raw_batch(1))), scale)


BRUSH = np.linspace(-3, 3, 64).reshape(8, 8)
BIAS = InfluenceBias({"text": -1.0}, {"mask": BRUSH}, {"mask": [(1, 1), (0, 0.5)]})


class TestComposition:
    @pytest.mark.parametrize("name", RULES)
    def test_every_rule_can_be_steered(self, name: str, tokens: dict[str, Tensor]) -> None:
        x, t = noise(), timesteps(900, 10)
        before = plain_rule(name).influences(x, t, tokens)
        output = guided(plain_rule(name).steered(BIAS))(x, t, tokens)
        assert output.influences is not None
        expected = BIAS(before, t)
        assert all(torch.equal(output.influences[m], expected[m]) for m in tokens)
        assert all(not torch.allclose(output.influences[m], before[m]) for m in tokens)
        total = stacked(before).sum(dim=0)
        torch.testing.assert_close(stacked(output.influences).sum(dim=0), total)
        assert not torch.allclose(output.sample, guided(plain_rule(name))(x, t, tokens).sample)
        if name not in ADDING:
            estimates = {m: collaborators()[m](x, t, tokens).sample for m in tokens}
            torch.testing.assert_close(
                output.sample, stacked({m: expected[m] * estimates[m] for m in tokens}).sum(dim=0)
            )

    def test_it_is_a_bias_of_the_dynamic_diffusers_logits(self, tokens: dict[str, Tensor]) -> None:
        x, t = noise(), timesteps(900, 10)
        composition = Collaborative(collaborators(), dynamic_diffusers())
        logits = composition.logits(x, t, tokens)
        biased = torch.stack([logits[m] + BIAS.at(m, t, (4, 4)) for m in tokens])
        steered = composition.steered(BIAS).steered_influences(x, t, tokens)
        torch.testing.assert_close(stacked(steered), torch.softmax(biased, dim=0))

    @KINDS
    def test_no_bias_is_the_rule_itself_to_the_bit(self, name: str, tokens: dict[str, Tensor]) -> None:
        x, t = noise(), timesteps(900, 10)
        expected = guided(plain_rule(name), 2.0)(x, t, tokens)
        nothing = InfluenceBias({"text": 0.0, "sketch": 2.0}, {"mask": [[0.0]]}, {"sketch": [(1, 0)]})
        output = guided(plain_rule(name).steered(nothing), 2.0)(x, t, tokens)
        assert torch.equal(output.sample, expected.sample)

    @KINDS
    def test_guided_and_steered_commute(self, name: str, tokens: dict[str, Tensor]) -> None:
        x, t = noise(), timesteps(900, 10)
        one = guided(plain_rule(name).steered(BIAS), 3.0)(x, t, tokens)
        other = guided(plain_rule(name), 3.0).steered(BIAS)(x, t, tokens)
        assert torch.equal(one.sample, other.sample)
        assert one.influences is not None
        assert other.influences is not None
        assert all(torch.equal(one.influences[m], other.influences[m]) for m in tokens)

    @KINDS
    def test_one_modality_alone_is_unchanged(self, name: str, tokens: dict[str, Tensor]) -> None:
        x, t, alone = noise(), timesteps(900, 10), {"mask": tokens["mask"]}
        assert torch.equal(
            guided(plain_rule(name).steered(BIAS))(x, t, alone).sample, guided(plain_rule(name))(x, t, alone).sample
        )

    def test_steering_twice_adds_up_and_leaves_the_first_as_it_was(self, tokens: dict[str, Tensor]) -> None:
        x, t = noise(), timesteps(900, 10)
        first = Weighted(collaborators(), {"text": 3.0, "mask": 1.0, "sketch": 2.0})
        second = first.steered(InfluenceBias({"text": 1.0}))
        third = second.steered(InfluenceBias({"text": 0.5, "mask": -1.0}))
        both = first.steered(InfluenceBias({"text": 1.5, "mask": -1.0}))
        torch.testing.assert_close(third(x, t, tokens).sample, both(x, t, tokens).sample)
        assert torch.equal(stacked(first.steered_influences(x, t, tokens)), stacked(first.influences(x, t, tokens)))
        text = [each.steered_influences(x, t, tokens)["text"].mean() for each in (first, second, both)]
        assert text[0] < text[1]
        assert text[1] < text[2]

    def test_any_function_of_influences_steers(self, tokens: dict[str, Tensor]) -> None:
        x, t = noise(), timesteps(900, 10)

        def only_text(influences: dict[str, Tensor], _timestep: Tensor) -> dict[str, Tensor]:
            return {m: torch.full_like(share, float(m == "text")) for m, share in influences.items()}

        steered = Collaborative(collaborators(), dynamic_diffusers()).steered(only_text)
        torch.testing.assert_close(steered(x, t, tokens).sample, collaborators()["text"](x, t, tokens).sample)

    def test_a_modality_that_the_model_lacks_is_named(self) -> None:
        with pytest.raises(InputError, match="unknown modality 'msak': this model has text, mask, sketch"):
            plain_rule("mean").steered(InfluenceBias({"msak": 1.0}))


class TestPipeline:
    def test_left_half_up_and_right_half_down(self) -> None:
        pipe, conditions = shared_pipeline(), raw_conditions()
        halves = np.array([[4.0, -4.0]]).repeat(4, axis=1)
        steered = pipe.learned_composition().steered(InfluenceBias(maps={"mask": halves}))
        found = []
        for composition in (pipe.learned_composition(), steered):
            output = pipe(
                conditions,
                num_inference_steps=3,
                composition=composition,
                generator=generators(0, 1),
                return_influences=True,
            )
            assert output.influences is not None
            found.append((output.influences["mask"], np.asarray(output.images[0])))
        (before, plain), (after, changed) = found
        assert (after[0, ..., :2] > before[0, ..., :2]).all()
        assert (after[0, ..., 2:] < before[0, ..., 2:]).all()
        assert not np.array_equal(plain, changed)

    def test_editors_take_it_with_their_rule(self) -> None:
        photo = Image.fromarray(np.tile(np.arange(PIXELS, dtype=np.uint8) * 8, (PIXELS, 1))).convert("RGB")
        pipe = shared_pipeline()
        steered = pipe.learned_composition().steered(InfluenceBias({"mask": 4.0}))
        edits = [
            sdedit(
                pipe,
                photo,
                raw_conditions(),
                generator=generators(0, 1),
                sampling=Sampling(num_inference_steps=4, composition=composition),
            )
            for composition in (None, pipe.learned_composition(), steered)
        ]
        assert torch.equal(edits[0].latents, edits[1].latents)
        assert not torch.equal(edits[0].latents, edits[2].latents)


# -- files and the command line ----------------------------------------------------------------------------------------


def grey(*levels: int) -> Image.Image:
    side = math.isqrt(len(levels))
    return Image.fromarray(np.array(levels, np.uint8).reshape(side, side))


class TestMapPictures:
    def test_greys(self) -> None:
        for shades in (grey(255, 128, 127, 0), grey(255, 128, 127, 0).convert("RGB")):
            assert bias_values(shades, "map").tolist() == [[1, 0], [0, -1]]
        halves = bias_values(grey(192, 64, 255, 0), "map")
        assert halves[0].tolist() == pytest.approx([64 / 127, -63 / 127])

    def test_colours(self) -> None:
        colours = np.array([[(255, 0, 0), (0, 0, 255)], [(255, 255, 255), (120, 120, 120)]], np.uint8)
        assert bias_values(colours, "map").tolist() == [[1, -1], [0, 0]]
        pale = np.array([[(214, 69, 65), (47, 109, 214)], [(170, 100, 100), (0, 0, 0)]], np.uint8)
        assert bias_values(pale, "map").tolist() == [[1, -1], [0.5, 0]]

    def test_what_is_transparent_does_nothing(self) -> None:
        paint = np.zeros((2, 2, 4), np.uint8)
        paint[0, 0], paint[0, 1] = (255, 0, 0, 255), (0, 0, 255, 255)
        assert bias_values(paint, "map").tolist() == [[1, -1], [0, 0]]
        greys = np.zeros((2, 2, 4), np.uint8)
        greys[0, 0] = 255
        assert bias_values(greys, "map").tolist() == [[1, 0], [0, 0]]

    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.integers(0, 255), min_size=12, max_size=12))
    def test_values_are_bounded_and_turn_with_the_colours(self, levels: list[int]) -> None:
        pixels = np.array([*levels, 255, 0, 0, 0, 0, 255, *levels], np.uint8)[:27].reshape(3, 3, 3)
        values = bias_values(pixels, "map")
        assert np.abs(values).max() <= 1
        np.testing.assert_array_equal(bias_values(pixels[..., ::-1], "map"), -values)

    def test_a_picture_of_one_shade_is_refused(self) -> None:
        for level in (255, 0):
            with pytest.raises(InputError, match="the same everywhere"):
                bias_values(grey(*[level] * 4), "map")
        assert not bias_values(grey(*[128] * 4), "map").any()

    def test_other_shapes_are_refused(self) -> None:
        with pytest.raises(InputError, match=r"map: 4 x 2 pixels, but a square is expected"):
            bias_values(np.zeros((2, 4), np.uint8), "map")


TIMES = [[1, 1], [0, 0]]


def test_parsed_steering_says_what_was_written(tmp_path: Path) -> None:
    grey(255, 128, 128, 0).save(tmp_path / "brush.png")
    table = {"mask": {"strength": 0.5, "curve": TIMES, "map": "brush.png", "scale": 2}, "text": {"map": "brush.png"}}
    bias = parse_steering(table, tmp_path, MODALITIES, 100)
    assert bias.strengths == {"mask": 0.5, "text": 0.0}
    assert bias.maps["mask"].tolist() == [[2, 0], [0, -2]]
    assert bias.maps["text"].tolist() == [[MAP_SCALE, 0], [0, -MAP_SCALE]]
    assert bias.at("mask", timesteps(50), (2, 2)).flatten().tolist() == pytest.approx([1.25, 0.25, 0.25, -0.75])
    assert told(bias) == "steered: mask +0.5 with a map and a curve, text +0 with a map"


def test_a_record_holds_all_that_steers() -> None:
    record = recorded(InfluenceBias({"a": 1.0}, {"a": [[1.0, -2.0]]}, {"b": TIMES}))
    assert record["a"]["strength"] == 1.0
    assert record["a"]["map"].items() >= {"size": [1, 2], "from": -2.0, "to": 1.0}.items()
    assert record["b"] == {"strength": 0.0, "curve": [[0.0, 0.0], [1.0, 1.0]]}
    assert json.loads(json.dumps(record)) == record
    others = [{"a": [[1.0], [-2.0]]}, {"a": [[1.0, -1.0]]}, {}]
    assert all(recorded(InfluenceBias({"a": 1.0}, maps, {"b": TIMES})) != record for maps in others)
    with pytest.raises(InputError, match="the curve of 'a' is a function"):
        recorded(InfluenceBias(curves={"a": torch.ones_like}))


class Runner:
    """`codiff generate` on a tiny model, in an empty folder."""

    def __init__(self, call: Command, model: Path) -> None:
        self._call, self._model = call, model

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        quick = ("--count", 1, "--steps", 2, "--no-credentials", "--model", self._model)
        return self._call("generate", *quick, *arguments)

    def metadata(self, *arguments: object) -> tuple[dict[str, Any], Path]:
        """Of the only image, and its path."""
        code, said, errors = self(*arguments, "--json")
        assert code == 0, errors
        path = Path(json.loads(said)["results"][0]["images"][0]["image"])
        return read_metadata(path), path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    new_pipeline(("text", "mask")).save_pretrained(folder)
    return folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    monkeypatch.chdir(tmp_path)
    labels = np.zeros((32, 32), np.uint8)
    labels[8:24, 6:26] = 1
    Image.fromarray(labels).save("mask.png")
    Path("files").mkdir()
    grey(255, 128, 128, 0).save("files/brush.png")
    return Runner(command(capsys), model)


TWO = ("--text", "a young woman", "--mask", "mask.png")


def write(name: str, table: Any) -> Path:
    path = Path("files") / name
    path.write_text(table if isinstance(table, str) else json.dumps(table))
    return path


class TestCommand:
    def test_steers_and_tells_so(self, run: Runner, tmp_path: Path) -> None:
        table = {"mask": {"strength": 2, "map": "brush.png", "curve": TIMES}}
        plain, image = run.metadata(*TWO)
        metadata, steered = run.metadata(*TWO, "--steer", write("steer.json", table), "--influences")
        assert plain["steering"] is None
        assert steered != image
        assert metadata["settings"] == plain["settings"]
        assert metadata["digest"] != plain["digest"]
        assert metadata["steering"]["mask"].items() >= {"strength": 2.0, "curve": [[0.0, 0.0], [1.0, 1.0]]}.items()
        assert str(tmp_path) not in json.dumps(metadata)
        figure = next(Path("out").glob("*-influences.png"))
        assert read_metadata(figure)["steering"] == metadata["steering"]
        bias = parse_steering(table, Path("files"), MODALITIES, 1000)
        pipe = new_pipeline(("text", "mask"))
        expected = pipe(
            {"text": TWO[1], "mask": "mask.png"},
            num_inference_steps=2,
            guidance_scale=2.0,
            composition=pipe.learned_composition().steered(bias),
            generator=generators(0, 1),
        ).images[0]
        np.testing.assert_array_equal(np.asarray(Image.open(steered)), np.asarray(expected))

    def test_files_depend_on_all_that_steers(self, run: Runner) -> None:
        tables = [
            None,
            {"mask": {"strength": 1}},
            {"mask": {"strength": 1, "curve": TIMES}},
            {"mask": {"strength": 1, "map": "brush.png"}},
            {"mask": {"strength": 1, "map": "brush.png", "scale": 1}},
            {"text": {"strength": 1}},
        ]
        lines = [json.dumps({"steer": table}) for table in [*tables, *tables]]
        code, said, errors = run(*TWO, "--batch", write("lines.jsonl", "\n".join(lines)), "--json", "--steps", 1)
        assert code == 0, errors
        grids = [result["grid"] for result in json.loads(said)["results"]]
        assert len(set(grids)) == len(tables)
        assert grids[: len(tables)] == grids[len(tables) :]

    def test_lines_of_a_batch_may_steer(self, run: Runner) -> None:
        common, own = write("common.json", {"mask": {"strength": 1}}), write("own.json", {"mask": {"strength": 2}})
        lines = [
            {"seed": 1},
            {"seed": 1, "steer": None},
            {"seed": 1, "steer": own.name},
            {"seed": 1, "steer": {"text": {"strength": -1, "map": "brush.png"}}},
        ]
        batch = write("lines.jsonl", "\n".join(map(json.dumps, lines)))
        code, said, errors = run(*TWO, "--batch", batch, "--steer", common, "--json")
        assert code == 0, errors
        results = json.loads(said)["results"]
        found = [read_metadata(Path(result["images"][0]["image"]))["steering"] for result in results]
        assert [result["steering"] for result in results] == found
        assert [each and {m: entry["strength"] for m, entry in each.items()} for each in found] == [
            {"mask": 1.0},
            None,
            {"mask": 2.0},
            {"text": -1.0},
        ]
        assert len({result["grid"] for result in results}) == 4
        assert "4 of 4 lines are done already" in run(*TWO, "--batch", batch, "--steer", common)[2]
        write("own.json", {"mask": {"strength": 2.5}})
        assert "3 of 4 lines are done already" in run(*TWO, "--batch", batch, "--steer", common)[2]

    @pytest.mark.parametrize(
        ("table", "parts"),
        [
            ("", ("not JSON", '"strength": 0.5')),
            ("{", ("not JSON",)),
            ("[1]", ("a JSON object of modalities",)),
            ("{}", ("a JSON object of modalities",)),
            ({"msak": {}}, ("unknown modality 'msak'", "text, mask")),
            ({"mask": 0.5}, ('mask must be an object like {"strength": 0.5}', "not 0.5")),
            ({"mask": {"strenght": 1}}, ("mask: unknown key 'strenght' (did you mean 'strength'?)",)),
            ({"mask": {"strength": "much"}}, ("mask.strength", "'much'")),
            ({"mask": {"strength": True}}, ("mask.strength", "True")),
            ({"mask": {"strength": None}}, ("mask.strength", "None")),
            ({"mask": {"strength": 21}}, ("the strength of 'mask'", "from -20 to 20")),
            ('{"mask": {"strength": NaN}}', ("the strength of 'mask'", "nan")),
            ('{"mask": {"strength": 1, "strength": 2}}', ("'strength' is there twice",)),
            ('{"mask": {}, "mask": {}}', ("'mask' is there twice",)),
            ({"mask": {"curve": 1}}, ("mask.curve",)),
            ({"mask": {"curve": []}}, ("the curve of 'mask'", "a list of points")),
            ({"mask": {"curve": [[1, 1, 1]]}}, ("the curve of 'mask'", "a list of points")),
            ({"mask": {"curve": [[2, 1]]}}, ("the curve of 'mask'", "fraction from 0 to 1")),
            ({"mask": {"map": "absent.png"}}, ("mask.map 'absent.png'", "no such file")),
            ({"mask": {"map": "steer.json"}}, ("mask.map", "it looks like text")),
            ({"mask": {"map": 3}}, ("mask.map", "not 3")),
            ({"mask": {"map": "brush.png", "scale": 50}}, ("the map of 'mask'", "from -20 to 20")),
            ("x" * 1_000_001, ("1,000,001 characters",)),
        ],
    )
    def test_wrong_files_are_refused(self, run: Runner, table: Any, parts: tuple[str, ...]) -> None:
        path = write("steer.json", table)
        refused(run(*TWO, "--steer", path), str(path), *parts)
        assert not Path("out").exists()

    def test_files_that_cannot_be_read_are_refused(self, run: Runner) -> None:
        refused(run(*TWO, "--steer", "absent.json"), "absent.json", "No such file")
        refused(run(*TWO, "--steer", "files/brush.png"), "files/brush.png", "not a text file in UTF-8")

    def test_what_there_is_no_condition_for_cannot_be_steered(self, run: Runner) -> None:
        path = write("steer.json", {"mask": {"strength": 1}})
        refused(run("--text", "a man", "--steer", path), str(path), "'mask' cannot be steered without a condition")
        refused(run("--mask", "mask.png", "--steer", path), str(path), "mask alone decides everything")
        lines = write("lines.jsonl", json.dumps({"text": "a man", "steer": {"mask": {"strength": 1}}}))
        refused(run("--batch", lines), "line 1: steer: 'mask' cannot be steered")
        lines = write("lines.jsonl", json.dumps({"text": "a man", "steer": {"text": {"strength": "1"}}}))
        refused(run("--batch", lines), "line 1: steer: text.strength")
        assert not Path("out").exists()
