"""Shell: the collector: takes chunks from the broker, archives them, and only then answers the device.

For every message: verify → archive, synced → MQTT acknowledgement to the broker, and (batched per device) the answer to the
device, which frees its spool by it. A crash between any two steps makes the broker or the device send again, and the archive
discards the copy: nothing is lost, nothing is twice. No state between messages, so any number of collectors may run beside
each other: on MQTT 5 they share the work (`$share`, session expiry 0: what a dead one had taken goes to the others).

Answers are sent with QoS 0: one that gets lost costs a repetition. The broker's acknowledgement does not wait for the answer's
batch, since its flow control (Receive Maximum) would slow the intake down to one window per batch.

Hostile or broken messages are refused by name (transport/messages.py, NackCode), kept in the archive's quarantine within
limits, and acknowledged, so that they do not come again. Memory is bounded: the connection stops reading when its queue is
full. What this does not protect from: a device that fills the archive with well-formed chunks; see the broker's ACL.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from codec.chunk import MAX_CHUNK_BYTES, parse_header
from codec.seal import DeviceSigningKey
from transport import asking
from transport.archive import Store
from transport.cancelling import heed_cancellation
from transport.endpoint import Broker, Message
from transport.errors import Refused, Unavailable
from transport.intake import Check, CollectorEvent, Handler, HasId, Intake, Outcome
from transport.messages import Answer, Nack, ack_topic, pack_answer, sign_answer, up_filter
from transport.mqtt import Connection, Dialer
from transport.session import backoff_s

__all__ = ["Collector", "CollectorEvent", "CollectorSettings"]

BATCH_MESSAGES = 64
BATCH_BYTES = 16 << 20
"""What is archived in one step: its folder syncs are shared."""

WINDOW_MESSAGES = 2 * BATCH_MESSAGES
"""Unacknowledged messages that the broker may send: one batch arrives while the one before is stored."""

DEVICES_WAITING = 4096
"""Devices whose answer waits for its batch; over it, all answers go at once."""


@dataclass(frozen=True, slots=True)
class CollectorSettings:
    """How a collector works.

    Attributes:
        broker: where. group: of collectors that share the work.
        answer_delay_s: answers to a device are gathered so long. answer_most: or until so many.
        later_s: what a device is asked to wait when the archive cannot take a chunk.
        unknown_s: the same, when it or its key is not enrolled, or revoked.
        hold_s: how long chunks wait for room on a full disk before they are sent back; less than devices are patient.
        max_chunk_bytes: larger ones are refused.
        answer_key: signs the answers; None: they are not signed.
        reconnect_base_s, reconnect_cap_s: back-off between connections.
    """

    broker: Broker
    group: str = "modicum"
    answer_delay_s: float = 0.5
    answer_most: int = 8
    later_s: int = 60
    unknown_s: int = 3600
    hold_s: float = 5.0
    max_chunk_bytes: int = MAX_CHUNK_BYTES
    answer_key: DeviceSigningKey | None = None
    reconnect_base_s: float = 0.5
    reconnect_cap_s: float = 30.0


@dataclass(slots=True)
class _Waiting:
    """What a device is to be told."""

    acks: dict[int, list[tuple[int, bytes]]] = field(default_factory=dict)  # by epoch
    nacks: list[Nack] = field(default_factory=list)
    done: list[bytes] = field(default_factory=list)
    count: int = 0


def _ignore(event: CollectorEvent) -> None:
    """Be the observer that looks away."""


class Collector:
    """See the module. `run` works until it is cancelled."""

    def __init__(
        self,
        settings: CollectorSettings,
        archive: Store,
        on_event: Callable[[CollectorEvent], None] = _ignore,
        *,
        parse: Callable[[bytes], HasId] = parse_header,
        check: Check | None = None,
        handlers: Mapping[bytes, Handler] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """Prepare a collector.

        Args:
            settings: how. archive: where to. on_event: told what happens, in the event loop.
            parse: checks a chunk's wholeness and returns its header; raises CodecError.
            check: says why a chunk is refused (signature, erased), or None: see transport/intake.py.
            handlers: of payloads that are no chunks, by their first four bytes: see there.
            rng: draws the back-off.
        """
        self.settings = settings
        self.archive = archive
        self.on_event = on_event
        self.on_batch: Callable[[int, float], None] = lambda messages, seconds: None
        """Told after every batch: how many messages, and how long from taking it up to having it stored."""
        self.intake = Intake(
            archive,
            parse,
            check,
            {asking.MAGIC: asking.handler(archive.get), **(handlers or {})},
            max_chunk_bytes=settings.max_chunk_bytes,
            later_s=settings.later_s,
            unknown_s=settings.unknown_s,
            hold_s=settings.hold_s,
        )
        self._rng = rng or random.SystemRandom()
        self._dialer = Dialer(replace(settings.broker, receive_maximum=WINDOW_MESSAGES))
        self._connection: Connection | None = None
        self._waiting: dict[str, _Waiting] = {}
        self._something_waits = asyncio.Event()
        self._enough_waits = asyncio.Event()

    @property
    def counters(self) -> dict[str, int]:
        """How often what happened since the start."""
        return self.intake.counters

    @property
    def queued(self) -> int:
        """How many messages wait in memory."""
        return self._connection.waiting() if self._connection is not None else 0

    async def run(self) -> None:
        """Collect until cancelled, connecting again whenever the connection ends.

        Raises:
            Refused: the broker will not have us; the configuration has to be mended.
        """
        attempt = 0
        with contextlib.ExitStack() as stack:
            executor = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="archive"))
            stack.callback(self.intake.closing.set)
            while True:
                started = time.monotonic()
                try:
                    # In a task of its own: transport/cancelling.py says why.
                    await asyncio.create_task(self._connect_and_serve(executor), name="connection")
                except* Unavailable as group:
                    self._tell(CollectorEvent("disconnected", str(group.exceptions[0])))
                heed_cancellation()
                attempt = 0 if time.monotonic() - started > self.settings.reconnect_cap_s else attempt + 1
                await asyncio.sleep(
                    backoff_s(
                        attempt,
                        base_s=self.settings.reconnect_base_s,
                        cap_s=self.settings.reconnect_cap_s,
                        rng=self._rng,
                    )
                )

    async def _connect_and_serve(self, executor: ThreadPoolExecutor) -> None:
        async with self._dialer.connect(manual_ack=True) as connection:
            self._connection = connection
            await self._serve(connection, executor)

    async def _serve(self, connection: Connection, executor: ThreadPoolExecutor) -> None:
        group = self.settings.group if connection.mqtt5 else None
        try:
            await connection.subscribe(up_filter(group=group), qos=1)
        except Refused:
            if group is None:
                raise
            await connection.subscribe(up_filter(group=None), qos=1)  # a broker without shared subscriptions
        self._tell(CollectorEvent("connected", f"MQTT {'5' if connection.mqtt5 else '3.1.1'}"))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._answers(connection), name="answers")
            tasks.create_task(self._intake(connection, executor), name="intake")

    async def _intake(self, connection: Connection, executor: ThreadPoolExecutor) -> None:
        batch: list[Message] = []
        size = 0
        loop = asyncio.get_running_loop()
        async for message in connection.messages():
            batch.append(message)
            size += len(message.payload)
            if connection.waiting() and len(batch) < BATCH_MESSAGES and size < BATCH_BYTES:
                continue
            started_s = time.monotonic()
            outcomes = await loop.run_in_executor(executor, self.intake.process, batch)
            self.on_batch(len(batch), time.monotonic() - started_s)
            for outcome in outcomes:
                connection.acknowledge(outcome.message)
                self._note(outcome)
            batch, size = [], 0

    def _note(self, outcome: Outcome) -> None:
        """Keep what the device is to be told."""
        self._tell(outcome.event)
        if not outcome.device:
            return
        waiting = self._waiting.setdefault(outcome.device, _Waiting())
        for chunk_id, digest in outcome.acks:
            waiting.acks.setdefault(chunk_id.epoch, []).append((chunk_id.seq, digest))
        if outcome.nack is not None:
            waiting.nacks.append(outcome.nack)
        if outcome.done is not None:
            waiting.done.append(outcome.done)
        waiting.count += 1
        self._something_waits.set()
        if waiting.count >= self.settings.answer_most or len(self._waiting) >= DEVICES_WAITING:
            self._enough_waits.set()

    async def _answers(self, connection: Connection) -> None:
        """Answer the devices, gathering for a moment."""
        while True:
            await self._something_waits.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.settings.answer_delay_s):
                    await self._enough_waits.wait()
            answers, self._waiting = self._waiting, {}
            self._something_waits.clear()
            self._enough_waits.clear()
            for device, waiting in answers.items():
                for answer in _answers_of(waiting):
                    payload = pack_answer(answer)
                    if self.settings.answer_key is not None:
                        payload = sign_answer(payload, device, self.settings.answer_key)
                    await connection.publish(ack_topic(device), payload, qos=0)
                    self.intake.count("answers")

    def _tell(self, event: CollectorEvent) -> None:
        self.intake.count(event.kind)
        self.on_event(event)


def _answers_of(waiting: _Waiting) -> list[Answer]:
    """Return one answer per epoch; the refusals and what else was done go with the first."""
    answers = [Answer(epoch, tuple(acks)) for epoch, acks in waiting.acks.items()] or [Answer(0)]
    return [replace(answers[0], nacks=tuple(waiting.nacks), done=tuple(waiting.done)), *answers[1:]]
