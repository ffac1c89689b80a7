import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import SCHEDULE, collaborator, new_pipeline
from PIL import Image

from codiff import CollaborativePipeline, Collaborators, generators
from codiff.cli.generate import generate
from codiff.cli.modality_options import condition_options
from codiff.cli.outputs import slug
from codiff.cli.schedulers import SCHEDULERS, scheduler_named
from codiff.credentials import read_origin
from codiff.main import main
from codiff.modalities.mask import MASK_PALETTE
from codiff.png_metadata import read_metadata

TEXT = "A man has a long beard"
QUICK = ("--count", "1", "--steps", "2", "--no-credentials")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of text, mask and sketch."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    new_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def mask(tmp_path_factory: pytest.TempPathFactory) -> Path:
    labels = np.zeros((64, 64), np.uint8)
    labels[16:48, 20:44] = 1
    path = tmp_path_factory.mktemp("conditions") / "My mask.png"
    Image.fromarray(labels).save(path)
    return path


class Run:
    """What a command returned, printed and told."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def images(self) -> list[dict[str, Any]]:
        return [image for result in json.loads(self.out)["results"] for image in result["images"]]


Runner = Callable[..., Run]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    """Runs `codiff generate` on the tiny model in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object, model: Path = model) -> Run:
        code = main(["generate", "--model", str(model), *map(str, arguments)])
        return Run(code, *capsys.readouterr())

    return call


def refused(run: Run, *parts: str) -> None:
    """One line that names these parts, exit code 2, and nothing written into the working folder."""
    errors = [line for line in run.err.splitlines() if not line.startswith("note: ")]
    assert len(errors) == 1, run.err
    assert errors[0].startswith("error: ")
    for part in parts:
        assert part in errors[0]
    assert run.code == 2
    assert run.out == ""
    assert not Path("out").exists()


def test_writes_images_overview_and_nothing_else(run: Runner, mask: Path, model: Path) -> None:
    done = run("--text", TEXT, "--mask", mask, "--count", 2, "--steps", 2, "--seed", 5, "--json")
    assert done.code == 0, done.err
    assert [image["seed"] for image in done.images] == [5, 6]
    summary = json.loads(done.out)["results"][0]
    assert sorted(map(str, Path("out").iterdir())) == sorted([*(i["image"] for i in done.images), summary["grid"]])
    assert "2 images of text, mask" in done.err
    assert summary["grid"] in done.err
    pipe = CollaborativePipeline.from_pretrained(model)
    conditions = {"text": TEXT, "mask": str(mask)}
    expected = pipe(conditions, num_inference_steps=2, guidance_scale=2.0, generator=generators(5, 2)).images
    for image, picture in zip(done.images, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(image["image"])), np.asarray(picture))


def test_metadata_tell_how_an_image_was_made(run: Runner, mask: Path) -> None:
    done = run(
        "--text",
        TEXT,
        "--mask",
        mask,
        *QUICK,
        "--scheduler",
        "euler",
        "--composition",
        "mean",
        "--guidance",
        3,
        "--json",
    )
    with Image.open(done.images[0]["image"]) as image:
        assert image.size == (32, 32)
        metadata = json.loads(image.info["codiff"])
    assert metadata["seed"] == 0
    assert metadata["conditions"]["text"]["given"] == TEXT
    assert metadata["conditions"]["mask"] == {"given": "My mask.png", "read_as": "mask of background, skin"}
    expected = {"model": "tiny", "steps": 2, "scheduler": "euler", "guidance": 3.0, "composition": "mean", "eta": 0.0}
    assert {key: metadata["settings"][key] for key in expected} == expected
    assert str(mask.parent) not in json.dumps(metadata)


def test_pictures_are_signed_unless_that_is_switched_off(run: Runner) -> None:
    signed = read_origin(run("--text", TEXT, "--count", 1, "--steps", 1, "--json").images[0]["image"])
    assert signed is not None
    assert signed.intact
    assert signed.record["conditions"]["text"]["given"] == TEXT
    assert read_origin(run("--text", "a young woman", *QUICK, "--json").images[0]["image"]) is None


def test_influences_and_intermediates_are_drawn_for_each_image(run: Runner, mask: Path) -> None:
    done = run("--text", TEXT, "--mask", mask, "--count", 2, "--steps", 2, "--influences", "--intermediates", "--json")
    assert done.code == 0, done.err
    for image in done.images:
        for kind in ("influences", "overlay", "intermediates"):
            metadata = read_metadata(Path(image[kind]))
            assert (metadata["figure"], metadata["seed"]) == (kind, image["seed"])
    assert len(list(Path("out").iterdir())) == 2 * 4 + 1


def test_one_modality_alone_is_enough_and_more_images_than_fit_at_once(run: Runner) -> None:
    done = run("--text", TEXT, "--count", 10, "--steps", 1, "--json")
    assert [image["seed"] for image in done.images] == [*range(10)]
    assert len({Path(image["image"]).read_bytes() for image in done.images}) == 10


def test_the_same_command_gives_the_same_files_and_others_keep_apart(run: Runner) -> None:
    first = run("--text", TEXT, *QUICK, "--json").images[0]["image"]
    before = Path(first).read_bytes()
    assert run("--text", TEXT, *QUICK, "--json").images[0]["image"] == first
    assert Path(first).read_bytes() == before
    assert run("--text", TEXT, *QUICK, "--guidance", 1, "--json").images[0]["image"] != first
    assert run("--text", "a young woman", *QUICK, "--json").images[0]["image"] != first


def test_files_of_others_are_never_overwritten(run: Runner) -> None:
    taken = Path(run("--text", TEXT, *QUICK, "--json").images[0]["image"])
    shutil.rmtree("out")
    Path("out").mkdir()
    taken.write_text("mine")
    done = run("--text", TEXT, *QUICK)
    assert done.code == 2
    assert done.err.startswith(f"error: {taken} exists")
    assert [path.read_text() for path in Path("out").iterdir()] == ["mine"]


@pytest.mark.parametrize(
    "text", ["../../../etc/passwd", "/root/x", "a" * 5000, "...", "黒い髪 man", "con", "-- beard; rm -rf *"]
)
def test_hostile_words_never_become_folders(run: Runner, text: str, tmp_path: Path) -> None:
    done = run("--text", f" {text}", *QUICK, "--json")
    assert done.code == 0, done.err
    out = (tmp_path / "out").resolve()
    assert all(path.parent == out and path.is_file() and len(path.name) < 90 for path in out.rglob("*"))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_slugs_end_at_words() -> None:
    assert slug("This man has a Long beard. He is in his sixties.") == "this-man-has-a-long-beard-he-is-in-his"
    assert slug("Déjà vu: naïve?") == "deja-vu-naive"
    assert slug("a" * 100) == "a" * 40
    assert slug("../..") == ""


@pytest.mark.parametrize("name", SCHEDULERS)
def test_schedulers_by_name(run: Runner, name: str) -> None:
    done = run("--text", TEXT, *QUICK, "--scheduler", name, "--json")
    assert done.code == 0, done.err
    assert read_metadata(Path(done.images[0]["image"]))["settings"]["scheduler"] == name


def test_schedulers_keep_the_noise_schedule_and_never_clip_latents() -> None:
    own = new_pipeline().scheduler
    for name, kind in SCHEDULERS.items():
        config = scheduler_named(name, own).config
        assert config["beta_end"] == SCHEDULE["beta_end"]
        assert not config.get("clip_sample", False), kind
    assert scheduler_named(None, own) is own


def test_unknown_words_become_a_note(run: Runner) -> None:
    done = run("--text", "a man with a submarine", *QUICK, "--json")
    notes = [line for line in done.err.splitlines() if line.startswith("note: ")]
    assert len(notes) == 1
    assert "'submarine'" in notes[0]


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims this size and holds no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")
    )


def bad_masks(folder: Path) -> dict[str, tuple[Path, str]]:
    """Name -> a file that is no mask, and a part of the message."""
    labels = np.full((32, 32), 19, np.uint8)
    colours = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    near = np.array(MASK_PALETTE, np.uint8)[np.arange(1024).reshape(32, 32) % 19]
    near[0, 0] = near[0, 0] + 5
    files = {
        name: folder / f"{name}.png" for name in ("missing", "cut", "huge", "page", "index", "colours", "near", "wide")
    }
    Image.fromarray(labels).save(files["index"])
    Image.fromarray(colours).save(files["colours"])
    Image.fromarray(near).save(files["near"])
    Image.fromarray(np.zeros((32, 64), np.uint8)).save(files["wide"])
    files["cut"].write_bytes(files["colours"].read_bytes()[:400])
    files["huge"].write_bytes(png_header(10_000, 10_000))
    files["page"].write_text("<!doctype html><title>404</title>")
    messages = {
        "missing": "no such file",
        "cut": "cut short or damaged",
        "huge": "100 MP, limit 64 MP",
        "page": "HTML page",
    }
    messages |= {"index": "label 19", "colours": "another palette", "near": "--snap", "wide": "--letterbox"}
    return {name: (files[name], message) for name, message in messages.items()}


@pytest.mark.parametrize("name", ["missing", "cut", "huge", "page", "index", "colours", "near", "wide"])
def test_bad_masks_are_refused(run: Runner, tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    path, message = bad_masks(tmp_path_factory.mktemp("bad"))[name]
    refused(run("--text", TEXT, "--mask", path, *QUICK), "mask", message)


@pytest.mark.parametrize(("name", "option"), [("near", "--snap"), ("wide", "--letterbox")])
def test_what_can_be_adapted_is_adapted_on_request(
    run: Runner, tmp_path_factory: pytest.TempPathFactory, name: str, option: str
) -> None:
    path, _ = bad_masks(tmp_path_factory.mktemp("bad"))[name]
    done = run("--mask", path, option, *QUICK)
    assert done.code == 0, done.err


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ((), ("no condition", "text, mask, sketch")),
        (("--palette", "red"), ("--palette", "--text, --mask, --sketch")),
        (("--msk", "a.png"), ("--msk", "--mask")),
        (("--text", ""), ("empty", "leave the text out")),
        (("--text", TEXT, "--steps", "0"), ("steps", "1 or more")),
        (("--text", TEXT, "--steps", "1001"), ("steps", "1000")),
        (("--text", TEXT, "--steps", "two"), ("--steps",)),
        (("--text", TEXT, "--count", "0"), ("count", "1 to 64")),
        (("--text", TEXT, "--count", "65"), ("count", "--batch")),
        (("--text", TEXT, "--seed", "-1"), ("seed",)),
        (("--text", TEXT, "--seed", str(2**63)), ("seed",)),
        (("--text", TEXT, "--guidance", "nan"), ("guidance",)),
        (("--text", TEXT, "--eta", "2"), ("eta",)),
        (("--text", TEXT, "--eta", "0.5", "--scheduler", "euler"), ("euler", "eta")),
        (("--text", TEXT, "--scheduler", "dpm"), ("dpm++",)),
        (("--text", TEXT, "--composition", "median"), ("median", "mean")),
        (("--text", TEXT, "--device", "abacus"), ("abacus",)),
        (("--text",), ("--text",)),
        (("--batch", "absent.jsonl"), ("absent.jsonl",)),
        (("--text", TEXT, "extra"), ("extra",)),
    ],
)
def test_wrong_arguments_are_refused(run: Runner, arguments: tuple[str, ...], parts: tuple[str, ...]) -> None:
    refused(run(*arguments), *parts)


def test_outputs_that_cannot_be_written_are_refused_before_the_model_is_loaded(run: Runner, tmp_path: Path) -> None:
    Path("file").write_text("")
    for target in ("file", "file/below", "file/far/below"):
        refused(run("--text", TEXT, "--out", target), str(tmp_path / "file"), "not a folder")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_folders_without_permission_are_refused(run: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "access", lambda path, _mode: Path(path) != tmp_path)  # root may write everywhere
    refused(run("--text", TEXT), "no permission", str(tmp_path))


def broken(model: Path, folder: Path, name: str) -> Path:
    """A copy of a model with one thing wrong."""
    copy = shutil.copytree(model, folder / name)
    weights = next((copy / "collaborators" / "text").glob("*.safetensors"))
    index = copy / "model_index.json"
    if name == "foreign":
        index.write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    elif name == "no index":
        index.unlink()
    elif name == "broken index":
        index.write_text("{")
    elif name == "no modalities":
        (copy / "collaborators" / "config.json").write_text("{}")
    elif name == "no weights":
        weights.unlink()
    else:
        weights.write_bytes(weights.read_bytes()[:-9] + b"\0" * 9)
    return copy


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("foreign", "StableDiffusionPipeline"),
        ("no index", "no model_index.json"),
        ("broken index", "is broken"),
        ("no modalities", "missing or broken"),
        ("no weights", "is missing"),
        ("flipped bytes", "damaged"),
    ],
)
def test_broken_and_foreign_models_are_refused(
    run: Runner, model: Path, tmp_path_factory: pytest.TempPathFactory, name: str, part: str
) -> None:
    refused(run("--text", TEXT, model=broken(model, tmp_path_factory.mktemp("broken"), name)), part)


def test_models_that_do_not_exist_are_refused(run: Runner) -> None:
    refused(run("--text", TEXT, model=Path("nowhere")), "no model folder", "nowhere")


def test_several_modalities_without_dynamic_diffusers_need_another_rule(
    run: Runner, mask: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("models") / "plain"
    new_pipeline(dynamic=False).save_pretrained(folder)
    refused(run("--text", TEXT, "--mask", mask, model=folder), "dynamic diffusers", "--composition mean")
    assert run("--text", TEXT, "--mask", mask, *QUICK, "--composition", "mean", model=folder).code == 0
    assert run("--text", TEXT, *QUICK, model=folder).code == 0


def test_the_model_decides_which_options_there_are(
    run: Runner, mask: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pipe = new_pipeline(["text"], dynamic=False)
    names = ("face-pose", "count")
    pipe.collaborators = Collaborators.of({name: collaborator(name, encoder_name="mask") for name in names})
    folder = tmp_path_factory.mktemp("models") / "other"
    pipe.save_pretrained(folder)
    assert condition_options(generate, names) == {"face-pose": "--face-pose", "count": "--condition-count"}
    asked = run("--help", model=folder)
    assert "--face-pose" in asked.out
    assert "--text" not in asked.out
    done = run("--face-pose", mask, "--condition-count", mask, *QUICK, "--composition", "mean", "--json", model=folder)
    assert done.code == 0, done.err
    assert [*json.loads(done.out)["results"][0]["conditions"]] == ["face-pose", "count"]
    refused_again = run("--text", TEXT, model=folder)
    assert (refused_again.code, "--face-pose" in refused_again.err) == (2, True)


def write_lines(*rows: object) -> Path:
    path = Path("lines.jsonl")
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def test_batches_skip_what_is_done(run: Runner, mask: Path) -> None:
    shutil.copy(mask, "m.png")
    path = write_lines(
        {"text": TEXT, "seed": 3, "name": "First one"},
        "",
        {"mask": "m.png"},
        {"text": "a young woman", "mask": "m.png"},
    )
    arguments = ("--batch", path, *QUICK, "--json")
    first = run(*arguments)
    assert first.code == 0, first.err
    rows = json.loads(first.out)["results"]
    assert [row["line"] for row in rows] == [1, 3, 4]
    assert [row["skipped"] for row in rows] == [False] * 3
    assert rows[0]["images"][0]["seed"] == 3
    assert Path(rows[0]["images"][0]["image"]).name.startswith("first-one-")
    lost = Path(rows[1]["images"][0]["image"])
    whole = lost.read_bytes()
    lost.write_bytes(whole[: len(whole) // 2])
    lost.unlink()
    kept = {file: file.stat().st_mtime_ns for file in Path("out").iterdir()}
    second = run(*arguments)
    assert [row["skipped"] for row in json.loads(second.out)["results"]] == [True, False, True]
    assert lost.read_bytes() == whole
    assert "2 of 3 lines are done already" in second.err
    changed = {file for file, changed_at in kept.items() if file.stat().st_mtime_ns != changed_at}
    assert changed == {Path(rows[1]["grid"])}
    third = run(*arguments, "--influences")
    assert [row["skipped"] for row in json.loads(third.out)["results"]] == [False] * 3


def test_notes_of_a_batch_name_their_lines(run: Runner) -> None:
    done = run(
        "--batch", write_lines({"text": TEXT}, {"text": "a submarine"}, {"text": "a submarine", "seed": 9}), *QUICK
    )
    notes = [line for line in done.err.splitlines() if line.startswith("note: ")]
    assert [note.split(":")[1] for note in notes] == [" line 2", " line 3"]


def test_batches_find_files_beside_them_and_take_the_rest_from_the_command(run: Runner, mask: Path) -> None:
    Path("sub").mkdir()
    shutil.copy(mask, "sub/m.png")
    path = write_lines({"mask": "m.png"}, {"mask": "m.png", "text": "a young woman"}).rename("sub/lines.jsonl")
    done = run("--batch", path, "--text", TEXT, "--seed", 8, *QUICK, "--json")
    assert done.code == 0, done.err
    rows = json.loads(done.out)["results"]
    assert [row["images"][0]["seed"] for row in rows] == [8, 8]
    assert [row["conditions"]["text"] for row in rows] == ["a man has a long beard", "a young woman"]


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("{", ("line 2", "not JSON")),
        ([1], ("line 2", "object")),
        ({"txt": "a"}, ("line 2", "'txt'", "'text'")),
        ({"text": 3}, ("line 2", "text")),
        ({"text": ""}, ("line 2", "empty")),
        ({"seed": 1}, ("line 2", "no condition")),
        ({"text": "a", "seed": -1}, ("line 2", "seed")),
        ({"text": "a", "seed": "1"}, ("line 2", "seed")),
        ({"text": "a", "name": 7}, ("line 2", "name")),
        ({"mask": "absent.png"}, ("line 2", "absent.png")),
        ("\ufffe\udcff", ("line 2",)),
    ],
)
def test_a_wrong_line_stops_a_batch_before_it_begins(run: Runner, line: object, parts: tuple[str, ...]) -> None:
    if isinstance(line, str) and "\udcff" in line:
        Path("lines.jsonl").write_bytes(b'{"text": "a"}\n\xff\xfe\n')
        refused(run("--batch", "lines.jsonl", *QUICK), "UTF-8")
        return
    refused(run("--batch", write_lines({"text": TEXT}, line), *QUICK), *parts)


def test_an_empty_batch_is_refused(run: Runner) -> None:
    refused(run("--batch", write_lines("", ""), *QUICK), "holds no line")


def whole_pictures(folder: Path) -> bool:
    """Whether a folder holds nothing but pictures that can be read to their ends."""
    for path in folder.iterdir():
        with Image.open(path) as picture:
            picture.load()
    return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_stop_a_batch_between_whole_files(run: Runner, number: signal.Signals, tmp_path: Path) -> None:
    path = write_lines(*({"text": TEXT, "seed": seed} for seed in range(500)))

    def stop() -> None:
        while not list(tmp_path.glob("out/*grid.png")):
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    waiting = threading.Thread(target=stop)
    waiting.start()
    stopped = run("--batch", path, *QUICK)
    waiting.join()
    assert stopped.code == 130
    assert "interrupted" in stopped.err.splitlines()[-1]
    assert whole_pictures(Path("out"))
    assert 2 <= len(list(Path("out").iterdir())) < 1000


def test_an_interruption_while_a_file_is_written_leaves_no_half_file(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(path: Path, content: bytes) -> None:
        with path.open("wb") as file:
            file.write(content[:50])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    assert run("--text", TEXT, *QUICK).code == 130
    assert list(Path("out").iterdir()) == []


@pytest.fixture
def process(model: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The console command, at work on more steps than anybody waits for."""
    command = [sys.executable, "-c", "import sys; from codiff.main import main; sys.exit(main())", "generate"]
    options = ["--model", str(model), "--text", TEXT, "--count", "8", "--steps", "1000", "--influences"]
    started = subprocess.Popen([*command, *options], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    yield started
    started.kill()
    started.wait()
    assert started.stderr is not None
    started.stderr.close()


def test_the_command_itself_ends_with_130(process: subprocess.Popen[str], tmp_path: Path) -> None:
    assert process.stderr is not None
    assert "8 images" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert process.stderr.read() == "interrupted; what was written is whole, and the same command goes on\n"
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_foreseen_is_one_line_and_1(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: Any, **_kwargs: Any) -> None:
        raise RuntimeError("first\nsecond")

    monkeypatch.setattr(CollaborativePipeline, "__call__", fail)
    done = run("--text", TEXT, *QUICK)
    assert done.code == 1
    assert done.err.splitlines()[-1].startswith("error: RuntimeError: first second")
    assert "CODIFF_DEBUG=1" in done.err
    monkeypatch.setenv("CODIFF_DEBUG", "1")
    assert "Traceback" in run("--text", TEXT, *QUICK).err


def test_out_of_memory_says_what_to_lower(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: Any, **_kwargs: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(CollaborativePipeline, "__call__", fail)
    done = run("--text", TEXT, *QUICK)
    assert done.code == 1
    assert "lower --count" in done.err


@pytest.mark.parametrize(
    "arguments", [[], ["--help"], ["faces", "--help"], ["train", "--help"], ["assemble", "--help"]]
)
def test_help_fits_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "Usage: codiff" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_help_of_generate_fits_and_needs_no_model(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    known = run("--help")
    assert {"--text", "--mask", "--sketch", "--influences"} <= set(known.out.split())
    assert max(map(len, known.out.splitlines())) <= 80
    unknown = run("--help", model=Path("nowhere"))
    assert (unknown.code, "--text" in unknown.out) == (0, False)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("codiff 0.")
