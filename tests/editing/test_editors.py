"""What holds for every editor, and what makes each of them itself."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler
from edits import BOTH, EDITORS, FEW, digest, picture, pipeline, target
from models import PIXELS, SCHEDULE, new_pipeline, noise, raw_conditions, with_scheduler
from torch import Tensor

from codiff import CollaborativePipeline, InputError, Mean, generators
from codiff.editing import Edit, Sampling, blended, ddim_inversion, diffedit, sdedit
from codiff.editing.photo import encode
from codiff.editing.region import grown, pasted, read_region, region_between
from codiff.editing.schedule import first_step, noised
from codiff.errors import InputNotice
from codiff.pixels import from_uint8

EACH = pytest.mark.parametrize("name", list(EDITORS))


def pixels(edit: Edit) -> np.ndarray:
    return np.stack([np.asarray(image) for image in edit.images])


def latents_of(pipe: CollaborativePipeline, *pictures: Any) -> Tensor:
    return encode(pipe, from_uint8(np.stack([np.asarray(each) for each in pictures])))


def corner() -> np.ndarray:
    region = np.zeros((PIXELS, PIXELS), dtype=bool)
    region[:16, :16] = True
    return region


# -- all of them -------------------------------------------------------------------------------------------------------


@EACH
def test_returns_images_and_leaves_the_pipeline_as_it_was(name: str) -> None:
    pipe = new_pipeline()
    before = digest(pipe)
    edit = EDITORS[name](pipe, picture(), target(), generator=generators(0, 2), sampling=FEW)
    assert [image.size for image in edit.images] == [(PIXELS, PIXELS)] * 2
    assert edit.latents.shape == edit.start.shape == (2, *pipe.latent_shape)
    assert digest(pipe) == before


@EACH
def test_same_seed_same_edit_whatever_the_batch_and_the_global_seed(name: str) -> None:
    state = torch.get_rng_state()
    first = EDITORS[name](pipeline(), picture(), target(), generator=generators(3, 2), sampling=FEW)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(7)
    alone = EDITORS[name](pipeline(), picture(), target(), generator=generators(4, 1), sampling=FEW)
    torch.testing.assert_close(first.latents[1:], alone.latents, atol=1e-4, rtol=1e-4)


@EACH
@pytest.mark.parametrize("modality", BOTH)
def test_any_subset_of_the_modalities(name: str, modality: str) -> None:
    conditions = target((modality,))
    region = {"region": np.eye(8, dtype=bool)} if name in ("blended", "diffedit") else {}
    edit = EDITORS[name](pipeline(), picture(), conditions, generator=generators(0, 1), sampling=FEW, **region)
    assert torch.isfinite(edit.latents).all()


@EACH
def test_unknown_arguments_are_errors(name: str) -> None:
    with pytest.raises(TypeError, match="start_code"):
        EDITORS[name](pipeline(), picture(), target(), start_code=noise(1))


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"image": "nowhere.png"}, "no such file"),
    ({"image": picture().resize((32, 16))}, "32 x 16 pixels, but a square picture"),
    ({"image": []}, "empty"),
    ({"conditions": {}}, "no condition given"),
    ({"conditions": {"pose": 1}}, "unknown modality 'pose'"),
    ({"conditions": {"mask": np.zeros((32, 16), int)}}, "16 x 32 pixels, but a square"),
    ({"sampling": Sampling(0)}, "number of steps"),
    ({"image": [picture()] * 3, "generator": generators(0, 2)}, "batch sizes do not agree"),
]


@EACH
@pytest.mark.parametrize(("change", "told"), WRONG)
def test_bad_input_is_one_error_before_any_work(name: str, change: dict[str, Any], told: str) -> None:
    given = {"image": picture(), "conditions": target(), "generator": generators(0, 1), "sampling": FEW, **change}
    region = {"region": corner()} if name in ("blended", "diffedit") else {}
    with pytest.raises(InputError, match=told):
        EDITORS[name](pipeline(), given.pop("image"), given.pop("conditions"), **given, **region)


@pytest.mark.parametrize("name", [name for name in EDITORS if name != "imagic"])
@pytest.mark.parametrize("strength", [-0.1, 1.01, float("nan"), "0.5", True])
def test_strengths_are_shares(name: str, strength: Any) -> None:
    with pytest.raises(InputError, match="must be from 0 to 1"):
        EDITORS[name](pipeline(), picture(), target(), strength=strength, sampling=FEW)


@pytest.mark.parametrize("name", ["sdedit", "ddim_inversion", "blended", "diffedit"])
def test_strength_0_is_the_autoencoders_picture(name: str) -> None:
    edit = EDITORS[name](pipeline(), picture(), target(), strength=0, generator=generators(0, 1), sampling=FEW)
    assert torch.equal(edit.latents, latents_of(pipeline(), picture()))


@pytest.mark.parametrize("name", ["ddim_inversion", "diffedit"])
def test_retraced_paths_take_no_eta(name: str) -> None:
    with pytest.raises(InputError, match="takes no eta"):
        EDITORS[name](pipeline(), picture(), target(), sampling=Sampling(4, eta=0.5))


def test_guidance_and_composition_reach_every_editor() -> None:
    for name, editor in EDITORS.items():
        found = [
            editor(pipeline(), picture(), target(), generator=generators(0, 1), sampling=sampling).latents
            for sampling in (
                FEW,
                Sampling(4, guidance_scale=3.0),
                Sampling(4, composition=Mean(pipeline().collaborators)),
            )
        ]
        assert not torch.allclose(found[0], found[1], atol=1e-3), name
        assert not torch.allclose(found[0], found[2], atol=1e-3), name


def test_several_pictures_at_once() -> None:
    pictures, seeds = [picture(0), picture(1)], generators(0, 2)
    together = sdedit(pipeline(), pictures, target(), generator=seeds, sampling=FEW)
    alone = sdedit(pipeline(), pictures[1], target(), generator=generators(1, 1), sampling=FEW)
    torch.testing.assert_close(together.latents[1:], alone.latents, atol=1e-4, rtol=1e-4)


def test_pictures_of_other_sizes_are_resized() -> None:
    large = picture(0, 3 * PIXELS)
    edit = sdedit(pipeline(), large, target(), strength=0.0, generator=generators(0, 1), sampling=FEW)
    assert edit.images[0].size == (PIXELS, PIXELS)


# -- sdedit ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler])
def test_sdedit_begins_with_the_noised_picture(kind: Any) -> None:
    pipe = with_scheduler(kind(**SCHEDULE))
    start = noise(1)
    calls: list[int] = []
    edit = sdedit(
        pipe,
        picture(),
        target(),
        strength=0.5,
        generator=generators(0, 1),
        latents=start,
        sampling=Sampling(8),
        on_step=lambda step: calls.append(int(step.timestep)),
    )
    scheduler = kind(**SCHEDULE)
    scheduler.set_timesteps(8)
    assert calls == [int(timestep) for timestep in scheduler.timesteps[4:]]
    expected = scheduler.add_noise(latents_of(pipe, picture()), start, scheduler.timesteps[4:5])
    torch.testing.assert_close(edit.start, expected)


def test_more_strength_moves_farther() -> None:
    known = latents_of(pipeline(), picture())
    far = [
        float(
            (sdedit(pipeline(), picture(), target(), strength=share, generator=generators(0, 1)).latents - known).norm()
        )
        for share in (0.1, 0.4, 0.9)
    ]
    assert far == sorted(far)


@pytest.mark.parametrize(("steps", "strength", "first"), [(50, 1.0, 0), (50, 0.0, 50), (50, 0.6, 20), (3, 0.5, 1)])
def test_first_steps(steps: int, strength: float, first: int) -> None:
    assert first_step(steps, strength) == first


# -- ddim inversion ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_inversion_under_the_target_returns_the_picture(kind: str) -> None:
    """Where source and target agree the edit is the reconstruction, and refinements bring it to the picture."""
    scheduler = DDIMScheduler(**SCHEDULE, prediction_type=kind, clip_sample=False, set_alpha_to_one=False)
    pipe = new_pipeline(BOTH, scheduler=scheduler)
    pipe.vae.register_to_config(scaling_factor=4.5)  # latents of about unit variance, as trained ones are
    known, errors = latents_of(pipe, picture()), []
    for refinements in (0, 12):
        edit = ddim_inversion(
            pipe,
            picture(),
            target(),
            source=target(),
            strength=0.4,
            refinements=refinements,
            generator=generators(0, 1),
            sampling=Sampling(10),
        )
        errors.append(float((edit.latents - known).pow(2).mean().sqrt()))
        assert edit.measured["reconstruction_error"] == pytest.approx(errors[-1], rel=1e-3, abs=1e-6)
    assert errors[1] < 0.02 * errors[0]


def test_inversion_draws_nothing() -> None:
    first, second = (
        ddim_inversion(pipeline(), picture(), target(), source=target(), generator=generators(seed, 1), sampling=FEW)
        for seed in (0, 9)
    )
    assert torch.equal(first.latents, second.latents)


def test_no_source_needs_condition_dropout() -> None:
    pipe = new_pipeline()
    assert torch.isfinite(ddim_inversion(pipe, picture(), target(), sampling=FEW).latents).all()
    pipe.register_to_config(condition_dropout=False)
    for editor in (ddim_inversion, diffedit):
        with pytest.raises(InputError, match="source conditions"):
            editor(pipe, picture(), target(), sampling=FEW)


# -- regions, blended, diffedit ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("editor", [blended, diffedit])
def test_outside_the_region_every_byte_stays(editor: Callable[..., Edit]) -> None:
    edit = editor(pipeline(), picture(), target(), region=corner(), generator=generators(0, 1), sampling=FEW)
    found, known = pixels(edit)[0], np.asarray(picture())
    assert edit.region is not None
    assert np.array_equal(edit.region[0, 0].numpy(), corner())
    assert np.array_equal(found[~corner()], known[~corner()])
    assert (found[corner()] != known[corner()]).mean() > 0.5


def test_blended_keeps_the_latents_outside() -> None:
    edit = blended(pipeline(), picture(), target(), region=corner(), generator=generators(0, 1), sampling=FEW)
    known = latents_of(pipeline(), picture())
    assert torch.equal(edit.latents[..., 2:], known[..., 2:])
    assert not torch.allclose(edit.latents[..., :2, :2], known[..., :2, :2], atol=1e-2)


def test_blended_derives_its_region_from_the_masks() -> None:
    edit = blended(pipeline(), picture(), target(), source=raw_conditions(BOTH), sampling=FEW)
    source, wanted = raw_conditions(BOTH)["mask"], target()["mask"]
    assert edit.region is not None
    expected = grown(torch.from_numpy(source != wanted)[None, None], 1)
    assert torch.equal(edit.region, expected)


def test_regions_that_nothing_shows_are_asked_for() -> None:
    collaborators = pipeline().collaborators
    with pytest.raises(InputError, match="needs a region"):
        blended(pipeline(), picture(), target(), sampling=FEW)
    with pytest.raises(InputError, match="no picture"):
        region_between(collaborators, raw_conditions(("text",)), target(("text",)), PIXELS)
    with pytest.raises(InputError, match="are equal"):
        region_between(collaborators, target(), target(), PIXELS)
    sketches = region_between(collaborators, raw_conditions(("sketch",)), target(("sketch",)), PIXELS)
    assert sketches[0, 0, 10].all()


@pytest.mark.parametrize(
    ("region", "told"),
    [
        (np.zeros((8, 8), bool), "empty"),
        (np.ones((8, 4), bool), "4 x 8 pixels, but a square"),
        (torch.ones(8, 8), "booleans"),
        (torch.ones(1, 2, 8, 8, dtype=torch.bool), "booleans"),
        ("nowhere.png", "no such file"),
        (torch.ones(3, 8, 8, dtype=torch.bool), "3 regions for 2 images"),
    ],
)
def test_bad_regions(region: Any, told: str) -> None:
    for editor in (blended, diffedit):
        with pytest.raises(InputError, match=told):
            editor(pipeline(), picture(), target(), region=region, generator=generators(0, 2), sampling=FEW)


def test_region_pictures_are_white_where_edited() -> None:
    drawn = np.zeros((64, 64, 3), np.uint8)
    drawn[:32] = 255
    expected = torch.zeros(1, 1, 16, 16, dtype=torch.bool)
    expected[:, :, :8] = True
    assert torch.equal(read_region(drawn, 16), expected)


def test_pasting_is_feathered_inwards_alone() -> None:
    region = torch.zeros(1, 1, 64, 64, dtype=torch.bool)
    region[..., 16:48, 16:48] = True
    originals = np.zeros((1, 64, 64, 3), np.uint8)
    result = np.asarray(pasted(originals, [picture(0, 64).point(lambda _: 200)], region)[0])[..., 0]
    assert (result[~region[0, 0].numpy()] == 0).all()
    assert (result[24:40, 24:40] == 200).all()
    assert 0 <= result[16, 32] < result[17, 32] < 200


def test_diffedit_finds_where_the_conditions_disagree() -> None:
    """A collaborator that reads its tokens as a map disagrees where the maps differ."""
    pipe = new_pipeline(("mask",))
    left, right = np.zeros((2, PIXELS, PIXELS), np.uint8)
    right[:, 24:] = 13
    settings: dict[str, Any] = {"threshold": 0.3, "sampling": FEW, "draws": 3, "generator": generators(0, 1)}
    edit = diffedit(pipe, picture(), {"mask": right}, source={"mask": left}, **settings)
    assert edit.region is not None
    assert 0 < edit.measured["edited_share"] <= 1
    columns = edit.region[0, 0].float().mean(dim=0)
    assert columns[24:].mean() > columns[:8].mean()
    with pytest.warns(InputNotice, match="source and target disagree nowhere"):
        same = diffedit(pipe, picture(), {"mask": left}, source={"mask": left}, sampling=FEW, draws=2)
    assert same.region is not None
    assert not same.region.any()
    assert np.array_equal(pixels(same)[0], np.asarray(picture()))


@pytest.mark.parametrize(("option", "value"), [("threshold", 1.5), ("draws", 0)])
def test_settings_of_diffedit(option: str, value: float) -> None:
    with pytest.raises(InputError, match=option):
        diffedit(pipeline(), picture(), target(), **{option: value})  # type: ignore[arg-type]


def test_noise_is_mixed_as_the_scheduler_does() -> None:
    scheduler = DDIMScheduler(**SCHEDULE)
    scheduler.set_timesteps(4)
    timestep = torch.tensor(500)
    mixed = noised(scheduler, torch.ones(2, 1, 2, 2), torch.zeros(2, 1, 2, 2), timestep)
    torch.testing.assert_close(mixed, scheduler.alphas_cumprod[500].sqrt().expand(2, 1, 2, 2))
