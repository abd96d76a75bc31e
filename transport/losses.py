"""Shell: the spool's book of losses: chunks that will not arrive, kept until what says so is stored itself.

A chunk that is dropped, expired, refused, forgotten or found damaged leaves a hole in the sequence; whoever records tells of it in
a later chunk. Between the two lies a crash. So a loss is written here, synced, before anything is done to the chunk, and stays
until `told`. What is found here at opening, and does not wait in the spool after all, is a loss to be told (again: telling twice is
harmless, since gaps are named by chunk ids).

The file is of fixed size and made at the first opening, so that it works while the disk is full. Where it cannot be made, or is
full, losses are kept in memory only, and counted.
"""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

from codec.model import DEVICE_PATTERN, ChunkId
from transport.fs import Files, Open, opened, read_exactly, write_all
from transport.spooled import Gap

SLOT = struct.Struct("<4s32sIIIBB10xI")
"""magic, device, epoch, seq, size, value, reason, CRC. 64 bytes: never in two disk sectors."""
MAGIC = b"mGAP"
REASONS = ("lost", "spool-full", "expired", "forgotten", "damaged", "refused")
MAX_SLOTS = 4096
MIN_SLOTS = 512
BYTES_PER_SLOT = 1024
"""Of the spool's limit: the book takes a sixteenth of a small spool, and 256 KB of a large one."""


def slots_for(limit_bytes: int) -> int:
    """Return how many losses the book of a spool of this limit holds."""
    return max(MIN_SLOTS, min(MAX_SLOTS, limit_bytes // BYTES_PER_SLOT))


class Losses:
    """See the module. Not for several threads at once.

    Attributes:
        disk_bytes: what the file takes.
    """

    def __init__(self, files: Files, path: Path, slots: int, count: Callable[[str, int], None]) -> None:
        """Open the book, or make it. Never fails.

        Args:
            files: where. path: which. slots: of a new book. count: counts what could not be written.
        """
        self._files = files
        self._path = path
        self._count = count
        self._slot_of: dict[ChunkId, int] = {}
        self._pending: dict[ChunkId, Gap] = {}
        self._free: list[int] = []
        self.disk_bytes = 0
        try:
            self._load()
        except OSError:
            self._make(slots)

    def note(self, gaps: Iterable[Gap]) -> None:
        """Write down what is about to be lost; on the disk on return, if the disk takes it at all."""
        fresh = [gap for gap in gaps if gap.chunk_id not in self._pending]
        writes: list[tuple[int, bytes]] = []
        for gap in fresh:
            self._pending[gap.chunk_id] = gap
            if self._free:
                slot = self._slot_of[gap.chunk_id] = self._free.pop()
                writes.append((slot, _pack(gap)))
        self._count("losses in memory only", len(fresh) - len(writes))
        if not self._write(writes):
            self._count("losses in memory only", len(writes))

    def told(self, ids: Iterable[ChunkId]) -> None:
        """Strike out losses: what tells of them is stored, or they are none. Unknown ids do nothing."""
        known = [chunk_id for chunk_id in dict.fromkeys(ids) if self._pending.pop(chunk_id, None) is not None]
        slots = [self._slot_of.pop(chunk_id) for chunk_id in known if chunk_id in self._slot_of]
        self._write([(slot, bytes(SLOT.size)) for slot in slots])  # what stays there is told once more
        self._free += slots

    def pending(self) -> list[Gap]:
        """Return what is not told yet, in no particular order."""
        return list(self._pending.values())

    def _write(self, writes: list[tuple[int, bytes]]) -> bool:
        if not writes:
            return True
        try:
            with opened(self._files, self._path, Open.WRITE) as handle:
                for slot, data in writes:
                    write_all(handle, data, slot * SLOT.size)
                handle.sync()
        except OSError:
            return False
        return True

    def _load(self) -> None:
        with opened(self._files, self._path, Open.READ) as handle:
            data = read_exactly(handle, MAX_SLOTS * SLOT.size, 0)
        if not data:
            raise FileNotFoundError(str(self._path))
        self.disk_bytes = len(data)
        for slot in range(len(data) // SLOT.size):
            gap = _parse(data[slot * SLOT.size : (slot + 1) * SLOT.size])
            if gap is None or gap.chunk_id in self._pending:
                self._free.append(slot)
            else:
                self._pending[gap.chunk_id] = gap
                self._slot_of[gap.chunk_id] = slot

    def _make(self, slots: int) -> None:
        self.disk_bytes = slots * SLOT.size  # also where it fails: some of it may be there
        try:
            with contextlib.suppress(FileNotFoundError):
                self._files.unlink(self._path)
            with opened(self._files, self._path, Open.CREATE) as handle:
                write_all(handle, bytes(slots * SLOT.size), 0)
                handle.sync()
            self._files.sync_dir(self._path.parent)
        except OSError:
            self._count("no book of losses", 1)
            return
        self._free = list(range(slots))


def _pack(gap: Gap) -> bytes:
    cause = gap.reason.partition(":")[0]
    reason = REASONS.index(cause) if cause in REASONS else 0
    chunk_id = gap.chunk_id
    body = SLOT.pack(
        MAGIC, chunk_id.device.encode(), chunk_id.epoch, chunk_id.seq, gap.size_bytes, gap.value, reason, 0
    )[:-4]
    return body + zlib.crc32(body).to_bytes(4, "little")


def _parse(slot: bytes) -> Gap | None:
    magic, field, epoch, seq, size, value, reason, crc = SLOT.unpack(slot)
    device = field.rstrip(b"\0").decode("ascii", "replace")
    if magic != MAGIC or zlib.crc32(slot[:-4]) != crc or not DEVICE_PATTERN.fullmatch(device):
        return None  # free, or torn by a crash: then nothing had been done to the chunk
    return Gap(ChunkId(device, epoch, seq), value, size, REASONS[reason] if reason < len(REASONS) else REASONS[0])
