import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from celeba import write_preprocessed, write_raw
from command_line import Command, command, refused

from codiff.data.prepared import PreparedShards, read_index

TOO_MANY = str(4 * (os.cpu_count() or 1) + 1)  # processes, and yet few enough for a machine that would start them


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Calls the command line in an empty folder: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    return command(capsys)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_raw(tmp_path_factory.mktemp("raw"), range(12))


def test_check_of_whole_data(run: Command, raw: Path) -> None:
    code, said, told = run("data", "check", raw, "--processes", 2)
    assert (code, said) == (0, "")
    assert told == f"{raw}: 12 entries, raw: nothing is wrong; 12 of CelebA-HQ's 30,000 images\n"


def test_check_lists_every_problem_and_fails(run: Command, tmp_path: Path) -> None:
    write_preprocessed(tmp_path / "data" / "dataset", range(4), "image/image_512_downsampled_from_hq_1024")
    home = tmp_path / "data" / "dataset"
    (home / "image/image_512_downsampled_from_hq_1024/1.jpg").write_bytes(b"")
    next(home.glob("mask/*/2.pt")).unlink()
    code, said, told = run("data", "check", "data", "--processes", 1)
    assert code == 1
    first, second = said.splitlines()
    place = "dataset/image/image_512_downsampled_from_hq_1024/1.jpg"
    assert first.startswith(f"corrupt: {place}: the file is empty")
    assert first.endswith("; expected a whole picture")
    assert second.startswith("missing: dataset/mask/")
    assert "4 entries, preprocessed: 1 missing, 1 corrupt" in told
    code, said, _ = run("data", "check", "data", "--json", "--processes", 1)
    report = json.loads(said)
    assert (code, report["entries"]) == (1, 4)
    assert [(problem["kind"], problem["entry"]) for problem in report["problems"]] == [("corrupt", 1), ("missing", 2)]
    assert report["problems"][0]["file"] == place


def test_prepare_and_what_a_report_names_left_out(run: Command, raw: Path, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(json.dumps({"problems": [{"entry": 3}, {"entry": None}]}))
    command = ("data", "prepare", raw, "out", "--size", 32, "--shard-size", 4, "--processes", 1)
    code, said, told = run(*command, "--without", "report.json", "--attributes", "all")
    assert (code, said) == (0, "")
    cost, summary = told.splitlines()
    assert cost.startswith("11 images: about ")
    assert "are free) and less than a minute" in cost
    assert summary.startswith("out: 9 train, 2 validation, text, mask, sketch: 4 shards, ")
    prepared = PreparedShards(tmp_path / "out")
    assert "3" not in [example.name for example in prepared]
    assert prepared[0].alternatives["text"][0] == "All of 0."
    assert run("data", "check", "out")[0] == 0


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_that_are_no_utf8(run: Command, tmp_path: Path) -> None:
    write_raw(tmp_path / "data", range(3))
    stray = tmp_path / "data" / "CelebA-HQ-img" / os.fsdecode(b"caf\xe9.txt")
    stray.write_text("")
    code, said, _ = run("data", "check", "data", "--processes", 1)
    assert (code, said.count("\n")) == (1, 1)
    assert said.startswith(r"mismatched: CelebA-HQ-img/caf\udce9.txt: no image has a file of this name")
    code, said, _ = run("data", "check", "data", "--json", "--processes", 1)
    assert (code, said.isascii()) == (1, True)
    assert json.loads(said)["problems"][0]["file"] == "CelebA-HQ-img/caf\udce9.txt"
    (tmp_path / "report.json").write_text(said)
    assert run("data", "prepare", "data", "out", "--size", 32, "--processes", 1, "--without", "report.json")[0] == 0


@pytest.mark.parametrize(
    "report",
    [
        '{"problems": [{"entry": 1e999}]}',
        '{"problems": [{"entry": 2.5}]}',
        '{"problems": [{"entry": true}]}',
        '{"problems": [{"entry": [1]}]}',
        '{"problems": ' + "[" * 100_000,
        "[" * 100_000,
        "[]",
        '{"problems": null}',
    ],
)
def test_reports_that_are_none(run: Command, raw: Path, tmp_path: Path, report: str) -> None:
    (tmp_path / "report.json").write_text(report)
    refused(run("data", "prepare", raw, "out", "--without", "report.json"), "report.json is no report")
    assert not (tmp_path / "out").exists()


def test_prepare_for_streaming(run: Command, raw: Path, tmp_path: Path) -> None:
    command = ("data", "prepare", raw, "out", "--size", 32, "--limit", 2, "--processes", 1)
    assert run(*command, "--webdataset")[0] == 0
    assert [shard.file for shard in read_index(tmp_path / "out").shards] == [
        "train-00000-of-00001.tar", "validation-00000-of-00001.tar"
    ]  # fmt: skip
    refused(run(*command), "prepared otherwise (format webdataset, now parquet)")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_leave_no_half_shard_and_the_same_command_goes_on(
    run: Command, raw: Path, tmp_path: Path, number: signal.Signals
) -> None:
    first = tmp_path / "out" / "train-00000-of-00010.parquet"
    command = ("data", "prepare", raw, "out", "--size", 256, "--shard-size", 1, "--processes", 2)

    def stop() -> None:
        while not first.exists():
            time.sleep(0.005)
        os.kill(os.getpid(), number)

    waiting = threading.Thread(target=stop)
    waiting.start()
    code, _, told = run(*command)
    waiting.join()
    assert (code, told.splitlines()[-1]) == (
        130,
        "interrupted; what was written is whole, and the same command goes on",
    )
    assert not list((tmp_path / "out").glob(".*.partial"))
    before = first.stat().st_mtime_ns
    assert run(*command)[0] == 0
    assert first.stat().st_mtime_ns == before
    assert len(PreparedShards(tmp_path / "out", verify_checksums=True)) == 10


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("check", "nowhere"), ("there is no folder nowhere",)),
        (("check", "."), ("no CelebA-HQ images", "CelebA-HQ-img/0.jpg")),
        (("check", "RAW", "--processes", "0"), ("at least one process",)),
        (("check", "RAW", "--processes", TOO_MANY), ("processes at most", f"not {TOO_MANY}")),
        (("check", "RAW", "--captions", "nowhere.json"), ("nowhere.json", "cannot be read")),
        (("check", "RAW", "--captions", "RAW"), ("captions", "cannot be read")),
        (("check",), ("DIR", "codiff data check --help")),
        (("prepare", "RAW"), ("OUT", "codiff data prepare --help")),
        (("prepare", "nowhere", "out"), ("there is no folder nowhere",)),
        (("prepare", "RAW", "out", "--size", "4096"), ("from 32 to 1024",)),
        (("prepare", "RAW", "out", "--shard-size", "0"), ("at least one row",)),
        (("prepare", "RAW", "out", "--processes", "0"), ("at least one process",)),
        (("prepare", "RAW", "out", "--processes", TOO_MANY), ("processes at most", f"not {TOO_MANY}")),
        (("prepare", "RAW", "out", "--keep-sketches"), ("no published sketches", "keep_sketches")),
        (("prepare", "RAW", "out", "--limit", "0"), ("at least one image",)),
        (("prepare", "RAW", "out", "--attributes", "hair"), ("unknown attribute 'hair'", "bangs")),
        (("prepare", "RAW", "out", "--captions", "nowhere.json"), ("nowhere.json", "cannot be read")),
        (("prepare", "RAW", "out", "--without", "nowhere.json"), ("nowhere.json", "cannot be read")),
        (("prepare", "RAW", "out", "--without", "RAW/captions_hq.json"), ("is no report of codiff data check --json",)),
        (("prepare", "RAW", "RAW/captions_hq.json/below"), ("not a folder",)),
        (("mend",), ("mend",)),
    ],
)
def test_wrong_commands_are_refused_and_nothing_is_written(
    run: Command, raw: Path, tmp_path: Path, arguments: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    refused(run("data", *(argument.replace("RAW", str(raw)) for argument in arguments)), *parts)
    assert list(tmp_path.iterdir()) == []
