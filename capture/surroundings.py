"""Shell: what semantics and clipboard need of the agent: its gate, its policy, its clock."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from capture.clipboard import Clipboard, Source
from capture.labels import Copies
from capture.policy import is_browser
from capture.semantics import Semantics
from codec.model import Scalar

if TYPE_CHECKING:
    from capture.conductor import Conductor
    from capture.config import SemanticsSection
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
        self.desktop, self.policy, self.conductor, self._gate = desktop, policy, conductor, gate

    def row(self, kind: str, fields: Mapping[str, Scalar], *, lasting: bool = False) -> bool:
        """Pass a row on through the gate."""
        passed = self._gate.row(self.now_ms(), kind, fields, words=WORDS, lasting=lasting)
        self.conductor.counts["rows"] += passed
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
        return self.conductor.window

    def shows_sites(self, window: Window) -> bool:
        """Whether a window is judged by its site, and could be recorded if that is allowed."""
        if not is_browser(window.app) or self.policy.blocked():
            return False
        app, title = window.app.lower(), window.title.lower()
        return any(self.policy.decide(app, title, site).value.events for site in self.policy.rules.sites)

    def judge_again(self) -> None:
        """Judge the window in focus anew: its site is known now."""
        self.conductor.judge_again()

    def secret(self, active: bool) -> None:
        """A field for a secret has the focus, or has it no more."""
        self.conductor.secret(active)

    def flush(self) -> None:
        """Have all input until now told."""
        self.desktop.flush()

    def now_ms(self) -> int:
        """The source clock."""
        return self.at_ms(time.monotonic_ns())

    def at_ms(self, mono_ns: int) -> int:
        """The source clock at a reading of the monotonic clock."""
        return self.desktop.server_ms(mono_ns)


def semantics_of(section: SemanticsSection, key: bytes, around: AgentSurroundings) -> Semantics | None:
    """Make what tells of choices, elements and the clipboard as the configuration wants it, and let the agent's parts know it.

    Args:
        section: of the configuration. key: of digests. around: the agent.

    Returns:
        What is to be started; None: nothing is wanted.
    """
    if not section.enabled:
        return None
    semantics = Semantics(around, labels=section.labels, key=key)
    around.conductor.semantics = semantics
    around.policy.site_of = semantics.site_of
    if section.clipboard is not Copies.OFF and isinstance(around.desktop, Source):
        around.conductor.clipboard = Clipboard(around, around.desktop, detail=section.clipboard, key=key)
    return semantics
