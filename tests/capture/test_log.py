"""The log is structured, private, bounded, and keeps no secret."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from capture import log


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave the log as it was."""
    yield
    log.to_stderr(log.ERROR)
    log._hidden.clear()


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_event_is_one_line_of_json_with_its_fields(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "agent.log"
    log.to_file(path)
    log.event("reloaded", changed=["capture.chunk_age"], took_s=1.5, reason="a\nb")
    (line,) = lines(path)
    assert (line["event"], line["level"], line["changed"]) == ("reloaded", "info", ["capture.chunk_age"])
    assert line["reason"] == "a\nb"
    assert str(line["time"]).endswith("Z")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_levels_are_kept(tmp_path: Path) -> None:
    log.to_file(tmp_path / "log", log.WARNING)
    log.event("seen")
    log.event("heard", level=log.ERROR)
    assert [line["event"] for line in lines(tmp_path / "log")] == ["heard"]


def test_a_full_file_is_put_aside_and_few_are_kept(tmp_path: Path) -> None:
    log.to_file(tmp_path / "log")
    for number in range(5 * log.FILE_BYTES // 900):
        log.event("much", number=number, text="x" * 800)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["log", "log.1", "log.2"]
    assert all(path.stat().st_size <= log.FILE_BYTES for path in tmp_path.iterdir())
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in tmp_path.iterdir())


def test_a_hidden_value_is_blotted_out_wherever_it_turns_up(tmp_path: Path) -> None:
    log.to_file(tmp_path / "log")
    log.hide("c4n4ry")
    log.event("failed", reason="login as me:c4n4ry refused", tried=["c4n4ry", "other"])
    text = (tmp_path / "log").read_text()
    assert "c4n4ry" not in text
    assert "login as me" in text


def test_a_value_that_is_too_long_is_cut(tmp_path: Path) -> None:
    log.to_file(tmp_path / "log")
    log.event("failed", reason="y" * 100_000)
    assert (tmp_path / "log").stat().st_size < 2000
