"""Shell: the publisher: brings chunks from the spool to the collector, inside the budget, and only as often as needed.

Guarantees: every byte on the wire was reserved in the ledger before, durably, and is settled after by the kernel's count; what
was reserved when the process died counts as spent. A chunk leaves the spool only on the collector's own answer for exactly
these bytes. Nothing is sent over a link that is not permitted. When there is nothing to send, no connection exists, and no
timer but the one for the next held-back or repeated chunk.

What it does not guarantee: that a chunk is sent once (a lost answer makes it go again; the archive discards the copy).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TypeVar

from transport import wire
from transport.account import EVENTS_VALUE, Account, Ledger
from transport.endpoint import Broker
from transport.errors import QuotaExceeded, Refused, TransportError, Unavailable
from transport.exchange import Exchange, Parts, Permit, Totals
from transport.limits import Link
from transport.messages import ack_topic, up_topic
from transport.mqtt import Connection, Dialer
from transport.session import HasSize, Session, SessionLimits, backoff_s
from transport.spool import Entry, Gap, Spool

T = TypeVar("T")

QUOTA_PAUSE_S = 3600.0
"""How long to wait for the budget where it does not say when to ask again."""

LEAST_PAUSE_S = 1.0
"""After a refusal by the budget, events are not listened to for so long, lest they make it spin."""


@dataclass(frozen=True, slots=True)
class PublisherSettings:
    """How the publisher works.

    Attributes:
        broker: where. session: the window and its patience.
        linger_s: stay connected so long after the last answer; longer only where the next chunk comes soon enough.
        reconnect_base_s, reconnect_cap_s: back-off between connections that failed.
        unheard_base_s, unheard_cap_s: the same, when the broker has no collector to give a chunk to.
        start_jitter_s: the first connection waits up to this, so that a fleet doesn't start as one.
    """

    broker: Broker
    session: SessionLimits = field(default_factory=SessionLimits)
    linger_s: float = 3.0
    reconnect_base_s: float = 2.0
    reconnect_cap_s: float = 900.0
    unheard_base_s: float = 15.0
    unheard_cap_s: float = 1800.0
    start_jitter_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Progress:
    """Where sending stands.

    Attributes:
        state: "idle", "held" (chunks are held back), "waiting" (for a repetition), "connecting", "sending", "offline",
            "over budget", "backing off".
        reasons: why, in words. retry_wall_ns: when it goes on by itself (0 = on an event).
        waiting_chunks, waiting_bytes: in the spool. in_flight: sent and not answered.
        sent_chunks, resent_chunks, archived_chunks, archived_bytes, refused_chunks, wire_bytes: since the start.
    """

    state: str
    reasons: tuple[str, ...] = ()
    retry_wall_ns: int = 0
    waiting_chunks: int = 0
    waiting_bytes: int = 0
    in_flight: int = 0
    sent_chunks: int = 0
    resent_chunks: int = 0
    archived_chunks: int = 0
    archived_bytes: int = 0
    refused_chunks: int = 0
    wire_bytes: int = 0


def _ignore(_: object) -> None:
    """Be the observer that looks away."""


class Publisher:
    """See the module. `run` works until it is cancelled; `wake` tells it that the conditions changed."""

    def __init__(
        self,
        settings: PublisherSettings,
        spool: Spool,
        ledger: Ledger,
        *,
        conditions: Callable[[], Permit],
        on_progress: Callable[[Progress], None] = _ignore,
        on_loss: Callable[[list[Gap]], None] = _ignore,
        executor: Executor | None = None,
        ledger_clock_ns: Callable[[], int] = time.monotonic_ns,
        rng: random.Random | None = None,
    ) -> None:
        """Prepare a publisher.

        Args:
            settings: how. spool: what. ledger: the budget. conditions: asked before anything is sent.
            on_progress, on_loss: told in the event loop; `on_loss` gets the chunks that will never arrive.
            executor: one thread for the disk, the only one that touches the ledger; by default its own.
            ledger_clock_ns: the clock that the ledger was opened with.
            rng: draws jitter.
        """
        self.settings = settings
        self.totals = Totals()
        self._spool = spool
        self._ledger = ledger
        self._ledger_clock_ns = ledger_clock_ns
        self._account: Account | None = None
        self._conditions = conditions
        self._on_progress = on_progress
        self._on_loss = on_loss
        self._own_executor = None if executor else ThreadPoolExecutor(1, thread_name_prefix="publisher-disk")
        self._executor = executor or self._own_executor
        self._rng = rng or random.SystemRandom()
        self._dialer = Dialer(settings.broker)
        self._changed = asyncio.Event()
        self._screens_after_wall_ns = 0
        self._session = Session(settings.session, device=spool.device, rng=self._rng)
        self._parts = Parts(
            spool=spool,
            session=self._session,
            totals=self.totals,
            permit=self._permit,
            changed=self._changed,
            disk=self._disk,
            report=self._report_waiting,
            lose=self._lose,
            stay_s=self._stay_s,
        )

    def wake(self) -> None:
        """Look again: the link, the plan or the budget changed. To be called in the event loop."""
        self._changed.set()

    async def run(self) -> None:
        """Publish until cancelled."""
        loop = asyncio.get_running_loop()

        def stored() -> None:  # runs in the thread that put
            loop.call_soon_threadsafe(self._changed.set)

        unsubscribe = self._spool.subscribe(stored)
        failures = unheard = 0
        try:
            await asyncio.sleep(self._rng.uniform(0, self.settings.start_jitter_s))
            while True:
                chosen = await self._next()
                before = self.totals.archived_chunks + self.totals.refused_chunks
                why = ""
                self.totals.unheard = False
                try:
                    await self._connect_and_send(chosen)
                except QuotaExceeded as error:
                    _heed_cancellation()
                    await self._over_budget(error, chosen)
                    continue
                except (Unavailable, Refused) as error:
                    why = str(error)
                _heed_cancellation()
                progressed = self.totals.archived_chunks + self.totals.refused_chunks > before
                unheard = unheard + 1 if self.totals.unheard else 0
                failures = 0 if progressed else failures + 1
                await self._back_off(failures, unheard, why)
        finally:
            unsubscribe()
            if self._own_executor is not None:
                self._own_executor.shutdown(wait=False)

    # -- between connections

    async def _next(self) -> HasSize:
        """Return the first chunk to send, when there is one that may be sent."""
        while True:
            self._changed.clear()
            wall_ns, now_ns = time.time_ns(), time.monotonic_ns()
            permit = self._permit()
            if permit.link is Link.OFFLINE:
                await self._wait("offline", ("there is no network",), None)
                continue
            ready, ready_ns = await self._disk(self._looking(wall_ns, permit))
            chosen = self._session.choose(now_ns, ready, min_value=permit.min_value)
            if chosen is not None:
                return chosen
            due_ns = self._session.next_due_ns(now_ns)
            waits = [(then - now) / 1e9 for then, now in ((due_ns, now_ns), (ready_ns, wall_ns)) if then is not None]
            if permit.min_value < EVENTS_VALUE or not self._screens_after_wall_ns:
                state = "held" if ready_ns is not None else "waiting" if due_ns is not None else "idle"
            else:
                state = "over budget"
                waits.append(max(1.0, (self._screens_after_wall_ns - wall_ns) / 1e9))
            await self._wait(state, (), min(waits, default=None))

    def _looking(self, wall_ns: int, permit: Permit) -> Callable[[], tuple[list[Entry], int | None]]:
        known = self._session.known

        def look() -> tuple[list[Entry], int | None]:
            ready = self._spool.ready(wall_ns, min_value=permit.min_value, skip=known, most=1)
            return ready, None if ready else self._spool.next_ready_wall_ns(wall_ns)

        return look

    def _permit(self) -> Permit:
        """Return what may be sent, by the conditions and by what the budget said of screenshots."""
        permit = self._conditions()
        if self._screens_after_wall_ns:
            if time.time_ns() < self._screens_after_wall_ns:
                return replace(permit, min_value=max(permit.min_value, EVENTS_VALUE))
            self._screens_after_wall_ns = 0
        return permit

    async def _over_budget(self, error: QuotaExceeded, chosen: HasSize) -> None:
        """Wait until the budget may admit more; events go on where only screenshots were refused."""
        retry_ns = error.retry_wall_ns or time.time_ns() + int(QUOTA_PAUSE_S * 1e9)
        if chosen.value < EVENTS_VALUE and not self._screens_after_wall_ns:
            self._screens_after_wall_ns = retry_ns
            return
        self._changed.clear()
        await asyncio.sleep(LEAST_PAUSE_S)
        await self._wait("over budget", error.reasons, max(0.0, (retry_ns - time.time_ns()) / 1e9))

    async def _back_off(self, failures: int, unheard: int, why: str) -> None:
        settings = self.settings
        if unheard:
            pause_s = backoff_s(unheard, base_s=settings.unheard_base_s, cap_s=settings.unheard_cap_s, rng=self._rng)
            why = "no collector listens at the broker"
        elif failures:
            pause_s = backoff_s(
                failures, base_s=settings.reconnect_base_s, cap_s=settings.reconnect_cap_s, rng=self._rng
            )
        else:
            return
        await self._report("backing off", (why,) if why else (), time.time_ns() + int(pause_s * 1e9))
        await asyncio.sleep(pause_s)

    async def _wait(self, state: str, reasons: tuple[str, ...], seconds: float | None) -> None:
        """Sleep until something changes, at most for so long."""
        await self._report(state, reasons, 0 if seconds is None else time.time_ns() + int(seconds * 1e9))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    # -- a connection

    async def _connect_and_send(self, first: HasSize) -> None:
        """Connect (when the budget admits that and the first chunk) and exchange until there is nothing to do.

        Raises:
            QuotaExceeded, Refused, Unavailable: what ended it.
        """
        broker = self.settings.broker
        account = self._account = Account(self._ledger, self._disk, self._ledger_clock_ns)
        path = wire.Path(tls=broker.tls is not None, ipv6=True)  # not known yet: the dearer one
        bound = broker.connect_bound + wire.chunk_bound(
            len(up_topic(self._spool.device)), first.size_bytes, path, mqtt5=True, loss_ratio=self.totals.loss_ratio
        )
        await account.reserve(bound, link=self._permit().link, value=first.value)
        await self._report("connecting")
        connection: Connection | None = None
        try:
            async with self._dialer.connect() as connection:
                account.meter.observe(connection.wire_bytes() or 0)
                await connection.subscribe(ack_topic(self._spool.device), qos=0)
                await Exchange(self._parts, connection, account).run()
        except* TransportError as group:
            raise _gravest(group) from None
        finally:
            self._session.lost_connection(time.monotonic_ns())
            await account.close(connection, self._dialer.failed_bytes)
            self.totals.wire_bytes += account.meter.used
            self._account = None
            self._learn_loss(connection)

    def _learn_loss(self, connection: Connection | None) -> None:
        info = connection.tcp_info() if connection is not None else None
        if info is not None and info.sent > 1 << 14:
            self.totals.loss_ratio += (min(1.0, info.retransmitted / info.sent) - self.totals.loss_ratio) / 2

    def _stay_s(self, next_s: float | None) -> float:
        """Return how long to stay connected with nothing to do: longer, where that is cheaper than coming back."""
        broker = self.settings.broker
        if next_s is not None and wire.worth_keeping(
            next_s, broker.keepalive_s, tls=broker.tls is not None, connect_bytes=broker.connect_bound
        ):
            return max(self.settings.linger_s, next_s + self.settings.linger_s)
        return self.settings.linger_s

    # -- telling

    async def _lose(self, gaps: list[Gap]) -> None:
        gaps = gaps + await self._disk(self._spool.take_losses)
        if gaps:
            self._on_loss(gaps)

    async def _report_waiting(self, state: str, seconds: float | None) -> None:
        await self._report(state, (), 0 if seconds is None else time.time_ns() + int(seconds * 1e9))

    async def _report(self, state: str, reasons: tuple[str, ...] = (), retry_wall_ns: int = 0) -> None:
        usage = await self._disk(self._spool.usage)
        self._on_progress(
            Progress(
                state,
                reasons or ((self._session.unwelcome,) if self._session.unwelcome else ()),
                retry_wall_ns,
                waiting_chunks=usage.chunks,
                waiting_bytes=usage.live_bytes,
                in_flight=self._session.in_flight,
                sent_chunks=self.totals.sent_chunks,
                resent_chunks=self._session.resends,
                archived_chunks=self.totals.archived_chunks,
                archived_bytes=self.totals.archived_bytes,
                refused_chunks=self.totals.refused_chunks,
                wire_bytes=self.totals.wire_bytes + (self._account.meter.used if self._account else 0),
            )
        )

    async def _disk(self, work: Callable[[], T], /) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)


def _heed_cancellation() -> None:
    """End this task if it was told to, in the moment in which something else failed.

    Before Python 3.13 a TaskGroup that is cancelled while a task in it fails or ends it raises the failure alone, or
    nothing, and who goes on after that never ends.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _gravest(group: BaseExceptionGroup[TransportError]) -> TransportError:
    """Return the error of a group that decides what to do next."""
    flat: list[TransportError] = []
    for error in group.exceptions:
        flat.append(_gravest(error) if isinstance(error, BaseExceptionGroup) else error)
    ranks = (QuotaExceeded, Refused, Unavailable)
    return min(flat, key=lambda error: next((rank for rank, kind in enumerate(ranks) if isinstance(error, kind)), 9))
