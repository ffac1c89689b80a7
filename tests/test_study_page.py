"""The page of a study in a real browser, from the first key to the analysis of what it saved."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from browser import browser as browser
from test_study import conditions

from codiff.study.analysis import analyse
from codiff.study.answers import read_all, read_answers
from codiff.study.making import Study, make_study

METHODS = ("Zebra", "Quokka")


@pytest.fixture(scope="module")
def study() -> Study:
    return make_study(conditions(2, METHODS), questions=["realism", "text", "mask"], checks=3, notice="Write to us.")


@pytest.fixture
def page(browser: Any, study: Study, tmp_path: Path) -> Iterator[Any]:
    """The study's page as a new participant opens it; errors of its script and requests of any kind fail the test."""
    study.write(tmp_path)
    context = browser.new_context(viewport={"width": 390, "height": 844})
    opened = context.new_page()
    faults: list[str] = []
    requests: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("console", lambda message: faults.append(message.text))
    opened.on("request", lambda request: requests.append(request.url))
    opened.goto((tmp_path / "study.html").as_uri())
    yield opened
    context.close()
    assert faults == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []


def begin(page: Any) -> None:
    page.focus("#begin")
    page.keyboard.press("Enter")


def answer(page: Any, key: str) -> None:
    """One choice by a key, after the introduction of the question where there is one."""
    if page.is_visible("#part"):
        page.keyboard.press("Enter")
    page.wait_for_selector('#trial[aria-busy="false"]')
    page.keyboard.press(key)
    page.wait_for_selector(".chosen", state="hidden")


def stored(page: Any, study: Study) -> dict[str, Any]:
    state: dict[str, Any] = json.loads(page.evaluate(f"localStorage.getItem('codiff-study-{study.key.study}')"))
    return state


def test_a_whole_study_by_keyboard_with_a_reload_in_the_middle(page: Any, study: Study, tmp_path: Path) -> None:
    keys = ["ArrowLeft", "ArrowRight", "1", "2", "ArrowUp", "ArrowDown", "1", "1", "2"]
    places = [1, 2, 1, 2, 1, 2, 1, 1, 2]
    assert len(keys) == len(study.key.trials)
    begin(page)
    for key in keys[:5]:
        answer(page, key)
    before = stored(page, study)
    page.reload()
    assert "5 of 9 choices are made" in page.inner_text("#resumed")
    begin(page)
    assert page.inner_text("#count") == "6 of 9"
    for key in keys[5:]:
        answer(page, key)
    with page.expect_download() as download:
        page.keyboard.press("Enter")  # the button that saves has the focus
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    answers = read_answers(path, study.key)
    assert path.name == f"answers-{study.key.study}-{answers.participant[:8]}.json"
    assert [each.place for each in answers.answers] == places
    assert answers.participant == before["participant"]
    assert [each.trial for each in answers.answers[:5]] == [each["trial"] for each in before["answers"]]
    questions = [study.key.trials[each.trial].question for each in answers.answers]
    assert sum(one != other for one, other in pairwise(questions)) == 2  # one after the other
    assert all(0 < each.milliseconds < 60_000 for each in answers.answers)
    everyone = study.key.model_copy(update={"allowed_failures": 1.0})
    found = analyse(*read_all([path], everyone)[:1], everyone)
    assert found.first_place.total == sum(each.rate.total for each in found.preferences) == 6


def test_undo_takes_back_one_choice_and_a_second_press_is_none(page: Any, study: Study) -> None:
    begin(page)
    page.keyboard.press("Enter")
    page.wait_for_selector('#trial[aria-busy="false"]')
    page.keyboard.press("1")
    page.keyboard.press("1")
    page.wait_for_selector(".chosen", state="hidden")
    page.keyboard.press("1")  # new pictures take no answer yet
    first = stored(page, study)["answers"]
    assert len(first) == 1
    page.wait_for_selector('#trial[aria-busy="false"]')
    page.click("#back")
    page.wait_for_selector('#trial[aria-busy="false"]')
    assert stored(page, study)["answers"] == []
    page.click("#second")
    page.wait_for_selector(".chosen", state="hidden")
    (again,) = stored(page, study)["answers"]
    assert (again["trial"], again["place"]) == (first[0]["trial"], 2)


def test_participants_differ_and_broken_storage_is_mended(page: Any, study: Study) -> None:
    first = stored(page, study)
    name = f"codiff-study-{study.key.study}"
    for broken in ("no JSON", "{}", "null", json.dumps({**first, "answers": [{"trial": "00000000"}]})):
        page.evaluate("([name, value]) => localStorage.setItem(name, value)", [name, broken])
        page.reload()
        fresh = stored(page, study)
        assert fresh["answers"] == []
        assert fresh["participant"] != first["participant"]
    assert fresh["seed"] != first["seed"]


def test_pictures_fit_every_screen_and_controls_have_names(page: Any) -> None:
    assert page.inner_text("#notice") == "Write to us."
    begin(page)
    seen = set()
    while not page.is_visible("#end"):
        answer(page, "1")
        if page.is_visible("#trial") and page.inner_text("#ask") not in seen:
            seen.add(page.inner_text("#ask"))
            for label in ("Picture 1", "Picture 2", "Undo"):
                assert page.get_by_role("button", name=label).is_visible()
            for screen in ((1280, 720), (390, 844), (360, 640), (844, 390)):
                fits(page, *screen)
    assert len(seen) == 3
    assert page.get_by_role("button", name="Save my answers").is_visible()


def fits(page: Any, width: int, height: int) -> None:
    """Both pictures are equally large and wholly visible without scrolling."""
    page.set_viewport_size({"width": width, "height": height})
    boxes = [page.locator(f"#{name} img").bounding_box() for name in ("first", "second")]
    assert boxes[0]["width"] == boxes[1]["width"] >= 110
    for box in boxes:
        assert 0 <= box["x"] <= box["x"] + box["width"] <= width
        assert 0 <= box["y"] <= box["y"] + box["height"] <= height
