"""The server ends when nobody looks any more, and copies go on their day."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import re
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from capture.errors import CaptureError
from capture.review.bounds import Bounds
from capture.review.copies import Copies
from capture.review.holdings import Holder
from capture.review.pruner import Pruner
from capture.review.server import serve
from tests.capture.review.test_copies import OWN, SIGNER, Clock, copies_in, keep, made
from tests.x11_display import wait_until
from transport.folder import Folder
from transport.fs import RealFiles


def nothing(*, states: bool) -> dict[str, Any]:
    raise CaptureError("nothing can be told")


@pytest.fixture
def copies(tmp_path: Path) -> Copies:
    return Copies(Folder(RealFiles(), tmp_path / "copies"), Bounds(86_400, 10**6), min_free_bytes=0)


@contextlib.asynccontextmanager
async def served(copies: Copies, tmp_path: Path, **options: float) -> AsyncIterator[tuple[str, asyncio.Task[None]]]:
    """Serve the page where no agent runs; give its link."""
    link: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    holder = Holder(tmp_path / "no-agent", look=nothing, erase=lambda ids: {"here": 0})
    task = asyncio.create_task(serve(copies, OWN, holder, copies.bounds, opened=link.set_result, **options))
    try:
        yield await asyncio.wait_for(link, 20), task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def ask(link: str, path: str, cookie: str = "") -> http.client.HTTPResponse:
    found = re.match(r"http://([\d.]+):(\d+)", link)
    assert found is not None
    connection = http.client.HTTPConnection(found[1], int(found[2]), timeout=10)
    connection.request("GET", path, headers={"Cookie": cookie} if cookie else {})
    return connection.getresponse()


async def test_it_listens_on_the_loopback_and_ends_when_nobody_asks(copies: Copies, tmp_path: Path) -> None:
    async with served(copies, tmp_path, idle_s=0.3, first_idle_s=0.3) as (link, task):
        assert link.startswith("http://127.0.0.1:")
        await asyncio.wait_for(task, 20)


async def test_who_opens_it_sees_what_there_is_though_nothing_can_be_told_of_the_spool(
    copies: Copies, tmp_path: Path
) -> None:
    copies.keep(made(4), OWN.public, SIGNER)
    async with served(copies, tmp_path) as (link, _):
        entered = await asyncio.to_thread(ask, link, link.partition("/enter")[1] + link.partition("/enter")[2])
        assert entered.status == 303
        cookie = (entered.getheader("set-cookie") or "").split(";")[0]
        told = await asyncio.to_thread(ask, link, "/api/timeline", cookie)
        assert told.status == 200
        body = told.read()
        assert b'"state":"unknown"' in body
        assert b"chapter 4" in body
        for path in (
            "/nothing.html",
            "/../bounds.py",
            "/%2e%2e/bounds.py",
            "/api/events/zz",
            "/api/events/00000007-99",
        ):
            answer = await asyncio.to_thread(ask, link, path, cookie)
            assert answer.status == 404, path
            assert "content-security-policy" in {name.lower() for name, _ in answer.getheaders()}


async def test_copies_go_on_their_day_though_nothing_new_is_recorded(tmp_path: Path) -> None:
    folder, clock, warnings = Folder(RealFiles(), tmp_path / "copies"), Clock(), dict[str, str]()
    copies = copies_in(folder, clock, keep_s=10)
    keep(copies, made(0))
    clock.s += 9.9
    with ThreadPoolExecutor(1) as thread:
        pruner = Pruner(copies, thread, warnings)
        pruner.start()
        await asyncio.sleep(0)
        clock.s += 1
        await asyncio.to_thread(wait_until, lambda: not copies.entries())  # a second after the copy was due
        await pruner.stop()
    assert warnings == {}


async def test_a_disk_that_will_not_erase_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, clock, warnings = Folder(RealFiles(), tmp_path / "copies"), Clock(), dict[str, str]()
    copies = copies_in(folder, clock, keep_s=10)
    keep(copies, made(0))
    clock.s += 11

    def refuse(names: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(folder, "erase", refuse)
    with ThreadPoolExecutor(1) as thread:
        pruner = Pruner(copies, thread, warnings)
        pruner.start()
        await asyncio.to_thread(wait_until, lambda: warnings)
        await pruner.stop()
    assert warnings["copies"] == "copies that are too old could not be deleted: Read-only file system"
