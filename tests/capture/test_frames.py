"""A private window is never taken for an ordinary one."""

from __future__ import annotations

from capture.frames import frames_of, is_private

LONG = "a title that is as long as titles of pages are, and longer - Chromium"


def test_the_window_with_the_very_name_is_meant() -> None:
    frames = [("/1", "Inbox - Chromium"), ("/2", "Inbox"), ("/3", "")]
    assert frames_of("Inbox - Chromium", frames) == ["/1"]
    assert frames_of("Outbox - Chromium", frames) == []
    assert frames_of("", frames) == []
    assert frames_of(LONG, [("/1", LONG), ("/2", LONG)]) == ["/1", "/2"]


def test_a_private_window_is_not_found_and_hides_its_twin() -> None:
    private = ("/1", f"{LONG} (Incognito)")
    assert is_private(private[1])
    assert frames_of(LONG, [private]) == []
    assert frames_of(LONG, [("/2", LONG), private]) == []
    assert frames_of("Other - Chromium", [("/2", "Other - Chromium"), private]) == ["/2"]
    assert frames_of(private[1], [private]) == []
    assert frames_of("x — Mozilla Firefox Private Browsing", [("/1", "x — Mozilla Firefox Private Browsing")]) == []
