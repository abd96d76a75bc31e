"""Pure: how many bytes an hour of activity may cost, so that a budget lasts to its period's end and none is left over.

What is left, less what waits to be sent, is spread over the hours of activity that are still to be expected. It is
spent faster at first: budget that is left over at the end is lost, while a shortage only lowers a rung; so holidays
nobody can foresee cost little. Of the rest a reserve stays untouched by screenshots, enough for clicks and focus in
every hour that may yet come.

With x the share of the period's hours that is still to come, the budget follows L(x) = a x + (1 - a) x^k: a share `a`
is spent evenly, the rest early. The rate that keeps to that course from wherever the budget stands is L/hours times
m(x), the logarithmic derivative of L.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

from capture.conditions import ALL_LINKS, Purse, Span
from capture.habits import NS_PER_HOUR, Habits
from capture.ladder import Upload

EVEN_RATIO = 0.4
EARLY_POWER = 3.0
"""`a` and `k`: half the hours leave 28 % of the budget, a quarter of them 11 %; the last hours get 0.4 of the mean."""
DAYS_A_MONTH = 30.4
HOURS_A_DAY_AT_MOST = 14.0
"""Hours of activity of the longest day: for so many a day, clicks and focus are reserved."""
MIN_HOURS = 1.0
"""Who is active now will be for some time, whatever the habits say."""
WIRE_RATIO = 1.1
"""Bytes on the wire over bytes of chunks (research: 6 % at 20 KB with TLS, 12 % at 2 KB)."""
DRAIN_RATIO = 0.5
"""While a backlog of more than a day's budget waits, so much of a day's budget is recorded anew."""
SPANS = tuple(Span)
SEEN_RATIO = 0.02
"""A link class that carried less than this share of the activity is not counted on."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What an hour of activity may cost.

    Attributes:
        event_bytes_h, frame_bytes_h: for everything together, when it has no screenshots, and when it has.
        purse: the one that decides; None: nothing limits. hours: of activity that were expected until its end.
        frames_can_leave: whether any link that carries screenshots is to be expected.
    """

    event_bytes_h: float
    frame_bytes_h: float
    purse: Purse | None
    hours: float
    frames_can_leave: bool


def haste(share: float) -> float:
    """Return how much faster than evenly to spend.

    Args:
        share: of the period's expected hours that is still to come, 0-1 (more is taken for 1).
    """
    share = min(1.0, share)
    early: float = (1 - EVEN_RATIO) * share ** (EARLY_POWER - 1)
    return (EVEN_RATIO + EARLY_POWER * early) / (EVEN_RATIO + early)


def pace(
    wall_ns: int,
    purses: Mapping[str, Sequence[Purse]],
    *,
    backlog_bytes: int,
    habits: Habits,
    link_shares: Mapping[str, float],
    send: Mapping[str, Upload],
    floor_bytes_h: float,
    daily_bytes: float = inf,
) -> Pace:
    """Return what an hour of activity may cost now.

    Args:
        wall_ns: now. purses: see Conditions.
        backlog_bytes: recorded and not sent.
        habits: when to expect activity.
        link_shares: by link class, the share of activity that was on it (the present one counts as seen).
        send: by link class, what may be sent over it.
        floor_bytes_h: what an hour of clicks and focus costs.
        daily_bytes: what the rate ceiling and the upload windows let through in a day.
    """
    seen = [link for link in send if link_shares.get(link, 0) >= SEEN_RATIO]
    frame_links = [link for link in seen if send[link] is Upload.ALL]
    event_links = [link for link in seen if send[link] is not Upload.NOTHING]
    # What waits and can never leave takes nothing of the budget.
    waiting = backlog_bytes * WIRE_RATIO if frame_links else 0.0
    best = Pace(inf, inf, None, 0.0, bool(frame_links))
    whole = [(purse, True) for purse in purses.get(ALL_LINKS, ())]
    of_frames = [(purse, True) for purse in _joint(purses, frame_links)]
    of_events = [] if event_links == frame_links else [(purse, False) for purse in _joint(purses, event_links)]
    for purse, for_frames in (*whole, *of_frames, *of_events):
        event_bytes_h, frame_bytes_h, hours = _spread(purse, wall_ns, waiting, habits, floor_bytes_h)
        if not for_frames:
            frame_bytes_h = best.frame_bytes_h
        if frame_bytes_h < best.frame_bytes_h or (not for_frames and event_bytes_h < best.event_bytes_h):
            best = Pace(
                min(event_bytes_h, best.event_bytes_h),
                min(frame_bytes_h, best.frame_bytes_h),
                purse,
                hours,
                best.frames_can_leave,
            )
    through_h = daily_bytes / max(1.0, habits.hours_a_day())
    if through_h < best.frame_bytes_h:
        best = Pace(min(through_h, best.event_bytes_h), through_h, best.purse, best.hours, best.frames_can_leave)
    return best


def _spread(
    purse: Purse, wall_ns: int, waiting: float, habits: Habits, floor_bytes_h: float
) -> tuple[float, float, float]:
    """Spread what is left of a purse: bytes an hour without and with screenshots, and over how many hours."""
    left_h = (purse.end_wall_ns - wall_ns) / NS_PER_HOUR
    hours = max(habits.expected_hours(wall_ns, purse.end_wall_ns), min(MIN_HOURS, left_h), 1 / 60)
    usual = habits.hours_a_day() * (1.0 if purse.span is Span.DAY else DAYS_A_MONTH)
    spread = hours / haste(hours / usual if usual else 1.0)
    left = purse.left_bytes - waiting
    reserve = floor_bytes_h * min(left_h, max(1.5 * hours, left_h / 24 * HOURS_A_DAY_AT_MOST))
    event_bytes_h, frame_bytes_h = left / spread, (left - reserve) / spread
    if purse.span is Span.DAY and waiting > 0:
        # Days without a link leave a backlog that no single day can take; it goes while recording goes on.
        drained = DRAIN_RATIO * purse.limit_bytes / max(1.0, habits.hours_a_day())
        event_bytes_h, frame_bytes_h = max(event_bytes_h, drained), max(frame_bytes_h, drained - floor_bytes_h)
    return event_bytes_h, frame_bytes_h, hours


def _joint(purses: Mapping[str, Sequence[Purse]], links: Sequence[str]) -> list[Purse]:
    """Return, for each span, the sum of the purses of some links; none where one of them is unlimited."""
    found = []
    if links and all(link in purses for link in links):
        for span in SPANS:
            each = [purse for link in links for purse in purses[link] if purse.span is span]
            if len(each) == len(links):
                left, limit = sum(purse.left_bytes for purse in each), sum(purse.limit_bytes for purse in each)
                found.append(Purse(span, left, limit, each[0].end_wall_ns))
    return found
