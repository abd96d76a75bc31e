"""Nobody but the one browser that the person opened gets anything from the review page's server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from capture.review.guard import COOKIE, MAX_BODY_BYTES, POLICY, Guard, Session
from capture.review.peers import uid_of

HOST = "127.0.0.1:23501"
ORIGIN = f"http://{HOST}"
CONTENT = "what was recorded"


class Door:
    """A guarded application and a way to ask it."""

    def __init__(self, *, own: bool = True) -> None:
        self.session = Session()
        self.asked: list[str] = []
        self.touched = 0
        self.guard = Guard(self._app, host=HOST, session=self.session, is_own=lambda peer: own, touched=self._touch)

    def _touch(self) -> None:
        self.touched += 1

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": CONTENT.encode()})

    def ask(
        self, path: str, *, method: str = "GET", query: str = "", **headers: str
    ) -> tuple[int, dict[str, str], str]:
        """Ask; headers by name with _ for -. Returns status, headers, body."""
        named = {"host": HOST, **{name.replace("_", "-"): value for name, value in headers.items()}}
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "client": ("127.0.0.1", 40000),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in named.items() if value],
        }
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            raise AssertionError("nothing is read before a request has passed")

        asyncio.run(self.guard(scope, receive, send))
        found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], found, b"".join(message.get("body", b"") for message in sent[1:]).decode()

    def enter(self) -> str:
        """Use the token up and return the cookie."""
        status, headers, _ = self.ask("/enter", query=f"token={self.session.token}")
        assert (status, headers["location"]) == (303, "/")
        assert "HttpOnly" in headers["set-cookie"]
        assert "SameSite=Strict" in headers["set-cookie"]
        return headers["set-cookie"].split(";")[0]


CHANGE = {"method": "POST", "origin": ORIGIN, "content_type": "application/json", "content_length": "2"}


def test_with_the_cookie_everything_is_answered_and_nothing_may_be_loaded_from_elsewhere() -> None:
    door = Door()
    cookie = door.enter()
    status, headers, body = door.ask("/api/timeline", cookie=cookie, sec_fetch_site="same-origin")
    assert (status, body, door.touched) == (200, CONTENT, 1)
    assert headers["content-security-policy"] == POLICY
    assert "unsafe" not in POLICY
    assert "default-src 'none'" in POLICY
    assert headers["cache-control"] == "no-store"
    assert headers["x-frame-options"] == "DENY"
    assert door.ask("/api/pause", cookie=cookie, **CHANGE)[0] == 200


@pytest.mark.parametrize(
    ("why", "change"),
    [
        ("no cookie", {"cookie": ""}),
        ("another cookie", {"cookie": f"{COOKIE}={'x' * 43}"}),
        ("a cookie that is none", {"cookie": "\x7f;;=\xff"}),
        ("DNS rebinding: our port by another name", {"host": "evil.example:23501"}),
        ("another port", {"host": "127.0.0.1:23502"}),
        ("localhost, whose cookies are others'", {"host": "localhost:23501"}),
        ("no host", {"host": ""}),
        ("a page of another site", {"sec_fetch_site": "cross-site"}),
        ("a page of another port", {"sec_fetch_site": "same-site"}),
    ],
)
@pytest.mark.parametrize("path", ["/", "/api/timeline", "/picture/00000000-1/0.png", "/main.js"])
def test_a_stranger_gets_nothing(why: str, change: dict[str, str], path: str) -> None:
    door = Door()
    status, _, body = door.ask(path, **{"cookie": door.enter(), **change})
    assert status in {403, 421}, why
    assert CONTENT not in body
    assert not door.asked
    assert not door.touched


@pytest.mark.parametrize(
    ("why", "change"),
    [
        ("a foreign origin", {"origin": "https://evil.example"}),
        ("an origin of another port", {"origin": "http://127.0.0.1:9999"}),
        ("a hidden origin", {"origin": "null"}),
        ("no origin", {"origin": ""}),
        ("a form, which needs no leave of the browser", {"content_type": "text/plain"}),
        ("a form that looks like JSON", {"content_type": "text/plain; application/json"}),
        ("too much", {"content_length": str(MAX_BODY_BYTES + 1)}),
        ("no end", {"content_length": ""}),
        ("an absurd length", {"content_length": "9" * 5000}),
        ("typed by hand", {"sec_fetch_site": "none"}),
        ("another method", {"method": "DELETE"}),
    ],
)
def test_a_change_must_come_from_our_page(why: str, change: dict[str, str]) -> None:
    door = Door()
    status, _, body = door.ask("/api/delete", **{"cookie": door.enter(), **CHANGE, **change})
    assert 400 <= status < 500, why
    assert body == ""
    assert not door.asked


def test_a_token_works_once() -> None:
    door = Door()
    token = door.session.token
    assert door.ask("/enter", query="token=wrong")[0] == 403
    assert door.ask("/enter", query="")[0] == 403
    assert door.ask("/enter", query="token=%E2%82%AC")[0] == 403
    assert not door.session.holds(door.session.secret), "nobody has entered yet"
    assert door.ask("/enter", query=f"token={token}", host="evil.example")[0] == 421
    door.enter()
    status, headers, _ = door.ask("/enter", query=f"token={token}")
    assert status == 403
    assert "set-cookie" not in headers


def test_another_user_of_the_machine_gets_nothing_even_with_the_cookie() -> None:
    door = Door(own=False)
    assert door.ask("/enter", query=f"token={door.session.token}")[0] == 403
    door.session.entered = True
    assert door.ask("/", cookie=f"{COOKIE}={door.session.secret}")[0] == 403
    assert not door.asked


def test_the_kernel_says_whose_a_connection_is() -> None:
    table = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:5BCD 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:9C40 0100007F:5BCD 01 00000000:00000000 00:00000000 00000000  1000        0 2 1 0 20 4 30 10 -1
"""
    assert uid_of(table, ("127.0.0.1", 40000)) == 1000
    assert uid_of(table, ("127.0.0.1", 0x5BCD)) == 0
    assert uid_of(table, ("127.0.0.1", 4)) is None
    assert uid_of(table, ("::1", 40000)) is None
    assert uid_of("", ("127.0.0.1", 40000)) is None
