"""The journal: lines that only grow, private, bounded, readable after a crash."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from capture.journal import KINDS, Journal, in_words


def test_lines_are_kept_in_order_and_read_back_since_a_time(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "state" / "journal.jsonl")
    journal.note("consent", notice="ab")
    time.sleep(0.002)  # lines have their time to the millisecond
    cut = time.time()
    time.sleep(0.002)
    journal.note("recording", chunk="1-2", apps={"xterm": ["xterm is allowed by scope.allow"]}, bytes=4711)
    assert [entry["kind"] for entry in journal.entries()] == ["consent", "recording"]
    assert [entry["kind"] for entry in journal.entries(cut)] == ["recording"]
    said = in_words(list(journal.entries())[1])
    for word in ("recording", "chunk 1-2", "xterm (xterm is allowed by scope.allow)", "bytes 4,711"):
        assert word in said


def test_it_is_private_and_bounded(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl", max_file_bytes=2000)
    for number in range(100):
        journal.note("sent", chunks=[f"1-{number}"], wire_bytes=1000)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 4500
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    numbers = [entry["chunks"][0] for entry in journal.entries()]
    assert numbers[-1] == "1-99"
    assert numbers == [f"1-{number}" for number in range(100 - len(numbers), 100)], "without holes"


def test_half_a_line_of_a_crash_is_left_out(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.note("pause")
    with journal.path.open("ab") as file:
        file.write(b'{"at": 12, "kind": "sen\n[1]\n{"at": "x", "kind": 3}\n\xff\xfe\n')
    journal.note("resume")
    assert [entry["kind"] for entry in journal.entries()] == ["pause", "resume"]


def test_a_disk_that_refuses_stops_nothing(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    Journal(blocked / "journal.jsonl").note("pause")
    assert list(Journal(tmp_path / "missing").entries()) == []


def test_unknown_kinds_are_a_defect(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="knows no"):
        Journal(tmp_path / "j").note("titles")
    assert {"consent", "withdraw", "recording", "sent", "pause", "resume", "exempt", "forget", "erase", "asked"} <= set(
        KINDS
    )


def test_who_only_looks_is_not_written_down(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    journal.asked("status", os.getuid(), 1)
    journal.asked("pause", os.getuid(), 42)
    (entry,) = journal.entries()
    assert (entry["what"], entry["user"], entry["process"]) == ("pause", os.getuid(), 42)
