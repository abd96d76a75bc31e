"""Pure: what may be recorded: which windows' input and which pixels, with the reason for each.

Guarantees: nothing before consent, while paused, or from a window that no rule allows; what `capture/denied.py` names,
and what a deny rule names, stays out whatever an allow rule says; where a visible window cannot be identified, there is
no picture at all. A menu, tooltip or dialogue without a class of its own is judged as the window it belongs to.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import translate
from typing import Protocol

import numpy as np
import numpy.typing as npt

from capture.decision import Decision
from capture.denied import BROWSERS, DENIED, PRIVATE_TITLES

Mask = npt.NDArray[np.bool_]

MAX_REMEMBERED = 512
"""Verdicts kept by (app, title), so that a mask needs no pattern matching."""
MAX_OWNERS = 8
"""Windows that own each other in a longer chain than this, or in a circle, are not identified."""


class Window(Protocol):
    """What the policy must know of a window (capture/sources/windows.py).

    Attributes:
        id: its id. app: its class in lower case, "" = unknown. title: its title.
        x, y, width, height: its outer rectangle, px.
        override_redirect: a menu, tooltip or the like. owner: the window it belongs to, 0 = none or unknown.
        opaque: False when what lies below may shine through.
    """

    @property
    def id(self) -> int: ...
    @property
    def app(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def x(self) -> int: ...
    @property
    def y(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def override_redirect(self) -> bool: ...
    @property
    def owner(self) -> int: ...
    @property
    def opaque(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """What may be kept of a window.

    Attributes:
        events: input, focus and title while it has the focus. pixels: its picture.
    """

    events: bool
    pixels: bool


NOTHING = Verdict(events=False, pixels=False)
EVERYTHING = Verdict(events=True, pixels=True)


@dataclass(frozen=True, slots=True)
class Rules:
    """What the person and their configuration say.

    Attributes:
        allow, deny: patterns of window classes, lower case, `*` and `?` as in file names. Deny wins.
        show_desktop: whether pixels that no window covers may be seen.
    """

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    show_desktop: bool = False


class Policy:
    """Judges windows.

    State: whether there is consent, the causes of suspension (pause, lock, an exemption), remembered verdicts.
    """

    def __init__(self, rules: Rules, *, consented: bool) -> None:
        """Make a policy.

        Args:
            rules: see there. consented: the person has accepted the notice that these rules make.
        """
        self.rules = rules
        self.consented = consented
        self._suspended: dict[str, str] = {}
        self._allow = _compile(rules.allow)
        self._deny = _compile(rules.deny)
        self._hard = [(reason, _compile(patterns)) for reason, patterns in DENIED.items()]
        self._browsers = _compile(BROWSERS)
        self._remembered: dict[tuple[str, str], Decision[Verdict]] = {}

    def suspend(self, cause: str, reason: str) -> None:
        """Record nothing until the cause is lifted: "pause", "lock", "exemption", …"""
        self._suspended[cause] = reason

    def lift(self, cause: str) -> None:
        """Lift a cause; unknown ones are ignored."""
        self._suspended.pop(cause, None)

    def blocked(self) -> tuple[str, ...]:
        """Return why nothing at all may be recorded; empty when windows decide."""
        if not self.consented:
            return ("there is no consent",)
        return tuple(self._suspended.values())

    def verdict(self, window: Window | None) -> Decision[Verdict]:
        """Judge the window in focus.

        Args:
            window: None when no window has the focus, or it cannot be told which.
        """
        blocked = self.blocked()
        if blocked:
            return Decision(NOTHING, blocked)
        if window is None:
            return Decision(NOTHING, ("no known window has the focus",))
        return self._judge(window.app, window.title)

    def _judge(self, app: str, title: str) -> Decision[Verdict]:
        key = (app, title)
        decision = self._remembered.get(key)
        if decision is None:
            if len(self._remembered) >= MAX_REMEMBERED:
                self._remembered.clear()
            decision = self._remembered[key] = self._decide(app.lower(), title.lower())
        return decision

    def _decide(self, app: str, title: str) -> Decision[Verdict]:
        if not app:
            return Decision(NOTHING, ("the window does not say which application it belongs to",))
        for reason, pattern in self._hard:
            if _matches(pattern, app):
                return Decision(NOTHING, (f"{app} is never recorded: {reason}",))
        if _matches(self._browsers, app):
            marker = next((marker for marker in PRIVATE_TITLES if marker in title), None)
            if marker is not None:
                return Decision(NOTHING, (f"{app} is never recorded in private browsing",))
        if _matches(self._deny, app):
            return Decision(NOTHING, (f"{app} is denied by scope.deny",))
        if _matches(self._allow, app):
            return Decision(EVERYTHING, (f"{app} is allowed by scope.allow",))
        return Decision(NOTHING, (f"{app} is not in scope.allow",))

    def mask(self, windows: Sequence[Window], width: int, height: int) -> Mask | None:
        """Return which pixels must not be seen.

        Args:
            windows: the visible ones, bottom to top.
            width, height: of the display, px.

        Returns:
            bool (height, width), True = hide; or None: no picture may be taken, since a window is unknown, nothing may
            be recorded, or nothing of it might be seen.
        """
        if self.blocked() or width < 1 or height < 1:
            return None
        by_id = {window.id: window for window in windows}
        hide = np.full((height, width), not self.rules.show_desktop, np.bool_)
        shown = self.rules.show_desktop
        for window in windows:
            left, top = max(0, window.x), max(0, window.y)
            right, bottom = min(width, window.x + window.width), min(height, window.y + window.height)
            if right <= left or bottom <= top:
                continue
            judged = self._judge_owned(window, by_id)
            if judged is None:
                return None
            if not judged.pixels:
                hide[top:bottom, left:right] = True
            elif window.opaque:
                hide[top:bottom, left:right] = False
                shown = True
            # What shines through an allowed window stays as hidden, or as visible, as it was.
        return hide if shown else None

    def _judge_owned(self, window: Window, by_id: dict[int, Window]) -> Verdict | None:
        """Return the verdict on a window by itself and by all that it belongs to; None: it is not identified."""
        if window.override_redirect and not window.owner:
            # Whose menu is it? Perhaps that of the private window beside the ordinary one: then not.
            for other in by_id.values():
                if other.app == window.app and not self._judge(other.app, other.title).value.pixels:
                    return NOTHING
        judged = None
        current: Window | None = window
        for _ in range(MAX_OWNERS):
            if current is None:
                return judged
            if current.app:
                verdict = self._judge(current.app, current.title).value
                if not verdict.pixels:
                    return verdict
                judged = verdict
            if not current.owner or current.owner == current.id:
                return judged
            current = by_id.get(current.owner)
        return None


def _compile(patterns: Sequence[str]) -> re.Pattern[str] | None:
    if not patterns:
        return None
    return re.compile("|".join(f"(?:{translate(pattern.lower())})" for pattern in patterns))


def _matches(pattern: re.Pattern[str] | None, app: str) -> bool:
    return pattern is not None and pattern.match(app) is not None
