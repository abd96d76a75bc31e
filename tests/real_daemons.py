"""The system's real daemons for tests: upowerd on mock hardware, NetworkManager in namespaces of its own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.buses import SYSTEM_PYTHON
from tests.processes import end
from tests.x11_display import need

NOWHERE = "unix:path=/nonexistent/bus"
UPOWERD = next((path for path in ("/usr/libexec/upowerd", "/usr/lib/upower/upowerd") if Path(path).exists()), "")
MOCK_BATTERY = Path(__file__).resolve().parent / "mock_battery.py"


def need_upower() -> None:
    """Skip the test where the real upowerd or its mock hardware is missing."""
    need("umockdev-wrapper")
    if not UPOWERD:
        pytest.skip("not installed: upower")
    imports = "import gi; gi.require_version('UMockdev', '1.0')"
    if subprocess.run([SYSTEM_PYTHON, "-c", imports], capture_output=True).returncode:
        pytest.skip("not installed: gir1.2-umockdev-1.0 or python3-gi")


def need_network_manager() -> None:
    """Skip the test where NetworkManager or the right to make namespaces is missing."""
    need("NetworkManager", "nmcli", "unshare", "nsenter", "ip")
    if os.geteuid() or not may_make_namespaces():
        pytest.skip("only root may make the namespaces that this needs")


class Battery:
    """The mock hardware below the real upowerd."""

    def __init__(self) -> None:
        command = ["umockdev-wrapper", SYSTEM_PYTHON, str(MOCK_BATTERY), UPOWERD]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._await("ready")

    def _await(self, line: str) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline().strip() == line, "the mock hardware ended"

    def set(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        self._await(line)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


CONFIG = """[main]
no-auto-default=*
dns=none
plugins=keyfile
auth-polkit=false
[logging]
level=WARN
"""
CONNECTION = """[connection]
id=Test LAN
uuid=6a6ff5a5-8d0b-4b5c-8f6b-0f5c3c2a9b11
type=ethernet
interface-name=veth0
metered=1
[ipv4]
method=manual
address1=10.77.0.2/24,10.77.0.1
[ipv6]
method=disabled
"""
START = """
set -e
mount -t sysfs -o ro sysfs /sys     # read-only: NetworkManager does not wait for udev
mount -t tmpfs tmpfs /run
mount --bind "$1/etc" /etc/NetworkManager
mount --bind "$1/var" /var/lib/NetworkManager
ip link set lo up
ip link add veth0 type veth peer name peer0
ip link set peer0 up
exec NetworkManager --no-daemon --config="$1/etc/NetworkManager.conf"
"""


@contextmanager
def network_manager() -> Iterator[Callable[..., None]]:
    """Run NetworkManager in namespaces of its own; yield what runs a program in its network."""
    with tempfile.TemporaryDirectory(prefix="nm") as folder:
        connections = Path(folder, "etc", "system-connections")
        connections.mkdir(parents=True)
        Path(folder, "var").mkdir()
        Path(folder, "etc", "NetworkManager.conf").write_text(CONFIG)
        keyfile = connections / "lan.nmconnection"
        keyfile.write_text(CONNECTION)
        keyfile.chmod(0o600)
        command = ["unshare", "-m", "-n", "sh", "-c", START, "sh", folder]
        daemon = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def within(*program: str) -> None:
            subprocess.run(["nsenter", "-t", str(daemon.pid), "-n", *program], check=True)

        try:
            yield within
        finally:
            end(daemon)


def may_make_namespaces() -> bool:
    """Tell whether this user may."""
    return subprocess.run(["unshare", "-m", "-n", "true"], capture_output=True).returncode == 0


async def mark(metered: str) -> None:
    """Mark NetworkManager's connection as metered: "yes", "no" or "unknown"."""
    for words in (("connection", "modify", "Test LAN", "connection.metered", metered), ("device", "reapply", "veth0")):
        process = await asyncio.create_subprocess_exec("nmcli", *words, stdout=asyncio.subprocess.DEVNULL)
        assert not await process.wait(), words
