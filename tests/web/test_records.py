"""Records: what they bring back, and what is refused of those that others send."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pytest
import torch
from engines import STEPS, engine, request, result_of, same_inputs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from models import CAPTIONS, PIXELS
from PIL import Image, PngImagePlugin

from codiff import InfluenceBias
from codiff.png_metadata import METADATA_KEY
from codiff.web.engine import Engine
from codiff.web.field_error import FieldError
from codiff.web.limits import Limits
from codiff.web.records import record_of
from codiff.web.storage import SessionFolder, Storage

# diffusers makes numpy arrays of tensors in a way that numpy 2 will give up
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

POINTS = [(0.0, 1.0), (0.25, 1 / 3), (1.0, -2.5)]


@pytest.fixture(scope="module")
def ours() -> Iterator[Engine]:
    with closing(engine()) as opened:
        yield opened


@pytest.fixture
def folder() -> Iterator[SessionFolder]:
    storage = Storage()
    yield storage.session("abc")
    storage.close()


def full_bias() -> InfluenceBias:
    plane = torch.randn(7, 5, generator=torch.Generator().manual_seed(0)).numpy()
    return InfluenceBias({"text": 0.1}, {"mask": plane}, {"mask": POINTS}, timesteps=1000)


def record(ours: Engine, **changes: Any) -> dict[str, Any]:
    """As JSON would give it back."""
    told: dict[str, Any] = json.loads(json.dumps(record_of(ours.pipe, ours.check(request(**changes)))))
    return told


def damaged(told: dict[str, Any], path: str, value: Any) -> str:
    """A record with another value at "a.b.c"; `...` removes it."""
    *places, last = path.split(".")
    inner = told
    for place in places:
        inner = inner[place]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return json.dumps(told)


def refused(ours: Engine, content: bytes | str, *parts: str) -> None:
    with pytest.raises(FieldError) as caught:
        ours.restore(content)
    assert caught.value.field == "record"
    for part in parts:
        assert part in str(caught.value)
    assert len(str(caught.value)) < 600


def drawn_by_command(told: dict[str, Any]) -> bytes:
    """A picture with these metadata."""
    info, content = PngImagePlugin.PngInfo(), io.BytesIO()
    info.add_text(METADATA_KEY, json.dumps(told))
    Image.new("RGB", (PIXELS, PIXELS)).save(content, format="PNG", pnginfo=info)
    return content.getvalue()


def converted(picture: Image.Image, mode: str) -> Image.Image:
    """Some of the conversions need a step between."""
    if mode in ("RGBA", "LA"):
        return picture.convert(mode)
    opaque = picture.convert("RGB")
    return opaque.convert("L").convert("I").convert(mode) if mode == "I;16" else opaque.convert(mode)


class TestThereAndBack:
    def test_a_record_gives_the_same_pictures_to_the_bit(self, ours: Engine, folder: SessionFolder) -> None:
        wanted = request(seed=2**63 - 10, count=2, scheduler="euler", guidance=1.7, composition="no-temporal")
        first = result_of(ours.draw(ours.check(wanted), folder))
        restored = ours.restore(first.record_path.read_bytes())
        assert restored.notes == ()
        second = result_of(ours.draw(ours.check(restored.request), folder))
        assert [path.read_bytes() for path in first.paths] == [path.read_bytes() for path in second.paths]
        assert first.record == second.record

    def test_steering_too(self, ours: Engine, folder: SessionFolder) -> None:
        first = result_of(ours.draw(ours.check(request(bias=full_bias())), folder))
        second = result_of(ours.draw(ours.check(ours.restore(first.record_path.read_bytes()).request), folder))
        assert first.images[0].tobytes() == second.images[0].tobytes()
        assert first.record == second.record
        plain = result_of(ours.draw(ours.check(request()), folder))
        assert plain.images[0].tobytes() != first.images[0].tobytes()

    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(labels=st.integers(1, 40).flatmap(lambda side: arrays(np.uint8, (side, side), elements=st.integers(0, 18))))
    def test_any_label_map(self, ours: Engine, labels: np.ndarray) -> None:
        told = record(ours, conditions={"mask": labels})
        back = ours.check(ours.restore(json.dumps(told)).request)
        assert np.array_equal(back.request.conditions["mask"], labels)
        assert back.notes == ()

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        pixels=st.integers(2, 40).flatmap(lambda side: arrays(np.uint8, (side, side, 4))),
        mode=st.sampled_from(["L", "RGB", "RGBA", "LA", "1", "P", "CMYK", "I;16"]),
    )
    def test_any_drawing(self, ours: Engine, pixels: np.ndarray, mode: str) -> None:
        picture = converted(Image.fromarray(pixels), mode)
        try:
            first = ours.check(request(conditions={"sketch": picture}))
        except FieldError as error:
            assert "blank" in str(error)  # noqa: PT017  (a drawing may be)
            return
        again = ours.check(ours.restore(json.dumps(record_of(ours.pipe, first))).request)
        assert same_inputs(first.inputs, again.inputs)
        assert first.digest == again.digest

    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(text=st.text(max_size=200))
    def test_any_words(self, ours: Engine, text: str) -> None:
        try:
            told = record(ours, conditions={"text": text})
        except FieldError as error:
            assert error.field == "text"  # noqa: PT017
            return
        assert ours.restore(json.dumps(told)).request.conditions == {"text": text}

    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        plane=st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
            lambda shape: arrays(np.float32, shape, elements=st.floats(-20, 20, width=32))
        )
    )
    def test_any_map_of_a_bias(self, ours: Engine, plane: np.ndarray) -> None:
        told = record(ours, bias=InfluenceBias(maps={"mask": plane}))
        bias = ours.restore(json.dumps(told)).request.bias
        assert bias is not None
        assert bias.maps["mask"].numpy().tobytes() == plane.astype(np.float32).tobytes()

    def test_all_settings(self, ours: Engine) -> None:
        wanted = request(
            seed=5, count=3, steps=7, scheduler="dpm++", guidance=0.1, composition="mean", bias=full_bias()
        )
        restored = ours.restore(json.dumps(record(ours, **{**vars(wanted)}))).request
        assert (restored.seed, restored.count, restored.steps, restored.scheduler) == (5, 3, 7, "dpm++")
        assert (restored.guidance, restored.composition) == (0.1, "mean")
        assert restored.bias is not None
        assert restored.bias.strengths == {"text": 0.1}
        assert restored.bias.curves == {"mask": tuple(POINTS)}
        assert list(restored.conditions) == ["text", "mask", "sketch"]

    def test_another_model_is_told(self, ours: Engine) -> None:
        told = record(ours)
        for changes, part in (({"weights": "1" * 64}, "another version of this model"), ({"model": "big"}, "")):
            notes = ours.restore(json.dumps({**told, **changes})).notes
            assert [part in note for note in notes] == [True] * (1 if part else 0)
        notes = ours.restore(json.dumps({**told, "model": "big", "weights": "2" * 64})).notes
        assert notes == ("these settings were made with the model big: the pictures will be others",)


class TestRefused:
    @pytest.mark.parametrize(
        ("path", "value", "part"),
        [
            ("codiff_record", 2, "codiff_record"),
            ("codiff_record", ..., "not a settings file of codiff; load the JSON file"),
            ("seed", -1, "seed"),
            ("seed", "0", "seed"),
            ("seed", 2**63, "seed"),
            ("seed", 1e400, "seed"),
            ("steps", 2.5, "steps"),
            ("guidance", "NaN", "guidance"),
            ("guidance", float("nan"), "JSON"),
            ("conditions", {}, "conditions"),
            ("conditions", [], "conditions"),
            ("conditions.smell", {"kind": "words", "data": "roses"}, "'smell', and this model takes text, mask"),
            ("conditions.text.kind", "labels", "its text is of the kind labels, and this model takes words"),
            ("conditions.text.data", 7, "conditions.text.data"),
            ("conditions.mask.kind", "picture", "conditions.mask.kind"),
            ("conditions.mask.data", "§", "mask: its data are not base64"),
            ("conditions.mask.path", "/etc/passwd", "conditions.mask.path"),
            ("bias.strengths", {"mask": 21.0}, "the strength of 'mask' must be a number from -20 to 20"),
            ("bias.strengths", {"mask": "1"}, "bias.strengths.mask"),
            ("bias.maps", {"mask": "AAAA"}, "a map of its bias is damaged"),
            ("bias.maps", {"mask": "§"}, "a map of its bias is damaged"),
            ("bias.curves", {"mask": [[0.5]]}, "bias.curves.mask"),
            ("bias.curves", {"mask": [[2.0, 1.0]]}, "fraction from 0 to 1"),
            ("bias.timesteps", 0, "bias.timesteps"),
            ("extra", 1, "extra"),
        ],
    )
    def test_each_wrong_value(self, ours: Engine, path: str, value: Any, part: str) -> None:
        refused(ours, damaged(record(ours, bias=full_bias()), path, value), part)

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"{",
            b"[]",
            b"null",
            b'"text"',
            b"[" * 100_000,
            b'{"a":' * 100_000,
            b"\xff\xfe",
            b"PK\x03\x04",
            "é\ud800",
        ],
        ids=str,
    )
    def test_what_is_no_record(self, ours: Engine, content: bytes | str) -> None:
        refused(ours, content, "not a settings file of codiff", "load the JSON file")

    def test_one_that_is_too_large(self) -> None:
        with closing(engine(Limits(record_bytes=1000))) as ours:
            refused(ours, b" " * 1001, "no settings file is that large")

    def test_what_is_in_it_is_checked_as_if_it_came_from_the_page(self, ours: Engine) -> None:
        told = record(ours)
        bomb = Image.new("L", (5000, 5000))
        content = io.BytesIO()
        bomb.save(content, format="PNG")
        wrong = {
            "count": damaged(dict(told), "count", 1000),
            "steps": damaged(dict(told), "steps", 10**6),
            "guidance": damaged(dict(told), "guidance", 1e6),
            "scheduler": damaged(dict(told), "scheduler", "best"),
            "mask": damaged(record(ours), "conditions.mask.data", base64.b64encode(content.getvalue()).decode()),
            "text": damaged(record(ours), "conditions.text.data", "a" * 5000),
        }
        for field, content_of in wrong.items():
            with pytest.raises(FieldError) as caught:
                ours.check(ours.restore(content_of).request)
            assert caught.value.field == field

    def test_a_map_of_a_bias_that_is_too_large(self, ours: Engine) -> None:
        content = io.BytesIO()
        Image.new("L", (4 * 2000, 2)).save(content, format="PNG")
        plane = base64.b64encode(content.getvalue()).decode()
        refused(ours, damaged(record(ours, bias=full_bias()), "bias.maps", {"mask": plane}), "is damaged")


class TestPictures:
    def test_each_comes_back_whole_with_what_was_painted_and_steered(self, ours: Engine, folder: SessionFolder) -> None:
        wanted = request(seed=4, count=2, scheduler="euler", guidance=2.0, composition="no-temporal", bias=full_bias())
        result = result_of(ours.draw(ours.check(wanted), folder))
        restored = ours.restore(result.paths[1].read_bytes())
        assert restored.notes == ()
        assert list(restored.request.conditions) == ["text", "mask", "sketch"]
        assert (restored.request.seed, restored.request.count) == (5, 1)
        again = result_of(ours.draw(ours.check(restored.request), folder))
        assert again.paths[0].read_bytes() == result.paths[1].read_bytes()

    def test_so_does_each_way_of_a_comparison(self, ours: Engine, folder: SessionFolder) -> None:
        ways = result_of(ours.compare(ours.check(request(bias=full_bias())), folder))
        for place, caption in ((0, "collaborative"), (1, "mean"), (-1, "sketch alone")):
            assert caption in ways.captions[place]
            again = ours.check(ours.restore(ways.paths[place].read_bytes()).request)
            assert result_of(ours.draw(again, folder)).images[0].tobytes() == ways.images[place].tobytes()

    def test_one_whose_record_is_too_long_says_what_is_missing(
        self, ours: Engine, folder: SessionFolder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("codiff.web.records._MOST_IN_PICTURES", 10)
        result = result_of(ours.draw(ours.check(request(scheduler="euler", composition="mean")), folder))
        restored = ours.restore(result.paths[0].read_bytes())
        (note,) = restored.notes
        assert "does not hold its mask, sketch, so they are switched off" in note
        assert restored.request.conditions == {"text": CAPTIONS[0]}
        assert (restored.request.steps, restored.request.scheduler) == (STEPS, "euler")

    def test_what_a_picture_without_a_record_was_made_with_is_told_where_it_is_left_out(self, ours: Engine) -> None:
        settings = {"steps": STEPS, "scheduler": "ddim", "guidance": 1.0, "composition": "mean"}
        other = {**settings, "model": "big", "weights": "2" * 64, "eta": 0.5}
        own = {**settings, "model": ours.name, "weights": ours.weights, "eta": 0.0}
        conditions = {"text": {"given": "a man"}, "mask": {"given": "mask.png"}}
        told = {"seed": 1, "conditions": conditions}
        steering = {"text": {"strength": 2.0, "curve": [[1, 1], [0, 0]]}}
        restored = ours.restore(drawn_by_command({**told, "settings": other, "steering": steering}))
        assert [note.split(",")[0].split(":")[0] for note in restored.notes] == [
            "this picture does not hold its mask",
            "this picture was steered",
            "this picture was drawn with eta 0.5",
            "these settings were made with the model big",
        ]
        assert ours.check(restored.request).request.bias is None
        plain = ours.restore(drawn_by_command({**told, "settings": own, "steering": None}))
        assert len(plain.notes) == 1
        assert plain.notes[0].startswith("this picture does not hold its mask, so it is switched off")

    def test_a_wrong_record_in_a_picture_is_refused(self, ours: Engine) -> None:
        info, content = PngImagePlugin.PngInfo(), io.BytesIO()
        info.add_text(METADATA_KEY, json.dumps({"record": {**record(ours), "seed": -1}}))
        Image.new("RGB", (PIXELS, PIXELS)).save(content, format="PNG", pnginfo=info)
        refused(ours, content.getvalue(), "seed")

    def test_settings_of_an_edit_are_told_where_to_open(self, ours: Engine) -> None:
        refused(ours, json.dumps({"codiff_edit": 1, "seed": 1}), "settings of an edit: open them in the Edit tab")

    @pytest.mark.parametrize(
        "metadata",
        [
            None,
            "[]",
            "{}",
            "{",
            '{"settings": 1, "conditions": 2}',
            '{"settings": {}, "conditions": {}}',
            "[" * 100_000,
        ],
    )
    def test_others_hold_no_settings(self, ours: Engine, metadata: str | None) -> None:
        info, content = PngImagePlugin.PngInfo(), io.BytesIO()
        if metadata is not None:
            info.add_text(METADATA_KEY, metadata)
        Image.new("RGB", (PIXELS, PIXELS)).save(content, format="PNG", pnginfo=info)
        refused(ours, content.getvalue(), "no settings of codiff")
        refused(ours, content.getvalue()[:-30], "no settings of codiff")

    def test_wrong_values_in_a_picture_are_found_by_the_check(self, ours: Engine) -> None:
        told = {
            "seed": {"a": 1},
            "settings": {"steps": STEPS, "scheduler": "ddim", "guidance": 1.0, "composition": "mean"},
            "conditions": {"text": {"given": "a man"}},
        }
        info, content = PngImagePlugin.PngInfo(), io.BytesIO()
        info.add_text(METADATA_KEY, json.dumps(told))
        Image.new("RGB", (PIXELS, PIXELS)).save(content, format="PNG", pnginfo=info)
        with pytest.raises(FieldError, match="seed must be a whole number"):
            ours.check(ours.restore(content.getvalue()).request)
