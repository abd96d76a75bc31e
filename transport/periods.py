"""Pure: the local calendar's days, billing periods and upload windows, for instants given in wall nanoseconds.

A day is named by its ordinal (`date.toordinal()`) in the budget's time zone; a billing period by the ordinals of its
first day and of the first day after it. Guarantees: days follow each other without gap or overlap through every change
of summer time (such a day has 23 or 25 hours), and billing periods through months of every length: a billing day that
a month doesn't have is its last day.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

NS_PER_S = 1_000_000_000
FIRST_WALL_NS = 0
LAST_WALL_NS = 4_102_444_800 * NS_PER_S
"""1970 and 2100: a wall clock beyond them is read as if it stood there. (Dates further out overflow in places.)"""


def clamp_wall_ns(wall_ns: int) -> int:
    """Return `wall_ns` within the years that can be computed with."""
    return min(max(wall_ns, FIRST_WALL_NS), LAST_WALL_NS)


class Calendar:
    """Days and billing periods of one time zone. State: the day that was asked for last (a cache)."""

    __slots__ = ("_day", "_end_ns", "_start_ns", "billing_day", "zone")

    def __init__(self, time_zone: str, billing_day: int = 1) -> None:
        """Make a calendar.

        Args:
            time_zone: an IANA name ("Europe/Berlin"), or "UTC".
            billing_day: 1-31, the day of the month on which a billing period begins.

        Raises:
            ValueError: no such day. zoneinfo.ZoneInfoNotFoundError: no such zone on this system.
        """
        if not 1 <= billing_day <= 31:
            raise ValueError(f"billing_day is {billing_day}; a month has the days 1 to 31")
        self.zone = ZoneInfo(time_zone)
        self.billing_day = billing_day
        self._day, self._start_ns, self._end_ns = 0, 0, 0

    def day_of(self, wall_ns: int) -> int:
        """Return the ordinal of the local day that an instant falls in."""
        if not self._start_ns <= wall_ns < self._end_ns:
            wall_ns = clamp_wall_ns(wall_ns)
            day = datetime.fromtimestamp(wall_ns // NS_PER_S, self.zone).toordinal()
            # Where the clock goes back over midnight, a date comes twice: the instants decide, not the label.
            while self.start_ns(day + 1) <= wall_ns:
                day += 1
            while self.start_ns(day) > wall_ns:
                day -= 1
            self._day, self._start_ns, self._end_ns = day, self.start_ns(day), self.start_ns(day + 1)
        return self._day

    def start_ns(self, day: int) -> int:
        """Return the instant (wall ns) at which the local day begins."""
        midnight = datetime.combine(date.fromordinal(day), time(), self.zone)
        return int(midnight.astimezone(UTC).timestamp()) * NS_PER_S

    def end_ns(self, day: int) -> int:
        """Return the instant (wall ns) at which the local day ends."""
        return self.start_ns(day + 1)

    def billing_period(self, day: int) -> tuple[int, int]:
        """Return the ordinals of a billing period's first day and of the first day after it.

        Args:
            day: ordinal of a day in it.
        """
        that = date.fromordinal(day)
        first = self._billing_date(that.year, that.month)
        if first > that:
            first = self._billing_date(*_month_after(that.year, that.month, -1))
        return first.toordinal(), self._billing_date(*_month_after(first.year, first.month, 1)).toordinal()

    def _billing_date(self, year: int, month: int) -> date:
        return date(year, month, min(self.billing_day, monthrange(year, month)[1]))

    def minute_of_day(self, wall_ns: int) -> int:
        """Return the local clock's minutes after midnight, 0-1439."""
        local = datetime.fromtimestamp(clamp_wall_ns(wall_ns) // NS_PER_S, self.zone)
        return local.hour * 60 + local.minute

    def wait_for_window_ns(self, wall_ns: int, windows: Sequence[tuple[int, int]]) -> int:
        """Return how long (ns) until one of the daily windows is open: 0 when one is, or when there are none.

        Args:
            wall_ns: now.
            windows: (start, end) in minutes after local midnight; an end at or before its start is on the next day.
        """
        if not windows:
            return 0
        now_min = self.minute_of_day(wall_ns)
        waits_min = []
        for start, end in windows:
            if start <= now_min < end or (end <= start and (now_min >= start or now_min < end)):
                return 0
            waits_min.append((start - now_min) % (24 * 60))
        into_minute_ns = clamp_wall_ns(wall_ns) % (60 * NS_PER_S)
        return min(waits_min) * 60 * NS_PER_S - into_minute_ns


def _month_after(year: int, month: int, step: int) -> tuple[int, int]:
    count = year * 12 + month - 1 + step
    return count // 12, count % 12 + 1
