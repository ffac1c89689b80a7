from pathlib import Path

import numpy as np
import pytest
import torch
from celeba import REAL, Malicious, one_hot, write_parts
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from codiff.data.celeba_masks import PARTS, compose, read_mask_file, read_parts
from codiff.errors import InputError
from codiff.modalities.mask import MASK_CLASSES, read_labels

OFFICIAL = sorted((REAL / "official_examples").glob("*.png"))
needs_real = pytest.mark.skipif(not OFFICIAL, reason=f"needs real masks in {REAL}")


def parts_below(folder: Path) -> dict[str, Path]:
    return {path.stem.partition("_")[2]: path for path in folder.rglob("*.png")}


def test_parts_are_the_classes_in_their_order() -> None:
    beginnings = ["skin", "nose", "eye", "left_eye", "right_eye", "left_brow", "right_brow", "left_ear", "right_ear"]
    beginnings += ["mouth", "upper", "lower", "hair", "hat", "earring", "necklace", "neck", "cloth"]
    assert len(PARTS) == len(MASK_CLASSES) - 1 == 18
    assert all(name.startswith(start) for name, start in zip(MASK_CLASSES[1:], beginnings, strict=True))
    assert [PARTS.index(part) + 1 for part in ("l_eye", "r_eye", "eye_g", "ear_r", "neck_l", "u_lip")] == [
        4, 5, 3, 15, 16, 11
    ]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    chosen=st.sets(st.sampled_from(PARTS), min_size=1), side=st.integers(1, 6), seed=st.integers(0, 2**32 - 1),
    turned=st.booleans(),
)  # fmt: skip
def test_the_later_part_wins(chosen: set[str], side: int, seed: int, turned: bool) -> None:
    rng = np.random.default_rng(seed)
    parts = {name: rng.random((side, side)) < 0.5 for name in sorted(chosen, reverse=turned)}
    numbered = [(PARTS.index(name) + 1) * part for name, part in parts.items()]
    labels = compose(parts)
    assert labels.dtype == np.uint8
    assert (labels == np.max(numbered, axis=0)).all()


@needs_real
@pytest.mark.parametrize("path", OFFICIAL, ids=lambda path: path.stem)
def test_real_masks_come_back_from_their_parts(tmp_path: Path, path: Path) -> None:
    labels = read_labels(path)
    write_parts(tmp_path, 27007, labels)
    assert (read_parts(parts_below(tmp_path)) == labels).all()


@needs_real
@pytest.mark.parametrize("path", OFFICIAL, ids=lambda path: path.stem)
def test_one_hot_tensors_hold_every_so_manyth_pixel(tmp_path: Path, path: Path) -> None:
    labels = read_labels(path)
    torch.save(one_hot(labels), tmp_path / "0.pt")
    step = len(labels) // 32
    assert (read_mask_file(tmp_path / "0.pt") == labels[step // 2 :: step, step // 2 :: step]).all()


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "P"])
def test_part_pictures_of_every_mode(tmp_path: Path, mode: str) -> None:
    grey = np.zeros((8, 8), np.uint8)
    grey[2:5] = 255
    Image.fromarray(grey).convert(mode).save(tmp_path / "00000_nose.png")
    assert (read_parts(parts_below(tmp_path)) == np.where(grey, 2, 0)).all()


def save(path: Path, values: object, mode: str | None = None) -> None:
    image = Image.fromarray(np.array(values, np.uint8))
    (image.convert(mode) if mode else image).save(path)


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (lambda folder: save(folder / "00000_nose.png", np.zeros((4, 4))), "nose 4 x 4 pixels, skin 8 x 8 pixels"),
        (lambda folder: save(folder / "00000_skin.png", np.zeros((8, 4))), "4 x 8 pixels, but squares"),
        (lambda folder: save(folder / "00000_nose.png", np.arange(64).reshape(8, 8)), "64 grey levels"),
        (lambda folder: save(folder / "00000_nose.png", np.full((8, 8, 3), (9, 0, 0))), "colours"),
        (lambda folder: save(folder / "00000_beard.png", np.zeros((8, 8))), "unknown part 'beard'"),
        (lambda folder: (folder / "00000_nose.png").write_bytes(b"\x89PNG\r\n"), "damaged PNG"),
    ],
)
def test_wrong_parts(tmp_path: Path, broken: object, told: str) -> None:
    save(tmp_path / "00000_skin.png", np.full((8, 8), 255))
    broken(tmp_path)  # type: ignore[operator]
    with pytest.raises(InputError, match=told):
        read_parts(parts_below(tmp_path))


def test_masks_without_parts() -> None:
    with pytest.raises(InputError, match="found: none"):
        compose({})
    with pytest.raises(InputError, match="no such file"):
        read_parts({"skin": Path("nowhere.png")})


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (torch.zeros(19, 32, 32), r"shape \(19, 32, 32\), but the one-hot \(19, 1024\)"),
        (torch.zeros(2, 19, 1024), r"shape \(2, 19, 1024\)"),
        (torch.zeros(19, 1024), "must be one-hot"),
        (torch.ones(19, 1024), "must be one-hot"),
        ({"mask": torch.zeros(19, 1024)}, "holds a dict"),
        (torch.eye(19, 1024).to_sparse(), "holds a torch.sparse_coo tensor"),
        (torch.eye(19, 1024, dtype=torch.complex64), "holds a torch.complex64 tensor"),
        (torch.empty(19, 1024, device="meta"), "holds a tensor without values"),
    ],
)
def test_wrong_tensors(tmp_path: Path, value: object, told: str) -> None:
    torch.save(value, tmp_path / "7.pt")
    with pytest.raises(InputError, match=rf"mask .*7\.pt.*{told}"):
        read_mask_file(tmp_path / "7.pt")


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_nested_tensors(tmp_path: Path, layout: torch.layout) -> None:
    torch.save(torch.nested.nested_tensor([torch.eye(19, 1024)], layout=layout), tmp_path / "7.pt")
    with pytest.raises(InputError, match=r"mask .*7\.pt.*holds a nested tensor"):
        read_mask_file(tmp_path / "7.pt")


def test_parameters_are_masks_too(tmp_path: Path) -> None:
    torch.save(torch.nn.Parameter(one_hot(np.full((32, 32), 3, np.uint8)).float()), tmp_path / "7.pt")
    assert (read_mask_file(tmp_path / "7.pt") == 3).all()


def test_files_that_are_no_tensors(tmp_path: Path) -> None:
    path = tmp_path / "7.pt"
    with pytest.raises(InputError, match="cannot be read"):
        read_mask_file(path)
    torch.save(one_hot(np.zeros((32, 32), np.uint8)), path)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(InputError, match="damaged"):
        read_mask_file(path)
    path.write_text("<html>quota exceeded</html>")
    with pytest.raises(InputError, match="HTML page"):
        read_mask_file(path)


def test_malicious_tensors_are_refused_and_nothing_is_run(tmp_path: Path) -> None:
    torch.save(Malicious(tmp_path / "sentinel"), tmp_path / "7.pt")
    with pytest.raises(InputError, match="holds code or objects"):
        read_mask_file(tmp_path / "7.pt")
    assert not (tmp_path / "sentinel").exists()
