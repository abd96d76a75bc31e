"""Pure: which of a browser's windows, as it tells of them on the accessibility bus, is a window of the display.

Guarantees: a private window is never taken for an ordinary one. Browsers need not say in a window's title that it is
private (Chromium and its kin do not); they say it in its accessible name. Where a private window has the same title as an
ordinary one, nobody can tell which is meant: then neither is found.
"""

from __future__ import annotations

from collections.abc import Sequence

from capture.denied import PRIVATE_TITLES


def is_private(name: str) -> bool:
    """Tell whether a window's title or accessible name says that it is for private browsing."""
    small = name.lower()
    return any(marker in small for marker in PRIVATE_TITLES)


def frames_of(title: str, frames: Sequence[tuple[str, str]]) -> list[str]:
    """Return the paths of the windows that may be meant; empty: none, or one that may be private.

    Args:
        title: of the window on the display. frames: path and whole accessible name of each window of the browser.
    """
    if not title:
        return []
    if any(is_private(name) and (name.startswith(title) or title.startswith(name)) for _, name in frames if name):
        return []
    return [path for path, name in frames if name == title]
