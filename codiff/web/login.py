"""Logging in: how often it may fail, and that nothing works before."""

from __future__ import annotations

import asyncio
import math
from http.cookies import CookieError, SimpleCookie
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from codiff.web.accounts import Accounts
from codiff.web.attempts import Attempts
from codiff.web.gate import API

_BEFORE = (f"{API}/user", f"{API}/login_check", f"{API}/app_id", f"{API}/theme.css")


class Login:
    """ASGI middleware around a Gradio app that asks for a name and a password.

    Gradio itself keeps some routes open to everybody; here all of its API is closed but what the login page needs.

    Args:
        app: what stands behind.
        gradio: Gradio's app, which knows who is logged in.
        attempts: failures so far.
    """

    def __init__(self, app: ASGIApp, gradio: Any, attempts: Attempts | None = None) -> None:
        self.app = app
        self.gradio = gradio
        self.attempts = attempts or Attempts()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "").rstrip("/")
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif path == "/login":
            await self._try(scope, receive, send)
        elif path.startswith(API) and path not in _BEFORE and not self._logged_in(scope):
            await JSONResponse({"detail": "Not authenticated"}, 401)(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _try(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = (scope.get("client") or ("",))[0]
        pause = math.ceil(self.attempts.begin(client))
        if pause > 0:
            told = f"Too many failed attempts; try again in {pause} s.\n"
            await PlainTextResponse(told, 429, {"retry-after": str(pause)})(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < 400:
                self.attempts.succeeded(client)
            await send(message)

        await self.app(scope, receive, sending)

    def _logged_in(self, scope: Scope) -> bool:
        given = cookies(scope)
        names = (f"access-token-{self.gradio.cookie_id}", f"access-token-unsecure-{self.gradio.cookie_id}")
        return any(given.get(name) in self.gradio.tokens for name in names)


class Checker:
    """What Gradio asks whether a name and a password belong together: one question at a time, beside the event loop.

    Args:
        accounts: who may log in.
    """

    def __init__(self, accounts: Accounts) -> None:
        self.accounts = accounts
        self._one = asyncio.Lock()

    async def admit(self, name: str, password: str) -> bool:
        """Whether they do; scrypt takes its time and memory."""
        async with self._one:
            return await asyncio.to_thread(self.accounts.admit, name, password)


def cookies(scope: Scope) -> dict[str, str]:
    """Cookies of a request by name; none where they are garbled."""
    found: SimpleCookie = SimpleCookie()
    try:
        found.load("; ".join(Headers(scope=scope).getlist("cookie")))
    except CookieError:
        return {}
    return {name: morsel.value for name, morsel in found.items()}
