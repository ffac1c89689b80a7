"""The numbers that the published code computes, part by part and through the public API."""

from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from golden import CLOSE, EXACT, GRADIENTS, Golden, distance
from torch import Tensor

from codiff import (
    Collaborative,
    DenoiserOutput,
    InputNotice,
    cosine_decay,
    denoising_loss,
    linear_decay,
    official_recipe,
    sample,
    sharpened,
    strengthened,
)
from codiff.composition import Reweight
from codiff.convert.keys import unet_keys
from codiff.pixels import to_uint8

VARIANTS: dict[str, Reweight | None] = {
    "paper": None,
    "generate_default": official_recipe,
    "scale2": strengthened("mask", 2.0),
    "cosine_decay": cosine_decay("mask", scale=1.0),
    "linear_decay": linear_decay("mask"),
    "softmax_twice_boost4": sharpened(4.0),
}
TIMESTEPS = (1, 250, 999)


def at(timestep: int, batch: int) -> Tensor:
    return torch.full((batch,), timestep)


# -- encoders and autoencoder ------------------------------------------------------------------------------------------


def test_text(golden: Golden) -> None:
    expected = golden.expected("text")
    encoder = golden.pipe.collaborators["text"].encoder
    with torch.no_grad():
        assert distance(encoder.encode(expected["token_ids"]), expected["embedding"]) < EXACT
        assert distance(encoder.encode(expected["token_ids"][:1]), expected["embedding_row0_alone"]) < EXACT
        places = torch.arange(expected["token_ids"].shape[1])
        first = encoder.token_embedding(expected["token_ids"]) + encoder.position_embedding(places)
    assert distance(first, expected["token_plus_pos"]) < EXACT


def test_mask(golden: Golden) -> None:
    expected = golden.expected("mask")
    encoder = golden.pipe.collaborators["mask"].encoder
    for raw in (expected["one_hot"], expected["one_hot"].long(), expected["one_hot"].float()):
        assert torch.equal(encoder.read(raw)[0].to(torch.uint8), expected["label_map_32x32"])
        with torch.no_grad():
            assert distance(encoder.encode(raw), expected["embedding"]) < EXACT


def test_autoencoder(golden: Golden) -> None:
    expected = golden.expected("vae")
    vae = golden.pipe.vae
    scale = vae.config.scaling_factor
    with torch.no_grad():
        moments = vae.quant_conv(vae.encoder(expected["image"]))
        posterior = vae.encode(expected["image"]).latent_dist
        assert distance(moments, expected["posterior_moments"]) < CLOSE
        assert distance(posterior.mean, expected["posterior_mean"]) < CLOSE
        drawn = posterior.mean + posterior.std * expected["posterior_noise"]
        assert distance(scale * drawn, expected["scaled_latent"]) < CLOSE
        assert distance(vae.decode(posterior.mean).sample, expected["reconstruction_from_mode"]) < CLOSE
        assert distance(vae.decode(expected["decode_latent_unscaled"]).sample, expected["decoded_unscaled"]) < CLOSE
        decoded = vae.decode(expected["decode_first_stage_input"] / scale).sample
    assert distance(decoded, expected["decode_first_stage_output"]) < CLOSE
    assert distance(moments.chunk(2, dim=1)[1], expected["posterior_logvar"]) < CLOSE


# -- single predictions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timestep", TIMESTEPS)
@pytest.mark.parametrize("modality", ["mask", "text"])
def test_collaborators(golden: Golden, modality: str, timestep: int) -> None:
    expected = golden.expected("unimodal_eps")
    with torch.no_grad():
        found = golden.pipe.collaborators[modality](expected["x"], at(timestep, len(expected["x"])), golden.tokens)
    assert distance(found.sample, expected[f"{modality}_t{timestep}"]) < CLOSE


def test_time_embeddings(golden: Golden) -> None:
    expected = golden.expected("unimodal_eps")
    unet = golden.pipe.collaborators["mask"].network.unet
    timesteps = torch.tensor([0, 1, 250, 999])
    with torch.no_grad():
        waves = unet.get_time_embed(torch.empty(4, 1), timesteps)
        assert distance(waves, expected["timestep_embedding_0_1_250_999"]) < CLOSE
        assert distance(unet.time_embedding(waves), expected["mask_time_embed_0_1_250_999"]) < CLOSE


@pytest.mark.parametrize("timestep", TIMESTEPS)
def test_raw_influences(golden: Golden, timestep: int) -> None:
    expected = golden.expected("dynamic_diffusers")
    with torch.no_grad():
        logits = golden.composition().logits(expected["x"], at(timestep, len(expected["x"])), golden.tokens)
    for modality, found in logits.items():
        assert distance(found, expected[f"{modality}_raw_t{timestep}"]) < CLOSE


@pytest.mark.parametrize("timestep", TIMESTEPS)
@pytest.mark.parametrize("variant", list(VARIANTS))
def test_influences_and_combined_noise(golden: Golden, variant: str, timestep: int) -> None:
    influences, combined = golden.expected("dynamic_diffusers"), golden.expected("combined_eps")
    composition = golden.composition(reweight=VARIANTS[variant])
    batch = at(timestep, len(combined["x"]))
    with torch.no_grad():
        found = composition.influences(influences["x"], batch, golden.tokens)
        noise = composition(combined["x"], batch, golden.tokens).sample
    for modality, influence in found.items():
        assert distance(influence, influences[f"{variant}.{modality}_influence_t{timestep}"]) < CLOSE
    assert distance(noise, combined[f"{variant}.eps_t{timestep}"]) < CLOSE


def test_timesteps_that_differ_within_a_batch(golden: Golden) -> None:
    expected = golden.expected("combined_eps")
    with torch.no_grad():
        found = golden.composition()(expected["x"], expected["mixed_t"], golden.tokens).sample
    assert distance(found, expected["paper.eps_mixed_t"]) < CLOSE


# -- schedule and samplers ---------------------------------------------------------------------------------------------


def ddpm(golden: Golden) -> DDPMScheduler:
    return DDPMScheduler.from_config(golden.pipe.scheduler.config, variance_type="fixed_small")


def test_schedule(golden: Golden) -> None:
    expected = golden.expected("schedule")
    scheduler = golden.pipe.scheduler
    assert distance(scheduler.betas, expected["betas"]) < EXACT
    # diffusers multiplies the alphas in float32, the published code in float64
    assert distance(scheduler.alphas_cumprod, expected["alphas_cumprod"]) < EXACT
    assert distance((1 - scheduler.alphas_cumprod).sqrt(), expected["sqrt_one_minus_alphas_cumprod"]) < EXACT


@pytest.mark.parametrize("timestep", [999, 400, 1, 0])
def test_ddpm_step(golden: Golden, timestep: int) -> None:
    expected = {
        name.removesuffix(f"_t{timestep}"): value
        for name, value in golden.expected("ddpm_step").items()
        if name == "x" or name.endswith(f"_t{timestep}")
    }
    scheduler = ddpm(golden)
    with torch.no_grad():
        estimate = golden.composition()(expected["x"], at(timestep, len(expected["x"])), golden.tokens).sample
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda *_args, **_kwargs: expected["noise"])
        stepped = scheduler.step(estimate, timestep, expected["x"])
    assert distance(stepped.pred_original_sample, expected["pred_x0"]) < CLOSE
    assert distance(stepped.prev_sample, expected["x_prev"]) < CLOSE
    if timestep:
        variance = scheduler._get_variance(timestep)
        assert float(variance) == pytest.approx(float(expected["variance"].flatten()[0]), rel=1e-4)
        assert float(variance.log()) == pytest.approx(float(expected["log_variance_clipped"].flatten()[0]), rel=1e-4)
    mean = expected["x_prev"] if timestep == 0 else stepped.prev_sample - variance**0.5 * expected["noise"]
    assert distance(mean, expected["mean"]) < CLOSE


class RecordedNoise(DDIMScheduler):
    """Steps with recorded noise instead of drawn one."""

    noise: list[Tensor]

    def step(self, *args: Any, **kwargs: Any) -> Any:
        noise = self.noise.pop(0) if kwargs.get("eta") else None
        return super().step(*args, **kwargs, variance_noise=noise)


TRAJECTORIES = {
    "ddim_eta0_paper": ("both", "paper", 0.0),
    "ddim_eta05_odd_steps_paper": ("both", "paper", 0.5),
    "ddim_eta1_paper": ("both", "paper", 1.0),
    "ddim_eta0_generate_default": ("both", "generate_default", 0.0),
    "ddim_eta1_generate_default": ("both", "generate_default", 1.0),
    "ddim_unimodal_mask_eta0": ("mask", "paper", 0.0),
    "ddim_unimodal_mask_eta1": ("mask", "paper", 1.0),
    "ddim_unimodal_text_eta0": ("text", "paper", 0.0),
    "ddim_unimodal_text_eta1": ("text", "paper", 1.0),
}


def recorded_scheduler(golden: Golden, expected: dict[str, Tensor]) -> RecordedNoise:
    """The published grid, also where the number of steps does not divide 1000 and the grid then has another one."""
    scheduler = RecordedNoise.from_config(golden.pipe.scheduler.config)
    timesteps = expected["timesteps"].sort().values
    stride = int(timesteps[1] - timesteps[0])
    scheduler.set_timesteps(1000 // stride)
    if len(timesteps) == len(scheduler.timesteps):
        assert torch.equal(scheduler.timesteps.flip(0), timesteps)
    scheduler.timesteps = timesteps.flip(0)
    scheduler.noise = list(expected["noise"]) if "noise" in expected else []
    return scheduler


@pytest.mark.parametrize("name", list(TRAJECTORIES))
def test_ddim_trajectories(golden: Golden, name: str) -> None:
    which, variant, eta = TRAJECTORIES[name]
    expected = golden.expected(name)
    tokens = golden.tokens if which == "both" else {which: golden.tokens[which]}
    composition = golden.composition(reweight=VARIANTS[variant])
    scheduler = recorded_scheduler(golden, expected)
    after, predicted, influences = [], [], []

    def note(step: Any) -> None:
        after.append(step.latents)
        predicted.append(step.prediction())
        influences.append(step.influences)

    with torch.no_grad():
        found = sample(composition, scheduler, expected["x_T"], tokens, step_kwargs={"eta": eta}, on_step=note)
        image = golden.pipe.vae.decode(found / golden.pipe.vae.config.scaling_factor).sample
    assert distance(torch.stack(after), expected["x_after_step"]) < CLOSE
    assert distance(torch.stack(predicted), expected["pred_x0"]) < CLOSE
    assert distance(found, expected["z_0"]) < CLOSE
    assert distance(image, expected["image"]) < CLOSE
    if which == "both":
        for modality in tokens:
            shares = torch.stack([step[modality] for step in influences])
            assert distance(shares, expected[f"{modality}_influence"]) < CLOSE
        pixels = torch.from_numpy(to_uint8(image)).int() - expected["image_uint8"].int()
        assert pixels.abs().max() <= 1


def test_published_conditions_through_the_pipeline(golden: Golden) -> None:
    expected = golden.expected("ddim_eta0_paper")
    found = golden.pipe(
        {"text": golden.ids, "mask": golden.one_hot},
        latents=expected["x_T"],
        num_inference_steps=10,
        eta=0.0,
        output_type="latent",
    ).images
    assert distance(found, expected["z_0"]) < CLOSE


@pytest.mark.parametrize("steps", [1, 7, 150, 500, 1000])
def test_any_number_of_steps(golden: Golden, steps: int) -> None:
    grid = golden.pipe.scheduler_for(steps).timesteps
    assert len(grid) == steps
    assert grid.max() <= 999
    assert grid.min() == (0 if steps == 1000 else 1)  # as many steps as timesteps leave no room for the offset


def test_a_grid_that_begins_too_low_is_told(golden: Golden) -> None:
    with pytest.warns(InputNotice, match="600 steps of this scheduler begin at timestep 600 of 1000"):
        golden.pipe.scheduler_for(600)


# -- training ----------------------------------------------------------------------------------------------------------


def published_names(model: Any, prefix: str) -> dict[str, str]:
    """Names of the parameters of a network of ours -> the published ones."""
    names = [name.removeprefix("network.unet.") for name, _ in model.named_parameters() if "network.unet." in name]
    keys = unet_keys(names, model.config.unet_config)
    return {f"network.unet.{name}": prefix + key for name, key in keys.items()}


def norm(gradients: list[Tensor]) -> float:
    return float(torch.stack([gradient.double().norm() for gradient in gradients]).norm())


def test_training_of_dynamic_diffusers(golden: Golden) -> None:
    expected = golden.expected("train_dynamic_diffusers")
    diffusers = golden.fresh().dynamic_diffusers
    assert diffusers is not None
    composition = Collaborative(golden.pipe.collaborators, diffusers)
    tokens = {modality: expected[f"cond_{modality}"] for modality in diffusers}
    optimizer = torch.optim.AdamW(diffusers.parameters(), lr=float(expected["lr"]), weight_decay=0.01)
    golden.pipe.collaborators.requires_grad_(False)
    for step in range(3):
        part = {key.removeprefix(f"step{step}."): value for key, value in expected.items() if f"step{step}." in key}
        assert distance(ddpm(golden).add_noise(expected["x0"], part["noise"], part["t"]), part["x_noisy"]) < EXACT
        optimizer.zero_grad()
        loss = denoising_loss(composition, ddpm(golden), expected["x0"], tokens, part["noise"], part["t"]).mean()
        loss.backward()
        assert float(loss.detach()) == pytest.approx(float(part["loss_simple"]), rel=CLOSE)
        for modality in diffusers:
            model = diffusers[modality]
            gradients = {name: value.grad for name, value in model.named_parameters()}
            found = norm([gradient for gradient in gradients.values() if gradient is not None])
            assert found == pytest.approx(float(part[f"grad_norm_{modality}_diffuser"]), rel=GRADIENTS)
            for name, key in published_names(model, f"grad.{modality}.diffusion_model.").items():
                if key in part:
                    assert distance(gradients[name], part[key]) < GRADIENTS
        optimizer.step()
        for modality in diffusers:
            weight = diffusers[modality].network.unet.conv_out.weight.detach()
            recorded = expected[f"after_step{step}.{modality}.out.2.weight"]
            assert (weight - recorded).abs().max() <= 2 * float(expected["lr"]) * (step + 1)


@pytest.mark.parametrize("modality", ["mask", "text"])
def test_training_of_collaborators(golden: Golden, modality: str) -> None:
    expected = golden.expected(f"train_unimodal_{modality}")
    model = golden.fresh().collaborators[modality].requires_grad_(True)
    raw = golden.ids if modality == "text" else golden.one_hot.expand(len(expected["x0"]), -1, -1)
    tokens = {modality: model.encoder(model.encoder.read(raw))}
    loss = denoising_loss(model, ddpm(golden), expected["x0"], tokens, expected["noise"], expected["t"]).mean()
    loss.backward()
    assert float(loss.detach()) == pytest.approx(float(expected["loss"]), rel=CLOSE)
    for part, recorded in ((model.network, "grad_norm_unet"), (model.encoder, "grad_norm_cond_stage")):
        found = norm([value.grad for value in part.parameters() if value.grad is not None])
        assert found == pytest.approx(float(expected[recorded]), rel=GRADIENTS)


def test_an_influence_is_a_share(golden: Golden) -> None:
    x = golden.expected("combined_eps")["x"]
    for reweight in VARIANTS.values():
        with torch.no_grad():
            output: DenoiserOutput = golden.composition(reweight=reweight)(x, at(500, len(x)), golden.tokens)
        assert output.influences is not None
        total = torch.stack(list(output.influences.values())).sum(dim=0)
        torch.testing.assert_close(total, torch.ones_like(total))
