"""Pure: what a chunk says of itself (Meta), as a msgpack map with small integer keys. docs/format.md, "Meta".

Guaranteed: whatever the bytes are, decoding takes no more than some MAX_META_BYTES of memory, and returns a Meta whose
fields have the stated types and ranges, or raises. Keys that a newer writer added are skipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codec.errors import Corrupt, TooLarge, Truncated
from codec.model import Meta

MAX_META_BYTES = 64 << 10
"""Uncompressed. A Meta is some 100 bytes; the counters of a bad day, by reason, some thousand."""
MAX_TEXTS = 64
"""Purposes, and lossy steps: there are a dozen names."""
MAX_COUNTERS = 1024
MAX_NESTED = 1024
"""Elements of any one array or map: msgpack takes the memory of a stated length at once, on every level of nesting."""
CONSENT_BYTES = 32
ZSTD_LEVEL = 19

_KEYS = {
    0: "t0_ms",
    1: "wall_t0_ns",
    2: "duration_ms",
    3: "purposes",
    4: "consent",
    5: "expires_s",
    6: "region",
    7: "key_content",
    8: "agent",
    9: "lossy",
    10: "counters",
}
"""The keys of format version 1. A number is never used again for another meaning."""
_REQUIRED = (0, 1, 2)
_DEFAULTS = Meta(0, 0, 0)


def encode_meta(meta: Meta) -> tuple[bytes, bool]:
    """Return the bytes of a Meta, and whether they are a zstd frame (when that is smaller).

    Raises:
        ValueError: a field is outside its type or range.
    """
    import msgpack

    fields = {}
    for key, name in _KEYS.items():
        value = getattr(meta, name)
        if key in _REQUIRED or value != getattr(_DEFAULTS, name):
            fields[key] = (
                list(value) if isinstance(value, tuple) else dict(value) if isinstance(value, Mapping) else value
            )
    try:
        plain: bytes = msgpack.packb(fields)
        _checked(fields)
    except (Corrupt, OverflowError, TypeError) as error:
        raise ValueError(f"this Meta can't be written: {error}") from error
    if len(plain) > MAX_META_BYTES:
        raise ValueError(
            f"this Meta is {len(plain):,} bytes long, over the limit of {MAX_META_BYTES:,}: count fewer reasons"
        )
    import zstandard

    packed = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_content_size=True).compress(plain)
    return (packed, True) if len(packed) < len(plain) else (plain, False)


def decode_meta(data: bytes, *, is_zstd: bool) -> Meta:
    """Return the Meta of its bytes.

    Args:
        data: the section's content.
        is_zstd: whether it is a zstd frame.

    Raises:
        Corrupt: no msgpack map of the stated keys, or a field is outside its type or range.
        Truncated: the zstd frame ends too early. TooLarge: it would be over MAX_META_BYTES.
    """
    import msgpack

    if is_zstd:
        data = _decompress(data)
    elif len(data) > MAX_META_BYTES:
        raise TooLarge("a chunk's Meta in bytes", actual=len(data), limit=MAX_META_BYTES)
    try:
        fields = msgpack.unpackb(
            data,
            strict_map_key=False,
            object_pairs_hook=_without_repeats,
            max_array_len=MAX_NESTED,
            max_map_len=MAX_NESTED,
        )
    except (ValueError, TypeError, RecursionError) as error:
        raise Corrupt(f"a chunk's Meta is no msgpack map: {error}") from error
    if not isinstance(fields, dict):
        raise Corrupt("a chunk's Meta is no msgpack map")
    return _checked(fields)


def _without_repeats(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _decompress(data: bytes) -> bytes:
    """Undo zstd with a bound on memory, whatever the frame says of its size."""
    import zstandard

    try:
        stated_bytes = zstandard.get_frame_parameters(data).content_size
        if stated_bytes > MAX_META_BYTES:  # includes "unknown": our writers always state it
            raise TooLarge("a chunk's Meta in bytes", actual=stated_bytes, limit=MAX_META_BYTES)
        one_frame = zstandard.ZstdDecompressor(max_window_size=MAX_META_BYTES).decompressobj()
        plain = one_frame.decompress(data)
    except zstandard.ZstdError as error:
        raise Corrupt(f"a chunk's Meta is no zstd frame: {error}") from error
    if not one_frame.eof:
        raise Truncated("a chunk's Meta (zstd)", offset=len(data))
    if one_frame.unused_data:
        raise Corrupt(f"{len(one_frame.unused_data)} bytes follow a chunk's Meta")
    return plain


_RANGES = {0: (-(2**63), 2**63 - 1), 1: (0, 2**63 - 1), 2: (0, 2**40), 5: (0, 2**40)}
_TEXTS = {6, 7, 8}
_LISTS = {3, 9}


def _checked(fields: dict[Any, Any]) -> Meta:
    """Return the Meta of a map, after every field's type and range was looked at."""
    for key in _REQUIRED:
        if key not in fields:
            raise Corrupt(f"a chunk's Meta lacks {_KEYS[key]}")
    known: dict[str, Any] = {}
    for key, value in fields.items():
        if type(key) is not int:
            raise Corrupt(f"a chunk's Meta has the key {key!r}, which is no integer")
        if key not in _KEYS:
            continue
        name = _KEYS[key]
        if not _fits(key, value):
            raise Corrupt(f"a chunk's Meta has {value!r:.80} as {name}")
        known[name] = tuple(value) if key in _LISTS else value
    return Meta(**known)


def _fits(key: int, value: object) -> bool:
    if key in _RANGES:
        low, high = _RANGES[key]
        return type(value) is int and low <= value <= high
    if key in _TEXTS:
        return isinstance(value, str)
    if key in _LISTS:
        return isinstance(value, list) and len(value) <= MAX_TEXTS and all(isinstance(text, str) for text in value)
    if key == 4:
        return isinstance(value, bytes) and len(value) in (0, CONSENT_BYTES)
    return (
        isinstance(value, dict)
        and len(value) <= MAX_COUNTERS
        and all(isinstance(name, str) and type(count) is int and 0 <= count < 2**63 for name, count in value.items())
    )
