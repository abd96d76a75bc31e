"""Shell: the spool: chunks that are closed and not yet archived, kept through any crash, within a limit of bytes.

Guarantees, given a disk that keeps what it reported as synced:

* A chunk is on the disk when `put` returns, and stays until it is acknowledged, dropped for room, expired or forgotten.
* A chunk id is used once: sequence numbers follow each other without holes, and where the newest record's number cannot
  be read for sure, a new epoch begins.
* The files never take more than `limit_bytes`, also where the disk fails: what it may not have removed counts
  (transport/leftovers.py). What is dropped for that is returned, so that it becomes a gap record.
* Acknowledging, forgetting and removing need no space: they work while the disk is full.
* A damaged record costs itself: it is marked, counted and skipped. Opening never fails for what is in the files.
* No hole in the sequence without a word: what is lost is in the book of losses (transport/losses.py) before it is lost, and
  comes up at each opening until `told`. (Bytes so damaged that no id can be read in them begin a new epoch instead.)
* `forget` overwrites the chunk's bytes. (What a file system or an SSD keeps of overwritten blocks is out of reach; the
  chunks are sealed for a key that this machine does not have.)

Write order, and what a crash after each step leaves:

* put: record, sync (crash: a torn record, which fails its CRC: the id was never returned as stored) → return.
* roll: summary into the old page, sync (crash: that segment is scanned at opening) → new page, sync, folder sync.
* acknowledge: mark, sync (crash: sent again, and the archive discards the copy).
* lose: the book of losses, sync (crash: it waits still, and is struck out at opening) → mark or remove → return → `told`.
* remove: the next sequence number into the state file, sync → unlink, folder sync (crash: it is removed at opening).
* forget: zeros, sync (crash: the record counts as damaged) → mark, sync → return.

Files: `NNNNNNNN.seg` (transport/segment_format.py), `state` (two slots, written in turn, in place), `losses`, `lock`. Values fall into
eight lanes, each with its own segments, so that dropping the worthless frees whole files. An instance may be used from
several threads; one process at a time holds the folder.
"""

from __future__ import annotations

import errno
import random
import threading
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

from codec.model import DEVICE_PATTERN, ChunkId
from transport import segment_format as layout
from transport.errors import SpoolFull, StorageFailed, TooLarge
from transport.fs import Files
from transport.losses import slots_for
from transport.room import Room
from transport.segment import Record, Segment
from transport.segment_format import Mark
from transport.shelf import Shelf, gap_of
from transport.spooled import ANY_SIZE, Entry, Gap, SpoolUsage, WhenFull

__all__ = ["Entry", "Gap", "Spool", "SpoolUsage", "WhenFull"]

MIN_LIMIT_BYTES = 1 << 20
"""Below this, pages and rolling would take most of the space."""

LANE_SHIFT = 5
READY_BATCH = 64


class Spool:
    """See the module. Make one with `Spool.open`."""

    def __init__(
        self, shelf: Shelf, *, limit_bytes: int, when_full: WhenFull = WhenFull.PAUSE, min_free_bytes: int = 0
    ) -> None:
        self.device = shelf.device
        self.limit_bytes = limit_bytes
        self._room = Room(shelf, limit_bytes=limit_bytes, when_full=when_full, min_free_bytes=min_free_bytes)
        self._shelf = shelf
        self._guard = threading.RLock()
        self._unconfirmed: dict[ChunkId, int] = {}  # put failed after writing: id -> CRC of the bytes
        self._unerased: set[ChunkId] = set()  # forget failed half-way
        self._losses: list[Gap] = []
        self._listeners: list[Callable[[], None]] = []
        self._recall_losses()

    def _recall_losses(self) -> None:
        """Take up what an earlier process lost and nobody told of; what waits after all was not lost."""
        pending = self._shelf.losses.pending()
        waiting = [gap.chunk_id for gap in pending if self._shelf.waits(gap.chunk_id)]
        self._shelf.losses.told(waiting)
        self._losses += [gap for gap in pending if gap.chunk_id not in waiting]

    # -- opening and closing

    @classmethod
    def open(
        cls,
        files: Files,
        directory: Path,
        *,
        device: str,
        limit_bytes: int,
        when_full: WhenFull | str = WhenFull.DROP_LOWEST_VALUE,
        min_free_bytes: int = 0,
        rng: random.Random | None = None,
    ) -> Spool:
        """Open the spool of a folder, making it when there is none.

        Args:
            files: the file system. directory: where; nothing else may be in it.
            device: the pseudonym whose chunks these are; another one than before begins a new epoch.
            limit_bytes: at most this much disk, ≥ 1 MiB. when_full: what gives way then.
            min_free_bytes: what is to stay free on the disk; below it, the spool counts as full.
            rng: draws epochs; by default the system's generator.

        Raises:
            Busy: another process holds it. StorageFailed: the folder cannot be made, read or written.
            ValueError: a wrong argument.
        """
        if not DEVICE_PATTERN.fullmatch(device):
            raise ValueError(f"a device id is 4 to 32 of a-z, 0-9 and '-', not {device!r}")
        if limit_bytes < MIN_LIMIT_BYTES:
            raise ValueError(f"the spool's limit is at least {MIN_LIMIT_BYTES:,} bytes, not {limit_bytes:,}")
        policy = WhenFull(when_full)
        try:
            shelf = Shelf(
                files,
                directory,
                device=device,
                rng=rng or random.SystemRandom(),
                loss_slots=slots_for(limit_bytes),
            )
        except OSError as error:
            raise _storage_failed("the spool cannot be opened", directory, error) from error
        return cls(shelf, limit_bytes=limit_bytes, when_full=policy, min_free_bytes=min_free_bytes)

    def close(self) -> None:
        """Let go of the folder. Everything is on the disk already."""
        with self._guard:
            self._shelf.close()

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after every `put`, in the thread that put; return what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    # -- writing

    def next_id(self) -> ChunkId:
        """Return the id of the next chunk. It is used up by `put`; until then it stays the next one."""
        with self._guard:
            return ChunkId(self.device, self._shelf.epoch, self._shelf.next_seq)

    def put(self, chunk_id: ChunkId, chunk: bytes, *, value: int, ready_wall_ns: int) -> list[Gap]:
        """Store a chunk durably.

        Args:
            chunk_id: what `next_id` says; or, after StorageFailed, the same chunk once more.
            chunk: its bytes. value: 0..255, what it is worth when room is scarce. ready_wall_ns: not sent before.

        Returns:
            what was dropped to make room, oldest of the least value first: to be recorded as gaps.

        Raises:
            SpoolFull: nothing may be dropped for it; the id is still free.
            TooLarge: it could never fit; the id is still free.
            StorageFailed: the disk would not take it. Put the same chunk again, or give it up: its id stays used up then.
            ValueError: another id than the next, or a value out of range.
        """
        if not 0 <= value <= 255:
            raise ValueError(f"a chunk's value is 0 to 255, not {value}")
        with self._guard:
            again = self._unconfirmed.get(chunk_id) == zlib.crc32(chunk)
            if chunk_id != self.next_id() and not again:
                raise ValueError(f"the next chunk is {self.next_id()}, not {chunk_id}: ids are taken one by one")
            needed = layout.stored_bytes(len(chunk))
            most = min(self.limit_bytes // 2, layout.MAX_PAYLOAD_BYTES)
            if needed > most:
                raise TooLarge("a chunk in the spool", actual=needed, limit=most)
            lane = value >> LANE_SHIFT
            gaps: list[Gap] = []
            try:
                self._room.make(needed, lane, gaps)
                self._room.store(
                    chunk_id,
                    chunk,
                    lane=lane,
                    value=value,
                    ready_wall_ns=ready_wall_ns,
                    gaps=gaps,
                    begun=lambda: self._unconfirmed.update({chunk_id: zlib.crc32(chunk)}),
                )
            except SpoolFull:
                self._losses.extend(gaps)
                raise
            except OSError as error:
                self._losses.extend(gaps)
                if not again and chunk_id in self._unconfirmed:
                    self._shelf.next_seq += 1
                    self._shelf.losses.note([Gap(chunk_id, value, len(chunk), "lost")])  # unless it is put again
                raise _storage_failed("the chunk could not be stored", self._shelf.directory, error) from error
            if not again:
                self._shelf.next_seq += 1
            self._unconfirmed.pop(chunk_id, None)
            if again:
                self._shelf.losses.told([chunk_id])
        for listener in list(self._listeners):
            listener()
        return gaps

    def ack(self, ids: Iterable[ChunkId]) -> list[Entry]:
        """Note that the archive has these chunks, and free their space. Unknown ids and repeated ones do nothing.

        Returns:
            those that were waiting.
        """
        return [_entry(record) for record in self._settle(ids, Mark.ARCHIVED)]

    def refuse(self, ids: Iterable[ChunkId], reason: str) -> list[Gap]:
        """Give up chunks that the collector will never take, and return them as gaps."""
        why = f"refused: {reason}"
        refused = self._settle(ids, Mark.QUARANTINED, why)
        self._shelf.count("refused", len(refused))
        return [gap_of(record, why) for record in refused]

    def forget(self, which: Collection[ChunkId] | Callable[[Entry], bool]) -> list[Gap]:
        """Erase chunks: overwrite their bytes and mark them, also those that were sent and still lie in the files.

        Args:
            which: ids, or a predicate over everything in the spool.

        Returns:
            those that were still waiting: to be recorded as gaps.

        Raises:
            StorageFailed: not everything is erased for sure; ask again. What is erased counts as a loss.
        """
        chosen: Callable[[Entry], bool] = which if callable(which) else (lambda entry: entry.chunk_id in which)
        gaps: list[Gap] = []
        failure: StorageFailed | None = None
        with self._guard:
            for segment in self._shelf.segments():
                try:
                    if segment.ragged:
                        segment.cut()
                    if segment.ragged:
                        raise OSError(errno.EIO, "the end of a file cannot be cut off")
                    self._forget_in(segment, chosen, gaps)
                except OSError as error:
                    failure = _storage_failed("not everything could be erased", segment.path, error)
                    continue
                self._shelf.tidy(segment)
            self._shelf.count("forgotten", len(gaps))
            if failure is not None:
                self._losses.extend(gaps)
                raise failure
        return gaps

    def _forget_in(self, segment: Segment, chosen: Callable[[Entry], bool], gaps: list[Gap]) -> None:
        records = [
            record
            for record in self._shelf.load(segment)
            if (record.mark is not Mark.FORGOTTEN or record.header.chunk_id in self._unerased)
            and chosen(_entry(record))
        ]
        if not records:
            return
        waiting = [record for record in records if record.mark is Mark.LIVE]
        ids = {record.header.chunk_id for record in records}
        self._unerased |= ids
        lost = [gap_of(record, "forgotten") for record in waiting]
        self._shelf.losses.note(lost)
        try:
            segment.erase(records)
        finally:  # also when it failed, none of them is sent any more
            gaps += self._shelf.really_lost(lost)
        self._unerased -= ids

    def expire(self, before_wall_ns: int) -> list[Gap]:
        """Drop what was ready before `before_wall_ns` and could not be sent since; return it as gaps."""
        gaps: list[Gap] = []
        with self._guard:
            for segment in self._shelf.segments():
                if segment.live and segment.min_ready_ns < before_wall_ns:
                    old: list[Record] = []
                    with self._shelf.noted("expire"):
                        old = [r for r in self._shelf.live(segment) if r.header.ready_wall_ns < before_wall_ns]
                        self._shelf.losses.note(gap_of(record, "expired") for record in old)
                        segment.mark(old, Mark.DROPPED, only_on_disk=True)
                    gaps += self._shelf.really_lost([gap_of(record, "expired") for record in old])
                    self._shelf.tidy(segment)
            self._shelf.count("expired", len(gaps))
        return gaps

    # -- reading

    def ready(
        self,
        now_wall_ns: int,
        *,
        min_value: int = 0,
        max_bytes: int = ANY_SIZE,
        skip: Collection[ChunkId] = (),
        most: int = READY_BATCH,
    ) -> list[Entry]:
        """Return chunks that may be sent now: the most valuable lane first, the oldest first within it.

        Args:
            now_wall_ns: wall clock. min_value: only chunks worth at least this. max_bytes: only chunks up to this size.
            skip: not these. most: not more than this.
        """
        found: list[Entry] = []
        seen = set(skip)
        with self._guard:
            for segment in self._shelf.by_lane():
                if len(found) >= most:
                    break
                if not segment.live or segment.min_ready_ns > now_wall_ns:
                    continue
                if (segment.header.lane << LANE_SHIFT) + (1 << LANE_SHIFT) <= min_value:
                    continue
                with self._shelf.noted("read"):
                    for record in self._shelf.live(segment):
                        header = record.header
                        if header.ready_wall_ns > now_wall_ns or header.value < min_value or header.chunk_id in seen:
                            continue
                        if header.size_bytes > max_bytes:
                            continue
                        seen.add(header.chunk_id)
                        found.append(_entry(record))
                        if len(found) >= most:
                            break
        return found

    def next_ready_wall_ns(self, now_wall_ns: int) -> int | None:
        """Return when the next chunk that is held back now becomes ready, or None when none is held back."""
        soonest: int | None = None
        with self._guard:
            held = [s for s in self._shelf.segments() if s.live and s.max_ready_ns > now_wall_ns]
            for segment in sorted(held, key=lambda segment: segment.min_ready_ns):
                if soonest is not None and segment.min_ready_ns >= soonest:
                    break
                with self._shelf.noted("read"):
                    moments = [record.header.ready_wall_ns for record in self._shelf.live(segment)]
                    later = [moment for moment in moments if moment > now_wall_ns]
                    soonest = min([*later, soonest] if soonest is not None else later, default=None)
        return soonest

    def read(self, chunk_id: ChunkId) -> bytes | None:
        """Return a waiting chunk's bytes, or None when it waits no longer or is damaged (which is noted as a loss).

        Raises:
            StorageFailed: the disk would not read; it still waits.
        """
        with self._guard:
            for segment, record in self._shelf.find(chunk_id):
                if record.mark is not Mark.LIVE:
                    continue
                try:
                    payload = segment.read(record)
                except OSError as error:
                    raise _storage_failed("a chunk could not be read", segment.path, error) from error
                if payload is not None:
                    return payload
                gap = gap_of(record, "damaged")
                self._shelf.losses.note([gap])
                with self._shelf.noted("mark"):
                    segment.mark([record], Mark.QUARANTINED)
                self._shelf.count("quarantined")
                self._losses.append(gap)
        return None

    def entries(self) -> Iterator[Entry]:
        """Yield everything that waits, held back or not, in no particular order; a snapshot per segment."""
        with self._guard:
            segments = self._shelf.segments()
        for segment in segments:
            with self._guard:
                found: list[Entry] = []
                with self._shelf.noted("read"):
                    found = [_entry(record) for record in self._shelf.live(segment)]
            yield from found

    def told(self, ids: Iterable[ChunkId]) -> None:
        """Note that what tells of these losses is stored: until then, each opening brings them up again."""
        with self._guard:
            self._shelf.losses.told(ids)

    def take_losses(self) -> list[Gap]:
        """Return, once, what was found damaged (or dropped in vain) since the last call, and what an earlier process lost
        and nobody told of: to be recorded as gaps."""
        with self._guard:
            losses, self._losses = self._losses, []
        return losses

    def usage(self) -> SpoolUsage:
        """Return the spool's figures."""
        with self._guard:
            by_value: dict[int, tuple[int, int]] = {}
            for segment in self._shelf.segments():
                chunks, size = by_value.get(segment.header.lane << LANE_SHIFT, (0, 0))
                by_value[segment.header.lane << LANE_SHIFT] = (chunks + segment.live, size + segment.live_bytes)
            return SpoolUsage(
                chunks=sum(segment.live for segment in self._shelf.segments()),
                live_bytes=sum(segment.live_bytes for segment in self._shelf.segments()),
                disk_bytes=self._shelf.disk_bytes(),
                limit_bytes=self.limit_bytes,
                by_value=by_value,
                counters=dict(self._shelf.counters),
            )

    # -- inside

    def _settle(self, ids: Iterable[ChunkId], mark: Mark, loss: str | None = None) -> list[Record]:
        """Mark waiting records (all copies of them); return one for each id. loss: why they are lost, if they are."""
        settled: dict[ChunkId, Record] = {}
        by_segment: dict[int, tuple[Segment, list[Record]]] = {}
        with self._guard:
            for chunk_id in ids:
                for segment, record in self._shelf.find(chunk_id):
                    if (
                        record.mark is Mark.LIVE
                        and record not in by_segment.get(segment.header.serial, (segment, []))[1]
                    ):
                        by_segment.setdefault(segment.header.serial, (segment, []))[1].append(record)
                        settled[chunk_id] = record
            if loss is not None:
                self._shelf.losses.note(gap_of(record, loss) for record in settled.values())
            for segment, records in by_segment.values():
                with self._shelf.noted("mark"):
                    segment.mark(records, mark)
                self._shelf.tidy(segment)
        return list(settled.values())


def _entry(record: Record) -> Entry:
    header = record.header
    return Entry(header.chunk_id, header.value, header.ready_wall_ns, header.size_bytes)


def _storage_failed(what: str, path: Path, error: OSError) -> StorageFailed:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return StorageFailed(f"{what}: {error.strerror or error}", str(path), disk_full=full)
