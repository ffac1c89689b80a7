"""`codiff edit`: files, the search for a strength, reuse, interruption, and every misuse."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Command, command, refused
from models import PIXELS, new_pipeline
from PIL import Image

from codiff import AttributeClassifier, CollaborativePipeline, FaceParser
from codiff.cli.drawing import settings_of
from codiff.cli.edit_editors import options_of
from codiff.cli.edit_plan import Given, Wanted, make_plan
from codiff.credentials import read_origin
from codiff.data.faces import ProceduralFaces
from codiff.editing import Learned, Learning
from codiff.editing.editors import EDITORS
from codiff.editing.learner import Learner
from codiff.photos.aligning import EYES
from codiff.photos.framing import frame_whole
from codiff.photos.own_photo import OwnPhoto
from codiff.png_metadata import read_metadata

LONDON = Path(__file__).parents[1] / "../shared/real/london_faces"
QUICK = Learning(token_steps=1, model_steps=2, rank=2)
TEXT = "this man has a long beard"
FEW = ("--steps", 3, "--no-credentials")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of text, mask and sketch with its evaluators."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    new_pipeline().save_pretrained(folder)
    FaceParser(channels=(8, 8, 8, 8)).save_pretrained(folder / "face_parser")
    attributes = {"beard": ("none", "long"), "age": ("young", "old")}
    AttributeClassifier(attributes, (8, 8, 8, 8)).save_pretrained(folder / "attribute_classifier")
    return folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs `codiff edit` on the tiny model in a folder with a photo, two masks and a region."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("codiff.cli.edit.learning_for", lambda _pipe, full: replace(QUICK, rank=None if full else 2))
    pixels = np.random.default_rng(0).integers(0, 256, (PIXELS, PIXELS, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("photo.png")
    for name, label in (("now", 1), ("wanted", 13)):
        labels = np.zeros((PIXELS, PIXELS), np.uint8)
        labels[8:24, 8:24] = label
        Image.fromarray(labels).save(f"{name}.png")
    Image.fromarray(np.eye(PIXELS, dtype=np.uint8) * 255).save("region.png")
    call = command(capsys)
    return lambda *arguments: call("edit", "--model", model, *arguments)


def done(result: tuple[int, str, str]) -> dict[str, Any]:
    """The summary of a command that succeeded."""
    code, said, told = result
    assert code == 0, told
    summary: dict[str, Any] = json.loads(said)
    return summary


@pytest.mark.parametrize("editor", list(EDITORS))
def test_writes_images_and_a_grid(run: Command, editor: str) -> None:
    source = ("--source", "mask=now.png") if "source" in options_of(EDITORS[editor]) else ()
    result = run(
        *("photo.png", "--text", TEXT, "--mask", "wanted.png", "--editor", editor, "--seed", 5),
        *("--count", 2 if EDITORS[editor].draws(region=False) else 1),
        *(*source, *FEW, "--json"),
    )
    summary = done(result)
    expected = {*(row["image"] for row in summary["images"]), summary["grid"]} | ({summary["learned"]} - {None})
    assert {str(path) for path in Path("out").iterdir()} == expected
    for row in summary["images"]:
        with Image.open(row["image"]) as image:
            assert image.size == (PIXELS, PIXELS)
        metadata = read_metadata(Path(row["image"]))
        assert metadata["seed"] == row["seed"]
        assert metadata["editor"] == editor
        assert metadata[EDITORS[editor].strength] == summary["strengths"]
        assert metadata["conditions"]["text"]["given"] == TEXT
        assert metadata["conditions"]["mask"]["given"] == "wanted.png"
        assert "photo.png" not in json.dumps(metadata)
    assert summary["grid"] in result[2]


def test_the_same_command_writes_the_same_pictures(run: Command) -> None:
    arguments = ("photo.png", "--text", TEXT, "--editor", "sdedit", *FEW, "--json")
    first = Path(done(run(*arguments))["images"][0]["image"])
    written = first.read_bytes()
    assert Path(done(run(*arguments))["images"][0]["image"]).read_bytes() == written
    other = done(run(*arguments, "--strength", "0.9"))["images"][0]["image"]
    assert other != str(first)


def test_reedits_learn_nothing(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    learned = done(run("photo.png", "--text", TEXT, *FEW, "--json"))["learned"]
    monkeypatch.setattr(Learner, "step", lambda _self: pytest.fail("it learned again"))
    for again in (
        ("--text", TEXT, "--strength", "0.3"),
        ("--text", TEXT, "--seed", 9),
        ("--text", "a young woman", "--learned", learned),
    ):
        summary = done(run("photo.png", *again, *FEW, "--json"))
        assert summary["learned"] == learned
        assert summary["seconds"]["learning"] == 0


def test_full_fine_tuning_has_a_file_of_its_own(run: Command) -> None:
    lora = done(run("photo.png", "--text", TEXT, *FEW, "--json"))["learned"]
    full = done(run("photo.png", "--text", TEXT, "--full-fine-tuning", *FEW, "--json"))["learned"]
    assert Learned.load(full).settings.rank is None
    assert Path(full).stat().st_size > Path(lora).stat().st_size
    both = ("--text", TEXT, "--mask", "wanted.png", "--together")
    assert Learned.load(done(run("photo.png", *both, *FEW, "--json"))["learned"]).settings.together


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_learning_goes_on(run: Command, monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> None:
    arguments = ("photo.png", "--text", TEXT, *FEW, "--json")
    step = Learner.step

    def stopped(learner: Learner) -> float:
        os.kill(os.getpid(), number)
        return step(learner)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "step", stopped)
        code, said, told = run(*arguments)
    assert (code, said) == (130, "")
    assert "the same command goes on" in told
    assert [path.suffix for path in Path("out").iterdir()] == [".safetensors"]
    resumed = run(*arguments)
    assert "going on with learning the photo at step 1 of 3" in resumed[2]
    image = Path(done(resumed)["images"][0]["image"]).read_bytes()
    for path in Path("out").iterdir():
        path.unlink()
    assert Path(done(run(*arguments))["images"][0]["image"]).read_bytes() == image


@pytest.mark.parametrize("editor", ["imagic", "sdedit"])
def test_strength_auto_writes_curve_and_strip(run: Command, monkeypatch: pytest.MonkeyPatch, editor: str) -> None:
    monkeypatch.setitem(EDITORS, editor, replace(EDITORS[editor], tried=(0.2, 0.5, 0.8)))
    monkeypatch.setattr("codiff.editing.strength._TOLD_APART", 0.0)  # the judges are untrained
    source = ("--source", "mask=now.png") if "source" in options_of(EDITORS[editor]) else ()
    arguments = ("photo.png", "--text", TEXT, "--mask", "wanted.png", "--editor", editor, "--strength", "auto", *source)
    summary = done(run(*arguments, *FEW, "--json"))
    search = summary["search"]
    tried = [trial["strengths"] for trial in search["trials"]]
    assert tried[:3] == [{"text": value, "mask": value} for value in (0.2, 0.5, 0.8)]
    assert summary["strengths"] in tried
    assert (len(tried) > 3) == EDITORS[editor].each
    for trial in search["trials"]:
        assert trial["agreement"].keys() == {"text", "mask"}
        assert 0 <= trial["identity"] <= 1
    for figure in ("curve", "strip"):
        with Image.open(search[figure]) as picture:
            assert min(picture.size) > 100


def test_a_region_is_shown_and_kept_to(run: Command) -> None:
    arguments = ("photo.png", "--text", TEXT, "--editor", "blended", "--region", "region.png")
    summary = done(run(*arguments, *FEW, "--json"))
    edited = np.asarray(Image.open(summary["images"][0]["image"]))
    photo = np.asarray(Image.open("photo.png").resize((PIXELS, PIXELS), Image.Resampling.LANCZOS))
    outside = ~np.eye(PIXELS, dtype=bool)
    assert np.array_equal(edited[outside], photo[outside])


def test_notes_what_nobody_judges(run: Command) -> None:
    Image.fromarray((255 * (1 - np.eye(PIXELS))).astype(np.uint8)).save("lines.png")
    arguments = ("photo.png", "--sketch", "lines.png", "--editor", "sdedit", "--strength", "auto", *FEW)
    code, _, told = run(*arguments)
    assert code == 2
    assert "nobody judges sketch" in told.splitlines()[-1]


WRONG = {
    "no such photo": (("absent.png", "--text", TEXT), ("absent.png", "no such file")),
    "no image": (("text.txt", "--text", TEXT), ("not a readable image",)),
    "not square, no face": (("wide.png", "--text", TEXT), ("no face was found", "--aligned")),
    "not square": (("wide.png", "--aligned", "--text", TEXT), ("64 x 32 pixels", "square")),
    "no condition": (("photo.png",), ("no condition given",)),
    "wide mask": (("photo.png", "--mask", "wide.png"), ("64 x 32 pixels",)),
    "empty text": (("photo.png", "--text", ""), ("empty",)),
    "unknown editor": (
        ("photo.png", "--text", TEXT, "--editor", "magic"),
        ("unknown editor 'magic'", "imagic, sdedit"),
    ),
    "share": (("photo.png", "--text", TEXT, "--editor", "sdedit", "--strength", "1.1"), ("from 0 to 1", "'1.1'")),
    "alpha": (("photo.png", "--text", TEXT, "--strength", "2.6"), ("alpha of imagic", "from -1 to 2.5")),
    "no number": (("photo.png", "--text", TEXT, "--strength", "much"), ("'much'", "auto")),
    "nan": (("photo.png", "--text", TEXT, "--strength", "nan"), ("'nan'",)),
    "one of two": (("photo.png", "--text", TEXT, "--mask", "wanted.png", "--strength", "text=1"), ("text, mask",)),
    "each": (("photo.png", "--text", TEXT, "--editor", "sdedit", "--strength", "text=1"), ("one strength",)),
    "source of imagic": (("photo.png", "--text", TEXT, "--source", "text=a man"), ("imagic takes no --source",)),
    "region of sdedit": (
        ("photo.png", "--text", TEXT, "--editor", "sdedit", "--region", "region.png"),
        ("sdedit takes no --region", "blended, diffedit"),
    ),
    "learned of sdedit": (
        ("photo.png", "--text", TEXT, "--editor", "sdedit", "--learned", "x.safetensors"),
        ("takes no --learned",),
    ),
    "no pair": (("photo.png", "--text", TEXT, "--editor", "diffedit", "--source", "a man"), ("text=VALUE",)),
    "twice": (
        ("photo.png", "--text", TEXT, "--editor", "diffedit", "--source", "text=a", "--source", "text=b"),
        ("twice",),
    ),
    "unknown source": (
        ("photo.png", "--text", TEXT, "--editor", "diffedit", "--source", "pose=a"),
        ("unknown modality 'pose'",),
    ),
    "no source file": (
        ("photo.png", "--mask", "wanted.png", "--editor", "blended", "--source", "mask=absent.png"),
        ("absent.png",),
    ),
    "no region": (("photo.png", "--text", TEXT, "--editor", "blended"), ("needs a region",)),
    "region of nothing": (
        ("photo.png", "--text", TEXT, "--editor", "blended", "--region", "black.png"),
        ("region to edit is empty",),
    ),
    "no learned": (("photo.png", "--text", TEXT, "--learned", "absent.safetensors"), ("no learned edit",)),
    "not learned": (("photo.png", "--text", TEXT, "--learned", "photo.png"), ("not a learned edit",)),
    "scheduler of inversion": (
        ("photo.png", "--text", TEXT, "--editor", "ddim-inversion", "--scheduler", "euler"),
        ("retraces", "euler"),
    ),
    "judges for nothing": (("photo.png", "--text", TEXT, "--clip", "x"), ("--strength auto",)),
    "no clip": (("photo.png", "--text", TEXT, "--strength", "auto", "--clip", "./absent"), ("absent",)),
    "start": (("photo.png", "--text", TEXT, "--start", "here"), ("unknown start 'here'",)),
    "equal images of ddim": (
        ("photo.png", "--text", TEXT, "--editor", "ddim-inversion", "--source", "text=a man", "--count", "2"),
        ("2 images of ddim-inversion would be equal",),
    ),
    "equal images of diffedit": (
        ("photo.png", "--text", TEXT, "--editor", "diffedit", "--region", "region.png", "--count", "2"),
        ("2 images of diffedit would be equal",),
    ),
    "equal images": (("photo.png", "--text", TEXT, "--start", "inversion", "--count", "2"), ("would be equal",)),
    "start of sdedit": (
        ("photo.png", "--text", TEXT, "--editor", "sdedit", "--start", "noise"),
        ("sdedit takes no --start",),
    ),
    "count": (("photo.png", "--text", TEXT, "--count", "65"), ("count",)),
    "steps": (("photo.png", "--text", TEXT, "--steps", "1001"), ("steps",)),
    "guidance": (("photo.png", "--text", TEXT, "--guidance", "inf"), ("guidance",)),
    "composition": (("photo.png", "--text", TEXT, "--composition", "sum"), ("unknown composition 'sum'",)),
    "seed": (("photo.png", "--text", TEXT, "--seed", "-1"), ("seed",)),
}


@pytest.mark.parametrize("name", list(WRONG))
def test_bad_input_is_one_error_before_any_work(run: Command, name: str) -> None:
    Image.new("RGB", (64, 32)).save("wide.png")
    Image.new("RGB", (32, 32)).save("black.png")
    Path("text.txt").write_text("no picture")
    arguments, parts = WRONG[name]
    refused(run(*arguments), *parts)
    assert not Path("out").exists()


def test_learned_edits_of_another_photo_or_model_are_refused(
    run: Command, tmp_path_factory: pytest.TempPathFactory
) -> None:
    learned = done(run("photo.png", "--text", TEXT, *FEW, "--json"))["learned"]
    Image.open("photo.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT).save("other.png")
    refused(run("other.png", "--text", TEXT, "--learned", learned), "another photo")
    refused(run("photo.png", "--mask", "wanted.png", "--learned", learned), "knows text, not mask")
    folder = tmp_path_factory.mktemp("models") / "changed"
    pipe = new_pipeline()
    pipe.vae.decoder.conv_out.bias.data.add_(1)
    pipe.save_pretrained(folder)
    refused(run("photo.png", "--text", TEXT, "--learned", learned, "--model", folder), "another model")


def test_models_without_judges_need_a_number(run: Command, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("models") / "plain"
    new_pipeline().save_pretrained(folder)
    refused(run("photo.png", "--text", TEXT, "--strength", "auto", "--model", folder), "face_parser", "--strength")


def test_help_fits_80_columns(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, said, _ = run("--help")
    assert code == 0
    assert {"--text", "--mask", "--sketch", "--editor", "--strength", "--learned"} <= set(said.split())
    assert max(map(len, said.splitlines())) <= 80


def test_edited_photos_say_that_they_are(run: Command) -> None:
    summary = done(run("photo.png", "--text", TEXT, "--editor", "sdedit", "--steps", 2, "--json"))
    origin = read_origin(summary["images"][0]["image"])
    assert origin is not None
    assert (origin.intact, origin.edited) == (True, True)
    assert "photo.png" not in json.dumps(origin.record)


def wide() -> tuple[Path, str]:
    """A drawn face within a wider photo, and where its eyes are."""
    face = Image.fromarray(ProceduralFaces("validation", 128)[3].image)
    photo = Image.fromarray(np.random.default_rng(1).integers(90, 160, (160, 240, 3), dtype=np.uint8))
    photo.paste(face, (70, 20))
    photo.save("wide.png")
    (x, y), (u, v) = (128 * np.array(EYES) + (70, 20)).tolist()
    return Path("wide.png"), f"{x},{y},{u},{v}"


def test_a_face_in_a_photo_is_edited_and_put_back(run: Command) -> None:
    path, eyes = wide()
    arguments = (path, "--eyes", eyes, "--text", TEXT, "--editor", "sdedit", *FEW, "--json")
    summary = done(run(*arguments))
    row = summary["images"][0]
    with Image.open(row["photo"]) as whole, Image.open(path) as before, Image.open(row["image"]) as face:
        assert whole.size == before.size == (240, 160)
        assert face.size == (PIXELS, PIXELS)
        changed = (np.asarray(whole) != np.asarray(before)).any(axis=2)
    assert changed[40:130, 90:180].mean() > 0.9
    assert not changed[:, :66].any()
    assert not changed[:, 202:].any()
    assert done(run(*arguments))["images"][0]["photo"] == row["photo"]
    moved = done(run(*arguments[:2], ",".join(str(float(part) + 0.5) for part in eyes.split(",")), *arguments[3:]))
    assert moved["images"][0]["photo"] != row["photo"]


def test_what_is_painted_on_the_whole_photo_is_cut_out_with_the_face(run: Command) -> None:
    path, eyes = wide()
    painted = np.zeros((160, 240), np.uint8)
    painted[60:100, 110:150] = 255
    Image.fromarray(painted).save("region.png")
    Image.fromarray(np.where(painted > 0, 13, 1).astype(np.uint8)).save("wanted.png")
    arguments = ("--text", TEXT, "--mask", "wanted.png", "--editor", "blended", "--region", "region.png")
    row = done(run(path, "--eyes", eyes, *arguments, *FEW, "--json"))["images"][0]
    with Image.open(row["photo"]) as whole, Image.open(path) as before:
        changed = (np.asarray(whole) != np.asarray(before)).any(axis=2)
    assert changed[68:92, 118:142].mean() > 0.9
    changed[52:108, 102:158] = False  # the region's edge fades
    assert not changed.any()
    assert "hair" in read_metadata(Path(row["image"]))["conditions"]["mask"]["read_as"]


def test_edits_that_do_nothing_are_told(run: Command) -> None:
    arguments = ("photo.png", "--text", TEXT, *FEW)
    assert "takes none of" in run(*arguments, "--editor", "sdedit", "--strength", "0.01")[2]
    assert "takes none of" not in run(*arguments, "--editor", "sdedit", "--strength", "0.9")[2]


@pytest.mark.usefixtures("run")
def test_files_are_named_by_who_judged(model: Path) -> None:
    pipe = CollaborativePipeline.from_pretrained(model)
    framed = frame_whole(OwnPhoto.open("photo.png"), PIXELS)
    given = Given.of_options({"text": TEXT})
    sampling = {"steps": 2, "guidance": 1.0, "composition": "mean", "eta": 0.0}
    settings = settings_of(pipe, model, "tiny", sampling)
    wanted = Wanted(framed, given, Given({}, {}), "a", "sdedit", None, None, None, None, "noise", 1, 0)
    digests = {
        make_plan(pipe, replace(wanted, judges=judges), settings, Path("out")).outputs.digest for judges in ("", "clip")
    }
    assert len(digests) == 2


def test_which_face(run: Command) -> None:
    path, eyes = wide()
    few = ("--text", TEXT, "--editor", "sdedit", *FEW)
    refused(run(path, "--eyes", "1,2,3", *few), "--eyes takes x,y,x,y in pixels", "not '1,2,3'")
    refused(run(path, "--eyes", "1,2,999,3", *few), "999, 3 lies outside the photo of 240 x 160")
    refused(run(path, "--eyes", eyes, "--aligned", *few), "exclude one another")
    refused(run(path, "--face", 7, *few), "face")
    refused(run(path, "--aligned", *few), "square")
    noise = np.random.default_rng(1).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    Image.fromarray(noise).save("noise.png")
    refused(run("noise.png", *few), "no face was found", "--eyes x,y,x,y")
    assert not Path("out").exists()


@pytest.mark.skipif(not LONDON.is_dir(), reason=f"needs the photos in {LONDON}, which are not part of codiff")
def test_a_real_photo(run: Command) -> None:
    path = sorted(LONDON.glob("*.jpg"))[0]
    result = run(path, "--text", TEXT, "--editor", "sdedit", *FEW, "--json")
    row = done(result)["images"][0]
    with Image.open(row["photo"]) as whole, Image.open(path) as before:
        assert whole.size == before.size
        assert np.array_equal(np.asarray(whole)[-1], np.asarray(before)[-1])
    assert "the model's autoencoder keeps this face at" in result[2]
