"""Pure: households for the budget's simulation: when people work, on what link and power, and what it truly costs.

Everything is drawn from one seeded generator per household. The true costs deviate from what the governor believes at
first, by household, by rung and from hour to hour; it has to learn them.

A wall clock is wrong at any time, also from a boot on, where the system otherwise vouches for it (NTP); where it never
does, the clock is set while the machine runs: what happens to it while it is off is not promised (transport/budget.py).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import exp, log

from capture.ladder import FIRST_WITH_FRAMES, FRAME_INTERVAL_MS, TOP, Effort, Rung
from capture.prices import EVENT_BYTES_H, EVENT_CPU_S_H, FRAME_BYTES_H, FRAME_CPU_S_H, SMALL_CPU_RATIO, SMALL_RATIO
from transport.periods import NS_PER_S, Calendar

SLOT_S = 600
"""The simulation's step: ten minutes of activity."""
HOUR_NS = 3600 * NS_PER_S
DAY_NS = 24 * HOUR_NS
YEAR_START_NS = 1_767_225_600 * NS_PER_S  # 1 January 2026

ZONES = ("Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Asia/Kolkata", "Australia/Sydney", "Africa/Lagos")

Spans = tuple[tuple[float, float], ...]
WEEKS: dict[str, tuple[Spans, ...]] = {
    # Local hours of work per weekday, Monday first.
    "office": (((9, 12.5), (13.5, 17.5)),) * 5 + ((), ()),
    "long hours": (((8, 12.5), (13, 19), (21, 22.5)),) * 5 + (((10, 13),), ()),
    "part time": (((8.5, 13),), ((8.5, 13),), ((8.5, 13),), (), (), (), ()),
    "freelance": (((10, 13), (15, 20)),) * 3 + (((11, 16),), ((10, 14),), ((12, 17),), ((19, 22),)),
    "student": (((10, 12), (19, 23.5)),) * 4 + (((14, 17),), ((13, 18),), ((15, 22),)),
    "evenings": (((18.5, 22.5),),) * 5 + (((10, 12), (20, 23)), ((16, 21),)),
    "shifts": (((6, 14),),) * 5 + ((), ()),  # every third week by day, in the afternoon, by night
}
SHIFT_HOURS = (0.0, 8.0, 16.0)


@dataclass(frozen=True, slots=True)
class Slot:
    """Ten minutes in which somebody works.

    Attributes:
        start_ns: true time. link: its class. on_battery, charge: the power.
        scene: what the screen shows, as a factor on the bytes of frames. hands: the same for events.
        reboot: the machine was started anew since the slot before. crash: it stops in the middle of sending.
        tail: the machine stays on for a while afterwards, so that what is held back is sent.
    """

    start_ns: int
    link: str
    on_battery: bool
    charge: float
    scene: float
    hands: float
    reboot: bool
    crash: bool
    tail: bool


@dataclass(slots=True)
class Home:
    """A household and its budget.

    Attributes:
        kind: of WEEKS. month_bytes, day_bytes: the budget. links: (day, month) limits by class. metered_all: whether
            screenshots may go over metered links.
        install_ns: when modicum is installed. first_day, after_day: the billing period that is judged (ordinals).
        judged_ns: when it begins.
        steps: (from ns, until ns, offset ns) in which the wall clock is wrong. synced: the system vouches for its
            clock outside of them.
    """

    index: int
    chance: random.Random
    kind: str
    zone: str
    billing_day: int
    month_bytes: int
    day_bytes: int | None
    links: dict[str, tuple[int | None, int | None]]
    metered_all: bool
    rate_bytes_s: int | None
    install_ns: int
    first_day: int
    after_day: int
    judged_ns: int
    calendar: Calendar
    steps: list[tuple[int, int, int]]
    synced: bool
    hotspot_ratio: float
    battery_ratio: float
    crash_ratio: float
    frame_factor: float
    event_factor: float
    shape: dict[tuple[Rung, Effort], float] = field(default_factory=dict)
    _last_ns: int = 0
    _fixed: tuple[Slot | None, Rung, tuple[int, int]] = (None, Rung.NOTHING, (0, 0))

    @property
    def new(self) -> bool:
        """Whether nothing can have been learned before the judged period."""
        return self.install_ns >= self.calendar.start_ns(self.first_day)

    def offset_ns(self, true_ns: int) -> int:
        """Return by how much the wall clock is wrong."""
        if not self.steps:
            return 0
        return sum(offset for start, end, offset in self.steps if start <= true_ns < end)

    def true_bytes(self, rung: Rung, effort: Effort, slot: Slot) -> tuple[int, int]:
        """Return what a slot truly makes on a rung: bytes of events and of frames, before they are on the wire."""
        hours = SLOT_S / 3600
        events = EVENT_BYTES_H[min(rung, Rung.EVENTS)] * self.event_factor * slot.hands * hours
        if rung < FIRST_WITH_FRAMES:
            return round(events), 0
        frames = FRAME_BYTES_H[rung] * (SMALL_RATIO if effort is Effort.SMALL else 1.0) * hours
        return round(events), round(frames * self.frame_factor * self.shape[rung, effort] * slot.scene)

    def fixed_bytes(self, rung: Rung, slot: Slot) -> tuple[int, int]:
        """Return `true_bytes` of the quick encoder, kept for those who ask for the same slot and rung again."""
        if self._fixed[0] is not slot or self._fixed[1] is not rung:
            self._fixed = (slot, rung, self.true_bytes(rung, Effort.FAST, slot))
        return self._fixed[2]

    def true_cpu_s(self, rung: Rung, effort: Effort) -> float:
        """Return the CPU seconds of a slot."""
        if rung is Rung.NOTHING:
            return 0.0
        frames = FRAME_CPU_S_H.get(rung, 0.0) * (SMALL_CPU_RATIO if effort is Effort.SMALL else 1.0)
        return (EVENT_CPU_S_H + frames) * SLOT_S / 3600

    def slots(self) -> Iterator[Slot]:
        """Yield the slots in which somebody works, from the installation to the end of the judged period."""
        chance = self.chance
        scene, day = 0.0, self.calendar.day_of(self.install_ns)
        away_until = crunch_until = 0
        while day < self.after_day:
            if day >= away_until and chance.random() < 1 / 60:
                away_until = day + chance.choice((1, 1, 2, 3, 7, 14))  # ill, a trip, a holiday
            if day >= crunch_until and chance.random() < 1 / 45:
                crunch_until = day + chance.randint(2, 6)
            if day >= away_until:
                yield from self._day(day, crunch=day < crunch_until, scene=scene)
            scene = 0.7 * scene + chance.gauss(0, 0.25)
            day += 1

    def _day(self, day: int, *, crunch: bool, scene: float) -> Iterator[Slot]:
        chance = self.chance
        midnight = self.calendar.start_ns(day)
        shift = SHIFT_HOURS[day // 7 % 3] if self.kind == "shifts" else 0.0
        spans = [(start + shift, end + shift) for start, end in WEEKS[self.kind][(day - 1) % 7]]
        if crunch and spans:
            spans.append((spans[-1][1] + 1, spans[-1][1] + 1 + chance.uniform(1, 4)))
        link = "metered" if chance.random() < self.hotspot_ratio else "unmetered"
        battery, charge = chance.random() < self.battery_ratio, 1.0
        times: list[int] = []
        for start, end in spans:
            begin, finish = start + chance.gauss(0, 0.4), end + chance.gauss(0, 0.5)
            slots = max(0, round((finish - begin) * 3600 / SLOT_S))
            times.extend(midnight + round((begin * 3600 + n * SLOT_S) * NS_PER_S) for n in range(slots))
        worked = sorted(when for when in times if chance.random() < 0.85 and when >= self.install_ns)
        for number, when in enumerate(worked):
            last = number + 1 == len(worked)
            stepped = self.offset_ns(when) != self.offset_ns(self._last_ns)
            self._last_ns = when
            idle = last or worked[number + 1] - when > 2 * SLOT_S * NS_PER_S
            charge = charge - 0.02 if charge > 0.16 else 1.0  # ten minutes; then it is plugged in again
            yield Slot(
                start_ns=when,
                link=link,
                on_battery=battery and charge < 1.0,
                charge=charge,
                scene=exp(scene + chance.gauss(0, 0.5)) * (1.4 if crunch else 1.0),
                hands=exp(chance.gauss(0, 0.4)),
                reboot=number == 0 and chance.random() < 0.5 and (self.synced or not stepped),
                crash=chance.random() < self.crash_ratio,
                tail=idle and chance.random() < 0.8,
            )

    def highest(self, slot: Slot) -> tuple[Rung, Effort]:
        """Return the most that energy alone would permit: the demand."""
        if not slot.on_battery:
            return TOP, Effort.FAST
        return (Rung.EVERY_10S if slot.charge >= 0.3 else Rung.EVENTS), Effort.FAST


def home(seed: int, index: int) -> Home:
    """Draw a household.

    Args:
        seed: of the run. index: of the household.
    """
    chance = random.Random(f"{seed}/{index}")
    zone = chance.choice(ZONES)
    billing_day = chance.choice((1, 1, 1, chance.randint(1, 31)))
    calendar = Calendar(zone, billing_day)
    month_bytes = round(exp(chance.uniform(log(100e6), log(1e12))))
    if index % 2:  # every other budget is one that binds: the interesting half
        month_bytes = round(exp(chance.uniform(log(100e6), log(2e9))))
    some_day = calendar.day_of(YEAR_START_NS + chance.randrange(300) * DAY_NS) + 40
    first_day, after_day = calendar.billing_period(some_day)
    known_days = 0 if chance.random() < 0.2 else chance.randint(7, 35)
    start_ns, end_ns = calendar.start_ns(first_day), calendar.start_ns(after_day)
    steps = []
    if chance.random() < 0.25:
        for _ in range(chance.randint(1, 2)):
            begin = chance.randrange(start_ns, end_ns)
            length = round(chance.choice((1, 6, 24, 72)) * HOUR_NS)
            offset = chance.choice((-1, 1)) * chance.choice((1, 2, 12, 24, 24 * 3, 24 * 40, 24 * 3650)) * HOUR_NS
            steps.append((begin, begin + length, offset))
    metered_all = chance.random() < 0.3
    always_metered = chance.random() < 0.1
    links: dict[str, tuple[int | None, int | None]] = {}
    if chance.random() < 0.3 and not always_metered:
        links["metered"] = (None, round(month_bytes * chance.uniform(0.05, 0.3)))
    drawn = Home(
        index=index,
        chance=chance,
        kind=chance.choice(tuple(WEEKS)),
        zone=zone,
        billing_day=billing_day,
        month_bytes=month_bytes,
        day_bytes=round(month_bytes / chance.uniform(8, 25)) if chance.random() < 0.25 else None,
        links=links,
        metered_all=metered_all or always_metered,
        rate_bytes_s=chance.choice((60_000, 250_000)) if chance.random() < 0.2 else None,
        install_ns=start_ns - known_days * DAY_NS,
        first_day=first_day,
        after_day=after_day,
        judged_ns=start_ns,
        calendar=calendar,
        steps=steps,
        synced=chance.random() < 0.5,
        hotspot_ratio=1.0 if always_metered else chance.choice((0.0, 0.0, 0.1, 0.3)),
        battery_ratio=chance.choice((0.0, 0.1, 0.5)),
        crash_ratio=chance.choice((0.0, 0.0, 0.005, 0.02)),
        frame_factor=exp(chance.gauss(0, 0.6)),
        event_factor=exp(chance.gauss(0, 0.4)),
    )
    for effort in Effort:
        for rung in FRAME_INTERVAL_MS:
            drawn.shape[rung, effort] = exp(chance.gauss(0, 0.2))
    return drawn
