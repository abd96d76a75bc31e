"""Pure: until when: "30 min", "until 14:00", "forever", as a person says it."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from capture.units import parse_duration

CLOCK = re.compile(r"(\d{1,2})[:.](\d{2})")


def end_of(words: str, now: datetime) -> datetime | None:
    """Return when a time ends that a person named; None: never by itself.

    Args:
        words: "30 min", "30m", "2h", "until 14:00", "forever", "".
        now: aware; "until" means the next such time by its zone's clock.

    Raises:
        ValueError: it is none of these; the text says what to write.
    """
    said = words.strip().lower()
    if said in ("", "forever"):
        return None
    match = CLOCK.fullmatch(said.removeprefix("until").strip())
    if match:
        hour, minute = int(match[1]), int(match[2])
        if hour > 23 or minute > 59:
            raise ValueError('there is no such time of day; write "until 14:00"')
        end = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
        return end if end > now else end + timedelta(days=1)
    short = re.fullmatch(r"(\d+)\s*m", said)
    try:
        length = parse_duration(f"{short[1]} min" if short else said.removeprefix("for").strip())
    except ValueError:
        raise ValueError('write how long, such as "30 min" or "2 h", or "until 14:00", or "forever"') from None
    if not length:
        raise ValueError("a time of nothing is over at once; write at least a second")
    return now + length
