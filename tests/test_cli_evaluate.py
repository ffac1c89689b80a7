import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil  # type: ignore[import-untyped]
import pytest
import torch
from accelerate import PartialState
from command_line import Command, command, refused
from models import new_pipeline
from PIL import Image

from codiff import AttributeClassifier, FaceParser
from codiff.data.face_attributes import AGES, BEARDS
from codiff.data.faces import ProceduralFaces
from codiff.recognition import BiSeNet

COUNT, SIZE = 8, 32


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Calls the command line in an empty folder: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    return command(capsys)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with its judges."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    new_pipeline(("mask", "sketch")).save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        FaceParser(channels=(8, 8, 8)).save_pretrained(folder / "face_parser")
        AttributeClassifier({"beard": BEARDS, "age": AGES}, (8, 8, 8)).save_pretrained(folder / "attribute_classifier")
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Pictures, masks and captions, equally named."""
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    captions = {}
    for number, face in enumerate(ProceduralFaces("validation", SIZE, limit=COUNT)):
        Image.fromarray(face.image).save(tmp_path / "images" / f"face-{number}.png")
        Image.fromarray(face.mask).save(tmp_path / "masks" / f"face-{number}.png")
        captions[f"face-{number}.png"] = face.caption
    (tmp_path / "captions.json").write_text(json.dumps(captions))
    return tmp_path


def test_a_model_is_measured(run: Command, model: Path, tmp_path: Path) -> None:
    options = ("--faces", COUNT, "--steps", 1, "--guidance", 1, "--tuning-faces", 1, "--losses", 0, "--batch", 8)
    arguments = ("evaluate", "--model", model, *options, "--methods", "mask-alone,mean", "--out", "report")
    code, said, told = run(*arguments)
    assert (code, said) == (0, "")
    assert "demo-3000 (first 8, 1 steps): 8 conditions, 1 steps, 2 methods" in told
    assert told.splitlines()[-1] == "wrote report/report.html, report.md and report.json beside it"
    found = json.loads((tmp_path / "report" / "report.json").read_text())
    assert list(found["results"]) == ["mask-alone", "mean"]
    assert set(found["memorisation"]) == {"mask-alone", "mean"}  # the lead is not among the methods
    assert len(list((tmp_path / "report" / "images" / "mean").iterdir())) == COUNT
    code, _, told = run(*arguments, "--dtype", "bfloat16")
    assert code == 2
    assert "error: report was made with other settings (dtype: float32 -> bfloat16)" in told


def test_two_processes_share_the_work_and_go_on(
    run: Command, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    scales = ("--guidance", "1,2", "--tuning-faces", "2", "--losses", "2", "--batch", "2")
    arguments = ("evaluate", "--model", str(model), "--faces", "16", "--steps", "4", *scales, "--methods", "mean")
    torchrun, codiff = (str(Path(sys.executable).with_name(name)) for name in ("torchrun", "codiff"))
    command = [torchrun, "--standalone", "--nproc_per_node", "2", codiff, *arguments, "--out", "both"]
    process = psutil.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    wait_for(lambda: next((tmp_path / "both").glob("work/pictures/*/*.safetensors"), None), process)
    for each in (process, *process.children(recursive=True)):
        each.kill()
    process.communicate()
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "both").glob("work/*/*/*.safetensors")}
    assert not (tmp_path / "both" / "report.json").exists()
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert said.stdout == ""
    assert said.stderr.count("wrote both/report.html") == 1  # by the first process alone
    assert {path: path.stat().st_mtime_ns for path in done} == done  # nothing is made twice
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert run(*arguments, "--out", "alone")[0] == 0
    finally:
        torch.set_num_threads(threads)
    both, alone = (json.loads((tmp_path / name / "report.json").read_text()) for name in ("both", "alone"))
    assert both == alone


def wait_for(found: Callable[[], object], process: psutil.Popen) -> None:
    """Until something is there, while the process is at work."""
    limit = time.monotonic() + 120
    while found() is None:
        assert process.poll() is None, process.communicate()[0].decode()
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_several_processes_choose_their_devices(run: Command, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PartialState(cpu=True), "num_processes", 2)
    refused(run("evaluate", "--model", model, "--device", "cuda"), "--device cuda: 2 processes take cpu each")


def test_pictures_of_other_software_are_measured(run: Command, model: Path, folders: Path) -> None:
    arguments = ("evaluate", "--model", model, "--images", "images", "--masks", "masks")
    code, said, told = run(*arguments, "--captions", "captions.json", "--reference", "images")
    assert (code, said) == (0, "")
    assert told.splitlines()[-1] == "wrote report/report.html"
    found = json.loads((folders / "report" / "report.json").read_text())
    assert set(found["results"]["images"]) == {"mask", "miou", "frechet", "kernel"}
    assert found["results"]["images"]["frechet"]["mean"] == pytest.approx(0, abs=1e-6)
    assert found["left_out"]["beard"] == "it needs an attribute classifier and labels (--labels)"
    assert found["left_out"]["CLIP score"] == "it needs a CLIP model (--clip) and captions (--captions)"
    text = (folders / "report" / "report.md").read_text()
    assert "Left out: CLIP score: it needs a CLIP model (--clip) and captions (--captions)." in text


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--protocol", "demo"), ("unknown protocol 'demo'", "demo-3000")),
        (("--faces", "3001"), ("demo-3000 has 3000 conditions; take 8 to 3000 of them",)),
        (("--methods", ","), ("no method is named; this model has mask-alone",)),
        (("--steps", "2000"), ("2000",)),
        (("--methods", "median"), ("unknown method 'median'", "mask-alone")),
        (("--methods", "additive"), ("'additive' cannot be measured", "use collaborative")),
        (("--dtype", "float16"), ("unknown dtype 'float16'; known: float32, bfloat16",)),
        (("--guidance", "two"), ("--guidance takes numbers, as 1,2,3 or 2, not 'two'",)),
        (("--guidance", "nan"), ("guidance scales must be finite",)),
        (("--tuning-faces", "0"), ("at least one case",)),
        (("--batch", "0"), ("--batch must be at least 1",)),
        (("--masks", "masks"), ("--masks belongs to --images",)),
        (("--model", "nowhere"), ("no model folder 'nowhere'",)),
        (("--protocol", "paper-50"), ("paper-50 needs --face-parser (79999_iter.pth), --inception, --clip",)),
    ],
)
def test_wrong_input_is_refused(
    run: Command, model: Path, tmp_path: Path, arguments: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    refused(run("evaluate", "--model", model, *arguments), *parts)
    assert not (tmp_path / "report").exists()


def test_a_model_without_judges_is_refused(run: Command, tmp_path: Path) -> None:
    new_pipeline(("mask", "sketch")).save_pretrained(tmp_path / "bare")
    refused(run("evaluate", "--model", "bare"), "bare has no face_parser and no attribute_classifier")


def test_wrong_pictures_are_refused(run: Command, model: Path, folders: Path) -> None:
    measure = ("evaluate", "--model", model, "--images", "images")
    (folders / "empty").mkdir()
    refused(run(*measure[:-1], "empty"), "empty holds no pictures")
    refused(run(*measure[:-1], "nowhere"), "there is no folder nowhere")
    refused(run(*measure, "--reference", "empty"), "empty holds no pictures")
    (folders / "masks" / "face-3.png").rename(folders / "masks" / "face-30.png")
    refused(run(*measure, "--masks", "masks"), "1 of 8 pictures have no mask of the same name (face-3)")
    Image.fromarray(np.full((SIZE, SIZE), 19, np.uint8)).save(folders / "masks" / "face-3.png")
    refused(run(*measure, "--masks", "masks"), "label 19 is not a class")
    (folders / "captions.json").write_text('{"face-0.png": "A man."}')
    refused(run(*measure, "--captions", "captions.json"), "7 of 8 pictures have no caption")
    (folders / "captions.json").write_text("[1]")
    refused(run(*measure, "--captions", "captions.json"), "captions.json holds no captions as they are expected")
    everyone = {f"face-{number}.png": {"beard": "none"} for number in range(COUNT)}
    (folders / "labels.json").write_text(json.dumps({**everyone, "face-5.png": {"beard": "blue"}}))
    refused(run(*measure, "--labels", "labels.json"), "beard 'blue' is unknown to the classifier")
    (folders / "labels.json").write_text(json.dumps({name: {"shoes": "none"} for name in everyone}))
    refused(run(*measure, "--labels", "labels.json"), "the classifier does not know 'shoes'")
    (folders / "labels.json").write_text('{"face-0.png": {"beard": 1}}')
    refused(run(*measure, "--labels", "labels.json"), "must have the classes of beard as words")
    (folders / "images" / "face-0.png").write_bytes(b"nothing")
    refused(run(*measure), "face-0.png", "not a readable image")
    assert not list((folders / "report").glob("report.*"))


@pytest.mark.parametrize(
    ("option", "value"), [("--methods", "mean"), ("--faces", "8"), ("--steps", "2"), ("--data", ".")]
)
def test_options_of_models_are_refused_with_pictures(
    run: Command, model: Path, folders: Path, option: str, value: str
) -> None:
    told = run("evaluate", "--model", model, "--images", folders / "images", option, value)
    refused(told, f"{option} belongs to a model that is measured")


def test_pictures_of_several_or_odd_sizes_are_refused(run: Command, model: Path, folders: Path) -> None:
    measure = ("evaluate", "--model", model, "--images", "images", "--batch", "4")
    picture = Image.open(folders / "images" / "face-7.png").resize((2 * SIZE, 2 * SIZE))
    (folders / "reference").mkdir()
    for number in range(COUNT):
        path = folders / "images" / f"face-{number}.png"
        (folders / "reference" / path.name).write_bytes(path.read_bytes())
    picture.save(folders / "reference" / "face-7.png")
    refused(run(*measure, "--reference", "reference"), "pictures", "one size")
    picture.save(folders / "images" / "face-7.png")
    refused(run(*measure), "face-7 and face-0 have 64 x 64, 32 x 32 pixels")
    for number in range(COUNT):
        Image.new("RGB", (33, 33)).save(folders / "images" / f"face-{number}.png")
    refused(run(*measure), "33 x 33 pixels", "multiples of 8")
    assert not list((folders / "report").glob("report.*"))


def test_a_parser_of_other_classes_is_refused(run: Command, model: Path, tmp_path: Path) -> None:
    FaceParser(classes=5, channels=(8, 8, 8)).save_pretrained(model / "face_parser")
    try:
        refused(run("evaluate", "--model", model), "the parser knows 5 classes, the masks have 19")
    finally:
        FaceParser(channels=(8, 8, 8)).save_pretrained(model / "face_parser")
    assert not (tmp_path / "report").exists()


def test_photographs_need_their_data(run: Command, model: Path, tmp_path: Path) -> None:
    torch.save(BiSeNet().state_dict(), tmp_path / "bisenet.pth")
    (tmp_path / "clip").mkdir()
    measure = ("evaluate", "--model", model, "--protocol", "paper-50", "--face-parser", "bisenet.pth")
    refused(run(*measure, "--inception", "inception.pth", "--clip", "./clip"), "clip is no CLIP model")
