"""Power and network sources against the system's real daemons: upowerd on mock hardware, NetworkManager in a namespace."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from capture.sources.dbus import SYSTEM, Bus
from capture.sources.network import MANAGER, NetworkSource
from capture.sources.power import UPOWER, PowerSource
from tests.buses import SYSTEM_PYTHON, appears, private_bus

NOWHERE = "unix:path=/nonexistent/bus"
UPOWERD = next((path for path in ("/usr/libexec/upowerd", "/usr/lib/upower/upowerd") if Path(path).exists()), "")
MOCK_BATTERY = Path(__file__).resolve().parent.parent / "mock_battery.py"
FOLLOWS_WITHIN_S = 1.0


def need(*programs: str) -> None:
    missing = [program for program in programs if not shutil.which(program)]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    need("dbus-daemon")
    with private_bus("system") as address:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", NOWHERE)
        yield address


async def wait_for(service: str) -> None:
    bus = await Bus.connect(SYSTEM)
    assert bus is not None
    await appears(bus, service)
    bus.close()


async def until(true: Callable[[], object], *, within_s: float) -> None:
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, f"not true within {within_s} s"
        await asyncio.sleep(0.01)


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


async def test_the_real_upower_is_followed(system: str) -> None:
    need("umockdev-wrapper")
    if not UPOWERD:
        pytest.skip("not installed: upower")
    imports = "import gi; gi.require_version('UMockdev', '1.0')"
    if subprocess.run([SYSTEM_PYTHON, "-c", imports], capture_output=True).returncode:  # noqa: ASYNC221 - at the start
        pytest.skip("not installed: gir1.2-umockdev-1.0 or python3-gi")
    battery = Battery()
    power = PowerSource()
    try:
        await wait_for(UPOWER)
        await power.start(lambda: None)
        await until(lambda: power.current().battery_ratio is not None, within_s=5)
        assert (power.current().on_battery, power.current().battery_ratio) == (False, 0.8)
        battery.set("mains 0")
        await until(lambda: power.current().on_battery, within_s=FOLLOWS_WITHIN_S)
        await until(lambda: (power.current().energy_rate_w or 0) == 12.5, within_s=FOLLOWS_WITHIN_S)
        assert power.current().warning is False
        battery.set("battery 37")
        await until(lambda: power.current().battery_ratio == 0.37, within_s=FOLLOWS_WITHIN_S)
        battery.set("battery 8")
        await until(lambda: power.current().warning, within_s=FOLLOWS_WITHIN_S)
        battery.set("mains 1")
        await until(lambda: power.current().on_battery is False, within_s=FOLLOWS_WITHIN_S)
        await until(lambda: (power.current().energy_rate_w or 0) == -12.5, within_s=FOLLOWS_WITHIN_S)
    finally:
        await power.stop()
        battery.close()


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
            daemon.terminate()
            daemon.wait()


def may_make_namespaces() -> bool:
    return subprocess.run(["unshare", "-m", "-n", "true"], capture_output=True).returncode == 0


async def test_the_real_network_manager_is_followed(system: str) -> None:
    need("NetworkManager", "nmcli", "unshare", "nsenter", "ip")
    if os.geteuid() or not may_make_namespaces():
        pytest.skip("only root may make the namespaces that this needs")
    network = NetworkSource()
    told: list[float] = []

    async def run(*program: str) -> None:
        process = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.DEVNULL)
        assert not await process.wait(), program

    async def mark(metered: str) -> None:
        await run("nmcli", "connection", "modify", "Test LAN", "connection.metered", metered)
        await run("nmcli", "device", "reapply", "veth0")

    with network_manager() as within:
        try:
            await wait_for(MANAGER)
            await network.start(lambda: told.append(time.monotonic()))
            await until(lambda: network.current().link == "metered", within_s=20)
            assert (network.current().name, network.current().guessed) == ("Test LAN", False)
            await mark("no")
            await until(lambda: network.current().link == "unmetered", within_s=FOLLOWS_WITHIN_S)
            assert network.current().guessed is False
            await mark("unknown")
            await until(lambda: network.current().guessed, within_s=FOLLOWS_WITHIN_S)
            assert network.current().link == "unmetered"
            await mark("yes")
            await until(lambda: network.current().link == "metered", within_s=FOLLOWS_WITHIN_S)
            within("ip", "link", "set", "peer0", "down")
            await until(lambda: network.current().link == "offline", within_s=15)  # it waits some 6 s for the carrier
            within("ip", "link", "set", "peer0", "up")
            await until(lambda: network.current().link == "metered", within_s=5)
            assert told
        finally:
            await network.stop()
