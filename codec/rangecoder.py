"""Pure: a range coder with a 48-bit range: yes/no decisions with 16-bit probabilities, and plain numbers.

The decoder keeps how far the code lies into the range; when the range has shrunk below 40 bits, a byte moves on. The
encoder's last byte is chosen so that zeros may follow; a decoder that wants more than a few of them is reading
something that was never written.
"""

from __future__ import annotations

from collections.abc import Iterable

from codec.errors import Corrupt

FULL = 1 << 48
SMALL = 1 << 40
PLAIN_BITS = 16
"""Of a plain number, so many bits at most are coded at once, the high ones first."""
LOOKAHEAD_BYTES = 6
"""How far a decoder is ahead of what is decided, and so may read beyond the end."""


def encode_steps(values: Iterable[int], ones: Iterable[int]) -> bytes:
    """Encode a sequence of steps.

    Args:
        values: for a decision, 0 or 1; for a plain number v of k bits, v << 5 | k, with k from 1 to PLAIN_BITS.
        ones: for a decision, the probability that it is 1, in 1/65536, 1 .. 65535; for a plain number, 0.

    Returns:
        The code: some bytes, possibly none.
    """
    low, width = 0, FULL
    digits: list[int] = []  # base 256, but a digit may carry into the one before it
    for value, one in zip(values, ones, strict=True):
        if one:
            share = (width >> 16) * one
            if value:
                width = share
            else:
                low += share
                width -= share
        else:
            width >>= value & 31
            low += width * (value >> 5)
        while width < SMALL:
            digits.append(low >> 40)
            low = (low & SMALL - 1) << 8
            width <<= 8
    # The shortest tail that, followed by zeros, lies within the range; its first digit may carry, too.
    for length in range(7):
        step = 48 - 8 * length
        tail = -(-low >> step)
        if tail << step < low + width:
            break
    return _carried(digits, tail, length)


def _carried(digits: list[int], tail: int, length: int) -> bytes:
    """Settle the carries of the digits and of a tail of so many bytes."""
    carry = tail >> 8 * length
    for place in range(len(digits) - 1, -1, -1):
        value = digits[place] + carry
        digits[place] = value & 255
        carry = value >> 8
    return bytes(digits) + (tail & (1 << 8 * length) - 1).to_bytes(length, "big")


class StepDecoder:
    """Decodes what `encode_steps` wrote, one step at a time, with the same probabilities.

    State: width, the range; code, how far into it the code lies; place, of the next byte in data. A caller in a hurry
    inlines `decision`.
    """

    __slots__ = ("code", "data", "place", "width")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.width = FULL
        self.code = int.from_bytes(data[:LOOKAHEAD_BYTES].ljust(LOOKAHEAD_BYTES, b"\0"), "big")
        self.place = LOOKAHEAD_BYTES

    def decision(self, one: int) -> int:
        """Decode a decision whose probability of being 1 is `one` / 65536."""
        share = (self.width >> 16) * one
        value = self.code < share
        if value:
            self.width = share
        else:
            self.code -= share
            self.width -= share
        while self.width < SMALL:
            self.width <<= 8
            self.code = self.code << 8 | self.next_byte()
        return int(value)

    def plain(self, bits: int) -> int:
        """Decode a plain number of so many bits, any number of them."""
        width, code, number = self.width, self.code, 0
        while bits:
            some = bits if bits < PLAIN_BITS else PLAIN_BITS
            bits -= some
            width >>= some
            value, code = divmod(code, width)
            if value >> some:
                raise Corrupt("a range code lies outside of its range", offset=self.place)
            number = number << some | value
            while width < SMALL:
                width <<= 8
                code = code << 8 | self.next_byte()
        self.width, self.code = width, code
        return number

    def next_byte(self) -> int:
        """Take the next byte of the code; shortly past its end there are zeros.

        Raises:
            Corrupt: further past its end, where no encoder's code leads.
        """
        place = self.place
        self.place += 1
        if place < len(self.data):
            return self.data[place]
        if place >= len(self.data) + LOOKAHEAD_BYTES:
            raise Corrupt("a range code claims more than it holds", offset=place)
        return 0
