"""Shell: one segment file of the spool: append, read, mark, erase, and find out what is in it.

It holds no file open between calls: a chunk a minute makes that free, and a disk that went away shows at once.
What it guarantees: `append` returns after the record is on the disk; a mark is on the disk when `mark` returns; a
damaged record costs itself and no other. It never decides what to keep (transport/spool.py does).
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from codec.model import ChunkId
from transport import segment_format as layout
from transport.fs import Files, Handle, Open, opened, read_exactly, write_all
from transport.segment_format import Mark, RecordHeader, SegmentHeader, Summary

ZERO_STEP_BYTES = 1 << 18
"""Erasing writes zeros in steps of this size."""


@dataclass(slots=True)
class Record:
    """A record of a segment: where it is, what it is, what became of it."""

    header: RecordHeader
    offset: int
    mark: Mark


class Segment:
    """One file of the spool.

    Attributes:
        path, header: which. closed: nothing is appended any more. count: records. end: the append offset.
        live, live_bytes: records marked LIVE and their payload bytes. first_seq, last_seq: of its records (last_seq -1
        when empty). min_ready_ns, max_ready_ns: of its records. damaged_bytes: found unreadable when it was scanned.
        rotten: those that were waiting and whose bytes the scan found damaged.
        ragged: something may lie behind `end`. to_repair: the page does not say what the scan found.
    """

    __slots__ = (
        "_records",
        "closed",
        "count",
        "damaged_bytes",
        "end",
        "files",
        "first_seq",
        "header",
        "last_seq",
        "live",
        "live_bytes",
        "max_ready_ns",
        "min_ready_ns",
        "path",
        "payload_bytes",
        "ragged",
        "rotten",
        "seen_end",
        "to_repair",
    )

    def __init__(self, files: Files, path: Path, header: SegmentHeader) -> None:
        self.files = files
        self.path = path
        self.header = header
        self.closed = False
        self.to_repair = False
        self.ragged = False
        self.count = 0
        self.end = layout.PAGE_BYTES
        self.seen_end = self.end
        self.live = 0
        self.live_bytes = 0
        self.payload_bytes = 0
        self.first_seq = 0
        self.last_seq = -1
        self.min_ready_ns = 0
        self.max_ready_ns = 0
        self.damaged_bytes = 0
        self.rotten: list[Record] = []
        self._records: list[Record] | None = []

    @property
    def disk_bytes(self) -> int:
        """Return the space it takes."""
        return max(self.end, self.seen_end)

    @property
    def loaded(self) -> bool:
        """Tell whether its index is in memory."""
        return self._records is not None

    @classmethod
    def create(cls, files: Files, path: Path, header: SegmentHeader) -> Segment:
        """Make a new, empty segment; its name is durable, its page is with the first record.

        Raises:
            OSError: there may be a file without a record in it, which the next opening removes.
        """
        try:
            with opened(files, path, Open.CREATE) as handle:
                write_all(
                    handle, layout.pack_page(header), 0
                )  # synced with the first record: without one it is nothing
            files.sync_dir(path.parent)
        except OSError:
            with contextlib.suppress(OSError):
                files.unlink(path)
            raise
        return cls(files, path, header)

    @classmethod
    def recover(cls, files: Files, path: Path) -> Segment | None:
        """Read what is in a segment of an earlier run; the result takes no more records. Nothing is written.

        A closed segment costs one page; one that was not closed, or is damaged, is read whole.

        Returns:
            the segment, or None when there is no record in it.

        Raises:
            OSError: it cannot be read.
        """
        with opened(files, path, Open.READ) as handle:
            page = read_exactly(handle, layout.PAGE_BYTES, 0)
            size = handle.size_bytes()
            header = layout.parse_header(page)
            summary = layout.parse_summary(page)
            if header is not None and summary is not None and size >= summary.end:
                segment = cls(files, path, header)
                segment._adopt(summary, size, layout.parse_marks(page))
                if 0 < segment.live < segment.count:
                    segment.load()  # acknowledged in part: the sizes of the rest are in the headers
                return segment
            marks = layout.parse_marks(page) if header is not None else bytes(layout.SLOTS)
            records, damaged = _scan(handle, size, marks, verify=True)
        if not records:
            if header is None or damaged:
                return _damaged_shell(files, path, header, size)
            return None
        first = records[0].header.chunk_id
        if header is None:
            header = SegmentHeader(serial_of(path), 0, first.device, first.epoch)
        segment = cls(files, path, header)
        segment.damaged_bytes = damaged
        segment._index(records, size)
        segment.rotten = [
            record for record in records if record.mark is Mark.QUARANTINED and marks[record.header.slot] == Mark.LIVE
        ]
        segment.closed = segment.to_repair = True
        return segment

    def append(self, chunk_id: ChunkId, payload: bytes, *, value: int, ready_wall_ns: int) -> Record:
        """Store a chunk durably.

        Raises:
            OSError: it is not stored for sure; the segment is closed, since what its end holds is unknown.
        """
        header = RecordHeader(chunk_id, self.count, value, ready_wall_ns, len(payload), zlib.crc32(payload))
        record = Record(header, self.end, Mark.LIVE)
        try:
            with opened(self.files, self.path, Open.WRITE) as handle:
                write_all(handle, layout.pack_record(header, payload), self.end)
                handle.sync()
        except OSError:
            self.seen_end = max(self.seen_end, self.end + header.stored_bytes)
            self.cut()
            raise
        if self.count == 0:
            self.first_seq = chunk_id.seq
            self.min_ready_ns = self.max_ready_ns = ready_wall_ns
        self._note(record)
        self.end += header.stored_bytes
        self.seen_end = max(self.seen_end, self.end)
        if self._records is not None:
            self._records.append(record)
        return record

    def fits(self, payload_bytes: int, segment_bytes: int) -> bool:
        """Tell whether one more record of this size belongs into this segment."""
        return (
            not self.closed
            and self.count < layout.SLOTS
            and (self.count == 0 or self.end + layout.stored_bytes(payload_bytes) <= segment_bytes)
        )

    def close(self) -> None:
        """Append no more, and write the summary that spares the next opening a scan.

        The page of a segment that was scanned is written anew, with marks that say what the scan found. A disk that
        takes neither costs a scan, nothing else.
        """
        self.closed = True
        summary = Summary(
            self.count,
            self.end,
            self.first_seq,
            max(self.last_seq, 0),
            self.min_ready_ns,
            self.max_ready_ns,
            self.payload_bytes,
        )
        page = bytearray(layout.pack_page(self.header))
        page[layout.SUMMARY_OFFSET : layout.MARKS_OFFSET] = layout.pack_summary(summary)
        page[layout.MARKS_OFFSET : layout.MARKS_OFFSET + self.count] = bytes([Mark.QUARANTINED]) * self.count
        for record in self.load():
            page[layout.MARKS_OFFSET + record.header.slot] = record.mark
        try:
            with opened(self.files, self.path, Open.WRITE) as handle:
                write_all(handle, page if self.to_repair else page[: layout.MARKS_OFFSET], 0)
                handle.sync()
        except OSError:
            return
        self.to_repair = False

    def load(self) -> Sequence[Record]:
        """Return the records in order, reading their headers when they are not in memory.

        Raises:
            OSError: it cannot be read.
        """
        if self._records is None:
            with opened(self.files, self.path, Open.READ) as handle:
                marks = layout.parse_marks(read_exactly(handle, layout.PAGE_BYTES, 0))
                self._records, _ = _scan(handle, self.end, marks, verify=False)
            live = [record for record in self._records if record.mark is Mark.LIVE]
            self.live = len(live)
            self.live_bytes = sum(record.header.size_bytes for record in live)
        return self._records

    def unload(self) -> None:
        """Forget the index; `load` reads it again."""
        if self.closed:
            self._records = None

    def read(self, record: Record) -> bytes | None:
        """Return a record's payload, or None when it is not what was stored.

        Raises:
            OSError: the disk would not read.
        """
        with opened(self.files, self.path, Open.READ) as handle:
            payload = read_exactly(handle, record.header.size_bytes, record.offset + layout.RECORD_BYTES)
        return payload if zlib.crc32(payload) == record.header.payload_crc else None

    def mark(self, records: Iterable[Record], mark: Mark, *, only_on_disk: bool = False) -> None:
        """Say what became of records, durably.

        Args:
            records: of this segment. mark: what. only_on_disk: without the disk, they stay what they are.

        Raises:
            OSError: the marks hold in memory (unless `only_on_disk`), and perhaps on the disk.
        """
        chosen = list(records)
        if not only_on_disk:
            self._note_marks(chosen, mark)
        with opened(self.files, self.path, Open.WRITE) as handle:
            for record in chosen:
                write_all(handle, bytes([mark]), layout.MARKS_OFFSET + record.header.slot)
            handle.sync()
        self._note_marks(chosen, mark)

    def _note_marks(self, records: Iterable[Record], mark: Mark) -> None:
        for record in records:
            if record.mark is Mark.LIVE and mark is not Mark.LIVE:
                self.live -= 1
                self.live_bytes -= record.header.size_bytes
            record.mark = mark

    def erase(self, records: Sequence[Record]) -> None:
        """Overwrite payloads with zeros, durably, then mark them: a mark FORGOTTEN on the disk means that they are gone.

        Raises:
            OSError: they count as forgotten in memory; on the disk, not for sure.
        """
        try:
            with opened(self.files, self.path, Open.WRITE) as handle:
                for record in records:
                    _zero(handle, record.offset + layout.RECORD_BYTES, record.header.size_bytes)
                handle.sync()
        except OSError:
            self._note_marks(records, Mark.FORGOTTEN)
            raise
        self.mark(records, Mark.FORGOTTEN)

    def _adopt(self, summary: Summary, size: int, marks: bytes) -> None:
        """Take the figures of a summary."""
        self.closed = True
        self._records = None
        self.count, self.end, self.seen_end = summary.count, summary.end, size
        self.ragged = size > summary.end
        self.first_seq, self.last_seq = summary.first_seq, summary.last_seq
        self.min_ready_ns, self.max_ready_ns = summary.min_ready_ns, summary.max_ready_ns
        self.payload_bytes = summary.payload_bytes
        self.live = marks[: summary.count].count(Mark.LIVE)
        self.live_bytes = summary.payload_bytes if self.live == summary.count else 0

    def _index(self, records: list[Record], size: int) -> None:
        """Take the figures of a scan."""
        self.seen_end = size
        seqs = [record.header.chunk_id.seq for record in records]
        ready = [record.header.ready_wall_ns for record in records]
        self.first_seq, self.min_ready_ns, self.max_ready_ns = min(seqs), min(ready), max(ready)
        for record in records:
            self._note(record)
        self.count = max(record.header.slot for record in records) + 1
        self.end = records[-1].offset + records[-1].header.stored_bytes
        self.ragged = size > self.end
        self._records = records

    def _note(self, record: Record) -> None:
        header = record.header
        self.count += 1
        self.payload_bytes += header.size_bytes
        self.first_seq = min(self.first_seq, header.chunk_id.seq)  # a chunk that is put again comes after later ones
        self.last_seq = max(self.last_seq, header.chunk_id.seq)
        self.min_ready_ns = min(self.min_ready_ns, header.ready_wall_ns)
        self.max_ready_ns = max(self.max_ready_ns, header.ready_wall_ns)
        if record.mark is Mark.LIVE:
            self.live += 1
            self.live_bytes += header.size_bytes

    def cut(self) -> None:
        """Overwrite and cut off what lies behind the last record: a write that failed may have left a chunk there."""
        self.closed = self.ragged = True
        try:
            with opened(self.files, self.path, Open.WRITE) as handle:
                _zero(handle, self.end, handle.size_bytes() - self.end)
                handle.sync()
                handle.truncate(self.end)
                handle.sync()  # else a power cut gives the space back to nobody
        except OSError:
            return  # it fails its CRC, or is the very chunk that could not be confirmed; forgetting tries again
        self.ragged = False
        self.seen_end = self.end


def serial_of(path: Path) -> int:
    """Return the number in a segment's name, or -1 when it is not one."""
    stem, dot, suffix = path.name.partition(".")
    if dot and suffix == "seg" and len(stem) == 8 and all(letter in "0123456789abcdef" for letter in stem):
        return int(stem, 16)
    return -1


def _damaged_shell(files: Files, path: Path, header: SegmentHeader | None, size: int) -> Segment | None:
    """Return a closed segment without records that stands for damage; None for a mere unfinished creation."""
    if size <= layout.PAGE_BYTES and header is None:
        return None
    segment = Segment(files, path, header or SegmentHeader(max(serial_of(path), 0), 0, "----", 0))
    segment.closed = True
    segment.seen_end = size
    segment.damaged_bytes = size - layout.PAGE_BYTES
    return segment


def _zero(handle: Handle, offset: int, size_bytes: int) -> None:
    zeros = bytes(min(size_bytes, ZERO_STEP_BYTES))
    while size_bytes > 0:
        step = min(size_bytes, len(zeros))
        write_all(handle, zeros[:step], offset)
        offset += step
        size_bytes -= step


def _scan(handle: Handle, size: int, marks: bytes, *, verify: bool) -> tuple[list[Record], int]:
    """Find the records up to `size`, skipping damage to the next record that is whole.

    Args:
        handle: the file. size: where to stop. marks: of its page. verify: also check the payloads' CRCs; a record that
            fails is not live (and if it is torn by a crash, it never was stored).

    Returns:
        the records, in the file's order, and how many bytes were damaged.
    """
    records: list[Record] = []
    taken: set[int] = set()
    damaged = 0
    offset = layout.PAGE_BYTES
    while offset + layout.RECORD_BYTES <= size:
        header = layout.parse_record(handle.pread(layout.RECORD_BYTES, offset))
        if header is None or header.slot in taken or offset + layout.RECORD_BYTES + header.size_bytes > size:
            following = _next_record(handle, offset + layout.ALIGN_BYTES, size)
            damaged += following - offset
            offset = following
            continue
        mark = Mark(marks[header.slot])
        if verify and mark is Mark.LIVE:
            payload = read_exactly(handle, header.size_bytes, offset + layout.RECORD_BYTES)
            if zlib.crc32(payload) != header.payload_crc:
                mark = Mark.QUARANTINED
                damaged += header.stored_bytes
        taken.add(header.slot)
        records.append(Record(header, offset, mark))
        offset += header.stored_bytes
    damaged += max(0, size - offset)
    return records, damaged


def _next_record(handle: Handle, offset: int, size: int) -> int:
    """Return the offset of the next place where a record's header stands whole, or `size`."""
    step = 1 << 16
    while offset < size:
        piece = read_exactly(handle, min(step + layout.RECORD_BYTES, size - offset), offset)
        found = piece.find(layout.RECORD_MAGIC)
        while found >= 0:
            if (offset + found) % layout.ALIGN_BYTES == 0 and layout.parse_record(piece[found:][: layout.RECORD_BYTES]):
                return offset + found
            found = piece.find(layout.RECORD_MAGIC, found + 1)
        if len(piece) < step + layout.RECORD_BYTES:
            break
        offset += step
    return size
