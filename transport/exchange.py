"""Shell: what happens on one connection of a device: send, listen, watch the count; ends when there is nothing to do.

Guarantees: a chunk is begun only when the budget could grant all that it may cost; bytes are handed to the kernel only as far as
leases cover them (transport/metering.py); a connection that would need more than the budget grants is cut by RST, which drops
what the kernel holds. The spool frees a chunk only for an answer with the digest of its bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from codec.model import ChunkId
from codec.seal import DeviceVerifyKey
from transport.account import EVENTS_VALUE, Account, Disk
from transport.asking import MAX_ASKED
from transport.doubts import Doubts, Question
from transport.errors import QuotaExceeded, StorageFailed, TooLarge
from transport.limits import Link
from transport.messages import Answer, Malformed, Unsigned, digest_of, parse_answer, up_topic
from transport.mqtt import NO_SUBSCRIBER, Connection
from transport.session import ORDERS, HasSize, Session
from transport.spooled import ANY_SIZE, Entry, Gap, Waiting
from transport.tariff import Tariff, loss_ratio

GUARD_STEP_S = 0.02
"""While more is to be handed to the kernel, the wire's count is looked at this often."""

WAIT_STEP_S = 0.1
"""The same, while all is handed over, and only repetitions can be added."""

READ_PAUSE_S = 60.0
"""A chunk that the disk would not read is tried again after so long."""

REFUSED_PAUSE_S = 1.0
"""While others are on their way, a chunk that the budget refused is tried again at most this often."""


@dataclass(frozen=True, slots=True)
class Permit:
    """What may be sent now. link: the link's class, OFFLINE = nothing. Only chunks worth min_value, and up to max_bytes."""

    link: Link
    min_value: int = 0
    max_bytes: int = ANY_SIZE


@dataclass(slots=True)
class Totals:
    """What was sent since the start. unheard: the broker said that no collector listens. freed: ids that the collector
    has acknowledged, until somebody takes them. adopted: what an earlier process may have sent is in doubt since."""

    sent_chunks: int = 0
    archived_chunks: int = 0
    archived_bytes: int = 0
    refused_chunks: int = 0
    malformed_answers: int = 0
    forged_answers: int = 0
    wire_bytes: int = 0
    loss_ratio: float = 0.0
    unheard: bool = False
    freed: list[ChunkId] = field(default_factory=list)
    adopted: bool = False


@dataclass(frozen=True, slots=True)
class Parts:
    """What an exchange works with; the publisher keeps it across connections.

    Attributes:
        permit: asked before each step. changed: set when something may have become possible. disk: runs blocking work.
        report: tells the progress. lose: tells what will never arrive. refused: tells that the budget does not admit a chunk,
        and the size of the largest that it would. stay_s: how long to stay with nothing to do, given the seconds until the
        next sending (None = unknown). answer_keys: see transport.messages.parse_answer.
    """

    spool: Waiting
    session: Session
    totals: Totals
    doubts: Doubts
    permit: Callable[[], Permit]
    changed: asyncio.Event
    disk: Disk
    report: Callable[[str, float | None], Awaitable[None]]
    lose: Callable[[list[Gap]], Awaitable[None]]
    refused: Callable[[QuotaExceeded, HasSize, int], None]
    stay_s: Callable[[float | None], float]
    answer_keys: tuple[DeviceVerifyKey, ...] = ()


class Exchange:
    """See the module."""

    def __init__(self, parts: Parts, connection: Connection, account: Account) -> None:
        self._parts = parts
        self._connection = connection
        self._account = account
        self._topic = up_topic(parts.session.device)
        self._moved = asyncio.Event()  # a chunk began to be sent, or was sent
        self._counts = connection.tcp_info() is not None
        self._value = EVENTS_VALUE  # of what was begun last

    async def run(self) -> None:
        """Work until there is nothing left to send and to wait for.

        Raises:
            ExceptionGroup: of TransportErrors.
        """
        if not self._parts.totals.adopted:
            await self._adopt()
        async with asyncio.TaskGroup() as tasks:
            helpers = [
                tasks.create_task(self._listen(), name="listen"),
                tasks.create_task(self._watch_the_count(), name="watch the count"),
            ]
            await self._send(tasks)
            for helper in helpers:
                helper.cancel()

    async def _send(self, tasks: asyncio.TaskGroup) -> None:
        parts = self._parts
        idle_since: float | None = None
        while self._connection.alive and not parts.totals.unheard:
            parts.changed.clear()
            permit = parts.permit()
            if permit.link is Link.OFFLINE:
                if self._account.meter.sending:
                    self._connection.abort("nothing may be sent any more")
                return
            wall_ns, now_ns = time.time_ns(), time.monotonic_ns()
            answer_ns = parts.doubts.waits_until_ns(now_ns)
            if answer_ns is not None:
                await self._wait("sending", (answer_ns - now_ns) / 1e9)
                continue
            question = parts.doubts.question(parts.session.overdue(now_ns))
            if question is not None and len(question.payload) <= permit.max_bytes:
                if not await self._ask(question, permit, tasks):
                    return
                continue
            chosen = await self._choose(permit, wall_ns, now_ns)
            if chosen is not None:
                idle_since = None
                if await self._start(chosen, permit, tasks):
                    continue
                await self._wait("sending", REFUSED_PAUSE_S)
                continue
            next_s = await self._next_s(wall_ns, now_ns)
            if parts.session.expecting(now_ns):
                await self._wait("sending", next_s)
                continue
            idle_since = idle_since or time.monotonic()
            stay_s = parts.stay_s(next_s) - (time.monotonic() - idle_since)
            if stay_s <= 0:
                return
            await self._wait("idle", stay_s if next_s is None else min(stay_s, next_s))
        if parts.totals.unheard and self._account.meter.sending:
            self._connection.abort("no collector listens at the broker")  # what is still to be sent would be in vain

    async def _choose(self, permit: Permit, wall_ns: int, now_ns: int) -> HasSize | None:
        parts = self._parts
        known = parts.session.known

        def look() -> list[Entry]:
            return parts.spool.ready(
                wall_ns, min_value=permit.min_value, max_bytes=permit.max_bytes, skip=known, most=1
            )

        return parts.session.choose(
            now_ns, await parts.disk(look), min_value=permit.min_value, max_bytes=permit.max_bytes
        )

    async def _next_s(self, wall_ns: int, now_ns: int) -> float | None:
        """Return in how long something will be due, or None."""
        ready_ns = await self._parts.disk(lambda: self._parts.spool.next_ready_wall_ns(wall_ns))
        due_ns = self._parts.session.next_due_ns(now_ns)
        waits = [(moment - now) / 1e9 for moment, now in ((due_ns, now_ns), (ready_ns, wall_ns)) if moment is not None]
        return max(0.0, min(waits)) if waits else None

    async def _wait(self, state: str, seconds: float | None) -> None:
        await self._parts.report(state, seconds)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._parts.changed.wait()

    async def _start(self, chosen: HasSize, permit: Permit, tasks: asyncio.TaskGroup) -> bool:
        """Begin to send a chunk; False: the budget does not admit it while others are being sent, and may afterwards."""
        parts, chunk_id = self._parts, chosen.chunk_id
        try:
            chunk = await parts.disk(lambda: parts.spool.read(chunk_id))
        except StorageFailed:
            parts.session.postpone(chosen, time.monotonic_ns(), READ_PAUSE_S)
            return True
        if chunk is None:
            parts.session.forget(chunk_id)
            await parts.lose([])
            return True
        cost = self._tariff().chunk(len(chunk))
        try:
            if self._counts:
                await self._account.admit(cost, link=permit.link, value=chosen.value)
            else:
                await self._account.reserve(cost, link=permit.link, value=chosen.value)
        except QuotaExceeded as error:
            if self._account.meter.sending:
                return False
            parts.refused(error, chosen, self._tariff().largest(self._account.room(error.left_bytes)))
            return True
        self._account.meter.start(chunk_id, cost)
        self._account.note_kind(chosen.value, len(chunk))
        self._value = chosen.value
        self._moved.set()
        parts.doubts.sent(chunk_id)
        parts.session.start(chosen, digest_of(chunk), time.monotonic_ns())
        parts.totals.sent_chunks += 1
        tasks.create_task(self._publish(chosen, chunk), name=f"publish {chunk_id}")
        return True

    async def _adopt(self) -> None:
        """Before the first sending of this process, doubt what an earlier one may have sent.

        That was most urgent then; since then, something more urgent may have come. So it is more than a window.
        """
        parts = self._parts
        limits, total, now_ns = parts.session.limits, 0, time.monotonic_ns()
        entries = await parts.disk(lambda: parts.spool.ready(time.time_ns(), most=MAX_ASKED))
        for entry in entries:
            total += entry.size_bytes
            if total > limits.window_bytes or entry.chunk_id in parts.session.known or entry.chunk_id.epoch == ORDERS:
                continue
            with contextlib.suppress(StorageFailed):
                chunk = await parts.disk(lambda chunk_id=entry.chunk_id: parts.spool.read(chunk_id))  # type: ignore[misc]
                if chunk is None:
                    await parts.lose([])
                else:
                    parts.session.adopt(entry, digest_of(chunk), now_ns)
        parts.totals.adopted = True

    async def _ask(self, question: Question, permit: Permit, tasks: asyncio.TaskGroup) -> bool:
        """Ask the collector what it has; False: the budget does not admit the question."""
        parts, now_ns = self._parts, time.monotonic_ns()
        until_ns = parts.session.ask(question.asked, now_ns, parts.doubts.unanswered + 1)
        cost = self._tariff().chunk(len(question.payload))
        try:
            await (self._account.admit if self._counts else self._account.reserve)(
                cost, link=permit.link, value=EVENTS_VALUE
            )
        except QuotaExceeded:
            return False
        self._account.meter.start(question, cost)
        self._moved.set()
        parts.doubts.ask(question, until_ns)
        tasks.create_task(self._publish_question(question), name="ask")
        return True

    async def _publish_question(self, question: Question) -> None:
        try:
            if await self._connection.publish(self._topic, question.payload) == NO_SUBSCRIBER:
                self._parts.totals.unheard = True
                self._parts.doubts.unheard()
                for chunk_id in question.asked:  # nobody was asked, so that nobody's silence is to be waited out
                    self._parts.session.unheard(chunk_id, time.monotonic_ns(), 0.0)
        finally:
            self._look()
            self._account.meter.done(question)
            self._moved.set()
            self._parts.changed.set()

    async def _publish(self, chosen: HasSize, chunk: bytes) -> None:
        """Publish one chunk and note what became of it; what ends the connection ends the exchange."""
        parts, chunk_id = self._parts, chosen.chunk_id
        try:
            code = await self._connection.publish(self._topic, chunk)
            now_ns = time.monotonic_ns()
            if code == NO_SUBSCRIBER:
                parts.totals.unheard = True
                parts.session.unheard(chunk_id, now_ns, 0.0)  # a question will find out when somebody does
            else:
                parts.session.published(chunk_id, now_ns)
        except TooLarge as error:
            parts.session.forget(chunk_id)
            why = str(error)
            await parts.lose(await parts.disk(lambda: parts.spool.refuse([chunk_id], why)))
        except BaseException:
            parts.session.failed(chunk_id, time.monotonic_ns())
            raise
        finally:
            self._look()
            self._account.meter.done(chunk_id)
            self._moved.set()
            parts.changed.set()
        await self._account.settle()

    async def _listen(self) -> None:
        """Take the collector's answers, each wholly: what the session has settled the spool frees, though the exchange ends."""
        parts = self._parts
        async for message in self._connection.messages():
            try:
                answer = parse_answer(message.payload, parts.session.device, parts.answer_keys)
            except Unsigned:
                parts.totals.forged_answers += 1
                continue
            except Malformed:
                parts.totals.malformed_answers += 1
                continue
            taking = asyncio.create_task(self._take(answer), name="take an answer")
            try:
                await asyncio.shield(taking)
            except asyncio.CancelledError:
                await taking
                raise
            parts.changed.set()

    async def _take(self, answer: Answer) -> None:
        parts, now_ns = self._parts, time.monotonic_ns()
        verdicts = parts.session.answered(answer, now_ns)
        parts.session.missing(parts.doubts.answered(answer.done, [nack.digest for nack in answer.nacks]), now_ns)
        parts.doubts.clear(verdicts.put_off)
        archived = list(verdicts.archived)
        archived += [chunk_id for chunk_id, digest in verdicts.unknown if await self._is_ours(chunk_id, digest)]
        freed = await parts.disk(lambda: parts.spool.ack(archived))
        parts.totals.archived_chunks += len(freed)
        parts.totals.freed += [entry.chunk_id for entry in freed]
        parts.totals.archived_bytes += sum(entry.size_bytes for entry in freed)
        for chunk_id, why in verdicts.refused:
            gaps = await parts.disk(lambda c=chunk_id, w=why: parts.spool.refuse([c], w))  # type: ignore[misc]
            parts.totals.refused_chunks += len(gaps)
            await parts.lose(gaps)

    async def _is_ours(self, chunk_id: ChunkId, digest: bytes) -> bool:
        """Tell whether a chunk of the spool (sent before a restart) has this digest."""
        try:
            chunk = await self._parts.disk(lambda: self._parts.spool.read(chunk_id))
        except StorageFailed:
            return False
        return chunk is not None and digest_of(chunk) == digest

    def _tariff(self) -> Tariff:
        loss = loss_ratio(self._connection.tcp_info(), self._parts.totals.loss_ratio)
        return Tariff(len(self._topic), self._connection.path, self._connection.mqtt5, loss)

    async def _watch_the_count(self) -> None:
        """While something is being sent, keep the leases ahead of it, and hand over what they cover; or cut.

        What TCP sends again is told by no event, so the count is looked at again and again; but once everything is sent
        and acknowledged, it cannot rise until the next chunk, however long the broker takes to answer.
        """
        if not self._counts:
            return  # the system does not count: bounds have to do, and are charged in full
        self._connection.hold()
        meter = self._account.meter
        while True:
            self._look()
            pause_s = GUARD_STEP_S if self._connection.held else WAIT_STEP_S
            if meter.sending and (self._connection.held or meter.free < 0):
                try:
                    await self._account.extend(link=self._parts.permit().link, value=self._value)
                except QuotaExceeded as error:
                    if not error.soon or meter.free < 0:
                        self._connection.abort("the reserved bytes are used up")
                        return
                    pause_s = max(pause_s, min(1.0, (error.retry_wall_ns - time.time_ns()) / 1e9))
                self._look()
                self._connection.hand_over(self._tariff().affordable(meter.free))
            self._moved.clear()
            calm = not meter.sending or self._connection.at_rest(meter.sending)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if calm else pause_s):
                    await self._moved.wait()

    def _look(self) -> None:
        """Tell the meter what the kernel counts now."""
        info = self._connection.tcp_info()
        if info is not None:
            self._account.meter.observe(self._connection.wire_bytes() or 0, self._tariff().exposure(info))
