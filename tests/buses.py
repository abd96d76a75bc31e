"""Private D-Bus buses for tests, and services on them: dbusmock's templates and real daemons."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from dbus_fast import Variant

from capture.sources.dbus import Bus
from tests.processes import end

MOCK = "org.freedesktop.DBus.Mock"
SYSTEM_PYTHON = "/usr/bin/python3"
"""The distribution's own: it has dbusmock and GObject introspection, which no virtual environment has."""

CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>{kind}</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/><allow user="*"/>
  </policy>
</busconfig>
"""


def need_mocks() -> None:
    """Skip the test where dbus-daemon or dbusmock is missing."""
    found = shutil.which("dbus-daemon") and Path(SYSTEM_PYTHON).exists()
    if not found or subprocess.run([SYSTEM_PYTHON, "-c", "import dbusmock"], capture_output=True).returncode:
        pytest.skip("not installed: dbus-daemon or python3-dbusmock (`make system-test` installs them)")


@contextlib.contextmanager
def private_bus(kind: str, at: str | None = None) -> Iterator[str]:
    """Run a dbus-daemon ("system" or "session") and yield its address: that of one before in the same folder, if given."""
    # Not pytest's tmp_path: a socket's path has at most 107 characters.
    with contextlib.nullcontext(at) if at else tempfile.TemporaryDirectory(prefix="bus") as folder:
        path, config = Path(folder, "socket"), Path(folder, "config")
        config.write_text(CONFIG.format(kind=kind, socket=path))
        command = ["dbus-daemon", f"--config-file={config}", "--nofork", "--nopidfile", "--nosyslog"]
        with _process(command):
            _until(lambda: _answers(path), "dbus-daemon's socket")
            yield f"unix:path={path}"


@contextlib.contextmanager
def mock(kind: str, template: str, parameters: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Run one of dbusmock's templates on the bus that the environment names."""
    command = [SYSTEM_PYTHON, "-m", "dbusmock", f"--{kind}", "-t", template, "-p", json.dumps(parameters or {})]
    with _process(command):
        yield


@contextlib.contextmanager
def mock_object(kind: str, service: str, path: str, interface: str) -> Iterator[None]:
    """Run an empty mock object."""
    with _process([SYSTEM_PYTHON, "-m", "dbusmock", f"--{kind}", service, path, interface]):
        yield


async def appears(bus: Bus, service: str) -> None:
    """Return when a service is on the bus."""
    end = time.monotonic() + 15
    while not await bus.has(service):
        assert time.monotonic() < end, f"{service} did not appear"


async def set_properties(bus: Bus, service: str, path: str, interface: str, values: Mapping[str, Variant]) -> None:
    """Change a mock's properties, with the signal."""
    answer = await bus.call(service, path, MOCK, "UpdateProperties", "sa{sv}", [interface, dict(values)])
    assert answer is not None, f"the mock at {path} did not take {sorted(values)}"


async def emit(bus: Bus, service: str, path: str, interface: str, name: str, value: Variant) -> None:
    """Have a mock send a signal with one argument."""
    arguments = [interface, name, value.signature, [value]]
    assert await bus.call(service, path, MOCK, "EmitSignal", "sssav", arguments) is not None


@contextlib.contextmanager
def _process(command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, env=dict(os.environ), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        end(process)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return not probe.connect_ex(str(path))


def _until(true: Callable[[], object], what: str) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end, f"{what} did not appear"
        time.sleep(0.02)
