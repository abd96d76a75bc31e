"""The agent's status as people and programs see it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import pytest

from capture.panel import SPARKS, ansi, lay_out, spark, text
from capture.status import Status, human_bytes, one_line

STATUS = Status(
    state="recording",
    state_reasons=("mousepad is allowed",),
    plan="a screenshot every 5 s on change",
    plan_reasons=("on battery 34 %", "metered: 'hotspot'"),
    recorded={"pointer": 4200, "keys": 99, "rows": 7, "frames": 12},
    bytes={"raw": 90_000_000, "encoded": 70_000, "sealed": 72_000, "wire": 80_500},
    chunks={"closed": 3, "sent": 2, "waiting": 1, "open": 2},
    spool_bytes=9_000,
    spool_limit_bytes=500_000_000,
    budget={
        "day_used": 80_500,
        "day_limit": 38_080_500,
        "month_used": 900_000_000,
        "month_limit": None,
        "forecast_month": 1_200_000_000,
        "month_end": "2026-12-01",
    },
    links={
        "unmetered": {"day_used": 0, "month_used": 426_000_000, "month_limit": None, "left_bytes": None, "send": "all"},
        "metered": {
            "day_used": 500_000,
            "month_used": 14_000_000,
            "month_limit": 100_000_000,
            "left_bytes": 4_500_000,
            "send": "events",
        },
    },
    kinds={"events": 31_000_000, "screens": 380_000_000, "overhead": 29_000_000},
    pace={"bytes_h": 11.4e6, "hours": 98.0, "day_even_ratio": 0.41, "month_even_ratio": 0.38},
    energy={"cpu_ratio": 0.034, "cpu_share": 0.08, "wakeups_s": 4.2, "wakeups_limit": 12.0, "rss_bytes": 184_000_000},
    refused={"not allowed": 3},
    warnings=("the broker does not answer",),
    link="metered",
    certificate="holds until 2027-11-30, renews itself from 2027-11-03",
    certificate_ends_s=1_827_532_800.0,
)


def test_status_survives_json_and_fields_of_a_newer_agent() -> None:
    answer = json.loads(json.dumps(STATUS.to_answer())) | {"of_the_future": 1}
    assert Status.from_answer(answer) == STATUS


def flat(status: Status, width: int) -> str:
    """Return the status with all white space the same, so that a wrapped sentence is found."""
    return " ".join(text(lay_out(status, width)).split())


@pytest.mark.parametrize("width", [40, 80, 120, 300])
def test_everything_is_shown_at_every_width(width: int) -> None:
    shown = flat(STATUS, width)
    for words in (
        *STATUS.state_reasons,
        *STATUS.warnings,
        "38 MB left",
        "80.5 KB of 38.1 MB",
        "forecast 1.2 GB by 2026-12-01",
        "metered 500 KB 14 MB 100 MB 4.5 MB events ← now",
        "events 31 MB (7 %) · screens 380 MB (86 %) · overhead 29 MB (7 %)",
        "pace 11.4 MB an hour of activity · some 98 h to come",
        "3.4 % of a core (may: 8 %) · 4.2 wake-ups/s (may: 12) · 184 MB of memory",
        "3 x not allowed",
        "access certificate: holds until 2027-11-30, renews itself from 2027-11-03",
    ):
        assert words in shown
    for reason in STATUS.plan_reasons:
        assert f"· {reason}" in shown
    assert all(len(line) <= max(width, 72) for line in text(lay_out(STATUS, width)).splitlines())


def test_an_older_agents_status_is_shown_as_far_as_it_goes() -> None:
    bare = replace(STATUS, links={}, kinds={}, pace={}, energy={}, certificate="")
    assert "on battery 34 %" in flat(bare, 80)


def test_colours_change_no_letter() -> None:
    lines = lay_out(STATUS, 80)
    assert re.sub(r"\x1b\[\d+m", "", ansi(lines)).replace(" ", "") == text(lines).replace(" ", "")


@pytest.mark.parametrize(
    ("used", "even_ratio", "style"), [(10, 0.5, "accent"), (50, 0.1, "accent"), (95, 0.95, "warn"), (100, 1.0, "bad")]
)
def test_a_bar_shows_what_was_used_and_where_an_even_pace_would_be(used: int, even_ratio: float, style: str) -> None:
    budget = {"day_used": used, "day_limit": 100, "month_used": 0, "month_limit": None}
    lines = lay_out(replace(STATUS, budget=budget, pace={"day_even_ratio": even_ratio}), 80)
    bar = next(line for line in lines if line and line[0][0].startswith("today"))[1:-2]
    drawn = "".join(piece for piece, _ in bar)
    assert abs(drawn.index("│") - even_ratio * len(drawn)) <= 1
    full = sum(piece.count("█") for piece, styled in bar if styled == style)
    assert abs(full - used / 100 * len(drawn)) <= 2


def test_small_bars_follow_the_counts() -> None:
    assert spark([0, 0], 10) == SPARKS[0] * 2
    assert spark([5, 0, 7, 14], 3) == SPARKS[0] + SPARKS[4] + SPARKS[7]


def test_watching_keeps_the_status_on_the_terminal() -> None:
    """On a terminal of its own, in a process of its own, until Ctrl-C."""
    program = (
        "import json, sys\nfrom capture.watch import watch\nlooks = iter(json.loads(sys.argv[1]))\n"
        "watch(lambda: next(looks))"
    )
    looks = [replace(STATUS, bytes={"sealed": sealed, "wire": 0}).to_answer() for sealed in (0, 10_000, 40_000)]
    reading, writing = os.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "50"}
    command = [sys.executable, "-c", program, json.dumps(looks)]
    process = subprocess.Popen(command, stdout=writing, stderr=subprocess.DEVNULL, env=environment)
    os.close(writing)
    seen = b""
    with contextlib.suppress(OSError):  # the end of a pty
        while part := os.read(reading, 65536):
            seen += part
    os.close(reading)
    process.wait()
    shown = seen.decode()
    assert "watched" in shown
    assert "sealed 40 KB" in shown
    assert shown.count("on battery 34 %") == len(looks)


def test_the_line_names_plan_reasons_bytes_and_what_is_left() -> None:
    line = one_line(STATUS)
    for words in (
        "a screenshot every 5 s",
        "on battery 34 %",
        "4,299 events",
        "12 frames",
        "80 kB on the wire",
        "left",
    ):
        assert words in line
    assert "no budget set" in one_line(replace(STATUS, budget={}))


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9_949, "9.9 kB"),
        (38_200_000, "38 MB"),
        (999_600, "1.0 MB"),
        (None, "no limit"),
    ],
)
def test_bytes_read_as_people_write_them(count: int | None, text: str) -> None:
    assert human_bytes(count) == text
