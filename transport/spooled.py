"""Pure: what the spool speaks of: a chunk that waits, a chunk that will not arrive, its figures, and what gives way."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from codec.model import ChunkId

ANY_SIZE = 1 << 62


class WhenFull(StrEnum):
    """What gives way when the limit is reached."""

    DROP_LOWEST_VALUE = "drop-lowest-value"
    DROP_OLDEST = "drop-oldest"
    PAUSE = "pause"


@dataclass(frozen=True, slots=True)
class Entry:
    """A chunk in the spool. value: 0..255. ready_wall_ns: not to be sent before. size_bytes: of the sealed chunk."""

    chunk_id: ChunkId
    value: int
    ready_wall_ns: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Gap:
    """A chunk that will not arrive. reason: "spool-full", "expired", "forgotten", "damaged", "refused: …"."""

    chunk_id: ChunkId
    value: int
    size_bytes: int
    reason: str


@dataclass(frozen=True, slots=True)
class SpoolUsage:
    """What the spool holds.

    Attributes:
        chunks, live_bytes: what waits. disk_bytes: of all files; limit_bytes: at most that.
        by_value: (chunks, bytes) per lane's lowest value. counters: since opening, by name.
    """

    chunks: int
    live_bytes: int
    disk_bytes: int
    limit_bytes: int
    by_value: dict[int, tuple[int, int]]
    counters: dict[str, int]


class Waiting(Protocol):
    """Where what is to be sent waits (transport/spool.py, transport/outgoing.py). Methods may raise StorageFailed."""

    @property
    def device(self) -> str:
        """Return whose it is."""

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after everything new, in the thread that brought it; return what ends that."""

    def ready(
        self,
        now_wall_ns: int,
        *,
        min_value: int = 0,
        max_bytes: int = ANY_SIZE,
        skip: Collection[ChunkId] = (),
        most: int = 64,
    ) -> list[Entry]:
        """Return what may be sent now and is no larger, the most urgent first."""

    def next_ready_wall_ns(self, now_wall_ns: int) -> int | None:
        """Return when the next that is held back becomes ready, or None."""

    def read(self, chunk_id: ChunkId) -> bytes | None:
        """Return the bytes of one that waits, to be sent; None when it waits no longer."""

    def ack(self, ids: Iterable[ChunkId]) -> list[Entry]:
        """Note that the archive has these; return those that had waited."""

    def refuse(self, ids: Iterable[ChunkId], reason: str) -> list[Gap]:
        """Give up what the collector will never take; return it."""

    def take_losses(self) -> list[Gap]:
        """Return, once, what was lost since the last call."""

    def usage(self) -> SpoolUsage:
        """Return the figures."""
