"""Shell: an application's interface as a scripted person finds their way in it: its accessibility tree, read by a walk.

Used to point at things and to know the truth of what was chosen, never by the recorder: that one must not walk trees. It speaks
D-Bus by itself, so that a mistake in the recorder's own lookups is not shared.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

from dbus_fast import Message, MessageType
from dbus_fast.aio import MessageBus

ACCESSIBLE, COMPONENT = "org.a11y.atspi.Accessible", "org.a11y.atspi.Component"
PROPERTIES = "org.freedesktop.DBus.Properties"
REGISTRY, ROOT = "org.a11y.atspi.Registry", "/org/a11y/atspi/accessible/root"
CALL_S = 5.0
SENSITIVE, SHOWING, CHECKED, SELECTED = 24, 25, 4, 23
"""AT-SPI's numbers of states."""

Reference = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Thing:
    """An object. Attributes: where it is, what it says; `index`: among its siblings; `box`: x, y, width, height, px."""

    ref: Reference
    role: str
    name: str
    index: int
    box: tuple[int, int, int, int]
    states: frozenset[int]

    @property
    def usable(self) -> bool:
        """Whether it can be seen and used now."""
        return {SENSITIVE, SHOWING} <= self.states and self.box[2] > 0 and self.box[0] >= 0

    @property
    def centre(self) -> tuple[int, int]:
        """Its middle, px."""
        x, y, width, height = self.box
        return x + width // 2, y + height // 2


class Interface:
    """The accessibility bus of a desktop, asked synchronously from one thread.

    Args:
        session: the session bus's address.
    """

    def __init__(self, session: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="interface", daemon=True)
        self._thread.start()
        self._bus: MessageBus = self._do(self._connect(session))

    def close(self) -> None:
        """Disconnect."""
        self._loop.call_soon_threadsafe(self._bus.disconnect)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def enable(self, session: str) -> None:
        """Have applications that start from now on speak (a browser looks only at its start)."""
        self._do(self._enable(session))

    def applications(self) -> dict[str, Reference]:
        """Return the applications by name."""
        return {self.thing(ref).name: ref for ref in self.children((REGISTRY, ROOT))}

    def children(self, ref: Reference) -> list[Reference]:
        """Return an object's children."""
        answer = self._call(ref, ACCESSIBLE, "GetChildren")
        return [(str(one[0]), str(one[1])) for one in answer[0]] if answer else []

    def thing(self, ref: Reference) -> Thing:
        """Describe an object."""
        thing: Thing = self._do(self._thing(ref))
        return thing

    def things(self, ref: Reference) -> list[Thing]:
        """Describe an object's children, in their order."""
        return [self.thing(child) for child in self.children(ref)]

    def walk(self, ref: Reference, *, depth: int = 30, limit: int = 3000) -> Iterator[Thing]:
        """Yield an object and all below it."""
        todo: list[tuple[Reference, int]] = [(ref, depth)]
        while todo and limit:
            limit -= 1
            one, left = todo.pop(0)  # level by level: what is looked for lies high
            yield self.thing(one)
            if left:
                todo += [(child, left - 1) for child in self.children(one)]

    def find(self, ref: Reference, fits: Callable[[Thing], bool], *, depth: int = 30, within_s: float = 10.0) -> Thing:
        """Return the first thing at most `depth` below `ref` that fits, waiting for it. Raises LookupError."""
        until = time.monotonic() + within_s
        while True:
            with contextlib.suppress(TimeoutError):  # an application that has just started is busy
                for thing in self.walk(ref, depth=depth):
                    if fits(thing):
                        return thing
            if time.monotonic() > until:
                raise LookupError("no such thing in the interface")
            time.sleep(0.2)

    # --- how ---

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(4 * CALL_S)

    async def _connect(self, session: str) -> MessageBus:
        first = await MessageBus(bus_address=session).connect()
        reply = await first.call(
            Message(destination="org.a11y.Bus", path="/org/a11y/bus", interface="org.a11y.Bus", member="GetAddress")
        )
        first.disconnect()
        if reply is None or reply.message_type is not MessageType.METHOD_RETURN:
            raise LookupError("this desktop has no accessibility bus: install at-spi2-core")
        return await MessageBus(bus_address=str(reply.body[0])).connect()

    async def _enable(self, session: str) -> None:
        from dbus_fast import Variant

        bus = await MessageBus(bus_address=session).connect()
        await bus.call(
            Message(
                destination="org.a11y.Bus",
                path="/org/a11y/bus",
                interface=PROPERTIES,
                member="Set",
                signature="ssv",
                body=["org.a11y.Status", "IsEnabled", Variant("b", True)],
            )
        )
        bus.disconnect()

    def _call(self, ref: Reference, interface: str, member: str, signature: str = "", *body: Any) -> list[Any] | None:
        answer: list[Any] | None = self._do(self._ask(ref, interface, member, signature, *body))
        return answer

    async def _ask(
        self, ref: Reference, interface: str, member: str, signature: str = "", *body: Any
    ) -> list[Any] | None:
        message = Message(
            destination=ref[0], path=ref[1], interface=interface, member=member, signature=signature, body=list(body)
        )
        async with asyncio.timeout(CALL_S):
            reply = await self._bus.call(message)
        return None if reply is None or reply.message_type is not MessageType.METHOD_RETURN else reply.body

    async def _thing(self, ref: Reference) -> Thing:
        role, name, index, box, states = await asyncio.gather(
            self._ask(ref, ACCESSIBLE, "GetRoleName"),
            self._ask(ref, PROPERTIES, "Get", "ss", ACCESSIBLE, "Name"),
            self._ask(ref, ACCESSIBLE, "GetIndexInParent"),
            self._ask(ref, COMPONENT, "GetExtents", "u", 0),
            self._ask(ref, ACCESSIBLE, "GetState"),
        )
        x, y, width, height = box[0] if box else (-1, -1, 0, 0)
        low, high = states[0] if states and len(states[0]) == 2 else (0, 0)
        bits = low | high << 32
        return Thing(
            ref,
            str(role[0]) if role else "",
            str(name[0].value).strip() if name else "",
            int(index[0]) if index else -1,
            (int(x), int(y), int(width), int(height)),
            frozenset(number for number in range(64) if bits >> number & 1),
        )
