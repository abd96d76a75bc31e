"""Pure: a binary range coder with a 48-bit state and 16-bit probabilities.

Carry-free: the interval [low, high] keeps its inclusive bounds, and leading bytes that agree are settled. Past its end
a code reads as zeros, so the encoder drops trailing zero bytes; whoever stores a code stores its length.
"""

from __future__ import annotations

from collections.abc import Iterable

TOP = (1 << 48) - 1
_SETTLED = 0xFF << 40


def encode_bits(bits: Iterable[int], ones: Iterable[int]) -> bytes:
    """Encode decisions.

    Args:
        bits: 0 or 1 each.
        ones: for each, the probability that it is 1, in 1/65536, 1 .. 65535.

    Returns:
        The code: some bytes, possibly none.
    """
    low, high = 0, TOP
    out = bytearray()
    for bit, one in zip(bits, ones, strict=True):
        middle = low + ((high - low) * one >> 16)
        if bit:
            high = middle
        else:
            low = middle + 1
        while not (low ^ high) & _SETTLED:
            out.append(low >> 40)
            low = low << 8 & TOP
            high = high << 8 & TOP | 255
    # The shortest tail that, followed by zeros, lies within the interval.
    for length in range(7):
        shift = 48 - 8 * length
        tail = -(-low >> shift)
        if tail << shift <= high:
            out += tail.to_bytes(length, "big")
            break
    while out and not out[-1]:
        out.pop()
    return bytes(out)


class BitDecoder:
    """Decodes what `encode_bits` wrote, one decision at a time, with the same probabilities.

    Attributes: low, high, code: the interval and the code within it; place: of the next byte in data. A caller in a
    hurry inlines `bit`.
    """

    __slots__ = ("code", "data", "high", "low", "place")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.low, self.high = 0, TOP
        self.code = int.from_bytes(data[:6].ljust(6, b"\0"), "big")
        self.place = 6

    def bit(self, one: int) -> int:
        """Decode one decision whose probability of being 1 is `one` / 65536."""
        middle = self.low + ((self.high - self.low) * one >> 16)
        bit = self.code <= middle
        if bit:
            self.high = middle
        else:
            self.low = middle + 1
        while not (self.low ^ self.high) & _SETTLED:
            self.low = self.low << 8 & TOP
            self.high = self.high << 8 & TOP | 255
            self.code = self.code << 8 & TOP | self.next_byte()
        return int(bit)

    def next_byte(self) -> int:
        """Take the next byte of the code; past its end there are zeros."""
        self.place += 1
        return self.data[self.place - 1] if self.place <= len(self.data) else 0
