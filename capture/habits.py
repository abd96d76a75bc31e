"""Pure: when the person works: active time learned per weekday and hour, to foresee the hours until a period's end.

The table holds, for each of the 168 hours of a week, the share of it that was active; weeks fade with a half-life of
some three weeks, so that a new job shows and a holiday is forgotten. Summer time moves it by an hour for a while, which
it learns as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from itertools import accumulate
from typing import Any
from zoneinfo import ZoneInfo

HOURS = 168
NS_PER_S = 1_000_000_000
NS_PER_HOUR = 3600 * NS_PER_S
EPOCH_WEEKDAY = 3
"""1 January 1970 was a Thursday; Monday is 0."""
MIN_WEIGHT = 0.2
"""What a new week weighs at least: old weeks fade with a half-life of log(1/2)/log(1 - 0.2) = 3.1 weeks."""
MAX_CATCH_UP_HOURS = 5 * HOURS
"""A longer absence teaches nothing more than this."""
WORKING_HOURS = range(8, 18)
PRIOR_AT_WORK, PRIOR_ELSE = 0.5, 0.05
"""Before anything is known: half of each office hour, and little at other times: 32 h a week."""
PRIOR_WEEKS = 1.0


def prior() -> list[float]:
    """Return the table of someone of whom nothing is known."""
    return [PRIOR_AT_WORK if hour // 24 < 5 and hour % 24 in WORKING_HOURS else PRIOR_ELSE for hour in range(HOURS)]


class Habits:
    """The hours of activity.

    State: the table, how many weeks each hour has been seen, the running hour and its active seconds, and the time
    zone's offset for the running hour (a cache).
    """

    def __init__(self, time_zone: str, learned: Mapping[str, Any] | None = None) -> None:
        """Begin with what was learned before (`to_state`), or with the prior."""
        self._zone = ZoneInfo(time_zone)
        self.share = prior()
        self._weeks = [PRIOR_WEEKS] * HOURS
        self._hour: int | None = None
        self._active_s = 0.0
        self._offset_hour, self._offset_s = -1, 0
        if learned:
            share, weeks = [float(v) for v in learned["share"]], [float(v) for v in learned["weeks"]]
            if len(share) != HOURS or len(weeks) != HOURS or not all(0 <= v <= 1 for v in share):
                raise ValueError("that is not a table of the week's hours")
            self.share, self._weeks = share, weeks
            self._hour = None if learned["hour"] is None else int(learned["hour"])
            self._active_s = float(learned["active_s"])
        self._sums = [0.0, *accumulate(self.share)]

    def to_state(self) -> dict[str, Any]:
        """Return what was learned, as plain values."""
        return {"share": self.share, "weeks": self._weeks, "hour": self._hour, "active_s": self._active_s}

    def local_hours(self, wall_ns: int) -> float:
        """Return the local time as hours since a Monday's midnight (of 1969), with fractions."""
        utc_hour = wall_ns // NS_PER_HOUR
        if utc_hour != self._offset_hour:
            offset = datetime.fromtimestamp(wall_ns // NS_PER_S, self._zone).utcoffset()
            self._offset_hour, self._offset_s = utc_hour, int(offset.total_seconds()) if offset else 0
        return (wall_ns / NS_PER_S + self._offset_s) / 3600 + EPOCH_WEEKDAY * 24

    def active(self, wall_ns: int, active_s: float) -> None:
        """Learn that the person was active.

        Args:
            wall_ns: now. active_s: for how long since the last call, all of it in the present hour.
        """
        self.pass_time(wall_ns)
        self._active_s += active_s

    def pass_time(self, wall_ns: int) -> None:
        """Learn from the hours that have ended, in which nothing more can have happened."""
        hour = int(self.local_hours(wall_ns))
        last = self._hour
        if last is None or hour < last - 1 or hour > last + MAX_CATCH_UP_HOURS:
            self._hour, self._active_s = hour, 0.0  # the beginning, or a clock that jumped
            return
        if hour <= last:
            return
        self._learn(last, min(1.0, self._active_s / 3600))
        for idle_hour in range(last + 1, hour):
            self._learn(idle_hour, 0.0)
        self._hour, self._active_s = hour, 0.0
        self._sums = [0.0, *accumulate(self.share)]

    def _learn(self, hour: int, share: float) -> None:
        cell = hour % HOURS
        weight = max(MIN_WEIGHT, 1 / (1 + self._weeks[cell]))
        self._weeks[cell] += 1
        self.share[cell] += weight * (share - self.share[cell])

    def expected_hours(self, from_ns: int, until_ns: int) -> float:
        """Return the active hours to be expected between two instants."""
        if until_ns <= from_ns:
            return 0.0
        start = self.local_hours(from_ns)
        return self._sum_to(start + (until_ns - from_ns) / NS_PER_HOUR) - self._sum_to(start)

    def _sum_to(self, hours: float) -> float:
        weeks, rest = divmod(hours, HOURS)
        whole = int(rest)
        return weeks * self._sums[HOURS] + self._sums[whole] + (rest - whole) * self.share[whole]

    def hours_a_day(self) -> float:
        """Return the active hours of a mean day."""
        return self._sums[HOURS] / 7
