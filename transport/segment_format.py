"""Pure: the bytes of the spool's files: a segment's page, its marks, its records, and the state slots.

A segment is one page and then records, appended:

    page    header (80) | summary (112, zero until the segment is closed) | 3904 marks, one byte per record slot
    record  header (96) | payload | zero padding to a multiple of 16

All numbers are little-endian. Everything but the marks carries a CRC-32. The page is written whole when the segment is
made, so that marking a record later (archived, dropped, forgotten, quarantined) needs no space on the disk. A record
carries its whole identity and its slot: it can be read, and marked, when everything before it is damaged.

This is private to one device's disk, may change with the version in the header, and is not the chunk format that
docs/format.md specifies.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum

from codec.model import DEVICE_PATTERN, ChunkId

VERSION = 1
PAGE_BYTES = 4096
ALIGN_BYTES = 16
MARKS_OFFSET = 192
SLOTS = PAGE_BYTES - MARKS_OFFSET
SUMMARY_OFFSET = 80

MAX_PAYLOAD_BYTES = 32 * 1024 * 1024
"""Limit on a stated payload length: four times the largest chunk; what claims more is damage, not data."""

_HEADER = struct.Struct("<8sHBxII32s24xI")
_HEADER_MAGIC = b"modSPOOL"
_SUMMARY = struct.Struct("<4sIIIIqqQ64xI")
_SUMMARY_MAGIC = b"mSUM"
_RECORD = struct.Struct("<4sIHBxIIqII32s24xI")
RECORD_MAGIC = b"mREC"
RECORD_BYTES = _RECORD.size
_STATE = struct.Struct("<8sQII32sI")
_STATE_MAGIC = b"modSTATE"
STATE_SLOT_BYTES = 512

assert _HEADER.size == SUMMARY_OFFSET  # noqa: S101 - a layout constant, not data
assert SUMMARY_OFFSET + _SUMMARY.size == MARKS_OFFSET  # noqa: S101
assert RECORD_BYTES % ALIGN_BYTES == 0  # noqa: S101


class Mark(IntEnum):
    """What became of a record."""

    LIVE = 0
    ARCHIVED = ord("A")  # the collector has it: the only mark that means success
    DROPPED = ord("D")  # to make room
    FORGOTTEN = ord("F")  # erased by its owner; the payload is zeros
    QUARANTINED = ord("Q")  # damaged, refused, or a second copy: never read again


_KNOWN_MARKS = frozenset(int(mark) for mark in Mark)


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """What a segment says of itself when it is made.

    Attributes:
        serial: its number, 32 bits, ascending. lane: its class of value, 0..7.
        device, epoch: as in every ChunkId in it.
    """

    serial: int
    lane: int
    device: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Summary:
    """What a closed segment holds, so that opening the spool need not read it.

    Attributes:
        count: records. end: offset behind the last one. first_seq, last_seq: of the records.
        min_ready_ns, max_ready_ns: of the records' `ready_wall_ns`. payload_bytes: of all records together.
    """

    count: int
    end: int
    first_seq: int
    last_seq: int
    min_ready_ns: int
    max_ready_ns: int
    payload_bytes: int


@dataclass(frozen=True, slots=True)
class RecordHeader:
    """What precedes a payload.

    Attributes:
        chunk_id: whose chunk. slot: its place among the marks. value: 0..255, what it is worth.
        ready_wall_ns: not to be sent before. size_bytes: of the payload. payload_crc: CRC-32 of it.
    """

    chunk_id: ChunkId
    slot: int
    value: int
    ready_wall_ns: int
    size_bytes: int
    payload_crc: int

    @property
    def stored_bytes(self) -> int:
        """Return the space of the whole record."""
        return stored_bytes(self.size_bytes)


@dataclass(frozen=True, slots=True)
class State:
    """What must survive the removal of segments.

    Attributes:
        counter: one more at each writing; the greater of two valid slots is the newer.
        device: whose spool. epoch: the current one. next_seq: no sequence number below it is free.
    """

    counter: int
    device: str
    epoch: int
    next_seq: int


def stored_bytes(payload_bytes: int) -> int:
    """Return the space of a record with a payload of this size."""
    return RECORD_BYTES + -(-payload_bytes // ALIGN_BYTES) * ALIGN_BYTES


def pack_page(header: SegmentHeader) -> bytes:
    """Return the page of a new, empty segment."""
    body = _HEADER.pack(_HEADER_MAGIC, VERSION, header.lane, header.serial, header.epoch, header.device.encode(), 0)
    return (_sealed(body)).ljust(PAGE_BYTES, b"\0")


def parse_header(page: bytes) -> SegmentHeader | None:
    """Return the header of a page, or None where it is damaged or of another version."""
    if len(page) < _HEADER.size or not _intact(page[: _HEADER.size]):
        return None
    magic, version, lane, serial, epoch, device_field, _ = _HEADER.unpack_from(page)
    device = _device(device_field)
    if magic != _HEADER_MAGIC or version != VERSION or device is None:
        return None
    return SegmentHeader(serial, lane, device, epoch)


def pack_summary(summary: Summary) -> bytes:
    """Return the summary's bytes, for SUMMARY_OFFSET."""
    return _sealed(
        _SUMMARY.pack(
            _SUMMARY_MAGIC,
            summary.count,
            summary.end,
            summary.first_seq,
            summary.last_seq,
            summary.min_ready_ns,
            summary.max_ready_ns,
            summary.payload_bytes,
            0,
        )
    )


def parse_summary(page: bytes) -> Summary | None:
    """Return the summary in a page, or None where there is none or it is damaged."""
    field = page[SUMMARY_OFFSET:MARKS_OFFSET]
    if len(field) < _SUMMARY.size or not _intact(field):
        return None
    magic, *numbers, _ = _SUMMARY.unpack(field)
    return Summary(*numbers) if magic == _SUMMARY_MAGIC else None


def parse_marks(page: bytes) -> bytes:
    """Return the marks of a page, SLOTS bytes. One unknown mark shows damage: then none is believed, all are LIVE.

    To believe too little costs a second sending, which the archive discards; to believe too much would lose a chunk.
    """
    marks = page[MARKS_OFFSET:PAGE_BYTES]
    if len(marks) != SLOTS or not _KNOWN_MARKS.issuperset(marks):
        return bytes(SLOTS)
    return marks


def pack_record(record: RecordHeader, payload: bytes) -> bytes:
    """Return a whole record, padding included."""
    return (pack_record_header(record) + payload).ljust(record.stored_bytes, b"\0")


def pack_record_header(record: RecordHeader) -> bytes:
    """Return a record's header."""
    return _sealed(
        _RECORD.pack(
            RECORD_MAGIC,
            record.size_bytes,
            record.slot,
            record.value,
            record.chunk_id.epoch,
            record.chunk_id.seq,
            record.ready_wall_ns,
            record.payload_crc,
            VERSION,
            record.chunk_id.device.encode(),
            0,
        )
    )


def parse_record(data: bytes) -> RecordHeader | None:
    """Return the record header at the start of `data`, or None where there is none or it is damaged."""
    if data[:4] != RECORD_MAGIC or len(data) < RECORD_BYTES or not _intact(data[:RECORD_BYTES]):
        return None
    _, size, slot, value, epoch, seq, ready, crc, version, device_field, _ = _RECORD.unpack_from(data)
    device = _device(device_field)
    if version != VERSION or device is None or size > MAX_PAYLOAD_BYTES or slot >= SLOTS:
        return None
    return RecordHeader(ChunkId(device, epoch, seq), slot, value, ready, size, crc)


def pack_state(state: State) -> bytes:
    """Return one slot of the state file."""
    body = _STATE.pack(_STATE_MAGIC, state.counter, state.epoch, state.next_seq, state.device.encode(), 0)
    return _sealed(body).ljust(STATE_SLOT_BYTES, b"\0")


def parse_state(data: bytes) -> tuple[State | None, bool]:
    """Return the newer of the valid slots of a state file (None where there is none), and whether to doubt it.

    A slot that is neither valid nor empty may have been the newer one.
    """
    found: list[State] = []
    in_doubt = False
    for offset in (0, STATE_SLOT_BYTES):
        field = data[offset : offset + _STATE.size]
        if not any(field):
            continue
        in_doubt = True
        if len(field) == _STATE.size and _intact(field):
            magic, counter, epoch, next_seq, device_field, _ = _STATE.unpack(field)
            device = _device(device_field)
            if magic == _STATE_MAGIC and device is not None:
                found.append(State(counter, device, epoch, next_seq))
                in_doubt = False
        if in_doubt:
            break
    return max(found, key=lambda state: state.counter, default=None), in_doubt


def _sealed(body: bytes) -> bytes:
    """Put the CRC of all but the last four bytes into them."""
    return body[:-4] + zlib.crc32(body[:-4]).to_bytes(4, "little")


def _intact(body: bytes) -> bool:
    return zlib.crc32(body[:-4]) == int.from_bytes(body[-4:], "little")


def _device(field: bytes) -> str | None:
    text = field.rstrip(b"\0").decode("ascii", "replace")
    return text if DEVICE_PATTERN.fullmatch(text) else None
