"""Pure: the ladder: how much can be recorded, from everything down to clicks and selections, and what each rung means.

Frames fall first, then the pointer's path between clicks; clicks, selections and focus are on every rung.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from functools import cache


class Rung(IntEnum):
    """How much is recorded; a higher rung records everything that a lower one does."""

    NOTHING = 0
    CLICKS = 1  # clicks, wheel, keys, selections, focus; of the pointer's path a point a second
    PATH = 2  # and the pointer's path, simplified
    EVENTS = 3  # and the pointer's path as the source gives it
    EVERY_10MIN = 4  # and a screenshot when the picture changed, at most every 10 min
    EVERY_2MIN = 5
    FOCUS = 6  # and one after a change of focus
    EVERY_30S = 7
    EVERY_10S = 8
    EVERY_5S = 9
    EVERY_2S = 10


FRAME_INTERVAL_MS = {
    Rung.EVERY_10MIN: 600_000,
    Rung.EVERY_2MIN: 120_000,
    Rung.FOCUS: 120_000,
    Rung.EVERY_30S: 30_000,
    Rung.EVERY_10S: 10_000,
    Rung.EVERY_5S: 5_000,
    Rung.EVERY_2S: 2_000,
}
"""The shortest time between two screenshots on change; rungs that are not here take none."""

FIRST_WITH_FRAMES = Rung.EVERY_10MIN
FIRST_ON_FOCUS = Rung.FOCUS
TOP = Rung.EVERY_2S

IN_WORDS = {
    Rung.NOTHING: "nothing",
    Rung.CLICKS: "clicks, keys' timing and focus",
    Rung.PATH: "events, the pointer's path simplified",
    Rung.EVENTS: "all events",
    Rung.EVERY_10MIN: "all events, a screenshot every 10 min",
    Rung.EVERY_2MIN: "all events, a screenshot every 2 min",
    Rung.FOCUS: "all events, a screenshot at focus changes and every 2 min",
    Rung.EVERY_30S: "all events, a screenshot every 30 s",
    Rung.EVERY_10S: "all events, a screenshot every 10 s",
    Rung.EVERY_5S: "all events, a screenshot every 5 s",
    Rung.EVERY_2S: "all events, a screenshot every 2 s",
}


class Effort(IntEnum):
    """How hard the screen encoder works; the values of codec.screen.Effort."""

    FAST = 0
    SMALL = 1


class Upload(StrEnum):
    """What may be sent now."""

    NOTHING = "nothing"
    EVENTS = "events"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Plan:
    """What the agent does until the next plan.

    Attributes:
        rung: where on the ladder.
        move_interval_ms: the pointer's path keeps at most one point per so many ms; 0 = as the source gives it.
        tolerance_px: points within so many px of the line between their neighbours may go; 0 = none.
        frame_interval_ms: the shortest time between two screenshots on change; None = none are taken.
        frames_on_focus: a change of focus takes one even so.
        effort: the screen encoder's.
        upload: what may be sent over the present link.
        hold_ms: after a wake-up for input, how long the source leaves the next input waiting.
    """

    rung: Rung
    move_interval_ms: int
    tolerance_px: int
    frame_interval_ms: int | None
    frames_on_focus: bool
    effort: Effort
    upload: Upload
    hold_ms: int

    @property
    def capture(self) -> bool:
        """Whether anything is recorded."""
        return self.rung > Rung.NOTHING

    def in_words(self) -> str:
        """Return the plan as a line for people."""
        if not self.capture:
            return IN_WORDS[Rung.NOTHING]
        words = IN_WORDS[self.rung]
        if self.frame_interval_ms not in (None, FRAME_INTERVAL_MS.get(self.rung)):
            words = f"all events, a screenshot every {self.frame_interval_ms // 1000} s"
        if self.frame_interval_ms is not None:
            words += ", packed small" if self.effort is Effort.SMALL else ", packed quickly"
        sent = {Upload.NOTHING: "; nothing is sent", Upload.EVENTS: "; only events are sent", Upload.ALL: ""}
        return words + sent[self.upload]


@cache
def plan_of(
    rung: Rung,
    *,
    effort: Effort,
    upload: Upload,
    hold_ms: int,
    min_move_interval_ms: int = 0,
    min_frame_interval_ms: int = 0,
) -> Plan:
    """Return what a rung means under the person's own floors for intervals.

    Args:
        rung: see there. effort, upload, hold_ms: see Plan.
        min_move_interval_ms, min_frame_interval_ms: from the configuration; never undercut.
    """
    move_interval_ms = {Rung.CLICKS: 1000, Rung.PATH: 40}.get(rung, 0)
    interval_ms = FRAME_INTERVAL_MS.get(rung)
    return Plan(
        rung=rung,
        move_interval_ms=max(move_interval_ms, min_move_interval_ms),
        tolerance_px={Rung.CLICKS: 16, Rung.PATH: 2}.get(rung, 0),
        frame_interval_ms=None if interval_ms is None else max(interval_ms, min_frame_interval_ms),
        frames_on_focus=rung >= FIRST_ON_FOCUS,
        effort=effort,
        upload=upload,
        hold_ms=hold_ms,
    )
