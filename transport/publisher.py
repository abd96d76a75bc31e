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

from codec.model import ChunkId
from codec.seal import DeviceVerifyKey
from transport import wire
from transport.account import EVENTS_VALUE, Account, Ledger
from transport.cancelling import heed_cancellation
from transport.doubts import Doubts
from transport.endpoint import Broker
from transport.errors import QuotaExceeded, Refused, TransportError, Unavailable
from transport.exchange import Exchange, Parts, Permit, Totals
from transport.limits import Link
from transport.messages import ack_topic, up_topic
from transport.metering import MARGIN_BYTES
from transport.mqtt import Connection, Dialer
from transport.session import HasSize, Session, SessionLimits, backoff_s
from transport.spooled import ANY_SIZE, Entry, Gap, Waiting
from transport.tariff import LOSS_SAMPLE_BYTES, Tariff

T = TypeVar("T")

QUOTA_PAUSE_S = 3600.0
"""How long to wait for the budget where it does not say when to ask again."""

LEAST_PAUSE_S = 1.0
"""After a refusal by the budget, events are not listened to for so long, lest they make it spin."""

LEAST_CHUNK_BYTES = 256
"""No chunk is smaller."""


@dataclass(frozen=True, slots=True)
class PublisherSettings:
    """How the publisher works.

    Attributes:
        broker: where. session: the window and its patience.
        linger_s: stay connected so long after the last answer; longer only where the next chunk comes soon enough.
        reconnect_base_s, reconnect_cap_s: back-off between connections that failed.
        unheard_base_s, unheard_cap_s: the same, when the broker has no collector to give a chunk to.
        answer_keys: by one of which the collectors' answers have to be signed; none: they need not be.
        start_jitter_s: the first connection waits up to this, so that a fleet doesn't start as one.
    """

    broker: Broker
    session: SessionLimits = field(default_factory=SessionLimits)
    linger_s: float = 3.0
    reconnect_base_s: float = 2.0
    reconnect_cap_s: float = 900.0
    unheard_base_s: float = 15.0
    unheard_cap_s: float = 1800.0
    answer_keys: tuple[DeviceVerifyKey, ...] = ()
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
        freed: the ids of the chunks that the collector has acknowledged since the last report.
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
    freed: tuple[ChunkId, ...] = ()


@dataclass(frozen=True, slots=True)
class _Narrowed:
    """What the budget refused: over this link, until then, only chunks worth min_value and up to max_bytes."""

    link: Link
    until_wall_ns: int
    reasons: tuple[str, ...]
    min_value: int
    max_bytes: int


def _ignore(_: object) -> None:
    """Be the observer that looks away."""


class Publisher:
    """See the module. `run` works until it is cancelled; `wake` tells it that the conditions changed."""

    def __init__(
        self,
        settings: PublisherSettings,
        spool: Waiting,
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
        self._renewed = asyncio.Event()
        self._narrowed: _Narrowed | None = None
        self._session = Session(settings.session, device=spool.device, rng=self._rng)
        self._parts = Parts(
            spool=spool,
            session=self._session,
            totals=self.totals,
            doubts=Doubts(),
            permit=self._permit,
            changed=self._changed,
            disk=self._disk,
            report=self._report_waiting,
            lose=self._lose,
            refused=self._narrow,
            stay_s=self._stay_s,
            answer_keys=settings.answer_keys,
        )

    def wake(self) -> None:
        """Look again: the link, the plan or the budget changed. To be called in the event loop."""
        self._narrowed = None
        self._changed.set()

    def use(self, broker: Broker, answer_keys: tuple[DeviceVerifyKey, ...]) -> None:
        """Connect with other credentials from the next connection on, and wait no longer with that. An open one goes on as it is."""
        self.settings = replace(self.settings, broker=broker, answer_keys=answer_keys)
        self._dialer = Dialer(broker)
        self._parts = replace(self._parts, answer_keys=answer_keys)
        self._renewed.set()

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
                    # In a task of its own: transport/cancelling.py says why.
                    await asyncio.create_task(self._connect_and_send(chosen), name="connection")
                except QuotaExceeded as error:
                    heed_cancellation()
                    room = error.left_bytes - self.settings.broker.connect_bound - MARGIN_BYTES
                    self._narrow(error, chosen, self._tariff().largest(room))
                    await asyncio.sleep(LEAST_PAUSE_S)
                    continue
                except (Unavailable, Refused) as error:
                    why = str(error)
                heed_cancellation()
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
            chosen = self._session.choose(now_ns, ready, min_value=permit.min_value, max_bytes=permit.max_bytes)
            if chosen is not None:
                return chosen
            due_ns = self._session.next_due_ns(now_ns)
            waits = [(then - now) / 1e9 for then, now in ((due_ns, now_ns), (ready_ns, wall_ns)) if then is not None]
            if self._narrowed is not None:
                waits.append(max(LEAST_PAUSE_S, (self._narrowed.until_wall_ns - wall_ns) / 1e9))
                await self._wait("over budget", self._narrowed.reasons, min(waits))
                continue
            state = "held" if ready_ns is not None else "waiting" if due_ns is not None else "idle"
            await self._wait(state, (), min(waits, default=None))

    def _looking(self, wall_ns: int, permit: Permit) -> Callable[[], tuple[list[Entry], int | None]]:
        known = self._session.known

        def look() -> tuple[list[Entry], int | None]:
            ready = self._spool.ready(
                wall_ns, min_value=permit.min_value, max_bytes=permit.max_bytes, skip=known, most=1
            )
            return ready, None if ready else self._spool.next_ready_wall_ns(wall_ns)

        return look

    def _permit(self) -> Permit:
        """Return what may be sent, by the conditions and by what the budget refused last."""
        permit, narrowed = self._conditions(), self._narrowed
        if narrowed is None:
            return permit
        if time.time_ns() >= narrowed.until_wall_ns or permit.link is not narrowed.link:
            self._narrowed = None
            return permit
        return replace(
            permit,
            min_value=max(permit.min_value, narrowed.min_value),
            max_bytes=min(permit.max_bytes, narrowed.max_bytes),
        )

    def _narrow(self, error: QuotaExceeded, chosen: HasSize, largest_bytes: int) -> None:
        """Go on with what the budget may still admit: smaller chunks where bytes are short, else events for screenshots.

        Args:
            error: the refusal. chosen: what it was for. largest_bytes: a chunk of this size would be admitted.
        """
        now_ns, before = time.time_ns(), self._narrowed
        min_value = before.min_value if before else 0
        max_bytes = 0 if error.soon else min(largest_bytes, chosen.size_bytes - 1)
        if max_bytes < LEAST_CHUNK_BYTES:
            max_bytes = 0
            if chosen.value < EVENTS_VALUE and not error.soon and not error.left_bytes:
                min_value, max_bytes = EVENTS_VALUE, ANY_SIZE
        until_ns = error.retry_wall_ns if error.retry_wall_ns > now_ns else now_ns + int(QUOTA_PAUSE_S * 1e9)
        self._narrowed = _Narrowed(self._conditions().link, until_ns, error.reasons, min_value, max_bytes)

    def _tariff(self) -> Tariff:
        """Return what bytes cost on the next connection, whose path is not known yet: the dearer one."""
        path = wire.Path(tls=self.settings.broker.tls is not None, ipv6=True)
        return Tariff(len(up_topic(self._spool.device)), path, True, self.totals.loss_ratio)

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
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._renewed.wait()

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
        broker, dialer = self.settings.broker, self._dialer
        self._renewed.clear()
        account = self._account = Account(self._ledger, self._disk, self._ledger_clock_ns)
        link = self._permit().link
        await account.admit(broker.connect_bound + self._tariff().chunk(first.size_bytes), link=link, value=first.value)
        await account.reserve(broker.connect_bound, link=link, value=first.value)
        await self._report("connecting")
        connection: Connection | None = None
        try:
            async with dialer.connect() as connection:
                account.meter.observe(connection.wire_bytes() or 0)
                await connection.subscribe(ack_topic(self._spool.device), qos=0)
                await Exchange(self._parts, connection, account).run()
        except* TransportError as group:
            raise _gravest(group) from None
        finally:
            self._session.lost_connection(time.monotonic_ns())
            self._parts.doubts.lost_connection()
            await account.close(connection, dialer.failed_bytes)
            self.totals.wire_bytes += account.meter.used
            self._account = None
            self._learn_loss(connection)

    def _learn_loss(self, connection: Connection | None) -> None:
        info = connection.tcp_info() if connection is not None else None
        if info is not None and info.sent > LOSS_SAMPLE_BYTES:
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
        freed, self.totals.freed = tuple(self.totals.freed), []
        self._on_progress(
            Progress(
                state,
                reasons or self._troubles(),
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
                freed=freed,
            )
        )

    def _troubles(self) -> tuple[str, ...]:
        """Return what a person should know though sending goes on, or waits."""
        found: tuple[str, ...] = (self._session.unwelcome,) if self._session.unwelcome else ()
        if self.totals.forged_answers:
            found += (f"{self.totals.forged_answers} answers that no collector had signed were ignored",)
        return found

    async def _disk(self, work: Callable[[], T], /) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)


def _gravest(group: BaseExceptionGroup[TransportError]) -> TransportError:
    """Return the error of a group that decides what to do next."""
    flat: list[TransportError] = []
    for error in group.exceptions:
        flat.append(_gravest(error) if isinstance(error, BaseExceptionGroup) else error)
    ranks = (QuotaExceeded, Refused, Unavailable)
    return min(flat, key=lambda error: next((rank for rank, kind in enumerate(ranks) if isinstance(error, kind)), 9))
