"""Pure: the errors of the transport, by what the caller can do about them.

Attributes carry what a caller needs to act; the text says what is wrong and how to mend it.
"""

from __future__ import annotations


class TransportError(Exception):
    """Base of everything that `transport` raises of its own."""


class Unavailable(TransportError):
    """The other side cannot be reached or went away: try again later; nothing is lost.

    Attributes:
        host: the broker's host ("" when it is not about one). port: its port (0 likewise).
    """

    def __init__(self, what: str, *, host: str = "", port: int = 0) -> None:
        super().__init__(what)
        self.host = host
        self.port = port


class Refused(TransportError):
    """The broker answered no: credentials, permissions or protocol. A retry alone will not help.

    Attributes:
        reason_code: the MQTT reason code (0 when there is none). reason: its name.
    """

    def __init__(self, what: str, *, reason_code: int = 0, reason: str = "") -> None:
        super().__init__(what)
        self.reason_code = reason_code
        self.reason = reason


class TooLarge(TransportError):
    """A value is over a limit; nothing was stored or sent.

    Attributes:
        actual: the value. limit: the largest accepted.
    """

    def __init__(self, what: str, *, actual: int, limit: int) -> None:
        super().__init__(f"{what} is {actual:,}, over the limit of {limit:,}")
        self.actual = actual
        self.limit = limit


class QuotaExceeded(TransportError):
    """The budget admits no more bytes now.

    Attributes:
        reasons: why, in words. retry_wall_ns: when to ask again (0 = unknown).
        left_bytes: what it would admit. soon: only the rate's ceiling is in the way.
    """

    def __init__(
        self, reasons: tuple[str, ...], *, retry_wall_ns: int = 0, left_bytes: int = 0, soon: bool = False
    ) -> None:
        super().__init__("; ".join(reasons) or "the budget admits no more bytes now")
        self.reasons = reasons
        self.retry_wall_ns = retry_wall_ns
        self.left_bytes = left_bytes
        self.soon = soon


class SpoolFull(TransportError):
    """The spool's limit is reached and `when_full` is "pause" (or nothing in it is worth less): stop recording.

    Attributes:
        needed_bytes: what was to be stored. limit_bytes: the spool's limit.
    """

    def __init__(self, *, needed_bytes: int, limit_bytes: int) -> None:
        super().__init__(
            f"the spool is full: {needed_bytes:,} bytes more do not fit into its {limit_bytes:,}; "
            "connect so that it can be sent, or raise the spool's limit"
        )
        self.needed_bytes = needed_bytes
        self.limit_bytes = limit_bytes


class StorageFailed(TransportError):
    """The file system would not store it: the disk is full or failing. What was stored before is intact.

    Attributes:
        path: where. disk_full: whether it was for lack of space (else a device error).
    """

    def __init__(self, what: str, path: str, *, disk_full: bool) -> None:
        mend = "free some space" if disk_full else "look at the disk (dmesg, smartctl)"
        super().__init__(f"{what} ({path}): {mend}; what was stored before is intact")
        self.path = path
        self.disk_full = disk_full


class Busy(TransportError):
    """Another process holds this folder.

    Attributes:
        path: the folder's lock file.
    """

    def __init__(self, path: str) -> None:
        super().__init__(f"another process holds {path}: stop that one first, or name another folder")
        self.path = path


class Missing(TransportError):
    """What was asked for is not in the archive."""


class NoBroker(TransportError):
    """There is no MQTT broker to start here."""
