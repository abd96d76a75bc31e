"""The demo's verification says WRONG when something is, and then the demo fails."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from benches import demo_report
from benches.compare import Comparison
from capture.status import Status

SOUND: dict[str, Any] = {"chunks": 4, "bytes": 9000, "problems": [], "holes": [], "by_kind": {"move": 10}}
ALL_THERE = Comparison(done=1000, found=1000, extra=0, late_ms=1, worst_ms=2)


def verdict(report: dict[str, Any], *, closed: int = 4, compared: Comparison | None = ALL_THERE) -> tuple[bool, str]:
    last = Status("paused", (), "", (), {}, {}, {"closed": closed}, 0, 0, {})
    output = io.StringIO()
    sound = demo_report.verification(Console(file=output, width=200), report, last, compared)
    return sound, output.getvalue()


def test_a_sound_archive_is_right() -> None:
    sound, text = verdict(SOUND)
    assert sound
    assert "WRONG" not in text


@pytest.mark.parametrize(
    ("report", "closed", "compared"),
    [
        (SOUND | {"problems": ["x/0/1: the hash is wrong"]}, 4, ALL_THERE),
        (SOUND | {"holes": ["x/00000000: 2"]}, 4, ALL_THERE),
        (SOUND | {"chunks": 0}, 0, ALL_THERE),
        (SOUND, 5, ALL_THERE),
        (SOUND, 4, Comparison(1000, 980, 0, 1, 2)),
        (SOUND, 4, Comparison(1000, 1000, 1, 1, 2)),
    ],
    ids=["damaged", "hole", "empty", "chunk lost", "events lost", "events invented"],
)
def test_what_is_wrong_is_said_and_fails(report: dict[str, Any], closed: int, compared: Comparison) -> None:
    sound, text = verdict(report, closed=closed, compared=compared)
    assert not sound
    assert "WRONG" in text


def test_kinds_that_the_table_does_not_know_are_shown_too() -> None:
    output = io.StringIO()
    Console(file=output, width=100).print(demo_report.recorded({"by_kind": {"move": 3, "clipboard": 2}}, None))
    assert "(clipboard)" in output.getvalue()
