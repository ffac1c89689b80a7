"""The server as a whole: its queue, clients that go away, failures, logging in, time, and the end."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import httpx
import pytest
from engines import engine
from gradio_client import Client
from models import CAPTIONS
from serving import STEP, Visitor, Work, picture, raw, served, small_page, told, wait_for

from codiff.web import page
from codiff.web.accounts import Accounts, PasswordHash
from codiff.web.limits import Limits
from codiff.web.server import PageServer
from codiff.web.storage import Storage

LIMITS = Limits(queue=2)


@pytest.fixture(scope="module")
def work() -> Work:
    return Work()


@pytest.fixture(scope="module")
def stopped() -> list[str]:
    """Sessions whose work was to be stopped."""
    return []


@pytest.fixture(scope="module")
def server(work: Work, stopped: list[str]) -> Iterator[PageServer]:
    with served(small_page(work), LIMITS, stop_session=stopped.append, patience=2.0) as running:
        yield running


@pytest.fixture
def visitor(server: PageServer) -> Iterator[Visitor]:
    with Visitor(server) as browser:
        yield browser


class TestQueue:
    def test_who_comes_too_late_is_told_politely(self, server: PageServer, visitor: Visitor, work: Work) -> None:
        work.steps = 0
        late = Client(server.url, verbose=False, analytics_enabled=False)
        first = visitor.join("draw", 10_000).json()["event_id"]
        with visitor.listen(), Visitor(server) as other, other.listen():
            wait_for(lambda: work.steps >= 2)  # Gradio forgets a generator that is cancelled within its first step
            waiting = [other.join("draw", 1).json()["event_id"] for _ in range(LIMITS.queue)]
            full = other.join("draw", 1)
            assert full.status_code == 503
            assert full.json()["detail"] == "Queue is full. Max size is 2 and size is 2."
            with pytest.raises(Exception, match=r"(?i)queue is full"):
                late.predict(1, api_name="/draw")
            for event in waiting:
                assert other.cancel("draw", event).status_code == 200
            assert visitor.cancel("draw", first).status_code == 200
        wait_for(work.closed.is_set)

    def test_who_goes_frees_his_place_within_a_step(
        self, visitor: Visitor, server: PageServer, work: Work, stopped: list[str]
    ) -> None:
        work.steps = 0
        visitor.join("draw", 10_000)
        cookie = f"Cookie: codiff-visitor={visitor.cookies['codiff-visitor']}\r\n"
        path = f"/gradio_api/queue/data?session_hash={visitor.session}"
        with raw(server, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{cookie}\r\n") as line:
            wait_for(lambda: work.steps >= 3)
            line.close()
            gone = work.steps
        wait_for(lambda: visitor.session in stopped)
        noticed = work.steps
        wait_for(work.closed.is_set)
        assert noticed <= gone + 1 + 10 * STEP  # the machine may be busy
        assert work.steps <= noticed + 1
        assert visitor.ask("draw", 1)["data"] == ["step 1"]

    def test_who_never_listens_does_not_keep_others_waiting(self, visitor: Visitor, work: Work) -> None:
        work.steps = 0
        visitor.join("draw", 10_000)
        wait_for(lambda: work.steps > 0)
        wait_for(work.closed.is_set)

    def test_who_listens_to_an_event_alone_is_heard(self, visitor: Visitor) -> None:
        event = visitor.join("draw", 3 / STEP).json()["event_id"]  # longer than the patience of this server
        assert "event: complete" in visitor.get(f"/gradio_api/call/draw/{event}").text

    def test_cancelling_stops_the_session_s_work(self, visitor: Visitor, work: Work, stopped: list[str]) -> None:
        work.steps = 0
        event = visitor.join("draw", 10_000).json()["event_id"]
        with visitor.listen():
            wait_for(lambda: work.steps >= 2)
            assert visitor.cancel("draw", event).status_code == 200
            assert visitor.session in stopped
        wait_for(work.closed.is_set)

    def test_who_is_done_is_not_stopped(self, visitor: Visitor, stopped: list[str]) -> None:
        for _ in range(2):
            visitor.join("draw", 2)
            with visitor.listen() as answer:
                assert [message["msg"] for message in told(answer)][-2:] == ["process_completed", "close_stream"]
        event = visitor.join("draw", 2).json()["event_id"]
        assert "event: complete" in visitor.get(f"/gradio_api/call/draw/{event}").text
        assert visitor.session not in stopped

    @pytest.mark.parametrize("how", ["memory", "a crash"])
    def test_what_fails_concerns_its_client_alone(
        self, visitor: Visitor, how: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        answer = visitor.ask("fail", how)
        assert not answer["success"]
        assert "secret" not in json.dumps(answer)
        assert visitor.ask("paint", "still there")["success"]
        line = capfd.readouterr().err
        assert line.count("\n") == 1
        assert line.startswith("error: a request failed: ")


class TestRealPage:
    def test_who_goes_ends_what_the_engine_does_for_him(self) -> None:
        limits = Limits(steps=1000, painter_side=64)
        drawing, made = engine(limits), []

        def build(storage: Storage) -> gr.Blocks:
            made.append(storage)
            return page.build(drawing, storage)

        def stop(session: str) -> None:
            drawing.workers.stop(made[0].session(session).name)

        given = {"text": CAPTIONS[0], "steps": limits.steps, "seed": 0, "count": limits.images}
        with served(build, limits, look=page.look(), stop_session=stop) as server, Visitor(server) as visitor:
            asked = [given.get(label) for label in parameters(visitor, "generate")]
            for leaving in (True, False):
                event = visitor.join("generate", *asked).json()["event_id"]
                with visitor.listen() as answer:
                    assert any("generating" in message["msg"] for message in told(answer))
                    assert drawing.workers.working == 1
                    if not leaving:
                        assert visitor.cancel("generate", event).status_code == 200
                wait_for(lambda: drawing.workers.working == 0)
            assert not list(made[0].root.rglob("*.png"))  # neither was drawn to its end
        drawing.close()


def parameters(visitor: Visitor, name: str) -> list[str]:
    """Labels of what a function of the page takes."""
    labels = {each["id"]: each["props"].get("label", "") for each in visitor.config["components"]}
    (found,) = [each for each in visitor.config["dependencies"] if each["api_name"] == name]
    return [labels[number] for number in found["inputs"]]


class TestTime:
    def test_files_expire_but_not_the_page_s_own(self, work: Work) -> None:
        with served(small_page(work), Limits(keep_seconds=1)) as server, Visitor(server) as visitor:
            paths = [visitor.upload(picture()).json()[0], visitor.ask("own", "mine")["data"][0]["path"]]
            wait_for(lambda: not any(Path(path).exists() for path in paths))
            assert [visitor.file(path).status_code for path in paths] == [403, 403]
            wait_for(lambda: not server._visitors._readers)
            (own,) = server._visitors.public
            assert visitor.file(str(own)).status_code == 200

    def test_it_stops_at_once_and_leaves_nothing(self, work: Work) -> None:
        before = threading.active_count()
        with served(small_page(work)) as server, Visitor(server) as visitor:
            root = server._storage.root
            assert root.stat().st_mode & 0o777 == 0o700
            work.steps = 0
            visitor.join("draw", 10_000)
            with visitor.listen():
                wait_for(lambda: work.steps > 0)
                begun = time.monotonic()
                server.stop()
                assert time.monotonic() - begun < 30
            assert not server.running
            with pytest.raises(httpx.ConnectError):
                httpx.get(server.url, trust_env=False)
        assert not root.exists()
        wait_for(lambda: threading.active_count() <= before)


@pytest.fixture(scope="module")
def closed() -> Iterator[PageServer]:
    accounts = Accounts({"anna": PasswordHash.of("correct horse")})
    with served(small_page(Work()), LIMITS, accounts=accounts) as running:
        yield running


class TestLogin:
    def test_nothing_works_before(self, closed: PageServer) -> None:
        with httpx.Client(base_url=closed.url, trust_env=False, timeout=60) as client:
            assert '"auth_required":true' in client.get("/").text
            for path in (
                *("/config", "/gradio_api/info", "/gradio_api/queue/data?session_hash=a", "/gradio_api/heartbeat/a"),
                *("/gradio_api/file=/etc/passwd", "/gradio_api/call/draw/a", "/gradio_api/upload_progress?upload_id=a"),
            ):
                assert client.get(path).status_code == 401, path
            for path in ("queue/join", "call/draw", "run/quick", "cancel", "upload", "reset"):
                assert client.post(f"/gradio_api/{path}", json={"data": []}).status_code == 401, path
            forged = {"cookie": f"access-token-unsecure-{closed._blocks.app.cookie_id}=x"}
            assert client.get("/gradio_api/info", headers=forged).status_code == 401

    def test_with_the_password_all_does(self, closed: PageServer, tmp_path: Path) -> None:
        client = Client(
            closed.url,
            auth=("anna", "correct horse"),
            verbose=False,
            analytics_enabled=False,
            download_files=str(tmp_path),
        )
        assert Path(client.predict("mine", api_name="/own")).read_text() == "mine"

    def test_failures_are_few(self, closed: PageServer) -> None:
        with httpx.Client(base_url=closed.url, trust_env=False, timeout=60) as client:
            for _ in range(5):
                assert client.post("/login", data={"username": "anna", "password": "wrong"}).status_code == 400
            late = client.post("/login", data={"username": "anna", "password": "correct horse"})
            assert late.status_code == 429
            assert 1 <= int(late.headers["retry-after"]) <= 60
