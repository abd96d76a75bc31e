"""Pure: the section's small change: varints, and packed blocks that are unpacked piece by piece within limits.

A packed block is `varint raw length, varint packed length, LZMA2 data` (the raw stream of the .xz container, dictionary
8 MiB). LZMA2 because, on columns of repeated glyphs, it gave a fifth fewer bytes than zstd at equal CPU, at every
effort; Python brings it.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterable

from codec.errors import Corrupt, TooLarge, Truncated

DICTIONARY_BYTES = 1 << 23
"""What a decoder must hold of what it unpacked."""
LEAST_DICTIONARY_BYTES = 1 << 12
"""LZMA's own."""
MAX_VARINT = (1 << 63) - 1
STEP_BYTES = 1 << 16

_UNPACKING = [{"id": lzma.FILTER_LZMA2, "dict_size": DICTIONARY_BYTES}]


def varint(value: int) -> bytes:
    """Return a non-negative integer as LEB128: 7 bits a byte, lowest first, the top bit says that more follow."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def zigzag(value: int) -> int:
    """Map an int64 to a uint64 so that small magnitudes stay small: 0, -1, 1, -2, … become 0, 1, 2, 3, …"""
    return value << 1 if value >= 0 else (-value << 1) - 1


def unzigzag(value: int) -> int:
    """Undo zigzag."""
    return value >> 1 if not value & 1 else -(value + 1 >> 1)


def pack(pieces: Iterable[bytes], *, preset: int, most_bytes: int = DICTIONARY_BYTES) -> bytes:
    """Return a packed block.

    Args:
        pieces: the raw bytes, in pieces of any length.
        preset: LZMA's, 0-9, with lzma.PRESET_EXTREME.
        most_bytes: no more than so many raw bytes will come. LZMA's tables are as large as its dictionary, and cost time and
            memory by that: a little is packed with little.
    """
    needed = (
        max(LEAST_DICTIONARY_BYTES, 1 << (most_bytes - 1).bit_length()) if most_bytes > 1 else LEAST_DICTIONARY_BYTES
    )
    # pb 0: a byte's place among four says nothing about pixels.
    chain = [{"id": lzma.FILTER_LZMA2, "preset": preset, "dict_size": min(needed, _dictionary(preset)), "pb": 0}]
    packer = lzma.LZMACompressor(lzma.FORMAT_RAW, filters=chain)
    raw_bytes = 0
    out = []
    for piece in pieces:
        raw_bytes += len(piece)
        out.append(packer.compress(piece))
    out.append(packer.flush())
    data = b"".join(out)
    return varint(raw_bytes) + varint(len(data)) + data


def _dictionary(preset: int) -> int:
    return 1 << min(23, 20 + (preset & 15))


class Cursor:
    """Reads a section from its start to its end.

    Every read raises Truncated, with its offset, when the section ends before it; when the bytes are known to be whole,
    they lie, and it raises Corrupt.
    """

    def __init__(self, data: bytes, what: str = "a screen section", *, whole: bool = False) -> None:
        self.data = memoryview(data)
        self.at = 0
        self.what = what
        self.whole = whole

    def take(self, count_bytes: int) -> memoryview:
        """Return the next bytes."""
        missing = self.at + count_bytes - len(self.data)
        if missing > 0 and self.whole:
            raise Corrupt(f"{self.what} ends early", offset=len(self.data))
        if missing > 0:
            raise Truncated(self.what, offset=len(self.data), wanted_bytes=missing)
        self.at += count_bytes
        return self.data[self.at - count_bytes : self.at]

    def varint(self, limit: int = MAX_VARINT, what: str = "a number") -> int:
        """Return the next varint.

        Raises:
            TooLarge: it is over the limit.
            Corrupt: it has more than nine bytes.
        """
        value = 0
        for shift in range(0, 63, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                if value > limit:
                    raise TooLarge(f"{what} at byte {self.at} of {self.what}", actual=value, limit=limit)
                return value
        raise Corrupt(f"{self.what}: a number does not end", offset=self.at)

    def signed(self) -> int:
        """Return the next zigzagged varint."""
        return unzigzag(self.varint())

    def block(self, limit: int, what: str) -> Unpacker:
        """Return the next packed block, not yet unpacked. Its raw length is within the limit."""
        raw_bytes = self.varint(limit, f"the length of {what}")
        return Unpacker(self.take(self.varint()), raw_bytes, what)

    def end(self) -> None:
        """Check that nothing follows."""
        if self.at != len(self.data):
            raise Corrupt(f"{self.what}: {len(self.data) - self.at} bytes follow its end", offset=self.at)


class Unpacker:
    """Unpacks a block bit by bit: what is asked for, never more than STEP_BYTES beyond."""

    def __init__(self, data: memoryview, raw_bytes: int, what: str) -> None:
        self.left_bytes = raw_bytes
        self._data: memoryview | None = data
        self._what = what
        self._lzma = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_UNPACKING)

    def read(self, count_bytes: int) -> bytes:
        """Return the next bytes.

        Raises:
            Corrupt: the block holds fewer, or is no LZMA2.
        """
        if count_bytes > self.left_bytes:
            raise Corrupt(f"{self._what} has {self.left_bytes} bytes left where {count_bytes} are needed")
        self.left_bytes -= count_bytes
        out = bytearray()
        while len(out) < count_bytes:
            fed, self._data = self._data or b"", None
            try:
                piece = self._lzma.decompress(fed, max_length=count_bytes - len(out))
            except (lzma.LZMAError, EOFError) as error:
                raise Corrupt(f"{self._what} does not unpack: {error}") from error
            if not piece and (self._lzma.eof or self._lzma.needs_input):
                raise Corrupt(f"{self._what} holds fewer bytes than it states")
            out += piece
        return bytes(out)

    def rest(self) -> bytes:
        """Return what is left."""
        return self.read(self.left_bytes)
