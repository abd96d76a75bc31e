"""Shell: a connection's account at the ledger: admits and reserves before, settles after, by the wire's count."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from transport.errors import QuotaExceeded
from transport.limits import Lease, Link, Refusal
from transport.metering import Meter, Settlement
from transport.mqtt import Connection

T = TypeVar("T")

EVENTS_VALUE = 1
"""A chunk worth at least this is counted as events, one worth less as screenshots."""


class Ledger(Protocol):
    """The durable budget (transport/ledger.py)."""

    def refusal(
        self, size_bytes: int, *, link: Link, wall_ns: int, mono_ns: int, events_only: bool = False
    ) -> Refusal | None: ...

    def reserve(
        self, size_bytes: int, *, link: Link, wall_ns: int, mono_ns: int, events_only: bool = False
    ) -> Lease | Refusal: ...

    def settle(
        self, lease_id: int, used_bytes: int, *, wall_ns: int, mono_ns: int, kinds: Mapping[str, int] | None = None
    ) -> None: ...

    def left_bytes(self, link: Link) -> int: ...


class Disk(Protocol):
    """Runs blocking work in the one thread that owns the ledger."""

    async def __call__(self, work: Callable[[], T], /) -> T: ...


class Account:
    """See the module. One per connection."""

    def __init__(self, ledger: Ledger, disk: Disk, clock_ns: Callable[[], int]) -> None:
        """Open an account.

        Args:
            ledger: see there. disk: runs its work. clock_ns: the clock that the ledger was opened with.
        """
        self.meter = Meter()
        self._clock_ns = clock_ns
        self._ledger = ledger
        self._disk = disk
        self._kinds = {"events": 0, "screens": 0}

    async def admit(self, bound_bytes: int, *, link: Link, value: int) -> None:
        """Ask whether the budget holds all that is being sent and `bound_bytes` more. Nothing is reserved by it.

        Args:
            value: of the chunk that it is for.

        Raises:
            QuotaExceeded: it does not.
        """
        wanted = self.meter.wanted(bound_bytes)
        if wanted:
            events_only = value >= EVENTS_VALUE
            refusal = await self._disk(
                lambda: self._ledger.refusal(
                    wanted, link=link, wall_ns=time.time_ns(), mono_ns=self._clock_ns(), events_only=events_only
                )
            )
            if refusal is not None:
                raise _exceeded(refusal, wanted)

    def room(self, left_bytes: int) -> int:
        """Return the bound of the dearest chunk for which `left_bytes` in the budget suffice."""
        return max(0, left_bytes - self.meter.wanted())

    async def reserve(self, bound_bytes: int, *, link: Link, value: int) -> None:
        """Reserve at once what is missing for something that costs up to `bound_bytes`; durable on return.

        Args:
            value: of the chunk that it is for.

        Raises:
            QuotaExceeded: the budget does not admit it.
        """
        await self._lease(self.meter.wanted(bound_bytes), link, value)

    async def extend(self, *, link: Link, value: int) -> None:
        """Reserve a step more for what is being sent, where one is wanted; durable on return.

        Raises:
            QuotaExceeded: the budget does not admit it.
        """
        left = await self._disk(lambda: self._ledger.left_bytes(link))
        await self._lease(self.meter.step(left), link, value)

    async def _lease(self, size_bytes: int, link: Link, value: int) -> None:
        if not size_bytes:
            return
        wall_ns, mono_ns = time.time_ns(), self._clock_ns()
        answer = await self._disk(
            lambda: self._ledger.reserve(
                size_bytes, link=link, wall_ns=wall_ns, mono_ns=mono_ns, events_only=value >= EVENTS_VALUE
            )
        )
        if isinstance(answer, Refusal):
            raise _exceeded(answer, size_bytes)
        self.meter.add(answer.id, answer.reserved_bytes)

    def note_kind(self, value: int, size_bytes: int) -> None:
        """Note what kind of bytes are being sent; settlements are split by it."""
        self._kinds["events" if value >= EVENTS_VALUE else "screens"] += size_bytes

    async def settle(self) -> None:
        """Settle what is not needed any more."""
        await self._write(self.meter.settle())

    async def close(self, connection: Connection | None, failed_bytes: int) -> None:
        """Settle everything.

        Args:
            connection: None when none came about. failed_bytes: what the attempts cost then.
        """
        used = failed_bytes if connection is None else connection.wire_bytes()
        if used is None:
            await self._write(self.meter.close_pessimistically())
        else:
            self.meter.observe(used)
            await self._write(self.meter.close())

    async def _write(self, settlements: list[Settlement]) -> None:
        for settlement in settlements:
            kinds: dict[str, int] = {}
            rest = settlement.used_bytes
            for kind, size in self._kinds.items():
                kinds[kind] = min(size, rest)
                self._kinds[kind] -= kinds[kind]
                rest -= kinds[kind]
            await self._disk(self._settling(settlement, kinds))

    def _settling(self, settlement: Settlement, kinds: Mapping[str, int]) -> Callable[[], None]:
        def work() -> None:
            self._ledger.settle(
                settlement.lease_id,
                settlement.used_bytes,
                wall_ns=time.time_ns(),
                mono_ns=self._clock_ns(),
                kinds=kinds,
            )

        return work


def _exceeded(refusal: Refusal, size_bytes: int) -> QuotaExceeded:
    return QuotaExceeded(
        refusal.reasons,
        retry_wall_ns=refusal.retry_wall_ns,
        left_bytes=refusal.left_bytes,
        soon=refusal.left_bytes >= size_bytes,
    )
