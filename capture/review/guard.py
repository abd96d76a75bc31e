"""Pure: who may ask the review page's server: the one browser that this person opened, and nobody else.

Each request must pass, in this order: the other end of the connection is a process of this user; the Host is this
server's very address (a name that was re-bound to the loopback is another); the session's cookie is there, which a
one-time token was exchanged for; the browser says that no other site asks (Sec-Fetch-Site), and for a change, that it
comes from our own page (Origin), as JSON. Whatever fails gets an answer without content.

Every answer forbids scripts, styles, pictures, frames and connections from anywhere else, inline scripts, and storing.

Not guarded against: other programs of the same user. They can read the copies and their key anyway.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

ENTRY = "/enter"
COOKIE = "modicum-review"
MAX_BODY_BYTES = 128 << 10
"""A deletion of some thousand chunks."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'none'; "
    "frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = (
    ("content-security-policy", POLICY),
    ("x-frame-options", "DENY"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), microphone=(), geolocation=(), clipboard-read=()"),
    ("cache-control", "no-store"),
)


@dataclass(slots=True)
class Session:
    """The one session of a server.

    Attributes:
        token: opens it once. secret: what its cookie holds. entered: whether the token was used.
    """

    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    entered: bool = False

    def enter(self, token: str) -> bool:
        """Use the token up; tell whether it was the right one and unused."""
        right = hmac.compare_digest(token.encode(), self.token.encode()) and not self.entered
        self.entered = self.entered or right
        return right

    def holds(self, secret: str) -> bool:
        """Tell whether a cookie is this session's."""
        return self.entered and hmac.compare_digest(secret.encode(), self.secret.encode())


@dataclass(frozen=True, slots=True)
class Refusal(Exception):
    """Why a request is not answered: an HTTP status, and for a person who sees it, what to do."""

    status: int
    text: str = ""


class Guard:
    """An ASGI application around another.

    Args:
        app: what is guarded. host: "127.0.0.1:PORT", as browsers send it. session: see there.
        is_own: tells whether a connection's other end (address, port) belongs to this user.
        touched: called for each request that passes.
    """

    def __init__(
        self,
        app: App,
        *,
        host: str,
        session: Session,
        is_own: Callable[[tuple[str, int]], bool],
        touched: Callable[[], None] = lambda: None,
    ) -> None:
        self._app = app
        self._host = host
        self._session = session
        self._is_own = is_own
        self._touched = touched

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return  # no websockets; without an answer the server refuses them
        try:
            if scope["path"] == ENTRY:
                await self._enter(scope, send)
                return
            self._check(scope)
        except Refusal as refusal:
            await _answer(send, refusal.status, refusal.text)
            return
        self._touched()

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_raw(HEADERS)]
            await send(message)

        await self._app(scope, receive, guarded)

    async def _enter(self, scope: Scope, send: Send) -> None:
        self._check_sender(scope, _headers(scope))
        given = parse_qs(scope["query_string"].decode("latin-1"))
        if scope["method"] != "GET" or not self._session.enter(given.get("token", [""])[0]):
            raise Refusal(403, "This link has been used, or is not of this page. Run `modicum review` again.")
        cookie = f"{COOKIE}={self._session.secret}; Path=/; HttpOnly; SameSite=Strict"
        await _answer(send, 303, "", (("location", "/"), ("set-cookie", cookie)))

    def _check_sender(self, scope: Scope, headers: dict[str, str]) -> None:
        client = scope.get("client")
        if client is None or not self._is_own((client[0], client[1])):
            raise Refusal(403)
        if headers.get("host") != self._host:
            raise Refusal(421)

    def _check(self, scope: Scope) -> None:
        headers = _headers(scope)
        self._check_sender(scope, headers)
        try:
            cookies = SimpleCookie(headers.get("cookie", ""))
        except CookieError:
            raise Refusal(403) from None
        if COOKIE not in cookies or not self._session.holds(cookies[COOKIE].value):
            raise Refusal(403, "This page belongs to another browser, or has ended. Run `modicum review` again.")
        site = headers.get("sec-fetch-site", "same-origin")
        if site != "same-origin" and not (site == "none" and scope["method"] == "GET"):
            raise Refusal(403)
        if scope["method"] in {"GET", "HEAD"}:
            return
        if scope["method"] != "POST":
            raise Refusal(405)
        if headers.get("origin") != f"http://{self._host}":
            raise Refusal(403)
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refusal(415)
        length = headers.get("content-length", "")
        if not (length.isascii() and length.isdecimal()):
            raise Refusal(411)
        if len(length) > 9 or int(length) > MAX_BODY_BYTES:
            raise Refusal(413)


def _headers(scope: Scope) -> dict[str, str]:
    """Return the request's headers; one that is there twice is nobody's."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        key = name.decode("latin-1").lower()
        found[key] = value.decode("latin-1") if key not in found else "\0"
    return found


def _raw(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]


async def _answer(send: Send, status: int, text: str, more: Iterable[tuple[str, str]] = ()) -> None:
    body = text.encode()
    described = (("content-type", "text/plain; charset=utf-8"), ("content-length", str(len(body))))
    await send({"type": "http.response.start", "status": status, "headers": _raw([*described, *HEADERS, *more])})
    await send({"type": "http.response.body", "body": body})
