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
from functools import partial
from math import exp, inf
from typing import Any

from capture import wording
from capture.conditions import Conditions, Purse, Settings, Span
from capture.decision import Decision
from capture.habits import Habits
from capture.ladder import FIRST_WITH_FRAMES, TOP, Effort, Plan, Rung, Upload, plan_of
from capture.pace import Pace, pace
from capture.prices import Prices
from capture.wording import Ground

__all__ = ["Conditions", "Decision", "Governor", "Plan", "Purse", "Rung", "Settings", "Span", "Upload"]

RUNGS = tuple(Rung)
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
MEMORY_RATIO = 1.25
"""With more memory than it may hold, recording does without the thorough encoder; with so much more, without any."""
MEMORY_BAND = 0.9
"""Either is taken up again below this share of its mark."""
MAX_CUT = 8
"""Rungs that measured CPU use over its share can take away."""


class Governor:
    """Decides how much to record.

    State: the plan, when it last changed and whether an order stopped everything, two flags with bands (charge below a floor), idleness, the mean CPU use, rungs cut for it and
    when that last changed, how far memory is over its limit (0-2), the hold's step, the pace and what was saved against it; learned: habits, prices, shares of
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
        self._stopped = False
        self._below_screens_floor = False
        self._below_floor = False
        self._idle = False
        self._exempt = False
        self._cut = 0
        self._cut_ns = 0
        self._own_cpu = 0.0
        self._looked_ns = 0
        self._over_memory = 0
        self._hold = 0
        self._pace_bytes_h = inf
        self._means: Pace | None = None
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
        stops = bool(wording.stops(conditions))
        grounds: list[Ground] = []
        if stops:
            wanted = self._make(Rung.NOTHING, Effort.FAST, conditions)
            grounds.extend(wording.stops(conditions))
        else:
            wanted = self._choose(conditions, grounds)
        self.recheck_ns = None
        current = self.plan
        returned, self._idle = self._idle and not conditions.idle, conditions.idle
        told, self._exempt = self._exempt != conditions.exempt, conditions.exempt
        if wanted == current:
            return Decision(wanted, partial(wording.in_words, grounds))
        ordered = stops or returned or told or current is None or self._stopped
        ready_ns = self._changed_ns + MIN_DWELL_NS
        if current is not None and not ordered and now_ns < ready_ns:
            self.recheck_ns = ready_ns
            grounds.append((wording.waits, wanted, ready_ns - now_ns))
            return Decision(current, partial(wording.in_words, grounds))
        self.plan, self._changed_ns, self._stopped = wanted, now_ns, stops
        return Decision(wanted, partial(wording.in_words, grounds))

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
            share = self._cpu_share(conditions)
            if used > 1.5 * share and self._cut < MAX_CUT:
                self._cut, self._cut_ns = self._cut + 1, now_ns
            elif used < share and self._cut:
                self._cut, self._cut_ns = self._cut - 1, now_ns
        held, may_hold = conditions.rss_bytes, self.settings.memory_bytes
        if held is not None and may_hold is not None:
            for step, limit in ((1, may_hold), (2, MEMORY_RATIO * may_hold)):
                if held > limit:
                    self._over_memory = max(self._over_memory, step)
                elif held < MEMORY_BAND * limit:
                    self._over_memory = min(self._over_memory, step - 1)
        wakeups = conditions.wakeups_s
        if wakeups is not None:
            if wakeups > self.settings.wakeups_s:
                self._hold = min(self._hold + 1, len(HOLDS_MS) - 1)
            elif wakeups < 0.4 * self.settings.wakeups_s:
                self._hold = max(self._hold - 1, 0)

    def _cpu_share(self, conditions: Conditions) -> float:
        """Return the share of a core that may be used."""
        share = self.settings.cpu_battery if conditions.on_battery else self.settings.cpu_mains
        for _ in _halves(conditions):
            share /= 2
        return share

    def _make(self, rung: Rung, effort: Effort, conditions: Conditions) -> Plan:
        link = _counted(conditions.link)
        upload = Upload.NOTHING if link == "offline" or conditions.asleep else self.settings.send.get(link, Upload.ALL)
        if self._below_floor or (conditions.lid_closed and conditions.on_battery):
            upload = Upload.NOTHING
        return plan_of(
            rung,
            effort=effort,
            upload=upload,
            hold_ms=HOLDS_MS[self._hold],
            min_move_interval_ms=self.settings.min_move_interval_ms,
            min_frame_interval_ms=self.settings.min_frame_interval_ms,
        )

    def _choose(self, conditions: Conditions, grounds: list[Ground]) -> Plan:
        """Return the best plan that bytes and energy can pay, and add the grounds."""
        settings, charge = self.settings, conditions.battery_ratio
        if self._below_floor:
            grounds.append((wording.below_floor, charge or 0, settings.floor))
            return self._make(Rung.NOTHING, Effort.FAST, conditions)
        share = self._cpu_share(conditions)
        if conditions.on_battery:
            grounds.append((wording.on_battery, charge, conditions.discharge_w, _halves(conditions)))
        else:
            grounds.append((wording.not_on_battery, conditions.on_battery is False, _halves(conditions)))
        cap, why_capped = self._cap(conditions)
        means = self._pace(conditions)
        if not means.frames_can_leave and cap >= FIRST_WITH_FRAMES:
            cap, why_capped = Rung.EVENTS, "no link that may carry screenshots has been seen for long"
        self._means, self._pace_bytes_h = means, means.frame_bytes_h
        frame_bytes_h = means.frame_bytes_h + self._credit_bytes / CREDIT_HOURS
        only_fast = False
        if self._over_memory:
            only_fast, all_screens = True, self._over_memory > 1
            cap = min(cap, Rung.EVENTS) if all_screens else cap
            over = partial(wording.over_memory, all_screens=all_screens)
            grounds.append((over, conditions.rss_bytes or 0, settings.memory_bytes or 0))
        if only_fast:
            effort = Effort.FAST
            rung = self._highest(effort, cap, means.event_bytes_h, frame_bytes_h, share)
        elif settings.effort is None:
            fast = self._highest(Effort.FAST, cap, means.event_bytes_h, frame_bytes_h, share)
            small = self._highest(Effort.SMALL, cap, means.event_bytes_h, frame_bytes_h, share)
            thorough = small > fast or (small is fast and self._is_thorough(fast, frame_bytes_h, conditions))
            effort, rung = (Effort.SMALL, small) if thorough else (Effort.FAST, fast)
        else:
            effort = settings.effort
            rung = self._highest(effort, cap, means.event_bytes_h, frame_bytes_h, share)
        if self._cut:
            rung = RUNGS[max(Rung.CLICKS, rung - self._cut)]
            grounds.append((wording.over_share, self._own_cpu))
        grounds.append((wording.link, conditions, wording.counted(conditions.link, settings.send)))
        grounds.append((wording.means_of, means, conditions.wall_ns))
        if why_capped and rung >= cap:
            grounds.append(why_capped)
        elif rung < TOP:
            above = RUNGS[rung + 1]
            price = self.prices.of(above, effort)
            bytes_h = frame_bytes_h if above >= FIRST_WITH_FRAMES else means.event_bytes_h
            bytes_lack = price.size_bytes * CLIMB_RATIO > bytes_h
            grounds.append((partial(wording.next_rung, bytes_lack=bytes_lack), above, price, share))
        return self._make(rung, effort, conditions)

    # -- showing ----------------------------------------------------------------------------------------------------

    def outlook(self, wall_ns: int, **spans: tuple[int, int]) -> dict[str, float | None]:
        """Return the pace, for people: bytes an hour of activity, expected hours, and how far an even pace would be.

        Args:
            wall_ns: now. spans: by name, when a day or period began and ends; the answer has NAME_even_ratio for each.
        """
        means = self._means
        found: dict[str, float | None] = {"bytes_h": None, "hours": None}
        if means is not None and means.frame_bytes_h < inf:
            found = {"bytes_h": means.frame_bytes_h, "hours": means.hours}
        for name, (start_ns, end_ns) in spans.items():
            whole = self.habits.expected_hours(start_ns, end_ns)
            found[f"{name}_even_ratio"] = self.habits.expected_hours(start_ns, wall_ns) / whole if whole else None
        return found

    def energy(self, conditions: Conditions) -> dict[str, float | None]:
        """Return what recording takes of the machine and what it may, for people."""
        return {
            "cpu_ratio": self._own_cpu if conditions.own_cpu_ratio is not None else None,
            "cpu_share": self._cpu_share(conditions),
            "wakeups_s": conditions.wakeups_s,
            "wakeups_limit": self.settings.wakeups_s,
        }

    # -- the parts of a decision ------------------------------------------------------------------------------------

    def _cap(self, conditions: Conditions) -> tuple[Rung, Ground]:
        """Return the highest rung that the conditions permit at any price, and why no higher."""
        if not self.settings.screens:
            return Rung.EVENTS, "screenshots are switched off in the configuration"
        if self._below_screens_floor:
            return Rung.EVENTS, (wording.below_screens_floor, self.settings.screens_floor)
        if conditions.power_warning and conditions.on_battery:
            return Rung.EVENTS, "the system calls the battery low: no screenshots"
        if conditions.lid_closed and conditions.on_battery:
            return Rung.EVENTS, "the lid is closed, on battery: no screenshots, and nothing is sent"
        if conditions.idle:
            return IDLE_RUNG, "nobody is at work, so that a film or a clock costs nothing"
        if conditions.spool_ratio > 0.9:
            return Rung.EVENTS, (wording.spool_full, conditions.spool_ratio)
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

    def _highest(self, effort: Effort, cap: Rung, event_bytes_h: float, frame_bytes_h: float, share: float) -> Rung:
        """Return the highest rung up to `cap` that bytes and CPU can pay with this effort."""
        current = self.plan.rung if self.plan is not None else Rung.NOTHING
        cpu_s = share * 3600
        costs = self.prices.costs(effort)
        for rung in range(cap, Rung.CLICKS, -1):
            size_bytes, rung_cpu_s = costs(rung)
            ratio = STAY_RATIO if rung <= current else CLIMB_RATIO
            bytes_h = frame_bytes_h if rung >= FIRST_WITH_FRAMES else event_bytes_h
            if size_bytes * ratio <= bytes_h and rung_cpu_s * ratio <= cpu_s:
                return RUNGS[rung]
        return Rung.CLICKS

    def _is_thorough(self, rung: Rung, frame_bytes_h: float, conditions: Conditions) -> bool:
        """Tell whether, of two efforts that reach the same rung, the thorough one is to be taken."""
        if conditions.on_battery or rung < FIRST_WITH_FRAMES:
            return False
        ratio = LAVISH_RATIO * (1.2 if self.plan is not None and self.plan.effort is Effort.SMALL else 1.0)
        return frame_bytes_h < ratio * self.prices.of(rung, Effort.FAST).size_bytes


def _halves(conditions: Conditions) -> tuple[str, ...]:
    """Return what halves the share of the processor, each."""
    if not (conditions.power_saver or conditions.hot or (conditions.load_ratio or 0) > BUSY_LOAD):
        return ()
    halves = (
        (conditions.power_saver, "power saver"),
        (conditions.hot, "hot"),
        ((conditions.load_ratio or 0) > BUSY_LOAD, "the machine is busy"),
    )
    return tuple(words for holds, words in halves if holds)


def _counted(link: str) -> str:
    return "metered" if link == "unknown" else link
