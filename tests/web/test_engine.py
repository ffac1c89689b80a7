"""What visitors ask for: checked, drawn, written, compared; all at once, and never mixed up."""

from __future__ import annotations

import base64
import copy
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler
from engines import STEPS, conditions, engine, lines, request, result_of, until
from models import CAPTIONS, PIXELS, SCHEDULE, new_dynamic_diffusers, new_pipeline, raw_conditions, shared_pipeline
from PIL import Image

from codiff import FaceParser, InfluenceBias, generators
from codiff.cli.schedulers import scheduler_named
from codiff.cli.steering import read_steering, recorded
from codiff.credentials import can_sign, read_origin
from codiff.main import main
from codiff.modalities.mask import colour
from codiff.png_metadata import read_metadata
from codiff.web.engine import Engine, Request, Result
from codiff.web.faces import procedural_face
from codiff.web.field_error import RUN, FieldError
from codiff.web.limits import Limits
from codiff.web.parts import stored_figures
from codiff.web.runs import Done, Step
from codiff.web.storage import SessionFolder, Storage

# diffusers makes numpy arrays of tensors in a way that numpy 2 will give up
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """The same numbers in every thread, whatever else runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def ours() -> Iterator[Engine]:
    with closing(engine(Limits(painter_side=64))) as opened:
        yield opened


@pytest.fixture(scope="module")
def parsing() -> Iterator[Engine]:
    with closing(engine()) as opened:
        opened.parser = FaceParser().eval()
        yield opened


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as a folder."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    shared_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture
def storage() -> Iterator[Storage]:
    opened = Storage()
    yield opened
    opened.close()


@pytest.fixture
def folder(storage: Storage) -> SessionFolder:
    return storage.session("abc")


def drawn(ours: Engine, folder: SessionFolder, wanted: Request) -> Result:
    return result_of(ours.draw(ours.check(wanted), folder))


def pixels(result: Result) -> list[bytes]:
    return [image.tobytes() for image in result.images]


def png(picture: Image.Image) -> bytes:
    content = io.BytesIO()
    picture.save(content, format="PNG")
    return content.getvalue()


class TestCheck:
    def test_fills_in_what_is_left_open(self, ours: Engine) -> None:
        checked = ours.check(request())
        settings = checked.settings
        assert (settings.model, settings.steps, settings.scheduler) == ("tiny", STEPS, "ddim")
        assert (settings.guidance, settings.composition, settings.eta) == (2.0, "collaborative", 0.0)
        assert (checked.request.scheduler, checked.request.guidance) == ("ddim", 2.0)
        assert checked.described["text"] == CAPTIONS[0]
        assert checked.inputs["mask"].shape == (1, PIXELS, PIXELS)
        assert checked.notes == ()

    def test_conditions_come_in_the_models_order(self, ours: Engine) -> None:
        given = dict(reversed(conditions().items()))
        assert list(ours.check(request(conditions=given)).request.conditions) == ours.pipe.modalities

    def test_numbers_as_json_and_sliders_send_them(self, ours: Engine) -> None:
        checked = ours.check(request(seed="9223372036854775800", count=2.0, steps=4.0, guidance=2))
        assert (checked.request.seed, checked.request.count) == (9223372036854775800, 2)
        assert (checked.settings.steps, checked.settings.guidance) == (4, 2.0)

    @pytest.mark.parametrize(
        ("changes", "field", "message"),
        [
            ({"seed": -1}, "seed", "from 0 to 9223372036854775806, not -1"),
            ({"seed": 2**63 - 1, "count": 2}, "seed", "from 0 to 9223372036854775805"),
            ({"seed": 1.5}, "seed", "whole number"),
            ({"seed": True}, "seed", "whole number"),
            ({"seed": None}, "seed", "whole number"),
            ({"seed": float("nan")}, "seed", "whole number"),
            ({"seed": 1e300}, "seed", "whole number"),
            ({"seed": "9" * 10_000}, "seed", "whole number"),
            ({"seed": "٣"}, "seed", "whole number"),
            ({"seed": [1]}, "seed", "whole number"),
            ({"count": 0}, "count", "from 1 to 8, not 0"),
            ({"count": 9}, "count", "from 1 to 8, not 9"),
            ({"count": float("inf")}, "count", "whole number"),
            ({"steps": 0}, "steps", "from 1 to 100, not 0"),
            ({"steps": 101}, "steps", "from 1 to 100, not 101"),
            ({"steps": "x" * 1000}, "steps", "whole number"),
            ({"guidance": -0.1}, "guidance", "from 0 to 20, not -0.1"),
            ({"guidance": 20.1}, "guidance", "from 0 to 20"),
            ({"guidance": float("nan")}, "guidance", "from 0 to 20"),
            ({"guidance": float("inf")}, "guidance", "from 0 to 20"),
            ({"guidance": "3"}, "guidance", "from 0 to 20"),
            ({"guidance": True}, "guidance", "from 0 to 20"),
            ({"scheduler": "plms"}, "scheduler", "unknown scheduler 'plms'; this model takes ddim, dpm++"),
            ({"scheduler": ["ddim"]}, "scheduler", "unknown scheduler"),
            ({"composition": "additive"}, "composition", "unknown composition 'additive'; this model takes collab"),
            ({"composition": 3}, "composition", "unknown composition"),
            ({"bias": InfluenceBias({"text": 1.0}), "conditions": conditions("mask")}, "bias", "without a condition"),
            ({"bias": InfluenceBias(curves={"text": lambda x: x})}, "bias", "is a function, which cannot be recorded"),
            ({"bias": InfluenceBias(maps={"text": np.ones((1, 2000))})}, "bias", "larger than 1024 pixels"),
            ({"bias": "strong"}, "bias", "an InfluenceBias is expected, not str"),
            ({"conditions": {}}, "conditions", "give at least one of text, mask, sketch"),
            ({"conditions": {"smell": "roses"}}, "conditions", "takes text, mask, sketch, not 'smell'"),
            ({"conditions": {"text": ""}}, "text", "write a caption"),
            ({"conditions": {"text": " \n\t"}}, "text", "write a caption"),
            ({"conditions": {"text": "a" * 2001}}, "text", "2,001 characters are too many; write at most 2,000"),
            ({"conditions": {"text": ["a", "b"]}}, "text", "words are expected, not list"),
            ({"conditions": {"text": None}}, "text", "words are expected"),
            ({"conditions": {"mask": np.full((8, 8), 77)}}, "mask", "label 77 is not a class"),
            ({"conditions": {"mask": np.zeros((8, 9), int)}}, "mask", 'the option "pad to a square"'),
            ({"conditions": {"mask": np.zeros((2, 8, 8), int)}}, "mask", "2 masks are given, one is expected"),
            ({"conditions": {"mask": np.zeros((5000, 5000), np.uint8)}}, "mask", "25.0 million pixels; at most 16.0"),
            ({"conditions": {"mask": b"not a picture"}}, "mask", "not a readable image; it looks like text"),
            ({"conditions": {"mask": b"\0" * (13 * 2**20)}}, "mask", "13.0 MiB are too many; send at most 12 MiB"),
            ({"conditions": {"sketch": Image.new("L", (8, 8), 255)}}, "sketch", "it is blank"),
            ({"conditions": {"sketch": lines().crop((0, 0, 31, 32))}}, "sketch", "a square is expected"),
            ({"conditions": {"sketch": Image.new("L", (5000, 5000))}}, "sketch", "25.0 million pixels; at most 16.0"),
            ({"conditions": {"sketch": np.zeros((8, 8))}}, "sketch", "uint8"),
            ({"conditions": {"sketch": 7}}, "sketch", "a picture is expected, not int"),
        ],
    )  # fmt: skip
    def test_each_wrong_input_is_told_beside_its_field(
        self, ours: Engine, changes: dict[str, Any], field: str, message: str
    ) -> None:
        with pytest.raises(FieldError) as caught:
            ours.check(request(**changes))
        assert caught.value.field == field
        assert message in str(caught.value)
        assert len(str(caught.value)) < 600

    @pytest.mark.parametrize("modality", ["mask", "sketch"])
    def test_no_path_is_ever_opened(self, ours: Engine, modality: str, tmp_path: Path) -> None:
        path = tmp_path / "secret.png"
        lines().save(path)
        for source in (str(path), path, f"file://{path}", [str(path)], {"path": str(path)}):
            with pytest.raises(FieldError, match="a picture is expected, not") as caught:
                ours.check(request(conditions={modality: source}))
            assert caught.value.field == modality

    def test_a_caption_that_is_a_path_is_words(self, ours: Engine, folder: SessionFolder, tmp_path: Path) -> None:
        (tmp_path / "passwords").write_text("secret")
        result = drawn(ours, folder, request(conditions={"text": str(tmp_path / "passwords")}))
        assert read_metadata(result.paths[0])["conditions"]["text"]["given"] == str(tmp_path / "passwords")

    def test_how_inputs_are_adapted_is_noted_for_the_visitor_alone(self, ours: Engine, folder: SessionFolder) -> None:
        checked = ours.check(request(conditions={"text": "a man with a zebra"}))
        assert checked.notes == ("text: the model never learned 'zebra'; it reads each as an unknown word",)
        assert result_of(ours.draw(checked, folder)).notes == checked.notes  # each once

    def test_notes_of_many_visitors_stay_apart(self, ours: Engine) -> None:
        words = [f"word{number}" for number in range(12)]
        with ThreadPoolExecutor(4) as pool:
            notes = list(pool.map(lambda word: ours.check(request(conditions={"text": word})).notes, words))
        assert all(word in told[0] and len(told) == 1 for word, told in zip(words, notes, strict=True))

    def test_masks_as_files_and_as_pictures(self, ours: Engine) -> None:
        labels = raw_conditions()["mask"]
        expected = ours.check(request(conditions={"mask": labels}))
        painted = Image.fromarray(colour(labels))
        for source in (
            painted,
            png(painted),
            np.asarray(painted),
            Image.fromarray(labels),
            png(Image.fromarray(labels)),
        ):
            checked = ours.check(request(conditions={"mask": source}))
            assert checked.digest == expected.digest
            assert np.array_equal(checked.request.conditions["mask"], labels)

    def test_large_conditions_are_reduced_and_it_is_told(self) -> None:
        with closing(engine(Limits(condition_side=64))) as ours:
            mask = np.repeat(np.repeat(raw_conditions()["mask"], 4, axis=0), 4, axis=1)
            drawing = lines().resize((128, 128), Image.Resampling.NEAREST)
            checked = ours.check(request(conditions={"mask": mask, "sketch": drawing}))
            assert checked.request.conditions["mask"].shape == (64, 64)
            assert checked.request.conditions["sketch"].size == (64, 64)
            assert checked.notes == ("mask: reduced from 128 to 64 pixels", "sketch: reduced from 128 to 64 pixels")
            small = ours.check(request(conditions={"mask": raw_conditions()["mask"]}))
            assert torch.equal(checked.inputs["mask"], small.inputs["mask"])

    def test_a_bias_that_says_nothing_is_none(self, ours: Engine) -> None:
        assert ours.check(request(bias=InfluenceBias(), conditions=conditions("text"))).request.bias is None

    def test_models_without_dynamic_diffusers_or_condition_dropout(self) -> None:
        pipe = new_pipeline(dynamic=False)
        pipe.register_to_config(condition_dropout=False)
        with closing(engine(pipe=pipe)) as ours:
            settings = ours.check(request()).settings
            assert (settings.composition, settings.guidance) == ("mean", 1.0)
            assert ours.choices.compositions == ("mean",)


class TestDraw:
    def test_events_files_and_pictures(self, ours: Engine, folder: SessionFolder) -> None:
        events = list(ours.draw(ours.check(request(count=2, seed=5)), folder))
        steps = [event for event in events if isinstance(event, Step)]
        assert steps[-1].index == steps[-1].of == STEPS
        previews = [step.preview for step in steps if step.preview is not None]
        assert previews
        assert all(preview.size == (2 * PIXELS, PIXELS) for preview in previews)
        assert isinstance(events[-1], Done)
        result = events[-1].result
        assert result.captions == ["seed 5", "seed 6"]
        assert [path.name[-10:] for path in result.paths] == ["-seed5.png", "-seed6.png"]
        assert all(
            path.is_relative_to(folder.path) for path in [*result.paths, result.record_path, result.archive_path]
        )
        assert result.influences is not None
        assert {modality: tuple(maps.shape) for modality, maps in result.influences.items()} == dict.fromkeys(
            ("text", "mask", "sketch"), (STEPS, 2, 1, 4, 4)
        )
        assert result.timesteps == [666.0, 333.0, 0.0]
        assert result.conflict is not None
        assert result.conflict.shape == (STEPS, 2, 4, 4)
        assert (result.conflict > 0).all()
        for path, image in zip(result.paths, result.images, strict=True):
            with Image.open(path) as stored:
                assert stored.format == "PNG"
                assert stored.convert("RGB").tobytes() == image.tobytes()

    def test_many_pictures_are_drawn_four_at_a_time(self, ours: Engine, folder: SessionFolder) -> None:
        events = list(ours.draw(ours.check(request(count=6, seed=5)), folder))
        steps = [event for event in events if isinstance(event, Step)]
        assert steps[-1].index == steps[-1].of == 2 * STEPS
        widths = [step.preview.width // PIXELS for step in steps if step.preview is not None]
        assert widths[0] == 4
        assert set(widths) <= {4, 6}  # the last two stand after the first four
        assert isinstance(events[-1], Done)
        result = events[-1].result
        pipe = shared_pipeline()
        expected = pipe(
            conditions(),
            num_inference_steps=STEPS,
            guidance_scale=result.checked.settings.guidance,
            generator=generators(5, 6),
            return_influences=True,
        )
        for picture, other in zip(result.images, expected.images, strict=True):
            assert abs(np.asarray(picture).astype(int) - np.asarray(other)).max() <= 1
        assert result.influences is not None
        for modality, maps in (expected.influences or {}).items():
            torch.testing.assert_close(result.influences[modality], maps, atol=1e-4, rtol=1e-3)
        assert result.conflict is not None
        assert result.conflict.shape == (STEPS, 6, 4, 4)
        assert result.timesteps == [666.0, 333.0, 0.0]

    def test_the_last_preview_is_the_picture(self, ours: Engine, folder: SessionFolder) -> None:
        events = list(ours.draw(ours.check(request(steps=1)), folder))
        preview = next(event.preview for event in events if isinstance(event, Step) and event.preview is not None)
        assert isinstance(events[-1], Done)
        difference = np.asarray(preview).astype(int) - np.asarray(events[-1].result.images[0])
        assert abs(difference).max() <= 1

    def test_pictures_are_the_pipelines(self, ours: Engine, folder: SessionFolder) -> None:
        pipe = shared_pipeline()
        other = copy.copy(pipe)
        other.register_modules(scheduler=scheduler_named("euler", pipe.scheduler))
        expected = other(conditions(), num_inference_steps=STEPS, guidance_scale=2.0, generator=generators(7, 2)).images
        result = drawn(ours, folder, request(seed=7, count=2, scheduler="euler", guidance=2.0))
        assert pixels(result) == [image.tobytes() for image in expected]

    @pytest.mark.parametrize("steering", [None, {"mask": {"strength": 2.0, "curve": [[0.0, 1.0], [1.0, 0.5]]}}])
    def test_pictures_and_metadata_are_those_of_the_command_line(
        self, saved: Path, tmp_path: Path, folder: SessionFolder, steering: dict[str, Any] | None
    ) -> None:
        bias = None if steering is None else InfluenceBias({"mask": 2.0}, curves={"mask": [(0, 1), (1, 0.5)]})
        with closing(Engine.load(str(saved), sign=False)) as ours:
            result = drawn(ours, folder, request(seed=3, count=2, bias=bias))
        with zipfile.ZipFile(result.archive_path) as archive:
            archive.extractall(tmp_path / "given")
        given = [f"--{name}={tmp_path / 'given' / name}.png" for name in ("mask", "sketch")]
        if steering is not None:
            (tmp_path / "steer.json").write_text(json.dumps(steering))
            given += ["--steer", str(tmp_path / "steer.json")]
        options = ["--model", str(saved), "--steps", str(STEPS), "--count", "2", "--seed", "3", "--no-credentials"]
        assert main(["generate", "--text", CAPTIONS[0], *given, *options, "--out", str(tmp_path / "out")]) == 0
        for path, image in zip(result.paths, result.images, strict=True):
            theirs = tmp_path / "out" / path.name
            carried = {"record": read_metadata(path)["record"]}
            assert read_metadata(theirs) | carried == read_metadata(path)
            with Image.open(theirs) as picture:
                assert picture.tobytes() == image.tobytes()

    def test_the_archive_holds_all_of_it(self, ours: Engine, folder: SessionFolder) -> None:
        result = drawn(ours, folder, request(count=2))
        with zipfile.ZipFile(result.archive_path) as archive:
            assert archive.testzip() is None
            names = [path.name for path in result.paths]
            assert archive.namelist() == [*names, "text.txt", "mask.png", "sketch.png", "settings.json"]
            assert archive.read("text.txt").decode() == CAPTIONS[0]
            assert archive.read(names[0]) == result.paths[0].read_bytes()
            assert json.loads(archive.read("settings.json")) == result.record
            with Image.open(io.BytesIO(archive.read("mask.png"))) as mask:
                assert np.array_equal(np.asarray(mask), raw_conditions()["mask"])

    def test_its_steering_is_what_the_command_line_reads(
        self, ours: Engine, folder: SessionFolder, tmp_path: Path
    ) -> None:
        plane = np.random.default_rng(0).choice(np.array([-2.5, 0, 2.5], np.float32), (16, 16))
        bias = InfluenceBias({"text": 0.5}, {"mask": plane, "text": plane.T}, {"mask": [(0.0, 2.0), (1.0, 0.5)]})
        result = drawn(ours, folder, request(bias=bias))
        with zipfile.ZipFile(result.archive_path) as archive:
            archive.extractall(tmp_path)
        read = read_steering(tmp_path / "steering.json", ours.pipe.modalities, 1000)
        assert recorded(read) == recorded(bias)

    def test_without_signing_it_is_told_once(
        self, saved: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("codiff.cli.outputs.can_sign", lambda: False)
        with closing(Engine.load(str(saved))) as ours:
            assert ours.signer is ours.edit_signer is None
        assert capsys.readouterr().err.count("carry no Content Credentials") == 1

    @pytest.mark.skipif(not can_sign(), reason="needs the packages of the extra `provenance`")
    def test_pictures_are_signed(self, saved: Path, folder: SessionFolder) -> None:
        with closing(Engine.load(str(saved))) as ours:
            result = drawn(ours, folder, request(conditions=conditions("text"), steps=1))
        origin = read_origin(result.paths[0])
        assert origin is not None
        assert origin.intact
        assert not origin.edited
        assert origin.record["settings"]["model"] == "tiny"

    @pytest.mark.skipif(not can_sign(), reason="needs the packages of the extra `provenance`")
    def test_so_are_those_of_a_comparison_as_the_page_shows_them(
        self, saved: Path, folder: SessionFolder, tmp_path: Path
    ) -> None:
        with closing(Engine.load(str(saved))) as ours:
            result = result_of(ours.compare(ours.check(request(conditions=conditions("text"), steps=1)), folder))
        (figure,) = stored_figures({"collaborative": result.paths[0]})
        (tmp_path / "saved.png").write_bytes(base64.b64decode(figure["src"].removeprefix("data:image/png;base64,")))
        origin = read_origin(tmp_path / "saved.png")
        assert origin is not None
        assert origin.intact
        assert (figure["caption"], figure["width"], figure["height"]) == ("collaborative", PIXELS, PIXELS)

    def test_steering_changes_pictures_and_influences(self, ours: Engine, folder: SessionFolder) -> None:
        plain = drawn(ours, folder, request())
        steered = drawn(ours, folder, request(bias=InfluenceBias({"mask": 5.0})))
        assert pixels(plain) != pixels(steered)
        assert plain.influences is not None
        assert steered.influences is not None
        assert (steered.influences["mask"] > plain.influences["mask"]).all()
        assert plain.paths[0].name != steered.paths[0].name

    def test_several_rules_from_the_same_noise(self, ours: Engine, folder: SessionFolder) -> None:
        checked = ours.check(request(count=2, seed=1))
        result = result_of(ours.draw(checked, folder, compositions=["mean", "collaborative", "mean"]))
        assert result.captions == [
            "mean, seed 1", "mean, seed 2", "collaborative, seed 1", "collaborative, seed 2"
        ]  # fmt: skip
        assert pixels(result)[2:] == pixels(result_of(ours.draw(checked, folder)))
        assert len({path.name for path in result.paths}) == 4
        with pytest.raises(FieldError, match="unknown composition 'best'"):
            ours.draw(checked, folder, compositions=["best"])

    def test_side_by_side(self, ours: Engine, folder: SessionFolder) -> None:
        checked = ours.check(request(count=3, seed=1, bias=InfluenceBias({"mask": 5.0})))
        events = list(ours.compare(checked, folder))
        assert isinstance(events[-1], Done)
        result = events[-1].result
        assert result.captions == [
            "collaborative", "mean", "text alone", "mask alone", "sketch alone"
        ]  # fmt: skip
        assert pixels(result)[0] == pixels(result_of(ours.draw(checked, folder)))[0]
        alone = drawn(ours, folder, request(seed=1, conditions=conditions("mask")))
        assert pixels(result)[3] == pixels(alone)[0]
        unsteered = drawn(ours, folder, request(seed=1, composition="mean"))
        assert pixels(result)[1] == pixels(unsteered)[0]
        assert [event for event in events if isinstance(event, Step)][-1].of == 5 * STEPS
        assert read_metadata(result.paths[3])["conditions"].keys() == {"mask"}
        ways = ["collaborative", "mean", "text-alone", "mask-alone", "sketch-alone"]
        assert [path.name[: -len("-01234567-seed1.png")] for path in result.paths] == ways
        assert result.influences is not None
        assert result.influences["text"].shape == (STEPS, 1, 1, 4, 4)
        one = result_of(ours.compare(ours.check(request(conditions=conditions("text"))), folder))
        assert (one.captions, one.conflict) == (["seed 0"], None)

    def test_side_by_side_is_the_picture_that_is_asked_for(self, ours: Engine, folder: SessionFolder) -> None:
        result = result_of(ours.compare(ours.check(request(count=3, seed=1)), folder, 2))
        assert pixels(result)[0] == pixels(drawn(ours, folder, request(seed=3)))[0]
        alone = drawn(ours, folder, request(seed=3, conditions=conditions("text")))
        assert pixels(result)[2] == pixels(alone)[0]
        assert {read_metadata(path)["seed"] for path in result.paths} == {3}
        assert (result.record["seed"], result.record["count"]) == (3, 1)

    def test_previews_show_the_finished_ways_too(
        self, ours: Engine, folder: SessionFolder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("codiff.web.previews._OFTEN", 0.0)
        monkeypatch.setattr("codiff.web.previews._SHARE", 1.0)
        events = list(ours.compare(ours.check(request()), folder))
        assert isinstance(events[-1], Done)
        last = [event.preview for event in events if isinstance(event, Step) and event.preview is not None][-1]
        assert last.size == (5 * PIXELS, PIXELS)
        for place, image in enumerate(pixels(events[-1].result)[:-1]):
            assert last.crop((place * PIXELS, 0, (place + 1) * PIXELS, PIXELS)).tobytes() == image

    def test_all_rules_that_a_model_learned_stand_side_by_side(self, folder: SessionFolder) -> None:
        pipe = new_pipeline()
        pipe.register_modules(dynamic_diffusers=new_dynamic_diffusers(activation="both"))
        with closing(engine(pipe=pipe)) as ours:
            result = result_of(ours.compare(ours.check(request()), folder))
            assert result.captions[:3] == ["additive", "collaborative", "mean"]
            averaged = result_of(ours.compare(ours.check(request(composition="mean")), folder))
            assert averaged.captions[:3] == ["mean", "additive", "collaborative"]
            assert pixels(averaged)[:3] == [pixels(result)[place] for place in (2, 0, 1)]


class TestManyAtOnce:
    def test_the_same_request_gives_the_same_pictures_whatever_else_runs(self, storage: Storage) -> None:
        wanted = [
            request(seed=0),
            request(seed=1, scheduler="dpm++", steps=5),
            request(seed=2, scheduler="euler", guidance=1.0),
            request(seed=3, composition="mean", conditions=conditions("text", "mask")),
            request(seed=4, scheduler="ddpm", count=2),
            request(seed=5, bias=InfluenceBias({"text": 3.0}), scheduler="unipc"),
        ]

        def run(ours: Engine, number: int) -> list[bytes]:
            return pixels(drawn(ours, storage.session(str(number)), wanted[number]))

        with closing(engine()) as ours:
            alone = [run(ours, number) for number in range(len(wanted))]
        with closing(engine(Limits(workers=4))) as ours, ThreadPoolExecutor(len(wanted)) as pool:
            before = dict(ours.pipe.config)
            together = list(pool.map(lambda number: run(ours, number), range(len(wanted))))
            assert dict(ours.pipe.config) == before
            assert type(ours.pipe.scheduler).__name__ == "DDIMScheduler"
        assert alone == together
        assert len({tuple(each) for each in alone}) == len(wanted)

    def test_more_than_one_at_once_is_bounded_without_any_queue_around(self, storage: Storage) -> None:
        with closing(engine(Limits(queue=1))) as ours:
            checked = ours.check(request(steps=100))
            streams = [ours.draw(checked, storage.session(name)) for name in ("a", "b", "c")]
            for stream in streams[:2]:
                next(stream)
                until(lambda: ours.workers.working == 1)
            with pytest.raises(FieldError, match="1 request is waiting already") as caught:
                next(streams[2])
            assert caught.value.field == RUN

    def test_a_visitor_who_leaves_ends_his_run_and_leaves_no_files(self, ours: Engine, folder: SessionFolder) -> None:
        stream = ours.draw(ours.check(request(steps=100, count=8)), folder)
        until(lambda: isinstance(next(stream), Step))
        stream.close()
        until(lambda: ours.workers.working == 0)
        assert list(folder.path.iterdir()) == []

    def test_a_failing_run_does_not_disturb_others(self, storage: Storage) -> None:
        pipe = new_pipeline()
        failing = threading.Event()
        decode = pipe.vae.decode

        def short_of_memory(latents: Any, *given: Any, **named: Any) -> Any:
            if failing.is_set() and len(latents) > 1:
                raise MemoryError
            return decode(latents, *given, **named)

        pipe.vae.decode = short_of_memory
        with closing(engine(pipe=pipe)) as ours:
            expected = pixels(drawn(ours, storage.session("a"), request()))
            failing.set()
            with pytest.raises(FieldError, match="memory does not suffice for this; lower it") as caught:
                drawn(ours, storage.session("b"), request(count=8))
            assert caught.value.field == "count"
            assert pixels(drawn(ours, storage.session("a"), request())) == expected

    def test_a_full_disk_tells_nothing_of_the_server(
        self, ours: Engine, folder: SessionFolder, caplog: pytest.LogCaptureFixture
    ) -> None:
        folder.path.rmdir()
        folder.path.write_text("a file in its place")
        with pytest.raises(FieldError, match="cannot store pictures just now") as caught:
            drawn(ours, folder, request())
        assert str(folder.path) not in str(caught.value)
        assert str(folder.path) in caplog.text


class TestFaces:
    def test_examples_are_what_the_model_takes(self, ours: Engine) -> None:
        faces = ours.examples()
        assert [face.name for face in faces] == ["long beard", "moustache", "glasses", "beanie", "child", "goatee"]
        assert all(face.labels.shape == face.lines.shape == (64, 64) for face in faces)
        given = faces[0].conditions(ours.pipe)
        assert list(given) == ours.pipe.modalities
        assert ours.check(request(conditions=given)).described["mask"].startswith("mask of background, skin")

    def test_examples_are_the_projects_files(self, ours: Engine) -> None:
        files = Path(__file__).parents[2] / "examples"
        lines_of = [json.loads(line) for line in (files / "conditions.jsonl").read_text().splitlines()]
        assert [(row["name"].replace("-", " "), row["text"], row["seed"]) for row in lines_of] == [
            (face.name, face.caption, face.seed) for face in ours.examples()
        ]

    def test_procedural_faces(self, ours: Engine) -> None:
        one, again, other = ours.procedural(7), ours.procedural(7), ours.procedural(8)
        assert np.array_equal(one.labels, again.labels)
        assert not np.array_equal(one.labels, other.labels)
        assert one.picture.size == (64, 64)
        for wrong in (-1, 2**31, 1.5, True, "7"):
            with pytest.raises(FieldError, match="number of a face") as caught:
                ours.procedural(wrong)  # type: ignore[arg-type]
            assert caught.value.field == "seed"


class TestParse:
    def test_labels_at_the_models_size(self, parsing: Engine) -> None:
        picture = Image.effect_noise((50, 50), 90).convert("RGB")
        labels, notes = parsing.parse(picture)
        assert labels.shape == (PIXELS, PIXELS)
        assert labels.dtype == np.uint8
        assert labels.max() < 19
        assert notes == ()
        assert np.array_equal(parsing.parse(png(picture))[0], labels)
        assert parsing.check(request(conditions={"mask": labels})).inputs["mask"].shape == (1, PIXELS, PIXELS)

    def test_the_central_square_is_taken_and_told(self, parsing: Engine) -> None:
        wide = Image.new("RGB", (96, 32), "red")
        wide.paste(Image.effect_noise((32, 32), 90).convert("RGB"), (32, 0))
        labels, notes = parsing.parse(wide)
        assert notes == ("photo: 96 x 32 pixels; its central square is taken",)
        assert np.array_equal(labels, parsing.parse(wide.crop((32, 0, 64, 32)))[0])

    @pytest.mark.parametrize(
        ("source", "message"),
        [
            (b"<svg/>", "not a readable image"),
            (Image.new("RGB", (5000, 5000)), "25.0 million pixels; at most 16.0 million"),
            ("/etc/passwd", "a picture is expected, not str"),
            (None, "a picture is expected, not NoneType"),
        ],
        ids=["svg", "large", "path", "none"],
    )
    def test_wrong_pictures(self, parsing: Engine, source: Any, message: str) -> None:
        with pytest.raises(FieldError, match=message) as caught:
            parsing.parse(source)
        assert caught.value.field == "photo"

    def test_labels_without_a_face_are_told(self, parsing: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        faces = [procedural_face(7919 * number, 64).labels for number in range(40)]
        faces += [face.labels for face in parsing.examples()]
        skin = np.ones((64, 64), np.uint8)
        for labels, doubted in [*((face, False) for face in faces), (skin, True)]:
            found = torch.from_numpy(labels)[None]
            monkeypatch.setattr(parsing.parser, "parse", lambda _pixels, found=found: found)
            notes = parsing.parse(Image.new("RGB", (64, 64)))[1]
            assert ["hardly any nose or eyes or mouth was found" in note for note in notes] == [True] * doubted

    def test_without_a_parser(self, ours: Engine) -> None:
        with pytest.raises(FieldError, match="no face parser; paint a mask"):
            ours.parse(lines())


def test_other_schedulers_of_a_model_are_offered_under_their_own_names() -> None:
    pipe = new_pipeline(scheduler=EulerDiscreteScheduler(**SCHEDULE))
    with closing(engine(pipe=pipe)) as ours:
        assert ours.choices.schedulers[0] == "euler"
        assert ours.check(request()).settings.scheduler == "euler"
