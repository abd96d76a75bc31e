"""The session's own signs, over real buses: the icon in the panel, notifications, and their absence."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from dbus_fast.service import ServiceInterface, dbus_property, method

from capture.sign import ScreenSign
from capture.sources.dbus import SESSION, Bus
from capture.sources.tray import ICON_PX, ITEM, ITEM_PATH, WATCHER, WATCHER_PATH, Session, icon
from tests.buses import appears, mock, need_mocks, private_bus
from tests.x11_display import x_server


class Watcher(ServiceInterface):
    """A panel's StatusNotifierWatcher, as far as an item sees it."""

    def __init__(self) -> None:
        super().__init__(WATCHER)
        self.items: list[str] = []

    @method()
    def RegisterStatusNotifierItem(self, service: s):  # type: ignore  # noqa: F821
        self.items.append(service)

    @dbus_property()
    def IsStatusNotifierHostRegistered(self) -> b:  # type: ignore  # noqa: F821
        return True

    @IsStatusNotifierHostRegistered.setter  # type: ignore[no-redef]
    def IsStatusNotifierHostRegistered(self, value: b) -> None:  # type: ignore  # noqa: F821
        raise AssertionError


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> Any:
    need_mocks()
    with private_bus("session") as address:
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
        yield address


async def panel() -> tuple[Bus, Watcher]:
    connected = await Bus.connect(SESSION)
    assert connected is not None
    watcher = Watcher()
    connected.export(WATCHER_PATH, watcher)
    await connected.call(
        "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "RequestName", "su", [WATCHER, 0]
    )
    return connected, watcher


async def until(true: Any) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.01)


async def test_an_icon_stands_in_the_panel_with_its_pixels_and_a_click_is_told(bus: str) -> None:
    connected, watcher = await panel()
    clicks: list[int] = []
    gone: list[int] = []
    session = Session(activated=lambda: clicks.append(1), gone=lambda: gone.append(1))
    assert await session.connect()
    assert await session.show_icon("recording", "recording")
    (name,) = watcher.items
    properties = await connected.properties(name, ITEM_PATH, ITEM)
    ((width, height, pixels),) = properties["IconPixmap"]
    assert (width, height) == (ICON_PX, ICON_PX)
    assert bytes(pixels) == icon("recording") != icon("paused")
    assert properties["Status"] == "Active"
    session.change_icon("paused", "paused; you paused it")
    assert "you paused it" in (await connected.properties(name, ITEM_PATH, ITEM))["ToolTip"][3]
    await connected.call(name, ITEM_PATH, ITEM, "Activate", "ii", [0, 0])
    assert clicks == [1]
    connected.close()
    await until(lambda: gone == [1])
    await session.close()


async def test_without_bus_panel_or_notification_daemon_the_answer_is_no(
    bus: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(activated=lambda: None, gone=lambda: None)
    assert await session.connect()
    assert not await session.show_icon("recording", "")
    assert not await session.notify("modicum records", "")
    await session.close()
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "disabled:")
    nowhere = Session(activated=lambda: None, gone=lambda: None)
    assert not await nowhere.connect()
    assert not await nowhere.show_icon("recording", "")
    assert not await nowhere.notify("modicum records", "")
    await nowhere.close()


async def test_a_notification_reaches_the_daemon(bus: str) -> None:
    with mock("session", "notification_daemon"):
        connected = await Bus.connect(SESSION)
        assert connected is not None
        await appears(connected, "org.freedesktop.Notifications")
        session = Session(activated=lambda: None, gone=lambda: None)
        await session.connect()
        assert await session.notify("modicum records", "as you agreed")
        await session.close()
        connected.close()


async def test_when_the_panel_goes_away_the_own_sign_takes_its_place_and_without_a_screen_it_is_lost(bus: str) -> None:
    lost: list[int] = []
    with x_server() as display:
        connected, _ = await panel()
        sign = ScreenSign(display, toggled=lambda: None, lost=lambda: lost.append(1))
        assert await sign.start() == "an icon in the panel"
        connected.close()
        await until(lambda: sign._shown_by == "a sign at the top of the screen")
        await sign.stop()
    assert lost == []
    connected, _ = await panel()
    blind = ScreenSign(":4711", toggled=lambda: None, lost=lambda: lost.append(1))
    assert await blind.start() == "an icon in the panel"
    connected.close()
    await until(lambda: lost == [1])
    await blind.stop()


async def test_where_nothing_can_show_it_there_is_no_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "disabled:")
    sign = ScreenSign(":4711", toggled=lambda: None, lost=lambda: None)
    assert await sign.start() is None
    await sign.stop()
