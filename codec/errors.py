"""Pure: the codec's errors, by what the caller can do about them.

Every error carries what a caller needs to act (offset, limit, actual) as attributes, and its text says what is wrong.
"""

from __future__ import annotations


class CodecError(Exception):
    """Base of everything that `codec` raises about data."""


class Truncated(CodecError):
    """The bytes end too early: fetch the rest and try again.

    Attributes:
        offset: where more bytes were expected.
        wanted_bytes: how many were expected there (None when unknown).
    """

    def __init__(self, what: str, *, offset: int = 0, wanted_bytes: int | None = None) -> None:
        wanted = "" if wanted_bytes is None else f", {wanted_bytes} more bytes were expected"
        super().__init__(f"{what} ends at byte {offset}{wanted}: the data is truncated")
        self.offset = offset
        self.wanted_bytes = wanted_bytes


class Corrupt(CodecError):
    """The bytes contradict themselves: no retry will help; quarantine them.

    Attributes:
        offset: where the contradiction was noticed (-1 when it has no place).
    """

    def __init__(self, what: str, *, offset: int = -1) -> None:
        place = "" if offset < 0 else f" (at byte {offset})"
        super().__init__(f"{what}{place}: the data is corrupt")
        self.offset = offset


class Unsupported(CodecError):
    """Well-formed, but of a version, method or suite that this build does not know: upgrade the reader."""


class TooLarge(CodecError):
    """A stated length is over a limit; nothing was allocated.

    Attributes:
        actual: the stated value. limit: the largest accepted.
    """

    def __init__(self, what: str, *, actual: int, limit: int) -> None:
        super().__init__(f"{what} is {actual:,}, over the limit of {limit:,}")
        self.actual = actual
        self.limit = limit


class Denied(CodecError):
    """The data is sound, but the key, purpose or expiry does not permit to read it."""
