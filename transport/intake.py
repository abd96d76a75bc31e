"""Shell: what becomes of the messages that a collector takes: judged one by one, archived in batches, refused by name.

A payload's first four bytes say what it is. A chunk is checked (whole, of the topic's device, signed by a key of it) and then
archived; other kinds have a handler each (`Handler`), and what nobody handles is malformed. Guarantees: nothing is archived or
carried out that was not judged; messages take effect in their order, so that what erases a chunk finds it archived; no payload,
however poisonous, ends the collector: what a judge or a handler stumbles over is answered "later", counted and told.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from codec import errors as codec_errors
from codec.chunk import MAX_CHUNK_BYTES
from codec.model import ChunkId
from transport.errors import StorageFailed
from transport.messages import DIGEST_BYTES, GONE, KEPT, Nack, NackCode, device_of, digest_of

if TYPE_CHECKING:
    from transport.archive import Store, Stored
    from transport.endpoint import Message

MAGIC_BYTES = 4

HOLD_STEP_S = 0.1
"""While the archive has no room, it is tried again this often."""


class HasId(Protocol):
    """What a parsed header has to say."""

    @property
    def chunk_id(self) -> ChunkId: ...


@dataclass(frozen=True, slots=True)
class CollectorEvent:
    """Something that an observer may show.

    Attributes:
        kind: "connected", "disconnected", "archived", "duplicate", "refused", "failed", or what a handler says ("erased").
        text: in words. chunk_id: whose (None where it has none). device: by the topic. size_bytes: of the payload.
        code: why it was refused.
    """

    kind: str
    text: str = ""
    chunk_id: ChunkId | None = None
    device: str = ""
    size_bytes: int = 0
    code: NackCode | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What a handler did. kind, text: for the log. code: why it refused (None: done). retry_s: for LATER and its like.

    archived: chunks that the device is told are in the archive, with their digests.
    """

    kind: str
    text: str = ""
    code: NackCode | None = None
    retry_s: int = 0
    archived: tuple[tuple[ChunkId, bytes], ...] = ()


Handler = Callable[[str, bytes], Reply]
"""Carries out a payload that is no chunk. Given the topic's device and the payload, whose signature it checks itself; runs
in the archive's thread, after all that came before is archived. May raise CodecError (malformed) and StorageFailed (later)."""

Check = Callable[[str, bytes], NackCode | None]
"""Given the device and the chunk, says why it is refused (signature, erased), or None. Runs in the archive's thread."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one message. acks, nack, done: what the device is told of it."""

    message: Message
    device: str
    event: CollectorEvent
    acks: tuple[tuple[ChunkId, bytes], ...] = ()
    nack: Nack | None = None
    done: bytes | None = None


@dataclass(slots=True)
class Intake:
    """See the module.

    Attributes:
        archive: where to. parse: checks a chunk's wholeness and returns its header; raises CodecError. check: see Check.
        handlers: of other kinds of payloads, by their first four bytes. max_chunk_bytes: larger ones are refused.
        later_s: what a device is asked to wait when the archive cannot take something.
        unknown_s: the same, when it or its key is not known.
        hold_s: when the archive's disk becomes full, chunks are kept so long before they are sent back: somebody has paid
            for their way. Once that was in vain, they are sent back at once until it has room again.
        counters: how often what happened. closing: set to end a hold.
    """

    archive: Store
    parse: Callable[[bytes], HasId]
    check: Check | None = None
    handlers: Mapping[bytes, Handler] = field(default_factory=dict)
    max_chunk_bytes: int = MAX_CHUNK_BYTES
    later_s: int = 60
    unknown_s: int = 3600
    hold_s: float = 0.0
    counters: dict[str, int] = field(default_factory=dict)
    closing: threading.Event = field(default_factory=threading.Event)
    _full: bool = False

    def process(self, batch: Sequence[Message]) -> list[Outcome]:
        """Take a batch in; on return, what was archived is durable. Blocks."""
        outcomes: list[Outcome] = []
        sound: list[tuple[Message, str, ChunkId]] = []
        for message in batch:
            device = device_of(message.topic) or ""
            handler = self.handlers.get(message.payload[:MAGIC_BYTES]) if device else None
            if handler is not None and len(message.payload) <= self.max_chunk_bytes:
                outcomes += self._archive(sound)
                sound = []
                outcomes.append(self._carry_out(handler, message, device))
                continue
            judged = self._judge(message, device)
            if isinstance(judged, ChunkId):
                sound.append((message, device, judged))
            else:
                outcomes.append(judged)
        return outcomes + self._archive(sound)

    def count(self, name: str) -> None:
        """Count something that happened."""
        self.counters[name] = self.counters.get(name, 0) + 1

    def _judge(self, message: Message, device: str) -> ChunkId | Outcome:
        """Return a chunk's id when it belongs into the archive, else why it does not."""
        chunk_id: ChunkId | None = None

        def refused(code: NackCode, why: str) -> Outcome:
            return self._refuse(message, device, code, why, chunk_id)

        if not device:
            return refused(NackCode.WRONG_DEVICE, f"the topic {message.topic!r} is no device's")
        if len(message.payload) > self.max_chunk_bytes:
            return refused(NackCode.TOO_LARGE, f"{len(message.payload):,} bytes are over the limit for chunks")
        try:
            chunk_id = self.parse(message.payload).chunk_id
            if chunk_id.device != device:
                why = f"a chunk of {chunk_id.device} came on the topic of {device}"
                return refused(NackCode.WRONG_DEVICE, why)
            code = self.check(device, message.payload) if self.check is not None else None
        except codec_errors.TooLarge as error:
            return refused(NackCode.TOO_LARGE, str(error))
        except codec_errors.CodecError as error:
            return refused(NackCode.MALFORMED, str(error))
        except Exception as error:  # a defect of ours, or the registry's disk: neither may end the collector
            return self._put_off(message, device, chunk_id, error)
        return chunk_id if code is None else refused(code, code.name.lower().replace("_", " "))

    def _archive(self, sound: Sequence[tuple[Message, str, ChunkId]]) -> list[Outcome]:
        if not sound:
            return []
        try:
            stored = self._put([(chunk_id, message.payload) for message, _, chunk_id in sound])
        except StorageFailed as error:
            return [self._put_off(message, device, chunk_id, error) for message, device, chunk_id in sound]
        outcomes: list[Outcome] = []
        for (message, device, chunk_id), result in zip(sound, stored, strict=True):
            if result.refused is not None:
                why = result.refused.name.lower()
                outcomes.append(self._refuse(message, device, result.refused, why, chunk_id))
                continue
            digest = result.sha256[:DIGEST_BYTES]
            if not result.new and digest != digest_of(message.payload):
                why = "the archive holds something else under this id"
                outcomes.append(self._refuse(message, device, NackCode.CONFLICT, why, chunk_id))
                continue
            kind = "archived" if result.new else "duplicate"
            event = CollectorEvent(kind, "", chunk_id, device, len(message.payload))
            outcomes.append(Outcome(message, device, event, acks=((chunk_id, digest),)))
        return outcomes

    def _put(self, chunks: Sequence[tuple[ChunkId, bytes]]) -> Sequence[Stored]:
        """Store chunks, waiting a little for room.

        Raises:
            StorageFailed: there is none, or the disk fails.
        """
        until_s = time.monotonic() + self.hold_s
        while True:
            try:
                stored = self.archive.put(chunks)
            except StorageFailed as error:
                if not error.disk_full or self._full:
                    raise
                if time.monotonic() >= until_s or self.closing.wait(HOLD_STEP_S):
                    self._full = True
                    raise
                self.count("held")
            else:
                self._full = False
                return stored

    def _carry_out(self, handler: Handler, message: Message, device: str) -> Outcome:
        try:
            reply = handler(device, message.payload)
        except codec_errors.CodecError as error:
            return self._refuse(message, device, NackCode.MALFORMED, str(error), None)
        except Exception as error:  # as in _judge
            return self._put_off(message, device, None, error)
        if reply.code is not None:
            return self._refuse(message, device, reply.code, reply.text, None, retry_s=reply.retry_s)
        event = CollectorEvent(reply.kind, reply.text, None, device, len(message.payload))
        return Outcome(message, device, event, acks=reply.archived, done=digest_of(message.payload))

    def _refuse(
        self,
        message: Message,
        device: str,
        code: NackCode,
        why: str,
        chunk_id: ChunkId | None,
        *,
        retry_s: int = 0,
    ) -> Outcome:
        if code not in KEPT | GONE:  # what is kept on the device need not be kept here as well
            kept = self.archive.quarantine(f"{device}.{code.name.lower()}", message.payload)
            self.count("quarantined" if kept else "quarantine-full")
        self.count(f"refused-{code.name.lower().replace('_', '-')}")
        wait_s = retry_s or {NackCode.LATER: self.later_s}.get(code, self.unknown_s if code in KEPT else 0)
        event = CollectorEvent("refused", why, chunk_id, device, len(message.payload), code)
        return Outcome(message, device, event, nack=Nack(digest_of(message.payload), code, wait_s))

    def _put_off(self, message: Message, device: str, chunk_id: ChunkId | None, error: Exception) -> Outcome:
        self.count("storage-failed" if isinstance(error, StorageFailed) else "stumbled")
        text = str(error) if isinstance(error, StorageFailed) else f"{type(error).__name__}: {error}"
        event = CollectorEvent("failed", text, chunk_id, device, len(message.payload), NackCode.LATER)
        nack = Nack(digest_of(message.payload), NackCode.LATER, self.later_s)
        return Outcome(message, device, event, nack=nack)
