"""Shell: the spool's room: where a chunk is stored, and what gives way for it.

A limit of bytes, a disk that is to keep something free, and a disk that others have filled are three reasons to make room; what
may be given up for it `when_full` says. Everything given up is in the book of losses before it goes (transport/losses.py).
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from codec.model import ChunkId
from transport import segment_format as layout
from transport.errors import SpoolFull
from transport.segment import Segment
from transport.shelf import Shelf, gap_of
from transport.spooled import Gap, WhenFull

MAX_SEGMENT_BYTES = 4 << 20
MIN_SEGMENT_BYTES = 64 << 10
SEGMENTS_IN_LIMIT = 32
"""A segment is a 32nd of the limit: that is the granule in which room is made."""


class Room:
    """See the module. Not for several threads at once.

    Attributes:
        limit_bytes: of all files together. when_full: what gives way. min_free_bytes: what the disk is to keep free.
        segment_bytes: where a segment ends.
    """

    def __init__(self, shelf: Shelf, *, limit_bytes: int, when_full: WhenFull, min_free_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.when_full = when_full
        self.min_free_bytes = min_free_bytes
        self.segment_bytes = min(MAX_SEGMENT_BYTES, max(MIN_SEGMENT_BYTES, limit_bytes // SEGMENTS_IN_LIMIT))
        self._shelf = shelf

    def make(self, needed: int, lane: int, gaps: list[Gap]) -> None:
        """Drop until `needed` bytes (and a page) fit, as `when_full` says, adding to `gaps`.

        Raises:
            SpoolFull: nothing may be dropped for this lane. OSError: a segment could not be removed, and counts.
        """
        needed += layout.PAGE_BYTES
        while self._shelf.disk_bytes() + needed > self.limit_bytes or self._disk_is_short(needed):
            if self._shelf.leftovers.sweep() or self._shelf.leftovers.give_up_bad():
                continue
            victim = self._victim(lane)
            if victim is None:
                self._shelf.count("full")
                raise SpoolFull(needed_bytes=needed, limit_bytes=self.limit_bytes)
            self._drop(victim, gaps)

    def store(
        self,
        chunk_id: ChunkId,
        chunk: bytes,
        *,
        lane: int,
        value: int,
        ready_wall_ns: int,
        gaps: list[Gap],
        begun: Callable[[], None],
    ) -> None:
        """Store into the lane's segment; on trouble once more in a new one, adding to `gaps` what had to go.

        `begun` is called before something of the chunk may get onto the disk. A disk that others have filled is no reason to give up chunks for their like: it may have room again in a minute,
        and the caller can wait. Only what is worth less (where `when_full` goes by value) makes room then.

        Raises:
            OSError: if it had begun, it may be there or not.
        """
        troubles = 0
        while True:
            try:
                segment = self._shelf.segment_for(lane, chunk_id, len(chunk), self.segment_bytes)
                begun()
                segment.append(chunk_id, chunk, value=value, ready_wall_ns=ready_wall_ns)
            except OSError as error:
                self._shelf.count("failed-writes")
                victim = self._worth_less(lane) if error.errno in (errno.ENOSPC, errno.EDQUOT) else None
                if victim is not None:
                    self._drop(victim, gaps)
                else:
                    troubles += 1
                    if troubles == 2:
                        raise
                try:
                    self.make(layout.stored_bytes(len(chunk)), lane, gaps)  # the attempt may have left as much behind
                except SpoolFull:
                    raise error from None
            else:
                return

    def _disk_is_short(self, needed: int) -> bool:
        if self.min_free_bytes <= 0:
            return False
        try:
            return self._shelf.files.free_bytes(self._shelf.directory) < self.min_free_bytes + needed
        except OSError:
            return False

    def _dead(self) -> Segment | None:
        """Return a segment in which nothing lives and whose end would free something, or None."""
        return next((s for s in self._shelf.segments() if not s.live and s.disk_bytes > layout.PAGE_BYTES), None)

    def _worth_less(self, lane: int) -> Segment | None:
        """Return the segment to give up for a chunk of this lane when the disk is full, or None."""
        victim = self._victim(lane - 1) if self.when_full is WhenFull.DROP_LOWEST_VALUE else None
        return victim or self._dead()

    def _victim(self, lane: int) -> Segment | None:
        """Return the segment to give up for a chunk of this lane, or None when there is none."""
        segments = self._shelf.segments()
        dead = self._dead()
        if dead is not None or self.when_full is WhenFull.PAUSE:
            return dead
        alive = [segment for segment in segments if segment.live]
        if self.when_full is WhenFull.DROP_OLDEST:
            return alive[0] if alive else None
        lower = [segment for segment in alive if segment.header.lane <= lane]
        return min(lower, key=lambda segment: (segment.header.lane, segment.header.serial), default=None)

    def _drop(self, segment: Segment, gaps: list[Gap]) -> None:
        """Remove a segment with all that is in it, adding that to `gaps`.

        Raises:
            OSError: what is still there is no gap; what could not even be read stays, since nobody could say what was lost.
        """
        lost = [gap_of(record, "spool-full") for record in self._shelf.live(segment)]
        self._shelf.losses.note(lost)
        try:
            self._shelf.remove(segment)
        finally:
            gone = self._shelf.really_lost(lost)
            self._shelf.count("dropped", len(gone))
            gaps += gone
