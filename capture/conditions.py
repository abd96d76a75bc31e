"""Pure: what the governor is told: power, network, budget, load, and what the person wants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from capture.ladder import Effort, Upload

ALL_LINKS = ""
"""The key of the purses that hold over all links together."""


class Span(StrEnum):
    """What a purse is for."""

    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Purse:
    """A budget and what is left of it.

    Attributes:
        span: a local day or a billing period. left_bytes: not spent, not reserved. limit_bytes: the whole.
        end_wall_ns: when the next one begins.
    """

    span: Span
    left_bytes: int
    limit_bytes: int
    end_wall_ns: int


@dataclass(frozen=True, slots=True)
class Conditions:
    """What is known at one moment. None = the platform cannot tell.

    Attributes:
        wall_ns: the wall clock.
        consented, paused, locked, asleep, away (another session has the screen): what stops everything.
        idle: the person has touched nothing for a while. lid_closed: of a laptop.
        on_battery: running on it. battery_ratio: 0-1. power_warning: the system calls it low. discharge_w: what it
            gives now. power_saver: the person chose the thrifty profile. hot: the machine throttles, or soon will.
        load_ratio: CPU use of the whole machine, 0-1.
        own_cpu_ratio: of all our processes, in cores, of late; the governor averages it. wakeups_s: ours, per second.
        rss_bytes: memory that we hold.
        link: "unmetered", "metered", "roaming", "unknown" (treated as metered) or "offline".
        exempt: the person has taken an exemption from sending; the link then counts as offline.
        network: its name, for the reasons. captive: it wants somebody to sign in before it lets anything through.
        purses: by link class, and by ALL_LINKS for those over all; a link without limits has no entry.
        backlog_bytes: recorded, not sent: hold-back and spool.
        spool_ratio: how full the spool is, 0-1.
    """

    wall_ns: int
    consented: bool = True
    paused: bool = False
    locked: bool = False
    asleep: bool = False
    away: bool = False
    exempt: bool = False
    idle: bool = False
    lid_closed: bool | None = None
    on_battery: bool | None = None
    battery_ratio: float | None = None
    power_warning: bool = False
    discharge_w: float | None = None
    power_saver: bool | None = None
    hot: bool | None = None
    load_ratio: float | None = None
    own_cpu_ratio: float | None = None
    wakeups_s: float | None = None
    rss_bytes: int | None = None
    link: str = "unknown"
    network: str = ""
    captive: bool = False
    purses: Mapping[str, tuple[Purse, ...]] = field(default_factory=dict)
    backlog_bytes: int = 0
    spool_ratio: float = 0.0


@dataclass(frozen=True, slots=True)
class Settings:
    """What the configuration says to the governor.

    Attributes:
        time_zone: IANA name, of the days and hours.
        screens: whether screenshots may be taken at all.
        min_frame_interval_ms, min_move_interval_ms: never undercut.
        effort: the encoder's; None = the governor chooses.
        cpu_mains, cpu_battery: shares of one core that recording may use.
        screens_floor, floor: charge (0-1) on battery below which screenshots stop, and below which everything does.
        wakeups_s: wake-ups per second that recording may cause. memory_bytes: memory that it may hold; None: any.
        send: by link class, what may be sent over it.
        rate_bytes_s, window_hours: ceiling of the sending rate, and hours of the day in which may be sent.
    """

    time_zone: str = "UTC"
    screens: bool = True
    min_frame_interval_ms: int = 2000
    min_move_interval_ms: int = 0
    effort: Effort | None = None
    cpu_mains: float = 0.08
    cpu_battery: float = 0.02
    screens_floor: float = 0.30
    floor: float = 0.10
    wakeups_s: float = 12.0
    memory_bytes: int | None = None
    send: Mapping[str, Upload] = field(
        default_factory=lambda: {"unmetered": Upload.ALL, "metered": Upload.EVENTS, "roaming": Upload.NOTHING}
    )
    rate_bytes_s: int | None = None
    window_hours: float = 24.0
