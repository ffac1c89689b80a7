from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from codiff import AttributeClassifier, FaceParser, InputError
from codiff.recognition import VGG16

ATTRIBUTES = {"age": ("child", "young", "old"), "beard": ("none", "long")}
CHANNELS = (8, 16, 24)


def parser(seed: int = 0) -> FaceParser:
    torch.manual_seed(seed)
    return FaceParser(5, CHANNELS).eval()


def classifier(seed: int = 0) -> AttributeClassifier:
    torch.manual_seed(seed)
    return AttributeClassifier(ATTRIBUTES, CHANNELS).eval()


def pictures(batch: int = 2, side: int = 32) -> torch.Tensor:
    return torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("side", [16, 32, 48])
def test_every_pixel_gets_a_class(side: int) -> None:
    logits = parser()(pictures(2, side))
    assert logits.shape == (2, 5, side, side)
    parsed = parser().parse(pictures(2, side))
    assert parsed.shape == (2, side, side)
    assert parsed.dtype == torch.int64
    assert torch.equal(parsed, logits.argmax(dim=1))


@pytest.mark.parametrize("side", [16, 32])
def test_every_attribute_gets_a_class(side: int) -> None:
    logits = classifier()(pictures(3, side))
    assert {name: tuple(values.shape) for name, values in logits.items()} == {"age": (3, 3), "beard": (3, 2)}
    classes = classifier().classify(pictures(3, side))
    assert all(torch.equal(classes[name], values.argmax(dim=1)) for name, values in logits.items())


@pytest.mark.parametrize("build", [parser, classifier])
def test_features_from_fine_to_coarse(build: Any) -> None:
    network, images = build(), pictures()
    features = network.features(images.requires_grad_())
    assert [tuple(level.shape) for level in features] == [(2, 8, 16, 16), (2, 16, 8, 8), (2, 24, 4, 4)]
    features[0].sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


@pytest.mark.parametrize("build", [parser, classifier])
def test_pictures_of_a_batch_do_not_touch_each_other(build: Any) -> None:
    network, images = build(), pictures(3)
    together, alone = network.features(images)[-1][1], network.features(images[1:2])[-1][0]
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("build", [parser, classifier])
def test_saves_and_loads_bit_exactly(tmp_path: Path, build: Any) -> None:
    network = build(seed=3)
    network.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "diffusion_pytorch_model.safetensors"]
    loaded = type(network).from_pretrained(tmp_path)
    assert type(loaded).__module__ == "codiff"
    assert not loaded.training
    saved, found = network.state_dict(), loaded.state_dict()
    assert saved.keys() == found.keys()
    assert all(torch.equal(value, found[name]) for name, value in saved.items())
    assert torch.equal(network.features(pictures())[1], loaded.features(pictures())[1])


def test_judging_leaves_no_gradients() -> None:
    assert not parser().parse(pictures()).requires_grad
    assert all(not values.requires_grad for values in classifier().classify(pictures()).values())


def test_the_shipped_sizes_are_small() -> None:
    millions = [sum(value.numel() for value in network.parameters()) / 1e6 for network in (
        FaceParser(), AttributeClassifier({"age": range(6), "beard": range(7)}),
    )]  # fmt: skip
    assert max(millions) < 2


# -- VGG-16 ------------------------------------------------------------------------------------------------------------


def vgg_file(folder: Path, suffix: str) -> tuple[VGG16, Path]:
    torch.manual_seed(0)
    network = VGG16()
    state = {f"features.{name}": value for name, value in network.layers.state_dict().items()}
    state["classifier.0.weight"] = torch.zeros(2, 2)
    path = folder / f"vgg16{suffix}"
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return network, path


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_vgg_from_the_usual_file(tmp_path: Path, suffix: str) -> None:
    network, path = vgg_file(tmp_path, suffix)
    loaded = VGG16.from_pretrained(path)
    with torch.no_grad():
        found, expected = loaded.features(pictures()), network.features(pictures())
    assert [tuple(level.shape[1:]) for level in found] == [
        (64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4), (512, 2, 2)
    ]  # fmt: skip
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert all(level.min() >= 0 for level in found)
    assert not any(value.requires_grad for value in loaded.parameters())


def test_files_that_are_not_vgg(tmp_path: Path) -> None:
    _, path = vgg_file(tmp_path, ".safetensors")
    path.write_bytes(path.read_bytes()[:1000])
    for wrong in (path, tmp_path / "nowhere.pth"):
        with pytest.raises(InputError, match="does not hold the weights of VGG-16"):
            VGG16.from_pretrained(wrong)
    save_file({"features.0.weight": torch.zeros(64, 3, 3, 3)}, path)
    with pytest.raises(InputError, match="does not hold the weights of VGG-16"):
        VGG16.from_pretrained(path)
