"""What is fuzzed: each of the codec's entry points for bytes, the errors it may raise, and the bounds it must keep.

A target takes any bytes. It may return, or raise a CodecError; anything else is a finding. What decodes must also
encode, unless it is over an encoder's limit, and decode to the same again.
"""

from __future__ import annotations

import itertools
import os
import resource
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from codec import chunk as chunks
from codec import columns, events, keytext, lz, meta, packed, rows, screen, script, seal, sections, strokes, tombstone
from codec.errors import CodecError
from codec.model import ChunkId, Frame, KeyEvents, Meta, PointerEvents, Row
from codec.packed import varint
from codec.seal import ArchivePrivateKey, DeviceSigningKey, Suite

MAX_GROWTH_BYTES = 64 << 20
"""What no input may take, above the process as it was before it."""
MAX_SECONDS_PER_MIB = 2.0
"""What no input may take of the processor, per MiB or part of one."""
MAX_FRAMES_LOOKED_AT = 8
"""A consumer's own choice: decoding is lazy, and the bound on time is per frame."""
MAX_EVENTS_AGAIN = 500
"""Encoding is slow on purpose; longer streams are decoded only."""

Result = TypeVar("Result")

ARCHIVE = ArchivePrivateKey.from_raw(Suite.X25519, bytes(range(32)))
DEVICE = DeviceSigningKey.from_raw(bytes(range(32)))


@dataclass(frozen=True, slots=True)
class Target:
    """One entry point. Attributes: run (takes the input), seeds (good inputs), the longest input that is tried."""

    run: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]
    max_len_bytes: int = 4096


def header(data: bytes) -> None:
    """parse_header as it comes, and behind a length and a CRC that fit."""
    _quietly(chunks.parse_header, data)
    _quietly(chunks.parse_header, _fitted(data))


def chunk(data: bytes) -> None:
    """open_chunk and verify_chunk, behind a length and a CRC that fit."""
    _quietly(chunks.open_chunk, _fitted(data), ARCHIVE)
    _quietly(chunks.verify_chunk, _fitted(data), DEVICE.public)


def body(data: bytes) -> None:
    """decode_body, with all that is in it but the pictures."""
    decoded = _quietly(chunks.decode_body, data)
    if decoded is None or len(decoded.pointer) + len(decoded.keys) > MAX_EVENTS_AGAIN:
        return
    encoded = _quietly(chunks.encode_body, decoded)
    if encoded is not None:
        again = chunks.decode_body(encoded)
        assert again.meta == decoded.meta
        assert again.screen == decoded.screen
        _same_events((again.pointer, again.keys), (decoded.pointer, decoded.keys))


def meta_(data: bytes) -> None:
    """decode_meta, plain and as zstd."""
    for is_zstd in (False, True):
        decoded = _quietly(meta.decode_meta, data, is_zstd=is_zstd)
        if decoded is not None:
            again, again_zstd = meta.encode_meta(decoded)
            assert meta.decode_meta(again, is_zstd=again_zstd) == decoded


def events_(data: bytes) -> None:
    """decode_events."""
    decoded = _quietly(events.decode_events, data)
    if decoded is not None and sum(map(len, decoded)) <= MAX_EVENTS_AGAIN:
        again = _quietly(events.encode_events, *decoded)
        if again is not None:
            _same_events(events.decode_events(again), decoded)


def rows_(data: bytes) -> None:
    """decode_rows."""
    decoded = _quietly(rows.decode_rows, data)
    if decoded is not None and len(decoded) <= MAX_EVENTS_AGAIN:
        assert repr(rows.decode_rows(rows.encode_rows(decoded))) == repr(decoded)  # repr: a NaN isn't equal to itself


def screen_(data: bytes) -> None:
    """decode_frames, the first few."""
    _quietly(_frames, data)


def rows_inside(data: bytes) -> None:
    """decode_rows, behind the compression: mutations of a zstd frame hardly ever reach what is in it."""
    rows_(bytes((rows.FORMAT,)) + _sized(lz.compress(data, rows.DICTIONARY)))


def columns_inside(data: bytes) -> None:
    """decode_events by method A, behind the compression. The first byte says which stream, the second how many."""
    kind, count, content = data[:1] or b"\0", data[1:2] or b"\0", data[2:]
    methods, dictionary = ((0x01, "POINTER"), (0x10, "KEY"), (0x30, "KEY"))[kind[0] % 3]
    count = varint(count[0] * 2) if methods == 0x10 else varint(count[0])
    frame = lz.compress(content, getattr(columns, f"{dictionary}_DICTIONARY"))
    events_(bytes((methods,)) + _sized(count + frame))


def screen_inside(data: bytes) -> None:
    """decode_frames, behind the compression: a script, indexes of ink and their own colours, cut by two lengths."""
    script, indexes = data[:1] or b"\0", data[1:2] or b"\0"
    cuts = (2, 2 + script[0], 2 + script[0] + 256 * (indexes[0] % 8))
    blocks = [
        packed.pack([part], preset=0)
        for part in (data[cuts[0] : cuts[1]], data[cuts[1] : cuts[2]].ljust(cuts[2] - cuts[1], b"\0"), data[cuts[2] :])
    ]
    head = bytes((1, 2, 0, 96, 80, 1, 40, 17, 1))  # two segments, one batch
    screen_(head + blocks[0] + b"\2abcdef" + blocks[1] + blocks[2] + b"\0")


def key(data: bytes) -> None:
    """Keys from text."""
    text = data.decode("utf-8", "replace")
    for kind in (seal.ArchivePublicKey, seal.ArchivePrivateKey, seal.DeviceVerifyKey, seal.DeviceSigningKey):
        decoded = _quietly(kind.from_text, text)
        assert decoded is None or kind.from_text(decoded.to_text()) == decoded


def tombstone_(data: bytes) -> None:
    """parse_tombstone and verify_tombstone, as they come and behind a length and a CRC that fit."""
    for spelt in (data, _fitted(data, tombstone.MAGIC)):
        parsed = _quietly(tombstone.parse_tombstone, spelt)
        _quietly(tombstone.verify_tombstone, spelt, DEVICE.public)
        if parsed is not None:
            ranges = parsed.ranges if parsed.scope is tombstone.Scope.RANGES else None
            again = tombstone.sign_tombstone(
                parsed.device, ranges, wall_s=parsed.wall_s, signer=DEVICE, authority=parsed.authority
            )
            assert again[:20] + again[28:-68] == spelt[:20] + spelt[28:-68], "a second spelling of one tombstone"


TARGETS = {
    "header": Target(header, lambda: [_chunk(b"")]),
    "chunk": Target(chunk, lambda: [_chunk(b""), _chunk(_body())]),
    "body": Target(body, lambda: [_body(), sections.encode_sections([])]),
    "meta": Target(meta_, lambda: [content.content for content in sections.decode_sections(_body())[:1]]),
    "events": Target(events_, lambda: [events.encode_events(*some) for some in _some_events()]),
    "rows": Target(rows_, lambda: [rows.encode_rows(_some_rows())]),
    "rows-inside": Target(rows_inside, lambda: [rows.row_content(_some_rows())]),
    "columns-inside": Target(columns_inside, lambda: _some_columns()),
    "screen-inside": Target(screen_inside, lambda: [_some_script()]),
    "screen": Target(screen_, lambda: [_some_screen(effort) for effort in screen.Effort]),
    "tombstone": Target(tombstone_, lambda: _some_tombstones(), tombstone.MAX_TOMBSTONE_BYTES + 8),
    "key": Target(
        key, lambda: [ARCHIVE.to_text().encode(), DEVICE.public.to_text().encode()], keytext.MAX_KEY_LINE_BYTES
    ),
}


class Bounded:
    """Runs a target's inputs and raises when one of them takes more memory or time than allowed."""

    def __init__(self, target: Target, *, slowness: float = 1) -> None:
        self._run = target.run
        self._seconds_per_mib = MAX_SECONDS_PER_MIB * slowness
        _lower_limits()
        for seed in target.seeds():
            target.run(seed)

    def __call__(self, data: bytes) -> None:
        before = _peak_bytes(reset=True)
        started = time.process_time()
        self._run(data)
        seconds = time.process_time() - started
        growth = _peak_bytes() - before
        allowed = self._seconds_per_mib * (1 + (len(data) >> 20))
        assert seconds <= allowed, f"{len(data)} bytes took {seconds:.2f} s, allowed are {allowed:.2f}"
        assert growth <= MAX_GROWTH_BYTES, f"memory grew by {growth >> 20} MiB, allowed are {MAX_GROWTH_BYTES >> 20}"


def _lower_limits() -> None:
    """Leave pictures out of the bound on memory: a single one of 8K takes more than it. For this process only."""
    for name, module in list(sys.modules.items()):
        for limit, value in (("MAX_PIXELS", 1 << 20), ("MAX_LIVE_PIXELS", 1 << 21)):
            if name.startswith("codec.") and hasattr(module, limit):
                setattr(module, limit, value)


_PROC = Path("/proc/self")
_STATUS = os.open(_PROC / "status", os.O_RDONLY) if (_PROC / "status").exists() else -1
_CLEAR = os.open(_PROC / "clear_refs", os.O_WRONLY) if os.access(_PROC / "clear_refs", os.W_OK) else -1


def _peak_bytes(*, reset: bool = False) -> int:
    """Return the most memory that the process has had, since the last reset where the system can do that.

    (ru_maxrss can't be reset, and even counts the parent's from before exec.)
    """
    if _STATUS < 0:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    if reset and _CLEAR >= 0:
        os.pwrite(_CLEAR, b"5", 0)
    status = os.pread(_STATUS, 4096, 0)
    return int(status.split(b"VmHWM:", 1)[1].split(None, 1)[0]) << 10


def _quietly(decode: Callable[..., Result], *args: object, **options: object) -> Result | None:
    try:
        return decode(*args, **options)
    except CodecError:
        return None


def _frames(data: bytes) -> None:
    for frame in itertools.islice(screen.decode_frames(data), MAX_FRAMES_LOOKED_AT):
        assert frame.pixels.shape[2] == 4


def _fitted(data: bytes, magic: bytes = chunks.MAGIC) -> bytes:
    """Return the data as a chunk whose magic, length and CRC are right, so that what lies behind is reached."""
    whole = bytearray(magic + data[4:].ljust(12, b"\0"))
    struct.pack_into("<I", whole, 8, len(whole))
    return bytes(whole[:-4]) + struct.pack("<I", zlib.crc32(whole[:-4]))


def _same_events(one: tuple[PointerEvents, KeyEvents], other: tuple[PointerEvents, KeyEvents]) -> None:
    for left, right in zip(one, other, strict=True):
        for name in type(left).__slots__:
            assert np.array_equal(getattr(left, name), getattr(right, name)), name


def _chunk(body: bytes) -> bytes:
    return chunks.seal_chunk(
        ChunkId("d-0123456789abcd", 1, 2),
        body,
        recipient=ARCHIVE.public,
        signer=DEVICE,
        expires_s=86_400 * 20_000,
        value=1,
    )


def _body() -> bytes:
    pointer, keys = _some_events()[0]
    some = Meta(5, 6, 7, ("training",), bytes(32), 86_400, lossy=("move-per-8ms",), counters={"masked": 3})
    return chunks.encode_body(chunks.Body(some, pointer, keys, _some_rows(), _some_screen(screen.Effort.FAST)))


def _some_events() -> list[tuple[PointerEvents, KeyEvents]]:
    rng = np.random.default_rng(1)
    n = 60
    walk = np.cumsum(rng.integers(-9, 9, (2, n)), axis=1).astype(np.int32)
    pointer = PointerEvents(np.cumsum(rng.integers(1, 20, n)), rng.integers(0, 8, n).astype(np.uint8), walk[0], walk[1])
    keys = KeyEvents(
        np.cumsum(rng.integers(10, 200, 20)),
        np.arange(20) % 2 == 0,
        np.repeat(rng.integers(0, 9, 10), 2).astype(np.uint16),
        np.zeros(20, np.uint8),
    )
    return [(pointer, keys), (pointer, KeyEvents.empty()), (PointerEvents.empty(), keys)]


def _some_rows() -> list[Row]:
    values = {"app": "editor", "n": 5, "x": 0.5, "on": True, "off": False, "raw": b"\0\1", "none": None, "big": 2**80}
    return [
        Row(0, "focus", {"app": "editor", "title": "a"}),
        Row(5, "all", values),
        Row(9, "pause"),
        Row(9, "focus", {"app": "b", "title": "a"}),
    ]


def _some_columns() -> list[bytes]:
    pointer, keys = _some_events()[0]
    paired = strokes.pair(keys)
    assert paired is not None
    return [
        bytes((0, len(pointer))) + columns.pointer_content(pointer),
        bytes((1, len(paired))) + columns.stroke_content(paired),
        bytes((2, 9)) + bytes(range(27)),
    ]


def _some_tombstones() -> list[bytes]:
    ranges = [tombstone.Range(1, 5, 5), tombstone.Range(1, 7, 9), tombstone.Range(1 << 31, 0, 1 << 30)]
    return [
        tombstone.sign_tombstone("dev-0123", some, wall_s=1_790_000_000, signer=DEVICE, authority=authority)
        for some in (ranges, None)
        for authority in tombstone.Authority
    ]


def _sized(content: bytes) -> bytes:
    return varint(len(content)) + content


def _some_script() -> bytes:
    """Return two frames of the first segment: ink, then copies, fills and recalls."""
    writer = script.ScriptWriter()
    op = script.Op(30)
    op.set(np.arange(4), script.Kind.INK)
    op.set(np.arange(6, 9), script.Kind.FILL, 0x102030)
    writer.add(0, 5, op)
    op = script.Op(30)
    op.copy(np.arange(7, 12), np.full(5, -1, np.int32), np.full(5, 2, np.int32))
    op.recall(np.arange(20, 22), np.arange(2))
    writer.add(0, 2000, op)
    raw = packed.Cursor(writer.finish(preset=0)).block(1 << 20, "a seed").rest()
    return bytes((len(raw), 4)) + raw + b"\0\1" * 512


def _some_screen(effort: screen.Effort) -> bytes:
    encoder = screen.ScreenEncoder(effort=effort)
    rng = np.random.default_rng(2)
    picture = rng.integers(0, 255, (80, 96, 4), np.uint8)
    for number in range(3):
        encoder.add(Frame(number * 2000, np.roll(picture, number * 5, axis=0)))
    return encoder.finish()
