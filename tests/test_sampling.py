import gc
import weakref
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    UniPCMultistepScheduler,
)
from models import SCHEDULE, collaborators, dynamic_diffusers, noise, raw_conditions, seeded
from torch import Tensor

from codiff import Collaborative, Conditions, DenoiserOutput, Step, denoising_loss, sample

# diffusers makes numpy arrays of tensors in a way that numpy 2 will give up
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SAMPLERS: dict[str, tuple[type[Any], dict[str, Any], dict[str, Any]]] = {
    "ddpm": (DDPMScheduler, {"clip_sample": False}, {}),
    "ddim-0": (DDIMScheduler, {"clip_sample": False}, {"eta": 0.0}),
    "ddim-0.5": (DDIMScheduler, {"clip_sample": False}, {"eta": 0.5}),
    "ddim-1": (DDIMScheduler, {"clip_sample": False}, {"eta": 1.0}),
    "euler": (EulerDiscreteScheduler, {}, {}),
    "euler-leading": (EulerDiscreteScheduler, {"timestep_spacing": "leading"}, {}),
    "euler-karras": (EulerDiscreteScheduler, {"use_karras_sigmas": True}, {}),
    "dpm++": (DPMSolverMultistepScheduler, {}, {}),
    "dpm++-karras": (DPMSolverMultistepScheduler, {"use_karras_sigmas": True}, {}),
    "unipc": (UniPCMultistepScheduler, {}, {}),
}
KINDS = ("epsilon", "v_prediction")
STEPS = 8


def scheduler_of(name: str, kind: str = "epsilon", steps: int = STEPS) -> Any:
    cls, config, _ = SAMPLERS[name]
    scheduler = cls(**SCHEDULE, **config, prediction_type=kind)
    scheduler.set_timesteps(steps)
    return scheduler


def step_kwargs(name: str) -> dict[str, Any]:
    takes_generator = name.startswith("dd")
    return {**SAMPLERS[name][2], **({"generator": seeded(1)} if takes_generator else {})}


def level(scheduler: Any, timestep: Tensor) -> tuple[Tensor, Tensor]:
    """alpha and sigma, double: how much x_0 and noise a scheduler's latents hold at a timestep, once scaled."""
    if hasattr(scheduler, "sigmas"):
        ratio = scheduler.sigmas[int((scheduler.timesteps == timestep).nonzero()[0])].double()
        return 1 / (1 + ratio**2).sqrt(), ratio / (1 + ratio**2).sqrt()
    alpha_bar = scheduler.alphas_cumprod[timestep.long()].double()
    return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()


class Oracle:
    """Knows x_0, so that its estimates are exact."""

    def __init__(self, scheduler: Any, original: Tensor, kind: str) -> None:
        self.scheduler, self.original, self.kind = scheduler, original, kind

    def __call__(self, latents: Tensor, timestep: Tensor, conditions: Conditions) -> DenoiserOutput:  # noqa: ARG002
        assert timestep.shape == (len(latents),)
        alpha, sigma = level(self.scheduler, timestep[0])
        epsilon = (latents - alpha * self.original) / sigma
        velocity = alpha * epsilon - sigma * self.original
        return DenoiserOutput({"epsilon": epsilon, "v_prediction": velocity}[self.kind])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SAMPLERS)
def test_an_exact_denoiser_leads_to_the_original(name: str, kind: str) -> None:
    original = noise(seed=5, dtype=torch.float64)
    scheduler = scheduler_of(name, kind)
    rounded = 2e-2 if name == "dpm++-karras" else 2e-4  # its timesteps are rounded, so they tell the level only nearly
    steps: list[int] = []

    def check(step: Step) -> None:
        steps.append(step.index)
        assert step.count == STEPS
        assert step.timestep == scheduler.timesteps[step.index]
        torch.testing.assert_close(step.prediction(), original, atol=rounded, rtol=0)

    start = noise(dtype=torch.float64) * scheduler.init_noise_sigma
    result = sample(
        Oracle(scheduler, original, kind), scheduler, start, {}, step_kwargs=step_kwargs(name), on_step=check
    )
    assert steps == list(range(STEPS))
    torch.testing.assert_close(result, original, atol=2e-4, rtol=0)


@pytest.mark.parametrize("name", SAMPLERS)
def test_real_models_in_single_precision(name: str) -> None:
    models = collaborators()
    conditions = models.encode(raw_conditions())
    scheduler = scheduler_of(name)
    influences: list[dict[str, Tensor] | None] = []
    composition = Collaborative(models, dynamic_diffusers())
    start = noise(1) * scheduler.init_noise_sigma
    result = sample(
        composition,
        scheduler,
        start,
        conditions,
        step_kwargs=step_kwargs(name),
        on_step=lambda step: influences.append(step.influences),
    )
    assert result.dtype == torch.float32
    assert result.isfinite().all()
    assert len(influences) == STEPS
    assert all(entry is not None and list(entry) == list(conditions) for entry in influences)


def test_eta_is_the_amount_of_fresh_noise() -> None:
    models = collaborators()
    conditions = models["text"].encode("a young woman")

    def run(eta: float, seed: int) -> Tensor:
        kwargs = {"eta": eta, "generator": seeded(seed)}
        return sample(models["text"], scheduler_of("ddim-0"), noise(1), {"text": conditions}, step_kwargs=kwargs)

    assert torch.equal(run(0.0, 1), run(0.0, 2))
    assert torch.equal(run(0.5, 1), run(0.5, 1))
    assert not torch.allclose(run(0.5, 1), run(0.5, 2))
    assert not torch.allclose(run(1.0, 1), run(0.5, 1))


@pytest.mark.parametrize("name", ["ddim-0", "euler", "unipc"])
def test_on_step_replaces_the_latents(name: str) -> None:
    models = collaborators()
    conditions = {"text": models["text"].encode("a young woman")}
    halfway = noise(1, seed=9)

    def run(seed: int, replaced_at: int | None) -> list[Tensor]:
        scheduler = scheduler_of(name)
        path: list[Tensor] = []

        def on_step(step: Step) -> Tensor | None:
            path.append(step.latents)
            return halfway if step.index == replaced_at else None

        start = noise(1, seed=seed) * scheduler.init_noise_sigma
        path.append(sample(models["text"], scheduler, start, conditions, on_step=on_step))
        return path

    plain, changed = run(0, None), run(0, 5)
    assert all(torch.equal(plain[k], changed[k]) for k in range(6))  # on_step sees the latents before it replaces them
    assert not torch.allclose(plain[6], changed[6])
    assert torch.equal(run(0, STEPS - 1)[-1], halfway)
    if name != "unipc":  # schedulers without memory forget all that was before
        assert torch.equal(run(1, 5)[-1], changed[-1])


def test_nothing_is_retained() -> None:
    """Of each step, no more than the one before it is alive while the next one runs, and nothing afterwards."""
    models = collaborators()
    conditions = models.encode(raw_conditions())
    kept: list[list[weakref.ref[Tensor]]] = []

    def on_step(step: Step) -> None:
        assert step.influences is not None
        kept.append([weakref.ref(step.latents), *map(weakref.ref, step.influences.values())])
        if step.index >= 2:
            assert all(reference() is None for reference in kept[step.index - 2])

    gc.disable()  # references alone must let go of them: a cycle would hold gigabytes until a collection
    try:
        composition = Collaborative(models, dynamic_diffusers())
        result = sample(composition, scheduler_of("ddim-0"), noise(1), conditions, on_step=on_step)
        alive = [reference() for references in kept for reference in references if reference() is not None]
    finally:
        gc.enable()
    assert len(kept) == STEPS
    assert len(alive) == 1
    assert alive[0] is result


def test_the_start_is_left_as_it_was() -> None:
    models = collaborators()
    start = noise(1)
    sample(models["text"], scheduler_of("ddim-0"), start, {"text": models["text"].encode("a young woman")})
    assert torch.equal(start, noise(1))
    assert not start.requires_grad


def test_no_graph_is_built() -> None:
    models = collaborators()
    assert any(parameter.requires_grad for parameter in models.parameters())
    result = sample(
        models["text"], scheduler_of("ddim-0", steps=2), noise(1), {"text": models["text"].encode("a child")}
    )
    assert not result.requires_grad


@pytest.mark.parametrize("kind", [*KINDS, "sample"])
def test_an_exact_denoiser_has_no_loss(kind: str) -> None:
    schedule = DDPMScheduler(**SCHEDULE, prediction_type=kind)
    original, true = noise(3, seed=5), noise(3)
    t = torch.tensor([3, 400, 999])
    alpha_bar = schedule.alphas_cumprod[t].reshape(-1, 1, 1, 1)
    alpha, sigma = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
    exact = {"epsilon": true, "v_prediction": alpha * true - sigma * original, "sample": original}[kind]

    def off_by(error: float) -> Tensor:
        def denoiser(latents: Tensor, timestep: Tensor, conditions: Conditions) -> DenoiserOutput:  # noqa: ARG001
            torch.testing.assert_close(latents, alpha * original + sigma * true)
            assert torch.equal(timestep, t)
            return DenoiserOutput(exact + error * torch.tensor([1.0, 2.0, 3.0]).reshape(-1, 1, 1, 1))

        return denoising_loss(denoiser, schedule, original, {}, true, t)

    torch.testing.assert_close(off_by(0.0), torch.zeros(3))
    torch.testing.assert_close(off_by(0.5), torch.tensor([0.25, 1.0, 2.25]))
