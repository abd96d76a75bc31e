"""Shortcuts as people write them."""

from __future__ import annotations

import pytest

from capture.shortcut import parse_shortcut


def test_shortcuts_are_understood() -> None:
    found = parse_shortcut("Ctrl + Alt+P")
    assert found is not None
    assert (found.modifiers, found.keysym) == (4 | 8, ord("p"))
    key = parse_shortcut("F9")
    assert key is not None
    assert (key.modifiers, key.keysym) == (0, 0xFFC6)
    assert parse_shortcut("") is None


@pytest.mark.parametrize("text", ["p", "shift+p", "space", "ctrl+", "hyper+p", "ctrl+alt", "ctrl+pp"])
def test_what_is_none_or_is_typed_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write a shortcut"):
        parse_shortcut(text)
