"""Until when."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from capture.times import end_of

NOW = datetime(2026, 3, 9, 13, 0, tzinfo=timezone(timedelta(hours=1)))


@pytest.mark.parametrize(
    ("words", "end"),
    [
        ("", None),
        ("forever", None),
        ("30m", NOW + timedelta(minutes=30)),
        ("30 min", NOW + timedelta(minutes=30)),
        ("2h", NOW + timedelta(hours=2)),
        ("for 2 h", NOW + timedelta(hours=2)),
        ("until 14:00", NOW + timedelta(hours=1)),
        ("14:00", NOW + timedelta(hours=1)),
        ("until 13:00", NOW + timedelta(days=1)),
        ("until 8.30", NOW + timedelta(hours=19, minutes=30)),
    ],
)
def test_a_time_is_understood(words: str, end: datetime | None) -> None:
    assert end_of(words, NOW) == end


@pytest.mark.parametrize("words", ["soon", "until", "until 25:00", "30", "-5 min", "0 s", "until tomorrow"])
def test_what_is_no_time_says_what_to_write(words: str) -> None:
    with pytest.raises(ValueError, match="write"):
        end_of(words, NOW)
