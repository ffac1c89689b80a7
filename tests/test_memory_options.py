"""What diffusers users switch on to save memory or time: the images stay the same."""

from collections.abc import Iterator

import pytest
import torch
from models import new_pipeline, raw_conditions, seeded
from torch import Tensor, nn

from codiff import CollaborativePipeline, InputError


@pytest.fixture
def pipe() -> CollaborativePipeline:
    return new_pipeline()


def image_of(pipe: CollaborativePipeline) -> Tensor:
    result = pipe(raw_conditions(), num_inference_steps=3, guidance_scale=2.0, generator=seeded(0), output_type="pt")
    images: Tensor = result.images
    return images


class Turns:
    """Which models are where: a stand-in for an accelerator records who comes and who is sent back."""

    def __init__(self, pipe: CollaborativePipeline, patch: pytest.MonkeyPatch) -> None:
        assert pipe.dynamic_diffusers is not None
        self.models: list[nn.Module] = [*pipe.collaborators.models.values(), *pipe.dynamic_diffusers.models.values()]
        self.present: list[nn.Module] = []
        self.most = 0
        for hook in pipe._all_hooks:
            self._watch(hook, patch)

    def _watch(self, hook: object, patch: pytest.MonkeyPatch) -> None:
        original = hook.hook.pre_forward  # type: ignore[attr-defined]

        def pre_forward(module: nn.Module, *args: object, **kwargs: object) -> object:
            previous = hook.hook.prev_module_hook.model  # type: ignore[attr-defined]
            self.present = [model for model in self.present if model is not previous and model is not module]
            self.present.append(module)
            self.most = max(self.most, len(self.present))
            return original(module, *args, **kwargs)

        patch.setattr(hook.hook, "pre_forward", pre_forward)  # type: ignore[attr-defined]


@pytest.fixture
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as context:
        yield context


def test_offloading(pipe: CollaborativePipeline, patch: pytest.MonkeyPatch) -> None:
    expected = image_of(pipe)
    assert not pipe.is_offloaded
    pipe.enable_model_cpu_offload(device="cpu")
    assert pipe.is_offloaded
    assert pipe.execution_device == torch.device("cpu")
    turns = Turns(pipe, patch)
    assert torch.equal(image_of(pipe), expected)
    assert turns.present
    assert turns.most < len(turns.models)
    pipe.enable_model_cpu_offload(device="cpu")
    pipe.remove_all_hooks()
    assert not pipe.is_offloaded
    assert not any(hasattr(module, "_hf_hook") for model in turns.models for module in model.modules())
    assert torch.equal(image_of(pipe), expected)


def test_offloading_without_a_gpu(pipe: CollaborativePipeline) -> None:
    if torch.accelerator.is_available():
        pytest.skip("there is an accelerator")
    with pytest.raises(InputError, match="needs a GPU, and there is none"):
        pipe.enable_model_cpu_offload()


def test_offloading_to_a_gpu(pipe: CollaborativePipeline) -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    expected = image_of(pipe)
    pipe.enable_model_cpu_offload()
    torch.testing.assert_close(image_of(pipe).cpu(), expected, atol=1e-2, rtol=0)
    assert {value.device.type for value in pipe.collaborators.parameters()} == {"cpu"}


@pytest.mark.parametrize("size", ["auto", "max", 1])
def test_attention_slicing(pipe: CollaborativePipeline, size: str | int) -> None:
    expected = image_of(pipe)
    pipe.enable_attention_slicing(size)
    for group in (pipe.collaborators, pipe.dynamic_diffusers):
        kinds = {
            type(each).__name__
            for model in group.models.values()
            for each in model.network.unet.attn_processors.values()
        }
        assert kinds == {"SlicedAttnProcessor"}
    torch.testing.assert_close(image_of(pipe), expected, atol=1e-4, rtol=0)
    pipe.disable_attention_slicing()
    assert torch.equal(image_of(pipe), expected)


def test_autoencoder_in_tiles(pipe: CollaborativePipeline) -> None:
    latents = torch.randn(1, 4, 16, 16, generator=seeded(0))
    with torch.no_grad():
        whole = pipe.vae.decode(latents).sample
        pipe.vae.enable_tiling()
        pipe.vae.tile_latent_min_size = pipe.vae.tile_sample_min_size = 8
        tiled = pipe.vae.decode(latents).sample
    assert tiled.shape[1] == whole.shape[1]
    assert not torch.equal(tiled, whole)
    assert image_of(pipe).isfinite().all()


def test_compiling(pipe: CollaborativePipeline) -> None:
    expected = image_of(pipe)
    for model in pipe.collaborators.models.values():
        model.network.compile(backend="eager")
    torch.testing.assert_close(image_of(pipe), expected, atol=1e-5, rtol=0)
