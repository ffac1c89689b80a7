"""What is remembered of each visitor's last result, and for how long."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import closing

import gradio as gr
import pytest
from engines import engine, request, result_of

from codiff.web.last_results import LastResults, for_browser, of_browser
from codiff.web.limits import Limits
from codiff.web.privacy import COOKIE
from codiff.web.runs import Result
from codiff.web.storage import Storage
from codiff.web.visitors import Visitors

# diffusers makes numpy arrays of tensors in a way that numpy 2 will give up
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture
def result() -> Iterator[Result]:
    storage = Storage()
    with closing(engine()) as ours:
        yield result_of(ours.draw(ours.check(request()), storage.session("abc")))
    storage.close()


def visitor(token: str | None = None) -> gr.Request:
    return gr.Request(cookies={COOKIE: Visitors.new_token() if token is None else token})


def test_each_visitor_finds_his_own_last_one(result: Result) -> None:
    last, one, other = LastResults(Limits()), visitor(), visitor()
    newer = dataclasses.replace(result, seconds=9.0)
    for kept in (result, newer):
        last.keep(one, kept)
    assert last.of(one) is newer
    assert last.of(other) is None


@pytest.mark.parametrize("cookies", [{}, {COOKIE: ""}, {COOKIE: "made up"}])
def test_a_client_without_a_cookie_is_not_remembered(result: Result, cookies: dict[str, str]) -> None:
    last, unknown = LastResults(Limits()), gr.Request(cookies=cookies)
    last.keep(unknown, result)
    assert last.of(unknown) is None


@pytest.mark.parametrize("lost", ["paths", "archive_path", "record_path"])
def test_one_whose_files_are_gone_is_not_shown(result: Result, lost: str) -> None:
    last, one = LastResults(Limits()), visitor()
    last.keep(one, result)
    path = getattr(result, lost)
    (path[0] if isinstance(path, list) else path).unlink()
    assert last.of(one) is None


def test_old_ones_and_too_many_are_forgotten(result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("codiff.web.last_results.time.monotonic", lambda: now)
    monkeypatch.setattr("codiff.web.last_results._MOST", 2)
    last, visitors = LastResults(Limits(keep_seconds=100)), [visitor() for _ in range(3)]
    for each in visitors:
        last.keep(each, result)
    assert [last.of(each) is result for each in visitors] == [False, True, True]
    now += 101
    assert [last.of(each) for each in visitors] == [None] * 3


def test_a_browser_keeps_a_record_for_its_login_alone() -> None:
    record = {"seed": 2**63, "count": 1}
    tokens = [Visitors.new_token() for _ in range(2)]
    anna, bob = (gr.Request(cookies={COOKIE: token}, username=name) for token, name in zip(tokens, "ab", strict=True))
    kept = for_browser(record, anna)
    assert tokens[0] not in kept
    assert of_browser(kept, anna) == record
    assert of_browser(kept, bob) is None
    nameless = gr.Request(cookies={}, username="c")
    assert of_browser(for_browser(record, nameless), nameless) is None
    assert of_browser(kept, gr.Request(cookies={COOKIE: tokens[0]}, username=None)) is None
    assert of_browser(for_browser(record, visitor()), visitor()) == record  # where nobody logs in


@pytest.mark.parametrize("kept", [None, "", "[]", "{}", '{"of": null}', '{"of": null, "record": 3}', {"of": None}])
def test_what_a_browser_keeps_may_be_anything(kept: object) -> None:
    assert of_browser(kept, visitor()) is None
