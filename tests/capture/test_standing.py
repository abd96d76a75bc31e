"""A pause and exemptions outlast the process, and end when their time is over."""

from __future__ import annotations

from pathlib import Path

import pytest

from capture.errors import CaptureError
from capture.standing import Exempt, Exemption, Standing, Wishes


def test_what_stands_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "standing.json"
    standing = Standing(path)
    assert standing.wishes == Wishes()
    standing.pause(None)
    standing.exempt(Exemption(Exempt.BANDWIDTH, 100.0, 200.0, "on a train"))
    standing.exempt(Exemption(Exempt.BANDWIDTH, 110.0, 300.0, "still"))
    standing.exempt(Exemption(Exempt.SENSITIVE_WORK, 110.0))
    again = Standing(path)
    assert again.wishes == standing.wishes
    assert again.wishes.paused
    assert [one.reason for one in again.wishes.exemptions] == ["still", ""]
    assert again.wishes.taken == 3
    assert path.stat().st_mode & 0o777 == 0o600
    again.resume()
    assert again.end(Exempt.SENSITIVE_WORK)
    assert not again.end(Exempt.SENSITIVE_WORK)
    assert Standing(path).wishes == Wishes(exemptions=(Exemption(Exempt.BANDWIDTH, 110.0, 300.0, "still"),), taken=3)


def test_what_is_over_does_not_hold() -> None:
    wishes = Wishes(True, 50.0, (Exemption(Exempt.BATTERY, 0.0, 60.0), Exemption(Exempt.BANDWIDTH, 0.0)), 2)
    assert wishes.next_end_s() == 50.0
    assert wishes.at(49.9) == wishes
    later = wishes.at(50.0)
    assert not later.paused
    assert later.next_end_s() == 60.0
    last = wishes.at(60.0)
    assert [one.kind for one in last.exemptions] == [Exempt.BANDWIDTH]
    assert last.next_end_s() is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"paused": false}', b"\xff"])
def test_a_damaged_file_counts_as_a_pause(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "standing.json"
    path.touch(mode=0o600)
    path.write_bytes(content)
    standing = Standing(path)
    assert standing.wishes == Wishes(paused=True)
    standing.resume()
    assert Standing(path).wishes == Wishes()


def test_a_reason_is_a_note(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="200 characters"):
        Standing(tmp_path / "s").exempt(Exemption(Exempt.BATTERY, 0.0, None, "x" * 201))
