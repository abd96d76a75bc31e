"""Shell: all that a device has to send, as one: the chunks of its spool, and before them the orders of its outbox.

To the session and the publisher an order is a chunk like others: watched, repeated, counted, answered by its digest. It
has an id that no chunk can have (epoch ORDERS), is worth more than any chunk, and is always ready. What becomes of chunks is
noted in the index: SENT, synced, before the first byte leaves.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterable

from codec.model import ChunkId
from transport.chunk_index import ChunkIndex, State
from transport.errors import StorageFailed
from transport.outbox import DONE, Outbox
from transport.session import ORDERS
from transport.spooled import ANY_SIZE, Entry, Gap, SpoolUsage, Waiting

VALUE_ORDER = 255


class Outgoing:
    """See the module. Each method does what the spool's does (transport/spool.py).

    Args:
        device: whose. outbox: the orders. spool: the chunks; None: there are none (any more).
        index: where it is noted what becomes of chunks; None: nowhere.
        on_answer: called in the caller's thread when an order was answered, with its number and what was said.
    """

    def __init__(
        self,
        device: str,
        outbox: Outbox,
        spool: Waiting | None = None,
        index: ChunkIndex | None = None,
        *,
        on_answer: Callable[[int, str], None] = lambda number, text: None,
    ) -> None:
        self.device = device
        self._outbox = outbox
        self._spool = spool
        self._index = index
        self._on_answer = on_answer

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        ends = [self._outbox.subscribe(listener)]
        if self._spool is not None:
            ends.append(self._spool.subscribe(listener))

        def end() -> None:
            for each in ends:
                each()

        return end

    def ready(
        self,
        now_wall_ns: int,
        *,
        min_value: int = 0,
        max_bytes: int = ANY_SIZE,
        skip: Collection[ChunkId] = (),
        most: int = 64,
    ) -> list[Entry]:
        orders = [
            Entry(ChunkId(self.device, ORDERS, number), VALUE_ORDER, 0, size_bytes)
            for number, size_bytes in self._outbox.waiting().items()
        ]
        found = [entry for entry in orders if entry.chunk_id not in skip and entry.size_bytes <= max_bytes][:most]
        if self._spool is not None and len(found) < most:
            found += self._spool.ready(
                now_wall_ns, min_value=min_value, max_bytes=max_bytes, skip=skip, most=most - len(found)
            )
        return found

    def next_ready_wall_ns(self, now_wall_ns: int) -> int | None:
        return None if self._spool is None else self._spool.next_ready_wall_ns(now_wall_ns)

    def read(self, chunk_id: ChunkId) -> bytes | None:
        if chunk_id.epoch == ORDERS:
            return self._outbox.read(chunk_id.seq)
        chunk = None if self._spool is None else self._spool.read(chunk_id)
        if chunk is not None and self._index is not None:
            try:
                self._index.mark([chunk_id], State.SENT, sync=True)
            except OSError as error:  # sent and not noted, it would not be erased where it goes: so it waits
                raise StorageFailed(
                    "it could not be noted that a chunk is sent", str(chunk_id), disk_full=False
                ) from error
        return chunk

    def ack(self, ids: Iterable[ChunkId]) -> list[Entry]:
        orders, chunks = _parted(ids)
        self._answered(orders, DONE)
        if self._spool is None:
            return []
        freed = self._spool.ack(chunks)
        if self._index is not None:
            with contextlib.suppress(OSError):  # it stays SENT, which means the same for erasing
                self._index.mark([entry.chunk_id for entry in freed], State.ARCHIVED)
        return freed

    def refuse(self, ids: Iterable[ChunkId], reason: str) -> list[Gap]:
        orders, chunks = _parted(ids)
        self._answered(orders, f"refused: {reason}")
        return [] if self._spool is None else self._spool.refuse(chunks, reason)

    def _answered(self, orders: Iterable[ChunkId], text: str) -> None:
        for order in orders:
            self._outbox.answer(order.seq, text, int(time.time()))
            self._on_answer(order.seq, text)

    def take_losses(self) -> list[Gap]:
        return [] if self._spool is None else self._spool.take_losses()

    def usage(self) -> SpoolUsage:
        return SpoolUsage(0, 0, 0, 0, {}, {}) if self._spool is None else self._spool.usage()


def _parted(ids: Iterable[ChunkId]) -> tuple[list[ChunkId], list[ChunkId]]:
    all_ids = list(ids)
    orders = [chunk_id for chunk_id in all_ids if chunk_id.epoch == ORDERS]
    return orders, [chunk_id for chunk_id in all_ids if chunk_id.epoch != ORDERS]
