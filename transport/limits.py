"""Pure: what the budget allows: limits, classes of links, and the answers to a reservation.

A limit that is None does not limit. All sizes are bytes on the wire as an internet provider counts them: IP headers,
TLS, MQTT, retransmissions and acknowledgements, both directions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple


class Link(StrEnum):
    """Classes of a network link. What is not known to be unmetered is treated as metered."""

    UNMETERED = "unmetered"
    METERED = "metered"
    ROAMING = "roaming"
    UNKNOWN = "unknown"
    OFFLINE = "offline"

    @property
    def counted_as(self) -> Link:
        """The class whose limits hold for it."""
        return Link.METERED if self is Link.UNKNOWN else self


COUNTED_LINKS = (Link.UNMETERED, Link.METERED, Link.ROAMING)
KINDS = ("events", "screens", "other")
"""What bytes are accounted to; `other` is handshakes, keepalives, acknowledgements and everything not named."""


class Span(StrEnum):
    """What a limit runs over: a local day or a billing period."""

    DAY = "day"
    MONTH = "month"


class Sendable(IntEnum):
    """What may go over a link."""

    NOTHING = 0
    EVENTS = 1
    ALL = 2


@dataclass(frozen=True, slots=True)
class Allowance:
    """Limits of one class of links. None: no limit of its own."""

    day_bytes: int | None = None
    month_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """The whole budget.

    Attributes:
        day_bytes, month_bytes: over all links together, per local day and per billing period.
        links: further limits per class of links.
        billing_day: 1-31, the day on which the billing period begins.
        time_zone: IANA name.
        rate_bytes_s: ceiling of the average rate.
        windows: (start, end) minutes after local midnight between which may be sent; empty: always.
        sendable: what may go over each class of links.
    """

    day_bytes: int | None = None
    month_bytes: int | None = None
    links: Mapping[Link, Allowance] = field(default_factory=dict)
    billing_day: int = 1
    time_zone: str = "UTC"
    rate_bytes_s: int | None = None
    windows: tuple[tuple[int, int], ...] = ()
    sendable: Mapping[Link, Sendable] = field(
        default_factory=lambda: {
            Link.UNMETERED: Sendable.ALL,
            Link.METERED: Sendable.EVENTS,
            Link.ROAMING: Sendable.NOTHING,
        }
    )

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Limits:
        """Return the limits of a configuration.

        Args:
            table: plain values under this class's names; `links` holds (bytes a day, bytes a month) and `sendable` the
                names "nothing", "events", "all", both by class of links.
        """
        plain = dict(table)
        plain["links"] = {Link(link): Allowance(*limits) for link, limits in table["links"].items()}
        plain["sendable"] = {Link(link): Sendable[what.upper()] for link, what in table["sendable"].items()}
        return cls(**plain)

    @property
    def has_month(self) -> bool:
        """Whether any limit runs over a billing period."""
        return self.month_bytes is not None or any(a.month_bytes is not None for a in self.links.values())

    def of(self, span: Span, link: Link | None) -> int | None:
        """Return a limit of a class of links, or (None) of all together."""
        allowance = Allowance(self.day_bytes, self.month_bytes) if link is None else self.links.get(link, Allowance())
        return allowance.day_bytes if span is Span.DAY else allowance.month_bytes


@dataclass(frozen=True, slots=True)
class Moment:
    """What the clocks say.

    Attributes:
        wall_ns: wall clock, ns since 1970.
        mono_ns: a clock that is never set, ns; CLOCK_BOOTTIME where there is one, since it goes on through suspend.
        boot: 8 bytes that name the boot that `mono_ns` counts from.
        synced: the operating system vouches for its wall clock (NTP).
    """

    wall_ns: int
    mono_ns: int
    boot: bytes = bytes(8)
    synced: bool = False


def boot_name(boot_id: str) -> bytes:
    """Return the 8 bytes that stand for a boot id in a Moment."""
    return hashlib.sha256(boot_id.encode()).digest()[:8]


@dataclass(frozen=True, slots=True)
class Lease:
    """Permission to put so many bytes on the wire.

    Attributes:
        id: to settle it by. reserved_bytes: the most that may be sent under it. link: the class it is counted in.
    """

    id: int
    reserved_bytes: int
    link: Link


@dataclass(frozen=True, slots=True)
class Refusal:
    """No permission.

    Attributes:
        reasons: why, in words.
        retry_wall_ns: before this nothing will have changed by itself.
        left_bytes: the largest reservation that would be granted now.
    """

    reasons: tuple[str, ...]
    retry_wall_ns: int
    left_bytes: int = 0


class Standing(NamedTuple):
    """One limit and what is left of it.

    Attributes:
        span: what it runs over. link: the class it holds for; None: all together.
        used: bytes, what is reserved included. limit: the whole. end_wall_ns: when it begins anew.
    """

    span: Span
    link: Link | None
    used: int
    limit: int
    end_wall_ns: int

    @property
    def left_bytes(self) -> int:
        """What can still be reserved."""
        return max(0, self.limit - self.used)


@dataclass(frozen=True, slots=True)
class LinkUsage:
    """Bytes of one class of links; limits are None where there are none."""

    day_used: int
    day_limit: int | None
    month_used: int
    month_limit: int | None


@dataclass(frozen=True, slots=True)
class Usage:
    """Where the budget stands.

    Attributes:
        day_used, month_used: bytes, what is reserved included. day_limit, month_limit: None = no limit.
        day_start_wall_ns, day_end_wall_ns, period_start_wall_ns, period_end_wall_ns: when the day and the billing period
            began and end.
        reserved: bytes reserved and not settled.
        forecast_month: bytes of this billing period at its end, if days go on as in the last four weeks; no limit is
            applied to it.
        by_link: per class. by_kind: bytes of this billing period per kind.
        left_bytes: the most that can still be sent now over each class of links.
        notes: what the owner should know: a lock and its reason, clocks that disagree, torn records.
    """

    day_used: int
    day_limit: int | None
    month_used: int
    month_limit: int | None
    day_end_wall_ns: int
    period_end_wall_ns: int
    reserved: int
    forecast_month: int
    by_link: Mapping[Link, LinkUsage]
    by_kind: Mapping[str, int]
    left_bytes: Mapping[Link, int]
    notes: tuple[str, ...] = ()
    day_start_wall_ns: int = 0
    period_start_wall_ns: int = 0


def show_bytes(size_bytes: float) -> str:
    """Return bytes as people write them: "38.2 MB"."""
    for factor, unit in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "KB")):
        if abs(size_bytes) >= factor:
            return (
                f"{size_bytes / factor:.3g} {unit}"
                if abs(size_bytes) < 999.5 * factor
                else f"{size_bytes / factor:.0f} {unit}"
            )
    return f"{size_bytes:.0f} B"
