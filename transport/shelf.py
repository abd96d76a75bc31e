"""Shell: the spool's folder: its segments, its state file, its lock, and which of them to keep in memory.

Guarantees: a segment is removed only after the state file carries the next sequence number; what an earlier run left is found
again, damaged or not; where the newest sequence number cannot be told for sure, a new epoch begins. Memory holds a few figures
per segment and the records of at most LOADED_SEGMENTS of them. It does not decide what is stored or dropped (transport/spool.py).
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterable, Iterator
from pathlib import Path

from codec.model import ChunkId
from transport import segment_format as layout
from transport.fs import Files, Handle, Open, opened, read_exactly, write_all
from transport.leftovers import Leftovers
from transport.losses import Losses
from transport.segment import Record, Segment, serial_of
from transport.segment_format import Mark, SegmentHeader, State
from transport.spooled import Gap

LOADED_SEGMENTS = 16
"""Indexes kept in memory. One has at most 3904 records, so memory does not grow with the spool."""


def gap_of(record: Record, reason: str) -> Gap:
    """Return the gap that a record leaves."""
    return Gap(record.header.chunk_id, record.header.value, record.header.size_bytes, reason)


class Shelf:
    """The segments of one folder. Not for several threads at once.

    Attributes:
        device: whose. epoch, next_seq: of the next chunk. counters: what happened, by name. losses: what will not arrive.
        leftovers: files that are of no use and take space.
    """

    def __init__(self, files: Files, directory: Path, *, device: str, rng: random.Random, loss_slots: int) -> None:
        """Open the folder. loss_slots: of a new book of losses.

        Raises:
            OSError: it cannot be made or read, or its state not be written. Busy: another process holds it.
        """
        self.files = files
        self.directory = directory
        self.device = device
        self.next_seq = 0
        self.counters: dict[str, int] = {}
        self._segments: dict[int, Segment] = {}
        self._active: dict[int, Segment] = {}
        self._recent: dict[int, None] = {}  # serials of segments with a loaded index, least recently used first
        self._next_serial = 0
        self._by_lane: list[Segment] | None = None  # until a segment comes or goes
        self._state = State(0, device, 0, 0)
        files.make_dir(directory)
        with self.noted("sync"):  # who may not read the parent cannot sync it
            files.sync_dir(directory.parent)  # else a power cut might take the folder, with chunks that `put` confirmed
        self._lock: Handle | None = files.lock(directory / "lock")
        try:
            self.leftovers = Leftovers(files, directory)
            self.losses = Losses(files, directory / "losses", loss_slots, self.count)
            self._recover(rng)
        except BaseException:
            self._lock.close()
            raise

    @property
    def epoch(self) -> int:
        """Return the epoch of new chunks."""
        return self._state.epoch

    def close(self) -> None:
        """Write the summaries and let go of the folder."""
        for segment in self._active.values():
            segment.close()
        self._active.clear()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    # -- segments

    def segments(self) -> list[Segment]:
        """Return all segments, the oldest first."""
        return list(self._segments.values())  # they were added in the order of their serials

    def by_lane(self) -> list[Segment]:
        """Return all segments, the most valuable lane first, the oldest first within it."""
        if self._by_lane is None:
            order = sorted(self._segments.values(), key=lambda segment: (-segment.header.lane, segment.header.serial))
            self._by_lane = order
        return self._by_lane

    def disk_bytes(self) -> int:
        """Return what the files take."""
        return (
            2 * layout.STATE_SLOT_BYTES
            + self.losses.disk_bytes
            + self.leftovers.disk_bytes
            + sum(segment.disk_bytes for segment in self._segments.values())
        )

    def segment_for(self, lane: int, chunk_id: ChunkId, size_bytes: int, segment_bytes: int) -> Segment:
        """Return a segment of the lane that takes a chunk, closing the one before if need be.

        Raises:
            OSError: a new one is needed and cannot be made.
        """
        segment = self._active.get(lane)
        if segment is not None and not segment.fits(size_bytes, segment_bytes):
            del self._active[lane]
            if not segment.closed:
                segment.close()
            self.tidy(segment)
            segment = None
        if segment is None:
            serial = self._next_serial
            self._next_serial += 1
            header = SegmentHeader(serial, lane, chunk_id.device, chunk_id.epoch)
            path = self.directory / f"{serial:08x}.seg"
            try:
                segment = Segment.create(self.files, path, header)
            except OSError:
                self.leftovers.note(path, layout.PAGE_BYTES)
                raise
            self._segments[serial] = self._active[lane] = segment
            self._by_lane = None
        return segment

    def load(self, segment: Segment) -> Iterable[Record]:
        """Return a segment's records. Raises OSError."""
        records = segment.load()
        self._touch(segment)
        return records

    def live(self, segment: Segment) -> list[Record]:
        """Return a segment's waiting records. Raises OSError."""
        return [record for record in self.load(segment) if record.mark is Mark.LIVE]

    def find(self, chunk_id: ChunkId) -> list[tuple[Segment, Record]]:
        """Return all copies of a chunk, usually one."""
        found: list[tuple[Segment, Record]] = []
        for segment in list(self._segments.values()):
            if segment.header.epoch == chunk_id.epoch and segment.first_seq <= chunk_id.seq <= segment.last_seq:
                with self.noted("read"):
                    found += [(segment, record) for record in self.load(segment) if record.header.chunk_id == chunk_id]
        return found

    def waits(self, chunk_id: ChunkId) -> bool:
        """Tell whether a copy of a chunk still waits; a write that failed half-way and a crash can leave two."""
        return any(record.mark is Mark.LIVE for _, record in self.find(chunk_id))

    def really_lost(self, lost: list[Gap]) -> list[Gap]:
        """Return what is lost indeed, and strike out what waits still: the disk failed, or there is a second copy."""
        waiting = [gap.chunk_id for gap in lost if self.waits(gap.chunk_id)]
        self.losses.told(waiting)
        return [gap for gap in lost if gap.chunk_id not in waiting]

    def tidy(self, segment: Segment) -> None:
        """Remove a closed segment without waiting chunks; on trouble it stays and is tried again later."""
        if segment.live == 0 and segment.closed:
            with self.noted("remove"):
                self.remove(segment)

    def remove(self, segment: Segment) -> None:
        """Remove a segment and all that is in it.

        Raises:
            OSError: it may be there again at the next opening.
        """
        if self.next_seq > self._state.next_seq:
            self._write_state()  # else the highest sequence number might leave with the file
        serial = segment.header.serial
        size_bytes = segment.disk_bytes
        with contextlib.suppress(FileNotFoundError):
            self.files.unlink(segment.path)
        self._segments.pop(serial, None)
        self._by_lane = None
        self._recent.pop(serial, None)
        if self._active.get(segment.header.lane) is segment:
            del self._active[segment.header.lane]
        self.leftovers.remove(segment.path, size_bytes)

    # -- counters

    def count(self, name: str, number: int = 1) -> None:
        """Count something that happened."""
        if number:
            self.counters[name] = self.counters.get(name, 0) + number

    @contextlib.contextmanager
    def noted(self, what: str) -> Iterator[None]:
        """Count a disk error and go on: for what loses no data by failing."""
        try:
            yield
        except OSError:
            self.count(f"failed: {what}")

    # -- inside

    def _recover(self, rng: random.Random) -> None:
        """Read what an earlier run left, write down where numbering goes on, and only then tidy up.

        In this order, since tidying up removes what tells of damage. The state is written even when it is unchanged: what
        was read may come from an earlier process's unsynced write, which a power cut would take back.
        """
        names = {serial_of(Path(name)): name for name in self.files.list_dir(self.directory)}
        names.pop(-1, None)
        self._next_serial = max(names, default=-1) + 1
        in_doubt = False
        for serial, name in sorted(names.items()):
            path = self.directory / name
            try:
                segment = Segment.recover(self.files, path)
            except OSError:
                self.count("unreadable-segments")
                in_doubt = True
                continue
            if segment is None:
                self.leftovers.note(path, layout.PAGE_BYTES)
                continue
            self._segments[serial] = segment
            in_doubt = in_doubt or segment.damaged_bytes > 0
            self.count("damaged-bytes", segment.damaged_bytes)
            if segment.loaded:
                self._touch(segment)
        self._resume(rng, in_doubt)
        for segment in self.segments():
            self.losses.note([gap_of(record, "damaged") for record in segment.rotten])
            segment.rotten = []
            if segment.count == 0:
                del self._segments[segment.header.serial]
                with self.noted("set aside"):
                    self.leftovers.set_aside(segment.path, segment.disk_bytes)
                self.count("bad-segments")
                continue
            if segment.ragged:
                segment.cut()
            if segment.to_repair:
                segment.close()
            self.tidy(segment)
        with self.noted("remove"):
            self.leftovers.sweep()
            self.files.sync_dir(self.directory)  # what an earlier process removed without a sync is to stay removed

    def _resume(self, rng: random.Random, in_doubt: bool) -> None:
        """Go on numbering behind everything that was ever numbered, in a new epoch when that is not known for sure."""
        state, state_in_doubt = self._read_state()
        if state is None or state_in_doubt or in_doubt or state.device != self.device:
            used = {segment.header.epoch for segment in self._segments.values()} | ({state.epoch} if state else set())
            epoch = rng.getrandbits(32)
            while epoch in used:
                epoch = rng.getrandbits(32)
            self.count("new-epoch")
            self._state = State(state.counter if state else 0, self.device, epoch, 0)
        else:
            epoch = state.epoch
            newest = max((s.last_seq for s in self._segments.values() if s.header.epoch == epoch), default=-1)
            self._state = state
            self.next_seq = max(state.next_seq, newest + 1)
        self._write_state()

    def _touch(self, segment: Segment) -> None:
        serial = segment.header.serial
        self._recent.pop(serial, None)
        self._recent[serial] = None
        while len(self._recent) > LOADED_SEGMENTS:
            oldest = next(iter(self._recent))
            del self._recent[oldest]
            if oldest in self._segments:
                self._segments[oldest].unload()

    def _read_state(self) -> tuple[State | None, bool]:
        try:
            with opened(self.files, self.directory / "state", Open.READ) as handle:
                return layout.parse_state(read_exactly(handle, 2 * layout.STATE_SLOT_BYTES, 0))
        except OSError:
            return None, True

    def _write_state(self) -> None:
        """Write the state into the older slot, in place."""
        state = State(self._state.counter + 1, self.device, self._state.epoch, self.next_seq)
        path = self.directory / "state"
        if not self.files.exists(path):
            with opened(self.files, path, Open.CREATE) as handle:
                write_all(handle, bytes(2 * layout.STATE_SLOT_BYTES), 0)
                handle.sync()
            self.files.sync_dir(self.directory)
        with opened(self.files, path, Open.WRITE) as handle:
            write_all(handle, layout.pack_state(state), state.counter % 2 * layout.STATE_SLOT_BYTES)
            handle.sync()
        self._state = state
