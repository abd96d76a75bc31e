"""Pure: bytes by day and class of links, as one clock sees them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from transport.limits import COUNTED_LINKS, Link, Span
from transport.periods import Calendar

SCOPES: Final = (None, *COUNTED_LINKS)
"""None: all links together."""
KEPT_DAYS: Final = 70
"""Two billing periods and a week: what a period's sum, a clock set back and the forecast can ask for."""
MAX_DAYS: Final = 400
"""Days that a book keeps at most, should a clock run wild over the calendar; the furthest ahead are forgotten."""
FORECAST_DAYS: Final = 28


class Book:
    """Bytes by day and class of links, with the running day's and period's sums at hand."""

    __slots__ = ("calendar", "day", "day_end_ns", "days", "in_day", "in_month", "period", "period_end_ns")

    def __init__(self, calendar: Calendar, days: dict[int, dict[Link, int]]) -> None:
        self.calendar = calendar
        self.days = days
        self.day = -1
        self.period = (0, 0)
        self.day_end_ns = self.period_end_ns = 0
        self.in_day: dict[Link | None, int] = dict.fromkeys(SCOPES, 0)
        self.in_month: dict[Link | None, int] = dict.fromkeys(SCOPES, 0)

    def turn_to(self, day: int) -> None:
        """Make `day` the running day."""
        self.day = day
        self.period = self.calendar.billing_period(day)
        self.day_end_ns = self.calendar.end_ns(day)
        self.period_end_ns = self.calendar.start_ns(self.period[1])
        self.in_day = dict.fromkeys(SCOPES, 0)
        self.in_month = dict.fromkeys(SCOPES, 0)
        first, after = self.period
        for that_day, by_link in self.days.items():
            if first <= that_day < after:
                for link, count in by_link.items():
                    self._count(that_day, link, count)

    def add(self, day: int, link: Link, count: int) -> None:
        """Count bytes (negative: give back) in a day."""
        by_link = self.days.get(day)
        if by_link is None:
            by_link = self.days[day] = {}
        by_link[link] = by_link.get(link, 0) + count
        first, after = self.period
        if first <= day < after:
            self._count(day, link, count)

    def _count(self, day: int, link: Link, count: int) -> None:
        self.in_month[link] += count
        self.in_month[None] += count
        if day == self.day:
            self.in_day[link] += count
            self.in_day[None] += count

    def used(self, span: Span, link: Link | None) -> int:
        """Return the bytes of the running day or period, of one class of links or (None) of all."""
        return self.in_day[link] if span is Span.DAY else self.in_month[link]

    def end_ns(self, span: Span) -> int:
        """Return when the running day or period ends, by this book's clock."""
        return self.day_end_ns if span is Span.DAY else self.period_end_ns

    def forget_before(self, day: int) -> None:
        """Drop the days that no sum can ask for any more."""
        for old in [that_day for that_day in self.days if that_day < day]:
            del self.days[old]
        while len(self.days) > MAX_DAYS:
            del self.days[max(self.days)]

    def forecast(self, first_day: int) -> int:
        """Return the running period's bytes at its end, if days go on as their weekdays did in the last four weeks.

        Args:
            first_day: ordinal of the first day of all; days before it say nothing.
        """
        first = max(first_day, self.day - FORECAST_DAYS)
        known = [(day % 7, sum(self.days.get(day, {}).values())) for day in range(first, self.day)]
        today = self.in_day[None]
        if not known:
            known = [(self.day % 7, today)]
        overall = sum(count for _, count in known) / len(known)
        expected = []
        for weekday in range(7):
            same = [count for that_weekday, count in known if that_weekday == weekday]
            expected.append(sum(same) / len(same) if len(same) > 1 else overall)
        to_come = sum(expected[day % 7] for day in range(self.day + 1, self.period[1]))
        rest_of_today = max(0.0, expected[self.day % 7] - today)
        return round(self.in_month[None] + rest_of_today + to_come)

    def to_rows(self) -> list[list[int]]:
        """Return the days as plain values: the ordinal, then the bytes of each class of links."""
        return [[day, *(by_link.get(link, 0) for link in COUNTED_LINKS)] for day, by_link in sorted(self.days.items())]

    def load(self, rows: Iterable[Iterable[int]]) -> None:
        """Take over what `to_rows` returned.

        Raises:
            TypeError, ValueError: that is not what it returned.
        """
        for day, *counts in rows:
            self.days[int(day)] = {link: int(count) for link, count in zip(COUNTED_LINKS, counts, strict=True) if count}
