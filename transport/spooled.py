"""Pure: what the spool speaks of: a chunk that waits, a chunk that will not arrive, its figures, and what gives way."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from codec.model import ChunkId


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
