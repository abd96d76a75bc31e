"""What the service manager is told, over a real socket."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from capture.notify import Notifier


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """A service manager's end of the conversation."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "n"))
        listening.settimeout(5)
        yield listening


def heard(manager: socket.socket) -> dict[str, str]:
    return dict(line.split("=", 1) for line in manager.recv(4096).decode().splitlines())


async def test_it_says_ready_and_keeps_the_watchdog_quiet(manager: socket.socket) -> None:
    environment = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "200000", "WATCHDOG_PID": str(os.getpid())}
    notifier = Notifier.of(environment)
    notifier.ready("two\nlines")
    assert heard(manager) == {"READY": "1", "STATUS": "two lines"}
    assert heard(manager) == {"WATCHDOG": "1"}
    await asyncio.sleep(0.25)
    assert heard(manager) == {"WATCHDOG": "1"}
    notifier.reloading()
    said = heard(manager)
    while said == {"WATCHDOG": "1"}:
        said = heard(manager)
    assert said["RELOADING"] == "1"
    assert int(said["MONOTONIC_USEC"]) > 0
    notifier.stopping()
    manager.setblocking(False)
    told = []
    while True:
        try:
            told.append(heard(manager))
        except BlockingIOError:
            break
    assert told[-1] == {"STOPPING": "1"}
    await asyncio.sleep(0.3)
    with pytest.raises(BlockingIOError):
        heard(manager)


async def test_an_abstract_socket_and_a_watchdog_for_somebody_else(manager: socket.socket) -> None:
    name = f"modicum-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + name)
        listening.settimeout(5)
        notifier = Notifier.of({"NOTIFY_SOCKET": "@" + name, "WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"})
        notifier.ready("x")
        assert heard(listening)["READY"] == "1"
        await asyncio.sleep(0.2)
        listening.setblocking(False)
        with pytest.raises(BlockingIOError):
            heard(listening)


async def test_without_a_service_manager_nothing_happens(tmp_path: Path) -> None:
    Notifier.of({}).ready("x")
    Notifier.of({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).ready("x")
