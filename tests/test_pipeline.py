import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    UniPCMultistepScheduler,
)
from models import (
    MODALITIES,
    SCHEDULE,
    collaborators,
    dynamic_diffusers,
    new_pipeline,
    noise,
    raw_batch,
    raw_conditions,
    seeded,
    shared_pipeline,
    with_scheduler,
)
from PIL import Image
from torch import Tensor

from codiff import Collaborative, CollaborativePipeline, InputError, Mean, generators, sample

# diffusers makes numpy arrays of tensors in a way that numpy 2 will give up
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SCHEDULERS: dict[str, tuple[type[Any], dict[str, Any]]] = {
    "ddpm": (DDPMScheduler, {"clip_sample": False}),
    "ddim": (DDIMScheduler, {"clip_sample": False}),
    "euler": (EulerDiscreteScheduler, {}),
    "dpm++": (DPMSolverMultistepScheduler, {}),
    "unipc": (UniPCMultistepScheduler, {}),
}
STEPS = 3


def piped(name: str) -> CollaborativePipeline:
    cls, config = SCHEDULERS[name]
    return with_scheduler(cls(**SCHEDULE, **config))


def latents_of(pipe: CollaborativePipeline, conditions: dict[str, Any], **kwargs: Any) -> Tensor:
    """The final latents (batch, 4, 4, 4) in `STEPS` steps."""
    images = pipe(conditions, output_type="latent", **{"num_inference_steps": STEPS, **kwargs}).images
    assert isinstance(images, Tensor)
    return images


class TestWhatIsGenerated:
    @pytest.mark.parametrize("name", SCHEDULERS)
    def test_is_the_sampling_loop_over_the_composition(self, name: str) -> None:
        models, pipe = collaborators(), piped(name)
        scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config)
        scheduler.set_timesteps(STEPS)
        start = noise(1, seed=3) * scheduler.init_noise_sigma
        source = seeded(3)
        torch.randn(1, 4, 4, 4, generator=source)  # what the start took
        kwargs = {"generator": source} if name == "ddpm" else {}
        composition = Collaborative(models, dynamic_diffusers())
        expected = sample(composition, scheduler, start, models.encode(raw_conditions()), step_kwargs=kwargs)
        assert torch.equal(latents_of(pipe, raw_conditions(), generator=seeded(3)), expected)

    @pytest.mark.parametrize(
        "subset", [s for n in (1, 2, 3) for s in itertools.combinations(MODALITIES, n)], ids="+".join
    )
    def test_any_subset(self, subset: tuple[str, ...]) -> None:
        output = shared_pipeline()(
            raw_conditions(subset), num_inference_steps=2, generator=seeded(0), return_influences=True
        )
        assert len(output.images) == 1
        assert output.influences is not None
        assert list(output.influences) == list(subset)

    def test_one_modality_is_its_collaborator_to_the_bit(self) -> None:
        models, scheduler = (
            collaborators(),
            type(shared_pipeline().scheduler).from_config(shared_pipeline().scheduler.config),
        )
        scheduler.set_timesteps(STEPS)
        alone = sample(models["mask"], scheduler, noise(1), models.encode(raw_conditions(["mask"])))
        assert torch.equal(latents_of(shared_pipeline(), raw_conditions(["mask"]), generator=seeded(0)), alone)

    def test_every_condition_matters(self) -> None:
        pipe, first, second = shared_pipeline(), raw_conditions(), raw_conditions(variant=1)
        base = latents_of(pipe, first, generator=seeded(0))
        for modality in MODALITIES:
            changed = latents_of(pipe, {**first, modality: second[modality]}, generator=seeded(0))
            assert not torch.allclose(base, changed), modality

    def test_a_composition_may_be_passed(self) -> None:
        pipe = shared_pipeline()
        mean = latents_of(pipe, raw_conditions(), generator=seeded(0), composition=Mean(pipe.collaborators))
        assert not torch.allclose(mean, latents_of(pipe, raw_conditions(), generator=seeded(0)))

    def test_without_dynamic_diffusers(self) -> None:
        pipe = new_pipeline(dynamic=False)
        assert pipe.dynamic_diffusers is None
        alone = latents_of(pipe, raw_conditions(["text"]), generator=seeded(0))
        assert torch.equal(alone, latents_of(shared_pipeline(), raw_conditions(["text"]), generator=seeded(0)))
        mean = latents_of(pipe, raw_conditions(), generator=seeded(0), composition=Mean(pipe.collaborators))
        assert mean.isfinite().all()
        with pytest.raises(InputError, match="no dynamic diffusers: give one modality, or another composition"):
            pipe(raw_conditions(), num_inference_steps=1)

    def test_guidance_and_negative_conditions(self) -> None:
        pipe, conditions = shared_pipeline(), raw_conditions()
        plain = latents_of(pipe, conditions, generator=seeded(0))
        guided = latents_of(pipe, conditions, generator=seeded(0), guidance_scale=3.0)
        negative = {"text": "a young woman"}
        away = latents_of(pipe, conditions, generator=seeded(0), guidance_scale=3.0, negative_conditions=negative)
        for one, other in itertools.combinations((plain, guided, away), 2):
            assert not torch.allclose(one, other)
        itself = latents_of(pipe, conditions, generator=seeded(0), guidance_scale=3.0, negative_conditions=conditions)
        torch.testing.assert_close(itself, plain, atol=1e-4, rtol=1e-4)
        assert torch.equal(plain, latents_of(pipe, conditions, generator=seeded(0), negative_conditions=negative))

    def test_a_negative_condition_serves_the_whole_batch_or_each_its_own(self) -> None:
        pipe, conditions = shared_pipeline(), raw_batch(2)
        common = {"guidance_scale": 3.0, "generator": None, "latents": noise(2)}
        one = latents_of(pipe, conditions, negative_conditions={"text": "a young woman"}, **common)
        two = latents_of(pipe, conditions, negative_conditions={"text": ["a young woman"] * 2}, **common)
        torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-4)
        with pytest.raises(InputError, match="negative text condition: 3"):
            latents_of(pipe, conditions, negative_conditions={"text": ["a young woman"] * 3}, **common)

    def test_latents_may_be_given(self) -> None:
        pipe = shared_pipeline()
        start = torch.cat([noise(1, seed=5), noise(1, seed=6)])
        given = latents_of(pipe, raw_conditions(), latents=start)
        assert torch.equal(given, latents_of(pipe, raw_conditions(), generator=generators(5, 2)))

    def test_without_a_generator_every_call_differs(self) -> None:
        state = torch.random.get_rng_state()
        one, two = (latents_of(shared_pipeline(), raw_conditions(["text"])) for _ in range(2))
        assert not torch.allclose(one, two)
        assert torch.equal(state, torch.random.get_rng_state())  # the global generator is nobody's business


class TestBatches:
    @pytest.mark.parametrize("name", SCHEDULERS)
    def test_neither_batch_nor_order_changes_an_image(self, name: str) -> None:
        pipe, conditions = piped(name), raw_batch(4)
        eta = {"eta": 0.7} if name == "ddim" else {}
        whole = latents_of(pipe, conditions, generator=generators(11, 4), **eta)
        for row in range(4):
            own = {modality: items[row] for modality, items in conditions.items()}
            single = latents_of(pipe, own, generator=seeded(11 + row), **eta)
            torch.testing.assert_close(whole[row : row + 1], single, atol=1e-4, rtol=1e-4)
        order = [2, 0, 3, 1]
        shuffled = {modality: [items[row] for row in order] for modality, items in conditions.items()}
        sources = generators(11, 4)
        permuted = latents_of(pipe, shuffled, generator=[sources[row] for row in order], **eta)
        torch.testing.assert_close(permuted, whole[order], atol=1e-4, rtol=1e-4)
        assert not torch.allclose(whole[0], whole[1], atol=1e-2)

    def test_one_condition_serves_many_images(self) -> None:
        pipe = shared_pipeline()
        several = latents_of(pipe, raw_conditions(), generator=generators(0, 3))
        repeated = {modality: [value] * 3 for modality, value in raw_conditions().items()}
        torch.testing.assert_close(
            several, latents_of(pipe, repeated, generator=generators(0, 3)), atol=1e-4, rtol=1e-4
        )
        mixed = {**raw_conditions(), "text": raw_batch(3)["text"]}
        assert latents_of(pipe, mixed, generator=generators(0, 3)).shape == (3, 4, 4, 4)

    def test_generators(self) -> None:
        sources = generators(7, 3)
        assert [source.initial_seed() for source in sources] == [7, 8, 9]
        assert generators(7, 0) == []

    @pytest.mark.parametrize("name", SCHEDULERS)
    def test_same_seed_same_bytes(self, name: str) -> None:
        one, two = (
            piped(name)(raw_conditions(), num_inference_steps=STEPS, generator=generators(0, 2)).images
            for _ in range(2)
        )
        assert [image.tobytes() for image in one] == [image.tobytes() for image in two]
        assert one[0].tobytes() != one[1].tobytes()

    @pytest.mark.parametrize("name", ["dpm++", "unipc", "ddpm"])
    def test_threads_get_what_one_after_the_other_get(self, name: str) -> None:
        pipe = piped(name)

        def run(seed: int) -> Tensor:
            return latents_of(pipe, raw_conditions(variant=seed % 4), generator=seeded(seed))

        serial = [run(seed) for seed in range(6)]
        with ThreadPoolExecutor(4) as pool:
            concurrent = list(pool.map(run, range(6)))
        assert all(torch.equal(one, other) for one, other in zip(serial, concurrent, strict=True))

    def test_a_call_leaves_the_pipelines_scheduler_alone(self) -> None:
        pipe = piped("dpm++")
        before = {name: value for name, value in vars(pipe.scheduler).items() if not isinstance(value, Tensor)}
        timesteps = pipe.scheduler.timesteps.clone()
        pipe(raw_conditions(), num_inference_steps=2)
        after = {name: value for name, value in vars(pipe.scheduler).items() if not isinstance(value, Tensor)}
        assert after == before
        assert torch.equal(pipe.scheduler.timesteps, timesteps)


class TestEta:
    def test_it_reaches_the_scheduler(self) -> None:
        def run(eta: float, source: int) -> Tensor:
            return latents_of(piped("ddim"), raw_conditions(), eta=eta, latents=noise(1), generator=[seeded(source)])

        assert torch.equal(run(0.0, 1), run(0.0, 2))
        assert not torch.allclose(run(0.5, 1), run(0.5, 2))
        assert not torch.allclose(run(1.0, 1), run(0.5, 1))

    @pytest.mark.parametrize("name", ["ddpm", "euler", "dpm++", "unipc"])
    def test_others_have_none(self, name: str) -> None:
        with pytest.raises(InputError, match="has no eta; use a DDIM scheduler"):
            piped(name)(raw_conditions(), num_inference_steps=2, eta=0.5)
        latents_of(piped(name), raw_conditions(["text"]), eta=0.0)

    @pytest.mark.parametrize("eta", [-0.1, 1.1, float("nan")])
    def test_range(self, eta: float) -> None:
        with pytest.raises(InputError, match="eta must be between 0 and 1"):
            piped("ddim")(raw_conditions(), num_inference_steps=2, eta=eta)


class TestOutputs:
    def test_types_agree(self) -> None:
        pipe = shared_pipeline()
        outputs = {
            kind: pipe(raw_conditions(), num_inference_steps=2, generator=generators(0, 2), output_type=kind).images
            for kind in ("pil", "np", "pt", "latent")
        }
        pictures = outputs["pt"]
        assert pictures.shape == (2, 3, 32, 32)
        assert pictures.dtype == torch.float32
        assert 0 <= pictures.min() < pictures.max() <= 1
        assert isinstance(outputs["np"], np.ndarray)
        assert outputs["np"].shape == (2, 32, 32, 3)
        np.testing.assert_array_equal(outputs["np"], pictures.permute(0, 2, 3, 1).numpy())
        assert all(isinstance(image, Image.Image) and image.mode == "RGB" for image in outputs["pil"])
        bytes_of = np.stack([np.asarray(image) for image in outputs["pil"]])
        np.testing.assert_allclose(bytes_of / 255, outputs["np"], atol=0.5 / 255 + 1e-6)
        assert outputs["latent"].shape == (2, *pipe.latent_shape)
        torch.testing.assert_close(pipe.decode(outputs["latent"], "pt"), pictures)
        decoded = pipe.vae.decode(outputs["latent"] / pipe.vae.config.scaling_factor).sample
        torch.testing.assert_close(pictures, ((decoded + 1) / 2).clamp(0, 1))

    def test_nothing_is_kept_unless_asked_for(self) -> None:
        output = shared_pipeline()(raw_conditions(), num_inference_steps=2)
        assert output.influences is None
        assert output.intermediates is None
        assert output.predictions is None

    def test_influences(self) -> None:
        output = shared_pipeline()(
            raw_conditions(), num_inference_steps=3, generator=generators(0, 2), return_influences=True
        )
        assert output.intermediates is None
        assert output.influences is not None
        assert list(output.influences) == list(MODALITIES)
        shares = torch.stack(list(output.influences.values()))
        assert shares.shape == (3, 3, 2, 1, 4, 4)
        torch.testing.assert_close(shares.sum(dim=0), torch.ones(3, 2, 1, 4, 4))
        assert not torch.allclose(shares[:, 0], shares[:, 2])  # they change over the steps

    def test_influences_are_those_of_the_start_at_the_first_step(self) -> None:
        pipe = shared_pipeline()
        output = pipe(raw_conditions(), num_inference_steps=3, generator=seeded(4), return_influences=True)
        first = Collaborative(pipe.collaborators, pipe.dynamic_diffusers).influences(
            noise(1, seed=4), torch.tensor([666]), pipe.collaborators.encode(raw_conditions())
        )
        assert output.influences is not None
        for modality, share in first.items():
            torch.testing.assert_close(output.influences[modality][0], share.detach())

    def test_intermediates(self) -> None:
        output = shared_pipeline()(
            raw_conditions(),
            num_inference_steps=3,
            generator=generators(0, 2),
            return_intermediates=True,
            output_type="latent",
        )
        assert output.influences is None
        assert output.intermediates is not None
        assert output.predictions is not None
        assert output.intermediates.shape == output.predictions.shape == (3, 2, 4, 4, 4)
        assert torch.equal(output.intermediates[-1], output.images)
        torch.testing.assert_close(output.predictions[-1], output.images)  # the last step ends at what it predicts
        assert not torch.allclose(output.predictions[0], output.images, atol=1e-2)

    def test_recording_changes_nothing(self) -> None:
        plain = latents_of(shared_pipeline(), raw_conditions(), generator=seeded(0))
        kept = latents_of(
            shared_pipeline(),
            raw_conditions(),
            generator=seeded(0),
            return_influences=True,
            return_intermediates=True,
        )
        assert torch.equal(plain, kept)

    def test_values_that_are_not_finite_are_an_error(self) -> None:
        pipe = new_pipeline(["text"])
        pipe.vae.decoder.conv_out.bias.data[0] = float("nan")
        with pytest.raises(InputError, match="not finite"):
            pipe(raw_conditions(["text"]), num_inference_steps=1)

    def test_half_precision_decoders_that_overflow_work_in_single(self) -> None:
        pipe = new_pipeline(["text"])
        pipe.vae.decoder.conv_in.weight.data.mul_(2e5)
        expected = pipe.decode(noise(1), "pt")
        pipe.vae.half()
        assert not pipe.vae.decode(noise(1).half() / pipe.vae.config.scaling_factor).sample.isfinite().all()
        torch.testing.assert_close(pipe.decode(noise(1).half(), "pt"), expected, atol=0.02, rtol=0)
        assert pipe.vae.dtype == torch.float16

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_moves_to_other_precisions(self, dtype: torch.dtype) -> None:
        pipe = new_pipeline()
        expected = pipe(raw_conditions(), num_inference_steps=2, generator=seeded(0), output_type="pt").images
        pipe.to("cpu", dtype)
        assert {parameter.dtype for part in (pipe.vae, pipe.collaborators) for parameter in part.parameters()} == {
            dtype
        }
        images = pipe(raw_conditions(), num_inference_steps=2, generator=seeded(0), output_type="pt").images
        assert images.dtype == torch.float32
        assert images.isfinite().all()
        assert (images - expected).abs().mean() < 0.1


class TestCallback:
    def test_it_sees_every_step(self) -> None:
        pipe = shared_pipeline()
        seen: list[tuple[int, int]] = []
        latents: list[Tensor] = []

        def callback(of: Any, index: int, timestep: Tensor, tensors: dict[str, Tensor]) -> None:
            assert of is pipe
            assert list(tensors) == ["latents"]
            seen.append((index, int(timestep)))
            latents.append(tensors["latents"].clone())

        output = pipe(
            raw_conditions(),
            num_inference_steps=4,
            generator=seeded(0),
            callback_on_step_end=callback,
            return_intermediates=True,
        )
        assert seen == [(0, 750), (1, 500), (2, 250), (3, 0)]
        assert output.intermediates is not None
        assert torch.equal(torch.stack(latents), output.intermediates)

    def test_it_may_replace_the_latents(self) -> None:
        def run(seed: int, at: int) -> Tensor:
            def callback(_: Any, index: int, __: Tensor, ___: dict[str, Tensor]) -> dict[str, Tensor] | None:
                return {"latents": noise(1, seed=99)} if index == at else None

            source = seeded(seed)
            return latents_of(shared_pipeline(), raw_conditions(), generator=source, callback_on_step_end=callback)

        assert torch.equal(run(0, STEPS - 1), noise(1, seed=99))
        assert torch.equal(run(0, 1), run(1, 1))  # DDIM forgets what was before
        assert not torch.allclose(run(0, -1), run(1, -1))

    def test_it_may_return_nothing_new(self) -> None:
        plain = latents_of(shared_pipeline(), raw_conditions(), generator=seeded(0))
        callbacks: list[Callable[..., Any]] = [lambda *_: None, lambda *_: {}]
        for callback in callbacks:
            kept = latents_of(shared_pipeline(), raw_conditions(), generator=seeded(0), callback_on_step_end=callback)
            assert torch.equal(plain, kept)

    def test_changing_latents_in_place_does_not_rewrite_what_was_recorded(self) -> None:
        def callback(_: Any, __: int, ___: Tensor, tensors: dict[str, Tensor]) -> None:
            tensors["latents"].zero_()

        def run(callback_on_step_end: Any) -> Tensor:
            output = shared_pipeline()(
                raw_conditions(),
                num_inference_steps=2,
                generator=seeded(0),
                callback_on_step_end=callback_on_step_end,
                return_intermediates=True,
            )
            assert output.intermediates is not None
            return output.intermediates

        assert torch.equal(run(callback)[0], run(None)[0])

    def test_it_is_given_what_the_step_foresees_where_it_asks(self) -> None:
        predictions: list[Tensor] = []

        def callback(_: Any, __: int, ___: Tensor, tensors: dict[str, Tensor]) -> None:
            assert list(tensors) == ["latents", "prediction"]
            predictions.append(tensors["prediction"].clone())

        def run(**asked: Any) -> Any:
            return shared_pipeline()(
                raw_conditions(), num_inference_steps=3, generator=generators(0, 2), return_intermediates=True, **asked
            )

        asked = run(callback_on_step_end=callback, callback_on_step_end_tensor_inputs=["latents", "prediction"])
        assert torch.equal(torch.stack(predictions), asked.predictions)
        assert torch.equal(asked.intermediates, run().intermediates)

    def test_it_is_not_given_what_there_is_not(self) -> None:
        with pytest.raises(InputError, match="unknown callback input 'noise'; expected of latents, prediction"):
            shared_pipeline()(raw_conditions(), callback_on_step_end_tensor_inputs=["latents", "noise"])

    def test_its_errors_come_through(self) -> None:
        def callback(*_: Any) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            shared_pipeline()(raw_conditions(), num_inference_steps=2, callback_on_step_end=callback)


class TestWrongInput:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"conditions": {"smell": "roses"}}, "unknown modality 'smell': this model has text, mask, sketch"),
            ({"conditions": {}}, "no condition given: give at least one of text, mask, sketch"),
            ({"conditions": {"text": []}}, "the list of text conditions is empty"),
            ({"conditions": {"text": ""}}, "leave the text out"),
            ({"num_inference_steps": 0}, "whole number from 1 to 1000, got 0"),
            ({"num_inference_steps": -1}, "whole number from 1 to 1000, got -1"),
            ({"num_inference_steps": True}, "whole number from 1 to 1000, got True"),
            ({"num_inference_steps": 2.0}, "whole number from 1 to 1000, got 2.0"),
            ({"num_inference_steps": 1e9}, "whole number from 1 to 1000, got 1000000000"),
            ({"num_inference_steps": 10**9}, "whole number from 1 to 1000, got 1000000000"),
            (
                {"conditions": {"text": ["a child"] * 2, "mask": [np.zeros((32, 32), np.uint8)] * 3}},
                "text .*: 2, .*: 3",
            ),
            ({"generator": generators(0, 3), "latents": noise(2)}, "do not agree .*latents: 2, generator: 3"),
            ({"conditions": {"text": ["a child"] * 2}, "generator": generators(0, 3)}, "condition: 2, generator: 3"),
            ({"conditions": {"text": ["a child"] * 2}, "latents": noise(1)}, "latents: 1"),
            ({"generator": []}, "generator: 0"),
            ({"conditions": {"text": ["a child"] * 2}, "generator": seeded(0)}, r"2 images need 2 generators"),
            ({"latents": noise(2), "generator": seeded(0)}, r"codiff\.generators\(seed, 2\)"),
            ({"output_type": "jpeg"}, "unknown output_type 'jpeg'; expected one of pil, np, pt, latent"),
            ({"latents": torch.zeros(1, 3, 4, 4)}, r"shape \(1, 3, 4, 4\), expected \(batch, 4, 4, 4\)"),
            ({"latents": torch.zeros(1, 4, 4)}, r"shape \(1, 4, 4\), expected \(batch, 4, 4, 4\)"),
            ({"latents": torch.zeros(())}, r"shape \(\), expected \(batch, 4, 4, 4\)"),
            ({"latents": torch.zeros(0, 4, 4, 4)}, "latents: 0"),
            ({"negative_conditions": {"smell": "roses"}, "guidance_scale": 2.0}, "unknown modality 'smell'"),
            ({"negative_conditions": {"mask": [1]}, "guidance_scale": 2.0}, "mask"),
            ({"guidance_scale": float("nan")}, "guidance scale must be a finite number"),
        ],
    )
    def test_each_is_one_clear_error(self, arguments: dict[str, Any], message: str) -> None:
        def never(*_: Any) -> None:
            pytest.fail("a step was computed")

        call = {"conditions": {"text": "a child"}, "num_inference_steps": 2, **arguments}
        with pytest.raises(InputError, match=message):
            shared_pipeline()(call.pop("conditions"), callback_on_step_end=never, **call)

    def test_a_negative_condition_of_a_modality_that_is_absent(self) -> None:
        with pytest.raises(InputError, match="unknown modality 'mask'"):
            shared_pipeline()(raw_conditions(["text"]), negative_conditions=raw_conditions(["mask"]))

    def test_unknown_arguments_fail(self) -> None:
        with pytest.raises(TypeError, match="cfg_scale"):
            shared_pipeline()(raw_conditions(), cfg_scale=2.0)  # type: ignore[call-arg]


class TestPipeline:
    def test_modalities_and_shape(self) -> None:
        assert shared_pipeline().modalities == list(MODALITIES)
        assert shared_pipeline().latent_shape == (4, 4, 4)

    def test_progress_is_shown_once_a_step(self, capsys: pytest.CaptureFixture[str]) -> None:
        pipe = new_pipeline(["text"])
        pipe.set_progress_bar_config(mininterval=0)
        pipe(raw_conditions(["text"]), num_inference_steps=3)
        assert "3/3" in capsys.readouterr().err
