"""The process's own usage."""

from __future__ import annotations

import time

import pytest

from capture.sources import usage


def test_usage_is_sampled_when_asked_and_not_more_often_than_its_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "WINDOW_NS", 50_000_000)
    source = usage.UsageSource()
    first = source.current()
    assert first.cpu_ratio == 0.0
    assert first.rss_bytes > 5_000_000
    assert source.current() is first
    busy_until = time.monotonic() + 0.2
    while time.monotonic() < busy_until:
        pass
    busy = source.current()
    assert 0.1 < busy.cpu_ratio <= 1.5
    time.sleep(0.2)
    assert source.current().cpu_ratio < busy.cpu_ratio
