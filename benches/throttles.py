"""Pure: what a household's month becomes: under modicum's own governor and budget, and under three simpler rules.

Modicum's side runs the real cores (capture/governor.py, transport/budget.py); only the machine around them is
simulated. Bytes on the wire are counted by true time, whatever the household's clock says; in a crash, all that was
reserved is taken to have been sent.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field

from benches.homes import HOUR_NS, SLOT_S, Home, Slot
from capture.conditions import Conditions, Settings
from capture.effects import purses_of
from capture.governor import Governor
from capture.ladder import FIRST_WITH_FRAMES, Plan, Rung, Upload
from transport.budget import Budget
from transport.budget_state import from_state, to_state
from transport.limits import Allowance, Limits, Link, Moment, Sendable
from transport.periods import NS_PER_S

HOLD_BACK_NS = 600 * NS_PER_S
MAX_CHUNK_BYTES = 2_000_000
SPOOL_BYTES = 2_000_000_000
FIXED = Rung.EVERY_5S
"""What the baselines record: a screenshot every 5 s and all events."""


@dataclass(slots=True)
class Month:
    """What came of a judged period.

    Attributes:
        by_day: bytes on the wire by true local day. hours: of activity in which something was worked.
        with_events, with_frames: in which some were recorded. longest_gap_h: of activity without a screenshot.
        plans: (true ns, used so far, rung) for the picture, where it is to be drawn.
    """

    drawn: bool = False

    by_day: dict[int, int] = field(default_factory=dict)
    hours: int = 0
    with_events: int = 0
    with_frames: int = 0
    longest_gap_h: int = 0
    plans: list[tuple[int, int, int]] = field(default_factory=list)
    _hour: int = -1
    _seen: tuple[bool, bool] = (False, False)
    _gap_h: int = 0

    def send(self, home: Home, true_ns: int, size_bytes: int) -> None:
        """Count bytes on the wire."""
        day = home.calendar.day_of(true_ns)
        self.by_day[day] = self.by_day.get(day, 0) + size_bytes

    def record(self, home: Home, true_ns: int, rung: int) -> None:
        """Note the rung on which a slot of activity was recorded."""
        events, frames = rung > Rung.NOTHING, rung >= FIRST_WITH_FRAMES
        if self.drawn:
            self.plans.append((true_ns, self.used(home), rung))
        hour = true_ns // HOUR_NS
        if hour != self._hour:
            self.close_hour()
            self._hour = hour
        self._seen = (self._seen[0] or events, self._seen[1] or frames)

    def close_hour(self) -> None:
        """End the running hour of activity."""
        if self._hour < 0:
            return
        events, frames = self._seen
        self.hours += 1
        self.with_events += events
        self.with_frames += frames
        self._gap_h = 0 if frames else self._gap_h + 1
        self.longest_gap_h = max(self.longest_gap_h, self._gap_h)
        self._seen = (False, False)
        self._hour = -1

    def used(self, home: Home) -> int:
        """Return the bytes of the judged period."""
        return sum(count for day, count in self.by_day.items() if home.first_day <= day < home.after_day)

    def overruns(self, home: Home) -> int:
        """Return how many true days and periods got more than their limit."""
        over = sum(home.day_bytes is not None and count > home.day_bytes for count in self.by_day.values())
        by_period: dict[int, int] = {}
        for day, count in self.by_day.items():
            first = home.calendar.billing_period(day)[0]
            by_period[first] = by_period.get(first, 0) + count
        return over + sum(count > home.month_bytes for count in by_period.values())


WIRE_SPREAD = 1.12 - 1.045
"""As random.uniform(1.045, 1.12) computes it, without its call."""


def on_the_wire(payload: int, chance: random.Random) -> tuple[int, int]:
    """Return what a chunk may take on the wire at most, and what it takes (research: transport.md, section 4)."""
    return round(payload * 1.2) + 3000, round(payload * (1.045 + WIRE_SPREAD * chance.random())) + 1200


class Modicum:
    """A machine with modicum on it. State: the cores, the backlog, the clocks' base, the judged month."""

    def __init__(self, home: Home, chance: random.Random) -> None:
        self.home = home
        self.chance = chance
        self.limits = Limits(
            day_bytes=home.day_bytes,
            month_bytes=home.month_bytes,
            links={Link(link): Allowance(*limits) for link, limits in home.links.items()},
            billing_day=home.billing_day,
            time_zone=home.zone,
            rate_bytes_s=home.rate_bytes_s,
            sendable={
                Link.UNMETERED: Sendable.ALL,
                Link.METERED: Sendable.ALL if home.metered_all else Sendable.EVENTS,
                Link.ROAMING: Sendable.NOTHING,
            },
        )
        self.settings = Settings(
            time_zone=home.zone,
            send={
                "unmetered": Upload.ALL,
                "metered": Upload.ALL if home.metered_all else Upload.EVENTS,
                "roaming": Upload.NOTHING,
            },
            rate_bytes_s=home.rate_bytes_s,
        )
        self.budget = Budget(self.limits)
        self.governor = Governor(self.settings)
        self.events: deque[tuple[int, int]] = deque()  # ready ns, payload
        self.frames: deque[tuple[int, int]] = deque()
        self.backlog = 0
        self.dropped = 0
        self.boot, self.boot_ns = 0, home.install_ns
        self.month = Month()

    def moment(self, true_ns: int) -> Moment:
        offset_ns = self.home.offset_ns(true_ns)
        synced = self.home.synced and offset_ns == 0
        return Moment(true_ns + offset_ns, true_ns - self.boot_ns, self.boot.to_bytes(8, "little"), synced)

    def work(self, slot: Slot) -> None:
        """Live through ten minutes of activity."""
        if slot.reboot:
            self.boot, self.boot_ns = self.boot + 1, slot.start_ns
        moment = self.moment(slot.start_ns)
        self.budget.observe(moment)
        conditions = Conditions(
            wall_ns=moment.wall_ns,
            on_battery=slot.on_battery,
            battery_ratio=slot.charge,
            link=slot.link,
            purses=purses_of(self.budget.standings()),
            backlog_bytes=self.backlog,
            spool_ratio=self.backlog / SPOOL_BYTES,
        )
        plan = self.governor.decide(slot.start_ns, conditions).value
        self.governor.active(moment.wall_ns, SLOT_S, slot.link)
        self._record(slot, plan)
        end_ns = slot.start_ns + SLOT_S * NS_PER_S - 1
        link = Link(slot.link)
        self._send(end_ns, link, crash=slot.crash)
        if slot.tail:
            self._send(end_ns + HOLD_BACK_NS, link, crash=False)
        if slot.start_ns >= self.home.judged_ns:
            self.month.record(self.home, slot.start_ns, plan.rung)

    def _record(self, slot: Slot, plan: Plan) -> None:
        events, frames = self.home.true_bytes(plan.rung, plan.effort, slot)
        ready_ns = slot.start_ns + SLOT_S * NS_PER_S + HOLD_BACK_NS
        self.events.append((ready_ns, events))
        rest = frames
        while rest > 0:
            self.frames.append((ready_ns, min(MAX_CHUNK_BYTES, rest)))
            rest -= MAX_CHUNK_BYTES
        self.backlog += events + frames
        while self.backlog > SPOOL_BYTES and self.frames:
            size = self.frames.popleft()[1]
            self.backlog -= size
            self.dropped += size
        self.governor.paid(
            event_bytes=events * 1.1,
            frame_bytes=frames * 1.1,
            cpu_s=self.home.true_cpu_s(plan.rung, plan.effort),
        )

    def _send(self, true_ns: int, link: Link, *, crash: bool) -> None:
        until_ns = true_ns + SLOT_S * NS_PER_S // 2
        budget, month, home, chance = self.budget, self.month, self.home, self.chance
        observed_ns = wall_ns = -1
        for queue, events_only in ((self.events, True), (self.frames, False)):
            while queue and queue[0][0] <= true_ns:
                payload = queue[0][1]
                bound, used = on_the_wire(payload, chance)
                if true_ns != observed_ns:  # a moment that was observed once teaches nothing the second time
                    moment = self.moment(true_ns)
                    budget.observe(moment)
                    observed_ns, wall_ns = true_ns, moment.wall_ns
                refusal = budget.refusal(bound, link, events_only=events_only)
                if refusal is not None:
                    wait_ns = refusal.retry_wall_ns - wall_ns
                    if refusal.left_bytes < bound or true_ns + wait_ns > until_ns:
                        break
                    true_ns += max(NS_PER_S, wait_ns)  # the rate ceiling
                    continue
                lease = budget.take(bound, link)
                if crash:
                    month.send(home, true_ns, bound)
                    self._crash(true_ns)
                    return
                month.send(home, true_ns, used)
                if events_only:
                    budget.settle(lease.id, used, payload, 0)
                else:
                    budget.settle(lease.id, used, 0, payload)
                queue.popleft()
                self.backlog -= payload

    def _crash(self, true_ns: int) -> None:
        """Die with a lease outstanding, and start again from what is on the disk."""
        self.budget = from_state(self.limits, to_state(self.budget))
        self.budget.observe(self.moment(true_ns))
        self.budget.write_off()
        self.governor = Governor(self.settings, self.governor.to_state())


class Fixed:
    """Records always the same and sends it at once; stops for the rest of the period if it is told to."""

    def __init__(self, home: Home, chance: random.Random, *, stops: bool) -> None:
        self.home, self.chance, self.stops = home, chance, stops
        self.month = Month()
        self._period: tuple[int, int] = (0, 0)
        self._used = 0
        self._day, self._used_today = 0, 0

    def work(self, slot: Slot) -> None:
        home = self.home
        day = home.calendar.day_of(slot.start_ns)
        if not self._period[0] <= day < self._period[1]:
            self._period, self._used = home.calendar.billing_period(day), 0
        if day != self._day:
            self._day, self._used_today = day, 0
        events, frames = home.fixed_bytes(FIXED, slot)
        size = on_the_wire(events + frames, self.chance)[1]
        fits = self._used + size <= home.month_bytes and (
            home.day_bytes is None or self._used_today + size <= home.day_bytes
        )
        records = fits or not self.stops
        if records:
            self._used += size
            self._used_today += size
            self.month.send(home, slot.start_ns, size)
        if slot.start_ns >= home.judged_ns:
            self.month.record(home, slot.start_ns, FIXED if records else Rung.NOTHING)


class Bucket:
    """A plain token bucket: the budget flows in evenly, a day's worth can be saved up, events go before frames."""

    def __init__(self, home: Home, chance: random.Random) -> None:
        self.home, self.chance = home, chance
        self.month = Month()
        seconds = (home.calendar.start_ns(home.after_day) - home.calendar.start_ns(home.first_day)) / NS_PER_S
        per_day = home.month_bytes / seconds * 86400
        self._capacity = per_day if home.day_bytes is None else min(per_day, home.day_bytes / 2)
        self._rate = self._capacity / 86400
        self._level = 0.0
        self._last_ns = home.install_ns

    def work(self, slot: Slot) -> None:
        home = self.home
        self._level += self._rate * (slot.start_ns - self._last_ns) / NS_PER_S
        self._level = min(self._capacity, self._level)
        self._last_ns = slot.start_ns
        events, frames = home.fixed_bytes(FIXED, slot)
        sizes = [on_the_wire(payload, self.chance)[1] for payload in (events, frames)]
        sent = [False, False]
        for index, size in enumerate(sizes):
            if size <= self._level:
                self._level -= size
                sent[index] = True
                self.month.send(home, slot.start_ns, size)
        if slot.start_ns >= home.judged_ns:
            self.month.record(home, slot.start_ns, FIXED if sent[1] else Rung.EVENTS if sent[0] else Rung.NOTHING)
