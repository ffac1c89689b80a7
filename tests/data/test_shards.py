import gc
import io
import json
import multiprocessing
import os
import pickle
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from celeba import SIDE, face, of_paper, write_preprocessed, write_raw
from numpy.typing import NDArray
from PIL import Image
from small_disk import files_of_at_most

from codiff.data.celeba_captions import ATTRIBUTES
from codiff.data.celeba_hq import CelebAHQ
from codiff.data.edges import draw_edges
from codiff.data.prepared import INDEX, PreparedShards, read_index, sha256
from codiff.data.shards import Preparation
from codiff.errors import InputError
from codiff.modalities.mask import read_labels

NUMBERS = [*range(5366, 5386)]  # 5380 has no caption; the last two are for validation
FILES = ["train-00000-of-00004", "train-00001-of-00004", "train-00002-of-00004", "train-00003-of-00004"]
FILES += ["validation-00000-of-00001"]


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_raw(tmp_path_factory.mktemp("raw"), NUMBERS)


@pytest.fixture(scope="module")
def written(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole of `raw` in shards of five."""
    out = tmp_path_factory.mktemp("written")
    Preparation(raw, size=48, shard_size=5).write(out, processes=2)
    return out


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def whole(folder: Path) -> dict[str, str]:
    """Checksums of all that is visible in a folder."""
    return {name: sha256(folder / name) for name in visible(folder)}


def pixels(content: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(content)) as image:
        return np.array(image)


def test_files_and_index(written: Path) -> None:
    assert visible(written) == [INDEX, *(f"{name}.parquet" for name in FILES)]
    index = read_index(written)
    assert index.complete
    assert index.modalities == ("text", "mask", "sketch")
    rows = [(shard.file, shard.first, shard.rows) for shard in index.shards]
    assert rows == [
        (f"{name}.parquet", first, count)
        for name, first, count in zip(FILES, (0, 5, 10, 15, 0), (5, 5, 5, 3, 2), strict=True)
    ]
    assert all(sha256(written / shard.file) == shard.sha256 for shard in index.shards)
    assert [shard.uncaptioned for shard in index.shards] == [(0,), (), (), (), ()]


def test_prepared_examples_are_those_of_the_source(raw: Path, written: Path) -> None:
    for split in ("train", "validation"):
        source, prepared = CelebAHQ(raw, split, 48), PreparedShards(written, split, verify_checksums=True)
        assert len(prepared) == len(source) == (17 if split == "train" else 2)
        for one, other in zip(source, prepared, strict=True):
            assert one.name == other.name != "5380"
            assert (one.image == other.image).all()
            assert one.alternatives["text"] == list(other.alternatives["text"])
            for modality in ("mask", "sketch"):
                assert (one.conditions[modality] == other.conditions[modality]).all()


def test_rows_in_any_order_and_in_other_processes(written: Path) -> None:
    prepared = PreparedShards(written)
    names = [example.name for example in prepared]
    order = np.random.default_rng(0).permutation(len(prepared))
    assert [prepared[int(item)].name for item in order] == [names[item] for item in order]
    again = pickle.loads(pickle.dumps(prepared))
    assert (again[11].image == prepared[11].image).all()
    assert [example.name for example in PreparedShards(written, limit=3)] == names[:3]
    for item in (-1, len(prepared)):
        with pytest.raises(IndexError):
            prepared[item]


def test_the_image_without_a_caption_is_there_for_other_modalities(written: Path) -> None:
    pictures = PreparedShards(written, modalities=["sketch", "mask"])
    assert len(pictures) == len(PreparedShards(written)) + 1
    assert pictures[0].name == "5380"
    assert [*pictures[0].alternatives] == ["mask", "sketch"]


def test_masks_are_label_pictures(written: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    row = parquet.read_table(written / f"{FILES[1]}.parquet").to_pylist()[0]
    labels = read_labels(row["mask"]["bytes"])
    assert (labels == pixels(row["mask"]["bytes"])).all()
    with Image.open(io.BytesIO(row["mask"]["bytes"])) as mask:
        assert (mask.format, mask.mode) == ("PNG", "P")
    assert row["captions"] == [of_paper(int(row["name"]))]


def test_other_tools_read_the_shards(written: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    files = [str(written / f"{name}.parquet") for name in FILES[:4]]
    table = datasets.Dataset.from_parquet(files, cache_dir=str(tmp_path))
    assert len(table) == 18
    assert table[1]["image"].size == table[1]["mask"].size == (48, 48)
    assert table[0]["captions"] == []


def test_pictures_of_the_right_size_are_taken_as_they_are(raw: Path, tmp_path: Path) -> None:
    Preparation(raw, size=SIDE).write(tmp_path, processes=1)
    parquet = pytest.importorskip("pyarrow.parquet")
    row = parquet.read_table(tmp_path / "train-00000-of-00001.parquet").to_pylist()[2]
    assert row["image"]["bytes"] == (raw / "CelebA-HQ-img" / f"{row['name']}.jpg").read_bytes()


def test_pictures_that_are_turned_are_not_taken_as_they_are(tmp_path: Path) -> None:
    write_raw(tmp_path / "raw", range(3))
    path = tmp_path / "raw" / "CelebA-HQ-img" / "0.jpg"
    with Image.open(path) as image:
        exif = image.getexif()
        exif[0x0112] = 3
        image.save(path, exif=exif, quality=95)
    Preparation(tmp_path / "raw", size=SIDE).write(tmp_path / "out", processes=1)
    turned = PreparedShards(tmp_path / "out")[0].image
    assert np.abs(turned[::-1, ::-1].astype(int) - face(0).image).mean() < 5


def test_other_settings(raw: Path, tmp_path: Path) -> None:
    all_attributes = tuple(ATTRIBUTES)
    preparation = Preparation(raw, size=32, limit=4, attributes=all_attributes, without=[5368, 5384])
    assert len(preparation) == 5
    index = preparation.write(tmp_path, processes=1)
    prepared = PreparedShards(tmp_path)
    assert [example.name for example in prepared] == ["5366", "5367", "5369"]
    assert prepared[0].alternatives["text"][0] == "All of 5366."
    assert index.settings.without == (5368, 5384)
    cost = preparation.forecast()
    written = sum(shard.size for shard in index.shards)
    assert cost.seconds > 0
    assert 0.3 * written < cost.size < 3 * written


@pytest.mark.parametrize("keep", [False, True])
def test_published_sketches_are_kept_on_request(tmp_path: Path, keep: bool) -> None:
    root = write_preprocessed(tmp_path / "data", range(3), "image_256_downsampled_from_hq_1024")
    Preparation(root, size=SIDE, keep_sketches=keep).write(tmp_path / "out", processes=1)
    example = PreparedShards(tmp_path / "out")[0]
    assert (example.conditions["sketch"] == draw_edges(example.image)).all() != keep


def test_published_sketches_that_there_are_not(raw: Path) -> None:
    with pytest.raises(InputError, match=r"no published sketches.*sketch/\*/12\.pt.*keep_sketches"):
        Preparation(raw, keep_sketches=True)


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # webdataset leaves them to the garbage collector
def test_tar_files_for_streaming(raw: Path, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    for folder in ("one", "two"):
        Preparation(raw, size=48, shard_size=5, format="webdataset").write(tmp_path / folder, processes=1)
    assert whole(tmp_path / "one") == whole(tmp_path / "two")
    files = [str(tmp_path / "one" / f"{name}.tar") for name in FILES[:4]]
    stream = list(webdataset.WebDataset(files, shardshuffle=False))
    gc.collect()
    names = [shard.file for shard in read_index(tmp_path / "one").shards]
    assert names == [f"{name}.tar" for name in FILES]
    assert [int(sample["__key__"]) for sample in stream] == [5380, *NUMBERS[:14], 5381, 5382, 5383]
    source = CelebAHQ(raw, size=48)
    for sample, example in zip(stream[1:], source, strict=True):
        assert (pixels(sample["image.png"]) == example.image).all()
        assert (pixels(sample["mask.png"]) == example.conditions["mask"]).all()
        assert json.loads(sample["json"]) == {"name": example.name, "captions": example.alternatives["text"]}
    with pytest.raises(InputError, match="prepared for streaming"):
        PreparedShards(tmp_path / "one")


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def stop_at(row: int, number: signal.Signals = signal.SIGINT) -> Callable[[int, int], None]:
    def on_progress(done: int, _all: int) -> None:
        if done == row:
            signal.raise_signal(number)

    return on_progress


@pytest.mark.parametrize("processes", [1, 2])
def test_interrupted_work_leaves_no_half_shard_and_goes_on(
    raw: Path, written: Path, tmp_path: Path, processes: int
) -> None:
    preparation = Preparation(raw, size=48, shard_size=5)
    with pytest.raises(KeyboardInterrupt):
        preparation.write(tmp_path, processes=processes, on_progress=stop_at(12))
    assert visible(tmp_path) == [INDEX, *(f"{name}.parquet" for name in FILES[:2])]
    with pytest.raises(InputError, match="is not finished; run the same"):
        PreparedShards(tmp_path)
    before = (tmp_path / f"{FILES[0]}.parquet").stat().st_mtime_ns
    steps: list[int] = []
    preparation.write(tmp_path, processes=processes, on_progress=lambda done, _all: steps.append(done))
    assert steps == [*range(11, 21), 20]
    assert (tmp_path / f"{FILES[0]}.parquet").stat().st_mtime_ns == before
    assert whole(tmp_path) == whole(written)


def prepare(raw: Path, out: Path) -> None:
    Preparation(raw, size=48, shard_size=5).write(out, processes=2, on_progress=lambda *_: time.sleep(0.05))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_killed_process_leaves_no_half_shard_and_no_workers(raw: Path, written: Path, tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=prepare, args=(raw, tmp_path))
    process.start()
    assert process.pid is not None
    wait_for(lambda: (tmp_path / f"{FILES[0]}.parquet").exists())
    workers = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    process.kill()
    process.join()
    assert len(workers) == 2
    wait_for(lambda: not any(alive(worker) for worker in workers))
    (tmp_path / f".{FILES[1]}.parquet.1.partial").write_bytes(b"half")
    prepare(raw, tmp_path)
    assert whole(tmp_path) == whole(written)
    assert not list(tmp_path.glob(".*.partial"))


def wait_for(reached: Callable[[], bool]) -> None:
    for _ in range(2000):
        if reached():
            return
        time.sleep(0.01)
    raise AssertionError("waited for nothing")


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_damaged_shards_are_written_again(raw: Path, written: Path, tmp_path: Path) -> None:
    preparation = Preparation(raw, size=48, shard_size=5)
    preparation.write(tmp_path, processes=1)
    shard = tmp_path / f"{FILES[2]}.parquet"
    content = bytearray(shard.read_bytes())
    content[1000] ^= 1
    shard.write_bytes(content)
    assert PreparedShards(tmp_path)
    with pytest.raises(InputError, match=r"train-00002.*is damaged: SHA-256 .* instead of"):
        PreparedShards(tmp_path, verify_checksums=True)
    shard.write_bytes(content[:-1])
    with pytest.raises(InputError, match=r"train-00002.*is damaged: [\d,]+ bytes instead of"):
        PreparedShards(tmp_path)
    (tmp_path / f"{FILES[3]}.parquet").unlink()
    preparation.write(tmp_path, processes=1)
    assert whole(tmp_path) == whole(written)


@pytest.mark.parametrize("kind", ["parquet", "webdataset"])
def test_a_full_disk(raw: Path, tmp_path: Path, kind: Any) -> None:
    preparation = Preparation(raw, size=48, shard_size=5, format=kind)
    with pytest.raises(InputError, match=r"cannot write .*train-00000.*Make room"), files_of_at_most(20_000):
        preparation.write(tmp_path, processes=1)
    assert visible(tmp_path) == []
    preparation.write(tmp_path, processes=1)
    assert read_index(tmp_path).complete


def test_a_damaged_picture_stops_it_and_can_be_left_out(tmp_path: Path) -> None:
    write_raw(tmp_path / "raw", range(6))
    (tmp_path / "raw" / "CelebA-HQ-img" / "3.jpg").write_bytes(b"\xff\xd8\xff")
    for processes in (1, 2):
        with pytest.raises(InputError, match=r"3\.jpg.*damaged JPEG"):
            Preparation(tmp_path / "raw", size=48).write(tmp_path / "out", processes=processes)
    assert visible(tmp_path / "out") == []
    Preparation(tmp_path / "raw", size=48, without=[3]).write(tmp_path / "out", processes=1)
    assert [example.name for example in PreparedShards(tmp_path / "out")] == ["0", "1", "2", "4"]


def test_folders_of_something_else(raw: Path, written: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("")
    preparation = Preparation(raw, size=48, shard_size=5)
    with pytest.raises(InputError, match=r"holds something else \(thesis\.txt\)"):
        preparation.write(tmp_path)
    with pytest.raises(InputError, match="cannot write into"):
        preparation.write(tmp_path / "thesis.txt" / "below")
    for changed, told in (
        ({"size": 64}, "size 48, now 64"),
        ({"shard_size": 4}, "shard_size 5, now 4"),
        ({"format": "webdataset"}, "format parquet, now webdataset"),
        ({"attributes": ["smiling"]}, "other attributes"),
        ({"limit": 9}, "limit None, now 9, other names"),
    ):
        settings: dict[str, Any] = {"size": 48, "shard_size": 5, **changed}
        with pytest.raises(InputError, match=rf"was prepared otherwise \({told}\)"):
            Preparation(raw, **settings).write(written)


def test_two_at_once(raw: Path, tmp_path: Path) -> None:
    preparation = Preparation(raw, size=48, shard_size=5)

    def another(done: int, _all: int) -> None:
        if done == 3:
            Preparation(raw, size=48, shard_size=5).write(tmp_path)

    with pytest.raises(InputError, match="in use by another process"):
        preparation.write(tmp_path, processes=1, on_progress=another)


@pytest.mark.parametrize(("kind", "name"), [("parquet", "datasets"), ("webdataset", "webdataset")])
def test_libraries_that_are_not_installed(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any, name: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=rf"needs the library {name}: pip install 'codiff\[train\]'"):
        Preparation(raw, size=48, format=kind).write(tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"shard_size": 0}, "at least one row, not 0"),
        ({"format": "zip"}, "unknown format 'zip'; expected parquet or webdataset"),
        ({"size": 2000}, "from 32 to 1024 pixels, not 2000"),
    ],
)
def test_wrong_settings(raw: Path, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        Preparation(raw, **settings)


def test_wrong_uses_of_prepared_data(written: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no prepared data set: it has no index\.json"):
        PreparedShards(tmp_path)
    with pytest.raises(InputError, match="has no smell; it has text, mask, sketch"):
        PreparedShards(written, modalities=["smell"])
    with pytest.raises(InputError, match="unknown split 'test'"):
        PreparedShards(written, "test")
    index = json.loads((written / INDEX).read_text())
    index["shards"][0]["file"] = "../../etc/passwd"
    (tmp_path / INDEX).write_text(json.dumps(index))
    with pytest.raises(InputError, match=r"damaged or of another version \(shards\.0\.file"):
        PreparedShards(tmp_path)


def test_wrong_numbers_of_processes(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one process is needed, not 0"):
        Preparation(raw, size=48).write(tmp_path / "out", processes=0)
    assert not (tmp_path / "out").exists()


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what an index tells."""
    index = json.loads((folder / INDEX).read_text())
    change(index)
    (folder / INDEX).write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda index: index["shards"][0].update(rows=10**9), r"shards\.0\.rows"),
        (lambda index: index["shards"].append(index["shards"][0]), "shards: .*twice"),
        (lambda index: index["settings"].pop("size"), r"settings\.size"),
        (lambda index: index["settings"].update(size=10**9), r"settings\.size"),
        (lambda index: index.update(modalities=["smell"]), r"modalities\.0"),
    ],
)
def test_indexes_that_cannot_be(
    written: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object], told: str
) -> None:
    shutil.copy(written / INDEX, tmp_path)
    edit(tmp_path, change)
    with pytest.raises(InputError, match=rf"index\.json is damaged or of another version \({told}"):
        read_index(tmp_path)


def test_rows_that_a_shard_has_not(raw: Path, written: Path, tmp_path: Path) -> None:
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    edit(tmp_path, lambda index: index["shards"][0].update(rows=6))
    with pytest.raises(InputError, match=r"train-00000.*is damaged: 5 rows instead of 6; run codiff data prepare"):
        PreparedShards(tmp_path)
    Preparation(raw, size=48, shard_size=5).write(tmp_path, processes=1)
    assert whole(tmp_path) == whole(written)


def rewritten(folder: Path, change: Callable[[Any], Any], **options: Any) -> PreparedShards:
    """The train split with a first shard of other contents, of which the index knows the size."""
    parquet = pytest.importorskip("pyarrow.parquet")
    path = folder / f"{FILES[0]}.parquet"
    parquet.write_table(change(parquet.read_table(path)), path, **options)
    edit(folder, lambda index: index["shards"][0].update(size=path.stat().st_size))
    return PreparedShards(folder)


def small_png() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4)).save(stream, format="PNG")
    return stream.getvalue()


def other_column(name: str, value: Any) -> Callable[[Any], Any]:
    def change(table: Any) -> Any:
        column = table.column_names.index(name)
        return table.set_column(column, name, [[value] * table.num_rows])

    return change


@pytest.mark.parametrize(
    ("change", "options", "told"),
    [
        (lambda table: table.drop_columns(["mask"]), {}, "mask of row 1 cannot be read"),
        (lambda table: table, {"row_group_size": 1}, None),
        (other_column("mask", {"bytes": b"\x89PNG\r\n\x1a\nhalf"}), {}, "mask of row 1.*damaged PNG"),
        (other_column("mask", {"bytes": None}), {}, "mask of row 1 is no picture"),
        (other_column("mask", "x"), {}, "mask of row 1 is no picture"),
        (other_column("image", {"bytes": small_png()}), {}, "image of row 1.*4 x 4 pixels instead of 48 x 48"),
        (other_column("captions", None), {}, "captions of row 1 are no words"),
        (other_column("captions", [3]), {}, "captions of row 1 are no words"),
    ],
)
def test_shards_of_other_contents(
    written: Path, tmp_path: Path, change: Callable[[Any], Any], options: dict[str, Any], told: str | None
) -> None:
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    example = rewritten(tmp_path, change, **options)[0]
    if told is None:
        assert (example.image == PreparedShards(written)[0].image).all()
        return
    with pytest.raises(InputError, match=rf"train-00000.*{told}"):
        _ = example.image, example.conditions


def test_bytes_that_changed_within_a_shard(written: Path, tmp_path: Path) -> None:
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    path = tmp_path / f"{FILES[0]}.parquet"
    content = bytearray(path.read_bytes())
    contents = len(content) - 8 - int.from_bytes(content[-8:-4], "little")  # where the table of contents begins
    content[4:contents] = bytes(contents - 4)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"train-00000.*name of row 1 cannot be read.*run codiff data prepare again"):
        PreparedShards(tmp_path)[0]


def test_workers_that_are_ended_from_outside(raw: Path, tmp_path: Path) -> None:
    def end_workers(done: int, _all: int) -> None:
        if done == 2:
            for child in multiprocessing.active_children():
                assert child.pid is not None
                os.kill(child.pid, signal.SIGKILL)

    with pytest.raises(InputError, match="ended from outside, as happens where memory runs out"):
        Preparation(raw, size=48, shard_size=5).write(tmp_path, processes=2, on_progress=end_workers)
    assert not list(tmp_path.glob(".*.partial"))
