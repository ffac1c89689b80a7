"""The tab that edits, in a real browser, and the endpoint that edits for programs."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from browser import alert, cut_off, no_alert, watched
from browser import browser as browser
from engines import Site, engine, until
from models import CAPTIONS, PIXELS, new_pipeline
from PIL import Image
from serving import served

from codiff import AttributeClassifier, FaceParser
from codiff.cli.edit_judges import Evaluators, Named
from codiff.data.faces import ProceduralFaces
from codiff.editing import Learning
from codiff.editing.editors import EDITORS
from codiff.web.edit_request import FULL, QUICK
from codiff.web.limits import Limits
from codiff.web.storage import Storage

if TYPE_CHECKING:
    from codiff.web.edit_tab import EditTab

pytest.importorskip("gradio", reason="gradio is not installed: pip install 'codiff[web]'")

LEARNING = Learning(token_steps=1, model_steps=1, rank=2)
LIMITS = Limits(steps=1000, painter_side=64)


@dataclass
class EditSite(Site):
    """The tab that is served, what draws for it, and where its files are."""

    storage: Storage


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EditSite]:
    import gradio as gr

    from codiff.web.edit_tab import build_edit_tab
    from codiff.web.page import look

    folder = tmp_path_factory.mktemp("judges")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        FaceParser(channels=(8, 8, 8, 8)).save_pretrained(folder / "face_parser")
        AttributeClassifier({"beard": ("none", "long")}, (8, 8, 8, 8)).save_pretrained(folder / "attribute_classifier")
        drawing = engine(LIMITS, new_pipeline(), evaluators=Evaluators(folder, Named()))
    made: list[Storage] = []

    def build(storage: Storage) -> gr.Blocks:
        made.append(storage)
        with gr.Blocks(analytics_enabled=False, fill_width=True) as page:
            tab: EditTab = build_edit_tab(drawing, storage)
            tab.edits.learnings.update({QUICK: LEARNING, FULL: replace(LEARNING, model_steps=2)})
        return page

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(EDITORS, "sdedit", replace(EDITORS["sdedit"], tried=(0.3, 0.6)))
        with served(build, LIMITS, look=look()) as server:
            yield EditSite(server.url, drawing, made[0])
    drawing.close()


@pytest.fixture
def page(site: EditSite, browser: Any) -> Iterator[Any]:
    """The tab as a new visitor opens it."""
    with watched(browser, site.url) as opened:
        opened.goto(site.url)
        opened.wait_for_selector("#edit-eyes .eyes")
        opened.click("#edit-more > button")  # long before anything is typed there: what is typed while it opens is lost
        yield opened


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn face as models know faces."""
    path = tmp_path_factory.mktemp("photos") / "face.png"
    Image.fromarray(ProceduralFaces("validation", 128)[3].image).save(path)
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, face: Path) -> Path:
    """The same with as many pixels as the model draws, so that there is nothing to put back."""
    path = tmp_path_factory.mktemp("photos") / "small.png"
    with Image.open(face) as picture:
        picture.resize((PIXELS, PIXELS), Image.Resampling.LANCZOS).save(path)
    return path


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory, face: Path) -> Path:
    """The same within a wider picture, lying on its side, where nobody finds it."""
    noise = np.random.default_rng(0).integers(0, 256, (160, 240, 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    with Image.open(face) as drawn:
        picture.paste(drawn.rotate(90), (60, 16))
    path = tmp_path_factory.mktemp("photos") / "wide.png"
    picture.save(path)
    return path


def pick(page: Any, path: Path) -> None:
    page.set_input_files("#edit-file input[type=file]", str(path))


def open_photo(page: Any, path: Path) -> None:
    pick(page, path)
    page.locator("#edit-eyes .photo img[src^=data]").wait_for()


def error(page: Any, field: str) -> str:
    """What is said beside a field, once something is."""
    return alert(page, f"#edit-{field}-error")


def no_error(page: Any, field: str) -> None:
    no_alert(page, f"#edit-{field}-error")


def choose(page: Any, editor: str) -> None:
    page.check(f"#edit-editor input[value='{editor}']")


def edit(page: Any, steps: int = 3) -> str:
    """Edit and wait for what is told at the end."""
    few(page, steps)
    page.evaluate("document.querySelector('#edit-progress .told').textContent = ''")
    page.click("#edit-run")
    page.wait_for_function("/ s in all\\.$/.test(document.querySelector('#edit-progress .told').textContent)")
    text: str = page.text_content("#edit-progress .told")
    return text


def few(page: Any, steps: int) -> None:
    if not page.is_visible("#edit-steps"):
        page.click("#edit-more > button")
    page.fill("#edit-steps input[type=number]", str(steps))
    page.press("#edit-steps input[type=number]", "Tab")
    page.fill("#edit-text-value textarea", CAPTIONS[0])


def compared(page: Any) -> list[str]:
    """Data URLs of the pictures that are shown before and after; none where nothing is."""
    urls: list[str] = page.eval_on_selector_all(
        "#edit-slider .pair:not([hidden]) img", "images => images.map(image => image.src)"
    )
    return urls


def test_a_photo_is_edited_and_its_learned_edit_used_again(site: EditSite, page: Any, small: Path) -> None:
    open_photo(page, small)
    assert page.is_checked("#edit-aligned input")
    page.wait_for_function("document.querySelector('#edit-mask .tools .through')?.hidden === false")  # the photo below
    choose(page, "imagic")
    page.locator("#edit-learning").wait_for()
    assert "learned your photo in" in edit(page)
    (first,) = learned(site)
    sources = compared(page)
    assert len(sources) == 2
    pictures = []
    for source in sources:
        content = base64.b64decode(source.removeprefix("data:image/png;base64,"))
        pictures.append(np.asarray(Image.open(io.BytesIO(content)).convert("RGB")))
    with Image.open(small) as photo:
        assert np.array_equal(pictures[0], np.asarray(photo))  # lossless
    page.fill("#edit-strength input[type=number]", "0.5")
    page.press("#edit-strength input[type=number]", "Tab")
    assert "used what was learned of this photo before" in edit(page)
    assert learned(site) == [first]
    assert "here" in page.inner_text("#edit-purpose")
    answer = page.request.get(f"{site.url}/gradio_api/file={first}")
    assert answer.status == 403


def learned(site: EditSite) -> list[Path]:
    return sorted(path for path in site.storage.root.rglob("learned/*.safetensors") if "noise" not in path.name)


def test_settings_and_pictures_are_downloaded(page: Any, small: Path) -> None:
    open_photo(page, small)
    edit(page)
    with page.expect_download() as download:
        page.click("#edit-settings")
    record = json.loads(Path(download.value.path()).read_text())
    assert record["editor"] == "sdedit"
    assert record["conditions"]["text"]["data"] == CAPTIONS[0]
    with page.expect_download() as download:
        page.click("#edit-picture")
    assert download.value.suggested_filename.endswith("seed0.png")
    with Image.open(download.value.path()) as picture:
        assert json.loads(picture.info["codiff"])["editor"] == "sdedit"


def test_wrong_uploads(page: Any, face: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "cut.png").write_bytes(face.read_bytes()[:900])
    page.click("#edit-run")
    assert "Pick a photo" in error(page, "photo")
    pick(page, tmp_path / "notes.txt")
    page.locator("#edit-photo-error", has_text="readable image").wait_for()
    pick(page, tmp_path / "cut.png")
    page.locator("#edit-photo-error", has_text="damaged").wait_for()
    open_photo(page, face)
    no_error(page, "photo")


def test_a_face_is_found(page: Any, face: Path, tmp_path: Path) -> None:
    picture = Image.new("RGB", (240, 160), (120, 130, 140))
    with Image.open(face) as drawn:
        picture.paste(drawn, (60, 16))
    picture.save(tmp_path / "upright.png")
    open_photo(page, tmp_path / "upright.png")
    page.locator("#edit-crop img").wait_for()
    assert page.locator("#edit-eyes .mark").count() == 2
    assert not page.is_checked("#edit-aligned input")
    no_error(page, "photo")


def test_eyes_are_marked_by_hand(page: Any, wide: Path) -> None:
    open_photo(page, wide)
    assert "click the middle of each eye" in error(page, "photo").lower()
    photo = page.locator("#edit-eyes .photo")
    box = photo.bounding_box()
    photo.click(position={"x": 0.45 * box["width"], "y": 0.5 * box["height"]})
    assert "both eyes" in error(page, "eyes")
    photo.click(position={"x": 0.6 * box["width"], "y": 0.5 * box["height"]})
    page.locator("#edit-crop img").wait_for()
    no_error(page, "eyes")
    before = page.get_attribute("#edit-crop img", "src")
    page.focus("#edit-eyes .mark >> nth=0")
    page.keyboard.press("Shift+ArrowLeft")
    page.wait_for_function("src => document.querySelector('#edit-crop img').src !== src", arg=before)
    edit(page)
    first = page.get_attribute("#edit-slider img >> nth=1", "src")
    page.locator("#edit-views label", has_text="photo, seed 0").wait_for()
    page.locator("#edit-views label", has_text="face, seed 0").click()
    page.wait_for_function("before => document.querySelectorAll('#edit-slider img')[1].src !== before", arg=first)


@pytest.mark.parametrize("pause", [0, 20])
def test_eyes_are_marked_as_fast_as_one_can_click(page: Any, wide: Path, pause: int) -> None:
    """The second mark comes while the page still hears that the first is not enough."""
    open_photo(page, wide)
    error(page, "photo")
    page.evaluate(
        """async pause => {
          const photo = document.querySelector("#edit-eyes .photo"), box = photo.getBoundingClientRect();
          for (const x of [0.45, 0.6]) {
            const place = {clientX: box.x + x * box.width, clientY: box.y + 0.5 * box.height};
            photo.dispatchEvent(new MouseEvent("click", {...place, bubbles: true}));
            await new Promise(resolve => setTimeout(resolve, pause));
          }
        }""",
        pause,
    )
    page.locator("#edit-crop img").wait_for()
    no_error(page, "eyes")
    no_error(page, "photo")


def test_eyes_are_marked_by_keyboard_alone(page: Any, wide: Path) -> None:
    open_photo(page, wide)
    error(page, "photo")
    page.focus("#edit-eyes .acts button >> nth=0")
    page.keyboard.press("Enter")
    label = page.get_attribute("#edit-eyes .mark >> nth=0", "aria-label")
    assert label.startswith("Eye 1: 40.0 % from the left")
    page.locator("#edit-eyes [role=status]", has_text="do not count until").wait_for()
    page.keyboard.press("ArrowRight")  # one of them is moved
    page.click("#edit-run")
    page.locator("#edit-photo-error [role=alert]", has_text="No face was found").wait_for()
    assert page.locator("#edit-crop img").count() == 0
    page.focus("#edit-eyes .mark >> nth=1")
    page.keyboard.press("ArrowRight")
    page.locator("#edit-crop img").wait_for()
    no_error(page, "photo")
    assert page.inner_text("#edit-eyes [role=status]") == ""


def test_marks_count_once_they_are_confirmed(page: Any, wide: Path) -> None:
    open_photo(page, wide)
    error(page, "photo")
    page.get_by_role("button", name="Mark the eyes").click()
    page.get_by_role("button", name="These are the eyes").click()
    page.locator("#edit-crop img").wait_for()
    no_error(page, "photo")
    assert page.get_by_role("button", name="These are the eyes").count() == 0


def test_what_is_wrong_with_the_photo_comes_first(page: Any, wide: Path) -> None:
    open_photo(page, wide)
    assert "No face was found" in error(page, "photo")
    page.click("#edit-run")  # no words, no mask either
    page.wait_for_function("document.querySelector('#edit-run').disabled === false")
    page.locator("#edit-photo-error [role=alert]", has_text="No face was found").wait_for()
    assert page.locator("[role=alert]").filter(has_text="painted").count() == 0


def test_before_and_after_by_keyboard(page: Any, face: Path, wide: Path) -> None:
    open_photo(page, face)
    edit(page)
    divider = page.get_by_role("slider", name="Before and after")
    assert divider.get_attribute("aria-valuenow") == "50"
    page.focus("#edit-cancel, #edit-run")
    page.keyboard.press("Tab")
    page.wait_for_function("document.activeElement.matches('.divider')")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert divider.get_attribute("aria-valuenow") == "52"
    clip = page.eval_on_selector("#edit-slider .after", "image => getComputedStyle(image).clipPath")
    assert "52%" in clip
    photo = page.locator("#edit-slider .pair").bounding_box()
    page.mouse.click(photo["x"] + 0.2 * photo["width"], photo["y"] + 0.5 * photo["height"])
    assert 15 <= int(divider.get_attribute("aria-valuenow")) <= 25
    open_photo(page, wide)
    assert "No face was found" in error(page, "photo")
    page.get_by_role("button", name="Mark the eyes").click()
    page.get_by_role("button", name="These are the eyes").click()
    page.locator("#edit-crop img").wait_for()
    few(page, 1000)
    page.click("#edit-run")
    page.wait_for_function("document.querySelector('#edit-slider .pair').hidden")  # another photo: nothing of the first
    assert page.is_disabled("#edit-picture")
    page.click("#edit-cancel")
    page.wait_for_function("document.querySelector('#edit-progress .told').textContent === 'Stopped'")
    assert compared(page) == []


def test_settings_are_opened_again(page: Any, face: Path, tmp_path: Path) -> None:
    open_photo(page, face)
    choose(page, "blended")
    page.locator("#edit-region").wait_for()
    brush = page.locator("#edit-region-value canvas").first
    box = brush.bounding_box()
    brush.click(position={"x": 0.5 * box["width"], "y": 0.5 * box["height"]})
    page.fill("#edit-strength input[type=number]", "0.7")
    page.press("#edit-strength input[type=number]", "Tab")
    edit(page)
    first = compared(page)[1]
    with page.expect_download() as download:
        page.click("#edit-settings")
    download.value.save_as(tmp_path / "settings.json")
    record = json.loads((tmp_path / "settings.json").read_text())
    assert set(record["conditions"]) == {"text", "mask"}
    page.reload()
    page.wait_for_selector("#edit-eyes .eyes")
    page.set_input_files("#edit-open input", str(tmp_path / "settings.json"))
    page.locator("#edit-record-error", has_text="pick yours again").wait_for()
    assert page.input_value("#edit-text-value textarea") == CAPTIONS[0]
    assert page.is_checked("#edit-editor input[value=blended]")
    assert page.input_value("#edit-strength input[type=number]") == "0.7"
    open_photo(page, face)
    page.wait_for_function("document.querySelector('#edit-mask .tools .through')?.hidden === false")
    edit(page)
    assert compared(page)[1] == first  # mask and region, too
    (tmp_path / "other.json").write_text(json.dumps({"codiff_record": 1}))
    page.set_input_files("#edit-open input", str(tmp_path / "other.json"))
    assert "open them in the Generate tab" in error(page, "record")


def mark(page: Any, *eyes: tuple[float, float]) -> None:
    """Click the eyes, at shares of the photo's width and height, and wait for the face that is cut out."""
    photo = page.locator("#edit-eyes .photo")
    box = photo.bounding_box()
    for number, (x, y) in enumerate(eyes):
        photo.click(position={"x": x * box["width"], "y": y * box["height"]})
        if number == 0:
            error(page, "eyes")
    no_error(page, "eyes")
    page.locator("#edit-crop img").wait_for()


def test_settings_mark_the_eyes_of_their_photo_again(page: Any, wide: Path, face: Path, tmp_path: Path) -> None:
    def marks() -> list[str]:
        places: list[str] = page.eval_on_selector_all(
            "#edit-eyes .mark", "marks => marks.map(each => each.style.cssText)"
        )
        return places

    open_photo(page, wide)
    error(page, "photo")
    mark(page, (0.45, 0.5), (0.6, 0.47))
    edit(page)
    first, marked = compared(page)[1], marks()
    with page.expect_download() as download:
        page.click("#edit-settings")
    settings = tmp_path / "settings.json"
    download.value.save_as(settings)
    page.focus("#edit-eyes .mark >> nth=0")
    before = page.get_attribute("#edit-crop img", "src")
    page.keyboard.press("Shift+ArrowLeft")
    page.wait_for_function("src => document.querySelector('#edit-crop img').src !== src", arg=before)
    page.set_input_files("#edit-open input", str(settings))  # the photo is there
    page.locator("#edit-record-error", has_text="which part of it is edited, too").wait_for()
    page.wait_for_function("src => document.querySelector('#edit-crop img').src === src", arg=before)
    assert marks() == marked
    edit(page)
    assert compared(page)[1] == first
    page.reload()
    page.wait_for_selector("#edit-eyes .eyes")
    page.set_input_files("#edit-open input", str(settings))  # the photo comes later
    page.locator("#edit-record-error", has_text="pick yours again").wait_for()
    open_photo(page, wide)
    page.wait_for_function("src => document.querySelector('#edit-crop img')?.src === src", arg=before)
    assert marks() == marked
    edit(page)
    assert compared(page)[1] == first
    open_photo(page, face)  # another one: what the page finds in it
    page.wait_for_function("document.querySelector('#edit-aligned input').checked")
    page.set_input_files("#edit-open input", str(settings))
    page.locator("#edit-record-error", has_text="photo above stays").wait_for()
    assert page.is_checked("#edit-aligned input")


def test_settings_say_again_that_a_picture_is_cut(page: Any, face: Path, tmp_path: Path) -> None:
    open_photo(page, face)
    page.wait_for_function("document.querySelector('#edit-aligned input').checked")
    page.uncheck("#edit-aligned input")
    mark(page, (0.5, 0.5), (0.7, 0.5))
    edit(page)
    with page.expect_download() as download:
        page.click("#edit-settings")
    download.value.save_as(tmp_path / "settings.json")
    cut = page.get_attribute("#edit-crop img", "src")
    page.check("#edit-aligned input")
    page.wait_for_function("src => document.querySelector('#edit-crop img')?.src !== src", arg=cut)
    page.set_input_files("#edit-open input", str(tmp_path / "settings.json"))
    page.locator("#edit-record-error", has_text="which part of it is edited, too").wait_for()
    page.wait_for_function("!document.querySelector('#edit-aligned input').checked")
    page.wait_for_function("src => document.querySelector('#edit-crop img')?.src === src", arg=cut)
    assert page.locator("#edit-eyes .mark").count() == 2


def test_a_strength_is_found(page: Any, face: Path) -> None:
    open_photo(page, face)
    page.uncheck("#edit-mask .switch input")
    page.locator("#edit-mask .tools").first.wait_for(state="hidden")
    page.check("#edit-auto input")
    page.wait_for_selector("#edit-strength input:disabled")
    assert "sees no difference" not in page.inner_text("body")
    assert "strength 0.6; the judge saw no difference" in edit(page)
    assert page.input_value("#edit-strength input[type=number]") == "0.6"
    page.locator("#edit-trials .undecided", has_text="sees no difference").wait_for()
    captions = page.locator("#edit-trials li").all_inner_texts()
    assert len(captions) == 2
    assert all("obeys" in caption and "keeps" in caption for caption in captions)
    assert sum("(the usual)" in caption for caption in captions) == 1
    page.locator("#edit-curve img[alt]").wait_for()
    assert page.locator("#edit-curve :is(button, a)").count() == 0


def test_editors_show_what_they_need(page: Any) -> None:
    for editor, kind in EDITORS.items():
        choose(page, editor)
        page.locator("#edit-purpose", has_text=kind.purpose[:40]).wait_for()
        assert page.is_visible("#edit-learning") == kind.learns
        assert page.is_visible("#edit-region") == ("region" in kind.takes)
        assert page.is_visible("#edit-source-text") == ("source" in kind.takes)


def test_a_run_is_cancelled(site: EditSite, page: Any, face: Path) -> None:
    open_photo(page, face)
    choose(page, "ddim-inversion")
    few(page, 1000)
    page.click("#edit-run")
    page.wait_for_function("/Step [1-9]/.test(document.querySelector('#edit-progress .told').textContent)")
    page.click("#edit-cancel")
    page.wait_for_function("document.querySelector('#edit-progress .told').textContent === 'Stopped'")
    until(lambda: not site.busy, 60)
    assert page.is_disabled("#edit-cancel")
    edit(page)  # and it can go on


@pytest.mark.parametrize("pause", [1, 10])
def test_the_last_of_editors_chosen_fast_is_shown(page: Any, pause: int) -> None:
    """Each is chosen while the page still prepares for the one before."""
    page.evaluate(
        """async ([names, pause]) => {
          for (const name of names) {
            document.querySelector(`#edit-editor input[value='${name}']`).click();
            await new Promise(resolve => setTimeout(resolve, pause));
          }
        }""",
        [["sdedit", "ddim-inversion", "blended"], pause],
    )
    page.locator("#edit-region").wait_for()
    page.locator("#edit-purpose", has_text=EDITORS["blended"].purpose).wait_for()


@pytest.mark.parametrize("width", [360, 1920])
def test_nothing_is_wider_than_the_screen(page: Any, width: int, face: Path) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    open_photo(page, face)
    choose(page, "blended")
    page.locator("#edit-region").wait_for()
    assert cut_off(page) == []
    choose(page, "sdedit")
    edit(page)
    assert cut_off(page) == []
    page.evaluate("document.querySelector('#edit-slider').style.width = '3000px'")
    assert cut_off(page)


def test_programs_edit(site: EditSite, small: Path) -> None:
    gradio_client = pytest.importorskip("gradio_client")
    client = gradio_client.Client(site.url, verbose=False)
    photo = gradio_client.handle_file(small)
    asked = {"photo": photo, "conditions": {"text": CAPTIONS[0]}, "aligned": True, "steps": 2, "seed": 4}
    pictures, archive, record, progress = client.predict(**asked, strength=0.5, api_name="/edit")
    assert progress == {"done": True}
    assert (record["editor"], record["seed"], record["strengths"]) == ("sdedit", 4, {"text": 0.5})
    with Image.open(pictures[0]["image"]) as picture:
        assert (picture.format, picture.size) == ("PNG", (PIXELS, PIXELS))
    assert Path(archive).stat().st_size > 0
    text = base64.b64encode(small.read_bytes()).decode()
    same = client.predict(**{**asked, "photo": None, "photo_base64": text}, strength=0.5, api_name="/edit")
    assert Path(same[0][0]["image"]).read_bytes() == Path(pictures[0]["image"]).read_bytes()
    told = client.view_api(return_format="dict")["named_endpoints"]["/edit"]["parameters"][0]
    assert (told["parameter_name"], told["component"]) == ("photo", "File")
    for changes, part in (
        ({"photo": None}, "photo: a photo is expected"),
        ({"photo": None, "photo_base64": "?"}, "photo_base64 is not base64"),
        ({"photo": None, "photo_base64": base64.b64encode(b"notes").decode()}, "photo: .*not a readable image"),
        ({"photo": gradio_client.handle_file(__file__)}, "415|can not be used"),
        ({"conditions": {"pose": "left"}}, "not 'pose'"),
        ({"eyes": [[0.1, 0.2]]}, "eyes: mark both"),
        ({"strength": 7}, "strength: "),
    ):
        with pytest.raises(Exception, match=part):
            client.predict(**{**asked, "strength": 0.5, **changes}, api_name="/edit")
