"""What users call: raw conditions in, pictures out."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers import AutoencoderKL, DiffusionPipeline
from diffusers.configuration_utils import ConfigMixin
from diffusers.schedulers import SchedulerMixin
from diffusers.utils import BaseOutput
from diffusers.utils.torch_utils import randn_tensor
from PIL import Image
from torch import Tensor

from codiff.autoencoder import autoencoder_class
from codiff.collaborator import Collaborators
from codiff.composition import Composition, check_modalities, learned_rule, rule
from codiff.dynamic_diffuser import DynamicDiffusers
from codiff.errors import InputError, InputNotice
from codiff.files import written_aside
from codiff.model_dict import in_own_memory, local_folder
from codiff.model_files import find_model, read_index, replaceable, verify_checksums, write_checksums
from codiff.offload import offloaded_in_turn
from codiff.pixels import to_uint8
from codiff.sampling import Step, sample

OUTPUT_TYPES = ("pil", "np", "pt", "latent")
CALLBACK_INPUTS = ("latents", "prediction")
_MOST_SIGNAL = 0.01
_COARSE = 0.1  # of the training timesteps: coarser grids begin low, too, but nobody expects much of them
_NO_GUIDANCE = (
    "this model was trained without condition dropout, so it does not know what no condition means: images get worse "
    "with a guidance other than 1, and with rules that add to what no condition gives"
)
Generators = torch.Generator | list[torch.Generator] | None
Callback = Callable[[Any, int, Tensor, dict[str, Tensor]], dict[str, Tensor] | None]


@dataclass
class CollaborativePipelineOutput(BaseOutput):
    """What a call returns.

    Attributes:
        images: list of PIL images; with `output_type` "np" an array (batch, h, w, 3) and with "pt" a tensor
            (batch, 3, h, w), both in [0, 1]; with "latent" the scaled latents (batch, channels, h, w).
        influences: modality -> (steps, batch, 1, h, w), float32 on the CPU; None unless asked for, or where the
            composition has none.
        intermediates: x_t after each step, (steps, batch, channels, h, w); None unless asked for.
        predictions: the x_0 predicted at each step, like `intermediates`.
    """

    images: Any
    influences: dict[str, Tensor] | None = None
    intermediates: Tensor | None = None
    predictions: Tensor | None = None


def generators(seed: int, count: int) -> list[torch.Generator]:
    """One generator an image: image k is drawn from `seed + k`, whatever else is in its batch."""
    return [torch.Generator().manual_seed(seed + index) for index in range(count)]


def _kept(value: Tensor) -> Tensor:
    return value.to(device="cpu", dtype=torch.float32, copy=True)


class _Recorder:
    """Keeps of each step only what was asked for, on the CPU."""

    def __init__(self, influences: bool, intermediates: bool) -> None:
        self.wants_influences, self.wants_intermediates = influences, intermediates
        self.influences: dict[str, list[Tensor]] = {}
        self.intermediates: list[Tensor] = []
        self.predictions: list[Tensor] = []

    def note(self, step: Step) -> None:
        if self.wants_influences:
            for modality, share in (step.influences or {}).items():
                self.influences.setdefault(modality, []).append(_kept(share))
        if self.wants_intermediates:
            self.intermediates.append(_kept(step.latents))
            self.predictions.append(_kept(step.prediction()))

    def output(self, images: Any) -> CollaborativePipelineOutput:
        return CollaborativePipelineOutput(
            images=images,
            influences={m: torch.stack(steps) for m, steps in self.influences.items()} or None,
            intermediates=torch.stack(self.intermediates) if self.intermediates else None,
            predictions=torch.stack(self.predictions) if self.predictions else None,
        )


class CollaborativePipeline(DiffusionPipeline):
    """Collaborators, their dynamic diffusers, an autoencoder and a scheduler, saved in the diffusers folder format.

    Args:
        vae: pictures <-> latents.
        collaborators: diffusion models by modality.
        dynamic_diffusers: by modality; None where there are none (then name a `composition` for several modalities).
        scheduler: any diffusers scheduler; each call works on a copy, so calls may run concurrently.
        condition_dropout: whether the collaborators were trained with it, which guidance rests on.
    """

    _optional_components = ["dynamic_diffusers"]  # noqa: RUF012  (diffusers reads a list)

    def __init__(
        self,
        vae: AutoencoderKL,
        collaborators: Collaborators,
        dynamic_diffusers: DynamicDiffusers | None,
        scheduler: SchedulerMixin,
        condition_dropout: bool = True,
    ) -> None:
        super().__init__()
        self.register_to_config(condition_dropout=condition_dropout)
        self._all_hooks: list[Any] = []
        self._offload_device: torch.device | None = None
        self.register_modules(
            vae=vae, collaborators=collaborators, dynamic_diffusers=dynamic_diffusers, scheduler=scheduler
        )

    @property
    def modalities(self) -> list[str]:
        """What the model can be conditioned on."""
        return list(self.collaborators)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image's latents."""
        first = self.collaborators[self.modalities[0]]
        factor = 2 ** (len(self.vae.config.block_out_channels) - 1)
        side = first.config.unet_config.get("sample_size") or self.vae.config.sample_size // factor
        return first.latent_channels, side, side

    @torch.no_grad()
    def __call__(
        self,
        conditions: dict[str, Any],
        *,
        num_inference_steps: int = 50,
        composition: Composition | None = None,
        guidance_scale: float = 1.0,
        negative_conditions: dict[str, Any] | None = None,
        eta: float = 0.0,
        generator: Generators = None,
        latents: Tensor | None = None,
        callback_on_step_end: Callback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        output_type: str = "pil",
        return_influences: bool = False,
        return_intermediates: bool = False,
    ) -> CollaborativePipelineOutput:
        """Generate one image for each generator, each row of `latents` and each condition of a list.

        Args:
            conditions: modality -> raw condition, or a list of them; any subset of `modalities`.
            num_inference_steps: 1 up to the scheduler's training timesteps.
            composition: how the collaborators are combined; None for what the dynamic diffusers were trained for.
            guidance_scale: classifier-free guidance of each collaborator; 1 switches it off.
            negative_conditions: what to move away from instead of "no condition"; a subset of the conditions'
                modalities.
            eta: of DDIM (0 deterministic, 1 as DDPM); only for schedulers that have it.
            generator: one per image (`codiff.generators(seed, count)`); None draws fresh seeds.
            latents: initial noise (batch, channels, h, w) of unit variance in place of the generators' own.
            callback_on_step_end: called with (pipeline, step, timestep, {"latents": ...}) after each step; may return
                {"latents": ...} to replace them.
            callback_on_step_end_tensor_inputs: what it is given: "latents", and "prediction", the x_0 that the step
                foresees, (batch, channels, h, w).
            output_type: "pil", "np", "pt" or "latent".
            return_influences: keep the influences of all steps.
            return_intermediates: keep x_t and the predicted x_0 of all steps.

        Raises:
            InputError: a condition or an argument is wrong; nothing is computed then.
        """
        if output_type not in OUTPUT_TYPES:
            raise InputError(f"unknown output_type {output_type!r}; expected one of {', '.join(OUTPUT_TYPES)}")
        check_modalities(conditions, self.collaborators)
        _check_callback_inputs(callback_on_step_end_tensor_inputs)
        composition = composition or self.learned_composition()
        self.note_guidance(guidance_scale, composition, stacklevel=3)
        scheduler = self.scheduler_for(num_inference_steps)
        tokens = self.encode_conditions(conditions)
        sources = self.generators_for(tokens, generator, latents)
        tokens = {modality: value.expand(len(sources), *value.shape[1:]) for modality, value in tokens.items()}
        denoiser = composition.guided(self._unconditional(tokens, negative_conditions), guidance_scale)
        start = self.initial_noise(sources, latents) * scheduler.init_noise_sigma
        kwargs = self.step_kwargs(scheduler, eta, sources)
        recorder = _Recorder(return_influences, return_intermediates)
        with self.progress_bar(total=num_inference_steps) as bar:

            def on_step(step: Step) -> Tensor | None:
                recorder.note(step)
                bar.update()
                if callback_on_step_end is None:
                    return None
                return self._called_back(callback_on_step_end, step, callback_on_step_end_tensor_inputs)

            result = sample(denoiser, scheduler, start, tokens, step_kwargs=kwargs, on_step=on_step)
        images = result if output_type == "latent" else self.decode(result, output_type)
        self.maybe_free_model_hooks()
        return recorder.output(images)

    def _called_back(self, callback: Callback, step: Step, names: Sequence[str]) -> Tensor | None:
        """Latents that a callback returns in place of the step's."""
        tensors = {name: step.prediction() if name == "prediction" else step.latents for name in names}
        returned = callback(self, step.index, step.timestep, tensors)
        return (returned or {}).get("latents")

    def learned_composition(self) -> Composition:
        """The rule that the dynamic diffusers were trained for."""
        diffusers = self.dynamic_diffusers or {}
        return rule(learned_rule(diffusers), self.collaborators, diffusers)

    def encode_conditions(self, conditions: Mapping[str, Any]) -> dict[str, Tensor]:
        """Tokens (batch, tokens, features) of raw conditions, or of lists of them, where the models work.

        Raises:
            InputError: a condition is wrong.
        """
        tokens = self.collaborators.encode(dict(conditions))
        return {modality: value.to(self.execution_device) for modality, value in tokens.items()}

    def scheduler_for(self, steps: int) -> Any:
        """A fresh copy of the scheduler, set to so many steps: schedulers keep state, so each sampling needs its own.

        Args:
            steps: 1 up to the scheduler's training timesteps.

        Raises:
            InputError: another number, or one that this scheduler cannot take.
        """
        limit = self.scheduler.config.num_train_timesteps
        if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= limit:
            raise InputError(f"the number of steps must be a whole number from 1 to {limit}, got {steps!r}")
        scheduler = type(self.scheduler).from_config(self.scheduler.config)
        scheduler.set_timesteps(steps, device=self.execution_device)
        _check_grid(scheduler, steps)
        return scheduler

    def generators_for(
        self, tokens: Mapping[str, Tensor], generator: Generators, latents: Tensor | None
    ) -> list[torch.Generator]:
        """One generator for each image that tokens, generators and latents together ask for; fresh ones without.

        Args:
            tokens: name -> (batch, ...); a batch of one serves all images.
            generator, latents: see `__call__`.

        Raises:
            InputError: batch sizes do not agree, or latents are not of `latent_shape`'s form.
        """
        batch = self._batch_size(tokens, generator, latents)
        if isinstance(generator, list):
            return generator
        if generator is None:
            fresh = [torch.Generator() for _ in range(batch)]
            for source in fresh:
                source.seed()
            return fresh
        if batch > 1:
            raise InputError(
                f"{batch} images need {batch} generators, one each: generator=codiff.generators(seed, {batch})"
            )
        return [generator]

    def _batch_size(self, tokens: Mapping[str, Tensor], generator: Generators, latents: Tensor | None) -> int:
        """All batch sizes must agree or be 1."""
        sizes = {f"the {modality} condition": len(value) for modality, value in tokens.items()}
        if latents is not None:
            self._check_latents(latents)
            sizes["latents"] = len(latents)
        if isinstance(generator, list):
            sizes["generator"] = len(generator)
        batch = max(sizes.values())
        wrong = {
            name: size
            for name, size in sizes.items()
            if size != batch and not (size == 1 and name.endswith("condition"))
        }
        if wrong or batch < 1:
            listed = ", ".join(f"{name}: {size}" for name, size in sizes.items())
            raise InputError(
                f"batch sizes do not agree ({listed}); each must be {batch}, conditions may also be single"
            )
        return batch

    def note_guidance(self, guidance_scale: float, composition: Composition, *, stacklevel: int = 2) -> None:
        """Warn where a guidance other than 1, or a rule that adds to it, asks for what this model never learned."""
        if (guidance_scale != 1.0 or composition.needs_unconditional) and not self.config.condition_dropout:
            warnings.warn(_NO_GUIDANCE, InputNotice, stacklevel=stacklevel)

    def initial_noise(self, generator: list[torch.Generator], latents: Tensor | None = None) -> Tensor:
        """Noise of unit variance (batch, channels, h, w), each image's from its own generator; or these latents."""
        shape = self.latent_shape
        device, dtype = self.execution_device, self.collaborators.dtype
        if latents is None:
            return torch.cat(
                [randn_tensor((1, *shape), generator=source, device=device, dtype=dtype) for source in generator]
            )
        return latents.to(device=device, dtype=dtype)

    def _check_latents(self, latents: Tensor) -> None:
        shape = self.latent_shape
        if latents.ndim != 4 or latents.shape[1] != shape[0]:
            raise InputError(
                f"latents have shape {tuple(latents.shape)}, expected (batch, {', '.join(map(str, shape))})"
            )

    def _unconditional(self, tokens: Mapping[str, Tensor], negative: dict[str, Any] | None) -> dict[str, Tensor]:
        unconditional = self.collaborators.unconditional(tokens)
        if negative:
            check_modalities(negative, tokens)
            avoided = self.encode_conditions(negative)
            for modality, value in avoided.items():
                if len(value) not in (1, len(tokens[modality])):
                    sizes = f"the negative {modality} condition: {len(value)}, images: {len(tokens[modality])}"
                    raise InputError(
                        f"batch sizes do not agree ({sizes}); give one negative condition, or one for each image"
                    )
            unconditional.update(avoided)
        return unconditional

    def step_kwargs(self, scheduler: Any, eta: float, generator: list[torch.Generator]) -> dict[str, Any]:
        """What this scheduler's `step` takes of eta and the generators: schedulers differ.

        Raises:
            InputError: eta is not from 0 to 1, or the scheduler has none.
        """
        accepted = inspect.signature(scheduler.step).parameters
        if eta != 0.0 and "eta" not in accepted:
            raise InputError(f"{type(scheduler).__name__} has no eta; use a DDIM scheduler or leave eta at 0")
        if not 0.0 <= eta <= 1.0:
            raise InputError(f"eta must be between 0 and 1, got {eta}")
        candidates = {"eta": eta, "generator": generator}
        return {name: value for name, value in candidates.items() if name in accepted}

    def enable_model_cpu_offload(self, gpu_id: int | None = None, device: torch.device | str | None = None) -> None:
        """Keep all models on the CPU but the one that works; each collaborator and each dynamic diffuser is one.

        Args:
            gpu_id: number of the accelerator; its first without.
            device: where models work; the accelerator there is without.

        Raises:
            InputError: there is no accelerator, and no device is given.
        """
        place = torch.device(device) if device is not None else torch.accelerator.current_accelerator(True)
        if place is None:
            raise InputError("enable_model_cpu_offload needs a GPU, and there is none")
        chosen = place if gpu_id is None else torch.device(place.type, gpu_id)
        self.remove_all_hooks()
        self.to("cpu")
        groups = [group for group in (self.collaborators, self.dynamic_diffusers) if group is not None]
        members = [group[modality] for modality in self.modalities for group in groups]
        self._all_hooks = offloaded_in_turn([*members, self.vae], chosen)
        self._offload_device = chosen

    def remove_all_hooks(self) -> None:
        """Undo `enable_model_cpu_offload`; the models stay on the CPU."""
        for hook in self._all_hooks:
            hook.offload()
            hook.remove()
        self._all_hooks, self._offload_device = [], None

    def maybe_free_model_hooks(self) -> None:
        """Send the model that worked last back to the CPU, where `enable_model_cpu_offload` is on."""
        for hook in self._all_hooks:
            hook.offload()

    @property
    def is_offloaded(self) -> bool:
        """Whether the models take turns on an accelerator (`enable_model_cpu_offload`)."""
        return self._offload_device is not None

    @property
    def execution_device(self) -> torch.device:
        """Where the models work, and so where their inputs must be."""
        return self._offload_device or self.device

    def decode(self, latents: Tensor, output_type: str = "pil") -> Any:
        """Pictures of scaled latents (batch, channels, h, w): see `CollaborativePipelineOutput.images`.

        Raises:
            InputError: the autoencoder returned something that is not finite.
        """
        vae = self.vae
        # Half-precision decoders overflow to black pictures.
        decoder = vae if vae.dtype != torch.float16 else type(vae).from_config(vae.config).to(vae.device).eval()
        if decoder is not vae:
            decoder.load_state_dict(vae.state_dict())
        pictures = decoder.decode(latents.to(decoder.dtype) / vae.config.scaling_factor).sample.float()
        if not torch.isfinite(pictures).all():
            raise InputError(
                "the autoencoder returned values that are not finite; load the model in float32 or bfloat16"
            )
        if output_type == "pt":
            return (pictures / 2 + 0.5).clamp(0, 1)
        if output_type == "np":
            return (pictures / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()
        return [Image.fromarray(np.ascontiguousarray(picture)) for picture in to_uint8(pictures)]

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:
        """Write the model into a folder, whole or not at all, with checksums of its weights.

        Raises:
            InputError: the folder cannot be written, or holds something else than a model, which would be lost.
        """
        if not kwargs.get("safe_serialization", True):
            raise InputError("weights are written as safetensors alone: pickles can run code when they are loaded")
        with written_aside(replaceable(Path(save_directory))) as folder:
            super().save_pretrained(folder, **kwargs)
            write_checksums(folder)

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, *, torch_dtype: torch.dtype = torch.float32, **hub: Any
    ) -> CollaborativePipeline:
        """Load "demo" (shipped), a folder, or a hub id.

        Args:
            torch_dtype: of the weights in memory.
            hub: passed to `huggingface_hub.snapshot_download` for a hub id.

        Raises:
            InputError: no such model; or its folder is foreign, incomplete or damaged.
        """
        folder = find_model(pretrained_model_name_or_path, **hub)
        index = read_index(folder)
        verify_checksums(folder)
        load = {"torch_dtype": torch_dtype, "low_cpu_mem_usage": True, "use_safetensors": True}
        try:
            vae = in_own_memory(autoencoder_class(index).from_pretrained(local_folder(folder / "vae"), **load))
            scheduler = _scheduler_class(index).from_pretrained(local_folder(folder / "scheduler"))
        except InputError:
            raise
        except Exception as error:  # whatever a damaged file makes a loader raise
            raise InputError(f"{folder} cannot be loaded: {error}") from error
        collaborators = Collaborators.from_pretrained(folder / "collaborators", **load)
        dynamic_diffusers = None
        if index.get("dynamic_diffusers") not in (None, [None, None]):
            dynamic_diffusers = DynamicDiffusers.from_pretrained(folder / "dynamic_diffusers", **load)
        dropout = bool(index.get("condition_dropout", True))
        return cls(vae.eval(), collaborators.eval(), dynamic_diffusers and dynamic_diffusers.eval(), scheduler, dropout)


CollaborativePipeline.__module__ = "codiff"


def _check_callback_inputs(names: Sequence[str]) -> None:
    unknown = [name for name in names if name not in CALLBACK_INPUTS]
    if unknown:
        raise InputError(f"unknown callback input {unknown[0]!r}; expected of {', '.join(CALLBACK_INPUTS)}")


def _check_grid(scheduler: Any, steps: int) -> None:
    """Keep a grid within the schedule, and tell of a fine one that begins where noise is not yet all there is.

    Grids of "leading" spacing have a whole stride, so where the steps do not divide the training timesteps they end
    below them: 600 steps of 1000 begin at timestep 600. With an offset they can also end one above.
    """
    last = scheduler.config.num_train_timesteps - 1
    first = int(scheduler.timesteps.max())
    if first > last:
        scheduler.timesteps, first = scheduler.timesteps - (first - last), last
    if scheduler.timesteps.unique().numel() < steps // 2:
        raise InputError(f"{type(scheduler).__name__} cannot take {steps} steps: take fewer, or another scheduler")
    if steps > _COARSE * last and float(scheduler.alphas_cumprod[first]) > _MOST_SIGNAL:
        warnings.warn(
            f"{steps} steps of this scheduler begin at timestep {first} of {last + 1}, where an image is not all noise "
            "yet: take a number that divides them, or another scheduler",
            InputNotice,
            stacklevel=4,
        )


def _scheduler_class(index: Mapping[str, Any]) -> type[Any]:
    """A diffusers scheduler by the name in the index: nothing else is ever looked up or imported."""
    library, name = index["scheduler"]
    kind = getattr(diffusers, str(name), None)
    if library != "diffusers" or not (
        isinstance(kind, type) and issubclass(kind, SchedulerMixin) and issubclass(kind, ConfigMixin)
    ):
        raise InputError(f"the scheduler {library}.{name} is not one of diffusers'")
    return kind
