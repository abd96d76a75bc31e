"""Source: D-Bus, as far as conditions, signs and semantics need it: calls, properties, signals.

Guarantees: nothing is polled; a missing bus or service is an answer (None, {}), never an error: the agent works without any
bus. Does not guarantee to learn of a service that hangs: a call that takes longer than CALL_S counts as not answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from dbus_fast import Message
    from dbus_fast.aio import MessageBus

CALL_S = 5.0
"""A service on the same machine answers in milliseconds; one that is started for the call, in a second or two."""

AGAIN_S, AGAIN_CAP_S = 0.5, 60.0
"""A bus that has ended is tried again after so long, then after twice that, up to the cap: a wake-up a minute."""

SYSTEM, SESSION = "system", "session"
DBUS = "org.freedesktop.DBus"
DBUS_PATH = "/org/freedesktop/DBus"
PROPERTIES = "org.freedesktop.DBus.Properties"


Made = TypeVar("Made")

Handler = Callable[[str, str, list[Any]], None]
"""Is told a signal's path, member, and arguments with variants opened."""

Listener = Callable[[str, str, str, str, list[Any]], None]
"""Is told a signal's sender, path, interface, member, and arguments with variants opened."""


def changes_of(service: str, path: str, interface: str) -> str:
    """Return the match rule for changes of an object's properties, told by the service itself, and for nothing else."""
    return (
        f"type='signal',sender='{service}',interface='{PROPERTIES}',member='PropertiesChanged',path='{path}',"
        f"arg0='{interface}'"
    )


def owner_of(service: str) -> str:
    """Return the match rule for a service's coming and going."""
    return f"type='signal',sender='{DBUS}',interface='{DBUS}',member='NameOwnerChanged',arg0='{service}'"


class Bus:
    """A connection to a bus; made by `connect`. State: who listens to signals, the calls that wait for an answer."""

    def __init__(self, bus: MessageBus) -> None:
        self._bus = bus
        self._handlers: list[Handler] = []
        self._listeners: list[Listener] = []
        self._waiting: dict[int, asyncio.Future[Message | None]] = {}
        bus.add_message_handler(self._on_message)

    @classmethod
    async def connect(cls, kind: str) -> Bus | None:
        """Return a connection, None where there is no such bus.

        Args:
            kind: SYSTEM or SESSION.
        """
        from dbus_fast import BusType

        return await cls._open(bus_type=BusType.SYSTEM if kind == SYSTEM else BusType.SESSION)

    @classmethod
    async def at(cls, address: str) -> Bus | None:
        """Return a connection to the bus at an address (such as accessibility's own), None where nobody answers."""
        return await cls._open(bus_address=address)

    @classmethod
    async def _open(cls, **which: Any) -> Bus | None:
        from dbus_fast.aio import MessageBus
        from dbus_fast.errors import AuthError, DBusError, InvalidAddressError

        try:
            bus = MessageBus(**which)
            async with asyncio.timeout(CALL_S):
                return cls(await bus.connect())
        except (OSError, EOFError, TimeoutError, AuthError, DBusError, InvalidAddressError, ValueError):
            return None

    @property
    def connected(self) -> bool:
        """Whether the bus is still there.

        dbus-fast knows only after it has read the end; sending into a connection that has just hung up makes it leave
        a future behind whose error nobody can fetch.
        """
        if not self._bus.connected:
            return False
        poll = select.poll()
        poll.register(self._bus._fd or 0, 0)  # hang-up and errors are always reported
        return not poll.poll(0)

    def _on_message(self, message: Message) -> None:
        from dbus_fast import MessageType

        if message.message_type is MessageType.SIGNAL:
            arguments = [_open(value) for value in message.body]
            for handler in self._handlers:
                handler(message.path or "", message.member or "", arguments)
            for listener in self._listeners:
                listener(
                    message.sender or "", message.path or "", message.interface or "", message.member or "", arguments
                )
        elif (waiting := self._waiting.get(message.reply_serial or 0)) is not None and not waiting.done():
            waiting.set_result(message)

    async def call(
        self,
        service: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: Sequence[Any] = (),
        *,
        within_s: float = CALL_S,
    ) -> list[Any] | None:
        """Call a method and return what it answers (variants opened); None when it doesn't in time, or with an error."""
        from dbus_fast import Message, MessageType

        if not self.connected:
            return None
        message = Message(
            destination=service, path=path, interface=interface, member=member, signature=signature, body=list(body)
        )
        # Not MessageBus.call, for the same reason: it drops the future of the sending.
        waiting: asyncio.Future[Message | None] = asyncio.get_running_loop().create_future()
        message.serial = self._bus.next_serial()
        self._waiting[message.serial] = waiting
        try:
            async with asyncio.timeout(within_s):
                await self._bus.send(message)
                reply = await waiting
        except (OSError, EOFError, TimeoutError):
            return None
        finally:
            del self._waiting[message.serial]
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

    async def listen(self, handler: Handler, rules: Sequence[str]) -> None:
        """Have the signals that match the rules told to `handler`."""
        self._handlers.append(handler)
        for rule in rules:
            await self.call(DBUS, DBUS_PATH, DBUS, "AddMatch", "s", [rule])

    @property
    def unique_name(self) -> str:
        """Our own name on the bus (":1.42")."""
        return str(self._bus.unique_name)

    def export(self, path: str, interface: Any) -> None:
        """Offer an object (a dbus_fast.service.ServiceInterface)."""
        self._bus.export(path, interface)

    def unexport(self, path: str) -> None:
        """Offer it no more."""
        self._bus.unexport(path)

    def hear(self, listener: Listener) -> None:
        """Have every signal that comes told to `listener` with its sender; `add_match` says which come."""
        self._listeners.append(listener)

    async def add_match(self, rule: str) -> None:
        """Have the signals that match a rule sent here."""
        await self.call(DBUS, DBUS_PATH, DBUS, "AddMatch", "s", [rule])

    async def remove_match(self, rule: str) -> None:
        """Have them sent here no more."""
        await self.call(DBUS, DBUS_PATH, DBUS, "RemoveMatch", "s", [rule])

    async def gone(self) -> None:
        """Return when the connection has ended. Not to be cancelled: `close` ends it (dbus-fast shares one future)."""
        with contextlib.suppress(OSError, EOFError):
            await self._bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_result(None)

    def close(self) -> None:
        """Disconnect."""
        if self._bus.connected:
            self._bus.disconnect()


class Follower:
    """Reads values anew whenever a signal says that they may have changed: the buses and the tasks of a source.

    A bus that ended is tried again, ever more seldom: a session's bus comes back with the session, a system's after an
    upgrade. State: the buses, the tasks, whether a signal has come since the last reading, whether it is to end.

    Args:
        name: for the tasks. read: reads and tells; called once at the start, and again after signals.
        attach: is given each connection to a bus, the first and later ones, to listen to what it wants.
    """

    def __init__(
        self,
        name: str,
        read: Callable[[], Awaitable[None]],
        attach: Callable[[str, Bus], Awaitable[None]],
    ) -> None:
        self._name, self._read, self._attach = name, read, attach
        self._stale = asyncio.Event()
        self._ending = asyncio.Event()
        self._buses: dict[str, Bus] = {}
        self._watches: list[asyncio.Task[None]] = []
        self._task: asyncio.Task[None] | None = None

    async def connect(self, *kinds: str) -> None:
        """Attach buses, those that are there; `stop` closes them, and an end before that counts as a signal."""
        self._ending.clear()
        for kind in kinds:
            bus = await Bus.connect(kind)
            if bus is not None:
                self._buses[kind] = bus
                await self._attach(kind, bus)
                kept = keep(kind, bus, self._ending, gone=self.stale, came=partial(self._came, kind))
                self._watches.append(asyncio.get_running_loop().create_task(kept, name=f"{self._name}: {kind} bus"))

    async def follow(self) -> None:
        """Read once, and from then on after every signal."""
        await self._read()
        self._task = asyncio.get_running_loop().create_task(self._loop(), name=self._name)

    def stale(self) -> None:
        """Have it read anew; many calls before that are one."""
        self._stale.set()

    async def _came(self, kind: str, bus: Bus) -> None:
        self._buses[kind] = bus
        await self._attach(kind, bus)
        self.stale()

    async def _loop(self) -> None:
        while True:
            await self._stale.wait()
            self._stale.clear()
            await self._read()

    async def stop(self) -> None:
        """End the task and close the buses; harmless when not started."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        self._ending.set()
        for bus in self._buses.values():
            bus.close()
        await asyncio.gather(*self._watches)
        self._watches, self._buses = [], {}


async def keep(
    kind: str, bus: Bus, ending: asyncio.Event, *, gone: Callable[[], None], came: Callable[[Bus], Awaitable[None]]
) -> None:
    """Have a connection to a bus whenever there is one; return when `ending` is set and the connection has ended.

    Args:
        kind: SYSTEM or SESSION. bus: the first connection; who sets `ending` closes the one that came last.
        gone: called when a connection has ended. came: given each later one.
    """
    while True:
        await bus.gone()
        gone()
        again = await try_again(lambda: Bus.connect(kind), ending)
        if again is None:
            return
        bus = again
        if ending.is_set():  # while it was made
            bus.close()
        else:
            await came(bus)


async def try_again(attempt: Callable[[], Awaitable[Made | None]], ending: asyncio.Event) -> Made | None:
    """Return what an attempt to replace what has ended makes, as soon as one does; None when `ending` is set before."""
    wait_s = AGAIN_S
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await ending.wait()
        if ending.is_set():
            return None
        made = await attempt()
        if made is not None:
            return made
        wait_s = min(AGAIN_CAP_S, 2 * wait_s)


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
