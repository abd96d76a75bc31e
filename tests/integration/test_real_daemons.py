"""Power and network sources against the system's real daemons: upowerd on mock hardware, NetworkManager in a namespace."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

import pytest

from capture.sources.dbus import SYSTEM, Bus
from capture.sources.network import MANAGER, NetworkSource
from capture.sources.power import UPOWER, PowerSource
from tests.buses import appears, private_bus
from tests.real_daemons import NOWHERE, Battery, mark, need_network_manager, need_upower, network_manager
from tests.x11_display import need

FOLLOWS_WITHIN_S = 1.0


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


async def test_the_real_upower_is_followed(system: str) -> None:
    need_upower()
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


async def test_the_real_network_manager_is_followed(system: str) -> None:
    need_network_manager()
    network = NetworkSource()
    told: list[float] = []

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
