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
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

from codec import errors as codec_errors
from codec.chunk import MAX_CHUNK_BYTES, parse_header
from codec.model import ChunkId
from transport.archive import Store
from transport.endpoint import Broker, Message
from transport.errors import Refused, StorageFailed, Unavailable
from transport.messages import (
    DIGEST_BYTES,
    Answer,
    Nack,
    NackCode,
    ack_topic,
    device_of,
    digest_of,
    pack_answer,
    up_filter,
)
from transport.mqtt import Connection, Dialer
from transport.session import backoff_s

BATCH_MESSAGES = 32
BATCH_BYTES = 16 << 20
"""What is archived in one step: its folder syncs are shared."""

DEVICES_WAITING = 4096
"""Devices whose answer waits for its batch; over it, all answers go at once."""


class HasId(Protocol):
    """What a parsed header has to say."""

    @property
    def chunk_id(self) -> ChunkId: ...


@dataclass(frozen=True, slots=True)
class CollectorSettings:
    """How a collector works.

    Attributes:
        broker: where. group: of collectors that share the work.
        answer_delay_s: answers to a device are gathered so long. answer_most: or until so many.
        later_s: what a device is asked to wait when the archive cannot take a chunk.
        max_chunk_bytes: larger ones are refused.
        reconnect_base_s, reconnect_cap_s: back-off between connections.
    """

    broker: Broker
    group: str = "modicum"
    answer_delay_s: float = 0.5
    answer_most: int = 8
    later_s: int = 60
    max_chunk_bytes: int = MAX_CHUNK_BYTES
    reconnect_base_s: float = 0.5
    reconnect_cap_s: float = 30.0


@dataclass(frozen=True, slots=True)
class CollectorEvent:
    """Something that an observer may show. kind: "connected", "disconnected", "archived", "duplicate", "refused", "failed".

    chunk_id: whose (None where it has none). device: by the topic. size_bytes: of the payload. text: in words.
    """

    kind: str
    text: str = ""
    chunk_id: ChunkId | None = None
    device: str = ""
    size_bytes: int = 0


@dataclass(slots=True)
class _Waiting:
    """What a device is to be told."""

    acks: dict[int, list[tuple[int, bytes]]] = field(default_factory=dict)  # by epoch
    nacks: list[Nack] = field(default_factory=list)
    count: int = 0


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of one message."""

    message: Message
    device: str
    event: CollectorEvent
    ack: tuple[ChunkId, bytes] | None = None
    nack: Nack | None = None


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
        check: Callable[[str, bytes], NackCode | None] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """Prepare a collector.

        Args:
            settings: how. archive: where to. on_event: told what happens, in the event loop.
            parse: checks a chunk's wholeness and returns its header; raises CodecError.
            check: given the device and the chunk, says why it is refused (signature, erased), or None. Runs in a thread.
            rng: draws the back-off.
        """
        self.settings = settings
        self.archive = archive
        self.on_event = on_event
        self.counters: dict[str, int] = {}
        self._parse = parse
        self._check = check
        self._rng = rng or random.SystemRandom()
        self._dialer = Dialer(settings.broker)
        self._waiting: dict[str, _Waiting] = {}
        self._something_waits = asyncio.Event()
        self._enough_waits = asyncio.Event()

    async def run(self) -> None:
        """Collect until cancelled, connecting again whenever the connection ends.

        Raises:
            Refused: the broker will not have us; the configuration has to be mended.
        """
        attempt = 0
        with ThreadPoolExecutor(1, thread_name_prefix="archive") as executor:
            while True:
                started = time.monotonic()
                try:
                    async with self._dialer.connect(manual_ack=True) as connection:
                        await self._serve(connection, executor)
                except* Unavailable as group:
                    self._tell(CollectorEvent("disconnected", str(group.exceptions[0])))
                attempt = 0 if time.monotonic() - started > self.settings.reconnect_cap_s else attempt + 1
                await asyncio.sleep(
                    backoff_s(
                        attempt,
                        base_s=self.settings.reconnect_base_s,
                        cap_s=self.settings.reconnect_cap_s,
                        rng=self._rng,
                    )
                )

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
            outcomes = await loop.run_in_executor(executor, self._process, batch)
            for outcome in outcomes:
                connection.acknowledge(outcome.message)
                self._note(outcome)
            batch, size = [], 0

    def _process(self, batch: list[Message]) -> list[_Outcome]:
        """Verify and archive a batch. Runs in the archive's thread."""
        outcomes: list[_Outcome] = []
        sound: list[tuple[Message, str, ChunkId]] = []
        for message in batch:
            device = device_of(message.topic) or ""
            refusal, chunk_id, why = self._judge(message, device)
            if refusal is None and chunk_id is not None:
                sound.append((message, device, chunk_id))
            else:
                outcomes.append(self._refuse(message, device, refusal or NackCode.MALFORMED, why, chunk_id))
        try:
            stored = self.archive.put([(chunk_id, message.payload) for message, _, chunk_id in sound])
        except StorageFailed as error:
            outcomes += [self._put_off(message, device, chunk_id, error) for message, device, chunk_id in sound]
            return outcomes
        for (message, device, chunk_id), result in zip(sound, stored, strict=True):
            digest = result.sha256[:DIGEST_BYTES]
            if digest != digest_of(message.payload):
                why = "the archive holds something else under this id"
                outcomes.append(self._refuse(message, device, NackCode.CONFLICT, why, chunk_id))
                continue
            event = CollectorEvent(
                "archived" if result.new else "duplicate", "", chunk_id, device, len(message.payload)
            )
            outcomes.append(_Outcome(message, device, event, ack=(chunk_id, digest)))
        return outcomes

    def _judge(self, message: Message, device: str) -> tuple[NackCode | None, ChunkId | None, str]:
        """Say whether a message is a chunk that belongs into the archive, and if not, why."""
        if not device:
            return NackCode.WRONG_DEVICE, None, f"the topic {message.topic!r} is no device's"
        if len(message.payload) > self.settings.max_chunk_bytes:
            return NackCode.TOO_LARGE, None, f"{len(message.payload):,} bytes are over the limit for chunks"
        try:
            chunk_id = self._parse(message.payload).chunk_id
        except codec_errors.TooLarge as error:
            return NackCode.TOO_LARGE, None, str(error)
        except codec_errors.CodecError as error:
            return NackCode.MALFORMED, None, str(error)
        if chunk_id.device != device:
            return NackCode.WRONG_DEVICE, chunk_id, f"a chunk of {chunk_id.device} came on the topic of {device}"
        refusal = self._check(device, message.payload) if self._check is not None else None
        return refusal, chunk_id, "" if refusal is None else refusal.name.lower().replace("_", " ")

    def _refuse(self, message: Message, device: str, code: NackCode, why: str, chunk_id: ChunkId | None) -> _Outcome:
        if code not in (NackCode.ERASED, NackCode.LATER):
            kept = self.archive.quarantine(code.name.lower(), message.payload)
            self._count("quarantined" if kept else "quarantine-full")
        event = CollectorEvent("refused", why, chunk_id, device, len(message.payload))
        return _Outcome(message, device, event, nack=Nack(digest_of(message.payload), code))

    def _put_off(self, message: Message, device: str, chunk_id: ChunkId, error: StorageFailed) -> _Outcome:
        event = CollectorEvent("failed", str(error), chunk_id, device, len(message.payload))
        nack = Nack(digest_of(message.payload), NackCode.LATER, self.settings.later_s)
        return _Outcome(message, device, event, nack=nack)

    def _note(self, outcome: _Outcome) -> None:
        """Keep what the device is to be told."""
        self._tell(outcome.event)
        if not outcome.device:
            return
        waiting = self._waiting.setdefault(outcome.device, _Waiting())
        if outcome.ack is not None:
            chunk_id, digest = outcome.ack
            waiting.acks.setdefault(chunk_id.epoch, []).append((chunk_id.seq, digest))
        if outcome.nack is not None:
            waiting.nacks.append(outcome.nack)
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
                    await connection.publish(ack_topic(device), pack_answer(answer), qos=0)
                    self._count("answers")

    def _tell(self, event: CollectorEvent) -> None:
        self._count(event.kind)
        self.on_event(event)

    def _count(self, name: str) -> None:
        self.counters[name] = self.counters.get(name, 0) + 1


def _answers_of(waiting: _Waiting) -> list[Answer]:
    """Return one answer per epoch; the refusals go with the first."""
    nacks = tuple(waiting.nacks)
    if not waiting.acks:
        return [Answer(0, (), nacks)]
    answers = [Answer(epoch, tuple(acks)) for epoch, acks in waiting.acks.items()]
    return [Answer(answers[0].epoch, answers[0].acks, nacks), *answers[1:]]
