import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from codiff import AttributeClassifier, CollaborativePipeline, FaceParser, InputError
from codiff.data.faces import ProceduralFaces
from codiff.main import main
from codiff.modalities import MaskModality, TextModality
from codiff.training.recipes import STAGES, stage_for
from codiff.training.settings import read_preset

UNET = """unet_config = { sample_size = 8, in_channels = 4, out_channels = %d, block_out_channels = [8, 16], \
down_block_types = ["CrossAttnDownBlock2D", "DownBlock2D"], up_block_types = ["UpBlock2D", "CrossAttnUpBlock2D"], \
layers_per_block = 1, cross_attention_dim = 8, attention_head_dim = 4, norm_num_groups = 4 }"""
LOOP = 'loop = { steps = 2, batch_size = 2, learning_rate = 1e-3, precision = "no", picture_every = 100 }'
PICTURE = "{ size = 32, features = 8, channels = 4, downsample = 8 }"
PRESET = f"""
[data]
size = 32
limit = 6
cache = "CACHE"

[schedule]
num_train_timesteps = 100
beta_schedule = "scaled_linear"
beta_start = 0.0015
beta_end = 0.0195
prediction_type = "v_prediction"
clip_sample = false

[face-parser]
channels = [8, 8]
{LOOP}

[attribute-classifier]
channels = [8, 8]
{LOOP}

[vae]
channels = [8, 8, 8]
latent_channels = 4
crop = 16
perceptual = {{ face_parser = "{{runs}}/face-parser/model" }}
{LOOP}

[collaborator.text]
encoder_config = {{ vocab_size = 64, max_tokens = 24, features = 8, layers = 1, heads = 2, head_dim = 4 }}
{UNET % 4}
{LOOP}

[collaborator.mask]
initial = "{{runs}}/collaborator-text/model"
spatial = 2
encoder_config = {PICTURE}
{UNET % 4}
{LOOP}

[dynamic-diffusers]
spatial = {{ mask = 2 }}
{UNET % 1}
{LOOP}
"""
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of schedulers
PLAN = [
    ("face-parser",),
    ("attribute-classifier",),
    ("vae",),
    ("collaborator", "text"),
    ("collaborator", "mask"),
    ("dynamic-diffusers",),
]

Command = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A preset of tiny models and six faces."""
    folder = tmp_path_factory.mktemp("preset")
    path = folder / "tiny.toml"
    path.write_text(PRESET.replace("CACHE", str(folder / "cache")))
    return path


@pytest.fixture(scope="module")
def runs(preset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All stages of that preset, trained for two steps each."""
    folder = tmp_path_factory.mktemp("runs")
    for stage, *modality in PLAN:
        chosen = ["--modality", *modality] if modality else []
        assert main(["train", stage, *chosen, "--preset", str(preset), "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str]:
        capsys.readouterr()
        return main([*map(str, arguments)]), capsys.readouterr().err

    return call


def refused(result: tuple[int, str], *parts: str) -> None:
    """One line that names these parts, exit code 2."""
    code, told = result
    assert code == 2
    assert told.startswith("error: ")
    assert told.count("\n") == 1, told
    for part in parts:
        assert part in told


def test_every_stage_leaves_its_model(runs: Path) -> None:
    for stage, *modality in PLAN:
        folder = runs / "-".join([stage, *modality])
        assert (folder / "model" / "config.json").is_file() or (folder / "model" / "text" / "config.json").is_file()
        assert (folder / "settings.json").is_file()


def test_the_vocabulary_comes_from_the_captions_of_the_training_split(runs: Path) -> None:
    words = json.loads((runs / "collaborator-text" / "model" / "tokenizer.json").read_text())["model"]["vocab"]
    assert {"beard", "is", "."} <= words.keys()
    assert len(words) <= 64


def test_fit_keeps_a_vocabulary_and_costs_other_modalities_nothing() -> None:
    text = TextModality(16, features=8)
    text.fit(["one two"])
    known = text.tokenizer
    text.fit(["three"])
    assert text.tokenizer is known

    def never() -> Iterator[object]:
        raise AssertionError("read for nothing")
        yield

    MaskModality().fit(never())


@pytest.mark.parametrize("half", [False, True])
def test_assembled_models_generate(run: Command, runs: Path, half: bool) -> None:
    code, told = run("assemble", runs, "model", *(["--half"] if half else []))
    assert code == 0, told
    assert "collaborator text" in told
    pipe = CollaborativePipeline.from_pretrained("model")
    assert pipe.modalities == ["text", "mask"]
    assert type(pipe.scheduler).__name__ == "DPMSolverMultistepScheduler"
    assert (pipe.scheduler.config.prediction_type, pipe.scheduler.config.num_train_timesteps) == ("v_prediction", 100)
    face = ProceduralFaces("train", 32)[0]
    conditions = {"text": face.caption, "mask": face.mask}
    assert len(pipe(conditions, num_inference_steps=2).images) == 1
    stored = load_file(next(Path("model/vae").glob("*.safetensors")))
    assert {str(value.dtype) for value in stored.values()} == {"torch.float16" if half else "torch.float32"}
    FaceParser.from_pretrained("model/face_parser")
    AttributeClassifier.from_pretrained("model/attribute_classifier")
    sums = json.loads(Path("model/checksums.json").read_text())
    assert {"face_parser", "attribute_classifier", "vae", "collaborators", "dynamic_diffusers"} == {
        name.split("/")[0] for name in sums
    }
    assert [path.name for path in Path().iterdir()] == ["model"]
    assert main(["generate", "--model", "model", "--text", face.caption, "--count", "1", "--steps", "2"]) == 0


def test_assembling_again_keeps_the_model_card(run: Command, runs: Path) -> None:
    assert run("assemble", runs, "model")[0] == 0
    Path("model/README.md").write_text("card")
    assert run("assemble", runs, "model", "--half")[0] == 0
    assert Path("model/README.md").read_text() == "card"


def test_assembling_never_replaces_something_else(run: Command, runs: Path) -> None:
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("")
    refused(run("assemble", runs, "mine"), "mine", "something else")
    refused(run("assemble", runs, "mine/thesis.txt"), "is a file")
    refused(run("assemble", runs, "mine/thesis.txt/below"), "not a folder")
    refused(run("assemble", "nowhere", "model"), "nowhere")
    assert [path.name for path in Path("mine").iterdir()] == ["thesis.txt"]


def test_parts_that_do_not_belong_together_are_refused(run: Command, runs: Path) -> None:
    refused(run("assemble", Path.cwd(), "model"), "no trained collaborator")
    shutil.copytree(runs, "other")
    record = Path("other/collaborator-mask/settings.json")
    settings = json.loads(record.read_text())
    record.write_text(json.dumps({**settings, "schedule": {**settings["schedule"], "beta_end": 0.5}}))
    refused(run("assemble", "other", "model"), "different noise schedules")
    shutil.rmtree("other/collaborator-mask")
    refused(run("assemble", "other", "model"), "dynamic diffusers", "text")
    shutil.rmtree("other/dynamic-diffusers")
    shutil.rmtree("other/face-parser")
    assert run("assemble", "other", "model")[0] == 0
    pipe = CollaborativePipeline.from_pretrained("model")
    assert (pipe.modalities, pipe.dynamic_diffusers) == (["text"], None)
    shutil.rmtree("other/vae")
    refused(run("assemble", "other", "second"), "vae", "train that stage first")


def test_the_same_command_finds_a_finished_training_done(run: Command, runs: Path, preset: Path) -> None:
    code, told = run("train", "face-parser", "--preset", preset, "--out", runs)
    assert (code, "trained: " in told) == (0, True)


def test_changed_settings_need_to_be_allowed(run: Command, runs: Path, preset: Path) -> None:
    shutil.copytree(runs / "face-parser", "runs/face-parser")
    command = ("train", "face-parser", "loop.steps=3", "--preset", preset, "--out", "runs")
    code, told = run(*command)
    assert code == 2
    assert "other settings" in told.splitlines()[-1]
    assert run(*command, "--allow-changes")[0] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_save_the_training_and_end_it_well(
    run: Command, preset: Path, tmp_path: Path, number: signal.Signals
) -> None:
    saved = tmp_path / "runs" / "face-parser" / "checkpoint" / "progress.json"
    many = ("loop.steps=100000", "loop.checkpoint_every=1")
    command = ("train", "face-parser", *many, "--preset", preset, "--out", "runs")

    def stop() -> None:
        while not saved.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    waiting = threading.Thread(target=stop)
    waiting.start()
    code, told = run(*command)
    waiting.join()
    assert code == 0
    assert "the same command goes on" in told.splitlines()[-1]
    assert saved.is_file()
    assert not (tmp_path / "runs" / "face-parser" / "model").exists()


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("decoder",), ("unknown stage", *STAGES)),
        (("vae", "--modality", "text"), ("--modality", "collaborator")),
        (("collaborator",), ("--modality", "text, mask")),
        (("collaborator", "--modality", "smell"), ("'smell'", "text, mask")),
        (("vae",), ("face-parser", "first")),
        (("collaborator", "--modality", "text"), ("vae", "first")),
        (("dynamic-diffusers",), ("vae", "first")),
        (("face-parser", "loop.steps"), ("name=value",)),
        (("face-parser", "loop.stps=3"), ("stps",)),
        (("face-parser", "loop.steps=0"), ("loop.steps",)),
        (("face-parser", "colour=red"), ("colour",)),
        (("face-parser", "--colour"), ("--colour",)),
        ((), ("STAGE",)),
    ],
)
def test_wrong_trainings_are_refused_and_nothing_is_written(
    run: Command, preset: Path, tmp_path: Path, arguments: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    refused(run("train", *arguments, "--preset", preset, "--out", "runs"), *parts)
    assert list(tmp_path.iterdir()) == []


def test_presets_that_do_not_exist_and_folders_that_cannot_be_written(run: Command, preset: Path) -> None:
    refused(run("train", "vae", "--preset", "demo-64"), "demo-64", "demo-128")
    Path("file").write_text("")
    refused(run("train", "face-parser", "--preset", preset, "--out", "file"), "not a folder")
    assert [path.name for path in Path().iterdir()] == ["file"]


def test_data_of_latent_stages_can_be_overridden(runs: Path, preset: Path) -> None:
    tables = read_preset(str(preset))
    stage = stage_for(tables, "collaborator", runs, "text", ["data.limit=3", "loop.steps=7"])
    assert (stage.examples, stage.loop.steps) == (3, 7)
    with pytest.raises(InputError, match="colour"):
        stage_for(tables, "collaborator", runs, "text", ["data.colour=1"])


def test_dynamic_diffusers_start_from_trained_ones(runs: Path, preset: Path) -> None:
    tables, home = read_preset(str(preset)), runs / "dynamic-diffusers" / "model"
    stage = stage_for(tables, "dynamic-diffusers", runs, None, [f"initial={home}", "loop.seed=5"])
    expected = load_file(next((home / "mask").glob("*.safetensors")))
    found = dict(stage.model.get_submodule("models.mask").state_dict())
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    with pytest.raises(InputError, match="initial: nowhere is missing"):
        stage_for(tables, "dynamic-diffusers", runs, None, ["initial=nowhere"])


def test_the_shipped_preset_fits_every_stage(tmp_path: Path) -> None:
    """Its tables are complete: what is missing is only what must be trained before."""
    tables = read_preset("demo-128")
    for modality in tables["collaborator"]:
        with pytest.raises(InputError, match="vae"):
            stage_for(tables, "collaborator", tmp_path, modality)
    for stage in ("vae", "dynamic-diffusers"):
        with pytest.raises(InputError, match="first"):
            stage_for(tables, stage, tmp_path)
