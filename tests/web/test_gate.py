"""What does not come in: unknown routes, other sites, foreign names, nonsense."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack

import httpx
import pytest
from serving import Visitor, raw, wait_for
from serving import server as server
from serving import visitor as visitor

from codiff.web.gate import Gate
from codiff.web.hosts import Hosts, same_origin
from codiff.web.limits import Limits
from codiff.web.server import PageServer

LIMITS = Limits(upload_bytes=300_000)


class TestRoutes:
    def test_the_page_and_its_description_are_there(self, visitor: Visitor) -> None:
        for path in ("/", "/config", "/gradio_api/info", "/gradio_api/openapi.json", "/theme.css", "/manifest.json"):
            assert visitor.get(path).status_code == 200, path

    @pytest.mark.parametrize(
        "path",
        [
            "/gradio_api/proxy=http://127.0.0.1:1/",
            "/gradio_api/proxy=https://someone.hf.space/",
            "/gradio_api/token",
            "/gradio_api/startup-events",
            "/gradio_api/deep_link?session_hash=a",
            "/gradio_api/dev/reload",
            "/gradio_api/vibe-code",
            "/gradio_api/runs",
            "/gradio_api/run-history/buckets",
            "/gradio_api/custom_component/x/client/component/index.js",
            "/gradio_api/stream/a/b/1/playlist.m3u8",
            "/gradio_api/file/etc/passwd",
            "/gradio_api/mcp/",
            "/monitoring",
            "/monitoring/summary",
            "/pwa_icon",
            "/svelte/x.js",
            "/docs",
            "/openapi.json",
            "//config",
            "/static/../../../../etc/passwd",
            "/static/%2e%2e/%2e%2e/%2e%2e/blocks.py",
            "/assets/..%2f..%2f..%2f..%2fblocks.py",
            "/assets/%5c..%5c..%5cblocks.py",
        ],
    )
    def test_what_the_page_does_not_need_is_not_there(self, server: PageServer, path: str) -> None:
        with raw(server, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n") as line:
            assert line.recv(12) in (b"HTTP/1.1 403", b"HTTP/1.1 404")

    @pytest.mark.parametrize(
        "path",
        ["component_server", "vibe-edit", "undo-vibe-edit", "process_recording", "stream/a", "run-history/connect"],
    )
    def test_nor_to_be_written_to(self, visitor: Visitor, path: str) -> None:
        assert visitor.post(f"/gradio_api/{path}", json={}).status_code == 404

    @pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
    def test_other_methods_are_refused(self, visitor: Visitor, method: str) -> None:
        assert visitor.request(method, "/config").status_code == 405

    def test_the_queue_cannot_be_passed_by(self, visitor: Visitor) -> None:
        for route in ("run", "api"):
            answer = visitor.post(f"/gradio_api/{route}/draw", json={"data": [1], "session_hash": visitor.session})
            assert answer.status_code == 404
            assert visitor.post(f"/gradio_api/{route}/quick", json={"data": ["x"]}).json()["data"] == ["x"]

    def test_deep_links_cannot_be_made_of_uploads(self, visitor: Visitor) -> None:
        path = visitor.upload(b'[{"id": 1}]', "state.json").json()[0]
        folder = path.split("/")[-2]
        for link in (folder, f"../{folder}"):
            assert visitor.get("/config", params={"deep_link": link}).json()["deep_link_state"] == "invalid"

    def test_websockets_are_refused(self, server: PageServer) -> None:
        head = "GET /gradio_api/queue/join HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        with raw(server, head + key) as line:
            assert line.recv(12) in (b"HTTP/1.1 403", b"HTTP/1.1 404")

    def test_answers_tell_browsers_to_be_strict(self, visitor: Visitor) -> None:
        headers = visitor.get("/").headers
        assert "frame-ancestors 'self'" in headers["content-security-policy"]
        assert "connect-src 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in headers


class TestOtherSites:
    @pytest.mark.parametrize(
        "host", ["evil.example", "evil.example:80", "localhost.evil.example", "a@localhost", "a b"]
    )
    def test_a_foreign_name_does_not_lead_here(self, visitor: Visitor, host: str) -> None:
        answer = visitor.get("/", headers={"host": host})
        assert (answer.status_code, "set-cookie" in answer.headers) == (421, False)

    def test_nor_does_none(self, server: PageServer) -> None:
        with raw(server, "GET / HTTP/1.0\r\n\r\n") as line:
            assert line.recv(12) == b"HTTP/1.1 421"

    @pytest.mark.parametrize(
        "host", ["localhost", "localhost:7860", "127.0.0.1", "[::1]:7860", "192.0.2.7", "x.localhost"]
    )
    def test_own_names_do(self, visitor: Visitor, host: str) -> None:
        assert visitor.get("/theme.css", headers={"host": host}).status_code == 200

    def test_names_are_not_taken_from_headers_of_proxies(self, visitor: Visitor) -> None:
        assert visitor.get("/", headers={"x-forwarded-host": "evil.example"}).status_code == 421
        assert "evil.example" not in visitor.get("/config", headers={"x-gradio-server": "http://evil.example"}).text

    @pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1", "http://127.0.0.1", "a"])
    def test_other_sites_may_not_call(self, visitor: Visitor, origin: str) -> None:
        assert visitor.get("/config", headers={"origin": origin}).status_code == 403
        assert visitor.post("/gradio_api/queue/join", json={}, headers={"origin": origin}).status_code == 403
        asked = {"origin": origin, "access-control-request-method": "POST"}
        assert "access-control-allow-origin" not in visitor.options("/config", headers=asked).headers

    def test_the_page_itself_may(self, server: PageServer, visitor: Visitor) -> None:
        assert visitor.get("/config", headers={"origin": server.url}).status_code == 200

    def test_names_that_are_added_lead_here(self) -> None:
        hosts = Hosts(["Faces.example"])
        assert hosts.know("faces.example:8443")
        assert not hosts.know("more.faces.example")
        hosts.add("shared.example")
        assert hosts.know("SHARED.example")

    @pytest.mark.parametrize(
        ("origin", "host", "same"),
        [
            ("https://faces.example", "faces.example", True),
            ("https://faces.example:8443", "faces.example:8443", True),
            ("https://faces.example:8443", "faces.example", True),
            ("https://faces.example", "faces.example:8443", False),
            ("https://faces.example:1", "faces.example:2", False),
            ("https://faces.example.evil", "faces.example", False),
            ("https://evil@faces.example", "faces.example", False),
            ("https://faces.example:x", "faces.example", False),
            ("null", "null", False),
        ],
    )
    def test_same_origin(self, origin: str, host: str, same: bool) -> None:
        assert same_origin(origin, [host]) is same


def begun(server: PageServer, length: int, body: bytes = b"") -> socket.socket:
    """A connection by which a request of this length was begun."""
    line = raw(server, f"POST /gradio_api/queue/join HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n")
    line.sendall(body)
    return line


class TestBodies:
    @pytest.mark.parametrize(
        ("body", "status", "reason"),
        [
            (b"{", 400, "no JSON"),
            (b"[" * 50_000, 400, "too deep"),
            (b'{"data": [' + b"1," * 140_000 + b"1]}", 400, "Session hash"),
            (b"[[" * 120_000, 400, "too many values"),
            (b'{"data": "' + b"a" * 2 * LIMITS.upload_bytes + b'"}', 413, "maximum allowed size"),
            (b"\xff\xfe", 400, "no JSON"),
            (b"[]", 422, ""),
            (b'{"data": [NaN], "session_hash": 7}', 422, ""),
            (b'{"data": [1], "session_hash": "s", "fn_index": 12345}', 500, ""),
        ],
    )
    def test_nonsense_is_refused(self, server: PageServer, body: bytes, status: int, reason: str) -> None:
        answer = httpx.post(f"{server.url}/gradio_api/queue/join", content=body, trust_env=False, timeout=60)
        assert answer.status_code == status
        assert reason in answer.text

    def test_large_requests_have_to_wait_for_each_other(
        self, server: PageServer, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("codiff.web.gate._MOST_HELD", 500_000)
        gate = server._server.config.app
        assert isinstance(gate, Gate)
        with begun(server, 600_000, b" " * 499_999):
            wait_for(lambda: gate._held == 499_999)
            refused = visitor.join("echo", [1])
            assert (refused.status_code, "try again in a minute" in refused.text) == (503, True)
        wait_for(lambda: gate._held == 0)
        assert visitor.ask("echo", [1])["data"] == [[1]]

    def test_what_there_is_no_room_for_is_read_before_it_is_refused(
        self, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("codiff.web.gate._MOST_HELD", 100_000)
        assert visitor.join("echo", ["a" * 550_000]).status_code == 503
        assert visitor.ask("echo", [1])["data"] == [[1]]

    @pytest.mark.parametrize("length", [20, 2 * LIMITS.upload_bytes])
    def test_who_sends_nothing_keeps_nobody_out(
        self, server: PageServer, visitor: Visitor, monkeypatch: pytest.MonkeyPatch, length: int
    ) -> None:
        monkeypatch.setattr("codiff.web.gate._MOST_HELD", 3 * LIMITS.upload_bytes)
        with ExitStack() as idle:
            for _ in range(30):
                idle.enter_context(begun(server, length))
            time.sleep(0.5)  # all of them have come in
            assert visitor.ask("echo", [1])["data"] == [[1]]

    @pytest.mark.parametrize(("length", "body"), [(20, b""), (600_000, b" " * 1000)])
    def test_who_stops_sending_is_sent_away_soon(
        self, server: PageServer, monkeypatch: pytest.MonkeyPatch, length: int, body: bytes
    ) -> None:
        monkeypatch.setattr("codiff.web.gate._FIRST_SECONDS", 0.5)
        with begun(server, length, body) as line:
            line.settimeout(30)
            assert line.recv(12) == b"HTTP/1.1 413"

    def test_who_goes_on_sending_is_waited_for(self, server: PageServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("codiff.web.gate._FIRST_SECONDS", 1)
        begin = time.monotonic()
        with begun(server, 160_002, b"[") as line:
            for _ in range(8):
                line.sendall(b" " * 20_000)
                time.sleep(0.4)
            line.sendall(b"]")
            assert line.recv(12) == b"HTTP/1.1 422"  # it arrived, and asks for nothing
        assert time.monotonic() - begin > 3

    def test_so_is_a_long_form(self, visitor: Visitor) -> None:
        assert visitor.post("/login", data={"username": "a" * 20_000}).status_code == 413
