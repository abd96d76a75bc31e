"""Pure: variable-length integers, singly and as whole columns.

A varint is little-endian base 128: seven bits a byte, the high bit set on all but the last. A svarint is the varint of
the zigzag `(v << 1) ^ (v >> 63)`, so that small magnitudes of either sign are short. Guarantees: whatever the bytes,
reading terminates, allocates at most in proportion to them, and raises only this package's errors.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from codec.errors import Corrupt, TooLarge, Truncated

MAX_VARINT_BYTES = 9
"""63 bits of value: no field of the format needs more, and every value fits a signed 64-bit integer."""


def write_varint(out: bytearray, value: int) -> None:
    """Append a varint.

    Args:
        out: what is appended to.
        value: 0 .. 2**63 - 1.

    Raises:
        TooLarge: the value has no such encoding.
    """
    if not 0 <= value < 1 << 63:
        raise TooLarge("an integer to be written", actual=value, limit=(1 << 63) - 1)
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)


def write_svarint(out: bytearray, value: int) -> None:
    """Append a svarint; `value` in -2**62 .. 2**62 - 1."""
    write_varint(out, value << 1 if value >= 0 else (-value << 1) - 1)


class Cursor:
    """Reads scalars from bytes, front to back.

    Attributes:
        data: all of the bytes.
        offset: of the next one.
    """

    __slots__ = ("data", "offset", "what")

    def __init__(self, data: bytes, what: str) -> None:
        self.data = data
        self.offset = 0
        self.what = what

    @property
    def left_bytes(self) -> int:
        """How many bytes are unread."""
        return len(self.data) - self.offset

    def byte(self) -> int:
        """Read one byte.

        Raises:
            Truncated: there is none.
        """
        if self.offset >= len(self.data):
            raise Truncated(self.what, offset=self.offset, wanted_bytes=1)
        self.offset += 1
        return self.data[self.offset - 1]

    def varint(self, *, limit: int = (1 << 63) - 1, name: str = "a number") -> int:
        """Read a varint.

        Raises:
            Truncated: the bytes end in the middle. Corrupt: it is longer than any that is written. TooLarge: it exceeds
                `limit`.
        """
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 127) << shift
            if byte < 128:
                break
            shift += 7
            if shift >= 7 * MAX_VARINT_BYTES:
                raise Corrupt(f"{name} in {self.what} does not end", offset=self.offset)
        if value > limit:
            raise TooLarge(f"{name} in {self.what}", actual=value, limit=limit)
        return value

    def svarint(self, *, limit: int = (1 << 62) - 1, name: str = "a number") -> int:
        """Read a svarint of magnitude `limit` at most; raises like `varint`."""
        value = self.varint(limit=2 * limit, name=name)
        return -(value + 1 >> 1) if value & 1 else value >> 1

    def take(self, count: int, *, name: str = "a field") -> bytes:
        """Read `count` bytes.

        Raises:
            Truncated: fewer are left.
        """
        if count > self.left_bytes:
            raise Truncated(f"{name} in {self.what}", offset=len(self.data), wanted_bytes=count - self.left_bytes)
        self.offset += count
        return bytes(self.data[self.offset - count : self.offset])

    def rest(self) -> bytes:
        """Read all that is left."""
        return self.take(self.left_bytes)


def zigzag(values: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """Map int64 (n,) to uint64 (n,): 0, -1, 1, -2 … become 0, 1, 2, 3 …"""
    return ((values << 1) ^ (values >> 63)).view(np.uint64)


def unzigzag(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Undo `zigzag`."""
    return (values >> np.uint64(1)).view(np.int64) ^ -(values & np.uint64(1)).view(np.int64)


def pack_varints(values: npt.NDArray[np.uint64]) -> bytes:
    """Write a column of varints.

    Args:
        values: uint64 (n,), each below 2**63.

    Returns:
        The n varints one after the other.
    """
    if not len(values):
        return b""
    if int(values.max()) < 128:
        return values.astype(np.uint8).tobytes()
    lengths = np.ones(len(values), np.int64)
    for index in range(1, MAX_VARINT_BYTES):
        longer = values >= np.uint64(1 << 7 * index)
        if not longer.any():
            break
        lengths += longer
    starts = np.cumsum(lengths) - lengths
    out = np.empty(int(lengths.sum()), np.uint8)
    for index in range(int(lengths.max())):
        here = np.flatnonzero(lengths > index)
        piece = (values[here] >> np.uint64(7 * index)).astype(np.uint8) & np.uint8(127)
        out[starts[here] + index] = piece | ((lengths[here] > index + 1).astype(np.uint8) << np.uint8(7))
    return out.tobytes()


def unpack_varints(data: bytes, count: int, what: str) -> npt.NDArray[np.uint64]:
    """Read a column of exactly `count` varints that fills `data`.

    Args:
        data: the bytes, all of them.
        count: how many varints they must hold.
        what: their name, for the error.

    Returns:
        uint64 (count,).

    Raises:
        Corrupt: there are more or fewer, or one is longer than any that is written.
    """
    raw = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(raw < 128)
    if len(ends) != count or (count and ends[-1] != len(raw) - 1) or (not count and len(raw)):
        raise Corrupt(f"{what} holds {len(ends):,} numbers where {count:,} belong")
    if len(raw) == count:
        return raw.astype(np.uint64)
    starts = np.concatenate((np.zeros(1, np.int64), ends[:-1] + 1))
    lengths = ends - starts + 1
    longest = int(lengths.max())
    if longest > MAX_VARINT_BYTES:
        raise Corrupt(f"{what} holds a number of {longest} bytes")
    out = (raw[starts] & np.uint8(127)).astype(np.uint64)
    for index in range(1, longest):
        here = np.flatnonzero(lengths > index)
        out[here] |= (raw[starts[here] + index] & np.uint8(127)).astype(np.uint64) << np.uint64(7 * index)
    return out
