import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from codiff.errors import InputError, InputNotice
from codiff.modalities.mask import (
    FLIP_PAIRS,
    MASK_CLASSES,
    MASK_PALETTE,
    MaskModality,
    colour,
    flip_labels,
    read_labels,
    resize_labels,
)

REAL = Path(__file__).parents[2].parent / "shared" / "real"
REFERENCE = Path(__file__).parents[2].parent / "shared" / "reference" / "golden" / "expected"


@st.composite
def label_maps(draw: st.DrawFn) -> np.ndarray:
    side = draw(st.integers(1, 12))
    return np.array(draw(st.lists(st.integers(0, 18), min_size=side**2, max_size=side**2)), np.uint8).reshape(
        side, side
    )


def stripes(size: int = 32) -> np.ndarray:
    """Labels (size, size) with every class in it."""
    return np.broadcast_to(np.arange(size, dtype=np.uint8)[None] % 19, (size, size)).copy()


def encoded(image: Image.Image, image_format: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()


def palette_image(labels: np.ndarray, palette: Any = MASK_PALETTE) -> Image.Image:
    image = Image.fromarray(labels)
    image.putpalette(np.asarray(palette, np.uint8).tobytes())
    return image


def one_hot(labels: np.ndarray) -> np.ndarray:
    """The published layout int64 (19, 1024) of labels (32, 32)."""
    return (labels.reshape(1, -1) == np.arange(19)[:, None]).astype(np.int64)


def blocks(size: int = 64) -> np.ndarray:
    """Labels (size, size) of some large parts, as masks have them."""
    labels = np.zeros((size, size), np.uint8)
    labels[size // 8 :, size // 8 : -size // 8] = 13
    labels[size // 4 : -size // 4, size // 4 : -size // 4] = 1
    labels[-size // 4 :, size // 4 : -size // 4] = 18
    return labels


def test_the_tables_agree() -> None:
    assert len(MASK_CLASSES) == len(set(MASK_CLASSES)) == len(MASK_PALETTE) == len(set(MASK_PALETTE)) == 19
    for left, right in FLIP_PAIRS:
        assert MASK_CLASSES[left].replace("left", "right") == MASK_CLASSES[right]


@settings(max_examples=50, deadline=None)
@given(label_maps())
def test_every_way_of_writing_labels_reads_back(labels: np.ndarray) -> None:
    indexed = labels.astype(np.uint16)
    for source in (
        encoded(palette_image(labels)),
        encoded(palette_image(labels).convert("RGB")),
        encoded(palette_image(labels).convert("RGBA")),
        encoded(Image.fromarray(labels)),
        encoded(Image.fromarray(labels).convert("LA")),
        encoded(Image.fromarray(indexed)),
        palette_image(labels),
        Image.fromarray(colour(labels)),
        labels.astype(np.int64),
        labels[None],
        torch.from_numpy(labels).long(),
        torch.from_numpy(labels)[None, None],
    ):
        read = read_labels(source)
        assert read.dtype == np.uint8
        assert np.array_equal(read, labels)


@given(label_maps())
def test_two_flips_are_none(labels: np.ndarray) -> None:
    assert np.array_equal(flip_labels(flip_labels(labels)), labels)


def test_a_flip_exchanges_left_and_right() -> None:
    labels = np.array([[4, 6, 8, 1], [5, 7, 9, 2]], np.uint8)
    assert flip_labels(labels).tolist() == [[1, 9, 7, 5], [2, 8, 6, 4]]


@given(st.integers(1, 8), st.integers(1, 8), st.randoms(use_true_random=False))
def test_reduction_picks_the_middle_of_each_block(side: int, factor: int, random: Any) -> None:
    wide = side * factor
    labels = np.array([random.randrange(19) for _ in range(wide * wide)], np.uint8).reshape(wide, wide)
    assert np.array_equal(resize_labels(labels, side), labels[factor // 2 :: factor, factor // 2 :: factor])


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool, torch.float32, torch.bfloat16])
def test_published_one_hot_tensors(dtype: torch.dtype, tmp_path: Path) -> None:
    labels = stripes()
    tensor = torch.from_numpy(one_hot(labels)).to(dtype)
    assert np.array_equal(read_labels(tensor), labels)
    assert np.array_equal(read_labels(tensor[None]), labels)
    assert np.array_equal(read_labels(tensor.reshape(19, 32, 32)), labels)
    torch.save(tensor, tmp_path / "mask.pt")
    assert np.array_equal(read_labels(tmp_path / "mask.pt"), labels)
    both = MaskModality(size=32, channels=8).read(tensor.expand(2, -1, -1))
    assert np.array_equal(both.numpy(), np.stack([labels, labels]))


def test_batches() -> None:
    batch = np.stack([blocks(16), stripes(16)])
    modality = MaskModality(size=16, channels=8)
    assert np.array_equal(modality.read(batch).numpy(), batch)
    assert np.array_equal(modality.read(torch.from_numpy(batch)[:, None]).numpy(), batch)
    assert np.array_equal(modality.read_all([encoded(palette_image(each)) for each in batch]).numpy(), batch)
    with pytest.raises(InputError, match="2 masks are given"):
        read_labels(batch)


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.path),))


def test_pickles_are_not_run(tmp_path: Path) -> None:
    torch.save(Bomb(tmp_path / "ran"), tmp_path / "zip.pt")
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    with pytest.raises(InputError, match=r"holds code or objects \(\w+\.mkdir"):
        read_labels(tmp_path / "zip.pt")
    with pytest.raises(InputError, match="looks like a Python pickle"):
        read_labels(tmp_path / "bare.pt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "looks like"),
        (b"<html>", "an HTML page"),
        (b"version https://git-lfs", "git lfs pull"),
        (b"PK\x03\x04", "zip"),
    ],
)
def test_says_what_a_file_is_instead_of_a_tensor(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "mask.pt").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_labels(str(tmp_path / "mask.pt"))


def test_tensor_files_hold_one_tensor(tmp_path: Path) -> None:
    torch.save({"mask": torch.zeros(2)}, tmp_path / "mask.pt")
    with pytest.raises(InputError, match="holds a dict"):
        read_labels(tmp_path / "mask.pt")
    for path in (tmp_path / "missing.pt", tmp_path, "nul\0.pt"):
        with pytest.raises(InputError, match="mask"):
            read_labels(path)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.full((4, 4), 19), "label 19 is not a class"),
        (np.full((4, 4), -1), "label -1 is not a class"),
        (Image.fromarray(np.full((4, 4), 255, np.uint8)), "label 255 is not a class"),
        (Image.fromarray(np.full((4, 4, 3), 99, np.uint8)), "label 99 is not a class"),
        (Image.new("1", (4, 4), 1), "mode '1'"),
        (Image.new("F", (4, 4)), "mode 'F'"),
        (Image.new("LAB", (4, 4)), "mode 'LAB'"),
        (np.zeros((4, 4)), "labels are integers"),
        (torch.zeros(4, 4, dtype=torch.bool), "labels are integers"),
        (torch.zeros(4, 4, dtype=torch.complex64), "holds no labels"),
        (torch.zeros(4, 4).to_sparse(), "has no labels"),
        (np.array([["a"]]), "holds no labels"),
        (np.zeros((2, 3, 4, 4), np.uint8), "not a mask"),
        (np.zeros(4, np.uint8), "not a mask"),
        (np.zeros((0, 4, 4), np.uint8), "no pixels"),
        (torch.zeros(1).long().expand(10**6, 10**6), "limit 64 MP"),
        (np.zeros((19, 1024), np.uint8), "one-hot"),
        (np.full((2, 19, 8, 8), np.nan), "one-hot"),
        (np.zeros((4, 6), np.uint8), "6 x 4 pixels, but a square is expected"),
        ({"mask": 1}, "not dict"),
    ],
)
def test_refusals(source: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_labels(source)


def test_letterbox_pads_with_background() -> None:
    labels = read_labels(np.ones((2, 4), np.uint8), letterbox=True)
    assert labels.tolist() == [[0] * 4, [1] * 4, [1] * 4, [0] * 4]


def test_a_palette_in_another_order_is_read_by_its_colours() -> None:
    labels = stripes(20)
    order = np.random.default_rng(0).permutation(19)
    shuffled = palette_image(np.argsort(order).astype(np.uint8)[labels], np.asarray(MASK_PALETTE)[order])
    assert np.array_equal(read_labels(encoded(shuffled)), labels)


def test_another_palette_counts_by_its_indices() -> None:
    greys = np.repeat(np.arange(19)[:, None] * 13, 3, axis=1)
    with pytest.warns(InputNotice, match="indices are taken as classes"):
        assert np.array_equal(read_labels(palette_image(stripes(20), greys)), stripes(20))


def test_a_large_palette_counts_by_its_colours() -> None:
    picture = palette_image(stripes(20)).convert("RGB").quantize(palette=palette_image(stripes(20)))
    high = Image.fromarray(np.asarray(picture) + 100)
    high.putpalette(bytes(300) + np.asarray(MASK_PALETTE, np.uint8).tobytes())
    assert np.array_equal(read_labels(high), stripes(20))
    high.putpalette(bytes(300) + bytes(range(200, 200 + 57 - 1)) + b"\0")
    with pytest.raises(InputError, match="another palette"):
        read_labels(high)


def test_what_is_transparent_is_background() -> None:
    pixels = np.dstack([colour(blocks()), np.full((64, 64), 255, np.uint8)])
    pixels[:, :32, 3] = 0
    expected = blocks()
    expected[:, :32] = 0
    assert np.array_equal(read_labels(encoded(Image.fromarray(pixels))), expected)
    assert np.array_equal(read_labels(pixels[:, :63], letterbox=True)[:, :63], expected[:, :63])


@pytest.mark.parametrize("options", [{"image_format": "JPEG", "quality": 75}, {"image_format": "WEBP", "quality": 80}])
def test_near_colours_are_snapped_on_request(options: dict[str, Any]) -> None:
    picture = encoded(Image.fromarray(colour(blocks(128))), **options)
    with pytest.raises(InputError, match=r"mask: \d+ colours, of which \d+ are not .* snap=True"):
        read_labels(picture)
    with pytest.warns(InputNotice, match="snapped to the nearest"):
        labels = read_labels(picture, snap=True)
    assert (labels == blocks(128)).mean() > 0.95


def test_smooth_edges_are_snapped_on_request() -> None:
    picture = Image.fromarray(colour(blocks(256))).resize((128, 128), Image.Resampling.BILINEAR)
    with pytest.warns(InputNotice, match="snapped"):
        assert (read_labels(picture, snap=True) == resize_labels(blocks(256), 128)).mean() > 0.95


def test_wrong_palettes_are_not_snapped() -> None:
    voc = np.array([(0, 0, 0), (128, 64, 128), (64, 128, 192), (128, 192, 128)], np.uint8)
    mask = voc[np.searchsorted([0, 1, 13, 18], blocks())]
    with pytest.raises(InputError, match="4 colours, of which 3 are not CelebAMask-HQ's, nor near"):
        read_labels(Image.fromarray(mask), snap=True)
    noise = np.random.default_rng(0).integers(0, 256, (600, 600, 3), dtype=np.uint8)
    with pytest.raises(InputError, match="as a photograph has"):
        read_labels(Image.fromarray(noise), snap=True)


def test_modality_encodes_a_map_of_tokens() -> None:
    modality = MaskModality(size=32, features=6, channels=8, downsample=4)
    labels = modality.read(encoded(palette_image(stripes(64))))
    assert (labels.dtype, labels.shape) == (torch.int64, (1, 32, 32))
    assert np.array_equal(labels[0].numpy(), stripes(64)[1::2, 1::2])
    assert modality(labels).shape == (1, 64, 6)
    assert modality.encode([palette_image(blocks()), blocks()]).shape == (2, 64, 6)
    modality(labels).sum().backward()
    assert all(parameter.grad is not None for parameter in modality.parameters())


def test_modality_tells_every_class_apart() -> None:
    modality = MaskModality(size=8, features=6, channels=8, downsample=8)
    tokens = modality(torch.arange(19)[:, None, None].expand(19, 8, 8))
    assert torch.cdist(tokens[:, 0], tokens[:, 0]).add(torch.eye(19)).min() > 1e-4


def test_modality_pictures_and_words() -> None:
    modality = MaskModality(size=64, channels=8)
    labels = modality.read(blocks())
    assert np.array_equal(np.asarray(modality.picture(labels, 64)), colour(blocks()))
    assert modality.picture(labels, 100).size == (100, 100)
    assert modality.describe(labels) == "mask of background, skin, hair, cloth"


def test_modality_options() -> None:
    with pytest.raises(InputError, match=r"label 18 is unknown to this model, which knows 0\.\.13"):
        MaskModality(size=8, channels=8, num_classes=14).read(blocks())
    with pytest.raises(InputError, match="num_classes"):
        MaskModality(num_classes=20)
    assert MaskModality(size=8, channels=8, letterbox=True).read(blocks()[:32]).shape == (1, 8, 8)
    with pytest.warns(InputNotice, match="snapped"):
        MaskModality(size=8, channels=8, snap=True).read(Image.fromarray(colour(blocks()) ^ 1))


@pytest.mark.skipif(not REAL.is_dir(), reason="shared/real is absent: no published masks to read")
@pytest.mark.parametrize("name", ["27007.png", "29980.png", "29980_256.png", "27044_0_remove_smile_and_rings.png"])
def test_published_masks(name: str) -> None:
    path = REAL / "official_examples" / name
    indices = np.asarray(Image.open(path))
    assert np.array_equal(read_labels(path), indices)
    assert np.array_equal(read_labels(Image.open(path).convert("RGB")), indices)
    half = indices.shape[0] // 64
    assert np.array_equal(resize_labels(read_labels(path), 32), indices[half :: 2 * half, half :: 2 * half])


@pytest.mark.skipif(
    not (REFERENCE.is_dir() and REAL.is_dir()), reason="shared is absent: no recorded labels to compare"
)
def test_published_labels_and_one_hot() -> None:
    from safetensors.torch import load_file

    recorded = load_file(REFERENCE / "mask.safetensors")
    labels = resize_labels(read_labels(REAL / "official_examples" / "27007.png"), 32)
    assert np.array_equal(labels, recorded["label_map_32x32"].numpy())
    assert np.array_equal(labels, read_labels(recorded["one_hot"]))
