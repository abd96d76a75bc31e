"""Power and network sources against mocks of the system's daemons on private buses."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import TypeVar

import pytest
from dbus_fast import Variant

from capture.sources.dbus import SESSION, SYSTEM, Bus
from capture.sources.network import ACTIVE, MANAGER, MANAGER_PATH, NetworkSource
from capture.sources.power import (
    LOGIND,
    LOGIND_MANAGER,
    LOGIND_PATH,
    LOGIND_SESSION,
    UPOWER,
    UPOWER_BATTERY_PATH,
    UPOWER_DEVICE,
    UPOWER_PATH,
    PowerSource,
)
from tests.buses import MOCK, appears, emit, mock, mock_object, need_mocks, private_bus, set_properties
from tests.real_daemons import NOWHERE

FOLLOWS_WITHIN_S = 1.0
Source = TypeVar("Source", PowerSource, NetworkSource)


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A private system bus, and no session bus."""
    need_mocks()
    with private_bus("system") as address:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", NOWHERE)
        yield


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A private session bus, and no system bus."""
    need_mocks()
    with private_bus("session") as address:
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", NOWHERE)
        yield


@asynccontextmanager
async def running(source: Source) -> AsyncIterator[tuple[Source, list[float]]]:
    """Start a source; yield it and the times at which it told of a change."""
    told: list[float] = []
    await source.start(lambda: told.append(time.monotonic()))
    try:
        yield source, told
    finally:
        await source.stop()


@asynccontextmanager
async def bus_of(kind: str, *services: str) -> AsyncIterator[Bus]:
    bus = await Bus.connect(kind)
    assert bus is not None
    for service in services:
        await appears(bus, service)
    yield bus
    bus.close()


async def follows(told: list[float], true: Callable[[], object]) -> None:
    """Assert that something comes true within a second, and was told."""
    began = time.monotonic()
    while not (true() and told):
        assert time.monotonic() < began + FOLLOWS_WITHIN_S, "not followed within a second"
        await asyncio.sleep(0.01)
    told.clear()


@pytest.mark.usefixtures("no_buses")
async def test_without_any_bus_what_is_not_known_is_said_to_be_unknown() -> None:
    async with running(PowerSource()) as (power, told):
        now = power.current()
        assert (now.locked, now.sleeping, now.power_saver, now.warning) == (False, False, None, False)
        assert now.source in ("", "psutil")
    async with running(NetworkSource()) as (network, _):
        assert (network.current().link, network.current().name) == ("unknown", "")
    assert told == []


async def test_the_battery_is_followed(system: None) -> None:
    with mock("system", "upower", {"OnBattery": False}):
        async with bus_of(SYSTEM, UPOWER) as bus, running(PowerSource()) as (power, told):
            assert (power.current().on_battery, power.current().battery_ratio) == (False, None)
            assert (power.current().source, power.current().lid_closed) == ("upower", False)
            await set_properties(bus, UPOWER, UPOWER_PATH, UPOWER, {"OnBattery": Variant("b", True)})
            await follows(told, lambda: power.current().on_battery)
            state = {
                "Type": Variant("u", 2),
                "State": Variant("u", 2),
                "IsPresent": Variant("b", True),
                "Percentage": Variant("d", 37.0),
                "EnergyRate": Variant("d", 12.5),
                "WarningLevel": Variant("u", 1),
            }
            await set_properties(bus, UPOWER, UPOWER_BATTERY_PATH, UPOWER_DEVICE, state)
            await follows(told, lambda: power.current().battery_ratio == 0.37)
            assert (power.current().energy_rate_w, power.current().warning) == (12.5, False)
            low = {"Percentage": Variant("d", 8.0), "WarningLevel": Variant("u", 3)}
            await set_properties(bus, UPOWER, UPOWER_BATTERY_PATH, UPOWER_DEVICE, low)
            await follows(told, lambda: power.current().warning)
            await set_properties(bus, UPOWER, UPOWER_PATH, UPOWER, {"LidIsClosed": Variant("b", True)})
            await follows(told, lambda: power.current().lid_closed)


async def test_what_does_not_change_the_value_is_not_told(system: None) -> None:
    with mock("system", "upower", {"OnBattery": True}):
        async with bus_of(SYSTEM, UPOWER) as bus, running(PowerSource()) as (power, told):
            await set_properties(bus, UPOWER, UPOWER_PATH, UPOWER, {"OnBattery": Variant("b", True)})
            await asyncio.sleep(0.3)
            assert power.current().on_battery
            assert told == []


async def test_a_service_that_comes_later_or_goes_is_noticed(system: None) -> None:
    async with running(PowerSource()) as (power, told):
        assert power.current().source != "upower"
        with mock("system", "upower", {"OnBattery": True}):
            async with bus_of(SYSTEM, UPOWER):
                await asyncio.sleep(0)
            await asyncio.sleep(0.5)
            assert power.current().source == "upower"
            assert told
        await asyncio.sleep(0.5)
        assert power.current().source != "upower"


async def test_the_power_saver_is_followed_under_its_old_and_its_new_name(system: None) -> None:
    old, path = "net.hadess.PowerProfiles", "/net/hadess/PowerProfiles"
    with mock("system", "power_profiles_daemon"):
        async with bus_of(SYSTEM, old) as bus, running(PowerSource()) as (power, told):
            assert power.current().power_saver is False
            await set_properties(bus, old, path, old, {"ActiveProfile": Variant("s", "power-saver")})
            await follows(told, lambda: power.current().power_saver)
    new, path = "org.freedesktop.UPower.PowerProfiles", "/org/freedesktop/UPower/PowerProfiles"
    with mock_object("system", new, path, new):
        async with bus_of(SYSTEM, new) as bus:
            await bus.call(new, path, MOCK, "AddProperty", "ssv", [new, "ActiveProfile", Variant("s", "balanced")])
            async with running(PowerSource()) as (power, told):
                assert power.current().power_saver is False
                await set_properties(bus, new, path, new, {"ActiveProfile": Variant("s", "power-saver")})
                await follows(told, lambda: power.current().power_saver)


async def add_method(bus: Bus, name: str, code: str) -> None:
    arguments = [LOGIND_MANAGER, name, "u", "o", code]
    assert await bus.call(LOGIND, LOGIND_PATH, MOCK, "AddMethod", "sssss", arguments) is not None


@pytest.mark.parametrize("in_session", [True, False], ids=["in a session", "as the user's service"])
async def test_sleep_and_lock_are_followed(system: None, in_session: bool) -> None:
    with mock("system", "logind"):
        async with bus_of(SYSTEM, LOGIND) as bus:
            await bus.call(LOGIND, LOGIND_PATH, MOCK, "AddSession", "ssusb", ["c7", "seat0", 1, "person", True])
            session = "/org/freedesktop/login1/session/c7"
            if in_session:
                await add_method(bus, "GetSessionByPID", f"ret = '{session}'")
            else:
                shown = {"Display": Variant("(so)", ["c7", session])}
                added = ["/org/freedesktop/login1/user/me", "org.freedesktop.login1.User", shown, []]
                await bus.call(LOGIND, LOGIND_PATH, MOCK, "AddObject", "ssa{sv}a(ssss)", added)
                await add_method(bus, "GetUser", "ret = '/org/freedesktop/login1/user/me'")
            async with running(PowerSource()) as (power, told):
                await set_properties(bus, LOGIND, session, LOGIND_SESSION, {"LockedHint": Variant("b", True)})
                await follows(told, lambda: power.current().locked)
                await set_properties(bus, LOGIND, session, LOGIND_SESSION, {"LockedHint": Variant("b", False)})
                await follows(told, lambda: not power.current().locked)
                for sleeping in (True, False):
                    value = Variant("b", sleeping)
                    await emit(bus, LOGIND, LOGIND_PATH, LOGIND_MANAGER, "PrepareForSleep", value)
                    await follows(told, lambda sleeping=sleeping: power.current().sleeping is sleeping)


async def test_a_lock_holds_when_its_service_goes_silent(system: None) -> None:
    async with running(PowerSource()) as (power, told):
        with mock("system", "logind"):
            async with bus_of(SYSTEM, LOGIND) as bus:
                await bus.call(LOGIND, LOGIND_PATH, MOCK, "AddSession", "ssusb", ["c7", "seat0", 1, "person", True])
                session = "/org/freedesktop/login1/session/c7"
                await add_method(bus, "GetSessionByPID", f"ret = '{session}'")
                await power.stop()
                await power.start(lambda: told.append(time.monotonic()))
                await set_properties(bus, LOGIND, session, LOGIND_SESSION, {"LockedHint": Variant("b", True)})
                await follows(told, lambda: power.current().locked)
        with mock("system", "upower", {"OnBattery": True}):  # makes it read everything anew
            await follows_later(lambda: power.current().on_battery)
            assert power.current().locked


async def follows_later(true: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


async def test_a_screen_saver_counts_as_a_lock(session: None) -> None:
    place = ("org.gnome.ScreenSaver", "/org/gnome/ScreenSaver", "org.gnome.ScreenSaver")
    with mock("session", "gnome_screensaver"):
        async with bus_of(SESSION, place[0]) as bus:
            async with running(PowerSource()) as (power, told):
                for shown in (True, False, True):
                    await bus.call(*place, "SetActive", "b", [shown])
                    await follows(told, lambda shown=shown: power.current().locked is shown)
            async with running(PowerSource()) as (power, _):
                assert power.current().locked, "a screen saver that was there before us"


async def test_a_bus_that_dies_leaves_the_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    need_mocks()
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", NOWHERE)
    bus = private_bus("system")
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.__enter__())
    with mock("system", "upower", {"OnBattery": True}):
        async with bus_of(SYSTEM, UPOWER):
            await asyncio.sleep(0)
        async with running(PowerSource()) as (power, told):
            assert power.current().on_battery
            began = time.monotonic()
            bus.__exit__(None, None, None)
            while power.current().source == "upower":
                assert time.monotonic() < began + 2
                await asyncio.sleep(0.02)
            assert told
    async with running(PowerSource()) as (power, _):
        assert power.current().source != "upower"


async def test_a_bus_that_comes_back_is_listened_to_again(monkeypatch: pytest.MonkeyPatch) -> None:
    need_mocks()
    session = "/org/freedesktop/login1/session/c7"
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", NOWHERE)

    async def log_in(bus: Bus) -> None:
        await bus.call(LOGIND, LOGIND_PATH, MOCK, "AddSession", "ssusb", ["c7", "seat0", 1, "person", True])
        await add_method(bus, "GetSessionByPID", f"ret = '{session}'")

    async def lock(bus: Bus, locked: bool) -> None:
        await set_properties(bus, LOGIND, session, LOGIND_SESSION, {"LockedHint": Variant("b", locked)})

    with tempfile.TemporaryDirectory(prefix="bus") as folder:
        first = private_bus("system", at=folder)
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", first.__enter__())
        with mock("system", "logind"):
            async with bus_of(SYSTEM, LOGIND) as bus:
                await log_in(bus)
                source = running(PowerSource())
                power, told = await source.__aenter__()
                await lock(bus, True)
                await emit(bus, LOGIND, LOGIND_PATH, LOGIND_MANAGER, "PrepareForSleep", Variant("b", True))
                await follows(told, lambda: power.current().locked and power.current().sleeping)
                first.__exit__(None, None, None)
        assert power.current().locked, "silence unlocks nothing"
        with private_bus("system", at=folder), mock("system", "logind"):
            async with bus_of(SYSTEM, LOGIND) as bus:
                await log_in(bus)
                await lock(bus, True)
                await follows_later(lambda: not power.current().sleeping)  # it ended while nobody could tell
                for locked in (False, True, False):
                    await lock(bus, locked)
                    await follows_later(lambda locked=locked: power.current().locked is locked)
            await source.__aexit__(None, None, None)


async def test_the_link_is_followed(system: None) -> None:
    wifi = "/org/freedesktop/NetworkManager/ActiveConnection/7"
    with mock("system", "networkmanager"):
        async with bus_of(SYSTEM, MANAGER) as bus:
            kind = {"Id": Variant("s", "Home Wi-Fi"), "Type": Variant("s", "802-11-wireless")}
            devices = {"Devices": Variant("ao", [])}
            await bus.call(
                MANAGER, MANAGER_PATH, MOCK, "AddObject", "ssa{sv}a(ssss)", [wifi, ACTIVE, {**kind, **devices}, []]
            )
            for name, value in (("Metered", Variant("u", 4)), ("PrimaryConnection", Variant("o", wifi))):
                await bus.call(MANAGER, MANAGER_PATH, MOCK, "AddProperty", "ssv", [MANAGER, name, value])
            await set_properties(bus, MANAGER, MANAGER_PATH, MANAGER, {"State": Variant("u", 70)})
            async with running(NetworkSource()) as (network, told):
                now = network.current()
                assert (now.link, now.name, now.guessed) == ("unmetered", "Home Wi-Fi", True)
                for metered, link in ((1, "metered"), (3, "metered"), (2, "unmetered"), (0, "unknown")):
                    value = {"Metered": Variant("u", metered)}
                    await set_properties(bus, MANAGER, MANAGER_PATH, MANAGER, value)
                    expected = (link, metered == 3)
                    await follows(told, lambda e=expected: (network.current().link, network.current().guessed) == e)
                for connectivity, link in ((2, "offline"), (4, "unknown")):
                    value = {"Connectivity": Variant("u", connectivity)}
                    await set_properties(bus, MANAGER, MANAGER_PATH, MANAGER, value)
                    await follows(told, lambda link=link: network.current().link == link)
                    assert network.current().captive is (connectivity == 2), "a network that wants a sign-in"
                await set_properties(bus, MANAGER, MANAGER_PATH, MANAGER, {"State": Variant("u", 20)})
                await follows(told, lambda: network.current().link == "offline")


async def test_a_modem_abroad_is_roaming(system: None) -> None:
    service, modem = "org.freedesktop.ModemManager1", "/org/freedesktop/ModemManager1/Modem/0"
    interface = "org.freedesktop.ModemManager1.Modem.Modem3gpp"
    active, device = f"{MANAGER_PATH}/ActiveConnection/3", f"{MANAGER_PATH}/Devices/3"
    with mock("system", "networkmanager"), mock_object("system", service, modem, interface):
        async with bus_of(SYSTEM, MANAGER, service) as bus:
            await bus.call(
                service, modem, MOCK, "AddProperty", "ssv", [interface, "RegistrationState", Variant("u", 1)]
            )
            for path, kind, properties in (
                (device, "org.freedesktop.NetworkManager.Device", {"Udi": Variant("s", modem)}),
                (active, ACTIVE, {"Id": Variant("s", "Mobile"), "Type": Variant("s", "gsm"),
                                  "Devices": Variant("ao", [device])}),
            ):  # fmt: skip
                await bus.call(MANAGER, MANAGER_PATH, MOCK, "AddObject", "ssa{sv}a(ssss)", [path, kind, properties, []])
            for name, value in (("Metered", Variant("u", 3)), ("PrimaryConnection", Variant("o", active))):
                await bus.call(MANAGER, MANAGER_PATH, MOCK, "AddProperty", "ssv", [MANAGER, name, value])
            await set_properties(bus, MANAGER, MANAGER_PATH, MANAGER, {"State": Variant("u", 70)})
            async with running(NetworkSource()) as (network, told):
                assert network.current().link == "metered"
                await set_properties(bus, service, modem, interface, {"RegistrationState": Variant("u", 5)})
                await follows(told, lambda: network.current().link == "roaming")


async def test_the_portal_is_asked_where_there_is_no_network_manager(session: None) -> None:
    portal, path = "org.freedesktop.portal.Desktop", "/org/freedesktop/portal/desktop"
    monitor = "org.freedesktop.portal.NetworkMonitor"
    with mock_object("session", portal, path, monitor):
        async with bus_of(SESSION, portal) as bus:

            async def answer(status: str) -> None:
                code = f"ret = dbus.Dictionary({status}, signature='sv')"
                await bus.call(portal, path, MOCK, "AddMethod", "sssss", [monitor, "GetStatus", "", "a{sv}", code])

            await answer("{'available': True, 'metered': True, 'connectivity': dbus.UInt32(4)}")
            async with running(NetworkSource()) as (network, told):
                assert (network.current().link, network.current().source) == ("metered", "portal")
                for status, link in (
                    ("{'available': True, 'metered': False}", "unmetered"),
                    ("{'available': False}", "offline"),
                ):
                    await answer(status)
                    await bus.call(portal, path, MOCK, "EmitSignal", "sssav", [monitor, "changed", "", []])
                    await follows(told, lambda link=link: network.current().link == link)
