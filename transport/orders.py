"""Shell: erases at the person's word: deletes here what was not sent, and orders the archive to erase what was.

Write order, and what a crash after each step leaves:

* the order (a tombstone) into the outbox, synced (crash: it will be sent; what it names and is still here is deleted by
  `settle`, at the next start) → copies and spool, synced → the index.
* nothing of it was ever sent: copies and spool only (crash: the person heard no answer, and asks again).

Guarantees: a chunk that was handed to the network, or may have been, is ordered to be erased; a chunk that will be made later
never is. What is asked for by time is erased by whole chunks: never less than asked, and often some minutes more.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from codec.errors import CodecError
from codec.model import ChunkId
from codec.seal import DeviceSigningKey
from codec.tombstone import MAX_RANGES, Range, Scope, Tombstone, merged, parse_tombstone, ranges_of, sign_tombstone
from transport.chunk_index import ChunkIndex, Indexed, State
from transport.outbox import DONE, Item, Outbox
from transport.spooled import Entry, Gap

NS_PER_MS = 1_000_000
FOREVER_MS = 1 << 62
LAST_SEQ = (1 << 32) - 1


class Spool(Protocol):
    """Where chunks wait (transport/spool.py)."""

    def next_id(self) -> ChunkId: ...
    def entries(self) -> Iterable[Entry]: ...
    def forget(self, which: Collection[ChunkId] | Callable[[Entry], bool]) -> Sequence[Gap]: ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be erased: chunks by (epoch, seq), or what overlaps the time from `since_ms` to `until_ms` (wall ms)."""

    ids: frozenset[tuple[int, int]] | None = None
    since_ms: int = 0
    until_ms: int = FOREVER_MS

    @property
    def everything(self) -> bool:
        """Whether all that was ever recorded is meant."""
        return self.ids is None and self.since_ms <= 0 and self.until_ms >= FOREVER_MS


@dataclass(frozen=True, slots=True)
class Erased:
    """What came of it.

    Attributes:
        here: gaps: chunks that were deleted here before they were sent. ordered: how many the archive is to erase.
        numbers: of the orders. already: how many an earlier order names.
        from_ms, until_ms: the minutes that are erased (0: not known). uncertain: chunks whose time nobody knows.
    """

    here: Sequence[Gap] = ()
    ordered: int = 0
    numbers: tuple[int, ...] = ()
    already: int = 0
    from_ms: int = 0
    until_ms: int = 0
    uncertain: int = 0

    def to_answer(self) -> dict[str, Any]:
        """Return it as plain values."""
        names = ("ordered", "already", "from_ms", "until_ms", "uncertain")
        return {"here": len(self.here), "orders": len(self.numbers), **{name: getattr(self, name) for name in names}}


class Orders:
    """See the module. Not for several threads at once: call it in the one that stores chunks.

    Args:
        device: whose. spool, index, outbox: see there.
        signer: returns the device's key. forget_copies: deletes the person's own copies of chunks.
    """

    def __init__(
        self,
        device: str,
        spool: Spool,
        index: ChunkIndex,
        outbox: Outbox,
        *,
        signer: Callable[[], DeviceSigningKey],
        forget_copies: Callable[[Callable[[ChunkId], bool]], object],
    ) -> None:
        self._device = device
        self._spool = spool
        self._index = index
        self._outbox = outbox
        self._signer = signer
        self._forget_copies = forget_copies

    def erase(self, wanted: Wanted) -> Erased:
        """Erase.

        Raises:
            TooLarge: too many orders wait to be sent. StorageFailed, OSError: it is not all done: ask again.
        """
        next_id = self._spool.next_id()
        spans = {span.chunk_id: span for span in self._spans(next_id)}
        chosen = set(self._chosen(wanted, spans, next_id))
        if not chosen and not wanted.everything:
            return Erased()
        unsent = self._unsent(chosen)
        whole = self._whole_epochs(next_id) if wanted.everything else ()
        numbers, already = self._order(chosen - unsent, whole)
        self._forget_copies(chosen.__contains__)
        gaps = self._spool.forget(chosen)
        late = unsent - self._unsent(unsent, still_here=False)
        if late:  # handed to the network while we looked
            more, _ = self._order(late, ())
            numbers += more
        with contextlib.suppress(OSError):
            self._index.mark(unsent - late, State.GONE)
            self._index.mark(chosen - unsent | late, State.ERASING)
        known = [spans[chunk_id] for chunk_id in chosen if chunk_id in spans and spans[chunk_id].certain]
        return Erased(
            gaps,
            ordered=len(chosen - unsent | late) - already,
            numbers=tuple(numbers),
            already=already,
            from_ms=min((span.t0_wall_ms for span in known), default=0),
            until_ms=max((span.end_wall_ms for span in known), default=0),
            uncertain=len(chosen) - len(known),
        )

    def listed(self) -> list[dict[str, Any]]:
        """Return `listing` of the outbox."""
        return listing(self._outbox)

    def settle(self) -> Sequence[Gap]:
        """Delete here what was ordered to be erased and is still here; return what had waited. Call it at the start.

        Raises:
            StorageFailed, OSError: it is not all done.
        """
        ordered = [tombstone for _, tombstone in self._tombstones() if tombstone is not None]
        if not ordered:
            return ()

        def covered(chunk_id: ChunkId) -> bool:
            return any(tombstone.covers(chunk_id) for tombstone in ordered)

        self._forget_copies(covered)
        return self._spool.forget(lambda entry: covered(entry.chunk_id))

    def _tombstones(self) -> list[tuple[Item, Tombstone | None]]:
        return [(item, _parsed(item.payload)) for item in self._outbox.items()]

    def _spans(self, next_id: ChunkId) -> list[Indexed]:
        return self._index.spans(next_id, now_wall_ms=time.time_ns() // NS_PER_MS)

    def _chosen(self, wanted: Wanted, spans: dict[ChunkId, Indexed], next_id: ChunkId) -> Iterable[ChunkId]:
        if wanted.ids is not None:
            for epoch, seq in wanted.ids:
                if epoch != next_id.epoch or seq < next_id.seq:
                    yield ChunkId(self._device, epoch, seq)
            return
        for span in spans.values():
            if span.end_wall_ms >= wanted.since_ms and span.t0_wall_ms <= wanted.until_ms:
                yield span.chunk_id
        for entry in self._spool.entries():
            if entry.chunk_id not in spans and entry.ready_wall_ns // NS_PER_MS >= wanted.since_ms:
                yield entry.chunk_id

    def _unsent(self, chosen: Collection[ChunkId], *, still_here: bool = True) -> set[ChunkId]:
        """Return which of these the network never got, for certain."""
        made = {entry.chunk_id for entry in self._index.entries() if entry.state is State.MADE} & set(chosen)
        return made & {entry.chunk_id for entry in self._spool.entries()} if still_here else made

    def _whole_epochs(self, next_id: ChunkId) -> list[Range]:
        """Return everything that was ever made: the epoch so far, and those that ended."""
        ended = [Range(epoch, 0, LAST_SEQ) for epoch in self._index.epochs() if epoch != next_id.epoch]
        return [*ended, Range(next_id.epoch, 0, next_id.seq - 1)] if next_id.seq else ended

    def _order(self, ids: Collection[ChunkId], whole: Sequence[Range]) -> tuple[list[int], int]:
        """Order to erase chunks; return the orders' numbers, and how many chunks an earlier one names."""
        earlier = [
            tombstone
            for item, tombstone in self._tombstones()
            if tombstone is not None and (item.answer is None or item.answer.text == DONE)
        ]
        new = [chunk_id for chunk_id in ids if not any(tombstone.covers(chunk_id) for tombstone in earlier)]
        ranges = merged([*ranges_of(new), *whole])
        numbers = []
        for start in range(0, len(ranges), MAX_RANGES):
            payload = sign_tombstone(
                self._device, ranges[start : start + MAX_RANGES], wall_s=int(time.time()), signer=self._signer()
            )
            numbers.append(self._outbox.add(payload))
        return numbers, len(ids) - len(new)


def listing(outbox: Outbox) -> list[dict[str, Any]]:
    """Return the orders, the newest first, as plain values: number, ordered_wall_s, what, chunks, answer, answered_wall_s.

    Raises:
        StorageFailed: they cannot be read.
    """
    return [_plain(item, _parsed(item.payload)) for item in reversed(outbox.items())]


def _plain(item: Item, tombstone: Tombstone | None) -> dict[str, Any]:
    ranges = tombstone.ranges if tombstone is not None else ()
    whole = tombstone is not None and tombstone.scope is Scope.DEVICE
    what = "everything" if whole else ", ".join(f"{r.epoch:08x}/{_span(r)}" for r in ranges[:8])
    return {
        "number": item.number,
        "ordered_wall_s": tombstone.wall_s if tombstone is not None else 0,
        "what": what + (", …" if len(ranges) > 8 else ""),
        "chunks": None if whole else sum(r.last - r.first + 1 for r in ranges),
        "answer": item.answer.text if item.answer is not None else "",
        "answered_wall_s": item.answer.wall_s if item.answer is not None else 0,
    }


def _span(range_: Range) -> str:
    if range_.last == LAST_SEQ:
        return "all" if range_.first == 0 else f"{range_.first}-"
    return str(range_.first) if range_.first == range_.last else f"{range_.first}-{range_.last}"


def _parsed(payload: bytes) -> Tombstone | None:
    try:
        return parse_tombstone(payload)
    except CodecError:
        return None
