"""Pure: a binary range coder with a 48-bit range and 16-bit probabilities.

The decoder keeps how far the code lies into the range; when the range has shrunk below 40 bits, a byte moves on.
Past its end a code reads as zeros, so the encoder drops trailing zero bytes; whoever stores a code stores its
length. Any bytes are a code of something.
"""

from __future__ import annotations

from collections.abc import Iterable

FULL = 1 << 48
SMALL = 1 << 40


def encode_bits(bits: Iterable[int], ones: Iterable[int]) -> bytes:
    """Encode decisions.

    Args:
        bits: 0 or 1 each.
        ones: for each, the probability that it is 1, in 1/65536, 1 .. 65535.

    Returns:
        The code: some bytes, possibly none.
    """
    low, width = 0, FULL
    digits: list[int] = []  # base 256, but a digit may carry into the one before it
    for bit, one in zip(bits, ones, strict=True):
        share = (width >> 16) * one
        if bit:
            width = share
        else:
            low += share
            width -= share
        while width < SMALL:
            digits.append(low >> 40)
            low = (low & SMALL - 1) << 8
            width <<= 8
    # The shortest tail that, followed by zeros, lies within the range.
    for length in range(7):
        step = 48 - 8 * length
        tail = -(-low >> step)
        if tail << step < low + width:
            digits.append(tail >> 8 * (length - 1) if length else tail)
            digits += (tail >> 8 * place & 255 for place in range(length - 2, -1, -1))
            break
    return _carried(digits, bool(length))


def _carried(digits: list[int], tail: bool) -> bytes:
    """Settle the carries, and drop the zeros at the end."""
    carry = 0 if tail else digits.pop()
    for place in range(len(digits) - 1, -1, -1):
        value = digits[place] + carry
        digits[place] = value & 255
        carry = value >> 8
    return bytes(digits).rstrip(b"\0")


class BitDecoder:
    """Decodes what `encode_bits` wrote, one decision at a time, with the same probabilities.

    State: width, the range; code, how far into it the code lies; place, of the next byte in data. A caller in a hurry
    inlines `bit`.
    """

    __slots__ = ("code", "data", "place", "width")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.width = FULL
        self.code = int.from_bytes(data[:6].ljust(6, b"\0"), "big")
        self.place = 6

    def bit(self, one: int) -> int:
        """Decode one decision whose probability of being 1 is `one` / 65536."""
        share = (self.width >> 16) * one
        bit = self.code < share
        if bit:
            self.width = share
        else:
            self.code -= share
            self.width -= share
        while self.width < SMALL:
            self.width <<= 8
            self.code = self.code << 8 | self.next_byte()
        return int(bit)

    def next_byte(self) -> int:
        """Take the next byte of the code; past its end there are zeros."""
        self.place += 1
        return self.data[self.place - 1] if self.place <= len(self.data) else 0
