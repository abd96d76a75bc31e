"""Pure: which frames belong to an action: the last stable one before it, and the first stable one after it.

Guarantees: a frame that is given as *before* was complete before the action's first input; one that is given as *after* was
begun after its last input. A frame is stable when nothing changed on the screen while it was grabbed and since the changes that
followed the input have come to rest; changes say so, not a clock (the clock only ends the waiting for a change that does not
come, or for an animation that does not stop, and then `settled` says that it was so). Inputs that follow each other
faster than the screen comes to rest, or than the plan lets frames be taken, share a pair.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

QUIET_MS = 100
"""Nothing changed for so long (beyond the source's own hold): the screen has come to rest."""
WAIT_MS = 800
"""A change that an input causes has begun by then; if none has, it changed nothing."""
LONGEST_MS = 3000
"""What still moves then is an animation: better a frame of it than none."""
RETRY_MS = 400
SLACK_MS = 2
MAX_INPUTS, MAX_CHANGES, MAX_FRAMES = 64, 64, 4
LONG_INTERVAL_MS = 30_000


@dataclass(frozen=True, slots=True)
class Shown:
    """A frame that was taken, source clock in ms.

    Attributes:
        frame_ms: the stored frame that shows it: its own time, or that of an earlier one if nothing had changed.
        began_ms, ended_ms: its grab. stable: nothing changed from `began_ms` to `ended_ms`.
    """

    frame_ms: int
    began_ms: int
    ended_ms: int
    stable: bool


@dataclass(frozen=True, slots=True)
class Pair:
    """Inputs and the frames around them, source clock in ms.

    Attributes:
        first_ms, last_ms: the inputs. before_ms, after_ms: the frames; None: there is none.
        fresh: nothing changed between the frame before and the first input. settled: the frame after is stable.
    """

    first_ms: int
    last_ms: int
    before_ms: int | None
    fresh: bool
    after_ms: int
    settled: bool


@dataclass(slots=True)
class _Inputs:
    first_ms: int
    last_ms: int
    before: Shown | None


def pair_interval(frame_interval_ms: int | None) -> int | None:
    """Return the shortest time between frames that are taken for actions; None: none are.

    Frames for actions may come twice as often as frames for mere changes: they are the last that the plan thins. On the
    lowest rungs with frames, one that is due is only put where it completes a pair.

    Args:
        frame_interval_ms: the plan's (capture.ladder.Plan).
    """
    if frame_interval_ms is None or frame_interval_ms > LONG_INTERVAL_MS:
        return frame_interval_ms
    return frame_interval_ms // 2


class Binder:
    """Says when a frame is wanted for an action, and puts pairs together.

    State: the latest frames, the inputs under way, the latest changes, and the last frame's time.
    """

    def __init__(self) -> None:
        self._interval_ms: int | None = None
        self._last_ms: int | None = None
        self.reset()

    def plan(self, frame_interval_ms: int | None) -> None:
        """Follow a plan; None: no frames are taken."""
        self._interval_ms = pair_interval(frame_interval_ms)
        if self._interval_ms is None:
            self.reset()

    def reset(self) -> None:
        """Forget everything: what is on the screen now is not to be recorded."""
        self._frames: deque[Shown] = deque(maxlen=MAX_FRAMES)
        self._changes: deque[int] = deque(maxlen=MAX_CHANGES)
        self._inputs: _Inputs | None = None
        self._later: deque[int] = deque(maxlen=MAX_INPUTS)
        self._told_ms: int | None = None

    @property
    def attentive(self) -> bool:
        """Whether changes matter now: an action waits for its frame."""
        return self._inputs is not None

    def input(self, t_ms: int) -> None:
        """A press, release, turn of the wheel or key press that is recorded."""
        if self._interval_ms is None:
            return
        if self._inputs is None:
            self._inputs = _Inputs(
                t_ms, t_ms, next((one for one in reversed(self._frames) if one.ended_ms < t_ms), None)
            )
            self._told_ms = None
        elif t_ms > self._inputs.last_ms:
            self._inputs.last_ms = t_ms
            self._told_ms = None
        self._later.append(t_ms)

    def change(self, began_ms: int, told_ms: int) -> None:
        """Something on the screen changed.

        Args:
            began_ms: when, first. told_ms: the latest that it may have gone on until.
        """
        self._changes.append(began_ms)
        if self._inputs is not None and began_ms >= self._inputs.last_ms:
            self._told_ms = told_ms

    def due_ms(self) -> int | None:
        """Return when a frame is wanted (source clock); None: none is."""
        inputs = self._inputs
        if inputs is None or self._interval_ms is None:
            return None
        due_ms = inputs.last_ms + WAIT_MS if self._told_ms is None else self._told_ms + QUIET_MS
        due_ms = min(due_ms, inputs.last_ms + LONGEST_MS)
        return due_ms if self._last_ms is None else max(due_ms, self._last_ms + self._interval_ms)

    def wants(self, now_ms: int) -> bool:
        """Tell whether a frame that is begun now is one that an action waits for."""
        due_ms = self.due_ms()
        return due_ms is not None and due_ms <= now_ms + SLACK_MS

    def frame(self, shown: Shown, *, wanted: bool) -> Pair | None:
        """A frame was taken; return the pair that it completes, if it does.

        Args:
            wanted: what `wants` said when it was begun. One that the plan wanted for itself completes nothing: the
                action's result may be still to come.
        """
        inputs = self._inputs
        if inputs is not None and not shown.stable and shown.began_ms < inputs.last_ms + LONGEST_MS:
            self._told_ms = shown.ended_ms + RETRY_MS  # again, when it has come to rest
            return None
        self._last_ms = shown.ended_ms
        if shown.stable:
            self._frames.append(shown)
        if inputs is None or not wanted:
            return None
        before, later = inputs.before, [t_ms for t_ms in self._later if t_ms > shown.began_ms]
        covered = [t_ms for t_ms in self._later if t_ms <= shown.began_ms]
        if not covered:
            return None
        self._inputs = None
        self._later.clear()
        fresh = before is not None and not any(before.began_ms <= t_ms < covered[0] for t_ms in self._changes)
        pair = Pair(
            first_ms=inputs.first_ms,
            last_ms=covered[-1],
            before_ms=None if before is None else before.frame_ms,
            fresh=fresh,
            after_ms=shown.frame_ms,
            settled=shown.stable,
        )
        for t_ms in later:  # came while it was grabbed: it may or may not show what they did
            self.input(t_ms)
        return pair

    def refused(self, now_ms: int) -> None:
        """No frame could be taken: try again soon, or give the action up after a while."""
        if self._inputs is not None and now_ms >= self._inputs.last_ms + LONGEST_MS:
            self._inputs = None
            self._later.clear()
        else:
            self._told_ms = now_ms
