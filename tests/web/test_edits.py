"""Edits as the page asks for them: what is checked, drawn, learned once and kept private."""

from __future__ import annotations

import io
import json
import os
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engines import engine
from models import CAPTIONS, PIXELS, new_pipeline
from PIL import Image

from codiff import AttributeClassifier, FaceParser, generators
from codiff.cli.edit_judges import Evaluators, Named
from codiff.cli.outputs import signer_of
from codiff.credentials import read_origin
from codiff.editing import Learned, Learning, Sampling, sdedit
from codiff.editing.editors import EDITORS
from codiff.editing.learner import Learner
from codiff.photos.aligning import EYES
from codiff.photos.finding import FoundFace
from codiff.png_metadata import read_metadata
from codiff.web.edit_files import EditResult
from codiff.web.edit_records import restored_edit
from codiff.web.edit_request import FULL, QUICK, EditRequest, Framing
from codiff.web.edit_run import EditRun
from codiff.web.edit_times import EditTimes
from codiff.web.edits import Edits
from codiff.web.engine import Engine
from codiff.web.eye_marks import marked
from codiff.web.field_error import RUN, FieldError
from codiff.web.limits import Limits
from codiff.web.notices import heard
from codiff.web.painting import steering_of
from codiff.web.runs import Done, Run, Step
from codiff.web.storage import SessionFolder, Storage
from codiff.web.trials import shown_curve, shown_trials

TEXT = CAPTIONS[0]
LEARNING = Learning(token_steps=1, model_steps=2, rank=2)
ALIGNED = Framing(aligned=True)


def png(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def noise(seed: int, width: int = PIXELS, height: int = PIXELS) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def labels(part: int = 13) -> np.ndarray:
    mask = np.zeros((PIXELS, PIXELS), np.uint8)
    mask[8:24, 8:24] = part
    return mask


PHOTO = png(noise(0))


@pytest.fixture(scope="module")
def judges(tmp_path_factory: pytest.TempPathFactory) -> Evaluators:
    folder = tmp_path_factory.mktemp("judges")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        FaceParser(channels=(8, 8, 8, 8)).save_pretrained(folder / "face_parser")
        AttributeClassifier({"beard": ("none", "long")}, (8, 8, 8, 8)).save_pretrained(folder / "attribute_classifier")
    return Evaluators(folder, Named())


@pytest.fixture(scope="module")
def drawing(judges: Evaluators) -> Iterator[Engine]:
    made = engine(pipe=new_pipeline(), evaluators=judges)
    yield made
    made.close()


@pytest.fixture(scope="module")
def edits(drawing: Engine) -> Edits:
    made = Edits(drawing)
    made.learnings = {QUICK: LEARNING, FULL: replace(LEARNING, model_steps=3)}
    return made


@pytest.fixture
def session() -> Iterator[SessionFolder]:
    storage = Storage()
    yield storage.session("somebody")
    storage.close()


def asked(**changes: Any) -> EditRequest:
    """A quick edit of the caption."""
    return EditRequest(
        **{"photo": PHOTO, "conditions": {"text": TEXT}, "framing": ALIGNED, "strength": 0.5, "steps": 4, **changes}
    )


def begun(edits: Edits, session: SessionFolder, **changes: Any) -> EditRun:
    return EditRun(edits.engine, edits.check(asked(**changes), session), session)


def drawn(edits: Edits, session: SessionFolder, **changes: Any) -> EditResult:
    return drawn_of(edits, session, asked(**changes))


def drawn_of(edits: Edits, session: SessionFolder, wanted: EditRequest) -> EditResult:
    last = list(EditRun(edits.engine, edits.check(wanted, session), session).events())[-1]
    assert isinstance(last, Done)
    return last.result


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def learned_files(session: SessionFolder) -> list[Path]:
    return sorted(path for path in (session.path / "learned").iterdir() if not path.stem.endswith("noise"))


def test_programs_do_not_pay_for_previews(edits: Edits, session: SessionFolder) -> None:
    edit = edits.check(asked(editor="sdedit", seed=3), session)
    events = list(EditRun(edits.engine, edit, session, previews=False).events())
    assert all(event.preview is None for event in events if isinstance(event, Step))
    assert isinstance(events[-1], Done)


@pytest.mark.parametrize("editor", list(EDITORS))
def test_every_editor_draws_into_the_sessions_folder(edits: Edits, session: SessionFolder, editor: str) -> None:
    both = {"text": TEXT, "mask": labels()}
    run = begun(edits, session, editor=editor, conditions=both, count=2, seed=5)
    events = list(run.events())
    steps = [event for event in events if isinstance(event, Step)]
    assert steps[0].index == 0
    assert steps[-1].index == steps[-1].of
    assert any(step.preview is not None for step in steps)
    result = events[-1].result  # type: ignore[union-attr]
    assert [view.caption.split(",")[0] for view in result.views] == ["seed 5", "seed 6"]
    for view, seed in zip(result.views, (5, 6), strict=True):
        assert view.path.is_relative_to(session.path)
        assert pixels(view.before).shape == pixels(view.after).shape == (PIXELS, PIXELS, 3)
        told = read_metadata(view.path)
        assert (told["seed"], told["editor"]) == (seed, editor)
        assert told["conditions"]["text"]["given"] == TEXT
        assert told["conditions"]["mask"]["given"] == "mask.png"
    record = json.loads(result.record_path.read_text())
    assert record == result.record
    assert record["strengths"] == {"text": 0.5, "mask": 0.5}
    with zipfile.ZipFile(result.archive_path) as archive:
        names = set(archive.namelist())
    assert {"mask.png", "text.txt", "settings.json", *(view.path.name for view in result.views)} <= names


def test_pictures_are_those_of_the_library(edits: Edits, session: SessionFolder) -> None:
    result = drawn(edits, session, conditions={"text": TEXT, "mask": labels()}, seed=3)
    expected = sdedit(
        edits.engine.pipe,
        noise(0),
        {"text": TEXT, "mask": labels()},
        strength=0.5,
        generator=generators(3, 1),
        sampling=Sampling(num_inference_steps=4, guidance_scale=2.0),
    )
    assert np.array_equal(pixels(result.views[0].path), np.asarray(expected.images[0]))


def test_a_learned_photo_is_not_learned_again(
    edits: Edits, session: SessionFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = {"text": TEXT, "mask": labels()}
    first = begun(edits, session, editor="imagic", strength=1.0, conditions=both)
    result = list(first.events())[-1].result  # type: ignore[union-attr]
    assert "learned your photo in" in result.summary
    assert result.summary.startswith("Imagic, strength 1;")
    assert len(learned_files(session)) == 1
    monkeypatch.setattr(Learner, "step", lambda _self: pytest.fail("it learned again"))
    again = drawn(edits, session, editor="imagic", strength=1.0, conditions=both)
    assert "used what was learned of this photo before" in again.summary
    assert np.array_equal(pixels(again.views[0].path), pixels(result.views[0].path))
    for changes in (
        {"strength": 0.3},
        {"seed": 9},
        {"count": 2},
        {"conditions": {"text": CAPTIONS[1], "mask": labels(17)}},
        {"scheduler": "euler"},
    ):
        reused = edits.check(asked(**{"editor": "imagic", "strength": 1.0, "conditions": both, **changes}), session)
        assert reused.reused, changes
    other = drawn(edits, session, editor="imagic", strength=0.3, conditions={"text": CAPTIONS[1]}, count=2)
    assert "used what was learned" in other.summary
    assert len(learned_files(session)) == 1


def test_what_was_learned_serves_no_other_photo_model_setting_or_session(edits: Edits, session: SessionFolder) -> None:
    drawn(edits, session, editor="imagic", strength=1.0)
    learning = {"editor": "imagic", "strength": 1.0}
    for changes in ({"photo": png(noise(1))}, {"learning": FULL}, {"conditions": {"mask": labels()}}):
        checked = edits.check(asked(**{**learning, **changes}), session)
        assert not checked.reused, changes
    assert edits.check(asked(**learning), session).reused
    others = Storage()
    assert not edits.check(asked(**learning), others.session("somebody else")).reused
    others.close()


def test_it_is_gone_with_the_session(edits: Edits) -> None:
    storage = Storage()
    session = storage.session("somebody")
    drawn(edits, session, editor="imagic", strength=1.0)
    assert learned_files(session)
    storage.expire(time.time() + storage.limits.keep_seconds + 60)
    assert not session.path.exists()
    storage.close()


def test_what_is_used_again_stays(edits: Edits) -> None:
    storage = Storage()
    session = storage.session("somebody")
    drawn(edits, session, editor="imagic", strength=1.0)
    later = time.time() + storage.limits.keep_seconds + 60
    os.utime(session.path / "learned", (0, 0))
    assert edits.check(asked(editor="imagic", strength=0.5), session).reused
    storage.expire(later - 120)
    assert len(learned_files(session)) == 1
    storage.expire(later)
    assert not session.path.exists()
    storage.close()


def test_learning_that_takes_too_long_tells_how_to_go_on(
    edits: Edits, session: SessionFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Run, "seconds", property(lambda run: float(run.shorten != Run.shorten) * 1e9))
    with pytest.raises(FieldError, match="Edit again goes on from there") as caught:
        drawn(edits, session, editor="imagic", strength=1.0)
    assert caught.value.field == RUN
    assert Learned.load(*learned_files(session)).done == 1


def test_cancelled_learning_goes_on(edits: Edits, session: SessionFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"editor": "imagic", "strength": 1.0}
    step = Learner.step

    def slowly(learner: Learner) -> float:
        time.sleep(0.6)
        return step(learner)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "step", slowly)
        run = begun(edits, session, **changes)
        events = run.events()
        for event in events:
            if isinstance(event, Step) and event.index:
                break
        assert run.stage == "Learning your photo, step 1 of 3"
        events.close()
        begun_at = time.monotonic()
        while edits.engine.workers.working and time.monotonic() - begun_at < 10:
            time.sleep(0.01)
    (path,) = learned_files(session)
    known = Learned.load(path)
    assert 1 <= known.done < known.total == 3
    checked = edits.check(asked(**changes), session)
    assert checked.left == 3 - known.done
    resumed = drawn(edits, session, **changes)
    fresh = Storage()
    whole = drawn(edits, fresh.session("somebody else"), **changes)
    assert np.array_equal(pixels(resumed.views[0].path), pixels(whole.views[0].path))
    fresh.close()


def test_a_strength_is_found(edits: Edits, session: SessionFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EDITORS, "sdedit", replace(EDITORS["sdedit"], tried=(0.25, 0.5, 0.75)))
    result = drawn(edits, session, strength=None, conditions={"text": TEXT, "mask": labels()})
    assert result.search is not None
    assert [trial.strengths["text"] for trial in result.search.common] == [0.25, 0.5, 0.75]
    assert result.record["strengths"] == result.search.best.strengths
    shown, trials = shown_trials(result.search), result.search.common
    assert shown.count("<li") == 3
    assert not result.search.decided  # untrained judges
    assert shown.count("<strong>0.5 (the usual)</strong>") == 1
    assert "sees no difference between these strengths" in shown
    assert "saw no difference" in result.summary
    decided = replace(
        result.search, common=[replace(each, agreement={"text": each.strengths["text"]}) for each in trials]
    )
    decided = replace(decided, best=decided.common[2])
    assert "<strong>0.75 (chosen)</strong>" in shown_trials(decided)
    assert "no difference" not in shown_trials(decided)
    assert result.curve is not None
    height, width = pixels(result.curve).shape[:2]
    assert 100 < width < height  # one panel above the other, readable on a phone
    assert shown_curve(result.curve).startswith('<img class="curve" src="data:image/png')


def test_a_face_is_cut_out_and_put_back(edits: Edits, session: SessionFolder) -> None:
    photo = noise(2, 240, 160)
    eyes = [((70 + 100 * x) / 240, (20 + 100 * y) / 160) for x, y in EYES]
    result = drawn(edits, session, photo=png(photo), framing=Framing(eyes), count=2)
    assert [view.caption.split(",")[0] for view in result.views] == ["photo", "photo", "face", "face"]
    changed = (pixels(result.views[0].path) != np.asarray(photo)).any(axis=2)
    assert changed[40:100, 90:150].mean() > 0.9
    assert not changed[:, :65].any()
    assert not changed[:, 175:].any()
    assert np.array_equal(pixels(result.views[0].before), np.asarray(photo))


def test_large_photos_are_shown_smaller_and_kept_whole(edits: Edits, session: SessionFolder) -> None:
    photo = noise(3, 150, 100).resize((1200, 800))
    result = drawn(edits, session, photo=png(photo), framing=Framing([(0.4, 0.5), (0.5, 0.5)]))
    view = result.views[0]
    assert pixels(view.path).shape == (800, 1200, 3)
    assert pixels(view.before).shape == pixels(view.after).shape == (683, 1024, 3)
    assert read_metadata(view.after)["figure"] == "photo-small"


def test_a_region_is_kept_to(edits: Edits, session: SessionFolder) -> None:
    region = np.zeros((PIXELS, PIXELS), bool)
    region[:, :16] = True
    result = drawn(edits, session, editor="blended", region=region)
    kept = pixels(result.views[0].path)[:, 16:]
    assert np.array_equal(kept, np.asarray(noise(0))[:, 16:])
    assert (restored_region(edits, result) == region).all()


def restored_region(edits: Edits, result: EditResult) -> np.ndarray:
    painted = steering_of(restored_edit(edits, result.record_path.read_bytes()).region)
    assert painted is not None
    return painted > 0


def test_settings_bring_back_all_but_the_photo(edits: Edits, session: SessionFolder) -> None:
    wanted = asked(
        editor="imagic", strength=0.25, learning=FULL, conditions={"text": TEXT, "mask": labels()}, seed=7, count=2,
        steps=3, scheduler="euler", guidance=3.5,
    )  # fmt: skip
    result = drawn_of(edits, session, wanted)
    again = restored_edit(edits, result.record_path.read_bytes())
    assert (again.editor, again.strength, again.learning, again.region) == ("imagic", 0.25, FULL, "")
    request = again.request
    assert (request.seed, request.count, request.steps, request.scheduler, request.guidance) == (7, 2, 3, "euler", 3.5)
    assert request.conditions["text"] == TEXT
    assert np.array_equal(request.conditions["mask"], labels())
    assert again.notes == ()
    told = drawn(edits, session, editor="diffedit", source={"text": "a man"}, region=np.ones((32, 32), bool), steps=2)
    assert restored_edit(edits, told.record_path.read_bytes()).source == {"text": "a man"}
    apart = {**result.record, "strengths": {"text": 0.5, "mask": 1.0}, "region": True}
    found_again = restored_edit(edits, json.dumps(apart).encode())
    assert (found_again.strength, found_again.region, len(found_again.notes)) == (None, "", 2)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"editor": "magic"}, "'magic'"),
        ({"strengths": {"text": 7.0}}, "from 0 to 1"),
        ({"strengths": "much"}, "damaged"),
        ({"codiff_edit": 2}, "damaged"),
        ({"region": "data:,"}, "may change is damaged"),
        ({"framing": {"eyes": [[0.1, 0.2]]}}, "eyes in these settings are damaged"),
        ({"framing": {"eyes": [[0.1, 2.0], [0.1, 0.2]]}}, "eyes in these settings are damaged"),
        ({"framing": {"face": -1}}, "damaged"),
        ({"framing": "all"}, "damaged"),
        ({"seed": -1}, "not a settings file"),
        ({"codiff_edit": ...}, "not a settings file"),
        ({"codiff_edit": ..., "codiff_record": 1}, "open them in the Generate tab"),
    ],
)
def test_settings_that_are_none_of_an_edit(
    edits: Edits, session: SessionFolder, changes: dict[str, Any], part: str
) -> None:
    record = {**drawn(edits, session, steps=1).record, **changes}
    content = json.dumps({name: value for name, value in record.items() if value is not ...}).encode()
    with pytest.raises(FieldError, match=part) as error:
        restored_edit(edits, content)
    assert error.value.field == "record"


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\x89PNG\r\n\x1a\n", b"7"])
def test_settings_that_are_none_at_all(edits: Edits, content: bytes) -> None:
    with pytest.raises(FieldError, match="not a settings file of codiff"):
        restored_edit(edits, content)


def test_where_a_mask_was_repainted_is_the_region(edits: Edits, session: SessionFolder) -> None:
    read = edits.read(edits.framed(edits.open(PHOTO), ALIGNED))
    assert read is not None
    with pytest.raises(FieldError, match="repaint its mask") as error:
        edits.check(asked(editor="blended", conditions={"mask": read}), session)
    assert error.value.field == "region"
    painted = read.copy()
    painted[:4, :4] = (painted[:4, :4] + 1) % 19
    result = drawn(edits, session, editor="blended", conditions={"mask": painted})
    assert np.array_equal(pixels(result.views[0].path)[16:], np.asarray(noise(0))[16:])
    assert set(result.record["source"]) == {"mask"}


def test_pictures_say_that_they_are_edited(judges: Evaluators, session: SessionFolder) -> None:
    signing = Edits(engine(pipe=new_pipeline(), evaluators=judges, edit_signer=signer_of(True, edited=True)))
    result = drawn(signing, session, steps=1)
    origin = read_origin(result.views[0].path)
    assert origin is not None
    assert (origin.intact, origin.edited) == (True, True)
    signing.engine.close()


def test_records_hold_no_pixel_of_the_photo(edits: Edits, session: SessionFolder) -> None:
    record = drawn(edits, session, steps=1).record
    assert record["conditions"] == {"text": {"kind": "words", "data": TEXT}}
    assert len(record["photo"]) == 64
    assert record["source"] == {}


MARKS = ((0.4, 0.5), (0.53, 0.51))


@pytest.mark.parametrize("framing", [Framing(MARKS), ALIGNED, Framing(MARKS, face=1)])
def test_settings_know_their_photo_and_which_part_was_edited(
    edits: Edits, session: SessionFolder, framing: Framing
) -> None:
    side = 160 if framing.aligned else 240
    content = png(noise(2, side, 160))
    told = restored_edit(edits, drawn(edits, session, photo=content, framing=framing, steps=1).record_path.read_bytes())
    assert told.photo.framing_of(edits, edits.open(content)) == framing
    for other in (png(noise(3, side, 160)), png(noise(2, side, 100))):
        assert told.photo.framing_of(edits, edits.open(other)) is None


def test_older_settings_know_no_part(edits: Edits, session: SessionFolder) -> None:
    record = drawn(edits, session, steps=1).record
    older = {name: value for name, value in record.items() if name != "framing"}
    assert restored_edit(edits, json.dumps(older).encode()).photo.framing_of(edits, edits.open(PHOTO)) is None


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "no photo": ({"photo": b""}, "photo", "empty"),
    "no picture": ({"photo": b"GIF89a, almost"}, "photo", "not a readable image"),
    "too many pixels": ({"photo": png(noise(0, 300, 300))}, "photo", "scale it down first"),
    "not square": ({"photo": png(noise(0, 64, 32))}, "photo", "64 x 32 pixels"),
    "no face": ({"photo": png(noise(0, 96, 64)), "framing": Framing()}, "photo", "click the middle of each eye"),
    "no face and no words": (
        {"photo": png(noise(0, 96, 64)), "framing": Framing(), "conditions": {"text": ""}},
        "photo",
        "no face was found",
    ),
    "no such face": ({"framing": Framing(face=7)}, "photo", "click the middle of each eye"),
    "eyes at one place": ({"framing": Framing([(0.5, 0.5), (0.5, 0.5)])}, "eyes", "less than four pixels apart"),
    "no condition": ({"conditions": {}}, "conditions", "nothing is given"),
    "unknown condition": ({"conditions": {"pose": "left"}}, "conditions", "'pose'"),
    "empty words": ({"conditions": {"text": " "}}, "text", "empty"),
    "unknown editor": ({"editor": "magic"}, "editor", "'magic'"),
    "no editor": ({"editor": ["sdedit"]}, "editor", "unknown"),
    "strength above": ({"strength": 1.1}, "strength", "of SDEdit is a number from 0 to 1"),
    "alpha above": ({"editor": "imagic", "strength": 2.6}, "strength", "from -1 to 2.5"),
    "no strength": ({"strength": float("nan")}, "strength", "nan"),
    "strength in words": ({"strength": "much"}, "strength", "'much'"),
    "learning": ({"editor": "imagic", "learning": "endless"}, "learning", "'endless'"),
    "source": ({"editor": "diffedit", "source": {"text": "x" * 3000}}, "source", "too many"),
    "no region": ({"editor": "blended"}, "region", "repaint its mask"),
    "empty region": ({"editor": "blended", "region": np.zeros((8, 8), bool)}, "region", "paint where"),
    "huge region": ({"editor": "diffedit", "region": np.ones((2000, 2000), bool)}, "region", "pixels a side"),
    "steps": ({"steps": 101}, "steps", "100"),
    "count": ({"count": 9}, "count", "8"),
    "seed": ({"seed": -1}, "seed", "seed"),
    "guidance": ({"guidance": float("inf")}, "guidance", "guidance"),
    "composition": ({"composition": "sum"}, "composition", "'sum'"),
}


@pytest.mark.parametrize("name", list(WRONG))
def test_what_is_wrong_is_told_beside_its_field(
    drawing: Engine, session: SessionFolder, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "limits", Limits(pixels=80_000))
    changes, field, part = WRONG[name]
    with pytest.raises(FieldError) as error:
        Edits(drawing).check(asked(**changes), session)
    assert error.value.field == field
    assert part in str(error.value)
    assert str(session.path) not in str(error.value)
    assert list(session.path.rglob("*.png")) == []


def test_nobody_finds_a_strength_without_judges(session: SessionFolder) -> None:
    plain = Edits(engine())
    with pytest.raises(FieldError, match="no judges") as error:
        plain.check(asked(strength=None), session)
    assert error.value.field == "strength"
    assert plain.read(plain.framed(plain.open(PHOTO), ALIGNED)) is None
    plain.engine.close()


def test_which_of_several_faces(edits: Edits, session: SessionFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [FoundFace(((x, 40.0), (x + 20, 40.0)), (x - 10, 20.0, x + 30, 60.0), x > 50) for x in (30.0, 120.0)]
    monkeypatch.setattr("codiff.photos.framing.find_faces", lambda _photo: found)
    photo = edits.open(png(noise(0, 200, 100)))
    with pytest.raises(FieldError, match="2 faces are in this photo") as error:
        edits.framed(photo, Framing())
    assert error.value.field == "face"
    with heard():  # the face is larger than the model draws
        first = edits.framed(photo, Framing(face=0))
        exact = edits.framed(photo, Framing([(30 / 200, 0.4), (50 / 200, 0.4)]))
    assert np.array_equal(np.asarray(first.crop), np.asarray(exact.crop))
    assert (first.eyes_seen, exact.eyes_seen) == (False, True)
    content, unsure = png(noise(0, 200, 100)), Framing(face=0)
    assert any(
        "eyes were not seen" in note for note in edits.check(asked(photo=content, framing=unsure), session).notes
    )


@pytest.mark.parametrize(
    "value", [[[0.1, 0.2]], [[0.1, 0.2]] * 3, [[0.1], [0.2]], [[0, 2], [0, 0]], "eyes", [["a", 0]]]
)
def test_marks_that_are_no_eyes(value: Any) -> None:
    with pytest.raises(FieldError) as error:
        marked(value)
    assert error.value.field == "eyes"


def test_marks() -> None:
    assert marked([]) == marked(None) == []
    assert marked([[0, 0.5], [1, 0.25]]) == [(0.0, 0.5), (1.0, 0.25)]


def test_times_are_the_medians_of_this_server() -> None:
    times = EditTimes()
    assert "shipped model" in times.told("sdedit")
    assert times.told("an editor of somebody else") == ""
    for seconds in (3.0, 100.0, 4.0):
        times.note("sdedit", seconds, learned=False)
    assert times.told("sdedit") == "Takes about 4 s here."
    times.note("imagic", 60.0, learned=True)
    times.note("imagic", 5.0, learned=False)
    assert (
        times.told("imagic")
        == "Takes about 60 s with learning the photo, about 5 s with a photo that was learned here."
    )
