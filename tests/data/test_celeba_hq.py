import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from celeba import (
    ONE_HOT,
    PAPER_CAPTIONS,
    REAL,
    SIDE,
    face,
    of_paper,
    one_hot,
    write_parts,
    write_preprocessed,
    write_raw,
)
from numpy.typing import NDArray
from PIL import Image

from codiff.data.celeba_captions import ATTRIBUTES
from codiff.data.celeba_files import find_files
from codiff.data.celeba_hq import CelebAHQ, split_indices
from codiff.data.celeba_sketches import read_sketch_file
from codiff.data.edges import draw_edges
from codiff.errors import InputError
from codiff.modalities import MaskModality, SketchModality
from codiff.modalities.mask import read_labels

NUMBERS = range(12)
BIG, SMALL = "image_512_downsampled_from_hq_1024", "image_256_downsampled_from_hq_1024"
LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "raw": lambda root: write_raw(root, NUMBERS),
    "raw inside": lambda root: write_raw(root / "CelebAMask-HQ", NUMBERS),
    "dataset": lambda root: write_preprocessed(root / "dataset", NUMBERS, f"image/{BIG}"),
    "datasets": lambda root: write_preprocessed(root / "datasets", NUMBERS, f"image/{BIG}"),
    "256": lambda root: write_preprocessed(root / "datasets", NUMBERS, SMALL),
    "no sketches": lambda root: write_preprocessed(root, NUMBERS, f"image/{BIG}", sketches=False),
    "dialog": lambda root: write_preprocessed(root, NUMBERS, "image"),
}


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    LAYOUTS[request.param](tmp_path)
    return request.param, tmp_path


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_raw(tmp_path_factory.mktemp("raw"), NUMBERS)


def decoded(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.array(image)


def test_every_layout_gives_the_same_examples(layout: tuple[str, Path]) -> None:
    name, root = layout
    train, validation = (CelebAHQ(root, split, SIDE) for split in ("train", "validation"))
    assert [example.name for example in train] == [str(number) for number in range(10)]
    assert validation.indices == [10, 11]
    for number, example in enumerate(train):
        assert (example.image == decoded(train.files.images[number])).all()
        assert example.alternatives.keys() == {"text", "mask", "sketch"}
        assert example.alternatives["text"] == [of_paper(number)]
        mask, sketch = example.conditions["mask"], example.conditions["sketch"]
        assert mask.shape == sketch.shape == (SIDE, SIDE)
        whole = face(number).mask
        expected = whole if name.startswith("raw") else whole[1::2, 1::2].repeat(2, axis=0).repeat(2, axis=1)
        assert (mask == expected).all()
        if name.startswith("raw") or name == "no sketches":
            assert (sketch == draw_edges(example.image)).all()
        else:
            assert np.abs(sketch / 255.0 - face(number).sketch / 255.0).mean() < 0.1


def test_examples_are_what_encoders_read(raw: Path) -> None:
    example = CelebAHQ(raw, size=SIDE)[4]
    assert MaskModality(size=32).read(example.conditions["mask"]).shape == (1, 32, 32)
    assert SketchModality(size=32).read(example.conditions["sketch"]).shape == (1, 1, 32, 32)


def test_examples_are_read_when_they_are_asked_for(tmp_path: Path) -> None:
    faces = CelebAHQ(write_raw(tmp_path, NUMBERS), size=SIDE)
    (tmp_path / "CelebA-HQ-img" / "2.jpg").unlink()
    example = faces[2]
    assert example.alternatives["text"] == [of_paper(2)]
    assert (example.alternatives["mask"][0] == face(2).mask).all()
    with pytest.raises(InputError, match=r"2\.jpg.*no such file"):
        _ = example.image


def test_other_sizes(raw: Path) -> None:
    for size in (32, 100):
        example = CelebAHQ(raw, size=size)[0]
        assert example.image.shape == (size, size, 3)
        assert example.conditions["mask"].shape == example.conditions["sketch"].shape == (size, size)
        assert set(example.conditions["mask"].flat) <= set(face(0).mask.flat)


def test_the_split_of_all_of_celeba_hq() -> None:
    captions = [number for number in range(30_000) if number != 5380]
    splits = split_indices(range(30_000), captions)
    assert splits["validation"] == list(range(27_000, 30_000))
    assert len(splits["train"]) == 27_000
    assert {5380, *captions} == {*splits["train"], *splits["validation"]}


def test_the_split_follows_the_order_of_the_captions() -> None:
    splits = split_indices([1, 2, 3, 4, 5], [5, 1, 4, 2])
    assert splits == {"train": [3, 5, 1, 4], "validation": [2]}
    assert split_indices([3, 1, 2], ()) == {"train": [1, 2], "validation": [3]}
    assert split_indices([7], [7, 8]) == {"train": [7], "validation": []}


def test_the_image_without_a_caption(tmp_path: Path) -> None:
    write_raw(tmp_path, [*range(5377, 5390)])
    assert 5380 not in CelebAHQ(tmp_path, size=SIDE).indices
    pictures = CelebAHQ(tmp_path, size=SIDE, modalities=["mask"])
    assert pictures.indices[0] == 5380
    assert pictures[0].alternatives.keys() == {"mask"}
    assert len(pictures) == len(CelebAHQ(tmp_path, size=SIDE)) + 1


def test_all_attributes_come_in_equally_many_wordings(tmp_path: Path) -> None:
    write_raw(tmp_path, NUMBERS)
    captions = json.loads((tmp_path / "captions_hq.json").read_text())
    captions["3.jpg"]["overall_caption"] = ""
    (tmp_path / "captions_hq.json").write_text(json.dumps(captions))
    faces = CelebAHQ(tmp_path, size=SIDE, attributes=tuple(ATTRIBUTES))
    told = [example.alternatives["text"] for example in faces]
    assert told[2][0] == "All of 2."
    assert {len(wordings) for wordings in told} == {2}
    assert told[3][0] == told[3][1]


def test_the_caption_file_that_tells_what_is_asked(tmp_path: Path) -> None:
    write_raw(tmp_path, NUMBERS)
    (tmp_path / PAPER_CAPTIONS).write_text(json.dumps({f"{number}.jpg": "Published." for number in NUMBERS}))
    assert CelebAHQ(tmp_path, size=SIDE)[0].alternatives["text"] == ["Published."]
    assert CelebAHQ(tmp_path, size=SIDE, attributes=["smiling"])[0].alternatives["text"] == ["Smile of 0."]
    mine = tmp_path / "mine.json"
    mine.write_text(json.dumps({"3.jpg": "Mine."}))
    faces = CelebAHQ(tmp_path, "validation", size=SIDE, captions=mine)
    assert [example.alternatives["text"] for example in faces] == [["Mine."]]


def test_what_a_folder_has_not(tmp_path: Path) -> None:
    write_raw(tmp_path, NUMBERS)
    (tmp_path / "captions_hq.json").unlink()
    shutil.rmtree(tmp_path / "CelebAMask-HQ-mask-anno")
    assert CelebAHQ(tmp_path, size=SIDE).modalities == ("sketch",)
    with pytest.raises(InputError, match=r"no text beside .*captions_hq\.json"):
        CelebAHQ(tmp_path, modalities=["text"])
    with pytest.raises(InputError, match=r"no mask beside .*CelebAMask-HQ-mask-anno"):
        CelebAHQ(tmp_path, modalities=["mask"])


def test_the_largest_pictures_are_taken(tmp_path: Path) -> None:
    write_preprocessed(tmp_path, NUMBERS, SMALL)
    write_preprocessed(tmp_path / "more", NUMBERS, f"image/{BIG}")
    shutil.move(tmp_path / "more" / "image", tmp_path / "image")
    assert find_files(tmp_path).image_folder.name == BIG


def test_published_sketches_either_way_round(tmp_path: Path) -> None:
    write_preprocessed(tmp_path, NUMBERS, SMALL)
    faces = CelebAHQ(tmp_path, size=SIDE)
    before = faces[1].conditions["sketch"]
    path = faces.files.sketches[1]
    published = torch.load(path, weights_only=True)
    others = (torch.nn.Parameter(published), torch._neg_view(-published), published.reshape(1, 1, 1024))
    for other in (1 - published, published * 255, *others):
        torch.save(other, path)
        assert np.abs(faces[1].conditions["sketch"].astype(int) - before).max() <= 2
    drawn = CelebAHQ(tmp_path, size=SIDE, draw_sketches=True)[1]
    assert (drawn.conditions["sketch"] == draw_edges(drawn.image)).all()
    for wrong, told in ((torch.ones(1, 1000), "shape"), (-published, "0..1"), (torch.ones(1, 1024), "blank")):
        torch.save(wrong, path)
        with pytest.raises(InputError, match=rf"1\.pt.*{told}"):
            _ = faces[1].conditions


@pytest.mark.filterwarnings(
    "ignore:The PyTorch API of nested tensors:UserWarning", "ignore:torch.quantize_per_tensor:UserWarning",
    "ignore:TypedStorage is deprecated:UserWarning",
)  # fmt: skip
@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: torch.nested.nested_tensor([torch.eye(32)]), "holds a nested tensor"),
        (lambda: torch.quantize_per_tensor(torch.eye(32), 0.1, 0, torch.quint8), "holds a torch.quint8 tensor"),
        (lambda: torch.empty(1, 1024, device="meta"), "holds a tensor without values"),
        (lambda: torch.eye(32, dtype=torch.complex64), "holds a torch.complex64 tensor"),
        (lambda: torch.zeros(1, 1024, dtype=torch.uint8).view(torch.bits8), "holds a torch.bits8 tensor"),
        (lambda: torch.tensor(1.0), r"shape \(\), but"),
        (lambda: torch.ones(1, 1).expand(1, 2**22), r"shape \(1, 4194304\), but"),  # few bytes that stand for many
        (lambda: torch.ones(0, 1024), r"shape \(0, 1024\), but"),
    ],
)
def test_sketches_of_other_tensors(tmp_path: Path, make: Callable[[], torch.Tensor], told: str) -> None:
    torch.save(make(), tmp_path / "7.pt")
    with pytest.raises(InputError, match=rf"sketch .*7\.pt.*{told}"):
        read_sketch_file(tmp_path / "7.pt")


def test_label_pictures_as_masks(tmp_path: Path) -> None:
    write_preprocessed(tmp_path, NUMBERS, SMALL)
    shutil.rmtree(tmp_path / "mask" / ONE_HOT)
    for number in NUMBERS:
        Image.fromarray(face(number).mask).save(tmp_path / "mask" / f"{number}.png")
    assert (CelebAHQ(tmp_path, size=SIDE)[3].conditions["mask"] == face(3).mask).all()


@pytest.mark.parametrize(
    ("break_it", "told"),
    [
        (lambda folder: (folder / "1.jpg").write_bytes((folder / "1.jpg").read_bytes()[:700]), "cut short or damaged"),
        (lambda folder: Image.new("RGB", (64, 40)).save(folder / "1.jpg"), "64 x 40 pixels, but a square"),
        (lambda folder: (folder / "1.jpg").unlink(), "there is no such file"),
    ],
)
def test_broken_pictures(tmp_path: Path, break_it: Callable[[Path], object], told: str) -> None:
    faces = CelebAHQ(write_raw(tmp_path, NUMBERS), size=SIDE)
    break_it(tmp_path / "CelebA-HQ-img")
    with pytest.raises(InputError, match=told):
        _ = faces[1].image


def test_masks_that_are_missing(tmp_path: Path) -> None:
    write_raw(tmp_path, NUMBERS)
    for path in (tmp_path / "CelebAMask-HQ-mask-anno" / "0").glob("00001_*"):
        path.unlink()
    with pytest.raises(InputError, match="there is no mask of image 1; `codiff data check`"):
        _ = CelebAHQ(tmp_path, size=SIDE)[1].conditions


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"split": "test"}, "unknown split 'test'; expected one of train, validation"),
        ({"size": 31}, "from 32 to 1024 pixels, not 31"),
        ({"limit": 0}, "at least one image, not 0"),
        ({"modalities": ["smell"]}, "unknown modality 'smell'"),
        ({"attributes": ["hair"]}, "unknown attribute 'hair'"),
        ({"captions": "nowhere.json"}, "nowhere.json.*cannot be read"),
        ({"without": range(10)}, "its train split is empty"),
    ],
)
def test_wrong_settings(raw: Path, settings: dict[str, object], told: str) -> None:
    with pytest.raises(InputError, match=told):
        CelebAHQ(raw, **settings)  # type: ignore[arg-type]


def test_folders_that_hold_something_else(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no folder"):
        CelebAHQ(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"no CelebA-HQ images in .*expected: the raw download"):
        CelebAHQ(tmp_path)


@pytest.mark.parametrize("item", [-1, 10])
def test_items_that_do_not_exist(raw: Path, item: int) -> None:
    with pytest.raises(IndexError):
        CelebAHQ(raw)[item]


@pytest.mark.skipif(not (REAL / "official_examples").is_dir(), reason=f"needs real data in {REAL}")
def test_real_masks_and_photos(tmp_path: Path) -> None:
    photos = sorted((REAL / "london_faces").glob("*.jpg"))
    labels = {number: read_labels(REAL / "official_examples" / f"{number}.png") for number in (27007, 29980)}
    (tmp_path / "raw" / "CelebA-HQ-img").mkdir(parents=True)
    (tmp_path / "published" / "image" / BIG).mkdir(parents=True)
    (tmp_path / "published" / "mask" / ONE_HOT).mkdir(parents=True)
    for (number, mask), photo in zip(labels.items(), photos, strict=False):
        with Image.open(photo) as image:
            side = min(image.size)
            for place, size in (
                (f"raw/CelebA-HQ-img/{number}.jpg", 1024),
                (f"published/image/{BIG}/{number}.jpg", 512),
            ):
                image.convert("RGB").crop((0, 0, side, side)).resize((size, size)).save(tmp_path / place)
        write_parts(tmp_path / "raw" / "CelebAMask-HQ-mask-anno", number, mask)
        torch.save(one_hot(mask), tmp_path / "published" / "mask" / ONE_HOT / f"{number}.pt")
    for name in ("raw", "published"):
        examples = [CelebAHQ(tmp_path / name, split, 512)[0] for split in ("train", "validation")]
        assert [example.name for example in examples] == ["27007", "29980"]
        for example in examples:
            assert example.image.shape == (512, 512, 3)
            whole = labels[int(example.name)]
            mask = example.conditions["mask"]
            assert (mask == whole).all() if name == "raw" else (mask[8::16, 8::16] == whole[8::16, 8::16]).all()
            assert 0.01 < (example.conditions["sketch"] < 128).mean() < 0.15
