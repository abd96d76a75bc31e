"""Shell: what the governor has learned, in a file of the person's: their hours and what things cost. What is damaged is learned anew."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capture.errors import CaptureError
from capture.keyfiles import read_private, write_private


def read(path: Path) -> dict[str, Any] | None:
    """Return it; None: nothing is known yet, or the file is damaged."""
    if not path.exists():
        return None
    try:
        found = json.loads(read_private(path, what="what the governor has learned"))
    except (CaptureError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def write(path: Path, state: Mapping[str, Any]) -> None:
    """Keep it."""
    write_private(path, json.dumps(state).encode())
