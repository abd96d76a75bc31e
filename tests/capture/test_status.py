"""The agent's status as people and programs see it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from capture.status import Status, full, human_bytes, one_line

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
    refused={"not allowed": 3},
    warnings=("the broker does not answer",),
    link="metered",
)


def test_status_survives_json_and_fields_of_a_newer_agent() -> None:
    answer = json.loads(json.dumps(STATUS.to_answer())) | {"of_the_future": 1}
    assert Status.from_answer(answer) == STATUS


def test_every_reason_and_warning_is_shown() -> None:
    text = full(STATUS)
    for words in (
        *STATUS.state_reasons,
        *STATUS.plan_reasons,
        *STATUS.warnings,
        "38 MB",
        "1.2 GB by",
        "by 2026-12-01",
    ):
        assert words in text
    assert "3 x not allowed" in text


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
