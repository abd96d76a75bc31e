"""Pure: the byte budget: what may still be sent, what was, and what was reserved when something went wrong.

The promise: the sum of bytes on the wire in a local day, and in a billing period, never exceeds the limit, as long as
no lease is settled with more than it reserved. It rests on four rules.

1. *Reserve first.* A lease counts in full from before its first byte until it is settled; one that is never settled
   (a crash) stays counted. A lease that lives through midnight counts in both days.
2. *Two clocks.* Wall clocks are set, forward and back, by people, firmware and time servers. So every byte is counted
   twice: in the day of the wall clock, and in the day of a steady clock that no one can set (transport/steady.py); a
   reservation must fit both. Hence a clock set forward gives no new budget, since the steady clock's day has not
   ended; set back, it finds its days as they were left; and nothing is locked for ever, as the steady clock goes on.
   What was sent from a boot on, before the system vouched for its clock as it usually does, is counted in its true day
   as soon as that is known; without a network, which brings the time, nothing can be sent anyway.
3. *Days are the unit.* A billing period is the sum of its days, so that a changed billing day moves the period but
   forgets no byte. A changed time zone takes today's bytes with it.
4. *No trust in a damaged ledger* (transport/ledger.py): `lock` spends nothing until the period ends by both clocks.

Not promised: anything against a wall clock that is changed while the machine is off, where the system never vouches for
it, or against an owner who deletes the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from transport.book import KEPT_DAYS, SCOPES, Book
from transport.limits import (
    COUNTED_LINKS,
    KINDS,
    Allowance,
    Lease,
    Limits,
    Link,
    LinkUsage,
    Moment,
    Refusal,
    Sendable,
    Span,
    Standing,
    Usage,
    show_bytes,
)
from transport.periods import NS_PER_S, Calendar, clamp_wall_ns
from transport.steady import NS_PER_MINUTE, SteadyClock

__all__ = [
    "Allowance",
    "Budget",
    "Lease",
    "Limits",
    "Link",
    "LinkUsage",
    "Moment",
    "Refusal",
    "Sendable",
    "Usage",
    "show_bytes",
]

BURST_S: Final = 10
"""Seconds of the rate ceiling that may be saved up."""
CONFIRM_RETRY_NS: Final = 10 * NS_PER_S
"""A time server answers within seconds of the network."""
EXACT: Final = -1
"""In place of a guessed minute: the steady clock's day is the true one."""
UNLIMITED: Final = 1 << 62


Origin = tuple[int, int, int]


@dataclass(slots=True)
class Outstanding:
    """A lease that is not settled.

    Attributes:
        wall_days, steady_days: the days, by each clock, that it counts in.
        origin: where it was taken while the system did not vouch for its clock as usual: the guessed minute, and the
            days of the two clocks.
    """

    lease: Lease
    wall_days: set[int]
    steady_days: set[int]
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class Lock:
    """Days in which nothing may be spent.

    Attributes:
        first_day, after_day: ordinals. reason: in words.
        provisional: they were set by a clock that nobody vouched for, and move once somebody does.
    """

    first_day: int
    after_day: int
    reason: str
    provisional: bool


class Budget:
    """The budget's state machine. `observe` tells it the time; nothing else does.

    State: the steady clock and the two books, what was sent while it waited for the system to vouch, outstanding leases
    and the next id, bytes by day and kind, the first day of all, the lock, and the rate ceiling's bucket (which no
    restart carries over).
    """

    def __init__(self, limits: Limits) -> None:
        """Start an empty budget.

        Raises:
            ValueError: a billing day that no month has. zoneinfo.ZoneInfoNotFoundError: an unknown time zone.
        """
        self.limits = limits
        self._caps = [
            (span, scope, limit) for scope in SCOPES for span in Span if (limit := limits.of(span, scope)) is not None
        ]
        self._caps_of = {
            link: [cap for cap in self._caps if cap[1] is None or cap[1] is link] for link in COUNTED_LINKS
        }
        self.calendar = Calendar(limits.time_zone, limits.billing_day)
        self._steady_calendar = Calendar(limits.time_zone, limits.billing_day)  # each caches its own day
        self.wall = Book(self.calendar, {})
        self.steady = Book(self._steady_calendar, {})
        self.clock = SteadyClock()
        self.unplaced: dict[tuple[Origin, Link], int] = {}
        self.leases: dict[int, Outstanding] = {}
        self.next_id = 1
        self.kinds: dict[int, dict[str, int]] = {}
        self.first_day = 0
        self.lock: Lock | None = None
        self.overdrawn_bytes = 0
        self._level_bytes = 0.0
        self._level_mono_ns: int | None = None

    # -- time -------------------------------------------------------------------------------------------------------

    def observe(self, moment: Moment) -> None:
        """Move the clocks to a moment, and with them the days that outstanding leases count in."""
        behind_ns = self.clock.move(moment)
        if behind_ns is not None:
            self._place(behind_ns)
        wall_day = self.calendar.day_of(moment.wall_ns)
        steady_day = self._steady_calendar.day_of(self.clock.ns)
        if wall_day == self.wall.day and steady_day == self.steady.day:
            return
        self.first_day = self.first_day or wall_day
        oldest = min(wall_day, steady_day) - KEPT_DAYS
        self._turn(self.wall, wall_day, oldest)
        self._turn(self.steady, steady_day, oldest)
        for day in [day for day in self.kinds if day < oldest]:
            del self.kinds[day]
        lock = self.lock
        if lock is not None and lock.provisional and moment.synced:
            self.lock_period(lock.reason)

    def _place(self, behind_ns: int) -> None:
        """Count what was sent while nobody vouched for the clock in its true day, now that this can be told.

        Where the machine had run ever since the system last vouched, the steady clock was right. Elsewhere the bytes are
        counted in the most likely day as well as where they were, and so are those that belong to another billing
        period: nothing is taken away on a guess.

        Args:
            behind_ns: by how much the guess was behind.
        """
        for ((minute, wall_day, steady_day), link), count in self.unplaced.items():
            exact = minute == EXACT
            true_day = steady_day if exact else self.calendar.day_of(minute * NS_PER_MINUTE + behind_ns)
            for book, day in ((self.wall, wall_day), (self.steady, steady_day)):
                if day != true_day:
                    book.add(true_day, link, count)
                    if exact and self.calendar.billing_period(day) == self.calendar.billing_period(true_day):
                        book.add(day, link, -count)
        self.unplaced.clear()
        for outstanding in self.leases.values():
            outstanding.origin = None  # they count in the day that begins for them now

    def _turn(self, book: Book, day: int, oldest: int) -> None:
        if day == book.day:
            return
        book.turn_to(day)
        for outstanding in self.leases.values():
            lived = outstanding.wall_days if book is self.wall else outstanding.steady_days
            if day not in lived:
                lived.add(day)
                book.add(day, outstanding.lease.link, outstanding.lease.reserved_bytes)
        book.forget_before(oldest)

    def lock_period(self, reason: str) -> None:
        """Spend nothing more in the running billing period (or day, where no limit runs longer)."""
        day = self.wall.day
        first, after = self.calendar.billing_period(day) if self.limits.has_month else (day, day + 1)
        synced = self.clock.moment is not None and self.clock.moment.synced
        self.lock = Lock(first, after, reason, provisional=not synced)

    def _is_locked(self) -> bool:
        lock = self.lock
        return lock is not None and any(
            lock.first_day <= book.day < lock.after_day for book in (self.wall, self.steady)
        )

    # -- spending ---------------------------------------------------------------------------------------------------

    def refusal(self, size_bytes: int, link: Link, *, events_only: bool = False) -> Refusal | None:
        """Say why a reservation cannot be granted at the moment last observed; None: it can.

        Args:
            size_bytes: at least 1.
            link: the class of the link it would go over.
            events_only: it carries no screenshots.
        """
        if self.clock.moment is None:
            raise ValueError("observe a moment first")
        if size_bytes < 1:
            raise ValueError(f"{size_bytes} bytes cannot be reserved")
        wall_ns = clamp_wall_ns(self.clock.moment.wall_ns)
        if link is Link.OFFLINE:
            return Refusal(("there is no network",), wall_ns)
        counted = link.counted_as
        sendable = self.limits.sendable.get(counted, Sendable.ALL)
        if sendable is Sendable.NOTHING or (sendable is Sendable.EVENTS and not events_only):
            called = f"{link} (treated as metered)" if link is Link.UNKNOWN else str(link)
            what = "nothing" if sendable is Sendable.NOTHING else "only events"
            return Refusal((f"{what} may go over a link that is {called}",), wall_ns)
        windows = self.limits.windows
        wait_ns = self.calendar.wait_for_window_ns(wall_ns, windows) if windows else 0
        if wait_ns:
            return Refusal(("outside the upload windows",), wall_ns + wait_ns)
        reasons: list[str] = []
        retry_ns = wall_ns
        if self.clock.unconfirmed:
            reason = "since the machine was started no time server has confirmed its clock, as one usually does"
            return Refusal((reason,), wall_ns + CONFIRM_RETRY_NS)
        if self.lock is not None and self._is_locked():
            reasons.append(self.lock.reason)
            retry_ns = max(retry_ns, self.calendar.start_ns(self.lock.after_day))
        left = self._left(counted)
        if size_bytes > left:
            for standing in self._standings(counted):
                if standing.used + size_bytes > standing.limit:
                    reasons.append(_exceeded(standing, size_bytes))
                    retry_ns = max(retry_ns, standing.end_wall_ns)
        if reasons:
            return Refusal(tuple(dict.fromkeys(reasons)), retry_ns, 0 if self._is_locked() else max(0, left))
        wait_ns = self._wait_for_rate_ns(size_bytes)
        if wait_ns:
            rate = self.limits.rate_bytes_s or 0
            return Refusal((f"the rate is held at {rate * 8 / 1000:.6g} kbit/s",), wall_ns + wait_ns, left)
        return None

    def _left(self, link: Link) -> int:
        """Return what every limit of a class of links leaves by both clocks; negative where one is exceeded."""
        wall, steady = self.wall, self.steady
        left = UNLIMITED
        for span, scope, limit in self._caps_of[link]:
            if span is Span.DAY:
                by_wall, by_steady = wall.in_day[scope], steady.in_day[scope]
            else:
                by_wall, by_steady = wall.in_month[scope], steady.in_month[scope]
            rest = limit - (by_wall if by_wall > by_steady else by_steady)
            if rest < left:
                left = rest
        return left

    def _standings(self, link: Link) -> list[Standing]:
        """Return what limits a class of links, by each of the two clocks."""
        shift_ns = self.clock.offset_ns
        wall, steady = self.wall, self.steady
        found = []
        for span, scope, limit in self._caps_of[link]:
            found.append(Standing(span, scope, wall.used(span, scope), limit, wall.end_ns(span)))
            found.append(Standing(span, scope, steady.used(span, scope), limit, steady.end_ns(span) + shift_ns))
        return found

    def standings(self) -> list[Standing]:
        """Return every limit and what is left of it by the stricter of the clocks; nothing is while locked."""
        locked = self._is_locked()
        shift_ns = self.clock.offset_ns
        found = []
        for span, scope, limit in self._caps:
            by_wall, by_steady = self.wall.used(span, scope), self.steady.used(span, scope)
            if by_steady > by_wall:
                used, end_ns = by_steady, self.steady.end_ns(span) + shift_ns
            else:
                used, end_ns = by_wall, self.wall.end_ns(span)
            found.append(Standing(span, scope, limit if locked else used, limit, end_ns))
        return found

    def _wait_for_rate_ns(self, size_bytes: int) -> int:
        rate = self.limits.rate_bytes_s
        if rate is None or self.clock.moment is None:
            return 0
        now_ns = self.clock.moment.mono_ns
        capacity = float(rate * BURST_S)
        if self._level_mono_ns is None or now_ns < self._level_mono_ns:
            self._level_bytes = 0.0  # a restart begins with nothing saved up, or restarts would make bursts
        else:
            earned = rate * (now_ns - self._level_mono_ns) / NS_PER_S
            self._level_bytes = min(capacity, self._level_bytes + earned)
        self._level_mono_ns = now_ns
        # What is larger than the bucket may go when it is full, and leaves a debt.
        missing = min(float(size_bytes), capacity) - self._level_bytes
        return 0 if missing <= 0 else int(missing / rate * NS_PER_S) + 1

    def take(self, size_bytes: int, link: Link, lease_id: int | None = None) -> Lease:
        """Count a reservation, without asking whether it fits (ask `refusal` first; replay does not).

        Args:
            size_bytes: how much. link: over which class. lease_id: in a replay, the id it was given.
        """
        lease = Lease(self.next_id if lease_id is None else lease_id, size_bytes, link.counted_as)
        self.next_id = max(self.next_id, lease.id) + 1
        origin = None
        if self.clock.waits:
            minute = EXACT if self.clock.exact else self.clock.guess_ns // NS_PER_MINUTE
            origin = (minute, self.wall.day, self.steady.day)
        self.leases[lease.id] = Outstanding(lease, {self.wall.day}, {self.steady.day}, origin)
        self.wall.add(self.wall.day, lease.link, size_bytes)
        self.steady.add(self.steady.day, lease.link, size_bytes)
        if self._level_mono_ns is not None:
            self._level_bytes -= size_bytes
        return lease

    def settle(self, lease_id: int, used_bytes: int, events_bytes: int = 0, screens_bytes: int = 0) -> None:
        """Replace a reservation by what was used.

        Args:
            lease_id: of a lease that is outstanding; another is ignored (a settlement may come twice).
            used_bytes: what the wire saw. events_bytes, screens_bytes: how much of it was for what.
        """
        outstanding = self.leases.pop(lease_id, None)
        if outstanding is None:
            return
        lease = outstanding.lease
        difference = used_bytes - lease.reserved_bytes
        self.overdrawn_bytes += max(0, difference)
        for day in outstanding.wall_days:
            self.wall.add(day, lease.link, difference)
        for day in outstanding.steady_days:
            self.steady.add(day, lease.link, difference)
        if outstanding.origin is not None:
            key = (outstanding.origin, lease.link)
            self.unplaced[key] = self.unplaced.get(key, 0) + used_bytes
        kinds = self.kinds.get(self.wall.day)
        if kinds is None:
            kinds = self.kinds[self.wall.day] = dict.fromkeys(KINDS, 0)
        events, screens, other = KINDS
        kinds[events] += events_bytes
        kinds[screens] += screens_bytes
        kinds[other] += used_bytes - events_bytes - screens_bytes
        if self._level_mono_ns is not None:
            self._level_bytes -= difference

    def write_off(self) -> int:
        """Give up all outstanding leases as spent (after a crash); return their bytes."""
        lost = sum(outstanding.lease.reserved_bytes for outstanding in self.leases.values())
        for lease_id in list(self.leases):
            self.settle(lease_id, self.leases[lease_id].lease.reserved_bytes)
        return lost

    # -- reporting --------------------------------------------------------------------------------------------------

    def left_bytes(self, link: Link) -> int:
        """Return the most that could be reserved now over a class of links, the rate ceiling and windows apart."""
        sendable = self.limits.sendable.get(link.counted_as, Sendable.ALL)
        if link is Link.OFFLINE or sendable is Sendable.NOTHING or self._is_locked():
            return 0
        return max(0, self._left(link.counted_as))

    def forecast_month(self) -> int:
        """Return the bytes of this billing period at its end, if its days go on like those of the last four weeks."""
        return self.wall.forecast(self.first_day)

    def usage(self) -> Usage:
        """Return where the budget stands at the moment last observed."""
        book = self.wall
        first, after = book.period
        by_kind = dict.fromkeys(KINDS, 0)
        for day, kinds in self.kinds.items():
            if first <= day < after:
                for kind, count in kinds.items():
                    by_kind[kind] += count
        return Usage(
            day_used=book.in_day[None],
            day_limit=self.limits.day_bytes,
            month_used=book.in_month[None],
            month_limit=self.limits.month_bytes,
            day_end_wall_ns=book.day_end_ns,
            period_end_wall_ns=book.period_end_ns,
            reserved=sum(outstanding.lease.reserved_bytes for outstanding in self.leases.values()),
            forecast_month=self.forecast_month(),
            by_link={
                link: LinkUsage(
                    book.in_day[link],
                    self.limits.of(Span.DAY, link),
                    book.in_month[link],
                    self.limits.of(Span.MONTH, link),
                )
                for link in COUNTED_LINKS
            },
            by_kind=by_kind,
            left_bytes={link: self.left_bytes(link) for link in Link},
            notes=self._notes(),
            day_start_wall_ns=self.calendar.start_ns(book.day),
            period_start_wall_ns=self.calendar.start_ns(first),
        )

    def _notes(self) -> tuple[str, ...]:
        notes = []
        if self.lock is not None and self._is_locked():
            notes.append(self.lock.reason)
        if self.wall.day != self.steady.day:
            days = self.wall.day - self.steady.day
            notes.append(
                f"the wall clock is {abs(days)} day(s) {'ahead of' if days > 0 else 'behind'} "
                "the time that has passed: the budget of both dates is kept; synchronise the clock (NTP) to end this"
            )
        if self.overdrawn_bytes:
            notes.append(f"{show_bytes(self.overdrawn_bytes)} more were sent than had been reserved")
        return tuple(notes)


def _exceeded(standing: Standing, size_bytes: int) -> str:
    when = "today" if standing.span is Span.DAY else "in this billing period"
    what = "the budget" if standing.link is None else f"the budget for {standing.link} links"
    return (
        f"{when}, {what} of {show_bytes(standing.limit)} has {show_bytes(standing.left_bytes)} left, "
        f"{show_bytes(size_bytes)} are needed"
    )
