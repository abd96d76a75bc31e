"""Pure: the events section of a chunk: pointer and key streams, each by the method that makes it smallest.

Guarantees: what `decode_events` returns equals what `encode_events` was given, value for value; a decoder never reads a
section's proper prefix as whole; hostile bytes cost bounded time and memory and raise only this package's errors. The
section
carries no checksum: the container has one. `docs/format-events.md` specifies it byte by byte.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import IntEnum

from codec import columns, motion_reader, rhythm
from codec.errors import Corrupt, Truncated, Unsupported
from codec.model import KeyEvents, PointerEvents
from codec.strokes import Strokes, pair, unpair
from codec.varint import Cursor, write_varint


class Method(IntEnum):
    """How a stream is coded; the number stands in the section's first byte and is never given to anything else."""

    NONE = 0  # the stream is empty
    COLUMNS = 1  # A: delta columns and Zstandard
    CONTEXT = 2  # B: context model and range coder
    PLAIN = 3  # keys only: A without pairing


ALL = frozenset({Method.COLUMNS, Method.CONTEXT})
"""Every method that an encoder may choose from."""

MAX_SECTION_BYTES = 1 << 23
"""More than any admissible stream needs; a length above it is noise."""


def encode_events(pointer: PointerEvents, keys: KeyEvents, *, methods: Collection[Method] = ALL) -> bytes:
    """Encode one chunk's events.

    Takes up to 20 µs an event of one core: call it off the event loop.

    Args:
        pointer: at most `columns.MAX_POINTER_EVENTS`; keys: at most `columns.MAX_KEY_EVENTS`; times within ±2**40 ms of
            t0.
        methods: what to choose from; the smallest result wins. COLUMNS is tried when nothing else applies.

    Returns:
        The section, at least one byte.

    Raises:
        TooLarge: beyond these bounds: close the chunk earlier.
    """
    columns.check_writable(pointer, keys)
    pointer_method, pointer_stream = _encode_pointer(pointer, methods)
    key_method, key_stream = _encode_keys(keys, methods)
    out = bytearray((pointer_method | key_method << 4,))
    for method, stream in ((pointer_method, pointer_stream), (key_method, key_stream)):
        if method:
            write_varint(out, len(stream))
    return bytes(out) + pointer_stream + key_stream


def decode_events(section: bytes) -> tuple[PointerEvents, KeyEvents]:
    """Decode one chunk's events.

    Args:
        section: what `encode_events` returned, whole.

    Raises:
        Truncated: the section is a prefix of a longer one. Corrupt: it contradicts itself. TooLarge: it claims more
        than the format's limits. Unsupported: it uses a method this build does not know.
    """
    cursor = Cursor(section, "an events section")
    head = cursor.byte()
    pointer_method, key_method = head & 15, head >> 4
    lengths = [
        cursor.varint(limit=MAX_SECTION_BYTES, name="a stream's length") if method else 0
        for method in (pointer_method, key_method)
    ]
    if cursor.left_bytes != sum(lengths):
        if cursor.left_bytes > sum(lengths):
            raise Corrupt("an events section has bytes after its end", offset=cursor.offset + sum(lengths))
        raise Truncated(cursor.what, offset=len(section), wanted_bytes=sum(lengths) - cursor.left_bytes)
    pointer_stream, key_stream = cursor.take(lengths[0]), cursor.take(lengths[1])
    try:
        return _decode_pointer(pointer_method, pointer_stream), _decode_keys(key_method, key_stream)
    except Truncated as error:  # the section is whole, so a stream that ends early contradicts its own length
        raise Corrupt(str(error)) from None


def _encode_pointer(pointer: PointerEvents, methods: Collection[Method]) -> tuple[Method, bytes]:
    if not len(pointer):
        return Method.NONE, b""
    best = (Method.COLUMNS, columns.encode_pointer(pointer))
    if Method.CONTEXT in methods:
        stream = motion_reader.encode_pointer(pointer)
        if stream is not None and (len(stream) < len(best[1]) or Method.COLUMNS not in methods):
            best = (Method.CONTEXT, stream)
    return best


def _decode_pointer(method: int, stream: bytes) -> PointerEvents:
    if method == Method.NONE:
        return PointerEvents.empty()
    if method == Method.COLUMNS:
        return columns.decode_pointer(stream)
    if method == Method.CONTEXT:
        return motion_reader.decode_pointer(stream)
    raise Unsupported(f"pointer method {method} is not known to this build: upgrade the reader")


def _encode_keys(keys: KeyEvents, methods: Collection[Method]) -> tuple[Method, bytes]:
    if not len(keys):
        return Method.NONE, b""
    strokes = pair(keys)
    if strokes is None:
        return Method.PLAIN, columns.encode_keys(keys)
    best = (Method.COLUMNS, columns.encode_strokes(strokes))
    if Method.CONTEXT in methods:
        stream = rhythm.encode_strokes(strokes)
        if stream is not None and (len(stream) < len(best[1]) or Method.COLUMNS not in methods):
            best = (Method.CONTEXT, stream)
    return best


def _decode_keys(method: int, stream: bytes) -> KeyEvents:
    if method == Method.NONE:
        return KeyEvents.empty()
    if method == Method.COLUMNS:
        return _typed(columns.decode_strokes(stream))
    if method == Method.CONTEXT:
        return _typed(rhythm.decode_strokes(stream))
    if method == Method.PLAIN:
        return columns.decode_keys(stream)
    raise Unsupported(f"key method {method} is not known to this build: upgrade the reader")


def _typed(strokes: Strokes) -> KeyEvents:
    keys = unpair(strokes)
    columns.checked_times(keys.t_ms)
    return keys
