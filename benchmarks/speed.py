"""Seconds of every part of a full-size model: `python -m benchmarks.speed`.

Random weights in the published 512 sizes, batch 1. Three ways run in turn in the same process, so that ratios hold
whatever else the machine does: codiff's own (ours); the same architectures as bare diffusers modules with scaled
dot-product attention (sdpa); and these with attention materialised, as the published code has it (materialised).
Prints the best of --rounds, and ours as a ratio to both. With --whole-image instead: one image as the published scripts
make it (materialised, float32, 50 steps of DDIM) and one of ours (bfloat16, 20 steps of DPM-Solver++), once each.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable, Mapping
from contextvars import copy_context
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0
from torch import Tensor

from codiff import Collaborative, Collaborator, Collaborators, DynamicDiffuser, DynamicDiffusers, denoising_loss, sample
from codiff.constant_conditions import constant_conditions
from codiff.convert import Description, preset_description

WAYS = ("ours", "sdpa", "materialised")
Run = Callable[[], Any]
TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def random_model(kind: Any, arguments: Mapping[str, Any], dtype: torch.dtype, device: str) -> Any:
    """A model with random weights, made without its slow initialisation."""
    with torch.device("meta"):
        model = kind(**arguments)
    model = torch.nn.Module.to(model.to_empty(device=device), dtype)  # diffusers' own warns of fp32 modules
    generator = torch.Generator(device).manual_seed(0)
    for value in model.parameters():
        if value.ndim > 1:
            value.data.normal_(0.0, 0.02, generator=generator)
        else:
            value.data.fill_(0.5)
    return model.eval().requires_grad_(False)


class Models:
    """All parts of one model, and inputs for them."""

    def __init__(self, description: Description, dtype: torch.dtype, device: str) -> None:
        def built(kind: Any, arguments: Mapping[str, Any]) -> Any:
            return random_model(kind, arguments, dtype, device)

        self.collaborators = Collaborators.of(
            {name: built(Collaborator, arguments) for name, arguments in description.collaborators.items()}
        )
        assert description.dynamic_diffuser is not None
        self.diffusers = DynamicDiffusers.of(
            {name: built(DynamicDiffuser, description.dynamic_diffuser) for name in self.collaborators}
        )
        self.vae = built(AutoencoderKL, description.vae)
        self.composition = Collaborative(self.collaborators, self.diffusers)
        self.scheduler = DDIMScheduler(**description.scheduler)
        unet, side = description.collaborators["text"]["unet_config"], description.vae["sample_size"]
        shape = (1, unet["in_channels"], unet["sample_size"], unet["sample_size"])
        generator = torch.Generator(device).manual_seed(1)
        self.latents = torch.randn(shape, generator=generator, device=device).to(dtype)
        self.image = torch.rand(1, 3, side, side, generator=generator, device=device).to(dtype) * 2 - 1
        self.timestep = torch.tensor([500], device=device)
        self.ids = torch.randint(0, 30000, (1, 77), generator=torch.Generator().manual_seed(1)).to(device)
        labels = torch.zeros(1, 32, 32, dtype=torch.int64, device=device)
        with torch.no_grad():
            text, mask = self.collaborators["text"].encoder(self.ids), self.collaborators["mask"].encoder(labels)
        self.tokens = {"mask": mask, "text": text}

    def networks(self) -> list[Any]:
        """The bare diffusers modules."""
        return [self.bare(group[name]) for group in (self.collaborators, self.diffusers) for name in self.tokens]

    @staticmethod
    def bare(model: Any) -> Any:
        return model.network.unet

    def bare_step(self, latents: Tensor) -> Tensor:
        """A step's noise from diffusers modules alone."""
        results = {}
        for name, group in (("noise", self.collaborators), ("logits", self.diffusers)):
            results[name] = torch.stack([
                self.bare(group[modality])(latents, self.timestep, encoder_hidden_states=tokens).sample
                for modality, tokens in self.tokens.items()
            ])  # fmt: skip
        return (torch.softmax(results["logits"], dim=0) * results["noise"]).sum(dim=0)

    def bare_image(self, steps: int) -> Tensor:
        scheduler = self._schedule(steps)
        latents = self.latents
        for timestep in scheduler.timesteps:
            latents = scheduler.step(self.bare_step(latents), timestep, latents).prev_sample
        return self.vae.decode(latents / self.vae.config.scaling_factor).sample

    def image_of(self, steps: int, kind: Any = DDIMScheduler) -> Tensor:
        latents = sample(self.composition, self._schedule(steps, kind), self.latents, self.tokens)
        return self.vae.decode(latents / self.vae.config.scaling_factor).sample

    def _schedule(self, steps: int, kind: Any = DDIMScheduler) -> Any:
        scheduler = kind.from_config(self.scheduler.config)
        scheduler.set_timesteps(steps)
        return scheduler

    def training_step(self) -> None:
        """Forward and backward of all dynamic diffusers."""
        self.diffusers.requires_grad_(True)
        schedule = DDPMScheduler.from_config(self.scheduler.config)
        noise = torch.ones_like(self.latents)
        with torch.enable_grad():
            loss = denoising_loss(self.composition, schedule, self.latents, self.tokens, noise, self.timestep)
            loss.mean().backward()
        self.diffusers.zero_grad()
        self.diffusers.requires_grad_(False)


def cases(models: Models, steps: int) -> dict[str, dict[str, Run]]:
    """Part -> way -> what to time. Where a part is one diffusers module, ours and sdpa differ by our wrapper alone."""
    text, diffuser = models.collaborators["text"], models.diffusers["text"]
    tokens, latents, timestep = models.tokens["text"], models.latents, models.timestep

    def network(model: Any, call: Run) -> dict[str, Run]:
        def bare() -> Any:
            return models.bare(model)(latents, timestep, encoder_hidden_states=tokens)

        return {"ours": call, "sdpa": bare, "materialised": bare}

    def all_ways(call: Run) -> dict[str, Run]:
        return dict.fromkeys(WAYS, call)

    def step() -> Any:
        return models.bare_step(latents)

    def image() -> Any:
        return models.bare_image(steps)

    return {
        "text embedding": {"ours": lambda: text.encoder(models.ids)},
        "collaborator": network(text, lambda: text(latents, timestep, models.tokens)),
        "dynamic diffuser": network(diffuser, lambda: diffuser(latents, timestep, tokens)),
        "step of two modalities": {
            "ours": lambda: models.composition(latents, timestep, models.tokens),
            "sdpa": step,
            "materialised": step,
        },
        "autoencoder, encode": all_ways(lambda: models.vae.encode(models.image)),
        "autoencoder, decode": all_ways(lambda: models.vae.decode(latents)),
        "training step, dynamic diffusers": all_ways(models.training_step),
        f"image, {steps} steps": {"ours": lambda: models.image_of(steps), "sdpa": image, "materialised": image},
    }


def set_attention(models: Models, way: str) -> None:
    processor = AttnProcessor() if way == "materialised" else AttnProcessor2_0()
    for network in models.networks():
        network.set_attn_processor(processor)
    models.vae.set_attn_processor(processor)


def seconds_of(models: Models, runs: Mapping[str, Run], rounds: int) -> dict[str, float]:
    """Best of several rounds for each way, in turn. Ours keeps the projections of its conditions from one round to the
    next, as an image keeps them from one step to the next."""
    sampling, constant = copy_context(), constant_conditions()
    sampling.run(constant.__enter__)
    best: dict[str, float] = {}
    for number in range(rounds + 1):
        for way, run in runs.items():
            set_attention(models, way)
            started = time.perf_counter()
            if way == "ours":
                sampling.run(run)
            else:
                run()
            if models.latents.is_cuda:
                torch.cuda.synchronize()
            spent = time.perf_counter() - started
            if number:  # the first round warms up
                best[way] = min(best.get(way, spent), spent)
    sampling.run(constant.__exit__, None, None, None)
    return best


def whole_image(preset: str, device: str) -> str:
    """Seconds of an image in the published way and in ours, as Markdown."""
    description = preset_description(preset)
    ways: dict[str, tuple[torch.dtype, str, Callable[[Models], Tensor]]] = {
        "materialised, float32, DDIM, 50 steps": (torch.float32, "materialised", lambda models: models.bare_image(50)),
        "ours, bfloat16, DPM-Solver++, 20 steps": (
            torch.bfloat16,
            "ours",
            lambda models: models.image_of(20, DPMSolverMultistepScheduler),
        ),
    }
    lines, first = ["| whole image | seconds | ratio |", "|---|---|---|"], 0.0
    for title, (dtype, way, draw) in ways.items():
        models = Models(description, dtype, device)
        set_attention(models, way)
        with torch.no_grad():
            models.composition(models.latents, models.timestep, models.tokens)  # warms up
            models.vae.decode(models.latents)
            started = time.perf_counter()
            draw(models)
            if models.latents.is_cuda:
                torch.cuda.synchronize()
        seconds = time.perf_counter() - started
        first = first or seconds
        lines.append(f"| {title} | {seconds:.1f} | {first / seconds:.1f} x faster |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="celebahq-512")
    parser.add_argument("--dtype", nargs="+", choices=list(TYPES), default=list(TYPES))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4, help="of the image end to end")
    parser.add_argument("--parts", nargs="+", help="only parts whose names begin so")
    parser.add_argument("--whole-image", action="store_true", help="50 published steps against 20 of ours")
    arguments = parser.parse_args()
    machine = f"{torch.get_num_threads()} threads, {platform.machine()}, torch {torch.__version__}"
    rounds = "once" if arguments.whole_image else f"best of {arguments.rounds}"
    print(f"{arguments.preset}, batch 1, {arguments.device}, {machine}, {rounds}, seconds\n")
    if arguments.whole_image:
        print(whole_image(arguments.preset, arguments.device))
        return
    first: dict[str, float] = {}
    for dtype in arguments.dtype:
        models = Models(preset_description(arguments.preset), TYPES[dtype], arguments.device)
        print(f"| {dtype} | ours | sdpa | materialised | ours / sdpa | ours / materialised | of {arguments.dtype[0]} |")
        print("|---|---|---|---|---|---|---|")
        for part, runs in cases(models, arguments.steps).items():
            if arguments.parts and not part.startswith(tuple(arguments.parts)):
                continue
            with torch.no_grad():
                measured = seconds_of(models, runs, arguments.rounds)
            first.setdefault(part, measured["ours"])
            print(_row(part, measured, measured["ours"] / first[part]), flush=True)
        print()
        del models


def _row(part: str, measured: Mapping[str, float], of_first: float) -> str:
    seconds = [f"{measured[way]:.3f}" if way in measured else "" for way in WAYS]
    ratios = [f"{measured['ours'] / measured[way]:.2f}" if way in measured else "" for way in WAYS[1:]]
    return f"| {' | '.join([part, *seconds, *ratios, f'{of_first:.2f}'])} |"


if __name__ == "__main__":
    main()
