"""Pure: sizes, times, shares and hours as people write them ("1.5 GB", "10 min", "30 %", "09:00-17:00"), both ways.

Guarantees: every value that `show_*` writes, the parser beside it reads; a text without a unit is refused, as is a unit
that does not fit, with a sentence that names one that does. Sizes are decimal as on a data plan (1 MB = 1,000,000
bytes); the binary ones must say so (MiB).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

SIZES = {
    "b": 1,
    "byte": 1,
    "bytes": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
MS = 1
SECOND = 1000 * MS
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
TIMES = {
    "ms": MS,
    "s": SECOND,
    "sec": SECOND,
    "second": SECOND,
    "seconds": SECOND,
    "min": MINUTE,
    "minute": MINUTE,
    "minutes": MINUTE,
    "h": HOUR,
    "hour": HOUR,
    "hours": HOUR,
    "d": DAY,
    "day": DAY,
    "days": DAY,
    "week": 7 * DAY,
    "weeks": 7 * DAY,
}
MINUTES_PER_DAY = 24 * 60
MAX_MS = 36_525 * DAY

QUANTITY = re.compile(r"\s*([0-9][0-9_,]*(?:\.[0-9]+)?)\s*([A-Za-z%]*)\s*")
CLOCK = re.compile(r"\s*(\d{1,2}):(\d{2})\s*[-–]\s*(\d{1,2}):(\d{2})\s*")


@dataclass(frozen=True, slots=True)
class Hours:
    """A stretch of each day, by the local clock.

    Attributes:
        start_min: minutes after midnight, 0-1439. end_min: 1-1440; before `start_min`, the stretch runs over midnight.
    """

    start_min: int
    end_min: int

    def __str__(self) -> str:
        return f"{self.start_min // 60:02d}:{self.start_min % 60:02d}-{self.end_min // 60:02d}:{self.end_min % 60:02d}"


def _quantity(value: object, units: dict[str, int], advice: str) -> float:
    if not isinstance(value, str):
        raise ValueError(f"put it in quotes, with its unit: write {advice}")
    match = QUANTITY.fullmatch(value)
    if match is None:
        raise ValueError(f"write {advice}")
    number, unit = match.groups()
    factor = units.get(unit.lower())
    if factor is None:
        said = f"{unit!r} is no unit here" if unit else "the unit is missing"
        raise ValueError(f"{said}; write {advice}")
    return float(number.replace(",", "").replace("_", "")) * factor


def parse_size(value: object) -> int:
    """Return bytes from "40 MB".

    Raises:
        ValueError: not a size; the text says what to write.
    """
    return round(_quantity(value, SIZES, 'a size such as "40 MB" or "1.5 GB"'))


def parse_duration(value: object) -> timedelta:
    """Return the length of time that "500 ms", "10 min", "30 days" name.

    Raises:
        ValueError: not a time; the text says what to write.
    """
    milliseconds = round(_quantity(value, TIMES, 'a time such as "500 ms", "10 min" or "30 days"'))
    if milliseconds > MAX_MS:
        raise ValueError("a time is at most a hundred years")
    return timedelta(milliseconds=milliseconds)


def parse_share(value: object) -> float:
    """Return a ratio (0-1) from "30 %".

    Raises:
        ValueError: not a share, or over 100 %.
    """
    percent = _quantity(value, {"%": 1, "percent": 1}, 'a share such as "30 %"')
    if percent > 100:
        raise ValueError('a share is at most "100 %"')
    return percent / 100


def parse_hours(value: object) -> Hours:
    """Return the stretch of the day that "09:00-17:00" or "22:00-06:00" names.

    Raises:
        ValueError: not hours.
    """
    match = CLOCK.fullmatch(value) if isinstance(value, str) else None
    advice = 'hours such as "09:00-17:00" or "22:00-06:00"'
    if match is None:
        raise ValueError(f"write {advice}")
    start_h, start_min, end_h, end_min = (int(part) for part in match.groups())
    start, end = start_h * 60 + start_min, end_h * 60 + end_min
    if start_min > 59 or end_min > 59 or start >= MINUTES_PER_DAY or end > MINUTES_PER_DAY:
        raise ValueError(f"there is no such time of day; write {advice}")
    if start == end % MINUTES_PER_DAY:
        raise ValueError(f'start and end are the same; leave the key away for "always", or write {advice}')
    return Hours(start, end or MINUTES_PER_DAY)


def show_size(size_bytes: float) -> str:
    """Return bytes as people write them, three digits: "38 MB", "1.5 GB"."""
    for factor, unit in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "KB")):
        if abs(size_bytes) >= 0.9995 * factor:
            return f"{_three_digits(size_bytes / factor)} {unit}"
    return f"{round(size_bytes)} B"


def show_duration(time: timedelta) -> str:
    """Return a length of time as people write it: "500 ms", "2 s", "10 min", "1.5 h", "30 days"."""
    time_ms = time / timedelta(milliseconds=1)
    for factor, unit in ((2 * DAY, "days"), (HOUR, "h"), (MINUTE, "min"), (SECOND, "s")):
        if time_ms >= factor:
            return f"{_three_digits(time_ms / (DAY if unit == 'days' else factor))} {unit}"
    return f"{round(time_ms)} ms"


def show_share(ratio: float) -> str:
    """Return a ratio as "30 %"."""
    return f"{_three_digits(100 * ratio)} %"


def _three_digits(number: float) -> str:
    digits = 0 if abs(number) >= 99.95 else 1 if abs(number) >= 9.995 else 2
    text = f"{number:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
