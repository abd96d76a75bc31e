"""Pure: between the sources and the recorder: lets through what the policy allows, and marks what it does not.

Guarantees: while the focus is in a window that the policy denies, or recording is suspended (pause, lock, an
exemption), no pointer event, key or title reaches the recorder; when it ends, one gap row says how long and why, not
what happened there. While a secret is typed no key does, and those of the moment before it was noticed are taken back.
Of a window with other people's words neither words nor the classes of keys pass.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

from capture.policy import Policy
from codec.model import KeyClass, Scalar

if TYPE_CHECKING:
    from capture.recorder import Recorder
    from capture.sources.windows import Window

SECRET_NOTICED_MS = 2000
"""A password field's focus is told by the application, over a bus, after the fact: on a loaded machine this much later."""


class Gate:
    """The sources' sink for input and focus.

    State: the window in focus, the causes for which recording is suspended, when the present gap began and why, when the
    secret began that is being typed, which applications were recorded.

    Args:
        policy: decides by window.
        recorder: gets what passes.
        on_open: called when an event has opened a draft. on_full: called when the open draft has no more room.
    """

    def __init__(
        self, policy: Policy, recorder: Recorder, *, on_open: Callable[[], None], on_full: Callable[[], None]
    ) -> None:
        self._policy = policy
        self._recorder = recorder
        self._on_open = on_open
        self._on_full = on_full
        self._window: Window | None = None
        self._causes: list[str] = []
        self._gap: tuple[int, str] | None = None
        self._secret_ms: int | None = None
        self._seen: dict[str, tuple[str, ...]] = {}
        self.reasons: tuple[str, ...] = ()
        self.open = False
        self.words = False

    def pointer(self, t_ms: int, kind: int, x: int, y: int) -> bool:
        """Pass a pointer event on, if the gate is open; tell whether it is."""
        if not self.open:
            return False
        opens = self._recorder.opened_ms is None
        self._recorder.pointer(t_ms, kind, x, y)
        if opens:
            self._on_open()
        elif self._recorder.events >= self._recorder.limits.max_events:
            self._on_full()
        return True

    def key(self, t_ms: int, down: bool, code: int, slot: int) -> bool:
        """Pass a key event on, if the gate is open and nothing secret is typed; tell whether it was."""
        if not self.open or self._secret_ms is not None:
            return False
        opens = self._recorder.opened_ms is None
        self._recorder.key(t_ms, down, code if self.words else KeyClass.OTHER, slot)
        if opens:
            self._on_open()
        return True

    def focus(self, t_ms: int, window: Window | None) -> bool:
        """Another window has the focus, or its title changed; None: no window, or one that cannot be identified.

        Returns:
            Whether it may be recorded.
        """
        self._window = window
        self._judge(t_ms)
        if not self.open or window is None:
            return False
        self._seen[window.app] = self.reasons
        place = {"x": window.x, "y": window.y, "w": window.width, "h": window.height}
        fields: dict[str, Scalar] = {"app": window.app, "title": window.title, **place}
        return self.row(t_ms, "focus", fields, words=("title",), lasting=True)

    def row(
        self,
        t_ms: int,
        kind: str,
        fields: Mapping[str, Scalar],
        *,
        words: Collection[str] = (),
        lasting: bool = False,
    ) -> bool:
        """Pass a row on that tells of the window in focus, if the gate is open; tell whether it is.

        Args:
            t_ms, kind, fields, lasting: see Recorder.row.
            words: which of the fields hold words that stand on the screen (a title, the name of what was chosen): they
                are left out where the policy lets structure pass only, and while a secret is typed.
        """
        if not self.open:
            return False
        if not self.words or self._secret_ms is not None:
            fields = {name: value for name, value in fields.items() if name not in words}
        self._recorder.row(t_ms, kind, fields, lasting=lasting)
        self._on_open()
        return True

    def forget(self, kind: str) -> None:
        """Repeat a lasting row no more: it does not hold for the window in focus."""
        self._recorder.forget_context(kind)

    def secret(self, t_ms: int, active: bool) -> None:
        """A field for a secret (a password) has the focus, or has it no more.

        No key passes meanwhile and no frame is taken; when it ends, a gap row says how long it was.

        Args:
            t_ms: source clock, when it was noticed.
            active: whether such a field has the focus now. Saying the same again is harmless.
        """
        self._policy.secret = active
        if active and self._secret_ms is None:
            self._secret_ms = t_ms
            self._recorder.retract_keys(t_ms - SECRET_NOTICED_MS)
        elif not active and self._secret_ms is not None:
            began_ms, self._secret_ms = self._secret_ms, None
            self.row(t_ms, "gap", {"cause": "secret", "ms": max(0, t_ms - began_ms)})

    def take_seen(self) -> dict[str, tuple[str, ...]]:
        """Return the applications that were recorded since the last call, each with the rule that allowed it."""
        seen, window = self._seen, self._window
        self._seen = {} if not self.open or window is None else {window.app: self.reasons}
        return seen

    @property
    def is_secret(self) -> bool:
        """Whether a secret is being typed."""
        return self._secret_ms is not None

    def suspend(self, t_ms: int, cause: str, reason: str) -> None:
        """Close the gate for a cause until it is lifted.

        Args:
            t_ms: source clock.
            cause: one word, stands in the gap row: "pause", "lock", "sleep", "low-battery".
            reason: a sentence for the person.
        """
        self._policy.suspend(cause, reason)
        if cause not in self._causes:
            self._causes.append(cause)
        self._judge(t_ms)

    def begin(self) -> None:
        """What was before now is no gap: recording begins."""
        self._gap = None

    def lift(self, t_ms: int, cause: str) -> None:
        """Lift a cause; the gate opens if no other holds it and the policy allows the window in focus."""
        if cause in self._causes:
            self._causes.remove(cause)
            self._policy.lift(cause)
            self.focus(t_ms, self._window)

    @property
    def suspended(self) -> tuple[str, ...]:
        """The causes that hold the gate closed."""
        return tuple(self._causes)

    def _judge(self, t_ms: int) -> None:
        decision = self._policy.verdict(self._window)
        self.open, self.words, self.reasons = decision.value.events, decision.value.words, decision.reasons
        if not self.open:
            self._recorder.forget_context("focus")
            if self._gap is None:
                self._gap = (t_ms, self._causes[0] if self._causes else "scope")
        elif self._gap is not None:
            began_ms, cause = self._gap
            self._gap = None
            self._recorder.row(t_ms, "gap", {"cause": cause, "ms": max(0, t_ms - began_ms)})
