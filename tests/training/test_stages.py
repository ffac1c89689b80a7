import hashlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import models
import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from linear_stage import digest
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from codiff import AttributeClassifier, Collaborator, Collaborators, DynamicDiffusers, FaceParser, Modality
from codiff.data.faces import FaceExample, ProceduralFaces
from codiff.dynamic_diffuser import HEADS
from codiff.errors import InputError
from codiff.pixels import from_uint8
from codiff.recognition import VGG16
from codiff.training import prepared
from codiff.training.collaborator import CollaboratorSettings, CollaboratorStage, build_collaborator
from codiff.training.dynamic_diffusers import DynamicDiffusersSettings, DynamicDiffusersStage
from codiff.training.face_data import ATTRIBUTES
from codiff.training.loop import Interrupted, train
from codiff.training.prepared import PreparedConditions, PreparedLatents
from codiff.training.recognition import AttributeClassifierStage, FaceParserStage, RecognitionSettings
from codiff.training.stage import Stage
from codiff.training.vae import VAESettings, VAEStage, perceptual_distance

# diffusers' DPM-Solver++ with this numpy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

FACES, PIXELS = 12, models.PIXELS
LOOP: dict[str, Any] = {"steps": 30, "batch_size": 6, "learning_rate": 5e-3, "log_every": 1, "checkpoint_every": 10**6}
TEXT = {**models.ENCODERS["text"], "vocab_size": 200, "max_tokens": 32}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the faces of these tests are rendered to, once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def data(cache: Path) -> dict[str, Any]:
    return {"size": PIXELS, "cache": str(cache), "limit": FACES}


@pytest.fixture(scope="module")
def faces(cache: Path) -> list[FaceExample]:
    return list(ProceduralFaces("train", PIXELS, limit=FACES).cached(cache, processes=1))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def weights_of(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest()


def losses_of(stage: Stage, output: Path) -> list[float]:
    """Train a stage without curves, whose drawing would take longer than everything else; its losses by step."""
    seen: list[float] = []
    original = stage.losses

    def losses(batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
        parts = original(batch, generator)
        assert all(value.ndim == 0 for value in parts.values())
        seen.append(float(parts["loss"].detach()))
        return parts

    stage.losses = losses  # type: ignore[method-assign]
    train(stage, output)
    return seen


def pictured(output: Path) -> tuple[int, int]:
    """Width and height of a training's only sample, counted in pictures."""
    (path,) = (output / "samples").iterdir()
    with Image.open(path) as picture:
        assert picture.mode == "RGB"
        return picture.width // PIXELS, picture.height // PIXELS


def falls(losses: list[float], share: float = 0.9) -> bool:
    tenth = len(losses) // 5
    return sum(losses[-tenth:]) < share * sum(losses[:tenth])


# -- recognition -----------------------------------------------------------------------------------------------------


def recognition(data: dict[str, Any], **settings: Any) -> RecognitionSettings:
    return RecognitionSettings(**{"channels": (8, 16), "data": data, "loop": {**LOOP, "log_every": 10**6}, **settings})


def test_face_parser_learns(tmp_path: Path, data: dict[str, Any]) -> None:
    stage = FaceParserStage(recognition(data))
    assert falls(losses_of(stage, tmp_path))
    loaded = FaceParser.from_pretrained(tmp_path / "model")
    assert weights_of(loaded) == weights_of(stage.model)
    assert pictured(tmp_path) == (6, 2)


def test_attribute_classifier_learns(tmp_path: Path, data: dict[str, Any], faces: list[FaceExample]) -> None:
    stage = AttributeClassifierStage(recognition(data))
    for row, face in enumerate(faces):
        found = {name: ATTRIBUTES[name][int(values[row])] for name, values in stage.targets.items()}
        assert found == {"age": face.face.description.age, "beard": face.face.description.beard}
    assert falls(losses_of(stage, tmp_path))
    assert not (tmp_path / "samples").exists()
    parts = stage.losses(stage.batch(torch.arange(4), seeded()), seeded())
    assert set(parts) == {"loss", "age_accuracy", "beard_accuracy"}
    assert weights_of(AttributeClassifier.from_pretrained(tmp_path / "model")) == weights_of(stage.model)


def test_recognition_goes_on_from_trained_weights(data: dict[str, Any], tmp_path: Path) -> None:
    first = FaceParserStage(recognition(data))
    first.save(tmp_path)
    loop = {**LOOP, "seed": 1}
    assert weights_of(FaceParserStage(recognition(data, initial=str(tmp_path), loop=loop)).model) == weights_of(
        first.model
    )
    with pytest.raises(InputError, match=r"initial: .* holds no FaceParser like this one"):
        FaceParserStage(recognition(data, initial=str(tmp_path), channels=[8, 16, 24]))
    with pytest.raises(InputError, match=r"initial: .*nowhere holds no AttributeClassifier like this one"):
        AttributeClassifierStage(recognition(data, initial=str(tmp_path / "nowhere")))


def test_pictures_and_masks_are_shifted_alike(data: dict[str, Any], faces: list[FaceExample]) -> None:
    stage = FaceParserStage(recognition(data, noise=0, shift=2))
    originals = from_uint8(np.stack([face.image for face in faces]))
    labels = torch.from_numpy(np.stack([face.mask for face in faces])).long()
    shifts = set()
    for seed in range(8):
        images, masks = stage.batch(torch.arange(FACES), seeded(seed))
        found = [
            (down, right)
            for down in range(-2, 3)
            for right in range(-2, 3)
            if torch.equal(inner(images, 0, 0), inner(originals, down, right))
        ]
        assert len(found) == 1
        assert torch.equal(inner(masks, 0, 0), inner(labels, *found[0]))
        shifts.add(found[0])
    assert len(shifts) > 3


def inner(pictures: Tensor, down: int, right: int) -> Tensor:
    """Away from the edges, as far as shifts reach, moved."""
    side = pictures.shape[-1]
    return pictures[..., 2 + down : side - 2 + down, 2 + right : side - 2 + right]


def test_half_of_the_pictures_are_noisy(data: dict[str, Any], faces: list[FaceExample]) -> None:
    stage = FaceParserStage(recognition(data, noise=0.1, shift=0))
    originals = from_uint8(np.stack([face.image for face in faces]))
    strengths = torch.cat(
        [(stage.batch(torch.arange(FACES), seeded(seed))[0] - originals).flatten(1).std(dim=1) for seed in range(12)]
    )
    assert 0.35 < float((strengths == 0).float().mean()) < 0.65
    assert 0.05 < float(strengths.max()) < 0.11


# -- autoencoder -----------------------------------------------------------------------------------------------------


def vae_settings(data: dict[str, Any], **settings: Any) -> VAESettings:
    small = {"channels": (8, 8), "groups": 4, "latent_channels": 4, "crop": 16, "data": data}
    return VAESettings(**{**small, "loop": {**LOOP, "log_every": 10**6}, **settings})


def test_autoencoder_learns_and_knows_its_scaling_factor(
    tmp_path: Path, data: dict[str, Any], faces: list[FaceExample]
) -> None:
    stage = VAEStage(vae_settings(data))
    assert falls(losses_of(stage, tmp_path))
    loaded = AutoencoderKL.from_pretrained(tmp_path / "model")
    assert weights_of(loaded) == weights_of(stage.model)
    with torch.no_grad():
        latents = loaded.encode(from_uint8(np.stack([face.image for face in faces]))).latent_dist.mean
    assert loaded.config.scaling_factor == pytest.approx(1 / float(latents.std()), rel=1e-4)
    assert pictured(tmp_path) == (8, 2)


def test_crops_are_parts_of_their_pictures(data: dict[str, Any], faces: list[FaceExample]) -> None:
    crops = VAEStage(vae_settings(data)).batch(torch.tensor([3, 5]), seeded())
    assert crops.shape == (2, 3, 16, 16)
    for crop, row in zip(crops, (3, 5), strict=True):
        windows = from_uint8(faces[row].image[None])[0].unfold(1, 16, 1).unfold(2, 16, 1)  # (3, 17, 17, 16, 16)
        assert (windows == crop[:, None, None]).all(dim=(3, 4)).all(dim=0).any()


def test_perceptual_distance() -> None:
    torch.manual_seed(0)
    network = FaceParser(19, (8, 16)).eval()
    images = torch.rand(2, 3, 32, 32, generator=seeded()) * 2 - 1
    assert perceptual_distance(network, images, images).item() == 0
    changed = images.clone().requires_grad_()
    distance = perceptual_distance(network, changed + 0.1, images)
    assert distance.item() > 0
    distance.backward()
    assert changed.grad is not None
    assert changed.grad.abs().sum() > 0
    assert perceptual_distance(network, changed + 0.5, images) > distance
    assert perceptual_distance(network, images.flip(3), images) == perceptual_distance(network, images, images.flip(3))


def test_perceptual_term_of_vgg(tmp_path: Path, data: dict[str, Any]) -> None:
    torch.manual_seed(0)
    state = {f"features.{name}": value for name, value in VGG16().layers.state_dict().items()}
    torch.save(state, tmp_path / "vgg16.pth")
    stage = VAEStage(vae_settings(data, perceptual={"vgg16": str(tmp_path / "vgg16.pth")}))
    assert stage.levels == [5]
    parts = stage.losses(stage.batch(torch.arange(2), seeded()), seeded())
    parts["loss"].backward()
    assert parts["perceptual"] > 0
    with pytest.raises(InputError, match="does not hold the weights of VGG-16"):
        VAEStage(vae_settings(data, perceptual={"vgg16": str(tmp_path / "nowhere")}))


def test_perceptual_term(tmp_path: Path, data: dict[str, Any]) -> None:
    torch.manual_seed(0)
    FaceParser(19, (8, 16)).save_pretrained(tmp_path / "parser")
    plain, stage = (
        VAEStage(vae_settings(data, perceptual=perceptual, perceptual_weight=0.5))
        for perceptual in ({}, {"face_parser": str(tmp_path / "parser")})
    )
    batch = stage.batch(torch.arange(4), seeded())
    parts, without = stage.losses(batch, seeded(1)), plain.losses(batch, seeded(1))
    assert set(parts) == {"loss", "l1", "kl", "mse", "perceptual"}
    torch.testing.assert_close(parts["loss"], without["loss"] + 0.5 * parts["perceptual"])
    torch.testing.assert_close(without["loss"], without["l1"] + 1e-6 * without["kl"])
    parts["loss"].backward()
    assert all(value.grad is None for network in stage.frozen for value in network.parameters())
    assert stage.fingerprint != plain.fingerprint


def test_perceptual_networks_that_are_not_there(tmp_path: Path, data: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"perceptual\.face_parser: .*nowhere holds no trained face_parser"):
        VAEStage(vae_settings(data, perceptual={"face_parser": str(tmp_path / "nowhere")}))


def test_autoencoders_to_start_from_that_are_not_there(tmp_path: Path, data: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"initial: .*nowhere holds no autoencoder"):
        VAEStage(vae_settings(data, initial=str(tmp_path / "nowhere")))


def test_only_the_decoder(tmp_path: Path, data: dict[str, Any]) -> None:
    first = VAEStage(vae_settings(data))
    first.model.register_to_config(scaling_factor=0.7)
    first.model.save_pretrained(tmp_path / "first")
    loop = {**LOOP, "steps": 2, "log_every": 10**6}
    stage = VAEStage(vae_settings(data, initial=str(tmp_path / "first"), decoder_only=True, loop=loop))
    train(stage, tmp_path / "second")
    old, new = first.model.state_dict(), AutoencoderKL.from_pretrained(tmp_path / "second" / "model").state_dict()
    changed = {name.split(".")[0] for name, value in new.items() if not torch.equal(value, old[name])}
    assert changed == {"decoder", "post_quant_conv"}
    assert AutoencoderKL.load_config(tmp_path / "second" / "model")["scaling_factor"] == 0.7


# -- collaborators ---------------------------------------------------------------------------------------------------


def encoder_config(modality: str) -> dict[str, Any]:
    return TEXT if modality == "text" else models.ENCODERS[modality]


def collaborator_settings(modality: str = "mask", **settings: Any) -> CollaboratorSettings:
    basic = {"modality": modality, "encoder_config": encoder_config(modality), "unet_config": models.UNET}
    loop = {**LOOP, "log_every": 10**6}
    return CollaboratorSettings(**{**basic, "schedule": models.SCHEDULE, "loop": loop, **settings})


def collaborator_stage(
    faces: Sequence[FaceExample], modality: str = "mask", cache: Path | None = None, **settings: Any
) -> CollaboratorStage:
    chosen = collaborator_settings(modality, **settings)
    model = build_collaborator(chosen, models.CHANNELS)
    model.encoder.fit(text for face in faces for text in face.alternatives[modality])
    return CollaboratorStage(chosen, models.autoencoder(), faces, model, cache)


@pytest.mark.parametrize("modality", ["text", "mask"])
def test_collaborator_learns(tmp_path: Path, faces: list[FaceExample], modality: str) -> None:
    stage = collaborator_stage(faces, modality, spatial=2 * (modality == "mask"))
    assert falls(losses_of(stage, tmp_path))
    loaded = Collaborator.from_pretrained(tmp_path / "model")
    assert weights_of(loaded) == weights_of(stage.model)
    raw = faces[0].alternatives[modality]
    with torch.no_grad():
        assert torch.equal(loaded.encode(raw), stage.model.encode(raw))
    assert pictured(tmp_path) == (8, 1 if modality == "text" else 2)


def test_a_stage_resumes_exactly(tmp_path: Path, faces: list[FaceExample]) -> None:
    loop = {**LOOP, "steps": 6, "ema_decay": 0.9, "log_every": 10**6}

    def stage(stop: int | None = None) -> CollaboratorStage:
        made = collaborator_stage(faces, "text", loop=loop)
        original, calls = made.batch, 0

        def batch(indices: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
            nonlocal calls
            calls += 1
            if calls == stop:
                os.kill(os.getpid(), signal.SIGTERM)
            return original(indices, generator)

        made.batch = batch  # type: ignore[method-assign]
        made.picture = lambda: None  # type: ignore[assignment, method-assign, return-value]
        return made

    train(stage(), tmp_path / "straight")
    for stop in (2, 3):
        with pytest.raises(Interrupted):
            train(stage(stop), tmp_path / "stopped")
    train(stage(), tmp_path / "stopped")
    assert digest(tmp_path / "straight") == digest(tmp_path / "stopped")


def tokens_seen(stage: CollaboratorStage, seed: int = 0) -> tuple[Tensor, Tensor]:
    """The tokens that the network is given in one step, and those of the encoder, for all faces."""
    seen: list[Tensor] = []
    hook = stage.model.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[2]))
    latents, inputs = stage.batch(torch.arange(FACES), seeded())
    parts = stage.losses((latents, inputs), seeded(seed))
    hook.remove()
    assert set(parts) == {"loss", "loss_high_noise", "loss_low_noise"}
    return seen[0], stage.model.encoder(inputs)


def test_condition_dropout(faces: list[FaceExample]) -> None:
    stage = collaborator_stage(faces, condition_dropout=0)
    given, encoded = tokens_seen(stage)
    assert torch.equal(given, encoded)
    stage.settings = stage.settings.model_copy(update={"condition_dropout": 1.0})
    given, encoded = tokens_seen(stage)
    assert torch.equal(given, stage.model.unconditional(encoded))
    stage.settings = stage.settings.model_copy(update={"condition_dropout": 0.5})
    dropped = []
    for seed in range(6):
        given, encoded = tokens_seen(stage, seed)
        for row in range(FACES):
            whole = torch.equal(given[row], encoded[row])
            assert whole or not given[row].any()
            dropped.append(not whole)
    assert 0.3 < np.mean(dropped) < 0.7


def test_a_vocabulary_to_start_from(tmp_path: Path) -> None:
    source = build_collaborator(collaborator_settings("text"), models.CHANNELS)
    source.encoder.fit(["a man with a beard", "a woman"])
    source.save_pretrained(tmp_path)
    started = build_collaborator(collaborator_settings("text", initial=str(tmp_path)), models.CHANNELS)
    started.encoder.fit(["other words altogether"])  # keeps what the weights were trained with
    assert torch.equal(started.encoder.read("a woman with a beard"), source.encoder.read("a woman with a beard"))


def test_weights_to_start_from(tmp_path: Path) -> None:
    source = build_collaborator(collaborator_settings("sketch"), models.CHANNELS)
    source.save_pretrained(tmp_path)
    loop = {**LOOP, "seed": 1}
    wide, same = (
        build_collaborator(
            collaborator_settings(modality, initial=str(tmp_path), spatial=spatial, loop=loop), models.CHANNELS
        )
        for modality, spatial in (("mask", 3), ("sketch", 0))
    )
    assert weights_of(same) == weights_of(source)
    old, new = source.network.state_dict(), wide.network.state_dict()
    entry = "unet.conv_in.weight"
    assert torch.equal(new[entry][:, : models.CHANNELS], old[entry])
    assert new[entry].shape[1] == models.CHANNELS + 3
    assert not new[entry][:, models.CHANNELS :].any()
    assert all(torch.equal(new[name], value) for name, value in old.items() if name != entry)
    assert weights_of(wide.encoder) != weights_of(source.encoder)
    noise, tokens = models.noise(), torch.randn(2, 16, models.FEATURES, generator=seeded())
    with torch.no_grad():
        first, second = (model.network(noise, torch.tensor([5, 900]), tokens) for model in (source, wide))
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)


def test_weights_that_cannot_be_started_from(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"initial: .*nowhere holds no collaborator"):
        build_collaborator(collaborator_settings(initial=str(tmp_path / "nowhere")), models.CHANNELS)
    with pytest.raises(InputError, match=r"in_channels is 4, but the VAE's latents have 8"):
        build_collaborator(collaborator_settings(), 8)


# -- dynamic diffusers -------------------------------------------------------------------------------------------------


def dynamic_stage(faces: Sequence[FaceExample], modalities: Sequence[str], **settings: Any) -> DynamicDiffusersStage:
    collaborators = {}
    for seed, modality in enumerate(modalities):
        model = build_collaborator(collaborator_settings(modality, loop={**LOOP, "seed": seed}), models.CHANNELS)
        model.encoder.fit(text for face in faces for text in face.alternatives[modality])
        collaborators[modality] = model
    basic = {"unet_config": models.DYNAMIC_UNET, "schedule": models.SCHEDULE, "spatial": {"mask": 2}}
    chosen = DynamicDiffusersSettings(**{**basic, "loop": {**LOOP, "log_every": 10**6}, **settings})
    return DynamicDiffusersStage(chosen, models.autoencoder(), faces, Collaborators.of(collaborators), None)


@pytest.mark.parametrize("activation", ["softmax", "softplus", "both"])
def test_dynamic_diffusers_learn_while_collaborators_stay(
    activation: str, tmp_path: Path, faces: list[FaceExample]
) -> None:
    loop = {**LOOP, "steps": 25, "log_every": 10**6}
    stage = dynamic_stage(faces, ("mask", "sketch"), activation=activation, loop=loop)
    # One collaborator that is wrong and one that estimates nothing, which is better: there is something to learn.
    stage.collaborators["mask"].network.unet.conv_out.weight.data.mul_(12.0)
    stage.collaborators["sketch"].network.unet.conv_out.weight.data.zero_()
    before = weights_of(stage.collaborators)
    assert falls(losses_of(stage, tmp_path))
    assert weights_of(stage.collaborators) == before
    loaded = DynamicDiffusers.from_pretrained(tmp_path / "model")
    assert list(loaded) == ["mask", "sketch"]
    assert {loaded[modality].config.activation for modality in loaded} == {activation}
    assert weights_of(loaded) == weights_of(stage.model)
    assert pictured(tmp_path) == (8, 3)


def test_both_losses_are_those_of_each_rule_alone(faces: list[FaceExample]) -> None:
    both_stage = dynamic_stage(faces, ("mask", "sketch"), activation="both")
    found = {}
    for activation in ("both", "softmax", "softplus"):
        stage = dynamic_stage(faces, ("mask", "sketch"), activation=activation)
        for modality in stage.model:
            weights = both_stage.model[modality].state_dict()
            if activation != "both":
                head = HEADS["both"].index(activation)
                ends = ("conv_out.weight", "conv_out.bias")
                weights = {
                    key: value[head : head + 1] if key.endswith(ends) else value for key, value in weights.items()
                }
            stage.model[modality].load_state_dict(weights)
        generator = torch.Generator().manual_seed(3)
        found[activation] = stage.losses(stage.batch(torch.arange(4), generator), generator)
        found[activation]["loss"].backward()
        found[activation]["gradient"] = next(stage.model["mask"].parameters()).grad
    both, softmax, softplus = found["both"], found["softmax"], found["softplus"]
    torch.testing.assert_close(both["collaborative"], softmax["loss"].detach())
    torch.testing.assert_close(both["additive"], softplus["loss"].detach())
    torch.testing.assert_close(both["loss"], (softmax["loss"] + softplus["loss"]) / 2)
    torch.testing.assert_close(both["gradient"], (softmax["gradient"] + softplus["gradient"]) / 2)


def test_only_dynamic_diffusers_get_gradients(faces: list[FaceExample]) -> None:
    stage = dynamic_stage(faces, models.MODALITIES, modality_dropout=0)
    stage.losses(stage.batch(torch.arange(4), seeded()), seeded())["loss"].backward()
    assert all(value.grad is None and not value.requires_grad for value in stage.collaborators.parameters())
    assert not stage.collaborators.training
    assert all(value.grad is not None for value in stage.model.parameters())


def test_at_least_two_modalities_are_present(faces: list[FaceExample]) -> None:
    stage = dynamic_stage(faces, models.MODALITIES, modality_dropout=0.6)
    drawn = [tuple(stage._present(seeded(seed))) for seed in range(200)]
    assert {len(names) for names in drawn} == {2, 3}
    assert set(drawn) == {("text", "mask", "sketch"), ("text", "mask"), ("text", "sketch"), ("mask", "sketch")}
    everything = dynamic_stage(faces, models.MODALITIES, modality_dropout=0)
    assert {tuple(everything._present(seeded(seed))) for seed in range(20)} == {models.MODALITIES}
    two = dynamic_stage(faces, ("mask", "sketch"), modality_dropout=0.9)
    assert {tuple(two._present(seeded(seed))) for seed in range(20)} == {("mask", "sketch")}
    one = dynamic_stage(faces, ("mask",), modality_dropout=0.9)
    assert one._present(seeded()) == ["mask"]


def test_absent_modalities_are_not_computed(faces: list[FaceExample]) -> None:
    stage = dynamic_stage(faces, models.MODALITIES, modality_dropout=0.6)
    called: list[str] = []
    for modality in models.MODALITIES:
        stage.collaborators[modality].register_forward_pre_hook(lambda *_, name=modality: called.append(name))
        stage.model[modality].register_forward_pre_hook(lambda *_, name=modality: called.append(name))
    batch = stage.batch(torch.arange(2), seeded())
    for seed in range(4):
        called.clear()
        stage.losses(batch, seeded(seed))
        assert sorted(called) == sorted(2 * stage._present(seeded(seed)))


def test_dynamic_diffusers_to_start_from(tmp_path: Path, faces: list[FaceExample]) -> None:
    source = dynamic_stage(faces, ("mask", "sketch"))
    source.save(tmp_path)
    loop = {**LOOP, "seed": 1}
    started, random = (
        dynamic_stage(faces, ("text", "sketch", "mask"), initial=initial, spatial={"mask": 2, "sketch": 3}, loop=loop)
        for initial in (str(tmp_path), None)
    )
    assert weights_of(started.model["mask"]) == weights_of(source.model["mask"])
    assert weights_of(started.model["text"]) == weights_of(random.model["text"])
    old, new = (stage.model["sketch"].network.unet.conv_in.weight for stage in (source, started))
    assert torch.equal(new[:, : models.CHANNELS], old)
    assert new.shape[1] == models.CHANNELS + 3
    assert not new[:, models.CHANNELS :].any()


def test_both_rules_start_from_one(tmp_path: Path, faces: list[FaceExample]) -> None:
    source = dynamic_stage(faces, ("mask", "sketch"), activation="softplus")
    source.model.save_pretrained(tmp_path / "one")
    stage = dynamic_stage(faces, ("mask", "sketch"), activation="both", initial=str(tmp_path / "one"))
    for name, value in stage.model["mask"].state_dict().items():
        torch.testing.assert_close(value, source.model["mask"].state_dict()[name].expand_as(value))


def test_dynamic_diffusers_that_cannot_be_started_from(tmp_path: Path, faces: list[FaceExample]) -> None:
    with pytest.raises(InputError, match=r"initial: .*nowhere holds no dynamic diffusers"):
        dynamic_stage(faces, ("mask", "sketch"), initial=str(tmp_path / "nowhere"))
    models.autoencoder().save_pretrained(tmp_path / "vae")
    with pytest.raises(InputError, match=r"initial: .*vae holds no dynamic diffusers"):
        dynamic_stage(faces, ("mask", "sketch"), initial=str(tmp_path / "vae"))
    dynamic_stage(faces, ("mask", "sketch")).save(tmp_path / "others")
    with pytest.raises(InputError, match="for mask, sketch, share no weight with these, for text"):
        dynamic_stage(faces, ("text",), initial=str(tmp_path / "others"))


# -- prepared data -----------------------------------------------------------------------------------------------------


class Codes(Modality, name="codes-of-the-tests"):
    """Lists of whole numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 2)

    def read(self, raw: Any) -> Tensor:
        return torch.tensor([raw])

    def forward(self, inputs: Tensor) -> Tensor:
        tokens: Tensor = self.embedding(inputs)
        return tokens


@dataclass
class Said:
    """An example with codes that mean the same."""

    image: NDArray[np.uint8]
    alternatives: Mapping[str, Sequence[Any]]


def said(rows: Sequence[Sequence[list[int]]]) -> list[Said]:
    return [Said(np.zeros((1, 1, 3), np.uint8), {"codes": codes}) for codes in rows]


@pytest.mark.parametrize("codes", [[[1, 2], [255, 0]], [[1, 2], [256, 0]], [[-1, 2], [3, 0]], [[70_000, 2], [3, 0]]])
def test_conditions_of_whole_numbers_come_back(codes: list[list[int]]) -> None:
    held = PreparedConditions(Codes(), "codes", said([[row] for row in codes]))
    drawn = held.draw(torch.tensor([1, 0, 1]), seeded())
    assert drawn.dtype == torch.int64
    assert drawn.tolist() == [codes[1], codes[0], codes[1]]


def test_conditions_come_back(faces: list[FaceExample]) -> None:
    for modality in models.MODALITIES:
        model = models.collaborator(modality)
        if modality == "text":
            model = build_collaborator(collaborator_settings("text"), models.CHANNELS)
            model.encoder.fit(text for face in faces for text in face.alternatives["text"])
        held = PreparedConditions(model.encoder, modality, faces)
        drawn = held.draw(torch.arange(FACES), seeded())
        for row, face in enumerate(faces):
            wordings = torch.stack([model.encoder.read(raw)[0] for raw in face.alternatives[modality]])
            assert drawn.dtype == wordings.dtype
            distances = (wordings - drawn[row]).abs().flatten(1).max(dim=1).values
            assert distances.min() <= (2**-11 if wordings.is_floating_point() else 0)


def test_all_wordings_are_drawn() -> None:
    held = PreparedConditions(Codes(), "codes", said([[[0], [1], [2], [3]]] * 5))
    drawn = torch.cat([held.draw(torch.arange(5), seeded(seed)) for seed in range(20)])
    assert drawn.unique().tolist() == [0, 1, 2, 3]


def test_latents_are_scaled_samples_of_the_posterior(faces: list[FaceExample]) -> None:
    vae = models.autoencoder()
    vae.register_to_config(scaling_factor=0.5)
    latents = PreparedLatents(vae, faces, None)
    drawn = torch.stack([latents.draw(torch.tensor([4, 2]), seeded(seed)) for seed in range(200)])
    with torch.no_grad():
        posterior = vae.encode(from_uint8(np.stack([faces[4].image, faces[2].image]))).latent_dist
    torch.testing.assert_close(drawn.mean(dim=0), 0.5 * posterior.mean, rtol=0, atol=0.2 * float(posterior.std.mean()))
    torch.testing.assert_close(drawn.std(dim=0).mean(), 0.5 * posterior.std.mean(), rtol=0.05, atol=0)
    assert torch.equal(latents.draw(torch.tensor([4, 2]), seeded(3)), drawn[3])


def refuse(*_: Any) -> dict[str, Tensor]:
    raise AssertionError("encoded again")


def changed_vae() -> AutoencoderKL:
    vae = models.autoencoder()
    vae.quant_conv.bias.data[0] += 0.1
    return vae


def test_latents_are_kept_and_never_stale(
    tmp_path: Path, faces: list[FaceExample], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = PreparedLatents(models.autoencoder(), faces, tmp_path)
    (file,) = tmp_path.glob("*.safetensors")
    with monkeypatch.context() as patched:
        patched.setattr(prepared, "_encode", refuse)
        again = PreparedLatents(models.autoencoder(), faces, tmp_path)
        assert torch.equal(first.mean, again.mean)
        assert torch.equal(first.std, again.std)
        others: list[Callable[[], PreparedLatents]] = [
            lambda: PreparedLatents(changed_vae(), faces, tmp_path),
            lambda: PreparedLatents(models.autoencoder(), faces[:-1], tmp_path),
            lambda: PreparedLatents(models.autoencoder(), faces[::-1], tmp_path),
        ]
        for other in others:
            with pytest.raises(AssertionError, match="encoded again"):
                other()
    file.write_bytes(file.read_bytes()[:-9])
    mended = PreparedLatents(models.autoencoder(), faces, tmp_path)
    assert torch.equal(first.mean, mended.mean)
    assert PreparedLatents(models.autoencoder(), faces, None).fingerprint == first.fingerprint
    assert first.fingerprint in file.name


def test_stages_name_what_they_were_trained_on(data: dict[str, Any], faces: list[FaceExample]) -> None:
    names = [
        FaceParserStage(recognition(data)).fingerprint,
        FaceParserStage(recognition({**data, "limit": FACES - 1})).fingerprint,
        collaborator_stage(faces).fingerprint,
        collaborator_stage(faces[1:]).fingerprint,
        dynamic_stage(faces, ("mask", "sketch")).fingerprint,
        dynamic_stage(faces, ("sketch", "mask")).fingerprint,
    ]
    assert None not in names
    assert len(set(names)) == len(names)
    assert collaborator_stage(faces).fingerprint == names[2]
