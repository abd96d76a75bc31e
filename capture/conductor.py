"""Shell: conducts a recording: what the desktop tells goes to gate, shutter and camera; what the person commands, to all.

Guarantees: pause acts on all sources in one step; `close` returns when everything that was open is on the disk. No decisions
are made here: what may be recorded is the policy's, how much the governor's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from capture.binder import Binder, Pair, Shown
from capture.units import show_duration
from codec.model import KeyClass, Scalar

if TYPE_CHECKING:
    from datetime import timedelta

    from capture.camera import Camera
    from capture.chunker import Chunker
    from capture.clipboard import Clipboard
    from capture.gate import Gate
    from capture.ladder import Plan
    from capture.recorder import Recorder
    from capture.semantics import Semantics
    from capture.shutter import Shutter
    from capture.sources.desktop import Desktop
    from capture.sources.portable import PortableDesktop
    from capture.sources.windows import Monitor, Window

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
DEFER_NS = 3 * NS_PER_S
"""How long a frame that is due for a change may wait for one that an action wants."""


def _nobody() -> None:
    """Be told, and do nothing."""


class Conductor:
    """The sources' sink and the person's counterpart.

    Args:
        desktop: input, focus and damage. gate, recorder, shutter, camera, chunker: see their modules; the camera may be None.
        activity: told when the person begins or stops to do something.
        changed: told when a condition that is seen here changed (pause).
    """

    def __init__(
        self,
        desktop: Desktop | PortableDesktop,
        *,
        gate: Gate,
        recorder: Recorder,
        shutter: Shutter,
        camera: Camera | None,
        chunker: Chunker,
        activity: Callable[[bool], None],
        changed: Callable[[], None],
    ) -> None:
        self._desktop = desktop
        self._gate = gate
        self._recorder = recorder
        self._shutter = shutter
        self._camera = camera
        self._chunker = chunker
        self._activity = activity
        self._changed = changed
        self._frame_timer: asyncio.TimerHandle | None = None
        self._resume_timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._taking = False
        self.is_idle = False
        self.told: Callable[[], None] = _nobody
        self.stopping = asyncio.Event()
        self.lost_reason: str | None = None
        self.paused_until: float | None = None
        self.stopped_ms: int | None = None
        self.counts = {"pointer": 0, "keys": 0, "rows": 0}
        self.semantics: Semantics | None = None
        self.clipboard: Clipboard | None = None
        self._binder = Binder()
        self._command_ms = -1
        self.window: Window | None = None

    # -- what the desktop tells

    def pointer(self, t_ms: int, kind: int, x: int, y: int) -> None:
        """See Gate.pointer."""
        passed = self._gate.pointer(t_ms, kind, x, y)
        self.counts["pointer"] += passed
        if passed and kind > 1:
            self._acted(t_ms)
        if passed and kind > 1 and self.semantics is not None:
            self.semantics.pointer(t_ms, kind, x, y)

    def key(self, t_ms: int, down: bool, code: int, slot: int) -> None:
        """See Gate.key."""
        passed = self._gate.key(t_ms, down, code, slot)
        self.counts["keys"] += passed
        if passed and down and code != KeyClass.MODIFIER:
            self._acted(t_ms)
        if passed and down and code != KeyClass.MODIFIER and self.semantics is not None and t_ms != self._command_ms:
            self.semantics.key(t_ms, "space" if code == KeyClass.SPACE else "")

    def command(self, t_ms: int, name: str) -> None:
        """A key press that makes no text follows: a row tells of a shortcut by its name."""
        self._command_ms = t_ms
        if self.semantics is None or self._gate.is_secret or not self._gate.open:
            return
        self.semantics.key(t_ms, name)
        if "+" in name:
            self.counts["rows"] += self._gate.row(t_ms, "shortcut", {"name": name}, words=("name",))
            if self.clipboard is not None:
                self.clipboard.shortcut(t_ms, name)

    def focus(self, t_ms: int, window: Window | None) -> None:
        """Judge the window, and have a frame of it taken when the plan says so."""
        self.window = window
        if self.semantics is not None:
            self.semantics.leave(window)
        self.counts["rows"] += self._gate.focus(t_ms, window)
        if self.semantics is not None:
            self.semantics.focus(window)
        self._shutter.focus(time.monotonic_ns())
        self._arm_frame()

    def judge_again(self) -> None:
        """Judge the window in focus by what is known of it now."""
        self.counts["rows"] += self._gate.focus(self._now_ms(), self.window)
        self._shutter.focus(time.monotonic_ns())
        self._arm_frame()

    def damage(self, t_ms: int) -> None:
        """Something on the screen changed: a frame is due when the plan's interval has passed."""
        self._shutter.damage(time.monotonic_ns())
        self._binder.change(t_ms, self._now_ms())
        self._arm_frame()

    def idle(self, t_ms: int, idle: bool) -> None:
        """The person went away or came back."""
        self.is_idle = idle
        self._activity(not idle)

    def display(self, t_ms: int, width_px: int, height_px: int, monitors: Sequence[Monitor]) -> None:
        """Record the display's size, which positions and frames refer to."""
        fields: dict[str, int | str] = {"w": width_px, "h": height_px, "monitors": len(monitors)}
        self._recorder.circumstance(t_ms, "display", fields)
        if self._camera is not None:
            self._start(self._camera.resize(width_px, height_px))

    def overflow(self, t_ms: int, ms: int) -> None:
        """Say in the data that it may have a hole here."""
        self.counts["rows"] += self._gate.row(t_ms, "gap", {"cause": "overflow", "ms": ms})

    def lost(self, reason: str) -> None:
        """The display went away: end, so that what is open is closed."""
        self.lost_reason = reason
        self.stopping.set()

    # -- frames

    def follow(self, plan: Plan) -> None:
        """Take frames as a plan says."""
        self._recorder.circumstance(self._now_ms(), "plan", {"rung": int(plan.rung), "effort": int(plan.effort)})
        interval_ms = plan.frame_interval_ms
        self._shutter.plan(None if interval_ms is None else interval_ms * NS_PER_MS, on_focus=plan.frames_on_focus)
        self._binder.plan(interval_ms)
        self._desktop.attend(self._binder.attentive)
        self._arm_frame()

    def _forget_actions(self) -> None:
        """What waits for a frame will not get one."""
        self._binder.reset()
        self._desktop.attend(False)

    def _acted(self, t_ms: int) -> None:
        """An action began, or went on: it is to have its frame."""
        if self._camera is None:
            return
        self._binder.input(t_ms)
        if self._binder.attentive:
            self._desktop.attend(True)
            self._arm_frame()

    def _disarm_frame(self) -> None:
        if self._frame_timer is not None:
            self._frame_timer.cancel()
            self._frame_timer = None

    def _arm_frame(self) -> None:
        self._disarm_frame()
        if self._camera is None or self._taking or not self._gate.open or self._gate.is_secret:
            return
        due_ns = self._due_ns()
        if due_ns is None:
            return
        wait_s = max(0, due_ns - time.monotonic_ns()) / NS_PER_S
        self._frame_timer = asyncio.get_running_loop().call_later(wait_s, self._take_frame)

    def _due_ns(self) -> int | None:
        """Return when a frame is due: for an action, if one waits for it, or else for what changed."""
        due_ns, due_ms = self._shutter.due_ns(), self._binder.due_ms()
        if due_ms is None:
            return due_ns
        pair_ns = time.monotonic_ns() + (due_ms - self._now_ms()) * NS_PER_MS
        # A frame that is due anyway waits a little for the action to show its result, and so completes a pair.
        return pair_ns if due_ns is None or pair_ns <= due_ns + DEFER_NS else due_ns

    def _take_frame(self) -> None:
        self._frame_timer = None
        if self._camera is None or self._taking:
            return
        self._desktop.flush()
        due_ns = self._due_ns()
        if due_ns is None or due_ns > time.monotonic_ns() + NS_PER_MS:
            self._arm_frame()  # something was done meanwhile
            return
        if self._binder.attentive and self._desktop.changed_ms is not None:
            return  # not at rest: the change is told in a moment, and a frame armed then
        self._disarm_frame()
        self._taking = True
        self._start(self._take(self._camera))

    async def _take(self, camera: Camera) -> None:
        try:
            self._desktop.watch_anew()
            now_ns = time.monotonic_ns()
            began_ms = self._desktop.server_ms(now_ns)
            self._shutter.taken(now_ns)
            wanted = self._binder.wants(began_ms)
            taken = await camera.take(began_ms)
            self._desktop.flush()
            if taken is None:
                self._binder.refused(self._now_ms())
                return
            ended_ms = self._desktop.server_ms(taken.ended_ns) + 1
            changed_ms = self._desktop.changed_ms
            stable = changed_ms is None or changed_ms > ended_ms
            pair = self._binder.frame(Shown(taken.frame_ms, began_ms, ended_ms, stable), wanted=wanted)
            if pair is not None:
                self._tell_pair(pair)
            if taken.new:
                self._chunker.check()
        finally:
            self._taking = False
            self._desktop.attend(self._binder.attentive)
            self._arm_frame()

    def _tell_pair(self, pair: Pair) -> None:
        now_ms = self._now_ms()
        fields: dict[str, Scalar] = {"ago": now_ms - pair.first_ms, "span": pair.last_ms - pair.first_ms}
        if pair.before_ms is not None:
            fields |= {"before": now_ms - pair.before_ms, "fresh": pair.fresh}
        fields |= {"after": now_ms - pair.after_ms, "settled": pair.settled}
        self.counts["rows"] += self._gate.row(now_ms, "pair", fields)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name="camera")
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.lost(f"a screenshot failed: {error}")

    # -- what the person commands

    def suspend(self, cause: str, reason: str) -> None:
        """Stop recording from all sources in one step.

        Args:
            cause: "pause", "lock", … as in the gap row. reason: a sentence for the person.
        """
        self._desktop.flush()  # what happened before stands before the gap
        self._gate.suspend(self._now_ms(), cause, reason)
        self._leave_clipboard()
        self._shutter.blocked()
        self._forget_actions()
        self._arm_frame()
        # What was recorded until now need not wait for its age, and is in the hold-back, where it can be deleted.
        self._chunker.close_events()
        self._chunker.close_screens()
        self.told()

    def lift(self, cause: str) -> None:
        """Lift a cause, if it holds; when it was the last, recording goes on as the policy says."""
        if cause not in self._gate.suspended:
            return
        self._desktop.flush()  # what happened before stays out
        self._gate.lift(self._now_ms(), cause)
        if not self._gate.suspended:
            self._shutter.unblocked(time.monotonic_ns())
            self._arm_frame()
        self.told()

    def secret(self, active: bool) -> None:
        """Keep keys and frames out while a field for a secret has the focus.

        Args:
            active: whether such a field, or one that once was one, has the focus now.
        """
        if not active:
            self._desktop.flush()  # what was typed before stays out
        self._gate.secret(self._now_ms(), active)
        if active:
            self._desktop.flush()  # so does what was typed and not yet told
            self._leave_clipboard()
            self._shutter.blocked()
            self._forget_actions()
        elif not self._gate.suspended:
            self._shutter.unblocked(time.monotonic_ns())
        self._arm_frame()

    def _leave_clipboard(self) -> None:
        if self.clipboard is not None:
            self.clipboard.leave()

    def pause(self, duration: timedelta | None) -> None:
        """Pause for a time, or (None) until `resume`."""
        self._cancel_resume()
        reason = "you paused it" + ("" if duration is None else f" for {show_duration(duration)}")
        self.suspend("pause", reason)
        if duration is not None:
            loop = asyncio.get_running_loop()
            self.paused_until = time.monotonic() + duration.total_seconds()
            self._resume_timer = loop.call_later(duration.total_seconds(), self.resume)
        self._changed()

    def resume(self) -> None:
        """Go on after a pause."""
        self._cancel_resume()
        self.lift("pause")
        self._changed()

    def _cancel_resume(self) -> None:
        if self._resume_timer is not None:
            self._resume_timer.cancel()
            self._resume_timer = None
        self.paused_until = None

    @property
    def is_paused(self) -> bool:
        """Whether the person paused it."""
        return "pause" in self._gate.suspended

    def _now_ms(self) -> int:
        return self._desktop.server_ms(time.monotonic_ns())

    async def close(self) -> None:
        """Stop the sources, close what is open, and return when it is on the disk."""
        if self._resume_timer is not None:
            self._resume_timer.cancel()  # that it is paused, and until when, is for who comes next
        self._shutter.plan(None, on_focus=False)
        self._binder.plan(None)
        self._arm_frame()
        self._desktop.stop()
        if self.clipboard is not None:
            self.clipboard.end()
        self.stopped_ms = self._now_ms()
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._chunker.close_all()

    def discard_events(self) -> None:
        """Forget the open draft."""
        self._recorder.close(self._now_ms())
        self._chunker.tell_nothing()

    async def discard_open(self) -> None:
        """Forget what is open and in no chunk yet."""
        self.discard_events()
        if self._camera is not None:
            await self._camera.cut()
