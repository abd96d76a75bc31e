"""What the slow readers read bytes with: docs/format.md and docs/format-events.md, "Conventions"."""

from __future__ import annotations

from pathlib import Path

import zstandard

DATA = Path(__file__).resolve().parents[1] / "codec" / "data"


class Bytes:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def u8(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.u8()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def svarint(self) -> int:
        return unzigzag(self.varint())

    def take(self, n: int) -> bytes:
        self.at += n
        return self.data[self.at - n : self.at]

    def rest(self) -> bytes:
        return self.take(len(self.data) - self.at)


def unzigzag(v: int) -> int:
    return v >> 1 if v % 2 == 0 else -(v + 1) // 2


def unframe(frame: bytes, dictionary: str) -> bytes:
    magic = b"\x28\xb5\x2f\xfd"
    d = zstandard.ZstdCompressionDict((DATA / dictionary).read_bytes())
    return zstandard.ZstdDecompressor(dict_data=d).decompressobj().decompress(magic + frame)
