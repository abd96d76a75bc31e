"""Pure: a clock that no one can set: what the budget goes by beside the wall clock.

It goes on with the monotonic clock within a boot, whatever happens to the wall clock. Over a reboot it takes the wall
clock's advance, as far as that does not carry it past the wall clock; but where the system usually vouches for its wall
clock (NTP), it stands until the system does so again. While the system vouches, it shows the wall clock's time.

It never runs ahead of the time that has truly passed, unless the wall clock was set forward while the machine was off
and nobody ever vouches for it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from transport.limits import Moment
from transport.periods import NS_PER_S, clamp_wall_ns

NS_PER_MINUTE: Final = 60 * NS_PER_S
NS_PER_DAY: Final = 24 * 60 * NS_PER_MINUTE
TRUSTED_NS: Final = 14 * NS_PER_DAY
"""A system that has not vouched for its clock for so long (while it ran) is one that never does."""
CONFIRM_NS: Final = NS_PER_DAY
"""After a reboot, confirmation is awaited for so long (while it runs) where it usually comes."""
MAX_BLIND_ADVANCE_NS: Final = 3 * NS_PER_DAY
"""What a reboot may add to a steady clock that is ahead of the wall clock."""


class SteadyClock:
    """State: its time; its time at first, when the system last vouched, and at the first reboot since; the best guess.

    Attributes:
        ns: its time, wall ns. guess_ns: what is most likely the true time: the wall clock, without the steps that were
            seen in it. moment: the last one.
    """

    __slots__ = ("first_ns", "guess_ns", "lost_ns", "moment", "ns", "vouched_ns")

    def __init__(self) -> None:
        self.ns = 0
        self.guess_ns = 0
        self.first_ns = 0
        self.vouched_ns: int | None = None
        self.lost_ns: int | None = None
        self.moment: Moment | None = None

    @property
    def offset_ns(self) -> int:
        """By how much the wall clock is ahead of it."""
        return 0 if self.moment is None else clamp_wall_ns(self.moment.wall_ns) - self.ns

    @property
    def waits(self) -> bool:
        """Whether the system may yet vouch, as it usually does or has had little time to, and does not now."""
        since_ns = self.first_ns if self.vouched_ns is None else self.vouched_ns
        vouches_now = self.moment is not None and self.moment.synced
        return not vouches_now and self.ns - since_ns < TRUSTED_NS

    @property
    def exact(self) -> bool:
        """Whether it shows the true time: the system vouched, and the machine has run ever since."""
        return self.vouched_ns is not None and self.lost_ns is None

    @property
    def unconfirmed(self) -> bool:
        """Whether nobody knows the time: after a reboot, where the system usually vouches and does not yet."""
        return self.lost_ns is not None and self.ns - self.lost_ns < CONFIRM_NS

    def move(self, moment: Moment) -> int | None:
        """Go on to a moment.

        Returns:
            By how much (ns) the guess was behind, when the system vouches now and did not before; else None.
        """
        wall_ns, last = clamp_wall_ns(moment.wall_ns), self.moment
        waited = last is not None and self.waits
        if last is None:
            self.ns = self.guess_ns = self.first_ns = wall_ns
        elif last.boot == moment.boot:
            if moment.mono_ns < last.mono_ns:
                # Two monotonic clocks are mixed, one of which stands still in suspend: count no time twice.
                moment = replace(moment, mono_ns=last.mono_ns)
            passed_ns = moment.mono_ns - last.mono_ns
            self.ns += passed_ns
            self.guess_ns += passed_ns
        else:
            advance_ns = wall_ns - clamp_wall_ns(last.wall_ns)
            if self.lost_ns is None and self._usually_vouched():
                self.lost_ns = self.ns
            self.ns += self._over_reboot_ns(wall_ns, advance_ns)
            self.guess_ns += advance_ns
        self.moment = moment
        self.ns = clamp_wall_ns(self.ns)
        if not moment.synced:
            return None
        behind_ns = wall_ns - self.guess_ns
        self.ns = self.guess_ns = self.vouched_ns = wall_ns
        self.lost_ns = None
        return behind_ns if waited else None

    def _usually_vouched(self) -> bool:
        return self.vouched_ns is not None and self.ns - self.vouched_ns < TRUSTED_NS

    def _over_reboot_ns(self, wall_ns: int, advance_ns: int) -> int:
        if advance_ns <= 0 or self._usually_vouched():
            return 0
        if wall_ns > self.ns:
            return min(advance_ns, wall_ns - self.ns)
        return min(advance_ns, MAX_BLIND_ADVANCE_NS)

    def to_state(self) -> list[Any]:
        """Return it as plain values.

        Raises:
            ValueError: it was never moved.
        """
        moment = self.moment
        if moment is None:
            raise ValueError("observe a moment first")
        shown = [moment.wall_ns, moment.mono_ns, moment.boot, moment.synced]
        return [self.ns, self.guess_ns, self.first_ns, self.vouched_ns, self.lost_ns, shown]

    @classmethod
    def from_state(cls, state: Any) -> SteadyClock:
        """Return the clock that `to_state` wrote.

        Raises:
            TypeError, ValueError: that is not what it wrote.
        """
        clock = cls()
        ns, guess_ns, first_ns, vouched_ns, lost_ns, (wall_ns, mono_ns, boot, synced) = state
        clock.ns, clock.guess_ns, clock.first_ns = int(ns), int(guess_ns), int(first_ns)
        clock.lost_ns = None if lost_ns is None else int(lost_ns)
        clock.vouched_ns = None if vouched_ns is None else int(vouched_ns)
        clock.moment = Moment(int(wall_ns), int(mono_ns), bytes(boot), bool(synced))
        return clock
