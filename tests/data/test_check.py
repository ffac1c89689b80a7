import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from celeba import ONE_HOT, PAPER_CAPTIONS, SIDE, Malicious, write_preprocessed, write_raw
from PIL import Image

from codiff.data.check import Problem, check
from codiff.data.prepared import INDEX, sha256
from codiff.data.shards import Preparation
from codiff.errors import InputError

NUMBERS = range(6)
PICTURES = "image/image_512_downsampled_from_hq_1024"


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("originals")
    write_raw(root / "raw", NUMBERS)
    write_preprocessed(root / "preprocessed", NUMBERS, PICTURES)
    return root


@pytest.fixture
def raw(originals: Path, tmp_path: Path) -> Path:
    return shutil.copytree(originals / "raw", tmp_path / "raw")


@pytest.fixture
def preprocessed(originals: Path, tmp_path: Path) -> Path:
    return shutil.copytree(originals / "preprocessed", tmp_path / "preprocessed")


def problems(root: Path, **settings: Any) -> list[Problem]:
    return list(check(root, processes=1, **settings).problems)


def cut(path: Path, size: int = 300) -> None:
    path.write_bytes(path.read_bytes()[:size])


def edited(path: Path, **changes: Any) -> None:
    """A caption file with other or no captions (None) of some images."""
    captions = json.loads(path.read_text())
    captions.update({f"{name[1:]}.jpg": value for name, value in changes.items()})
    path.write_text(json.dumps({name: value for name, value in captions.items() if value is not None}))


@pytest.mark.parametrize("processes", [1, 2])
def test_whole_data_sets(raw: Path, preprocessed: Path, processes: int) -> None:
    for root, layout in ((raw, "raw"), (preprocessed, "preprocessed")):
        steps: list[tuple[int, int]] = []
        report = check(root, processes=processes, on_progress=lambda *step: steps.append(step))  # noqa: B023
        assert (report.layout, report.entries, list(report.problems)) == (layout, 6, [])
        assert report.notes == ["6 of CelebA-HQ's 30,000 images"]
        assert steps == [(done, 6) for done in range(1, 7)]


RAW: dict[str, tuple[Callable[[Path], Any], str, str, str]] = {
    "no picture": (
        lambda root: (root / "CelebA-HQ-img/2.jpg").unlink(), "missing", "CelebA-HQ-img/2.jpg", "no such file",
    ),
    "cut picture": (lambda root: cut(root / "CelebA-HQ-img/2.jpg", 900), "corrupt", "CelebA-HQ-img/2.jpg", "cut short"),
    "a web page": (
        lambda root: (root / "CelebA-HQ-img/2.jpg").write_text("<html>"),
        "corrupt", "CelebA-HQ-img/2.jpg", "HTML page",
    ),
    "other size": (
        lambda root: Image.new("RGB", (60, 60)).save(root / "CelebA-HQ-img/2.jpg"),
        "mismatched", "CelebA-HQ-img/2.jpg", "60 x 60 pixels",
    ),
    "not square": (
        lambda root: Image.new("RGB", (64, 60)).save(root / "CelebA-HQ-img/2.jpg"),
        "mismatched", "CelebA-HQ-img/2.jpg", "64 x 60 pixels",
    ),
    "no skin": (
        lambda root: (root / "CelebAMask-HQ-mask-anno/0/00002_skin.png").unlink(),
        "missing", "CelebAMask-HQ-mask-anno/0/00002_skin.png", "no such file",
    ),
    "cut part": (
        lambda root: cut(root / "CelebAMask-HQ-mask-anno/0/00002_nose.png", 40),
        "corrupt", "CelebAMask-HQ-mask-anno/0/00002_nose.png", "PNG",
    ),
    "small part": (
        lambda root: Image.new("L", (32, 32)).save(root / "CelebAMask-HQ-mask-anno/0/00002_nose.png"),
        "mismatched", "CelebAMask-HQ-mask-anno/0/00002_nose.png", "32 x 32 pixels",
    ),
    "grey part": (
        lambda root: Image.linear_gradient("L").save(root / "CelebAMask-HQ-mask-anno/0/00002_nose.png"),
        "corrupt", "CelebAMask-HQ-mask-anno/0/00002_nose.png", "grey levels",
    ),
    "unknown part": (
        lambda root: Image.new("L", (64, 64)).save(root / "CelebAMask-HQ-mask-anno/0/00002_beard.png"),
        "mismatched", "CelebAMask-HQ-mask-anno/0/00002_beard.png", "no image has a file of this name",
    ),
    "other folder": (
        lambda root: shutil.copytree(root / "CelebAMask-HQ-mask-anno/0", root / "CelebAMask-HQ-mask-anno/3"),
        "mismatched", "CelebAMask-HQ-mask-anno/3/00000_cloth.png", "no image has a file of this name",
    ),
    "other name": (
        lambda root: shutil.copy(root / "CelebA-HQ-img/2.jpg", root / "CelebA-HQ-img/copy of 2.jpg"),
        "mismatched", "CelebA-HQ-img/copy of 2.jpg", "no image has a file of this name",
    ),
    "twice": (
        lambda root: shutil.copy(root / "CelebA-HQ-img/2.jpg", root / "CelebA-HQ-img/002.jpg"),
        "mismatched", "CelebA-HQ-img/2.jpg", "no image has a file of this name",
    ),
    "no caption": (
        lambda root: edited(root / "captions_hq.json", n2=None), "missing", "CelebA-HQ-img/2.jpg", "no caption",
    ),
    "a caption of nothing": (
        lambda root: edited(root / "captions_hq.json", n99="He."), "missing", "CelebA-HQ-img/99.jpg", "no such file",
    ),
    "an empty caption": (
        lambda root: edited(root / "captions_hq.json", n2=""), "missing", "captions_hq.json", "'2.jpg': no words",
    ),
    "a wrong caption": (
        lambda root: edited(root / "captions_hq.json", n2=7), "corrupt", "captions_hq.json", "'2.jpg': words",
    ),
    "a caption that cannot be written": (
        lambda root: edited(root / "captions_hq.json", n2="a \ud800 b"),
        "corrupt", "captions_hq.json", "'2.jpg': its words hold '\\ud800'",
    ),
    "a wrong name": (
        lambda root: edited(root / "captions_hq.json", nx="He."), "mismatched", "captions_hq.json", "'x.jpg'",
    ),
    "a name twice": (
        lambda root: edited(root / "captions_hq.json", n02="He."), "mismatched", "captions_hq.json", "'02.jpg': named",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RAW)
def test_problems_of_raw_data(raw: Path, name: str) -> None:
    break_it, kind, file, told = RAW[name]
    break_it(raw)
    found = [problem for problem in problems(raw) if problem.file == file and told in problem.found]
    assert [problem.kind for problem in found] == [kind]
    assert str(found[0]).startswith(f"{kind}: {file}: ")
    assert f"; expected {found[0].expected}" in str(found[0])
    assert found[0].entry in (2, 99, None)


def test_a_name_that_stands_twice_in_a_caption_file(raw: Path) -> None:
    path = raw / "captions_hq.json"
    path.write_text(path.read_text()[:-1] + ', "2.jpg": "He."}')
    (found,) = problems(raw)
    assert (found.kind, found.file, found.entry) == ("corrupt", "captions_hq.json", 2)
    assert found.found == "'2.jpg': a name stands twice"


def test_a_broken_caption_file(raw: Path) -> None:
    cut(raw / "captions_hq.json")
    found = problems(raw)
    assert (found[0].kind, found[0].file) == ("corrupt", "captions_hq.json")
    assert {problem.kind for problem in found[1:]} == {"missing"}
    assert len(found) == 7


PREPROCESSED: dict[str, tuple[Callable[[Path], Any], str, str, str]] = {
    "no mask": (lambda root: (root / "mask" / ONE_HOT / "2.pt").unlink(), "missing", f"mask/{ONE_HOT}/2.pt", "no such"),
    "cut mask": (lambda root: cut(root / "mask" / ONE_HOT / "2.pt"), "corrupt", f"mask/{ONE_HOT}/2.pt", "damaged"),
    "not one-hot": (
        lambda root: torch.save(torch.ones(19, 1024), root / "mask" / ONE_HOT / "2.pt"),
        "corrupt", f"mask/{ONE_HOT}/2.pt", "one-hot",
    ),
    "no sketch": (
        lambda root: (root / "sketch/sketch_1x1024_tensor/2.pt").unlink(),
        "missing", "sketch/sketch_1x1024_tensor/2.pt", "no such file",
    ),
    "blank sketch": (
        lambda root: torch.save(torch.ones(1, 1024), root / "sketch/sketch_1x1024_tensor/2.pt"),
        "corrupt", "sketch/sketch_1x1024_tensor/2.pt", "blank",
    ),
    "other sketch": (
        lambda root: torch.save(torch.eye(16).reshape(1, 256), root / "sketch/sketch_1x1024_tensor/2.pt"),
        "mismatched", "sketch/sketch_1x1024_tensor/2.pt", "16 x 16 pixels",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PREPROCESSED)
def test_problems_of_preprocessed_data(preprocessed: Path, name: str) -> None:
    break_it, kind, file, told = PREPROCESSED[name]
    break_it(preprocessed)
    (found,) = problems(preprocessed)
    assert (found.kind, found.file, found.entry) == (kind, file, 2)
    assert told in found.found


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_tensors_of_other_kinds_are_all_told_of(preprocessed: Path) -> None:
    sketches = preprocessed / "sketch/sketch_1x1024_tensor"
    torch.save(torch.load(sketches / "0.pt", weights_only=True).requires_grad_(), sketches / "0.pt")
    torch.save(torch.empty(1, 1024, device="meta"), sketches / "1.pt")
    torch.save(torch.rand(1, 1024, dtype=torch.complex64), sketches / "2.pt")
    torch.save(torch.nested.nested_tensor([torch.eye(32)]), sketches / "3.pt")
    torch.save(torch.nested.nested_tensor([torch.eye(32)]), preprocessed / "mask" / ONE_HOT / "4.pt")
    found = problems(preprocessed)
    assert [(problem.kind, problem.entry) for problem in found] == [("corrupt", entry) for entry in (1, 2, 3, 4)]


def test_malicious_files_are_told_of_and_not_run(preprocessed: Path, tmp_path: Path) -> None:
    torch.save(Malicious(tmp_path / "sentinel"), preprocessed / "mask" / ONE_HOT / "2.pt")
    torch.save(Malicious(tmp_path / "sentinel"), preprocessed / "sketch/sketch_1x1024_tensor/3.pt")
    found = list(check(preprocessed, processes=2).problems)
    assert [(problem.kind, problem.entry) for problem in found] == [("corrupt", 2), ("corrupt", 3)]
    assert all("holds code or objects" in problem.found for problem in found)
    assert not (tmp_path / "sentinel").exists()


def test_many_problems_are_all_told(raw: Path) -> None:
    for name in ("a web page", "no skin", "unknown part", "no caption"):
        RAW[name][0](raw)
    cut(raw / "CelebA-HQ-img/4.jpg")
    assert [(problem.kind, problem.entry) for problem in problems(raw)] == [
        ("mismatched", None), ("missing", 2), ("corrupt", 2), ("missing", 2), ("corrupt", 4)
    ]  # fmt: skip


def test_the_image_that_has_no_caption(tmp_path: Path) -> None:
    report = check(write_raw(tmp_path, [5379, 5380, 5381]), processes=1)
    assert not report.problems
    assert "image 5380 has no caption, as published" in report.notes


def test_whether_all_images_are_there(raw: Path) -> None:
    (raw / "captions_hq.json").unlink()
    shutil.rmtree(raw / "CelebAMask-HQ-mask-anno")
    report = check(raw, processes=1, complete=True)
    assert len(report.problems) == 30_000 - 6
    assert report.problems[0] == Problem("missing", "CelebA-HQ-img/6.jpg", "there is no such file", "the picture", 6)
    assert report.notes == ["there are no masks", "there are no captions"]


def test_a_caption_file_elsewhere(raw: Path, tmp_path: Path) -> None:
    other = tmp_path / PAPER_CAPTIONS
    other.write_text(json.dumps({f"{number}.jpg": "He." for number in range(5)}))
    (found,) = problems(raw, captions=other)
    assert (found.kind, found.entry) == ("missing", 5)
    for wrong in (tmp_path / "nowhere.json", tmp_path):
        with pytest.raises(InputError, match=r"captions .*cannot be read"):
            check(raw, captions=wrong, processes=1)


def test_prepared_data(raw: Path, tmp_path: Path) -> None:
    Preparation(raw, size=SIDE, shard_size=3).write(tmp_path / "out", processes=1)
    report = check(tmp_path / "out")
    assert (report.layout, report.entries, list(report.problems)) == ("prepared", 6, [])
    shard = tmp_path / "out" / "train-00001-of-00002.parquet"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    (tmp_path / "out" / "validation-00000-of-00001.parquet").unlink()
    found = problems(tmp_path / "out")
    assert [problem.file for problem in found] == [shard.name, "validation-00000-of-00001.parquet"]
    assert "instead of" in found[0].found
    assert "cannot be read" in found[1].found
    (tmp_path / "out" / INDEX).write_text("{}")
    with pytest.raises(InputError, match=r"index\.json is damaged"):
        check(tmp_path / "out")


@pytest.mark.parametrize("form", ["parquet", "webdataset"])
def test_prepared_data_of_which_the_index_tells_wrong(raw: Path, tmp_path: Path, form: Any) -> None:
    Preparation(raw, size=SIDE, shard_size=3, format=form).write(tmp_path / "out", processes=1)
    assert problems(tmp_path / "out") == []
    path = tmp_path / "out" / INDEX
    index = json.loads(path.read_text())
    index["shards"][1]["rows"] = 900
    path.write_text(json.dumps(index))
    (found,) = problems(tmp_path / "out")
    assert (found.kind, found.file) == ("corrupt", index["shards"][1]["file"])
    assert "2 rows instead of 900" in found.found
    assert found.expected.startswith("900 rows of SHA-256 ")


@pytest.mark.parametrize("content", ["{}", "[1", '{"pages": []}', '{"shards": []}', "[" * 100_000])
def test_an_index_of_something_else(raw: Path, tmp_path: Path, content: str) -> None:
    for folder in (raw, tmp_path):
        (folder / INDEX).write_text(content)
    assert check(raw, processes=1).layout == "raw"
    with pytest.raises(InputError, match="no CelebA-HQ images"):
        check(tmp_path, processes=1)


@pytest.mark.parametrize("form", ["parquet", "webdataset"])
def test_prepared_data_of_another_kind_with_the_right_checksum(raw: Path, tmp_path: Path, form: Any) -> None:
    index = Preparation(raw, size=SIDE, format=form).write(tmp_path / "out", processes=1)
    record = json.loads((tmp_path / "out" / INDEX).read_text())
    shard = tmp_path / "out" / index.shards[0].file
    shard.write_bytes(b"PAR1" * 400)
    record["shards"][0].update(size=shard.stat().st_size, sha256=sha256(shard))
    (tmp_path / "out" / INDEX).write_text(json.dumps(record))
    (found,) = problems(tmp_path / "out")
    assert (found.kind, found.file) == ("corrupt", shard.name)
    assert "is damaged" in found.found
    assert "\n" not in found.found


def test_a_library_that_is_not_installed(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Preparation(raw, size=SIDE).write(tmp_path / "out", processes=1)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(InputError, match="needs the library pyarrow"):
        check(tmp_path / "out")


def test_folders_that_are_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no CelebA-HQ images"):
        check(tmp_path)
    with pytest.raises(InputError, match="at least one process is needed, not 0"):
        check(write_raw(tmp_path, NUMBERS), processes=0)
