"""What may come in at all: known hosts and origins, known routes, bodies of a bearable size."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.formparsers import MultiPartException
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from codiff.web.hosts import Hosts, same_origin

API = "/gradio_api"
UPLOAD = f"{API}/upload"
FILE = f"{API}/file="

# Gradio has about seventy routes; the page and its API need these. The others fetch addresses (proxy), change the
# program (vibe-edit), restart the queue (startup-events), tell secrets (token) or save sessions (deep_link).
_NAME = r"[A-Za-z0-9_-]{1,128}"
_READ = re.compile(
    rf"/|/config/?|/theme\.css|/robots\.txt|/favicon\.ico|/manifest\.json|/logout|/(?:static|assets)/.+"
    rf"|{API}/(?:info/?|openapi\.json|theme\.css|app_id/?|user/?|login_check/?|queue/data|queue/status|upload_progress"
    rf"|heartbeat/{_NAME}|call/(?:v2/)?{_NAME}/{_NAME}|file=.+)"
)
_WRITE = re.compile(
    rf"/login/?|{API}/(?:queue/join|(?:call|call/v2|run|api)/{_NAME}/?|cancel|reset/?|upload)", re.ASCII
)
_SERVER_FUNCTIONS = re.compile(rf"{API}/component_server/?")

_FORM_BYTES = 16 * 2**10
_ENVELOPE_BYTES = 2**16  # of a multipart body around its files
_BODY_SECONDS = 300  # that a body may take to arrive,
_FIRST_SECONDS = 20  # of which a sender has these at once, and the others
_SLOWEST = 16 * 2**10  # for this many bytes each: idle senders are soon gone
_MOST_HELD = 512 * 2**20  # bytes of all bodies that are in memory at once
_DRAINED = 8  # times the limit that is read of a body that is refused, so that its sender hears why

_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; media-src 'self' data: blob:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors "
)
_FILE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"


class Gate:
    """ASGI middleware: whatever is not known to be needed is refused before Gradio sees it.

    Args:
        app: what stands behind.
        hosts: names that the page is reached by.
        body_bytes: of an uploaded file; other requests may have twice as many, for several files in them.
        framed_by: sites that may show the page in a frame, as Spaces are shown.
        server_functions: whether components of the page call functions of the server.
    """

    def __init__(
        self, app: ASGIApp, hosts: Hosts, body_bytes: int, framed_by: str = "", server_functions: bool = False
    ) -> None:
        self.app = app
        self.hosts = hosts
        self.body_bytes = body_bytes
        self.page_headers = {
            "content-security-policy": _POLICY + f"'self' {framed_by}".strip(),
            "x-content-type-options": "nosniff",
            "referrer-policy": "same-origin",
            "cross-origin-resource-policy": "same-origin",
        }
        self.file_headers = {
            **self.page_headers,
            "content-security-policy": _FILE_POLICY,
            "cache-control": "private, no-store",
        }
        self.server_functions = server_functions
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = Headers(scope=scope)
        send = with_headers(send, self.file_headers if scope["path"].startswith(FILE) else self.page_headers)
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await refusal(scope, receive, send)
        elif scope["method"] == "POST" and scope["path"] != UPLOAD:
            await self._read_first(_cleaned(scope), receive, send)
        else:
            most = self.body_bytes + _ENVELOPE_BYTES
            await self.app(_cleaned(scope), _Counted(receive, most) if scope["method"] == "POST" else receive, send)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        """Why a request is refused before its body is read."""
        claimed = [*headers.getlist("host"), *headers.getlist("x-forwarded-host")]
        names = [name.strip() for value in claimed for name in value.split(",")]
        if not names or not all(map(self.hosts.know, names)):
            told = quote(names[0] if names else "")[:200]
            return PlainTextResponse(f"This page is not reached by the name {told!r} (see --domain).\n", 421)
        origin = headers.get("origin")
        if origin is not None and not same_origin(origin, names):
            return PlainTextResponse("Other sites may not call this page.\n", 403)
        patterns = {"GET": [_READ], "HEAD": [_READ], "POST": [_WRITE]}.get(scope["method"])
        if patterns is None:
            return PlainTextResponse("Method not allowed\n", 405, {"allow": "GET, HEAD, POST"})
        if self.server_functions and scope["method"] == "POST":
            patterns.append(_SERVER_FUNCTIONS)
        if not any(pattern.fullmatch(scope["path"]) for pattern in patterns):
            return PlainTextResponse("Not found\n", 404)
        return None

    async def _read_first(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on once its body is here, if there is room for it."""
        limit = _FORM_BYTES if scope["path"].rstrip("/") == "/login" else 2 * self.body_bytes
        read, held = _Counted(receive, limit), 0
        try:
            body = await self._body(read)
            if body is None:
                while not read.over:  # who still sends when the answer comes may never see it
                    await read()
                refusal = PlainTextResponse("Too many large requests at once; try again in a minute.\n", 503)
                await refusal(scope, receive, send)
                return
            held = len(body)
            await self.app(scope, replayed(body, receive), send)
        except MultiPartException as error:
            await PlainTextResponse(f"{error.message}\n", 413)(scope, receive, send)
        finally:
            self._held -= held

    async def _body(self, read: _Counted) -> bytes | None:
        """The whole body of a request, whose bytes are held from now on; None where there is no room for them.

        They count as they arrive: what a request only says that it will send keeps nobody else out.

        Raises:
            MultiPartException: it is longer than the limit in bytes, takes too long, or its sender went away.
        """
        parts: list[bytes] = []
        held, whole = 0, False
        try:
            while not read.over:
                part = (await read()).get("body", b"")
                if self._held + len(part) > _MOST_HELD:
                    return None
                held += len(part)
                self._held += len(part)
                parts.append(part)
            whole = True
            return b"".join(parts)
        finally:
            if not whole:
                self._held -= held


def replayed(body: bytes, receive: Receive) -> Receive:
    """A way to read a body that was read already, and then whatever comes after it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return messages.pop() if messages else await receive()

    return again


def with_headers(send: Send, headers: Mapping[str, str]) -> Send:
    """A way to answer with some headers of ours, in place of equally named ones."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            told = MutableHeaders(scope=message)
            for name, value in headers.items():
                told[name] = value
        await send(message)

    return sending


class _Counted:
    """Reads a body as long as it is within the limit in bytes and in time, and then whatever comes after it.

    The error is the one upon which Gradio removes what it wrote of an upload; it knows it by "maximum allowed size".

    Attributes:
        over: whether the whole body was read.
    """

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._begun = asyncio.get_running_loop().time()
        self._seen = 0
        self.over = False

    async def __call__(self) -> Message:
        if self.over:
            return await self._receive()
        seconds = min(_BODY_SECONDS, _FIRST_SECONDS + self._seen / _SLOWEST)
        try:
            async with asyncio.timeout_at(self._begun + seconds):
                return await self._next()
        except TimeoutError as error:
            raise MultiPartException(f"this did not arrive within {seconds:.0f} s") from error

    async def _next(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise MultiPartException("this was broken off")
        self._seen += len(message.get("body", b""))
        if self._seen > self._limit:
            await _drain(message, self._receive, _DRAINED * self._limit)
            raise MultiPartException(f"this is larger than the maximum allowed size of {self._limit / 2**20:.1f} MiB")
        self.over = not message.get("more_body", False)
        return message


async def _drain(message: Message, receive: Receive, most: int) -> None:
    """Read on without keeping anything: who still sends when the answer comes may never see it."""
    while message.get("more_body", False) and most > 0:
        message = await receive()
        most -= len(message.get("body", b""))


def _cleaned(scope: Scope) -> Scope:
    """Without the header by which a client could tell Gradio another address of this server."""
    kept = [(name, value) for name, value in scope["headers"] if name != b"x-gradio-server"]
    return {**scope, "headers": kept}
