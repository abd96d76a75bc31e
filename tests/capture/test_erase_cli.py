"""`modicum erase`: what a person writes, and what they are told."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from capture.erase_cli import describe, wanted_of
from capture.errors import CaptureError

NOW = datetime(2026, 11, 24, 18, 30, tzinfo=ZoneInfo("Europe/Berlin"))
HOUR_MS = 3_600_000
NOW_MS = int(NOW.timestamp() * 1000)


def wanted(**named: object) -> dict[str, object]:
    given = {"chunks": [], "since": "", "from_": "", "to": "", "all_": False} | named
    return wanted_of(*given.values(), now=NOW)  # type: ignore[arg-type]


def test_times_are_read_as_people_write_them() -> None:
    assert wanted(since="2 h") == {"since_ms": NOW_MS - 2 * HOUR_MS}
    assert wanted(since="2h") == {"since_ms": NOW_MS - 2 * HOUR_MS}
    assert wanted(from_="17:30") == {"since_ms": NOW_MS - HOUR_MS}
    assert wanted(from_="2026-11-24 14:30", to="2026-11-24 15:30") == {
        "since_ms": NOW_MS - 4 * HOUR_MS,
        "until_ms": NOW_MS - 3 * HOUR_MS,
    }
    assert wanted(to="2026-11-24T17:30:00+00:00") == {"until_ms": NOW_MS}
    assert wanted(all_=True) == {}
    assert wanted(chunks=["0000000a/7", "dev-1/b/8"]) == {"ids": [[10, 7], [11, 8]]}


@pytest.mark.parametrize(
    ("named", "says"),
    [
        ({}, "in one way"),
        ({"since": "2 h", "all_": True}, "in one way"),
        ({"since": "2"}, "--since"),
        ({"from_": "yesterday"}, "is no time"),
        ({"from_": "25:00"}, "is no time"),
        ({"from_": "15:00", "to": "14:00"}, "lies after"),
        ({"from_": "19:00"}, "lies after"),
        ({"chunks": ["7"]}, "is no chunk"),
        ({"chunks": ["x/7"]}, "is no chunk"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_to_write(named: dict[str, object], says: str) -> None:
    with pytest.raises(CaptureError, match=says):
        wanted(**named)


def test_what_was_done_is_said_with_the_time_that_it_covers() -> None:
    done = {"here": 2, "orders": 1, "ordered": 3, "already": 0, "uncertain": 1, "from_ms": NOW_MS, "until_ms": NOW_MS}
    said = describe(done)
    assert "2 chunks were deleted here" in said
    assert "3 are to be erased in the archive" in said
    assert "it is not known when" in said
    assert "nothing to erase" in describe(dict.fromkeys(done, 0))
