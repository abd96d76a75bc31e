"""Virtual X displays for tests: Xvfb on a number of its own choosing, and clients on it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benches.display import Display


def need(*programs: str) -> None:
    """Skip the test where a program is missing, and say which."""
    places = os.environ.get("PATH", os.defpath) + os.pathsep + "/usr/sbin"  # where Debian puts mosquitto
    missing = [program for program in programs if shutil.which(program, path=places) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (`deploy/packages test` installs them)")


def wait_until(true: Callable[[], object], *, within_s: float = 10.0) -> None:
    """Return when `true()` is; fail when it isn't within the time."""
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, f"not true within {within_s} s"
        time.sleep(0.02)


@contextlib.contextmanager
def x_server(
    *options: str,
    screen: str = "1280x800x24",
    name: str | None = None,
    wrapped: list[subprocess.Popen[bytes]] | None = None,
) -> Iterator[str]:
    """Run Xvfb and yield its display (":87"): `name`, else one that is free. Its process is appended to `wrapped`."""
    need("Xvfb")
    reading, writing = os.pipe()
    command = [
        "Xvfb",
        *([name] if name else []),
        "-displayfd",
        str(writing),
        "-screen",
        "0",
        screen,
        "-noreset",
        "-nolisten",
        "tcp",
        *options,
    ]
    server = subprocess.Popen(command, pass_fds=(writing,), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(writing)
    try:
        with os.fdopen(reading) as pipe:
            number = pipe.readline().strip()
        assert number, f"Xvfb did not start: {' '.join(command)}"
        if wrapped is not None:
            wrapped.append(server)
        yield f":{number}"
    finally:
        server.kill()
        server.wait()


def await_manager(display: str) -> None:
    """Return when a window manager takes the windows that open on a display."""
    looking = Display(display, Path("/dev/null"))
    try:
        wait_until(looking.managed, within_s=60)
    finally:
        looking.close()


@contextlib.contextmanager
def client(display: str, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run an X client on the display until the block ends."""
    need(command[0])
    environment = {**os.environ, "DISPLAY": display, "NO_AT_BRIDGE": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
