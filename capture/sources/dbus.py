"""Source: D-Bus, as far as the conditions need it: properties and signals. The only importer of dbus-fast.

Guarantees: nothing is polled; a missing bus or service is an answer (None, {}), never an error: the agent works without any
bus. Does not guarantee to learn of a service that hangs: a call that takes longer than CALL_S counts as not answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dbus_fast import Message
    from dbus_fast.aio import MessageBus

CALL_S = 5.0
"""A service on the same machine answers in milliseconds; one that is started for the call, in a second or two."""

SYSTEM, SESSION = "system", "session"
DBUS = "org.freedesktop.DBus"
DBUS_PATH = "/org/freedesktop/DBus"
PROPERTIES = "org.freedesktop.DBus.Properties"


def changes_of(interface: str, path: str) -> str:
    """Return the match rule for changes of an object's properties, and for nothing else."""
    return f"type='signal',interface='{PROPERTIES}',member='PropertiesChanged',path='{path}',arg0='{interface}'"


def owner_of(service: str) -> str:
    """Return the match rule for a service's coming and going."""
    return f"type='signal',sender='{DBUS}',interface='{DBUS}',member='NameOwnerChanged',arg0='{service}'"


class Bus:
    """A connection to a bus. State: the connection and the handlers; made by `connect`."""

    def __init__(self, bus: MessageBus) -> None:
        self._bus = bus

    @classmethod
    async def connect(cls, kind: str) -> Bus | None:
        """Return a connection, None where there is no such bus.

        Args:
            kind: SYSTEM or SESSION.
        """
        from dbus_fast import BusType
        from dbus_fast.aio import MessageBus
        from dbus_fast.errors import AuthError, DBusError, InvalidAddressError

        try:
            bus = MessageBus(bus_type=BusType.SYSTEM if kind == SYSTEM else BusType.SESSION)
            async with asyncio.timeout(CALL_S):
                return cls(await bus.connect())
        except (OSError, EOFError, TimeoutError, AuthError, DBusError, InvalidAddressError, ValueError):
            return None

    async def call(
        self, service: str, path: str, interface: str, member: str, signature: str = "", body: Sequence[Any] = ()
    ) -> list[Any] | None:
        """Call a method and return what it answers (variants opened); None when it doesn't, or with an error."""
        from dbus_fast import Message, MessageType
        from dbus_fast.errors import DBusError

        message = Message(
            destination=service, path=path, interface=interface, member=member, signature=signature, body=list(body)
        )
        try:
            async with asyncio.timeout(CALL_S):
                reply = await self._bus.call(message)
        except (DBusError, OSError, EOFError, TimeoutError):
            return None
        if reply is None or reply.message_type is not MessageType.METHOD_RETURN:
            return None
        return [_open(value) for value in reply.body]

    async def properties(self, service: str, path: str, interface: str) -> Mapping[str, Any]:
        """Return an object's properties (variants opened); {} when there is no such object."""
        answer = await self.call(service, path, PROPERTIES, "GetAll", "s", [interface])
        return answer[0] if answer else {}

    async def has(self, service: str) -> bool:
        """Tell whether a service runs (without starting it)."""
        answer = await self.call(DBUS, DBUS_PATH, DBUS, "NameHasOwner", "s", [service])
        return bool(answer and answer[0])

    async def listen(self, handler: Callable[[str, str, list[Any]], None], rules: Sequence[str]) -> None:
        """Have the signals that match any rule told to `handler` as (path, member, arguments with variants opened)."""
        from dbus_fast import MessageType

        def on_message(message: Message) -> None:
            if message.message_type is MessageType.SIGNAL:
                handler(message.path or "", message.member or "", [_open(value) for value in message.body])

        self._bus.add_message_handler(on_message)
        for rule in rules:
            await self.call(DBUS, DBUS_PATH, DBUS, "AddMatch", "s", [rule])

    async def gone(self) -> None:
        """Return when the bus closed the connection."""
        try:
            await self._bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
        except (OSError, EOFError):
            return

    def close(self) -> None:
        """Disconnect."""
        if self._bus.connected:
            self._bus.disconnect()


class Follower:
    """Reads a value anew whenever a signal says that it may have changed; the one task of a source.

    State: whether a signal has come since the last reading.

    Args:
        name: the task's. read: reads and tells; called once at the start, and again after signals.
    """

    def __init__(self, name: str, read: Callable[[], Awaitable[None]]) -> None:
        self._name, self._read = name, read
        self._stale = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read once, then follow."""
        await self._read()
        self._task = asyncio.get_running_loop().create_task(self._follow(), name=self._name)

    def stale(self) -> None:
        """Have it read anew; many calls before that are one."""
        self._stale.set()

    async def _follow(self) -> None:
        while True:
            await self._stale.wait()
            self._stale.clear()
            await self._read()

    async def stop(self) -> None:
        """End the task."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None


def _open(value: Any) -> Any:
    """Return a value with its variants opened, at any depth."""
    from dbus_fast import Variant

    if isinstance(value, Variant):
        return _open(value.value)
    if isinstance(value, dict):
        return {key: _open(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_open(one) for one in value]
    return value
