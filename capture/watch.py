"""Shell: `modicum status --watch`: the status kept on the screen until Ctrl-C. The only importer of rich, on first use."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from capture.panel import LABEL, Line, lay_out, spark
from capture.status import Status
from capture.units import show_size

if TYPE_CHECKING:
    from rich.text import Text

PERIOD_S = 1.0
KEPT = 600
"""Looks that are kept for the course of the bytes."""
STYLES = {"": "", "dim": "dim", "bold": "bold", "good": "green", "warn": "yellow", "bad": "red", "accent": "cyan"}


class Course:
    """How the bytes have come in since the watching began. State: the totals of the looks, at most KEPT."""

    def __init__(self) -> None:
        self._totals: deque[tuple[int, int]] = deque(maxlen=KEPT)

    def look(self, status: Status) -> None:
        """Note one look."""
        self._totals.append((status.bytes.get("sealed", 0), status.bytes.get("wire", 0)))

    def lines(self, width: int) -> list[Line]:
        """Return the courses of bytes recorded and sent as lines of small bars."""
        looks = list(self._totals)
        found: list[Line] = []
        for index, name in enumerate(("sealed", "on the wire")):
            steps = [max(0, after[index] - before[index]) for before, after in pairwise(looks)]
            bars = spark(steps, width - LABEL - 24)
            shown = f"{name} {show_size(sum(steps))}"
            found.append(
                [(("watched" if index == 0 else "").ljust(LABEL), "dim"), (f"{shown:<22}", ""), (bars, "accent")]
            )
        return [[], *found]


def watch(ask: Callable[[], Mapping[str, Any]]) -> None:
    """Show the status until Ctrl-C.

    Args:
        ask: returns the agent's answer; what it raises ends the watching.
    """
    from rich.console import Console
    from rich.live import Live

    console, course = Console(highlight=False), Course()
    with Live(console=console, auto_refresh=False, screen=console.is_terminal) as live:
        while True:
            status = Status.from_answer(ask())
            course.look(status)
            live.update(_text([*lay_out(status, console.width), *course.lines(console.width)]), refresh=True)
            time.sleep(PERIOD_S)


def _text(lines: list[Line]) -> Text:
    from rich.text import Text

    shown = Text(no_wrap=True, overflow="crop")
    for number, line in enumerate(lines):
        shown.append("\n" if number else "")
        for piece, style in line:
            shown.append(piece, STYLES[style])
    return shown
