"""Shell: asks the governor when something changed, hands its plan on, and tells it what recording cost.

Guarantees: the governor is asked when a condition changes, when it asked to be asked again, and when something was stored or
sent; never by a clock of this module's own, so that idle stays idle.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from capture.conditions import Conditions
    from capture.decision import Decision
    from capture.governor import Governor
    from capture.ladder import Plan

NS_PER_S = 1_000_000_000
MAX_STRETCH_S = 3600.0
"""A stretch of activity counts an hour at most: what is longer was a suspended machine."""


class Steering:
    """Keeps the plan in force.

    State: the plan in force and its reasons, when the present stretch of activity began, and the CPU time that the
    governor has been told of.

    Args:
        governor: decides.
        observe: returns the conditions now.
        apply: called with each plan that differs from the one before; first with the first.
        clock_ns: the monotonic clock that the governor's dwell times go by.
    """

    def __init__(
        self,
        governor: Governor,
        *,
        observe: Callable[[], Conditions],
        apply: Callable[[Plan], None],
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._governor = governor
        self.clock_ns = clock_ns
        self._observe = observe
        self._apply = apply
        self._recheck: asyncio.TimerHandle | None = None
        self._since_ns: int | None = None
        self._cpu_s = 0.0
        self._asked = False
        self._decision: Decision[Plan] | None = None

    @property
    def decision(self) -> Decision[Plan]:
        """The plan in force and its reasons; the first one is made when it is first asked for."""
        if self._decision is None:
            self._decision = self._decide()
        return self._decision

    @property
    def plan(self) -> Plan:
        """The plan in force."""
        return self.decision.value

    def start(self) -> None:
        """Put the first plan in force; from now on plans follow the conditions."""
        self._apply(self.plan)
        self._arm()

    def ask(self) -> None:
        """A condition changed: ask the governor in the loop's next round, however many changed at once."""
        if not self._asked:
            self._asked = True
            asyncio.get_running_loop().call_soon(self._ask)

    def _ask(self) -> None:
        self._asked = False
        if self._since_ns is not None:
            self._count_activity(self.clock_ns())
        before = self.plan
        self._decision = self._decide()
        if self.plan != before:
            self._apply(self.plan)
        self._arm()

    def _decide(self) -> Decision[Plan]:
        return self._governor.decide(self.clock_ns(), self._observe())

    def _arm(self) -> None:
        if self._recheck is not None:
            self._recheck.cancel()
            self._recheck = None
        due_ns = self._governor.recheck_ns
        if due_ns is not None:
            wait_s = max(0.1, (due_ns - self.clock_ns()) / NS_PER_S)
            self._recheck = asyncio.get_running_loop().call_later(wait_s, self._ask)

    def activity(self, active: bool) -> None:
        """The person began to do something, or has stopped for a while."""
        now_ns = self.clock_ns()
        if self._since_ns is not None:
            self._count_activity(now_ns)
        self._since_ns = now_ns if active else None
        self.ask()

    def _count_activity(self, now_ns: int) -> None:
        assert self._since_ns is not None  # noqa: S101 - both callers have looked
        active_s = min(MAX_STRETCH_S, (now_ns - self._since_ns) / NS_PER_S)
        self._since_ns = now_ns
        self._governor.active(time.time_ns(), active_s, self._observe().link)

    def paid(self, *, event_bytes: int = 0, frame_bytes: int = 0) -> None:
        """Tell what a stored chunk will cost on the wire, and with it the CPU time since the chunk before.

        Args:
            event_bytes, frame_bytes: sealed.
        """
        if self._since_ns is not None:
            self._count_activity(self.clock_ns())
        cpu_s = time.process_time()
        self._governor.paid(
            event_bytes=1.1 * event_bytes,
            frame_bytes=1.1 * frame_bytes,
            cpu_s=cpu_s - self._cpu_s,
        )
        self._cpu_s = cpu_s
        self.ask()

    def stop(self) -> None:
        """Cancel what is scheduled."""
        if self._recheck is not None:
            self._recheck.cancel()
