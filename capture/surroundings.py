"""Shell: what semantics and clipboard need of the agent: its gate, its policy, its clock; no decisions of its own."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from capture.policy import is_browser
from codec.model import Scalar

if TYPE_CHECKING:
    from capture.conductor import Conductor
    from capture.gate import Gate
    from capture.policy import Policy
    from capture.sources.desktop import Desktop
    from capture.sources.portable import PortableDesktop
    from capture.sources.windows import Window

WORDS = ("name", "digest", "host")
"""Fields that hold what stands on the screen (Gate.row)."""


class AgentSurroundings:
    """See capture.semantics.Surroundings and capture.clipboard.Surroundings.

    Args:
        desktop, gate, policy, conductor: the agent's.
    """

    def __init__(self, desktop: Desktop | PortableDesktop, *, gate: Gate, policy: Policy, conductor: Conductor) -> None:
        self._desktop, self._gate, self._policy, self._conductor = desktop, gate, policy, conductor

    def row(self, kind: str, fields: Mapping[str, Scalar], *, lasting: bool = False) -> bool:
        """Pass a row on through the gate."""
        passed = self._gate.row(self.now_ms(), kind, fields, words=WORDS, lasting=lasting)
        self._conductor.counts["rows"] += passed
        return passed

    def forget(self, kind: str) -> None:
        """Repeat no more a lasting row."""
        self._gate.forget(kind)

    def is_open(self) -> bool:
        """Whether the window in focus may be recorded now, and no secret is being typed."""
        return self._gate.open and not self._gate.is_secret

    def has_words(self) -> bool:
        """Whether the words of the window in focus may be recorded now."""
        return self._gate.open and self._gate.words and not self._gate.is_secret

    def focused(self) -> Window | None:
        """The window in focus."""
        return self._conductor.window

    def shows_sites(self, window: Window) -> bool:
        """Whether a window is judged by its site, and could be recorded if that is allowed."""
        if not is_browser(window.app) or self._policy.blocked():
            return False
        app, title = window.app.lower(), window.title.lower()
        return any(self._policy.decide(app, title, site).value.events for site in self._policy.rules.sites)

    def judge_again(self) -> None:
        """Judge the window in focus anew: its site is known now."""
        self._conductor.judge_again()

    def secret(self, active: bool) -> None:
        """A field for a secret has the focus, or has it no more."""
        self._conductor.secret(active)

    def flush(self) -> None:
        """Have all input until now told."""
        self._desktop.flush()

    def now_ms(self) -> int:
        """The source clock."""
        return self.at_ms(time.monotonic_ns())

    def at_ms(self, mono_ns: int) -> int:
        """The source clock at a reading of the monotonic clock."""
        return self._desktop.server_ms(mono_ns)
