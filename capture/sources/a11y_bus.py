"""Source: the accessibility bus: which application is whose, and what one application at a time tells of its interface.

Guarantees: only the application that is watched is heard: the bus itself keeps the others' signals away. A machine without
a session bus, without AT-SPI, or with applications that don't speak it, is an answer (False, None), never an error.
`org.a11y.Status.IsEnabled`, which makes applications speak, is put back at `stop` if it was off. Does not guarantee that an
application tells anything: Chromium does only with --force-renderer-accessibility.

Traps dealt with here: a match rule without a member floods (a GTK menu sends hundreds of signals); names and roles do not
come with the signals, although the protocol has a place for them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from capture.sources.a11y import EVENT, MEMBERS, STATES, WANTED, Signal, signal_of
from capture.sources.dbus import DBUS, DBUS_PATH, PROPERTIES, SESSION, Bus, try_again

REGISTRY = "org.a11y.atspi.Registry"
ROOT = "/org/a11y/atspi/accessible/root"
ACCESSIBLE = "org.a11y.atspi.Accessible"
LAUNCHER, LAUNCHER_PATH = "org.a11y.Bus", "/org/a11y/bus"


def rules_for(sender: str) -> list[str]:
    """Return the match rules for what one application tells."""
    own = f"type='signal',sender='{sender}',interface='{EVENT}"
    return [
        *(f"{own}Object',member='StateChanged',arg0='{state}'" for state in STATES),
        *(f"{own}{interface}',member='{member}'" for interface, member in MEMBERS),
    ]


class Accessibility:
    """The accessibility bus. State: the two connections, which process each application is, which one is watched.

    Args:
        on_signal: told what the watched application tells.
        on_application: told when an application came to the bus, or the bus came back.
        on_gone: told when the bus has ended: what was known of applications counts no more.
    """

    def __init__(
        self,
        on_signal: Callable[[Signal], None],
        on_application: Callable[[], None],
        on_gone: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_signal, self._on_application, self._on_gone = on_signal, on_application, on_gone
        self._ending = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._session: Bus | None = None
        self._bus: Bus | None = None
        self._was_enabled = True
        self._pids: dict[str, int] = {}
        self._watched = ""
        self._watching = asyncio.Lock()

    @property
    def bus(self) -> Bus | None:
        """The connection, None where there is none (any more)."""
        return self._bus if self._bus is not None and self._bus.connected else None

    async def start(self) -> bool:
        """Connect; tell whether there is such a bus. One that ends later is connected to again."""
        self._ending.clear()
        found = await self._connect()
        if found:
            self._keeper = asyncio.get_running_loop().create_task(self._keep(), name="accessibility: bus")
        return found

    async def _keep(self) -> None:
        """Return when it is to end; until then, have a connection whenever there is a bus."""
        while True:
            buses = [bus for bus in (self._bus, self._session) if bus is not None]
            ends = [asyncio.get_running_loop().create_task(bus.gone(), name="accessibility: end") for bus in buses]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for bus in buses:
                bus.close()
            await asyncio.gather(*ends)
            if self._ending.is_set():
                return
            self._pids.clear()
            self._watched = ""
            self._on_gone()
            if await try_again(self._connect_again, self._ending) is None:
                return
            self._on_application()

    async def _connect_again(self) -> bool | None:
        connected = await self._connect()
        if self._ending.is_set() or not connected:
            self._close()
        return connected or None

    async def _connect(self) -> bool:
        self._session = await Bus.connect(SESSION)
        if self._session is None:
            return False
        address = await self._session.call(LAUNCHER, LAUNCHER_PATH, LAUNCHER, "GetAddress")
        self._bus = await Bus.at(str(address[0])) if address and address[0] else None
        if self._bus is None:
            return False
        status = await self._session.properties(LAUNCHER, LAUNCHER_PATH, "org.a11y.Status")
        # Once it was off, it is ours, and to be put back: also where we only connect again.
        self._was_enabled = self._was_enabled and bool(status.get("IsEnabled", True))
        if not self._was_enabled:
            await self._enable(True)
        for event in WANTED:
            await self._register("RegisterEvent", event)
        self._bus.hear(self._heard)
        await self._bus.add_match(
            f"type='signal',interface='{EVENT}Object',member='ChildrenChanged',path='{ROOT}',arg0='add'"
        )
        return True

    async def _register(self, member: str, event: str) -> None:
        bus = self._bus
        assert bus is not None  # noqa: S101 - both callers have looked
        new = ("sass", [event, [], ""]) if member == "RegisterEvent" else ("s", [event])
        if await bus.call(REGISTRY, "/org/a11y/atspi/registry", REGISTRY, member, *new) is None and new[0] != "s":
            await bus.call(REGISTRY, "/org/a11y/atspi/registry", REGISTRY, member, "s", [event])  # before at-spi 2.36

    async def _enable(self, on: bool) -> None:
        from dbus_fast import Variant

        if self._session is not None:
            await self._session.call(
                LAUNCHER, LAUNCHER_PATH, PROPERTIES, "Set", "ssv", ["org.a11y.Status", "IsEnabled", Variant("b", on)]
            )

    def _heard(self, sender: str, path: str, interface: str, member: str, arguments: list[Any]) -> None:
        if member == "ChildrenChanged" and path == ROOT:
            self._on_application()
        elif sender == self._watched:
            signal = signal_of(time.monotonic_ns(), sender, path, interface, member, arguments)
            if signal is not None:
                self._on_signal(signal)

    async def application_of(self, pid: int) -> str | None:
        """Return the name on the bus of the application with a process id, None when it is not there."""
        bus = self.bus
        if bus is None or not pid:
            return None
        answer = await bus.call(REGISTRY, ROOT, ACCESSIBLE, "GetChildren")
        present = [str(reference[0]) for reference in answer[0]] if answer else []
        self._pids = {name: found for name, found in self._pids.items() if name in present}
        for name in present:
            if name not in self._pids:
                said = await bus.call(DBUS, DBUS_PATH, DBUS, "GetConnectionUnixProcessID", "s", [name])
                self._pids[name] = int(said[0]) if said else 0
        # The latest: a process that connected twice speaks by its newest connection.
        return next((name for name, found in reversed(self._pids.items()) if found == pid), None)

    async def watch(self, app: str) -> None:
        """Hear this application and no other; "": none."""
        async with self._watching:
            bus, before = self.bus, self._watched
            if bus is None or app == before:
                return
            self._watched = app
            for rule in rules_for(before) if before else ():
                await bus.remove_match(rule)
            for rule in rules_for(app) if app else ():
                await bus.add_match(rule)

    async def stop(self) -> None:
        """Put back what was changed, and disconnect; harmless when not started."""
        if self.bus is not None:
            for event in WANTED:
                await self._register("DeregisterEvent", event)
        if not self._was_enabled:
            await self._enable(False)
        self._ending.set()
        self._close()
        if self._keeper is not None:
            await self._keeper
            self._keeper = None

    def _close(self) -> None:
        for bus in (self._bus, self._session):
            if bus is not None:
                bus.close()
        self._bus = self._session = None
