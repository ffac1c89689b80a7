"""A visitor has his own session and his own files, and nothing else of the server or of others."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio
import httpx
import pytest
from gradio_client import Client, handle_file
from serving import MADE, Visitor, Work, given, picture, served, small_page, wait_for

from codiff.web.server import PageServer

FOREIGN = (
    "/etc/passwd",
    "//etc/passwd",
    "/etc/../etc/passwd",
    "../../../../../../etc/passwd",
    "/proc/self/environ",
    "file:///etc/passwd",
    "http://127.0.0.1:1/x.png",
    "https://huggingface.co/front/assets/huggingface_logo.svg",
    "~/.ssh/id_rsa",
    "C:\\Windows\\win.ini",
    "\\\\host\\share",
    __file__,
    gradio.__file__,
    "",
    ".",
    "/",
    "/etc/passwd\0.png",
)


@pytest.fixture(scope="module")
def work() -> Work:
    return Work()


@pytest.fixture(scope="module")
def server(work: Work) -> Iterator[PageServer]:
    with served(small_page(work)) as running:
        yield running


@pytest.fixture
def visitor(server: PageServer) -> Iterator[Visitor]:
    with Visitor(server) as browser:
        yield browser


@pytest.fixture
def other(server: PageServer) -> Iterator[Visitor]:
    with Visitor(server) as browser:
        yield browser


def anonymous(server: PageServer, path: str) -> httpx.Response:
    return httpx.get(f"{server.url}/gradio_api/file={path}", trust_env=False, timeout=60)


class TestFiles:
    @pytest.mark.parametrize("path", FOREIGN)
    def test_none_of_the_server_is_served(self, visitor: Visitor, path: str) -> None:
        path = path.replace("\0", "%00")
        for form in (path, path.replace("/", "%2f"), path.replace(".", "%2e"), path.replace("/", "%252f")):
            assert visitor.file(form).status_code in (403, 404)

    def test_nor_what_lies_beside_the_visitor_s_own(self, server: PageServer, visitor: Visitor) -> None:
        own = Path(visitor.upload(picture()).json()[0])
        assert visitor.file(str(own)).content == picture()
        root = server._storage.root
        (root / "private.txt").write_text("private")
        (own.parent / "beside.png").write_bytes(b"beside")
        places = [str(place) for place in (root, root / "private.txt", own.parent, own.parent / "beside.png")]
        for path in [*places, f"{own}/", f"{own}/..", f"/{own}", f"{own}%00.png"]:
            assert visitor.file(path).status_code in (403, 404), path

    def test_links_are_not_followed(self, visitor: Visitor, tmp_path: Path) -> None:
        own = Path(visitor.upload(picture()).json()[0])
        secret = tmp_path / "secret.txt"
        secret.write_text("secret")
        (own.parent / "link").symlink_to(secret)
        (own.parent / "folder").symlink_to(tmp_path)
        own.unlink()
        own.symlink_to(secret)  # it was the visitor's when it was a file
        for path in (own, own.parent / "link", own.parent / "folder" / "secret.txt"):
            assert visitor.file(str(path)).status_code == 403
            assert visitor.join("open_file", given(str(path))).status_code == 400

    def test_what_the_page_begins_with_is_everybody_s(self, server: PageServer, visitor: Visitor) -> None:
        (path,) = [str(place) for place in server._visitors.public]
        assert Path(path).name == "beginning.png"
        assert visitor.file(path).status_code == anonymous(server, path).status_code == 200

    def test_files_are_shown_as_harmless(self, visitor: Visitor) -> None:
        headers = visitor.file(visitor.upload(b'{"a": 1}', "<script>.html").json()[0]).headers
        assert headers["content-disposition"].startswith("attachment")
        assert headers["content-type"] == "application/octet-stream"
        assert "sandbox" in headers["content-security-policy"]
        assert headers["cache-control"] == "private, no-store"


class Trap:
    """A server of the private network that nobody should be made to call."""

    def __init__(self) -> None:
        self.calls = 0
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}/x.png"
        threading.Thread(target=self.count, daemon=True).start()

    def count(self) -> None:
        while True:
            try:
                caller, _address = self.socket.accept()
            except OSError:
                return
            self.calls += 1
            caller.close()


@pytest.fixture
def trap() -> Iterator[Trap]:
    listening = Trap()
    yield listening
    listening.socket.shutdown(socket.SHUT_RDWR)
    listening.socket.close()


class TestPathsOfClients:
    @pytest.mark.parametrize("path", FOREIGN)
    def test_none_is_opened(self, visitor: Visitor, work: Work, path: str) -> None:
        before = list(work.opened)
        for file in (given(path), {"path": path}, given(path, is_stream=True), given(path, orig_name="x.svg")):
            assert visitor.join("open_file", file).status_code == 400
            assert visitor.join("open_picture", file).status_code == 400
        for route in ("call", "run", "api", "call/v2"):
            body = {"data": [given(path)], "fn_index": visitor.number("open_file"), "session_hash": visitor.session}
            assert visitor.post(f"/gradio_api/{route}/open_file", json=body).status_code == 400
        assert work.opened == before

    def test_nor_deep_inside(self, visitor: Visitor) -> None:
        for value in ([given("/etc/passwd")], {"a": {"b": [given("/etc/passwd")]}}, {"value": given("/etc/passwd")}):
            assert visitor.join("echo", value).status_code == 400

    def test_gradio_would_not_open_them_either(self, server: PageServer) -> None:
        """What stands before it could be left out, and this would still hold."""
        assert server._blocks.has_launched
        assert (server._blocks.allowed_paths, server._blocks.api_open) == ([], False)

    @pytest.mark.filterwarnings("ignore:Exception ignored in.*BufferedReader")  # Gradio leaves pictures open
    @pytest.mark.filterwarnings("ignore:Exception ignored in.*FileIO")
    def test_addresses_are_not_fetched(
        self, visitor: Visitor, work: Work, trap: Trap, capfd: pytest.CaptureFixture[str]
    ) -> None:
        own = visitor.upload(picture()).json()[0]
        for url in (
            trap.url,
            "file:///etc/passwd",
            "/gradio_api/file=/etc/passwd",
            "data:image/png;base64,iVBORw0KGgo=",
        ):
            assert visitor.ask("open_picture", given(own, url=url))["data"] == [f"{len(picture())} bytes"]
            assert work.opened[-1] == own
            assert visitor.join("open_picture", given(url)).status_code == 400
            assert not visitor.ask("open_picture", {"url": url, "meta": MADE})["success"]
            assert visitor.file(url).status_code in (403, 404)
            assert work.opened[-1] == own
        assert trap.calls == 0
        told = capfd.readouterr().err.splitlines()
        assert told
        assert all(line.startswith("error: a request failed: ComponentProcessingError") for line in told)

    def test_own_uploads_are_opened(self, visitor: Visitor) -> None:
        own = visitor.upload(b'{"words": "mine"}', "my settings.json").json()[0]
        assert visitor.ask("open_file", given(own, url=f"/gradio_api/file={own}"))["data"] == ['{"words": "mine"}']


class TestVisitors:
    def test_each_sees_his_own_pictures_alone(self, server: PageServer, visitor: Visitor, other: Visitor) -> None:
        upload = visitor.upload(picture()).json()[0]
        painted = visitor.ask("paint", "mine")["data"][0]["path"]
        stored = visitor.ask("own", "mine")["data"][0]["path"]
        for path in (upload, painted, stored):
            assert visitor.file(path).status_code == 200
            assert other.file(path).status_code == 403
            assert anonymous(server, path).status_code == 403
            assert other.join("open_file", given(path)).status_code == 400

    def test_equal_pictures_are_everyones_own(self, visitor: Visitor, other: Visitor) -> None:
        mine, others = visitor.ask("paint", "the same")["data"][0], other.ask("paint", "the same")["data"][0]
        assert mine["path"] == others["path"]  # Gradio names them after their content
        assert visitor.file(mine["path"]).content == other.file(mine["path"]).content

    def test_a_path_does_not_become_one_s_own_by_being_sent_back(self, visitor: Visitor, other: Visitor) -> None:
        path = visitor.ask("own", "mine")["data"][0]["path"]
        tries: list[Any] = [{"a": given(path)}, path, f"<img src='/gradio_api/file={path}'>", {path: 1}]
        for value in [*tries, ["replace", ["path"], path], f"a{path} b"]:
            assert other.join("echo", value).status_code == 400
        assert other.file(path).status_code == 403
        assert visitor.ask("echo", {"a": f"see {path}"})["success"]

    def test_previews_are_seen(self, visitor: Visitor) -> None:
        for words in ("one", "two"):
            assert visitor.file(visitor.ask("paint", words)["data"][0]["path"]).status_code == 200

    def test_nobody_listens_to_another_s_session(self, visitor: Visitor, other: Visitor) -> None:
        event = visitor.join("draw", 3).json()["event_id"]
        assert other.get("/gradio_api/queue/data", params={"session_hash": visitor.session}).status_code == 403
        assert other.get(f"/gradio_api/heartbeat/{visitor.session}").status_code == 403
        assert other.get(f"/gradio_api/call/draw/{event}").status_code == 403
        assert other.join("draw", 1, session_hash=visitor.session).status_code == 403
        assert visitor.get(f"/gradio_api/call/draw/{event}").text.count("event: generating") >= 2

    def test_nor_cancels_it(self, visitor: Visitor, other: Visitor, work: Work) -> None:
        work.steps = 0
        event = visitor.join("draw", 5).json()["event_id"]
        wait_for(lambda: work.steps > 0)
        for session in (visitor.session, other.session):
            assert other.cancel("draw", event, session).status_code == 403
        assert "step 5" in visitor.get(f"/gradio_api/call/draw/{event}").text

    def test_clients_without_cookies_keep_their_secrets_by_their_names(
        self, server: PageServer, visitor: Visitor
    ) -> None:
        with httpx.Client(base_url=f"{server.url}/gradio_api", trust_env=False, timeout=60) as plain:
            event = plain.post("/call/paint", json={"data": ["plain"]}).json()["event_id"]
            told = plain.get(f"/call/paint/{event}").text
            path = json.loads(told.partition("data: ")[2].splitlines()[0])[0]["path"]
            assert plain.get(f"/file={path}").status_code == 200
            assert not plain.cookies
        assert visitor.get(f"/gradio_api/call/paint/{event}").status_code == 403

    def test_the_cookie_is_the_browser_s_alone(self, server: PageServer) -> None:
        told = httpx.get(server.url, trust_env=False).headers["set-cookie"]
        assert told.startswith("codiff-visitor=")
        assert "HttpOnly" in told
        assert "SameSite=Lax" in told
        assert "Secure" not in told
        secure = httpx.get(server.url, headers={"x-forwarded-proto": "https"}, trust_env=False)
        assert secure.headers["set-cookie"].endswith("; Secure")

    def test_two_programs_at_once(self, server: PageServer, tmp_path: Path) -> None:
        one, two = (
            Client(server.url, verbose=False, analytics_enabled=False, download_files=str(tmp_path / name))
            for name in ("one", "two")
        )
        (tmp_path / "settings.json").write_text('{"words": "one"}')
        assert one.predict(handle_file(str(tmp_path / "settings.json")), api_name="/open_file") == '{"words": "one"}'
        first, second = (client.predict("mine", api_name="/own") for client in (one, two))
        assert Path(first).read_text() == Path(second).read_text() == "mine"
        assert one.cookies["codiff-visitor"] != two.cookies["codiff-visitor"]
