import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL

from codiff.errors import InputError
from codiff.training.collaborator import CollaboratorSettings
from codiff.training.data import DataSettings
from codiff.training.dynamic_diffusers import DynamicDiffusersSettings
from codiff.training.recipes import STAGES
from codiff.training.recognition import RecognitionSettings
from codiff.training.settings import LoopSettings, Settings, preset_names, read_preset, settings_from
from codiff.training.vae import VAESettings, build_vae

LOOP: dict[str, Any] = {"steps": 10, "batch_size": 2, "learning_rate": 1e-3}
FOLDER = ["data.folder=somewhere"]
KINDS: dict[str, type[Settings]] = {
    "face-parser": RecognitionSettings,
    "attribute-classifier": RecognitionSettings,
    "vae": VAESettings,
    "collaborator": CollaboratorSettings,
    "dynamic-diffusers": DynamicDiffusersSettings,
}


def complete(kind: type[Settings], preset: dict[str, Any], table: dict[str, Any]) -> dict[str, Any]:
    """A stage's table with what all stages of a preset share."""
    shared = [name for name in ("data", "schedule") if name in preset and name in kind.model_fields]
    return {**{name: preset[name] for name in shared}, **table}


@pytest.mark.parametrize("name", preset_names())
def test_presets_have_all_stages_and_only_settings_that_exist(name: str) -> None:
    assert KINDS.keys() == STAGES.keys()
    preset = read_preset(name)
    assert preset.keys() - {"data", "schedule", "published"} == STAGES.keys()
    for stage, kind in KINDS.items():
        tables = preset[stage].values() if stage == "collaborator" else [preset[stage]]
        for table in tables:
            settings = settings_from(kind, complete(kind, preset, table), FOLDER if "data" in kind.model_fields else [])
            assert isinstance(settings, kind)


@pytest.mark.parametrize("name", ["celebahq-256", "celebahq-512"])
def test_published_models_are_trained_as_they_are_converted(name: str) -> None:
    preset = read_preset(name)
    published, schedule = preset["published"], preset["schedule"]
    for modality, table in preset["collaborator"].items():
        settings = CollaboratorSettings(**table, schedule=schedule)
        described = published["collaborators"][modality]
        assert settings.encoder == described.get("encoder_name")
        assert (settings.modality, settings.spatial, settings.condition_dropout) == (described["modality"], 0, 0)
        assert (settings.encoder_config, settings.unet_config) == (
            described["encoder_config"],
            described["unet_config"],
        )
    dynamic = DynamicDiffusersSettings(**preset["dynamic-diffusers"], schedule=schedule)
    assert (dynamic.unet_config, dynamic.spatial) == (published["dynamic_diffuser"]["unet_config"], {})
    with torch.device("meta"):
        vae = build_vae(VAESettings(**preset["vae"], data=DataSettings(folder="faces", size=preset["data"]["size"])))
        expected = AutoencoderKL(**published["vae"])
    ours, theirs = (json.loads(model.to_json_string()) for model in (vae, expected))
    assert {key for key in ours if ours[key] != theirs[key]} == {"scaling_factor"}  # which a training measures
    assert schedule.items() <= published["scheduler"].items()


def test_real_presets_need_a_folder() -> None:
    preset = read_preset("celebahq-256")
    table = complete(VAESettings, preset, preset["vae"])
    with pytest.raises(
        InputError, match=r"wrong settings for VAESettings: data: .*CelebA-HQ: give the folder .*--data"
    ):
        settings_from(VAESettings, table)
    assert settings_from(VAESettings, table, FOLDER).data.folder == "somewhere"


def test_the_demo_has_three_modalities() -> None:
    preset = read_preset("demo-128")
    assert sorted(preset["collaborator"]) == ["mask", "sketch", "text"]
    assert all(table["modality"] == name for name, table in preset["collaborator"].items())


def test_presets_can_be_files(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[vae]\nname = "ä"\n', encoding="utf-8")
    assert read_preset(str(path)) == {"vae": {"name": "ä"}}


@pytest.mark.parametrize("name", ["demo", "", "../presets/demo-128", "demo-128/", "a\0b"])
def test_unknown_presets_name_the_known_ones(name: str) -> None:
    with pytest.raises(InputError, match=r"no preset .*; give one of .*demo-128.*\.toml file"):
        read_preset(name)


def test_files_that_are_no_presets(tmp_path: Path) -> None:
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "broken.toml").write_text("[vae\n")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    for name, told in (("folder", "Is a directory"), ("missing", "No such file"), ("broken", "not valid TOML")):
        with pytest.raises(InputError, match=told):
            read_preset(str(tmp_path / f"{name}.toml"))
    with pytest.raises(InputError, match="not valid TOML"):
        read_preset(str(tmp_path / "binary.toml"))


def test_overrides_reach_inner_tables_and_leave_the_preset_alone() -> None:
    table: dict[str, Any] = {"channels": [8, 16], "data": {"size": 64}, "loop": dict(LOOP)}
    overrides = ["loop.steps=7", " loop.precision = bf16 ", "loop.learning_rate=2e-4", "noise=.5", "channels=[16]"]
    settings = settings_from(RecognitionSettings, table, [*overrides, "data.limit=5", "data.cache=a=b", "loop.steps=8"])
    assert settings.loop == LoopSettings(steps=8, batch_size=2, learning_rate=2e-4, precision="bf16")
    assert settings.data == DataSettings(size=64, limit=5, cache="a=b")
    assert (settings.noise, settings.channels) == (0.5, (16,))
    assert table == {"channels": [8, 16], "data": {"size": 64}, "loop": LOOP}


def test_overrides_switch_off() -> None:
    assert settings_from(LoopSettings, {**LOOP, "ema_decay": 0.9}, ["ema_decay=none"]).ema_decay is None
    with pytest.raises(InputError, match="steps: Input should be a valid integer"):
        settings_from(LoopSettings, dict(LOOP), ["steps=none"])


def test_overrides_of_another_form_are_all_listed() -> None:
    wrong = ["loop.steps", "=3", "loop..steps=3", ".steps=3", "loop.=3", "lo op=3", ""]
    with pytest.raises(InputError) as refused:
        settings_from(LoopSettings, dict(LOOP), [*wrong, "steps=3"])
    assert all(repr(override) in str(refused.value) for override in wrong)
    assert "'steps=3'" not in str(refused.value)
    assert "like loop.steps=2000" in str(refused.value)


def test_a_value_has_nothing_below_it() -> None:
    with pytest.raises(InputError, match=r"'loop\.steps\.x=3': 'steps' is a value, not a table"):
        settings_from(RecognitionSettings, {"channels": [8], "data": {}, "loop": LOOP}, ["loop.steps.x=3"])


def test_all_that_is_wrong_is_listed() -> None:
    table = {"channels": [8], "chanels": 3, "loop": {**LOOP, "steps": 0, "batchsize": 1}, "data": {"size": "large"}}
    with pytest.raises(InputError) as refused:
        settings_from(RecognitionSettings, table, ["noise=-1", "loop.schedule=linear"])
    told = str(refused.value)
    assert told.startswith("wrong settings for RecognitionSettings: ")
    for name in ("chanels", "loop.steps", "loop.batchsize", "loop.schedule", "data.size", "noise"):
        assert f"{name}: " in told


@pytest.mark.parametrize(
    "override",
    [
        "steps=0", "steps=2.5", "batch_size=0", "accumulation=0", "learning_rate=0", "learning_rate=inf",
        "learning_rate=nan", "warmup_steps=-1", "weight_decay=-0.1", "betas=[0.9, 1.0]", "betas=[0.9]", "ema_decay=1",
        "max_grad_norm=0", "precision=fp8", "checkpoint_every=0", "picture_every=0", "log_every=0", "skip_limit=0",
        "seed=x",
    ],
)  # fmt: skip
def test_values_out_of_range(override: str) -> None:
    with pytest.raises(InputError, match=override.partition("=")[0]):
        settings_from(LoopSettings, dict(LOOP), [override])


VAE: dict[str, Any] = {"channels": [8, 16], "groups": 8, "crop": 32, "data": {"size": 64}, "loop": LOOP}


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("crop=128", "crop 128 is larger than the pictures, data.size 64"),
        ("crop=33", "crop and data.size must be divisible by 2"),
        ("groups=16", r"channels \[8, 16\] must be divisible by groups 16"),
        ("perceptual.vgg=x", r"perceptual\.vgg.*: Input should be 'face_parser', 'attribute_classifier' or 'vgg16'"),
        ("kl_weight=-1", "kl_weight: "),
    ],
)
def test_autoencoders_that_cannot_be(override: str, told: str) -> None:
    with pytest.raises(InputError, match=f"wrong settings for VAESettings: {told}"):
        settings_from(VAESettings, VAE, [override])


def test_settings_cannot_be_changed() -> None:
    settings = LoopSettings(**LOOP)
    with pytest.raises(ValueError, match="frozen"):
        settings.steps = 3
