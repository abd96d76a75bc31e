"""The short form of the benches: what is worse fails, what is noise does not, and nothing is left without a baseline."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benches import short
from benches.short import Ratio, Verdict, table


def test_worse_by_more_than_the_tolerance_fails() -> None:
    def verdict(value: float, before: float | None, tolerance: float = 0.1) -> Verdict:
        return Verdict(Ratio("a.b", value, tolerance, "x"), before)

    assert not verdict(1.09, 1.0).worse
    assert verdict(1.11, 1.0).worse
    assert not verdict(0.5, 1.0).worse
    assert not verdict(9.0, None).worse
    assert not verdict(0.0, 0.0, 0.0).worse
    assert verdict(0.1, 0.0, 0.0).worse
    assert "**worse**" in table([verdict(2.0, 1.0)])


def test_every_ratio_has_a_baseline() -> None:
    named = set(re.findall(r'"((?:events|screens|budget|agent)\.[\w-]+)"', Path(short.__file__).read_text()))
    named -= {f"{bench}.json" for bench in short.BENCHES}
    named = {name for name in named if not name.startswith("benches.")}
    assert named == set(json.loads(short.BASELINE.read_text()))


def test_the_check_fails_on_what_got_worse(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = json.loads(short.BASELINE.read_text())["events.bytes"]
    for factor, code in ((1.05, 0), (1.2, 1)):
        worse = [Ratio("events.bytes", before * factor, 0.1, "x")]
        monkeypatch.setitem(short.BENCHES, "events", lambda folder, worse=worse: worse)
        assert short.main(["--check", "--only", "events", "--out", str(tmp_path)]) == code
    assert json.loads((tmp_path / "results.json").read_text())["events.bytes"]["baseline"] == before
    assert "events.bytes" in (tmp_path / "results.md").read_text()
