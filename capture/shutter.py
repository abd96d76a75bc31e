"""Pure: when the next screenshot is due.

Damage (something on the screen changed) makes a frame due once the plan's interval has passed since the last one; a
change of focus makes one due after a short settling time, where the plan says so. Without damage there is never a
frame: an unchanged screen costs nothing.
"""

from __future__ import annotations

SETTLE_NS = 400_000_000
"""After a focus change the new window is still being painted; damage settles within this on a loaded laptop."""


class Shutter:
    """Says when to grab. State: the last grab's time, what is waiting, the plan's interval."""

    def __init__(self) -> None:
        self._interval_ns: int | None = None
        self._on_focus = False
        self._last_ns: int | None = None
        self._due_ns: int | None = None
        self._damaged = False

    def plan(self, interval_ns: int | None, *, on_focus: bool) -> None:
        """Follow a new plan.

        Args:
            interval_ns: the shortest time between two frames on damage; None: no frames on damage.
            on_focus: a focus change takes a frame even so.
        """
        self._interval_ns, self._on_focus = interval_ns, on_focus
        if interval_ns is None and not on_focus:
            self._due_ns = None
        elif interval_ns is not None and self._due_ns is not None and self._last_ns is not None:
            self._due_ns = min(self._due_ns, self._last_ns + interval_ns)

    def damage(self, now_ns: int) -> None:
        """Something on the screen changed."""
        self._damaged = True
        if self._interval_ns is None:
            return
        ready_ns = now_ns if self._last_ns is None else max(now_ns, self._last_ns + self._interval_ns)
        self._due_ns = ready_ns if self._due_ns is None else min(self._due_ns, ready_ns)

    def focus(self, now_ns: int) -> None:
        """Another window has the focus."""
        if self._on_focus:
            ready_ns = now_ns + SETTLE_NS
            self._due_ns = ready_ns if self._due_ns is None else min(self._due_ns, ready_ns)

    def due_ns(self) -> int | None:
        """Return when the next frame is due (monotonic ns); None: not before something happens."""
        return self._due_ns

    def taken(self, now_ns: int) -> None:
        """A frame was grabbed, or was refused by the policy: either way the next waits its interval."""
        self._last_ns = now_ns
        self._due_ns = None
        self._damaged = False

    def blocked(self) -> None:
        """No frames may be taken now (pause, lock): forget what was due, remember that the screen changed."""
        self._due_ns = None

    def unblocked(self, now_ns: int) -> None:
        """Frames may be taken again: one is due if the screen changed meanwhile."""
        if self._damaged:
            self.damage(now_ns)
