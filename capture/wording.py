"""Pure: the governor's reasons in words. Most plans are made without anybody reading why, so words are made late.

A ground is a sentence, or a function of this module with what it needs to make one; its arguments are values that do not
change any more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from math import inf
from typing import Any

from capture.conditions import Conditions, Span
from capture.habits import NS_PER_HOUR
from capture.ladder import IN_WORDS, Plan, Rung, Upload
from capture.pace import Pace
from capture.prices import Price
from capture.units import show_duration, show_share, show_size

Ground = str | tuple[Callable[..., str], *tuple[Any, ...]]


def in_words(grounds: Sequence[Ground]) -> tuple[str, ...]:
    """Return the grounds as sentences."""
    return tuple(ground if isinstance(ground, str) else ground[0](*ground[1:]) for ground in grounds)


def on_battery(charge: float | None, discharge_w: float | None, halved: Sequence[str]) -> str:
    """Say that the machine runs on its battery, and what halves the share of the processor."""
    charged = () if charge is None else (show_share(charge),)
    giving = () if not discharge_w or discharge_w < 0 else (f"giving {discharge_w:.1f} W",)
    return ", ".join(("on battery", *charged, *giving, *halved))


def not_on_battery(known: bool, halved: Sequence[str]) -> str:
    """Say that the machine runs on mains, or on nobody knows what, and what halves the share of the processor."""
    return ", ".join(("on mains" if known else "power unknown", *halved))


def over_memory(rss_bytes: int, memory_bytes: int, *, all_screens: bool) -> str:
    """Say that recording holds more memory than it may, and what it does without."""
    without = "no screenshots" if all_screens else "only the quick encoder"
    return f"recording holds {show_size(rss_bytes)} of memory, {show_size(memory_bytes)} are allowed: {without}"


def below_floor(charge: float, floor: float) -> str:
    """Say that the battery is too low for anything."""
    return f"the battery is at {show_share(charge)}: below {show_share(floor)} nothing is recorded"


def below_screens_floor(floor: float) -> str:
    """Say that the battery is too low for screenshots."""
    return f"the battery is below {show_share(floor)}: no screenshots"


def spool_full(ratio: float) -> str:
    """Say that the spool has no room for screenshots."""
    return f"the spool is {show_share(ratio)} full: no screenshots"


def over_share(own_cpu: float) -> str:
    """Say that recording took more of the processor than it may."""
    return f"recording uses {show_share(own_cpu)} of a core: over its share"


def waits(wanted: Plan, wait_ns: int) -> str:
    """Say that another plan is due, and when."""
    wait = show_duration(timedelta(milliseconds=wait_ns // 1_000_000))
    return f"changes to {wanted.in_words()!r} in {wait} unless that passes: once a minute at most"


def link(conditions: Conditions, upload: Upload) -> str:
    """Say what the network is, and what waits for a better one."""
    if conditions.link == "offline":
        if conditions.captive:
            named = f" ({conditions.network})" if conditions.network else ""
            return f"the network{named} wants somebody to sign in first: what is recorded waits"
        return "offline: what is recorded waits"
    called = "unknown whether metered, so treated as metered" if conditions.link == "unknown" else conditions.link
    named = f"{called} ({conditions.network})" if conditions.network else called
    if upload is Upload.ALL:
        return f"network: {named}"
    return f"network: {named}, {'screenshots wait' if upload is Upload.EVENTS else 'everything waits'}"


def means_of(means: Pace, wall_ns: int) -> str:
    """Say what is left of the budget that decides, and what an hour may cost."""
    purse, bytes_h = means.purse, means.frame_bytes_h
    if purse is None:
        return "no byte budget" if bytes_h == inf else "held by the rate ceiling"
    until = show_duration(timedelta(hours=max(0, purse.end_wall_ns - wall_ns) / NS_PER_HOUR))
    span = "today" if purse.span is Span.DAY else "this billing period"
    return (
        f"{show_size(max(0, purse.left_bytes))} of {show_size(purse.limit_bytes)} left {span}, "
        f"for some {means.hours:.0f} h of activity in {until}: {show_size(max(0.0, bytes_h))} an hour"
    )


def next_rung(above: Rung, price: Price, share: float, *, bytes_lack: bool) -> str:
    """Say what the rung above would cost, of what there is too little."""
    if bytes_lack:
        return f"{IN_WORDS[above]!r} would cost {show_size(price.size_bytes)} an hour"
    return f"{IN_WORDS[above]!r} would take {show_share(price.cpu_s / 3600)} of a core; {show_share(share)} is allowed"


def stops(conditions: Conditions) -> list[str]:
    """Return what orders that nothing be recorded."""
    return [
        words
        for holds, words in (
            (not conditions.consented, "there is no consent"),
            (conditions.paused, "paused"),
            (conditions.locked, "the screen is locked"),
            (conditions.asleep, "the machine goes to sleep"),
            (conditions.away, "another session has the screen"),
        )
        if holds
    ]


def counted(link_class: str, send: Mapping[str, Upload]) -> Upload:
    """Return what may be sent over a class of links, an unknown one counting as metered."""
    return send.get("metered" if link_class == "unknown" else link_class, Upload.ALL)
