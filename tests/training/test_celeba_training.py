"""Trainings on CelebA-HQ in files: every layout, every stage, and what is wrong with folders."""

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import models
import numpy as np
import pytest
import torch
from celeba import SIDE, face, of_paper, write_preprocessed, write_raw
from linear_stage import digest
from numpy.typing import NDArray
from safetensors.torch import load_file

from codiff.data.celeba_labels import FILE
from codiff.data.faces import ProceduralFaces
from codiff.data.shards import Preparation
from codiff.errors import InputError
from codiff.main import main
from codiff.modalities import MaskModality
from codiff.modalities.mask import flip_labels
from codiff.pixels import from_uint8
from codiff.training import prepared, recipes
from codiff.training.data import DataSettings, open_data
from codiff.training.face_data import IMAGE, UNKNOWN, FaceData
from codiff.training.loop import Interrupted, train
from codiff.training.prepared import PreparedConditions, PreparedLatents
from codiff.training.read_ahead import read_ahead
from codiff.training.recipes import stage_for
from codiff.training.recognition import AttributeClassifierStage
from codiff.training.stage import Stage

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of schedulers

NUMBERS = (*range(10), 5380, 5381)
TRAIN = 9  # faces with captions: the last two are for validation; 5380, which has none, comes before them
LOOP: dict[str, Any] = {"steps": 2, "batch_size": 2, "learning_rate": 1e-3, "log_every": 10**6}
PICTURE = {"size": 32, "features": models.FEATURES, "channels": 4, "downsample": 8}
CONDITIONS: dict[str, dict[str, Any]] = {"text": {**models.ENCODERS["text"], "vocab_size": 64}, "mask": PICTURE}
PRESET: dict[str, Any] = {
    "schedule": models.SCHEDULE,
    "face-parser": {"channels": [8, 8], "loop": LOOP},
    "attribute-classifier": {"channels": [8, 8], "loop": LOOP},
    "vae": {"channels": [8, 8, 8], "groups": 4, "crop": 16, "loop": LOOP},
    "collaborator": {
        modality: {"encoder_config": config, "unet_config": models.UNET, "loop": LOOP}
        for modality, config in CONDITIONS.items()
    },
    "dynamic-diffusers": {"unet_config": models.DYNAMIC_UNET, "loop": LOOP},
}
PLAN: list[tuple[str, str | None]] = [
    ("face-parser", None),
    ("attribute-classifier", None),
    ("vae", None),
    ("collaborator", "text"),
    ("collaborator", "mask"),
    ("dynamic-diffusers", None),
]


def labels_file(folder: Path, numbers: Sequence[int] = NUMBERS) -> Path:
    """CelebA-Dialog's label file of these images: beards of degree number % 6, ages of number % 5."""
    lines = [f"{number}.jpg\t0\t0\t{number % 6}\t0\t{number % 5}" for number in numbers if number != 5380]
    path = folder / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["image_name\tBangs\tEyeglasses\tNo_Beard\tSmiling\tYoung", *lines]) + "\n")
    return path


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_raw(tmp_path_factory.mktemp("raw"), NUMBERS)
    labels_file(root / "classification_label")
    return root


@pytest.fixture(scope="module")
def preprocessed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("preprocessed")
    return write_preprocessed(root, NUMBERS, "image/image_512_downsampled_from_hq_1024")


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, raw: Path) -> Path:
    folder = tmp_path_factory.mktemp("shards") / "prepared"
    Preparation(raw, size=32, shard_size=4).write(folder, processes=1)
    return folder


@pytest.fixture
def folder_of(raw: Path, preprocessed: Path, shards: Path) -> Callable[[str], Path]:
    return {"raw": raw, "preprocessed": preprocessed, "prepared": shards}.__getitem__


LAYOUTS = ("raw", "preprocessed", "prepared")


def settings(folder: Path, **changed: Any) -> DataSettings:
    return DataSettings(**{"folder": str(folder), "size": 32, "workers": 0, **changed})


def opened(folder: Path, modalities: Sequence[str] = ("text", "mask"), **changed: Any) -> FaceData:
    return open_data(settings(folder, **changed), "train", modalities)


# -- the data ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_sheets_are_those_of_the_examples(folder_of: Callable[[str], Path], layout: str) -> None:
    data = opened(folder_of(layout))
    assert len(data) == TRAIN
    images, masks = data.sheets([3, 0, 3], [IMAGE, "mask"])
    for row, image, mask in zip([3, 0, 3], images, masks, strict=True):
        assert np.array_equal(image, data[row].image)
        assert np.array_equal(mask, data[row].alternatives["mask"][0])
    assert images.shape == (3, 32, 32, 3)
    assert masks.shape == (3, 32, 32)
    assert [list(example.alternatives["text"]) for example in data][:3] == [[of_paper(row)] for row in range(3)]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_images_without_caption_are_there_where_nobody_reads_captions(
    folder_of: Callable[[str], Path], layout: str
) -> None:
    folder = folder_of(layout)
    with_text, without = opened(folder, ["text", "mask"]), opened(folder, ["mask"])
    names = [[example.name for example in data] for data in (with_text, without)]  # type: ignore[attr-defined]
    assert set(names[1]) - set(names[0]) == {"5380"}
    assert len(without) == len(opened(folder, [])) == TRAIN + 1


def test_fingerprints_name_contents_and_not_places(raw: Path, shards: Path, tmp_path: Path) -> None:
    moved = [Path(shutil.copytree(folder, tmp_path / folder.name)) for folder in (raw, shards)]
    for before, after in zip((raw, shards), moved, strict=True):
        assert opened(after).fingerprint == opened(before).fingerprint == opened(before, workers=2).fingerprint
        others = [opened(before, limit=8), opened(before, ["mask"]), opened(before, flip=True)]
        assert len({opened(before).fingerprint, *(other.fingerprint for other in others)}) == 4
    captions = json.loads((moved[0] / "captions_hq.json").read_text())
    captions["2.jpg"]["attribute_wise_captions"]["Young"] = "Another age."
    (moved[0] / "captions_hq.json").write_text(json.dumps(captions))
    assert opened(moved[0]).fingerprint != opened(raw).fingerprint
    assert opened(moved[0], ["mask"]).fingerprint == opened(raw, ["mask"]).fingerprint
    shutil.copy(raw / "CelebA-HQ-img" / "1.jpg", moved[0] / "CelebA-HQ-img" / "7.jpg")
    assert opened(moved[0], ["mask"]).fingerprint != opened(raw, ["mask"]).fingerprint


@pytest.mark.parametrize("workers", [0, 2])
def test_flips_exchange_left_and_right(raw: Path, workers: int) -> None:
    plain, both = opened(raw, ["mask"]), opened(raw, ["mask"], flip=True, workers=workers)
    count = len(plain)
    assert len(both) == 2 * count
    rows = [5, count + 5]
    with both.reading([rows], [IMAGE, "mask"]):
        images, masks = both.sheets(rows, [IMAGE, "mask"])
    assert np.array_equal(images[0, :, ::-1], images[1])
    assert np.array_equal(flip_labels(masks[0]), masks[1])
    assert np.array_equal(both.labels().targets["beard"], np.tile(plain.labels().targets["beard"], 2))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_labels_by_image(folder_of: Callable[[str], Path], raw: Path, layout: str) -> None:
    data = opened(folder_of(layout), [], labels=str(raw / "classification_label" / FILE))
    labels = data.labels()
    names = [int(example.name) for example in data]  # type: ignore[attr-defined]
    expected = {"beard": 6, "age": 5}
    assert labels.targets.keys() == labels.classes.keys() == expected.keys()
    for attribute, count in expected.items():
        wanted = [UNKNOWN if name == 5380 else name % count for name in names]
        assert labels.targets[attribute].tolist() == wanted
        assert labels.classes[attribute] == ("0", "1", "2", "3", "4", "5")


def test_only_labelled_faces_are_classified(raw: Path) -> None:
    data = {"folder": str(raw), "size": 32, "workers": 0}
    stage = AttributeClassifierStage(
        recipes.settings_from(recipes.RecognitionSettings, {**PRESET["attribute-classifier"], "data": data, "noise": 0})
    )
    assert stage.examples == TRAIN
    faces = opened(raw, [])
    names = [int(example.name) for example in faces]  # type: ignore[attr-defined]
    stage.settings = stage.settings.model_copy(update={"shift": 0})
    images, targets = stage.batch(torch.arange(TRAIN), torch.Generator().manual_seed(0))
    labelled = [row for row, name in enumerate(names) if name != 5380]
    assert torch.equal(images, from_uint8(np.stack([faces[row].image for row in labelled])))
    assert targets["beard"].tolist() == [names[row] % 6 for row in labelled]


# -- reading ahead -----------------------------------------------------------------------------------------------------


def squares(rows: Sequence[int]) -> list[int]:
    if 13 in rows:
        raise InputError("no thirteen")
    if 14 in rows:
        os.kill(os.getpid(), signal.SIGKILL)
    return [row**2 for row in rows]


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_what_is_read_ahead_comes_in_order(workers: int) -> None:
    state = torch.get_rng_state()
    plan = [range(number, number + 2) for number in range(0, 12, 2)]
    found: list[list[int]] = list(read_ahead(squares, plan, workers))
    assert found == [[row**2 for row in rows] for row in [0] for rows in plan]
    with pytest.raises(InputError, match=r"^no thirteen$"):
        list(read_ahead(squares, [[1], [13]], workers))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_reading_process_that_is_killed() -> None:
    with pytest.raises(InputError, match=r"ended from outside.*data.workers=1"):
        list(read_ahead(squares, [[14]], 2))


def test_what_is_asked_for_in_between_disturbs_nothing(shards: Path) -> None:
    data, plain = opened(shards, ["mask"], workers=2), opened(shards, ["mask"])
    plan = [[3, 1], [0, 5], [7, 7]]
    with data.reading(iter(plan), [IMAGE]):
        for rows in plan:
            for asked in (rows, [2], rows[::-1]):
                (found,), (expected,) = (each.sheets(asked, [IMAGE]) for each in (data, plain))
                assert np.array_equal(found, expected)


# -- all stages --------------------------------------------------------------------------------------------------------


TRAINED: dict[str, tuple[list[tuple[str, str | None]], list[int]]] = {
    "raw": (PLAN, [TRAIN, TRAIN, TRAIN, TRAIN + 1]),
    "preprocessed": ([PLAN[2], PLAN[4]], [TRAIN + 1]),
    "prepared": ([PLAN[2], PLAN[3]], [TRAIN]),
}
"""Stages by layout, and how many conditions each of those that read any keeps."""


@pytest.mark.parametrize("layout", LAYOUTS)
def test_stages_train(folder_of: Callable[[str], Path], tmp_path: Path, layout: str) -> None:
    plan, lengths = TRAINED[layout]
    cache = tmp_path / "cache"
    overrides = [f"data.{name}={value}" for name, value in
                 {"folder": folder_of(layout), "size": 32, "cache": cache, "workers": 1}.items()]  # fmt: skip
    for name, modality in plan:
        stage = stage_for(PRESET, name, tmp_path, modality, overrides)
        stage.picture = lambda: None  # type: ignore[method-assign]
        assert stage.examples == TRAIN + (name in ("face-parser", "vae") or modality == "mask")
        model = train(stage, recipes.folder_of(tmp_path, name, modality))
        assert any(model.rglob("*.safetensors"))
    assert len(list(cache.glob("latents-*.safetensors"))) == len(set(lengths))  # with and without image 5380
    conditions = [np.load(path, mmap_mode="r") for path in cache.glob("conditions-*.npy")]
    assert sorted(len(each) for each in conditions) == lengths


def test_a_training_on_files_resumes_exactly(raw: Path, shards: Path, tmp_path: Path) -> None:
    def stage(folder: Path, workers: int, stop: int | None = None) -> Stage:
        loop = [f"loop.steps={4}", "loop.accumulation=2"]
        data = [f"data.{name}={value}" for name, value in {"folder": folder, "size": 32, "workers": workers}.items()]
        made = stage_for(PRESET, "face-parser", tmp_path, None, [*loop, *data, "data.flip=true"])
        made.picture = lambda: None  # type: ignore[method-assign]
        original, calls = made.batch, 0

        def batch(indices: torch.Tensor, generator: torch.Generator) -> Any:
            nonlocal calls
            calls += 1
            if calls == stop:
                os.kill(os.getpid(), signal.SIGTERM)
            return original(indices, generator)

        made.batch = batch  # type: ignore[method-assign]
        return made

    for folder in (raw, shards):
        straight, stopped = tmp_path / f"{folder.name}-straight", tmp_path / f"{folder.name}-stopped"
        train(stage(folder, 0), straight)
        with pytest.raises(Interrupted):
            train(stage(folder, 2, stop=3), stopped)
        moved = Path(shutil.copytree(folder, tmp_path / f"{folder.name}-moved"))
        train(stage(moved, 1), stopped)
        assert digest(straight) == digest(stopped)
    with pytest.raises(InputError, match=r"other settings .*data and frozen models: celeba-hq-.*prepared-"):
        train(stage(shards, 0), tmp_path / f"{raw.name}-stopped")


def test_the_command_line_takes_a_folder(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my data").symlink_to(raw)
    Path("tiny.toml").write_text('[vae]\nchannels = [8, 8]\ngroups = 4\ncrop = 16\nloop = { steps = 1, batch_size = 1, '
                                 "learning_rate = 1e-3 }\ndata = { size = 32, workers = 0 }\n")  # fmt: skip
    command = ["train", "vae", "--preset", "tiny.toml", "--out", "runs", "--data"]
    assert main([*command, "my data"]) == 0
    assert "1 steps of 1 of 10 examples" in capsys.readouterr().err
    assert json.loads(Path("runs/vae/settings.json").read_text())["data"]["folder"] == "my data"
    assert main([*command, "nowhere"]) == 2
    assert "there is no folder nowhere; give the one that holds CelebA-HQ" in capsys.readouterr().err
    assert main(["train", "vae", "--preset", "celebahq-256", "--out", "others"]) == 2
    assert "give the folder it lies in (--data DIR)" in capsys.readouterr().err
    assert not Path("others").exists()


# -- what is wrong -----------------------------------------------------------------------------------------------------


def test_folders_and_settings_that_do_not_fit(raw: Path, shards: Path, tmp_path: Path) -> None:
    bare = write_raw(tmp_path / "bare", range(4))
    (bare / "captions_hq.json").unlink()
    (tmp_path / "empty").mkdir()
    refused: list[tuple[Callable[[], object], str]] = [
        (lambda: opened(tmp_path / "nowhere"), "there is no folder .*nowhere"),
        (lambda: opened(tmp_path / "empty"), "no CelebA-HQ images in .*empty; expected: the raw download"),
        (lambda: opened(bare, ["text"]), "no text beside .*captions_hq.json of CelebA-Dialog"),
        (lambda: opened(bare, ["smell"]), "unknown modality 'smell'"),
        (lambda: opened(shards, size=64), "prepared at 32 pixels, but data.size is 64: .*--size 64, or .*size=32"),
        (lambda: opened(shards, attributes=("smiling",)), "captions in .* tell of beard, age, but data.attributes"),
        (lambda: opened(shards, draw_sketches=True), "data.draw_sketches was decided when .* was prepared"),
        (lambda: opened(shards, [], attributes=("age",)).labels(), "no labels of age with .*combined_annotation"),
        (lambda: opened(raw, [], labels=str(labels_file(tmp_path, [70, 71]))).labels(), "of none of the 10 images"),
        (lambda: DataSettings(kind="celeba-hq"), "give the folder it lies in"),
        (lambda: DataSettings(kind="procedural", folder="x"), "procedural faces lie in no folder"),
        (lambda: DataSettings(flip=True), "flip is for CelebA-HQ"),
    ]  # fmt: skip
    for call, told in refused:
        with pytest.raises(ValueError, match=told):
            call()
    assert len(opened(bare, ["mask"])) == 3


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_picture_stops_a_training_with_its_name(raw: Path, tmp_path: Path, workers: int) -> None:
    folder = Path(shutil.copytree(raw, tmp_path / "raw"))
    data = opened(folder, ["mask"], workers=workers)
    (folder / "CelebA-HQ-img" / "3.jpg").write_bytes(b"no picture")
    row = [example.name for example in data].index("3")  # type: ignore[attr-defined]
    with data.reading([[row]], [IMAGE]), pytest.raises(InputError, match=r"3\.jpg"):
        data.sheets([row], [IMAGE])


# -- prepared ----------------------------------------------------------------------------------------------------------


def refuse(*_: Any) -> Iterator[NDArray[Any]]:
    raise AssertionError("read again")


def test_conditions_of_files_are_read_once(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, encoder = opened(raw, ["mask"]), MaskModality(size=32, features=8, channels=4)
    first = PreparedConditions(encoder, "mask", data, tmp_path)
    expected = np.stack([data[row].alternatives["mask"][0] for row in range(len(data))])
    assert np.array_equal(first.values[:, 0].numpy(), expected)
    assert (first.values.dtype, first.draw(torch.arange(2), torch.Generator()).dtype) == (torch.uint8, torch.int64)
    (file,) = tmp_path.glob("*.npy")
    with monkeypatch.context() as patched:
        patched.setattr(prepared, "_read", refuse)
        assert torch.equal(PreparedConditions(encoder, "mask", data, tmp_path).values, first.values)
        with pytest.raises(AssertionError, match="read again"):
            PreparedConditions(MaskModality(size=16, features=8, channels=4), "mask", data, tmp_path)
    file.write_bytes(file.read_bytes()[:-9])
    again = PreparedConditions(encoder, "mask", data, tmp_path)
    assert np.array_equal(again.values[:, 0].numpy(), expected)


class Late(MaskModality):
    """Reads a number that needs more than a byte of one face alone."""

    def read(self, raw: Any) -> torch.Tensor:
        labels = super().read(raw)
        return labels + 300 * int(torch.equal(labels, super().read(face(8).mask)))


def test_later_conditions_may_need_wider_numbers(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared, "_AT_ONCE", 2)
    data, encoder = opened(raw, ["mask"], size=SIDE), Late(size=32, features=8, channels=4)
    held = PreparedConditions(encoder, "mask", data, tmp_path).values
    assert held.dtype == torch.int32
    assert [int(row.max()) > 255 for row in held].count(True) == 1
    expected = [encoder.read(example.alternatives["mask"][0])[0] for example in data]
    assert torch.equal(held[:, 0].long(), torch.stack(expected))


def test_latents_of_files_are_named_after_all_of_them(raw: Path, tmp_path: Path) -> None:
    vae = models.autoencoder()
    first = PreparedLatents(vae, opened(raw, ["mask"]), tmp_path)
    (file,) = tmp_path.glob("*.safetensors")
    assert len(load_file(file)["mean"]) == TRAIN + 1
    assert PreparedLatents(vae, opened(raw, ["mask"], workers=2), tmp_path).fingerprint == first.fingerprint
    assert PreparedLatents(vae, opened(raw, ["mask"], flip=True), None).fingerprint != first.fingerprint


# -- procedural faces, as ever -----------------------------------------------------------------------------------------


def test_procedural_faces_are_read_as_ever(tmp_path: Path) -> None:
    """Random numbers and names of the demo's data: what was trained before resumes, and comes out the same."""
    data = {"size": 32, "limit": 12, "cache": str(tmp_path)}
    rows = torch.tensor([3, 7, 1, 3])
    made = [
        stage_for({**PRESET, "data": data}, name, tmp_path) for name in ("vae", "face-parser", "attribute-classifier")
    ]
    crops, (images, masks), (pictures, _) = (stage.batch(rows, torch.Generator().manual_seed(5)) for stage in made)
    faces = ProceduralFaces("train", 32, limit=12)
    assert {stage.fingerprint for stage in made} == {faces.fingerprint}
    drawn = from_uint8(np.stack([faces[int(row)].image for row in rows]))

    generator = torch.Generator().manual_seed(5)
    corners = torch.randint(0, 32 - 16 + 1, (4, 2), generator=generator).tolist()
    expected = [face[:, y : y + 16, x : x + 16] for face, (y, x) in zip(drawn, corners, strict=True)]
    assert torch.equal(crops, torch.stack(expected))

    generator = torch.Generator().manual_seed(5)
    y, x = (int(torch.randint(0, 9, (), generator=generator)) for _ in range(2))
    strength = 0.08 * torch.rand(4, 1, 1, 1, generator=generator)
    strength *= torch.rand(4, 1, 1, 1, generator=generator) < 0.5
    noise = torch.randn(4, 3, 32, 32, generator=generator)
    widened = torch.nn.functional.pad(drawn, (4, 4, 4, 4), mode="replicate")
    torch.testing.assert_close(images, widened[..., y : y + 32, x : x + 32] + strength * noise)
    assert torch.equal(images, pictures)
    labels = np.stack([np.pad(faces[int(row)].mask, 4, mode="edge") for row in rows])
    assert np.array_equal(masks.numpy(), labels[:, y : y + 32, x : x + 32])
