"""Shell: what really was done on the virtual desktop, as JSON lines that a bench compares a recording with.

`ms` is CLOCK_MONOTONIC in milliseconds, which is also the clock of Xorg's and Xvfb's event times. Lines:

    {"ms": …, "what": "start", "size": [w, h], "seed": …, "apps": […], "wall_ns": …}
    {"ms": …, "what": "activity", "name": "typing"}
    {"ms": …, "what": "move", "x": …, "y": …}          a report of the mouse
    {"ms": …, "what": "press" | "release", "button": …, "x": …, "y": …}
    {"ms": …, "what": "wheel", "button": 4-7, "x": …, "y": …}
    {"ms": …, "what": "key", "down": true, "name": "a", "code": 38}
    {"ms": …, "what": "choose", "name": …}              an entry of a menu or list was clicked
    {"ms": …, "what": "page", …}                        what a page of the browser saw
    {"ms": …, "what": "end", "counts": {…}}
"""

from __future__ import annotations

import collections
import json
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self


class Truth:
    """Collects the lines and counts them. Any thread may add.

    Args:
        path: the file to write; None only counts.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._file = path.open("w", encoding="utf-8") if path is not None else None
        self._lock = threading.Lock()
        self._counts: collections.Counter[str] = collections.Counter()

    def add(self, what: str, **fields: Any) -> None:
        """Note one thing, now."""
        ms = time.monotonic_ns() / 1e6
        with self._lock:
            self._counts[what] += 1
            if self._file is not None and not self._file.closed:
                self._file.write(json.dumps({"ms": round(ms, 2), "what": what, **fields}, ensure_ascii=False) + "\n")

    def counts(self) -> dict[str, int]:
        """Return how many of each there were."""
        with self._lock:
            return dict(self._counts)

    def close(self) -> None:
        """Write the last line and close the file."""
        self.add("end", counts=self.counts(), wall_ns=time.time_ns())
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
