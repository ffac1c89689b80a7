"""Sessions and files belong to whoever began them: nobody else reads, continues or cancels anything."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import anyio.to_thread
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from codiff.errors import InputError
from codiff.web.attendance import Attendance
from codiff.web.gate import API, FILE, UPLOAD, replayed
from codiff.web.limits import Limits
from codiff.web.login import cookies
from codiff.web.payloads import disarm, read_json, told_files
from codiff.web.uploads import check_upload
from codiff.web.visitors import Visitors

COOKIE = "codiff-visitor"
_STREAM, _CALL, _HEARTBEAT, _CANCEL = (f"{API}/{route}" for route in ("queue/data", "call/", "heartbeat/", "cancel"))
_COOKIE_SECONDS = 30 * 24 * 3600
_NOT_YOURS = "This session is not yours.\n"


class Privacy:
    """ASGI middleware: knows visitors by a cookie, and binds sessions, events and files to them.

    Args:
        app: what stands behind; its bodies were bounded before.
        visitors: what they own.
        attendance: who listens.
        limits: `upload_bytes` and `pixels` count here.
        stop: called with a session that cancelled what it asked for, or went away before it was done.
        crowded: whether the files that are stored already are too many to take another.
        framed: whether the page is shown in a frame of another site, where cookies need to say so.
    """

    def __init__(
        self,
        app: ASGIApp,
        visitors: Visitors,
        attendance: Attendance,
        limits: Limits,
        *,
        stop: Callable[[str], None] = lambda _session: None,
        crowded: Callable[[], bool] = lambda: False,
        framed: bool = False,
    ) -> None:
        self.app = app
        self.visitors = visitors
        self.attendance = attendance
        self.limits = limits
        self.stop = stop
        self.crowded = crowded
        self.framed = framed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path: str = scope["path"]
        visitor = self.visitors.known_token(cookies(scope).get(COOKIE))
        if path == UPLOAD:
            await self._upload(scope, receive, send, visitor)
        elif path.startswith(FILE):
            readable = self.visitors.may_read(path.removeprefix(FILE), visitor)
            answer = self.app if readable else PlainTextResponse("There is no such file, or it is not yours.\n", 403)
            await answer(scope, receive, send)
        elif scope["method"] == "POST" and path.startswith(API):
            await self._ask(scope, receive, send, visitor)
        elif path == _STREAM or path.startswith((_CALL, _HEARTBEAT)):
            await self._listen(scope, receive, send, visitor)
        elif path.rstrip("/") == "/login" or (path.rstrip("/") in ("", "/config") and visitor is None):
            # Who logs in is a new visitor: another person may have used this browser before.
            await self.app(scope, receive, self._greeting(scope, send))
        else:
            await self.app(scope, receive, send)

    def _greeting(self, scope: Scope, send: Send) -> Send:
        """A way to answer with the cookie of a new visitor, where that is a good answer."""
        secure = scope.get("scheme") == "https" or Headers(scope=scope).get("x-forwarded-proto") == "https"
        policy = "SameSite=None; Secure; Partitioned" if self.framed and secure else "SameSite=Lax"
        secured = "; Secure" if secure and not self.framed else ""
        cookie = f"{COOKIE}={self.visitors.new_token()}; Path=/; Max-Age={_COOKIE_SECONDS}; HttpOnly; {policy}{secured}"

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < 300:
                headers = [*message.get("headers", []), (b"set-cookie", cookie.encode())]
                message = {**message, "headers": headers}
            await send(message)

        return sending

    async def _upload(self, scope: Scope, receive: Receive, send: Send, visitor: str | None) -> None:
        if await anyio.to_thread.run_sync(self.crowded):
            await PlainTextResponse("There is no room for files now; try again later.\n", 507)(scope, receive, send)
            return
        await self.app(scope, receive, _answer_judged_by(send, lambda body: self._judge(body, visitor), scope))

    async def _judge(self, body: bytes, visitor: str | None) -> Response | None:
        """Look into the files that were uploaded; all of them go where one will not do."""
        paths = [Path(path) for path in json.loads(body)]
        try:
            for path in paths:
                await anyio.to_thread.run_sync(check_upload, path, self.limits)
        except InputError as error:
            for path in paths:
                path.unlink(missing_ok=True)
            return PlainTextResponse(f"{error}", 415)
        for path in paths:
            self.visitors.grant(str(path), visitor)
        return None

    async def _ask(self, scope: Scope, receive: Receive, send: Send, visitor: str | None) -> None:
        """Something is to be worked out or cancelled: nobody else's session, event or file may appear in it."""
        try:
            value = await self._harmless(receive, visitor)
        except InputError as error:
            await _refusal(str(error), 400)(scope, receive, send)
            return
        session, event = _text_of(value, "session_hash"), _text_of(value, "event_id")
        foreign = session is not None and not self.visitors.claim(session, visitor)
        if foreign or (event is not None and not self.visitors.owns(event, visitor)):
            await _refusal(_NOT_YOURS, 403)(scope, receive, send)
            return

        async def judge(answer: bytes) -> None:
            self._note(answer, session, visitor)
            if scope["path"] == _CANCEL and session is not None:
                self.stop(session)

        body = json.dumps(value).encode()
        await self.app(_with_body(scope, body), replayed(body, receive), _answer_judged_by(send, judge, scope))

    async def _harmless(self, receive: Receive, visitor: str | None) -> Any:
        """The JSON that a visitor sent, without anything that is not his.

        Raises:
            InputError: it is none, or names another's file.
        """
        value = read_json((await receive())["body"])  # all of it, as the gate hands it on
        disarm(
            value,
            lambda path: self.visitors.may_read(path, visitor),
            lambda text: self.visitors.may_send(text, visitor),
        )
        return value

    def _note(self, answer: bytes, session: str | None, visitor: str | None) -> None:
        """Remember what an answer gave the visitor: an event to listen to, or files."""
        try:
            value = json.loads(answer)
        except ValueError:
            return
        for path in told_files(value):
            self.visitors.grant(path, visitor)
        event = _text_of(value, "event_id")
        if event is not None:
            self.visitors.claim(event, visitor)
            self.attendance.expect(session or event, event)

    async def _listen(self, scope: Scope, receive: Receive, send: Send, visitor: str | None) -> None:
        path: str = scope["path"]
        given = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("session_hash", [""])[-1]
        key = given if path == _STREAM else path.rpartition("/")[2]
        mine = self.visitors.owns(key, visitor) if path.startswith(_CALL) else self.visitors.claim(key, visitor)
        if not mine:
            await PlainTextResponse(_NOT_YOURS, 403)(scope, receive, send)
            return

        finished = False

        async def sending(message: Message) -> None:
            nonlocal finished
            if message["type"] == "http.response.body":
                for told in _files_of_events(message.get("body", b"")):
                    self.visitors.grant(told, visitor)
                finished = not message.get("more_body", False)
            await send(message)

        if path.startswith(_HEARTBEAT):
            await self.app(scope, receive, sending)
            return
        with self.attendance.listening(key) as session:
            await self.app(scope, receive, sending)
        if not finished and not self.attendance.listens(session):
            self.stop(session)


def _files_of_events(chunk: bytes) -> list[str]:
    """Files in server-sent events; Gradio sends each of them as one piece."""
    found: list[str] = []
    for line in chunk.split(b"\n"):
        if line.startswith(b"data:") and b'"path"' in line:
            with contextlib.suppress(ValueError):
                found.extend(told_files(json.loads(line[5:])))
    return found


def _text_of(value: Any, key: str) -> str | None:
    """The text at a key of an object; None where there is none or an empty one."""
    text = value.get(key) if isinstance(value, dict) else None
    return text if isinstance(text, str) and text else None


def _with_body(scope: Scope, body: bytes) -> Scope:
    """A request with another body, of JSON."""
    kept = [(name, text) for name, text in scope["headers"] if name not in (b"content-length", b"content-type")]
    own = [(b"content-length", str(len(body)).encode()), (b"content-type", b"application/json")]
    return {**scope, "headers": [*kept, *own]}


def _refusal(message: str, status: int) -> Response:
    return JSONResponse({"detail": message}, status)


def _answer_judged_by(send: Send, judge: Callable[[bytes], Awaitable[Response | None]], scope: Scope) -> Send:
    """A way to answer that waits for the whole of a good answer, and sends what `judge` says in its place."""
    start: Message | None = None
    parts: list[bytes] = []

    async def sending(message: Message) -> None:
        nonlocal start
        if message["type"] == "http.response.start":
            start = message
            if message["status"] >= 400:
                await send(message)
            return
        if start is None or start["status"] >= 400:
            await send(message)
            return
        parts.append(message.get("body", b""))
        if message.get("more_body", False):
            return
        body = b"".join(parts)
        other = await judge(body)
        if other is not None:
            await other(scope, _nothing, send)
            return
        await send(start)
        await send({"type": "http.response.body", "body": body})

    return sending


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
