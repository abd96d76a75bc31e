"""Shell: a connection's account at the ledger: reserves before, settles after, by the wire's count."""

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

    def reserve(
        self, size_bytes: int, *, link: Link, wall_ns: int, mono_ns: int, events_only: bool = False
    ) -> Lease | Refusal: ...

    def settle(
        self, lease_id: int, used_bytes: int, *, wall_ns: int, mono_ns: int, kinds: Mapping[str, int] | None = None
    ) -> None: ...


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

    async def reserve(self, bound_bytes: int, *, link: Link, value: int) -> None:
        """Reserve what is missing for something that costs up to `bound_bytes`; durable on return.

        Args:
            value: of the chunk that it is for.

        Raises:
            QuotaExceeded: the budget does not admit it.
        """
        missing = self.meter.missing(bound_bytes)
        if not missing:
            return
        wall_ns, mono_ns = time.time_ns(), self._clock_ns()
        answer = await self._disk(
            lambda: self._ledger.reserve(
                missing, link=link, wall_ns=wall_ns, mono_ns=mono_ns, events_only=value >= EVENTS_VALUE
            )
        )
        if isinstance(answer, Refusal):
            raise QuotaExceeded(answer.reasons, retry_wall_ns=answer.retry_wall_ns)
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
