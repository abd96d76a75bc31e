"""Shell: which chunk of this device covers which minutes, also long after it was sent: what erasing by time needs.

One small file: a head and records of RECORD_BYTES, appended as chunks are made, their state changed in place. Guarantees:
no more than `max_entries`, none older than the retention once `prune` has run; what is damaged or missing is never taken for
something else. Does not guarantee that every chunk is in it: a full disk or a power cut leaves some out. `spans` makes up
for that: a chunk that is missing lies between its neighbours, so it gets the time between them, and counts as sent.
"""

from __future__ import annotations

import contextlib
import struct
import threading
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from codec.model import ChunkId
from transport.fs import Files, Handle, Open, opened, read_exactly, replace_file, write_all

_HEAD = struct.Struct("<4sB32s")
_MAGIC, VERSION = b"\x8dMDI", 1
HEAD_BYTES = 64
_RECORD = struct.Struct("<IIQIBI")
"""epoch, seq, t0 (wall ms), duration (ms), kind, CRC-32 of what stands before; then a byte of state, and padding."""
RECORD_BYTES = 32
STATE_OFFSET = _RECORD.size
MAX_ENTRIES = 200_000
"""Two years of an office worker's chunks, 6.4 MB."""
STEP_RECORDS = 2048
LONGEST_MS = 3 * 3_600_000
"""What one chunk may cover: screenshots three times a chunk's age, which is an hour at most (capture/config.py)."""


class Kind(IntEnum):
    """What a chunk holds."""

    EVENTS = 0
    SCREENS = 1


class State(IntEnum):
    """Where a chunk is, as far as this device knows."""

    MADE = 0  # here, and never handed to the network
    SENT = 1  # handed to the network: the archive may have it
    ARCHIVED = 2
    GONE = 3  # deleted here before it was sent
    ERASING = 4  # a tombstone for it is made


@dataclass(frozen=True, slots=True)
class Indexed:
    """A chunk. t0_wall_ms, end_wall_ms: the minutes that it covers. certain: it is in the index; else it is between two."""

    chunk_id: ChunkId
    t0_wall_ms: int
    end_wall_ms: int
    kind: Kind
    state: State
    certain: bool = True


class ChunkIndex:
    """See the module. An instance may be used from several threads.

    Args:
        files: the file system. path: the file; its folder exists. device: whose chunks; another one than before begins anew.
        max_entries: at most so many.
    """

    def __init__(self, files: Files, path: Path, device: str, *, max_entries: int = MAX_ENTRIES) -> None:
        self._files = files
        self._path = path
        self._device = device
        self._max_entries = max_entries
        self._guard = threading.Lock()
        self._head = _HEAD.pack(_MAGIC, VERSION, device.encode("ascii")).ljust(HEAD_BYTES, b"\0")

    def add(self, chunk_id: ChunkId, *, t0_wall_ms: int, duration_ms: int, screens: bool) -> None:
        """Note a new chunk. Not synced: see the module.

        Args:
            chunk_id: which. t0_wall_ms: wall ms since 1970, when it begins. duration_ms: how long it goes.
            screens: it holds screenshots, else events.

        Raises:
            OSError: it is not noted.
        """
        kind = Kind.SCREENS if screens else Kind.EVENTS
        plain = struct.pack(
            "<IIQIB", chunk_id.epoch, chunk_id.seq, max(0, t0_wall_ms), min(duration_ms, 2**32 - 1), kind
        )
        record = (plain + zlib.crc32(plain).to_bytes(4, "little") + bytes([State.MADE])).ljust(RECORD_BYTES, b"\0")
        with self._guard, self._writing() as handle:
            count = self._count(handle)
            if count >= self._max_entries:
                self._rewrite(0, keep=self._max_entries * 3 // 4)
                with self._writing() as again:
                    write_all(again, record, HEAD_BYTES + self._count(again) * RECORD_BYTES)
                return
            write_all(handle, record, HEAD_BYTES + count * RECORD_BYTES)

    def mark(self, ids: Collection[ChunkId], state: State, *, sync: bool = False) -> None:
        """Note where chunks are now; what is not in the index is left out. A state never goes back.

        Args:
            sync: return when it is on the disk.

        Raises:
            OSError: some are not noted.
        """
        wanted = {(chunk_id.epoch, chunk_id.seq) for chunk_id in ids}
        with self._guard:
            if not wanted or not self._files.exists(self._path):
                return
            with self._writing() as handle:
                end = self._count(handle)
                while end and wanted:  # backwards: what changes is recent
                    start = max(0, end - STEP_RECORDS)
                    block = read_exactly(handle, (end - start) * RECORD_BYTES, HEAD_BYTES + start * RECORD_BYTES)
                    for number, found in self._decoded(block, start):
                        key = (found.chunk_id.epoch, found.chunk_id.seq)
                        if key in wanted:
                            wanted.discard(key)
                            if found.state < state:
                                write_all(handle, bytes([state]), HEAD_BYTES + number * RECORD_BYTES + STATE_OFFSET)
                    end = start
                if sync:
                    handle.sync()

    def entries(self) -> Iterator[Indexed]:
        """Yield what is in the index, the oldest first; a chunk that was noted twice comes twice.

        Raises:
            OSError: it cannot be read.
        """
        start = 0
        while True:
            with self._guard:
                block = self._read(start)
            yield from (found for _, found in self._decoded(block, start))
            if len(block) < STEP_RECORDS * RECORD_BYTES:
                return
            start += STEP_RECORDS

    def spans(self, next_id: ChunkId, *, now_wall_ms: int) -> list[Indexed]:
        """Return every chunk that this device has made, as far as it is known, with those that are missing in the index.

        Args:
            next_id: the first id that is not used yet. now_wall_ms: no missing chunk ends after it.

        Raises:
            OSError: it cannot be read.
        """
        by_id: dict[ChunkId, Indexed] = {}
        for found in self.entries():
            if found.chunk_id.epoch != next_id.epoch or found.chunk_id.seq < next_id.seq:
                by_id[found.chunk_id] = found
        spans: list[Indexed] = []
        end = Indexed(next_id, now_wall_ms, now_wall_ms, Kind.EVENTS, State.MADE)
        before = Indexed(ChunkId(self._device, -1, -1), 0, 0, Kind.EVENTS, State.MADE)
        for entry in sorted([*by_id.values(), end], key=lambda entry: entry.chunk_id):
            epoch = entry.chunk_id.epoch
            if before.chunk_id.epoch != epoch:
                before = Indexed(ChunkId(self._device, epoch, -1), 0, 0, Kind.EVENTS, State.MADE)
            t0_ms = max(
                0, min(before.t0_wall_ms, entry.t0_wall_ms) - LONGEST_MS
            )  # it may have been open when they began
            until_ms = max(before.end_wall_ms, entry.end_wall_ms)
            spans += [
                Indexed(ChunkId(self._device, epoch, seq), t0_ms, until_ms, Kind.EVENTS, State.SENT, False)
                for seq in range(before.chunk_id.seq + 1, entry.chunk_id.seq)
            ]
            if entry is not end:
                spans.append(entry)
            before = entry
        return spans

    def epochs(self) -> set[int]:
        """Return the epochs that are in the index."""
        return {found.chunk_id.epoch for found in self.entries()}

    def prune(self, before_wall_ms: int) -> None:
        """Leave out what ended before a moment, once that is a quarter of it.

        Raises:
            OSError: it is as it was.
        """
        old = total = 0
        for entry in self.entries():
            total += 1
            old += entry.end_wall_ms < before_wall_ms
        if old and old * 4 >= total:
            with self._guard:
                self._rewrite(before_wall_ms, keep=self._max_entries)

    # -- inside

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Handle]:
        """Open the file, or make it anew when it is not ours to read."""
        with contextlib.suppress(FileExistsError), opened(self._files, self._path, Open.CREATE) as handle:
            write_all(handle, self._head, 0)
            self._files.sync_dir(self._path.parent)
        with opened(self._files, self._path, Open.WRITE) as handle:
            if read_exactly(handle, HEAD_BYTES, 0) != self._head:
                handle.truncate(0)
                write_all(handle, self._head, 0)
            yield handle

    def _count(self, handle: Handle) -> int:
        """Return how many whole records there are; a torn one at the end is written over."""
        return max(0, handle.size_bytes() - HEAD_BYTES) // RECORD_BYTES

    def _read(self, start: int) -> bytes:
        try:
            with opened(self._files, self._path, Open.READ) as handle:
                if read_exactly(handle, HEAD_BYTES, 0) != self._head:
                    return b""
                return read_exactly(handle, STEP_RECORDS * RECORD_BYTES, HEAD_BYTES + start * RECORD_BYTES)
        except FileNotFoundError:
            return b""

    def _decoded(self, block: bytes, start: int) -> Iterator[tuple[int, Indexed]]:
        for offset in range(0, len(block) - RECORD_BYTES + 1, RECORD_BYTES):
            epoch, seq, t0_ms, duration_ms, kind, crc = _RECORD.unpack_from(block, offset)
            state = block[offset + STATE_OFFSET]
            plain = block[offset : offset + STATE_OFFSET - 4]
            if zlib.crc32(plain) == crc and state in _STATES and kind in _KINDS:
                yield (
                    start + offset // RECORD_BYTES,
                    Indexed(ChunkId(self._device, epoch, seq), t0_ms, t0_ms + duration_ms, Kind(kind), State(state)),
                )

    def _rewrite(self, before_wall_ms: int, *, keep: int) -> None:
        kept: list[bytes] = []
        start = 0
        while block := self._read(start):
            for number, found in self._decoded(block, start):
                if found.end_wall_ms >= before_wall_ms:
                    offset = (number - start) * RECORD_BYTES
                    kept.append(block[offset : offset + RECORD_BYTES])
            start += STEP_RECORDS
        replace_file(self._files, self._path, self._head + b"".join(kept[-keep:]))


_STATES, _KINDS = frozenset(map(int, State)), frozenset(map(int, Kind))
