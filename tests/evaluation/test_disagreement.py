"""Where collaborators disagree, heard while they are asked."""

from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler
from models import (
    SCHEDULE,
    collaborators,
    dynamic_diffusers,
    noise,
    numbered,
    raw_conditions,
    seeded,
    shared_pipeline,
    timesteps,
)
from torch import Tensor

from codiff import Collaborative, GuidanceSum, Mean, generators
from codiff.evaluation.disagreement import Listener, disagreement
from codiff.guidance import with_and_without
from codiff.sampling import predicted_original

SHAPE = (3, 2, 4, 5, 6)  # steps, batch, channels, h, w


def random_case(count: int, *, total: float = 1.0) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Influences with this sum, and images that are foreseen."""
    logits = torch.randn(count, SHAPE[0], SHAPE[1], 1, *SHAPE[3:], generator=seeded(count))
    images = torch.randn(count, *SHAPE, generator=seeded(count + 1))
    names = [f"modality{number}" for number in range(count)]
    return dict(zip(names, total * logits.softmax(dim=0), strict=True)), dict(zip(names, images, strict=True))


class TestDisagreement:
    def test_its_square_is_the_ambiguity_of_an_ensemble(self) -> None:
        influences, images = random_case(3)
        truth = torch.randn(SHAPE, generator=seeded(9))
        together = torch.stack([influences[m] * images[m] for m in images]).sum(dim=0)
        errors = torch.stack([influences[m] * (images[m] - truth) ** 2 for m in images]).sum(dim=0)
        gained = (errors - (together - truth) ** 2).mean(dim=2)
        torch.testing.assert_close(disagreement(influences, images) ** 2, gained, atol=1e-5, rtol=1e-4)

    def test_two_of_equal_influence_are_half_their_distance_from_their_middle(self) -> None:
        half = torch.full((1, 1, 1, 2, 2), 0.5)
        zero = torch.zeros(1, 1, 4, 2, 2)
        assert torch.equal(
            disagreement({"a": half, "b": half}, {"a": zero, "b": zero + 3}), torch.full((1, 1, 2, 2), 1.5)
        )

    def test_it_is_none_where_all_agree_or_one_decides_alone(self) -> None:
        influences, images = random_case(3)
        first = images["modality0"]
        assert disagreement(influences, dict.fromkeys(images, first)).max() < 1e-6
        alone = {m: torch.full_like(share, float(m == "modality1")) for m, share in influences.items()}
        assert torch.equal(disagreement(alone, images), torch.zeros(3, 2, 5, 6))

    def test_influences_that_add_count_by_their_shares(self) -> None:
        (shared, images), (added, _) = random_case(2), random_case(2, total=2.5)
        torch.testing.assert_close(disagreement(added, images), disagreement(shared, images))


class TestListener:
    @pytest.mark.parametrize("rule", [Mean, GuidanceSum])
    def test_it_hears_each_estimate_for_the_conditions_and_changes_nothing(
        self, rule: type[Mean] | type[GuidanceSum]
    ) -> None:
        models, _, tokens = numbered(3)
        scheduler = DDIMScheduler(**SCHEDULE)
        nothing = models.unconditional(tokens)
        listener = Listener(scheduler, images=2)
        plain, heard = rule(models).guided(nothing, 3.0), listener.hearing(rule(models)).guided(nothing, 3.0)
        inputs = [(noise(seed=seed), timesteps(t, t)) for seed, t in enumerate((900, 400))]
        with torch.no_grad():
            for x, t in inputs:
                assert torch.equal(heard(x, t, tokens).sample, plain(x, t, tokens).sample)
            for modality, steps in listener.foreseen.items():
                assert steps.shape == (2, 2, 4, 4, 4)
                for step, (x, t) in zip(steps, inputs, strict=True):
                    estimate = with_and_without(models[modality], x, t, tokens, nothing)[0].sample
                    assert torch.equal(step, predicted_original(scheduler, estimate, x, t[0]))
        assert list(listener.foreseen) == list(tokens)

    def test_it_listens_to_a_pipeline(self) -> None:
        pipe, listener = shared_pipeline(), Listener(shared_pipeline().scheduler, images=1)
        rule = Collaborative(collaborators(), dynamic_diffusers())
        options: dict[str, Any] = {"num_inference_steps": 3, "guidance_scale": 2.0, "return_influences": True}
        plain = pipe(raw_conditions(), composition=rule, generator=generators(0, 1), **options)
        heard = pipe(raw_conditions(), composition=listener.hearing(rule), generator=generators(0, 1), **options)
        assert heard.images[0].tobytes() == plain.images[0].tobytes()
        assert heard.influences is not None
        found = disagreement(heard.influences, listener.foreseen)
        assert found.shape == (3, 1, 4, 4)
        assert found.isfinite().all()
        assert (found > 0).all()
