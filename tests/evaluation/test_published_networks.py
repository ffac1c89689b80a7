"""InceptionV3, BiSeNet and face embedders: layouts, files and label order; their trained weights are not at hand."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from codiff import InputError
from codiff.data.faces import ProceduralFaces
from codiff.evaluation.features import inception_features
from codiff.evaluation.identity_similarity import identity_similarity
from codiff.evaluation.mask_accuracy import mask_accuracy
from codiff.evaluation.mask_iou import mask_iou, mask_overlaps
from codiff.modalities.mask import MASK_CLASSES
from codiff.recognition import BiSeNet, FaceEmbedder, InceptionV3
from codiff.recognition.bisenet import BISENET_CLASSES, to_mask_classes
from codiff.recognition.face_embedder import ARCFACE, WHOLE
from codiff.recognition.weights import read_state


def images(count: int = 2, side: int = 32) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


def parameters(network: nn.Module) -> int:
    return sum(value.numel() for value in network.parameters())


class Planted:
    """A file that would write another one if it were run."""

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (Path("planted"),)


# -- InceptionV3 -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def inception() -> InceptionV3:
    torch.manual_seed(0)
    return InceptionV3().eval()


def test_inception_has_the_published_size(inception: InceptionV3) -> None:
    # 23,834,568 with 1,000 classes and without the auxiliary ones, as every port counts; the FID's has 1,008
    assert parameters(inception) == 23_834_568 + 8 * (2048 + 1)
    names = set(inception.state_dict())
    for name, shape in {
        "Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3),
        "Mixed_5b.branch5x5_2.conv.weight": (64, 48, 5, 5),
        "Mixed_6a.branch3x3.conv.weight": (384, 288, 3, 3),
        "Mixed_6e.branch7x7dbl_4.conv.weight": (192, 192, 7, 1),
        "Mixed_7a.branch7x7x3_4.conv.weight": (192, 192, 3, 3),
        "Mixed_7c.branch3x3dbl_3b.bn.running_var": (384,),
        "fc.weight": (1008, 2048),
    }.items():
        assert name in names
        assert inception.state_dict()[name].shape == shape


def test_inception_features_are_pooled(inception: InceptionV3) -> None:
    with torch.no_grad():
        features = inception(images(1, 24))
    assert features.shape == (1, 2048)
    assert features.min() >= 0
    assert features.std() > 0


def test_inception_averages_leave_padding_out(inception: InceptionV3) -> None:
    with torch.no_grad():
        found = inception.Mixed_5b(torch.ones(1, 192, 5, 5))[0, -32:]
        last = inception.Mixed_7c(-torch.ones(1, 2048, 3, 3))[0, -192:]
    assert torch.allclose(found, found[:, 2:3, 2:3].expand_as(found), atol=1e-6)  # corners as the middle
    assert torch.allclose(last, last[:, 1:2, 1:2].expand_as(last), atol=1e-6)


def test_inception_from_its_file(tmp_path: Path, inception: InceptionV3) -> None:
    state = {name: value for name, value in inception.state_dict().items() if "num_batches" not in name}
    path = tmp_path / "pt_inception-2015-12-05-6726825d.pth"
    torch.save(state, path)
    extractor = inception_features(path)
    assert (extractor.frechet, extractor.kernel) == ("FID", "KID")
    loaded = extractor.network.state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in inception.state_dict().items())
    torch.save({"fc.bias": torch.zeros(1000), "AuxLogits.fc.bias": torch.zeros(1)}, path)
    message = r"InceptionV3 of the FID: it lacks Conv2d_1a_3x3\.conv\.weight, .* and \d+ more, also holds AuxLogits"
    with pytest.raises(InputError, match=message + r".*, holds in other shapes fc\.bias"):
        inception_features(path)


# -- BiSeNet -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bisenet() -> BiSeNet:
    torch.manual_seed(0)
    return BiSeNet().eval()


def test_bisenet_has_the_published_layout(bisenet: BiSeNet) -> None:
    assert parameters(bisenet) == 13_300_416  # 53.2 MB in float32, as the published file
    names = set(bisenet.state_dict())
    assert {
        "cp.resnet.conv1.weight",
        "cp.resnet.layer2.0.downsample.1.running_mean",
        "cp.arm32.bn_atten.weight",
        "cp.conv_avg.bn.bias",
        "ffm.conv2.weight",
        "conv_out.conv_out.weight",
        "conv_out16.conv.conv.weight",
    } <= names
    assert not any(name.startswith(("mean", "std", "sp.")) or "layer1.0.downsample" in name for name in names)


def test_remapping_keeps_the_names() -> None:
    ours = to_mask_classes(torch.arange(19))
    # written out from the two published lists, independently of the names in the code
    assert ours.tolist() == [0, 1, 6, 7, 4, 5, 3, 8, 9, 15, 2, 10, 11, 12, 17, 16, 18, 13, 14]
    assert [MASK_CLASSES[label] for label in ours.tolist()] == list(BISENET_CLASSES)
    assert sorted(BISENET_CLASSES) == sorted(MASK_CLASSES)


def test_bisenet_answers_in_our_order(bisenet: BiSeNet) -> None:
    head = bisenet.conv_out.conv_out
    with torch.no_grad():
        head.weight.zero_()
        head.weight[BISENET_CLASSES.index("hair")] = 1.0  # features are >= 0, so hair it is, everywhere
        parsed = bisenet.parse(images(1, 40))
    assert parsed.shape == (1, 40, 40)
    assert set(parsed.unique().tolist()) <= {MASK_CLASSES.index("hair"), 0}
    assert (parsed == MASK_CLASSES.index("hair")).float().mean() > 0.9


class Perfect:
    """Reads every mask exactly, and answers in BiSeNet's order, remapped or not."""

    classes = 19

    def __init__(self, masks: Tensor, *, remapped: bool) -> None:
        own = torch.tensor([BISENET_CLASSES.index(name) for name in MASK_CLASSES])[masks]
        self.answer = to_mask_classes(own) if remapped else own

    def parse(self, images: Tensor) -> Tensor:
        return self.answer[: len(images)]


def test_what_forgetting_the_order_costs() -> None:
    faces = ProceduralFaces("validation", 64, limit=24)
    masks = torch.from_numpy(np.stack([face.mask for face in faces])).long()
    blank = torch.zeros(len(masks), 3, 64, 64)
    right, wrong = Perfect(masks, remapped=True), Perfect(masks, remapped=False)
    assert mask_accuracy(right, blank, masks).tolist() == [1.0] * len(masks)
    # what is left is background, skin and eyes, which both orders number alike
    assert 0.35 < mask_accuracy(wrong, blank, masks).mean() < 0.75
    assert mask_iou(mask_overlaps(right, blank, masks)).mean.mean == 1
    assert mask_iou(mask_overlaps(wrong, blank, masks)).mean.mean < 0.3


def test_bisenet_from_its_file(tmp_path: Path, bisenet: BiSeNet) -> None:
    path = tmp_path / "79999_iter.pth"
    torch.save(bisenet.state_dict(), path)
    loaded = BiSeNet.from_pretrained(path)
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in bisenet.state_dict().items())
    torch.save({name: value for name, value in bisenet.state_dict().items() if name.startswith("cp")}, path)
    with pytest.raises(InputError, match=r"BiSeNet face parser: it lacks ffm\.convblk"):
        BiSeNet.from_pretrained(path)


# -- files -------------------------------------------------------------------------------------------------------------


def test_weight_files_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "weights.pth"
    with pytest.raises(InputError, match="there is no weight file"):
        read_state(path)
    path.write_bytes(b"<!DOCTYPE html>")
    with pytest.raises(InputError, match="cannot be read"):
        read_state(path)
    torch.save({"epoch": 3}, path)
    with pytest.raises(InputError, match="no state dict"):
        read_state(path)
    torch.save({"weight": Planted()}, path)
    with pytest.raises(InputError, match="nothing in it was run"):
        read_state(path)
    assert not (tmp_path / "planted").exists()
    save_file({"a": torch.ones(2)}, tmp_path / "a.safetensors")
    assert read_state(tmp_path / "a.safetensors")["a"].tolist() == [1, 1]


# -- embedders ---------------------------------------------------------------------------------------------------------


class Colours(nn.Module):
    """The mean of red, green and blue: an embedding whose cosines can be worked out."""

    def forward(self, pictures: Tensor) -> Tensor:
        return pictures.mean(dim=(2, 3))


def coloured(*colours: tuple[float, float, float]) -> Tensor:
    return torch.tensor(colours).float()[:, :, None, None].expand(-1, -1, 16, 16).clone()


def test_similarity_is_the_cosine() -> None:
    embedder = FaceEmbedder(Colours(), size=8)
    originals, edited = coloured((1, 0, 0), (0.6, 0.8, 0)), coloured((0.5, 0, 0), (0.8, -0.6, 0))
    assert identity_similarity(embedder, originals, edited).tolist() == pytest.approx([1, 0], abs=1e-6)
    assert identity_similarity(embedder, originals, originals.flip(0)).tolist() == pytest.approx([0.6, 0.6])
    turned = identity_similarity(embedder, originals.flip(0), edited.flip(0))
    assert turned.tolist() == pytest.approx([0, 1], abs=1e-6)
    doubled = [pictures.repeat(2, 1, 1, 1) for pictures in (originals, edited)]
    assert identity_similarity(embedder, *doubled).tolist() == pytest.approx([1, 0, 1, 0], abs=1e-6)


def test_embedders_see_the_box_in_their_order_of_colours() -> None:
    picture = coloured((0, 0, 0))
    picture[:, :, :, 8:] = torch.tensor([1.0, 0.5, 0.0])[:, None, None]
    right = FaceEmbedder(Colours(), size=4, box=(0.5, 0.0, 1.0, 1.0), bgr=True)
    length = (1 + 0.25) ** 0.5
    assert right(picture)[0].tolist() == pytest.approx([0, 0.5 / length, 1 / length])
    with pytest.raises(InputError, match="empty or reaches outside"):
        FaceEmbedder(Colours(), box=(0.5, 0, 0.5, 1))


def test_the_box_puts_the_eyes_where_arcface_has_them() -> None:
    left, top, right, bottom = ARCFACE
    eyes = [((x - left) / (right - left), (0.474 - top) / (bottom - top)) for x in (0.375, 0.617)]
    template = [(38.2946 / 112, 51.6 / 112), (73.5318 / 112, 51.6 / 112)]
    assert np.allclose(eyes, template, atol=0.005)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_embedder_from_torchscript(tmp_path: Path) -> None:
    path = tmp_path / "colours.pt"
    torch.jit.script(Colours()).save(str(path))
    embedder = FaceEmbedder.from_file(path, size=8, box=WHOLE)
    torch.testing.assert_close(embedder(images()), FaceEmbedder(Colours(), size=8, box=WHOLE)(images()))
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match="not a TorchScript model"):
        FaceEmbedder.from_file(path)


def test_embedder_files_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="there is no face recognition model"):
        FaceEmbedder.from_file(tmp_path / "none.onnx")
    (tmp_path / "model.pkl").touch()
    with pytest.raises(InputError, match=r"neither \.onnx nor TorchScript"):
        FaceEmbedder.from_file(tmp_path / "model.pkl")
    (tmp_path / "model.onnx").write_bytes(b"nothing")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # as where it is not installed
    with pytest.raises(InputError, match=r"pip install 'codiff\[identity\]'"):
        FaceEmbedder.from_file(tmp_path / "model.onnx")


def test_similarity_refuses() -> None:
    embedder = FaceEmbedder(Colours(), size=8)
    with pytest.raises(InputError, match="there are no originals"):
        identity_similarity(embedder, images()[:0], images()[:0])
    with pytest.raises(InputError, match="2 originals but 1 edited"):
        identity_similarity(embedder, images(2), images(1))
    with pytest.raises(InputError, match=r"answers \(2, 3, 8, 8\)"):
        identity_similarity(FaceEmbedder(nn.Identity(), size=8), images(2), images(2))
