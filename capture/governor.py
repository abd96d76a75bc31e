"""Pure: the governor: conditions and time in, a plan and its reasons out.

Two scarce things have prices: bytes (what is left of the budget against the hours it must last) and energy (the CPU
share that mains or battery allow). The plan is the highest rung that both can pay, with the encoder's effort chosen by
which is the scarcer: on mains with scarce bytes the thorough encoder, on battery or with bytes to spare the quick one.

Guarantees: what the person or the system ordered (pause, lock, sleep, no consent) acts at once, as does the person's
return to work; every other change of plan is at least `MIN_DWELL_NS` after the last, however the inputs flap; clicks and focus are recorded as long as
anything is; a plan never asks for more than the pace of the budget, by what the rungs were learned to cost. It does not
guarantee the budget itself: only the ledger does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from math import exp, inf
from typing import Any

from capture.conditions import Conditions, Purse, Settings, Span
from capture.decision import Decision
from capture.habits import NS_PER_HOUR, Habits
from capture.ladder import FIRST_WITH_FRAMES, IN_WORDS, TOP, Effort, Plan, Rung, Upload, plan_of
from capture.pace import Pace, pace
from capture.prices import Prices
from capture.units import show_duration, show_share, show_size

__all__ = ["Conditions", "Decision", "Governor", "Plan", "Purse", "Rung", "Settings", "Span", "Upload"]

RUNGS, EFFORTS = tuple(Rung), tuple(Effort)
MIN_DWELL_NS = 60_000_000_000
CLIMB_RATIO, STAY_RATIO = 1.02, 0.88
"""A higher rung must cost less than the pace by this margin; the present one may cost more by that: no flapping."""
CREDIT_HOURS = 0.5
"""What a rung costs less than the pace is saved up and spent on the rung above, within about this time of activity: so
the pace is kept on the mean, though rungs are coarse."""
MAX_CREDIT_HOURS = 1.0
CHARGE_BAND = 0.03
"""What stopped below a floor goes on this far above it."""
LAVISH_RATIO = 3.0
"""With so many times more than the rung costs, bytes are not scarce."""
BUSY_LOAD = 0.9
HOLDS_MS = (100, 200, 400)
"""Longer holds gather more input per wake-up; the server's timestamps keep the timing exact."""
LINK_HOURS = 20.0
"""Hours of activity over which the shares of link classes are averaged."""
IDLE_RUNG = Rung.EVERY_2MIN
PRIOR_SHARES = {"unmetered": 0.1}
CPU_WINDOW_NS = 300_000_000_000
MAX_CUT = 8
"""Rungs that measured CPU use over its share can take away."""


class Governor:
    """Decides how much to record.

    State: the plan and when it last changed, two flags with bands (charge below a floor), idleness, the mean CPU use, rungs cut for it and
    when that last changed, the hold's step, the pace and what was saved against it; learned: habits, prices, shares of
    link classes.
    """

    def __init__(self, settings: Settings, learned: Mapping[str, Any] | None = None) -> None:
        """Make a governor.

        Args:
            settings: from the configuration.
            learned: what `to_state` returned in an earlier process; damaged or foreign values are not used.
        """
        self.settings = settings
        self.plan: Plan | None = None
        self.recheck_ns: int | None = None
        self._changed_ns = 0
        self._below_screens_floor = False
        self._below_floor = False
        self._idle = False
        self._cut = 0
        self._cut_ns = 0
        self._own_cpu = 0.0
        self._looked_ns = 0
        self._hold = 0
        self._pace_bytes_h = inf
        self._credit_bytes = 0.0
        self._shares = dict(PRIOR_SHARES)
        try:
            self.habits = Habits(settings.time_zone, learned["habits"] if learned else None)
            self.prices = Prices(learned["prices"] if learned else None)
            if learned:
                self._shares = {str(link): float(share) for link, share in learned["links"].items()}
        except (KeyError, TypeError, ValueError, AttributeError):
            self.habits, self.prices = Habits(settings.time_zone), Prices()

    def to_state(self) -> dict[str, Any]:
        """Return what was learned, as plain values for JSON."""
        return {"habits": self.habits.to_state(), "prices": self.prices.to_state(), "links": dict(self._shares)}

    # -- learning ---------------------------------------------------------------------------------------------------

    def active(self, wall_ns: int, active_s: float, link: str = "unknown") -> None:
        """Learn that the person was active, and that the present plan was in force meanwhile.

        Args:
            wall_ns: now. active_s: seconds since the last call, not over an hour. link: the class in force.
        """
        self.habits.active(wall_ns, active_s)
        plan = self.plan
        if plan is not None:
            self.prices.bought(plan.rung, plan.effort, active_s)
            self._save(plan, active_s / 3600)
        fade = exp(-active_s / 3600 / LINK_HOURS)
        counted = _counted(link)
        for known in {*self._shares, counted}:
            now = 1.0 if known == counted else 0.0
            self._shares[known] = fade * self._shares.get(known, 0.0) + (1 - fade) * now

    def _save(self, plan: Plan, hours: float) -> None:
        """Save up what the plan costs less than the pace, or owe what it costs more."""
        if self._pace_bytes_h < inf:
            saved = (self._pace_bytes_h - self.prices.of(plan.rung, plan.effort).size_bytes) * hours
            most = max(0.0, self._pace_bytes_h) * MAX_CREDIT_HOURS
            self._credit_bytes = min(most, max(-most, self._credit_bytes + saved))

    def paid(self, *, event_bytes: float = 0, frame_bytes: float = 0, cpu_s: float = 0) -> None:
        """Learn what was paid since the last call; under which plans is known from `active`.

        Args:
            event_bytes, frame_bytes: of the chunks that were closed, on the wire or (times 1.1) sealed. cpu_s: own CPU.
        """
        self.prices.paid(event_bytes=event_bytes, frame_bytes=frame_bytes, cpu_s=cpu_s)

    # -- deciding ---------------------------------------------------------------------------------------------------

    def decide(self, now_ns: int, conditions: Conditions) -> Decision[Plan]:
        """Return the plan for now, and why. Call it when a condition changes, at `recheck_ns`, and now and then.

        Args:
            now_ns: monotonic clock. conditions: what is known.
        """
        self.habits.pass_time(conditions.wall_ns)
        self._track(now_ns, conditions)
        stops = _stops(conditions)
        reasons: list[str] = []
        if stops:
            wanted = self._make(Rung.NOTHING, Effort.FAST, conditions)
            reasons.extend(stops)
        else:
            wanted = self._choose(conditions, reasons)
        self.recheck_ns = None
        current = self.plan
        returned, self._idle = self._idle and not conditions.idle, conditions.idle
        if wanted == current:
            return Decision(wanted, tuple(reasons))
        ordered = bool(stops) or returned or current is None or current.rung is Rung.NOTHING
        ready_ns = self._changed_ns + MIN_DWELL_NS
        if current is not None and not ordered and now_ns < ready_ns:
            self.recheck_ns = ready_ns
            wait = show_duration(timedelta(milliseconds=(ready_ns - now_ns) // 1_000_000))
            reasons.append(f"changes to {wanted.in_words()!r} in {wait} unless that passes: once a minute at most")
            return Decision(current, tuple(reasons))
        self.plan, self._changed_ns = wanted, now_ns
        return Decision(wanted, tuple(reasons))

    def _track(self, now_ns: int, conditions: Conditions) -> None:
        """Move what has memory: charge floors, CPU cuts, the hold."""
        charge = conditions.battery_ratio
        if conditions.on_battery and charge is not None:
            floors = self.settings.screens_floor, self.settings.floor
            self._below_screens_floor = charge < floors[0] + CHARGE_BAND * self._below_screens_floor
            self._below_floor = charge < floors[1] + CHARGE_BAND * self._below_floor
        else:
            self._below_screens_floor = self._below_floor = False
        if conditions.own_cpu_ratio is not None:
            # A reel that is being encoded is a burst: it is the mean that is felt.
            weight = 1 - exp((self._looked_ns - now_ns) / CPU_WINDOW_NS) if self._looked_ns else 0.0
            self._own_cpu += weight * (conditions.own_cpu_ratio - self._own_cpu)
            self._looked_ns = now_ns
        used = self._own_cpu
        if now_ns - self._cut_ns >= MIN_DWELL_NS:
            share = self._cpu_share(conditions)[0]
            if used > 1.5 * share and self._cut < MAX_CUT:
                self._cut, self._cut_ns = self._cut + 1, now_ns
            elif used < share and self._cut:
                self._cut, self._cut_ns = self._cut - 1, now_ns
        wakeups = conditions.wakeups_s
        if wakeups is not None:
            if wakeups > self.settings.wakeups_s:
                self._hold = min(self._hold + 1, len(HOLDS_MS) - 1)
            elif wakeups < 0.4 * self.settings.wakeups_s:
                self._hold = max(self._hold - 1, 0)

    def _cpu_share(self, conditions: Conditions) -> tuple[float, str]:
        """Return the share of a core that may be used, and why."""
        if conditions.on_battery:
            charge = conditions.battery_ratio
            share, why = self.settings.cpu_battery, "on battery" + (f", {show_share(charge)}" if charge else "")
        else:
            share, why = self.settings.cpu_mains, "on mains" if conditions.on_battery is False else "power unknown"
        for condition, words in (
            (conditions.power_saver, "power saver"),
            (conditions.hot, "hot"),
            ((conditions.load_ratio or 0) > BUSY_LOAD, "the machine is busy"),
        ):
            if condition:
                share, why = share / 2, f"{why}, {words}"
        return share, why

    def _make(self, rung: Rung, effort: Effort, conditions: Conditions) -> Plan:
        link = _counted(conditions.link)
        upload = Upload.NOTHING if link == "offline" or conditions.asleep else self.settings.send.get(link, Upload.ALL)
        if self._below_floor:
            upload = Upload.NOTHING
        return plan_of(
            rung,
            effort=effort,
            upload=upload,
            hold_ms=HOLDS_MS[self._hold],
            min_move_interval_ms=self.settings.min_move_interval_ms,
            min_frame_interval_ms=self.settings.min_frame_interval_ms,
        )

    def _choose(self, conditions: Conditions, reasons: list[str]) -> Plan:
        """Return the best plan that bytes and energy can pay, and add the reasons."""
        if self._below_floor:
            reasons.append(
                f"the battery is at {show_share(conditions.battery_ratio or 0)}: "
                f"below {show_share(self.settings.floor)} nothing is recorded"
            )
            return self._make(Rung.NOTHING, Effort.FAST, conditions)
        share, power = self._cpu_share(conditions)
        reasons.append(power)
        cap, why_capped = self._cap(conditions)
        means = self._pace(conditions)
        if not means.frames_can_leave and cap >= FIRST_WITH_FRAMES:
            cap, why_capped = Rung.EVENTS, "no link that may carry screenshots has been seen for long"
        self._pace_bytes_h = means.frame_bytes_h
        means = replace(means, frame_bytes_h=means.frame_bytes_h + self._credit_bytes / CREDIT_HOURS)
        efforts = EFFORTS if self.settings.effort is None else (self.settings.effort,)
        best = {effort: self._highest(effort, cap, means, share) for effort in efforts}
        effort = max(best, key=lambda candidate: (best[candidate], self._prefers(candidate, best, means, conditions)))
        rung = best[effort]
        if self._cut:
            rung = Rung(max(Rung.CLICKS, rung - self._cut))
            reasons.append(f"recording uses {show_share(self._own_cpu)} of a core: over its share")
        reasons.append(_describe_link(conditions, self.settings.send))
        reasons.append(_describe_pace(means, self._pace_bytes_h, conditions.wall_ns))
        if why_capped and rung >= cap:
            reasons.append(why_capped)
        elif rung < TOP:
            reasons.append(self._describe_next(rung, effort, means, share))
        return self._make(rung, effort, conditions)

    def _cap(self, conditions: Conditions) -> tuple[Rung, str]:
        """Return the highest rung that the conditions permit at any price, and why no higher."""
        if not self.settings.screens:
            return Rung.EVENTS, "screenshots are switched off in the configuration"
        if self._below_screens_floor:
            floor = show_share(self.settings.screens_floor)
            return Rung.EVENTS, f"the battery is below {floor}: no screenshots"
        if conditions.power_warning and conditions.on_battery:
            return Rung.EVENTS, "the system calls the battery low: no screenshots"
        if conditions.idle:
            return IDLE_RUNG, "nobody is at work, so that a film or a clock costs nothing"
        if conditions.spool_ratio > 0.9:
            return Rung.EVENTS, f"the spool is {show_share(conditions.spool_ratio)} full: no screenshots"
        return TOP, ""

    def _pace(self, conditions: Conditions) -> Pace:
        settings = self.settings
        daily = inf if settings.rate_bytes_s is None else settings.rate_bytes_s * 3600 * settings.window_hours * 0.8
        return pace(
            conditions.wall_ns,
            conditions.purses,
            backlog_bytes=conditions.backlog_bytes,
            habits=self.habits,
            link_shares={**self._shares, _counted(conditions.link): 1.0},
            send=settings.send,
            floor_bytes_h=self.prices.of(Rung.CLICKS, Effort.FAST).event_bytes,
            daily_bytes=daily,
        )

    def _highest(self, effort: Effort, cap: Rung, means: Pace, share: float) -> Rung:
        """Return the highest rung up to `cap` that bytes and CPU can pay with this effort."""
        current = self.plan.rung if self.plan is not None else Rung.NOTHING
        cpu_s = share * 3600
        for rung in range(cap, Rung.CLICKS, -1):
            price = self.prices.of(RUNGS[rung], effort)
            ratio = STAY_RATIO if rung <= current else CLIMB_RATIO
            bytes_h = means.frame_bytes_h if rung >= FIRST_WITH_FRAMES else means.event_bytes_h
            if price.size_bytes * ratio <= bytes_h and price.cpu_s * ratio <= cpu_s:
                return RUNGS[rung]
        return Rung.CLICKS

    def _prefers(self, effort: Effort, best: Mapping[Effort, Rung], means: Pace, conditions: Conditions) -> bool:
        """Tell whether, of two efforts that reach the same rung, this is the one to take."""
        rung = best[effort]
        thrifty = effort is Effort.SMALL
        if conditions.on_battery or rung < FIRST_WITH_FRAMES:
            return not thrifty
        ratio = LAVISH_RATIO * (1.2 if self.plan is not None and self.plan.effort is Effort.SMALL else 1.0)
        scarce = means.frame_bytes_h < ratio * self.prices.of(rung, Effort.FAST).size_bytes
        return thrifty is scarce

    def _describe_next(self, rung: Rung, effort: Effort, means: Pace, share: float) -> str:
        above = RUNGS[rung + 1]
        price = self.prices.of(above, effort)
        bytes_h = means.frame_bytes_h if above >= FIRST_WITH_FRAMES else means.event_bytes_h
        if price.size_bytes * CLIMB_RATIO > bytes_h:
            return f"{IN_WORDS[above]!r} would cost {show_size(price.size_bytes)} an hour"
        return (
            f"{IN_WORDS[above]!r} would take {show_share(price.cpu_s / 3600)} of a core; {show_share(share)} is allowed"
        )


def _counted(link: str) -> str:
    return "metered" if link == "unknown" else link


def _stops(conditions: Conditions) -> list[str]:
    """Return what orders that nothing be recorded."""
    return [
        words
        for holds, words in (
            (not conditions.consented, "there is no consent"),
            (conditions.paused, "paused"),
            (conditions.locked, "the screen is locked"),
            (conditions.asleep, "the machine goes to sleep"),
        )
        if holds
    ]


def _describe_link(conditions: Conditions, send: Mapping[str, Upload]) -> str:
    link = conditions.link
    if link == "offline":
        return "offline: what is recorded waits"
    called = "unknown whether metered, so treated as metered" if link == "unknown" else link
    named = f"{called} ({conditions.network})" if conditions.network else called
    upload = send.get(_counted(link), Upload.ALL)
    if upload is Upload.ALL:
        return f"network: {named}"
    waits = "screenshots wait" if upload is Upload.EVENTS else "everything waits"
    return f"network: {named}, {waits}"


def _describe_pace(means: Pace, bytes_h: float, wall_ns: int) -> str:
    purse = means.purse
    if purse is None:
        return "no byte budget" if bytes_h == inf else "held by the rate ceiling"
    until = show_duration(timedelta(hours=max(0, purse.end_wall_ns - wall_ns) / NS_PER_HOUR))
    span = "today" if purse.span is Span.DAY else "this billing period"
    return (
        f"{show_size(max(0, purse.left_bytes))} of {show_size(purse.limit_bytes)} left {span}, "
        f"for some {means.hours:.0f} h of activity in {until}: {show_size(max(0.0, bytes_h))} an hour"
    )
