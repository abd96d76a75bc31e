"""What the transport's tests share: a tiny chunk format, a ledger in memory, and waiting for a condition."""

from __future__ import annotations

import asyncio
import struct
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from codec import errors
from codec.model import ChunkId
from transport.limits import Lease, Link, Refusal


@dataclass(frozen=True)
class TinyHeader:
    chunk_id: ChunkId


def tiny_chunk(chunk_id: ChunkId, body: bytes) -> bytes:
    """Return a chunk of the tests' own format: id, body, CRC."""
    data = b"tiny" + struct.pack("<32sII", chunk_id.device.encode(), chunk_id.epoch, chunk_id.seq) + body
    return data + zlib.crc32(data).to_bytes(4, "little")


def parse_tiny(data: bytes) -> TinyHeader:
    """Return the header of a tiny chunk, or raise as codec.chunk.parse_header does."""
    if data[:4] != b"tiny":
        raise errors.Corrupt("no chunk", offset=0)
    if len(data) < 48:
        raise errors.Truncated("a chunk", offset=len(data))
    if zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "little"):
        raise errors.Corrupt("the checksum does not match")
    device, epoch, seq = struct.unpack_from("<32sII", data, 4)
    return TinyHeader(ChunkId(device.rstrip(b"\0").decode(), epoch, seq))


class MemoryLedger:
    """A ledger with one limit, in memory: it checks that nothing is used that was not reserved."""

    def __init__(self, limit_bytes: int = 1 << 40) -> None:
        self.limit_bytes = limit_bytes
        self.open: dict[int, int] = {}
        self.spent = 0
        self.kinds: dict[str, int] = {}
        self.overdrawn = 0
        self._next = 1

    def reserve(
        self, size_bytes: int, *, link: Link, wall_ns: int, mono_ns: int, events_only: bool = False
    ) -> Lease | Refusal:
        if self.spent + sum(self.open.values()) + size_bytes > self.limit_bytes:
            return Refusal(("the test's budget is spent",), wall_ns + 3_600_000_000_000)
        lease = Lease(self._next, size_bytes, link)
        self._next += 1
        self.open[lease.id] = size_bytes
        return lease

    def settle(
        self, lease_id: int, used_bytes: int, *, wall_ns: int, mono_ns: int, kinds: Mapping[str, int] | None = None
    ) -> None:
        reserved = self.open.pop(lease_id)
        self.overdrawn += max(0, used_bytes - reserved)
        self.spent += used_bytes
        for kind, size in (kinds or {}).items():
            self.kinds[kind] = self.kinds.get(kind, 0) + size


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for a condition, or fail."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)
