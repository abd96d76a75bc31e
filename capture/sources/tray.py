"""Source: the session's own signs: a desktop notification, and an icon in the panel (StatusNotifierItem).

Guarantees: a session without a bus, a notification service or a panel is an answer (False), never an error; that a panel
went away is told, and that one came; a bus that ended is connected to again. The icon is pixels of our own, so that no icon theme is needed.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from capture.sources.dbus import SESSION, Bus, keep, owner_of

NOTIFICATIONS = "org.freedesktop.Notifications"
NOTIFICATIONS_PATH = "/org/freedesktop/Notifications"
SHOWN_MS = 6000

WATCHER = "org.kde.StatusNotifierWatcher"
WATCHER_PATH = "/StatusNotifierWatcher"
ITEM = "org.kde.StatusNotifierItem"
ITEM_PATH = "/StatusNotifierItem"

ICON_PX = 22
COLOURS = {"recording": (0xE0, 0x32, 0x2F), "paused": (0xE0, 0xA2, 0x2F), "suspended": (0x8C, 0x98, 0xA2)}


def icon(state: str) -> bytes:
    """Return a disc as StatusNotifierItem wants pixels: ARGB, big-endian, ICON_PX by ICON_PX."""
    red, green, blue = COLOURS.get(state, COLOURS["suspended"])
    centre, radius = (ICON_PX - 1) / 2, ICON_PX / 2 - 3
    pixels = bytearray()
    for y in range(ICON_PX):
        for x in range(ICON_PX):
            inside = (x - centre) ** 2 + (y - centre) ** 2 <= radius**2
            pixels += bytes((255, red, green, blue)) if inside else bytes(4)
    return bytes(pixels)


class Session:
    """The person's session bus, as far as signs need it.

    Args:
        activated: called when the person clicks the icon. gone: called when the panel went away, or the bus.
        came: called when there may be a panel now where none was.
    """

    def __init__(
        self, *, activated: Callable[[], None], gone: Callable[[], None], came: Callable[[], None] = lambda: None
    ) -> None:
        self._activated = activated
        self._gone = gone
        self._came = came
        self._ending = asyncio.Event()
        self._bus: Bus | None = None
        self._item: Any = None
        self._watch: asyncio.Task[None] | None = None
        self._notice = 0

    async def connect(self) -> bool:
        """Connect; tell whether there is a bus."""
        bus = await Bus.connect(SESSION)
        if bus is not None:
            await self._attach(bus)
            kept = keep(SESSION, bus, self._ending, gone=self._lose, came=self._again)
            self._watch = asyncio.get_running_loop().create_task(kept, name="sign: session bus")
        return bus is not None

    async def _attach(self, bus: Bus) -> None:
        self._bus, self._notice = bus, 0
        registered = f"type='signal',sender='{WATCHER}',interface='{WATCHER}',member='StatusNotifierHostRegistered'"
        await bus.listen(self._on_signal, [owner_of(WATCHER), registered])

    async def _again(self, bus: Bus) -> None:
        await self._attach(bus)
        if not self._ending.is_set():
            self._came()

    def _lose(self) -> None:
        """The icon is shown no more."""
        if self._item is None or self._bus is None:
            return
        self._item = None
        self._bus.unexport(ITEM_PATH)
        self._gone()

    async def notify(self, summary: str, body: str) -> bool:
        """Show a notification in place of the last one; tell whether somebody shows it."""
        if self._bus is None:
            return False
        arguments = ["modicum", self._notice, "", summary, body, [], {}, SHOWN_MS]
        answer = await self._bus.call(
            NOTIFICATIONS, NOTIFICATIONS_PATH, NOTIFICATIONS, "Notify", "susssasa{sv}i", arguments
        )
        if answer:
            self._notice = int(answer[0])
        return bool(answer)

    async def show_icon(self, state: str, tooltip: str) -> bool:
        """Put an icon into the panel; tell whether there is one that shows it."""
        bus = self._bus
        if bus is None or not await bus.has(WATCHER):
            return False
        watcher = await bus.properties(WATCHER, WATCHER_PATH, WATCHER)
        if not watcher.get("IsStatusNotifierHostRegistered"):
            return False
        item = _item(state, tooltip, self._activated)
        bus.export(ITEM_PATH, item)
        answer = await bus.call(WATCHER, WATCHER_PATH, WATCHER, "RegisterStatusNotifierItem", "s", [bus.unique_name])
        if answer is None:
            bus.unexport(ITEM_PATH)
            return False
        self._item = item
        return True

    def _on_signal(self, path: str, member: str, arguments: list[Any]) -> None:
        if member == "NameOwnerChanged" and arguments[0] == WATCHER and not arguments[2]:
            self._lose()
        elif self._item is None and member in ("NameOwnerChanged", "StatusNotifierHostRegistered"):
            self._came()

    def change_icon(self, state: str, tooltip: str) -> None:
        """Show another state."""
        if self._item is not None:
            self._item.change(state, tooltip)

    async def close(self) -> None:
        """Take the icon away and disconnect."""
        self._item = None
        self._ending.set()
        if self._bus is not None:
            self._bus.close()
        if self._watch is not None:
            await self._watch


def _item(state: str, tooltip: str, activated: Callable[[], None]) -> Any:
    from dbus_fast import PropertyAccess
    from dbus_fast.service import ServiceInterface, dbus_property, method, signal

    # The annotations are D-Bus signatures, as dbus-fast wants them.
    class Item(ServiceInterface):
        def __init__(self) -> None:
            super().__init__(ITEM)
            self.state, self.tooltip = state, tooltip

        def change(self, state: str, tooltip: str) -> None:
            self.state, self.tooltip = state, tooltip
            self.NewIcon()
            self.NewToolTip()

        @method()
        def Activate(self, x: "i", y: "i"):  # type: ignore  # noqa: F821
            activated()

        @method()
        def SecondaryActivate(self, x: "i", y: "i"):  # type: ignore  # noqa: F821
            activated()

        @signal()
        def NewIcon(self):  # type: ignore[no-untyped-def]
            return None

        @signal()
        def NewToolTip(self):  # type: ignore[no-untyped-def]
            return None

        @dbus_property(access=PropertyAccess.READ)
        def Category(self) -> "s":  # type: ignore  # noqa: F821
            return "ApplicationStatus"

        @dbus_property(access=PropertyAccess.READ)
        def Id(self) -> "s":  # type: ignore  # noqa: F821
            return "modicum"

        @dbus_property(access=PropertyAccess.READ)
        def Title(self) -> "s":  # type: ignore  # noqa: F821
            return "modicum"

        @dbus_property(access=PropertyAccess.READ)
        def Status(self) -> "s":  # type: ignore  # noqa: F821
            return "Active"

        @dbus_property(access=PropertyAccess.READ)
        def IconName(self) -> "s":  # type: ignore  # noqa: F821
            return ""

        @dbus_property(access=PropertyAccess.READ)
        def IconPixmap(self) -> "a(iiay)":  # type: ignore  # noqa: F821
            return [[ICON_PX, ICON_PX, icon(self.state)]]

        @dbus_property(access=PropertyAccess.READ)
        def ToolTip(self) -> "(sa(iiay)ss)":  # type: ignore  # noqa: F722
            return ["", [], "modicum", self.tooltip]

        @dbus_property(access=PropertyAccess.READ)
        def ItemIsMenu(self) -> "b":  # type: ignore  # noqa: F821
            return False

        @dbus_property(access=PropertyAccess.READ)
        def Menu(self) -> "o":  # type: ignore  # noqa: F821
            return "/NO_DBUSMENU"

    return Item()
