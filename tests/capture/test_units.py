"""Sizes, times, shares and hours, as people write them."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.units import (
    Hours,
    parse_duration,
    parse_hours,
    parse_share,
    parse_size,
    show_duration,
    show_share,
    show_size,
)


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("40 MB", 40_000_000),
        ("1.5 GB", 1_500_000_000),
        ("1.5gb", 1_500_000_000),
        ("12 KiB", 12_288),
        ("1,000 B", 1000),
        (" 2 TB ", 2 * 10**12),
    ],
)
def test_sizes_are_decimal_unless_they_say_otherwise(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize(
    "text", ["40", "40 Mb/s", "MB", "-1 MB", "12 Gbit", "", "1e3 MB", 40, 1.5, None, True, ["1 MB"]]
)
def test_what_is_no_size_says_what_to_write(text: object) -> None:
    with pytest.raises(ValueError, match='"40 MB" or'):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("500 ms", timedelta(milliseconds=500)),
        ("10 min", timedelta(minutes=10)),
        ("2h", timedelta(hours=2)),
        ("30 days", timedelta(days=30)),
        ("1.5 s", timedelta(seconds=1.5)),
    ],
)
def test_times_carry_their_unit(text: str, time: timedelta) -> None:
    assert parse_duration(text) == time


@pytest.mark.parametrize("text", ["10", "10 m", 10, "10 months", "99999999999999 days", "inf s"])
def test_what_is_no_time_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="time"):
        parse_duration(text)


def test_a_share_is_at_most_everything() -> None:
    assert parse_share("30 %") == 0.3
    with pytest.raises(ValueError, match="at most"):
        parse_share("101 %")
    with pytest.raises(ValueError, match="unit is missing"):
        parse_share("0.3")


def test_hours_may_run_over_midnight() -> None:
    assert parse_hours("09:00-17:30") == Hours(540, 1050)
    assert parse_hours("22:00-06:00") == Hours(1320, 360)
    assert parse_hours("18:00-00:00") == parse_hours("18:00-24:00") == Hours(1080, 1440)
    assert str(parse_hours("9:05-17:00")) == "09:05-17:00"


@pytest.mark.parametrize("text", ["9-17", "09:00", "25:00-26:00", "09:60-10:00", "09:00-09:00", "00:00-24:00", 9])
def test_what_are_no_hours_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"hours|time of day|always"):
        parse_hours(text)


@settings(deadline=None)
@given(st.integers(0, 10**15))
def test_a_size_that_is_shown_can_be_written(size_bytes: int) -> None:
    assert parse_size(show_size(size_bytes)) == pytest.approx(size_bytes, rel=0.006)


@settings(deadline=None)
@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=3650)))
def test_a_time_that_is_shown_can_be_written(time: timedelta) -> None:
    back = parse_duration(show_duration(time))
    assert back.total_seconds() == pytest.approx(time.total_seconds(), rel=0.006, abs=0.001)


@settings(deadline=None)
@given(st.floats(0, 1))
def test_a_share_that_is_shown_can_be_written(ratio: float) -> None:
    assert parse_share(show_share(ratio)) == pytest.approx(ratio, rel=0.006, abs=0.0001)
