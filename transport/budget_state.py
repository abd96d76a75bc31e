"""Pure: the budget as plain values, and back: what the ledger keeps."""

from __future__ import annotations

from typing import Any

from transport.budget import Budget, Lock, Outstanding
from transport.limits import COUNTED_LINKS, KINDS, Lease, Limits
from transport.periods import Calendar, clamp_wall_ns
from transport.steady import SteadyClock


def to_state(budget: Budget) -> dict[str, Any]:
    """Return everything of a budget that must outlive the process (the rate's bucket does not).

    Raises:
        ValueError: it has not observed a moment yet.
    """
    lock = budget.lock
    return {
        "zone": budget.limits.time_zone,
        "clock": budget.clock.to_state(),
        "wall": budget.wall.to_rows(),
        "steady": budget.steady.to_rows(),
        "kinds": [[day, *(by[kind] for kind in KINDS)] for day, by in sorted(budget.kinds.items())],
        "unplaced": [[*origin, COUNTED_LINKS.index(link), count] for (origin, link), count in budget.unplaced.items()],
        "leases": [
            [
                lease_id,
                it.lease.reserved_bytes,
                COUNTED_LINKS.index(it.lease.link),
                [*it.wall_days],
                [*it.steady_days],
                it.origin,
            ]
            for lease_id, it in budget.leases.items()
        ],
        "next_id": budget.next_id,
        "first_day": budget.first_day,
        "overdrawn": budget.overdrawn_bytes,
        "lock": None if lock is None else [lock.first_day, lock.after_day, lock.reason, lock.provisional],
    }


def from_state(limits: Limits, state: dict[str, Any]) -> Budget:
    """Return the budget that `to_state` wrote, under limits that may have changed since.

    Raises:
        KeyError, TypeError, ValueError, IndexError: that is not what it wrote.
    """
    budget = Budget(limits)
    budget.clock = SteadyClock.from_state(state["clock"])
    budget.wall.load(state["wall"])
    budget.steady.load(state["steady"])
    for day, *counts in state["kinds"]:
        budget.kinds[int(day)] = {kind: int(count) for kind, count in zip(KINDS, counts, strict=True)}
    for minute, wall_day, steady_day, link, count in state["unplaced"]:
        budget.unplaced[(int(minute), int(wall_day), int(steady_day)), COUNTED_LINKS[int(link)]] = int(count)
    for lease_id, size, link, wall_days, steady_days, origin in state["leases"]:
        lease = Lease(int(lease_id), int(size), COUNTED_LINKS[int(link)])
        if origin is not None:
            minute, wall_day, steady_day = origin
            origin = (int(minute), int(wall_day), int(steady_day))
        budget.leases[lease.id] = Outstanding(lease, set(map(int, wall_days)), set(map(int, steady_days)), origin)
    budget.next_id = int(state["next_id"])
    budget.first_day = int(state["first_day"])
    budget.overdrawn_bytes = int(state["overdrawn"])
    if state["lock"] is not None:
        first, after, reason, provisional = state["lock"]
        budget.lock = Lock(int(first), int(after), str(reason), bool(provisional))
    if state["zone"] != limits.time_zone:
        _take_today_along(budget, str(state["zone"]))
    return budget


def _take_today_along(budget: Budget, old_zone: str) -> None:
    """Count today's bytes in the day that it is in the new time zone as well."""
    before = Calendar(old_zone)
    shown_ns = 0 if budget.clock.moment is None else clamp_wall_ns(budget.clock.moment.wall_ns)
    for book, at_ns in ((budget.wall, shown_ns), (budget.steady, budget.clock.ns)):
        old, new = before.day_of(at_ns), book.calendar.day_of(at_ns)
        if old != new:
            for link, count in list(book.days.get(old, {}).items()):
                book.add(new, link, count)
