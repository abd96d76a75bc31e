"""Pure: tombstones: signed orders to erase chunks for good. docs/format-tombstone.md has every byte.

A tombstone names ranges of one device's chunks, or the device as a whole, and is signed by the device itself or by the
archive's owner. Whoever keeps it can show at any time who had what erased, and when.

Guaranteed: every proper prefix raises Truncated; every changed byte raises; every length is checked before memory is
taken; a set of chunks has one spelling only. Not guaranteed by `parse_tombstone`: who wrote it. That is `verify_tombstone`.
"""

from __future__ import annotations

import struct
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from codec import seal
from codec.errors import Corrupt, Denied, TooLarge, Truncated, Unsupported
from codec.model import DEVICE_PATTERN, ChunkId
from codec.seal import DeviceSigningKey, DeviceVerifyKey

MAGIC = b"\x8dMDT"
"""Begins like a chunk's, ends otherwise: no signature over one can pass for one over the other."""
VERSION = 1

# Limits. Each is checked before the memory is taken.
MAX_RANGES = 1024
"""A day of chunks with every second one spared; more are more tombstones."""
MIN_DEVICE_BYTES = 4
MAX_DEVICE_BYTES = 32

_FIXED = struct.Struct("<4sBBBBIQ8sH")
"""magic, version, scope, authority, device bytes, whole length, wall seconds, signer id, count of ranges."""
_ENVELOPE = struct.Struct("<4sBxxxI")
"""As a chunk's: magic, version, the whole length, and the CRC-32 as the last four bytes."""
_RANGE = struct.Struct("<III")
_CRC = struct.Struct("<I")
FIXED_BYTES = _FIXED.size
RANGE_BYTES = _RANGE.size
TRAILER_BYTES = seal.SIGNATURE_BYTES + _CRC.size
MIN_TOMBSTONE_BYTES = FIXED_BYTES + MIN_DEVICE_BYTES + TRAILER_BYTES
MAX_TOMBSTONE_BYTES = FIXED_BYTES + MAX_DEVICE_BYTES + MAX_RANGES * RANGE_BYTES + TRAILER_BYTES

_MAX_U32 = (1 << 32) - 1


class Scope(IntEnum):
    """What is erased."""

    RANGES = 1
    DEVICE = 2  # everything that the device ever sent or will send


class Authority(IntEnum):
    """Whose key signed."""

    DEVICE = 1
    OWNER = 2  # the archive's owner


_SCOPES, _AUTHORITIES = frozenset(map(int, Scope)), frozenset(map(int, Authority))


@dataclass(frozen=True, slots=True, order=True)
class Range:
    """Chunks of one epoch: from sequence number `first` to `last`, both included; 32 bits each."""

    epoch: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Tombstone:
    """An order to erase.

    Attributes:
        device: whose chunks. scope: see Scope. ranges: in order, without overlap; none for a whole device.
        wall_s: when it was made, seconds since 1970. authority: whose key signed. signer_id: of that key (8 bytes).
    """

    device: str
    scope: Scope
    ranges: tuple[Range, ...]
    wall_s: int
    authority: Authority
    signer_id: bytes

    def covers(self, chunk_id: ChunkId) -> bool:
        """Tell whether a chunk is to be erased."""
        if chunk_id.device != self.device:
            return False
        if self.scope is Scope.DEVICE:
            return True
        return _within(self.ranges, Range(chunk_id.epoch, chunk_id.seq, chunk_id.seq))

    def covers_all_of(self, other: Tombstone) -> bool:
        """Tell whether everything that another erases is erased by this one too."""
        if other.device != self.device:
            return False
        if self.scope is Scope.DEVICE:
            return True
        return other.scope is Scope.RANGES and all(_within(self.ranges, range_) for range_ in other.ranges)


def _within(ranges: Sequence[Range], wanted: Range) -> bool:
    place = bisect_right(ranges, (wanted.epoch, wanted.first), key=lambda range_: (range_.epoch, range_.first)) - 1
    return place >= 0 and ranges[place].epoch == wanted.epoch and ranges[place].last >= wanted.last


def merged(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """Return the ranges that cover just the same chunks, in order, without overlap, and as few as possible."""
    found: list[Range] = []
    for range_ in sorted(ranges):
        if found and found[-1].epoch == range_.epoch and range_.first <= found[-1].last + 1:
            found[-1] = Range(range_.epoch, found[-1].first, max(found[-1].last, range_.last))
        else:
            found.append(range_)
    return tuple(found)


def ranges_of(ids: Iterable[ChunkId]) -> tuple[Range, ...]:
    """Return the ranges that cover just these chunks of one device."""
    return merged(Range(chunk_id.epoch, chunk_id.seq, chunk_id.seq) for chunk_id in ids)


def sign_tombstone(
    device: str,
    ranges: Iterable[Range] | None,
    *,
    wall_s: int,
    signer: DeviceSigningKey,
    authority: Authority = Authority.DEVICE,
) -> bytes:
    """Order to erase chunks.

    Args:
        device: whose. ranges: which, in any order; None: everything that it ever sent or will send.
        wall_s: now, seconds since 1970. signer: the device's key, or the owner's. authority: which of them.

    Returns:
        The tombstone.

    Raises:
        ValueError: an argument is outside its range, or `ranges` is empty.
        TooLarge: more than MAX_RANGES ranges, once merged: make several tombstones.
    """
    if not DEVICE_PATTERN.fullmatch(device):
        raise ValueError(f"the device's name must be 4-32 of [a-z0-9-], not {device!r}")
    if not 0 <= wall_s < 1 << 64:
        raise ValueError(f"wall_s must fit 64 bits, not {wall_s}")
    scope = Scope.DEVICE if ranges is None else Scope.RANGES
    spelt = merged(ranges or ())
    if scope is Scope.RANGES and not spelt:
        raise ValueError("a tombstone of no chunk at all: name some, or the whole device by None")
    if not all(0 <= r.epoch <= _MAX_U32 and 0 <= r.first <= r.last <= _MAX_U32 for r in spelt):
        raise ValueError(
            f"a range's epoch and sequence numbers must fit 32 bits, the first not after the last: {spelt}"
        )
    if len(spelt) > MAX_RANGES:
        raise TooLarge("a tombstone's count of ranges", actual=len(spelt), limit=MAX_RANGES)
    whole_bytes = FIXED_BYTES + len(device) + len(spelt) * RANGE_BYTES + TRAILER_BYTES
    head = _FIXED.pack(MAGIC, VERSION, scope, authority, len(device), whole_bytes, wall_s, signer.key_id, len(spelt))
    signed = head + device.encode("ascii") + b"".join(_RANGE.pack(r.epoch, r.first, r.last) for r in spelt)
    whole = signed + signer.sign(signed)
    return whole + _CRC.pack(zlib.crc32(whole))


def parse_tombstone(data: bytes) -> Tombstone:
    """Check that a tombstone is whole and undamaged, and return it. Needs no key.

    Args:
        data: exactly one tombstone.

    Raises:
        Truncated: it ends too early.
        Corrupt: it is no tombstone, was damaged, or is not spelt as the format says.
        TooLarge: its length is over MAX_TOMBSTONE_BYTES, or it has more than MAX_RANGES ranges.
        Unsupported: whole and undamaged, but of a newer version.
    """
    version = _check_envelope(data)
    if version != VERSION:
        raise Unsupported(
            f"the tombstone is of format version {version}, this build reads version {VERSION}: upgrade it"
        )
    if len(data) < MIN_TOMBSTONE_BYTES:
        raise Corrupt(
            f"the tombstone says it is {len(data)} bytes long, the shortest possible is {MIN_TOMBSTONE_BYTES}", offset=8
        )
    _, _, scope, authority, device_bytes, _, wall_s, signer_id, count = _FIXED.unpack_from(data)
    if scope not in _SCOPES or authority not in _AUTHORITIES:
        raise Corrupt(f"the tombstone has scope {scope} and authority {authority}, of which one is unknown", offset=5)
    if not MIN_DEVICE_BYTES <= device_bytes <= MAX_DEVICE_BYTES:
        raise Corrupt(f"the device's name is {device_bytes} bytes long", offset=7)
    if count > MAX_RANGES:
        raise TooLarge("a tombstone's count of ranges", actual=count, limit=MAX_RANGES)
    start = FIXED_BYTES + device_bytes
    end = start + count * RANGE_BYTES
    if end + TRAILER_BYTES != len(data):
        raise Corrupt(f"the tombstone is {len(data)} bytes long, its fields say {end + TRAILER_BYTES}", offset=8)
    device = data[FIXED_BYTES:start].decode("latin-1")
    if not DEVICE_PATTERN.fullmatch(device):
        raise Corrupt(f"the device's name {device!r} has other characters than [a-z0-9-]", offset=FIXED_BYTES)
    ranges = tuple(Range(*fields) for fields in _RANGE.iter_unpack(data[start:end]))
    if (scope == Scope.DEVICE) != (not ranges):
        raise Corrupt(f"a tombstone of scope {Scope(scope).name} has {count} ranges", offset=28)
    if any(range_.first > range_.last for range_ in ranges) or merged(ranges) != ranges:
        raise Corrupt("the tombstone's ranges are not in order, overlap, or could be fewer", offset=start)
    return Tombstone(device, Scope(scope), ranges, wall_s, Authority(authority), signer_id)


def _check_envelope(data: bytes) -> int:
    """Check what all versions share, and return the version."""
    if data[:4] != MAGIC[: len(data)]:
        raise Corrupt("this is no tombstone: it doesn't begin with its magic", offset=0)
    if len(data) < _ENVELOPE.size:
        raise Truncated("a tombstone's head", offset=len(data), wanted_bytes=_ENVELOPE.size - len(data))
    version: int
    whole_bytes: int
    _, version, whole_bytes = _ENVELOPE.unpack_from(data)
    if whole_bytes > MAX_TOMBSTONE_BYTES:
        raise TooLarge("a tombstone's length in bytes", actual=whole_bytes, limit=MAX_TOMBSTONE_BYTES)
    if whole_bytes < _ENVELOPE.size + _CRC.size:
        raise Corrupt(f"the tombstone says it is {whole_bytes} bytes long", offset=8)
    if len(data) < whole_bytes:
        raise Truncated("a tombstone", offset=len(data), wanted_bytes=whole_bytes - len(data))
    if len(data) > whole_bytes:
        raise Corrupt(f"{len(data) - whole_bytes} bytes follow the tombstone", offset=whole_bytes)
    (stated,) = _CRC.unpack_from(data, whole_bytes - _CRC.size)
    if zlib.crc32(memoryview(data)[: -_CRC.size]) != stated:
        raise Corrupt("the tombstone's CRC-32 doesn't match: it was damaged on its way or on its disk")
    return version


def verify_tombstone(data: bytes, key: DeviceVerifyKey) -> Tombstone:
    """Check that a tombstone is whole and was signed by a key; return it.

    Whose key it is, is the caller's to know: for Authority.DEVICE one that was enrolled for `device`, for
    Authority.OWNER the archive owner's.

    Raises:
        Denied: signed by another key than this one.
        Corrupt: the signature is false.
        Truncated, TooLarge, Unsupported: as parse_tombstone.
    """
    tombstone = parse_tombstone(data)
    if tombstone.signer_id != key.key_id:
        raise Denied(
            f"a tombstone for {tombstone.device} was signed by key {tombstone.signer_id.hex()}, not by {key.key_id.hex()}"
        )
    signed, signature = data[:-TRAILER_BYTES], data[-TRAILER_BYTES : -_CRC.size]
    if not key.verifies(signature, signed):
        raise Corrupt(
            f"the signature of a tombstone for {tombstone.device} is false: it was forged or changed",
            offset=len(signed),
        )
    return tombstone
