"""The control socket: the person's own commands, and nobody else's."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from capture.control import ControlServer, ask
from capture.errors import CaptureError, NotRunning


async def echo(request: Mapping[str, Any]) -> dict[str, Any]:
    return {"got": dict(request)}


async def refuse(request: Mapping[str, Any]) -> dict[str, Any]:
    raise CaptureError("not now: it is paused")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "control"


async def test_a_command_is_answered(path: Path) -> None:
    server = ControlServer(path, {"echo": echo, "ping": echo})
    await server.start()
    assert await asyncio.to_thread(ask, path, "echo", word="x") == {"got": {"word": "x"}}
    await server.stop()
    assert not path.exists()


async def test_only_the_owner_can_reach_the_socket(path: Path) -> None:
    server = ControlServer(path, {"ping": echo})
    await server.start()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    await server.stop()


async def test_a_refusal_carries_its_reason(path: Path) -> None:
    server = ControlServer(path, {"refuse": refuse, "ping": echo})
    await server.start()
    with pytest.raises(CaptureError, match="it is paused"):
        await asyncio.to_thread(ask, path, "refuse")
    with pytest.raises(CaptureError, match="not a command of this agent; it knows ping, refuse"):
        await asyncio.to_thread(ask, path, "nonsense")
    await server.stop()


async def test_garbage_is_answered_and_does_not_end_the_server(path: Path) -> None:
    server = ControlServer(path, {"ping": echo})
    await server.start()
    for garbage in (b"\n", b"[1]\n", b"\xff\xfe\n", b'{"command": 3}\n', b"x" * 200_000 + b"\n"):
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(garbage)
        writer.write_eof()
        await reader.read()
        writer.close()
    assert await asyncio.to_thread(ask, path, "ping") == {"got": {}}
    await server.stop()


def test_asking_nobody_says_how_to_start_it(path: Path) -> None:
    with pytest.raises(NotRunning, match="modicum run"):
        ask(path, "status")


async def test_a_second_agent_is_refused_and_a_dead_ones_socket_is_replaced(path: Path) -> None:
    first = ControlServer(path, {"ping": echo})
    await first.start()
    with pytest.raises(CaptureError, match="already runs"):
        await ControlServer(path, {"ping": echo}).start()
    assert first._server is not None
    first._server.close()  # dies without removing its socket
    await asyncio.sleep(0)
    second = ControlServer(path, {"ping": echo})
    await second.start()
    assert await asyncio.to_thread(ask, path, "ping") == {"got": {}}
    await second.stop()
