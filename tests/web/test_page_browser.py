"""The page in a real browser: painted, written, generated, looked into, cancelled, reloaded, restored."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from browser import alert, cut_off, no_alert, watched
from browser import browser as browser
from engines import Site, engine, until
from numpy.typing import NDArray
from PIL import Image
from serving import served

from codiff import FaceParser
from codiff.cli.edit_judges import Evaluators, Named
from codiff.modalities.mask import MASK_CLASSES, colour, read_labels
from codiff.web.faces import procedural_face
from codiff.web.hints import HINTS
from codiff.web.limits import Limits

pytest.importorskip("gradio", reason="gradio is not installed: pip install 'codiff[web]'")

SIDE = 256  # pixels of a new canvas
SCREENSHOTS = "CODIFF_SCREENSHOTS"  # names a folder for pictures of the page; they are thrown away without
LIMITS = Limits(painter_side=64, steps=1000)
TOLD = "document.querySelector('#generate-progress .told').textContent"
SNAP, PAD = (f"#generate-mask .options input >> nth={place}" for place in (0, 1))
CUT_OFF = ("AbortError", "Connection errored out")  # streams that a reload ends, which is what a reload does
SKIN, HAIR = MASK_CLASSES.index("skin"), MASK_CLASSES.index("hair")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    from codiff.web.page import build, look

    folder = tmp_path_factory.mktemp("judges")
    FaceParser(channels=(8, 8, 8, 8)).save_pretrained(folder / "face_parser")
    drawing = engine(LIMITS, evaluators=Evaluators(folder, Named()))
    with served(lambda storage: build(drawing, storage), LIMITS, look=look()) as server:
        yield Site(server.url, drawing)
    drawing.close()


@contextmanager
def visit(site: Site, browser: Any, **context: Any) -> Iterator[Any]:
    """The page as a new visitor opens it."""
    with watched(browser, site.url, tolerated=CUT_OFF, **context) as opened:
        load(opened, site)
        yield opened


def load(page: Any, site: Site) -> None:
    page.goto(site.url)
    page.wait_for_selector("#generate-mask .sheet")
    page.wait_for_function(f"{TOLD} === 'Ready'")


@pytest.fixture
def page(site: Site, browser: Any) -> Iterator[Any]:
    with visit(site, browser) as opened:
        yield opened


def told(page: Any) -> str:
    text: str = page.text_content("#generate-progress .told")
    return text


def unfold(page: Any, accordion: str, inner: str) -> None:
    """Open an accordion, and wait until Gradio has given what is in it its values, which takes it some frames."""
    if not page.is_visible(inner):
        page.click(f"{accordion} > button")
        page.wait_for_selector(inner)
        page.evaluate(
            """async () => {
              for (let frame = 0; frame < 20; frame += 1) await new Promise((done) => requestAnimationFrame(done));
            }"""
        )


def set_number(page: Any, name: str, value: float | str) -> None:
    """Of a slider or a text, by the keyboard."""
    typed = f"#generate-{name} input:not([type=range])"
    if name not in ("count", "seed"):
        unfold(page, "#generate-more", typed)
    field = page.locator(typed)
    field.fill(str(value))
    field.press("Tab")


def begin(page: Any, steps: int = 3) -> None:
    set_number(page, "steps", steps)
    page.click("#generate-run")


def generate(page: Any, steps: int = 3) -> None:
    page.evaluate(f"{TOLD} = ''")  # of a run before
    begin(page, steps)
    page.wait_for_function(f"/^\\d+ pictures? in /.test({TOLD})")


def saved(page: Any, button: str) -> bytes:
    with page.expect_download() as download:
        page.click(button)
    return Path(download.value.path()).read_bytes()


def record_of(page: Any) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(saved(page, "#generate-settings"))
    return record


def pixels(content: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def error(page: Any, field: str) -> str:
    """What is said beside a field, once something is."""
    return alert(page, f"#generate-{field}-error")


def no_error(page: Any, field: str) -> None:
    no_alert(page, f"#generate-{field}-error")


def labels_painted(page: Any) -> NDArray[np.uint8]:
    """What the server read of the mask that is painted."""
    generate(page)
    return read_labels(base64.b64decode(record_of(page)["conditions"]["mask"]["data"]))


def mask_changes(page: Any, action: Any) -> None:
    """Wait until what is painted has changed on the canvas."""
    look = "document.querySelector('#generate-mask canvas').toDataURL()"
    before = page.evaluate(look)
    action()
    page.wait_for_function(f"before => {look} !== before", arg=before)


def in_view(page: Any, selector: str) -> None:
    """Wait until all of it is seen, and the page stands still."""
    page.wait_for_function(
        """async (selector) => {
          const frame = () => new Promise((done) => requestAnimationFrame(done));
          const place = () => document.querySelector(selector)?.getBoundingClientRect();
          const before = place()?.top;
          for (let at = 0; at < 6; at += 1) await frame();
          const { top, bottom } = place() ?? {};
          return top === before && top >= 0 && bottom <= innerHeight;
        }""",
        arg=selector,
    )


def tab_to(page: Any, selector: str) -> None:
    """Press Tab until it has the focus."""
    for _ in range(100):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"no Tab leads to {selector}")


def disc(x: float, y: float, wide: float) -> NDArray[np.bool_]:
    """Pixels (SIDE, SIDE) whose centres lie within a brush at (x, y)."""
    rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
    within: NDArray[np.bool_] = (columns - x) ** 2 + (rows - y) ** 2 <= (wide / 2) ** 2
    return within


class TestPainting:
    def test_keys_paint_exactly_what_the_server_reads(self, page: Any) -> None:
        sheet = page.locator("#generate-mask .sheet")
        mask_changes(page, lambda: page.click("#generate-mask button:has-text('Clear')"))
        sheet.focus()
        for key in ("1", "Enter", "d", "]"):  # skin everywhere, then a larger brush of hair
            sheet.press(key)
        sheet.press("Space")
        for _ in range(3):
            sheet.press("ArrowRight")
        sheet.press("Space")
        wide = round(0.12 * SIDE)
        expected = np.full((SIDE, SIDE), SKIN, np.uint8)
        for x in (SIDE / 2, SIDE / 2 + 3 * SIDE / 64):
            expected[disc(x, SIDE / 2, wide)] = HAIR
        assert (labels_painted(page) == expected).all()

    def test_the_pointer_paints_fills_and_takes_back(self, page: Any) -> None:
        mask_changes(page, lambda: page.click("#generate-mask button:has-text('Clear')"))
        sheet = page.locator("#generate-mask .sheet")
        sheet.scroll_into_view_if_needed()
        box = sheet.bounding_box()

        def stroke(*points: tuple[float, float]) -> None:
            places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
            page.mouse.move(*places[0])
            page.mouse.down()
            for place in places[1:]:
                page.mouse.move(*place)
            page.mouse.up()

        stroke((0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8), (0.2, 0.2))  # a closed frame of hair
        page.click("#generate-mask label:has-text('skin')")
        page.click("#generate-mask label:has-text('Fill')")
        page.mouse.click(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
        page.click("#generate-mask label:has-text('cloth')")
        page.mouse.click(box["x"] + 0.02 * box["width"], box["y"] + 0.02 * box["height"])
        mask_changes(page, lambda: page.click("#generate-mask button:has-text('Undo')"))
        labels = labels_painted(page)
        assert set(np.unique(labels)) == {0, SKIN, HAIR}
        assert labels[SIDE // 2, SIDE // 2] == SKIN
        assert labels[SIDE // 2, int(0.2 * SIDE)] == labels[int(0.8 * SIDE), SIDE // 2] == HAIR
        assert labels[5, 5] == 0

    def test_a_finger_paints_and_does_not_scroll(self, site: Site, browser: Any) -> None:
        with visit(site, browser, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True) as page:
            page.locator("#generate-mask button:has-text('Clear')").tap()
            page.locator("#generate-mask label:has-text('hair')").tap()
            sheet = page.locator("#generate-mask .sheet")
            sheet.scroll_into_view_if_needed()
            box, before = sheet.bounding_box(), page.evaluate("scrollY")
            finger = page.context.new_cdp_session(page)

            def touch(kind: str, *at: float) -> None:
                points = [{"x": box["x"] + 0.5 * box["width"], "y": box["y"] + y * box["height"]} for y in at]
                finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

            def stroke() -> None:
                touch("touchStart", 0.8)
                for step in range(7, 1, -1):
                    touch("touchMove", step / 10)
                touch("touchEnd")

            mask_changes(page, stroke)
            assert page.evaluate("scrollY") == before
            labels = labels_painted(page)
            assert (labels[int(0.25 * SIDE) : int(0.75 * SIDE), SIDE // 2] == HAIR).all()
            assert labels[SIDE // 2, SIDE // 4] == 0

    def test_a_sketch_and_steering_take_part_when_they_are_drawn(self, page: Any) -> None:
        page.check("#generate-sketch .switch input")
        page.click("#generate-sketch-random")
        strength = "#generate-steer-text-strength input[type=number]"
        unfold(page, "#generate-steer", strength)
        page.fill(strength, "2")
        page.press(strength, "Tab")
        sheet = page.locator("#generate-steer-text-painter .sheet")
        sheet.focus()
        sheet.press("Enter")  # fills everything: raised
        generate(page)
        record = record_of(page)
        assert set(record["conditions"]) == {"text", "mask", "sketch"}
        assert record["bias"]["strengths"] == {"text": 2.0}
        assert set(record["bias"]["maps"]) == {"text"}

    def test_a_picture_becomes_a_mask_and_shows_through(self, page: Any, site: Site, tmp_path: Path) -> None:
        path = tmp_path / "face.png"
        procedural_face(3, 64).picture.save(path)
        mask_changes(page, lambda: page.set_input_files("#generate-mask-photo input", path))
        assert page.is_visible("#generate-mask .underlay")
        parsed, _ = site.engine.parse(path.read_bytes())
        assert (labels_painted(page) == parsed).all()
        mask_changes(page, lambda: page.click("#generate-examples button >> nth=0"))
        page.locator("#generate-mask .underlay").wait_for(state="hidden")

    def test_options_read_a_file_again_as_long_as_it_is_what_is_shown(self, page: Any, tmp_path: Path) -> None:
        labels = np.full((32, 64), SKIN, np.uint8)
        Image.fromarray(colour(labels)).save(tmp_path / "wide.png")
        page.set_input_files("#generate-mask-upload input", tmp_path / "wide.png")
        assert "square" in error(page, "mask")
        mask_changes(page, lambda: page.check(PAD))
        no_error(page, "mask")
        assert (labels_painted(page)[[0, -1]] == 0).all()
        mask_changes(page, lambda: page.click("#generate-mask-random"))
        drawn = labels_painted(page)
        page.check(SNAP)
        page.wait_for_timeout(500)
        assert (labels_painted(page) == drawn).all()


class TestGenerating:
    def test_a_caption_becomes_pictures_and_one_sees_inside(self, page: Any) -> None:
        page.fill("#generate-text-value textarea", "A young woman.")
        set_number(page, "count", 2)
        generate(page)
        record = record_of(page)
        assert record["conditions"]["text"]["data"] == "A young woman."
        with zipfile.ZipFile(io.BytesIO(saved(page, "#generate-archive"))) as archive:
            endings = [Path(name).suffix for name in archive.namelist()]
        assert sorted(endings) == [".json", ".png", ".png", ".png", ".txt"]  # two pictures, mask, caption, settings
        assert pixels(saved(page, "#generate-picture")).shape == (32, 32, 3)
        page.click("#generate-inside")
        page.wait_for_selector("#inside-overlays .grid img")
        captions = page.locator("#inside-maps figcaption").all_inner_texts()
        columns = "grid => getComputedStyle(grid).gridTemplateColumns.split(' ').length"
        assert page.eval_on_selector("#inside-maps .grid", columns) == 3
        assert [caption.split(":")[0] for caption in captions] == ["text", "mask"]
        assert sum(int(re.findall(r"\d+", caption)[0]) for caption in captions) == pytest.approx(100, abs=1)
        assert page.locator("#inside-curve .grid img").count() == 1
        conflict = page.get_attribute("#inside-conflict .grid img", "src")
        before = page.get_attribute("#inside-maps .grid img", "src")
        page.fill("#inside-step input[type=number]", "1")
        page.press("#inside-step input[type=number]", "Tab")
        page.wait_for_function(
            "before => document.querySelector('#inside-maps .grid img').getAttribute('src') !== before", arg=before
        )
        page.wait_for_function("/^step 1 of 3/.test(document.querySelector('#inside-curve figcaption').textContent)")
        assert page.get_attribute("#inside-conflict .grid img", "src") != conflict
        page.click("#inside-compare")
        page.wait_for_selector("#inside-ways .grid img")
        ways = page.locator("#inside-ways figcaption").all_inner_texts()
        assert [way.split(",")[0] for way in ways] == ["collaborative", "mean", "text alone", "mask alone"]

    @pytest.mark.parametrize("width", [360, 1280])
    def test_nothing_moves_while_pictures_are_drawn(self, page: Any, width: int) -> None:
        page.set_viewport_size({"width": width, "height": 800})
        page.fill("#generate-text-value textarea", "A man with a zyxwv.")
        set_number(page, "steps", 60)
        page.locator("#generate-text-error .note", has_text="zyxwv").wait_for()
        page.evaluate(
            """() => {
              window.shifts = [];
              new PerformanceObserver((list) => {
                for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifts.push(entry.value);
              }).observe({ type: "layout-shift" });
            }"""
        )
        page.click("#generate-run")
        page.wait_for_function("document.querySelector('#generate-preview canvas').width > 1")
        place = page.evaluate(ON_THE_STAGE, "canvas")
        page.wait_for_function(f"/picture/.test({TOLD})")
        page.wait_for_selector("#generate-gallery img")
        page.locator("#generate-preview .preview canvas").wait_for(state="hidden")
        assert page.evaluate(ON_THE_STAGE, ".media-button img") == pytest.approx(place, abs=2)
        assert sum(page.evaluate("window.shifts")) < 0.01  # "good" is below 0.1 (web.dev, Cumulative Layout Shift)

    def test_cancel_ends_the_work(self, page: Any, site: Site) -> None:
        begin(page, 1000)
        page.wait_for_function(f"/^Step/.test({TOLD})")
        page.click("#generate-cancel")
        page.wait_for_function(f"{TOLD} === 'Stopped'")
        until(lambda: not site.busy, 60)
        assert page.is_disabled("#generate-cancel")
        generate(page)  # and it can go on

    def test_cancel_ends_the_work_of_its_own_tab_alone(self, page: Any, site: Site) -> None:
        compared = "document.querySelector('#inside-progress .told').textContent"
        generate(page)
        set_number(page, "count", 8)  # long enough for all that follows
        begin(page, 1000)
        page.wait_for_function(f"/^Step/.test({TOLD})")
        page.click("#generate-inside")
        page.click("#inside-compare")
        page.wait_for_function(f"/^Waiting/.test({compared})")
        page.click("#inside-cancel")
        page.wait_for_function(f"{compared} === 'Stopped'")
        assert site.engine.workers.working == 1
        page.click("#inside-compare")
        page.wait_for_function(f"/^Waiting/.test({compared})")
        page.click("role=tab[name='Generate']")
        page.click("#generate-cancel")
        page.wait_for_function(f"{TOLD} === 'Stopped'")
        page.wait_for_function(f"/ ways of seed /.test({compared})")

    def test_a_reload_ends_the_work_and_brings_back_what_was_generated(self, page: Any, site: Site) -> None:
        page.fill("#generate-text-value textarea", "The child has no beard.")
        set_number(page, "seed", 77)
        generate(page)
        record = record_of(page)
        begin(page, 1000)
        page.wait_for_function(f"/^Step/.test({TOLD})")
        load(page, site)
        until(lambda: not site.busy, 60)
        page.wait_for_function("document.querySelector('#generate-seed input').value === '77'")
        generate(page)
        again = record_of(page)
        assert {name: again[name] for name in ("conditions", "seed")} == {
            name: record[name] for name in ("conditions", "seed")
        }


class TestRestoring:
    def test_settings_bring_everything_back_to_the_same_picture(self, site: Site, browser: Any, tmp_path: Path) -> None:
        with visit(site, browser) as page:
            page.uncheck("#generate-mask .switch input")
            page.check("#generate-sketch .switch input")
            page.fill("#generate-text-value textarea", "A man with stubble in his thirties.")
            set_number(page, "seed", 5)
            generate(page, 4)
            first, settings = pixels(saved(page, "#generate-picture")), saved(page, "#generate-settings")
        (tmp_path / "settings.json").write_bytes(settings)
        with visit(site, browser) as page:
            page.set_input_files("#generate-open input", tmp_path / "settings.json")
            page.wait_for_function("document.querySelector('#generate-seed input').value === '5'")
            assert page.input_value("#generate-text-value textarea") == "A man with stubble in his thirties."
            assert not page.is_checked("#generate-mask .switch input")
            assert page.is_checked("#generate-sketch .switch input")
            page.click("#generate-run")
            page.wait_for_function(f"/picture/.test({TOLD})")
            assert json.loads(saved(page, "#generate-settings")) == json.loads(settings)
            assert (pixels(saved(page, "#generate-picture")) == first).all()

    def test_every_setting_what_was_painted_and_steering_come_back(
        self, site: Site, browser: Any, tmp_path: Path
    ) -> None:
        with visit(site, browser) as page:
            mask_changes(page, lambda: page.click("#generate-mask-random"))
            page.click("#generate-mask label:has-text('cloth')")
            mask_changes(page, lambda: page.click("#generate-mask .sheet"))  # in its middle
            for name, value in (("count", 2), ("seed", 11), ("guidance", 3.5)):
                set_number(page, name, value)
            for name, shown in (("scheduler", "Euler"), ("composition", "Mean")):
                page.click(f"#generate-{name} input")
                page.get_by_role("option", name=shown).click()
            strength = "#generate-steer-text-strength input[type=number]"
            unfold(page, "#generate-steer", strength)
            page.fill(strength, "1.5")
            page.press(strength, "Tab")
            generate(page, 4)
            first, settings = pixels(saved(page, "#generate-picture")), record_of(page)
        sampling = {name: settings[name] for name in ("count", "seed", "guidance", "scheduler", "composition", "steps")}
        assert sampling == {
            "count": 2, "seed": 11, "guidance": 3.5, "scheduler": "euler", "composition": "mean", "steps": 4,
        }  # fmt: skip
        assert settings["bias"]["strengths"] == {"text": 1.5}
        (tmp_path / "settings.json").write_text(json.dumps(settings))
        with visit(site, browser) as page:
            page.set_input_files("#generate-open input", tmp_path / "settings.json")
            page.wait_for_function("document.querySelector('#generate-seed input').value === '11'")
            page.click("#generate-run")
            page.wait_for_function(f"/picture/.test({TOLD})")
            assert record_of(page) == settings
            assert (pixels(saved(page, "#generate-picture")) == first).all()

    def test_what_is_no_record_is_refused_beside_its_button(self, page: Any, tmp_path: Path) -> None:
        (tmp_path / "settings.json").write_text('{"seed": 1}')
        page.set_input_files("#generate-open input", tmp_path / "settings.json")
        assert "not a settings file of codiff" in error(page, "record")


class TestErrors:
    def test_a_wrong_upload_is_told_beside_the_mask(self, page: Any, tmp_path: Path) -> None:
        (tmp_path / "notes.png").write_text("not a picture")
        page.set_input_files("#generate-mask-upload input", tmp_path / "notes.png")
        assert "can not be used" in error(page, "mask")
        labels = np.kron(np.array([[SKIN, HAIR], [0, 18]], np.uint8), np.ones((32, 32), np.uint8))
        Image.fromarray(colour(labels)).save(tmp_path / "mask.jpg", quality=95)
        page.set_input_files("#generate-mask-upload input", tmp_path / "mask.jpg")
        page.wait_for_function("/nearest colours/.test(document.querySelector('#generate-mask-error').textContent)")
        assert 'the option "snap to the nearest colours"' in error(page, "mask")
        page.check(SNAP)
        no_error(page, "mask")
        assert (labels_painted(page)[8:24, 8:24] == SKIN).all()

    def test_each_error_stands_beside_its_field_until_it_is_mended(self, page: Any) -> None:
        page.fill("#generate-text-value textarea", "  ")
        page.click("#generate-run")
        assert "empty" in error(page, "text")
        page.fill("#generate-text-value textarea", "A man.")
        set_number(page, "seed", -1)
        page.click("#generate-run")
        assert "whole number from 0" in error(page, "seed")
        no_error(page, "text")
        set_number(page, "seed", 1)
        for name in ("text", "mask"):
            page.uncheck(f"#generate-{name} .switch input")
        page.click("#generate-run")
        assert "at least one of text, mask, sketch" in error(page, "conditions")
        page.check("#generate-text .switch input")
        generate(page)
        no_error(page, "conditions")

    def test_a_refused_run_opens_the_section_and_leads_to_the_field(self, page: Any) -> None:
        set_number(page, "steps", 2.5)
        steps, fold = "#generate-steps-error [role=alert]", "#generate-more > button"
        for _ in range(2):  # the same message again is led to again
            page.click(fold)
            page.wait_for_selector(steps, state="hidden")
            page.evaluate("scrollTo(0, 0)")
            page.click("#generate-run")
            in_view(page, steps)
            page.wait_for_function("document.activeElement.closest('#generate-steps') !== null")
        assert page.inner_text("#generate-progress .refused") == "Something is wrong: see Steps"
        page.evaluate("scrollTo(0, 0)")
        page.click("#generate-progress .refused a")
        in_view(page, steps)
        set_number(page, "steps", 3)
        set_number(page, "seed", "")
        page.evaluate("scrollTo(0, 0)")
        page.click("#generate-run")
        in_view(page, "#generate-seed-error [role=alert]")
        assert "none is given" in error(page, "seed")
        page.wait_for_function("document.activeElement.closest('#generate-seed') !== null")
        set_number(page, "seed", 2**53 + 1)
        generate(page)
        assert page.is_hidden("#generate-progress .refused")
        assert record_of(page)["seed"] == 2**53 + 1

    def test_a_number_beyond_a_slider_is_told(self, page: Any) -> None:
        set_number(page, "steps", 99999)
        assert page.inner_text("#generate-steps .limited") == "1000 is the most, not 99999."
        assert page.input_value("#generate-steps input[type=number]") == "1000"
        set_number(page, "steps", 3)
        assert page.locator("#generate-steps .limited").count() == 0


class TestPhone:
    PHONE: ClassVar[dict[str, Any]] = {
        "viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True, "reduced_motion": "reduce",
    }  # fmt: skip

    def test_a_run_and_an_error_are_brought_to_view(self, site: Site, browser: Any) -> None:
        with visit(site, browser, **self.PHONE) as page:
            set_number(page, "steps", 60)
            page.evaluate("scrollTo(0, 0)")
            page.locator("#generate-run").tap()
            in_view(page, "#generate-preview .preview:not([hidden])")
            in_view(page, "#generate-progress .told")
            page.wait_for_function(f"/picture/.test({TOLD})")
            for icon in page.locator(".stage .icon-button").all():
                box = icon.bounding_box()
                assert min(box["width"], box["height"]) >= 24  # WCAG 2.2, 2.5.8
            page.fill("#generate-text-value textarea", " ")
            page.evaluate("scrollTo(0, document.body.scrollHeight)")
            page.locator("#generate-run").tap()
            in_view(page, "#generate-text-error [role=alert]")
            page.wait_for_function("document.activeElement.tagName === 'TEXTAREA'")

    def test_the_bar_covers_nothing_at_the_end_of_the_page(self, site: Site, browser: Any) -> None:
        with visit(site, browser, **self.PHONE) as page:
            generate(page)
            page.evaluate("scrollTo(0, document.body.scrollHeight)")
            page.locator("#generate-inside").tap(timeout=5000)  # refused where something lies over it
            page.wait_for_selector("#inside-overlays .grid img")


class TestVisitors:
    def test_two_at_once_see_their_own_pictures_alone(self, site: Site, browser: Any) -> None:
        with visit(site, browser) as one, visit(site, browser) as other:
            for page, seed in ((one, 1), (other, 2)):
                set_number(page, "seed", seed)
                begin(page, 8)
            for page in (one, other):
                page.wait_for_function(f"/picture/.test({TOLD})")
            shown = [page.get_attribute("#generate-gallery img", "src") for page in (one, other)]
            assert [record_of(page)["seed"] for page in (one, other)] == [1, 2]
            assert one.request.get(shown[0]).status == 200
            assert other.request.get(shown[0]).status == 403
            assert one.request.get(shown[1]).status == 403


class TestForm:
    @pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (1024, "dark"), (1920, "light")])
    def test_it_fits_and_everything_has_a_name(
        self, site: Site, browser: Any, tmp_path: Path, width: int, scheme: str
    ) -> None:
        pictures = Path(os.environ.get(SCREENSHOTS, tmp_path))
        with visit(site, browser, viewport={"width": width, "height": 800}, color_scheme=scheme) as page:
            for tab in page.get_by_role("tab").all():
                tab.click()
                assert cut_off(page) == []
                assert nameless(page) == []
                name = tab.inner_text().lower().replace(" ", "-")
                page.screenshot(path=pictures / f"page-{width}-{scheme}-{name}.png", full_page=True)

    def test_a_face_is_made_by_the_keyboard_alone(self, page: Any) -> None:
        tab_to(page, "#generate-examples button")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")  # the second example
        page.wait_for_function("/moustache/.test(document.querySelector('#generate-text-value textarea').value)")
        tab_to(page, "#generate-run")
        page.keyboard.press("Enter")
        page.wait_for_function(f"/picture/.test({TOLD})")

    def test_everything_has_a_name_after_a_run_and_with_all_of_it_open(self, page: Any) -> None:
        unfold(page, "#generate-more", "#generate-scheduler input")
        unfold(page, "#generate-steer", "#generate-steer-reset")
        set_number(page, "count", 2)
        generate(page)
        page.wait_for_selector("#generate-gallery img")
        assert nameless(page) == []
        page.click("#generate-inside")
        page.wait_for_selector("#inside-overlays .grid img")
        page.click("#inside-compare")
        page.wait_for_selector("#inside-ways .grid img")
        assert nameless(page) == []

    @pytest.mark.parametrize("width", [360, 1280, 1920])
    def test_a_hint_covers_nothing_of_its_field_and_goes_at_escape(self, site: Site, browser: Any, width: int) -> None:
        with visit(site, browser, viewport={"width": width, "height": 800}) as page:
            unfold(page, "#generate-more", "#generate-scheduler input")
            for field, typed in (("seed", "input"), ("steps", "input[type=range]"), ("scheduler", "input")):
                page.focus(f"#generate-{field} {typed}")
                page.keyboard.press("Tab")
                page.keyboard.press("Shift+Tab")  # the keyboard is used
                page.wait_for_timeout(200)  # it scrolls above the bar
                hint = page.locator(f"#generate-{field} .info-text")
                if field == "scheduler":  # its list is open, which nothing covers
                    hint.wait_for(state="hidden")
                    page.keyboard.press("Escape")
                hint.wait_for(state="visible")
                told, worked = hint.bounding_box(), page.locator(f"#generate-{field} {typed}").bounding_box()
                assert told["y"] + told["height"] <= worked["y"]
                assert told["x"] >= 0
                assert told["x"] + told["width"] <= width
                page.keyboard.press("Escape")
                hint.wait_for(state="hidden")

    def test_buttons_and_names_are_explained_to_a_pointer(self, page: Any) -> None:
        unfold(page, "#generate-steer", "#generate-steer-reset")
        told: dict[str, list[str]] = {}
        for tab in ("generate", "inside", "edit"):
            page.click(f"[data-tab-id={tab}]")
            page.wait_for_timeout(400)
            if tab == "edit":
                page.check("#edit-editor input[value=blended]")
                page.wait_for_selector("#edit-region .sheet")
            page.hover("header h1")
            told |= page.evaluate(TITLES, list(HINTS))
        hidden = {"#inside-picture", "#edit-face", "#edit-views"}  # as long as there is one of a kind
        assert told == {selector: [hint] for selector, hint in HINTS.items() if selector not in hidden}

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_one_sees_where_the_keyboard_is(self, site: Site, browser: Any, scheme: str) -> None:
        with visit(site, browser, color_scheme=scheme) as page:
            page.focus("#generate-examples button")
            seen = []
            for _ in range(60):
                page.keyboard.press("Tab")
                seen.append(page.evaluate(OUTLINE))
                if seen[-1]["is"] == "generate-open":
                    break
            kinds = {each["is"] for each in seen}
            assert {"checkbox", "TEXTAREA", "range", "number", "text", "application", "BUTTON"} <= kinds
            assert [each for each in seen if each["width"] < 2 or each["contrast"] < 3] == []

    def test_on_phones_the_bar_hides_nothing_that_has_the_focus(self, site: Site, browser: Any) -> None:
        with visit(site, browser, viewport={"width": 360, "height": 640}) as page:
            page.focus("#generate-examples button")
            hidden, seen = [], 0
            for _ in range(60):
                page.keyboard.press("Tab")
                page.wait_for_timeout(50)  # scrolls
                focus = page.evaluate(ABOVE_THE_BAR)
                hidden += [focus] if focus["below"] > 0 else []
                seen += not focus["in_bar"]
                if focus["last"]:
                    break
            assert seen > 20
            assert hidden == []


ON_THE_STAGE = """selector => {
  const stage = document.querySelector(".stage");
  const [outer, inner] = [stage, stage.querySelector(selector)].map((node) => node.getBoundingClientRect());
  return [inner.x - outer.x, inner.y - outer.y, inner.width, inner.height];
}"""
"""Where something is on the stage, wherever the page is scrolled to."""
TITLES = """selectors => Object.fromEntries(selectors.flatMap(selector => {
  const titles = new Set([...document.querySelectorAll(selector)].map(node => node.title));
  return titles.size ? [[selector, [...titles]]] : [];
}))"""
ABOVE_THE_BAR = """() => {
  const node = document.activeElement;
  const bar = document.querySelector(".run").getBoundingClientRect();
  return {
    html: node.outerHTML.slice(0, 120),
    in_bar: !!node.closest(".run"),
    below: node.closest(".run") ? 0 : node.getBoundingClientRect().bottom - bar.top,
    last: !!node.closest("#generate-open"),
  };
}"""
"""How many pixels of what has the focus reach below the top of the bar that is fixed at the bottom of phones."""
OUTLINE = """async () => {
  const node = document.activeElement;
  await Promise.all(node.getAnimations().map((each) => each.finished));
  const light = (colour) => {
    const [red, green, blue] = colour.match(/[0-9.]+/g).slice(0, 3).map((each) => {
      const level = each / 255;
      return level <= 0.04045 ? level / 12.92 : ((level + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05;
  };
  const solid = (each) => !/, 0\\)$|transparent/.test(getComputedStyle(each).backgroundColor);
  const outlined = [node, node.closest(".wrap"), node.closest("label"), node.parentElement].find(
    (each) => each && getComputedStyle(each).outlineStyle === "solid",
  );
  let ground = outlined?.parentElement;
  while (ground && !solid(ground)) ground = ground.parentElement;
  const style = outlined && getComputedStyle(outlined);
  const below = getComputedStyle(ground ?? document.body).backgroundColor;
  const pair = outlined ? [light(style.outlineColor), light(below)] : [1, 1];
  const kind = node.getAttribute("role") ?? node.getAttribute("type") ?? node.tagName;
  return {
    is: node.closest("#generate-open") ? "generate-open" : kind,
    html: node.outerHTML.slice(0, 120),
    width: outlined ? parseFloat(style.outlineWidth) : 0,
    contrast: Math.max(...pair) / Math.min(...pair),
  };
}"""
"""What is seen of the focus: which control has it, how wide its outline is, and its contrast against the ground."""


def nameless(page: Any) -> list[str]:
    """Controls that can be seen and have no name that a screen reader could read."""
    found: list[str] = page.evaluate(
        """() => [...document.querySelectorAll("button, input, textarea, select, [role=application]")]
        .filter((node) => node.checkVisibility({ opacityProperty: false }) && node.type !== "hidden")
        .filter((node) => {
          const labels = [...(node.labels ?? [])].map((label) => label.textContent).join("");
          const by = (node.getAttribute("aria-labelledby") ?? "").split(" ")
            .map((id) => document.getElementById(id)?.textContent ?? "").join("");
          const own = node.tagName === "BUTTON" ? node.textContent : "";
          return !(node.ariaLabel || by || labels || own || node.title || "").trim();
        })
        .map((node) => node.outerHTML.slice(0, 200))"""
    )
    return found
