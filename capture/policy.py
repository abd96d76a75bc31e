"""Pure: what may be recorded: which windows' input and which pixels, with the reason for each.

Guarantees: nothing before consent, while paused, or from a window that no rule allows; what is never recorded
(`capture/denied.py`, the catalogue's denied groups), and what a deny rule names, stays out whatever an allow rule says;
a browser's window is judged by its site as well, and one whose site is not known stays out; mail and chat give
structure and timing only; where a visible window cannot be identified, or a secret is being typed, there is no picture
at all. A menu, tooltip or dialogue without a class of its own is judged as the window it belongs to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from typing import Protocol

from capture.decision import Decision
from capture.denied import BROWSERS, DENIED, PRIVATE_TITLES
from capture.mask import Mask, Patch
from capture.sites import host_of, names

MAX_REMEMBERED = 512
"""Verdicts kept by (app, title, site), so that a mask needs no pattern matching."""
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
        events: input and focus while it has the focus. pixels: its picture.
        words: its title, the names of what is chosen in it, and the classes of keys; without them only that something
            was done, where and when.
    """

    events: bool
    pixels: bool
    words: bool

    def __and__(self, other: Verdict) -> Verdict:
        """Return what both let pass."""
        return Verdict(self.events and other.events, self.pixels and other.pixels, self.words and other.words)


NOTHING = Verdict(events=False, pixels=False, words=False)
STRUCTURE = Verdict(events=True, pixels=False, words=False)
EVERYTHING = Verdict(events=True, pixels=True, words=True)

SiteOf = Callable[[Window], str | None]
"""Tells the host of the document that a browser's window shows with its present title; None: not known for certain."""


def no_site(window: Window) -> str | None:
    """Know no window's site."""
    return None


@dataclass(frozen=True, slots=True)
class Rules:
    """What the person and their configuration say; groups of the catalogue stand here as their members.

    Attributes:
        allow, deny: patterns of window classes, lower case, `*` and `?` as in file names. Deny wins.
        show_desktop: whether pixels that no window covers may be seen.
        sites, deny_sites: hosts (capture.sites.pattern_of), with all below them. Deny wins.
        correspondence, correspondence_sites: where other people's words are shown: of these, structure only.
        content: patterns of window classes and hosts among these of which everything is recorded even so.
        never, never_sites: by reason, what stays out besides `capture/denied.py`.
    """

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    show_desktop: bool = False
    sites: tuple[str, ...] = ()
    deny_sites: tuple[str, ...] = ()
    correspondence: tuple[str, ...] = ()
    correspondence_sites: tuple[str, ...] = ()
    content: tuple[str, ...] = ()
    never: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    never_sites: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Policy:
    """Judges windows.

    State: whether there is consent, the causes of suspension (pause, lock, an exemption), whether a secret is being
    typed, remembered verdicts.
    """

    def __init__(self, rules: Rules, *, consented: bool, site_of: SiteOf = no_site) -> None:
        """Make a policy.

        Args:
            rules: see there. consented: the person has accepted the notice that these rules make.
            site_of: see SiteOf.
        """
        self.rules = rules
        self.consented = consented
        self.site_of = site_of
        self.secret = False
        self._suspended: dict[str, str] = {}
        self._allow = _compile(rules.allow)
        self._deny = _compile(rules.deny)
        self._hard = [(reason, _compile(patterns)) for reason, patterns in (*DENIED.items(), *rules.never.items())]
        self._correspondence = _compile(rules.correspondence)
        self._content = _compile(rules.content)
        self._remembered: dict[tuple[str, str, str | None], Decision[Verdict]] = {}

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
        return self._judge(window, self._site(window, {}))

    def _site(self, window: Window, by_id: Mapping[int, Window]) -> str | None:
        """Return the host that a browser's window shows; that of the window it belongs to where it has none."""
        current: Window | None = window
        for _ in range(MAX_OWNERS):
            if current is None or not is_browser(current.app or window.app):
                return None
            site = self.site_of(current)
            if site is not None:
                return host_of(site)
            current = by_id.get(current.owner) if current.owner else None
        return None

    def _judge(self, window: Window, site: str | None) -> Decision[Verdict]:
        key = (window.app, window.title, site)
        decision = self._remembered.get(key)
        if decision is None:
            if len(self._remembered) >= MAX_REMEMBERED:
                self._remembered.clear()
            decision = self._remembered[key] = self.decide(window.app.lower(), window.title.lower(), site)
        return decision

    def decide(self, app: str, title: str, site: str | None) -> Decision[Verdict]:
        """Judge by names alone, whatever suspends recording at the moment.

        Args:
            app, title: lower case. site: of a browser's window, as `capture.sites.host_of` returns it; None = unknown.
        """
        if not app:
            return Decision(NOTHING, ("the window does not say which application it belongs to",))
        for reason, pattern in self._hard:
            if _matches(pattern, app):
                return Decision(NOTHING, (f"{app} is never recorded: {reason}",))
        browser = is_browser(app)
        if browser and any(marker in title for marker in PRIVATE_TITLES):
            return Decision(NOTHING, (f"{app} is never recorded in private browsing",))
        if _matches(self._deny, app):
            return Decision(NOTHING, (f"{app} is denied by scope.deny",))
        if not _matches(self._allow, app):
            return Decision(NOTHING, (f"{app} is not in scope.allow",))
        if browser:
            return self._decide_site(app, site)
        if _matches(self._correspondence, app) and not _matches(self._content, app):
            return Decision(STRUCTURE, (f"{app} is allowed by scope.allow", f"{app} shows other people's words"))
        return Decision(EVERYTHING, (f"{app} is allowed by scope.allow",))

    def _decide_site(self, app: str, site: str | None) -> Decision[Verdict]:
        rules = self.rules
        if site is None:
            return Decision(NOTHING, (f"{app} is a browser, and which site it shows is not known",))
        for reason, patterns in rules.never_sites.items():
            if names(patterns, site):
                return Decision(NOTHING, (f"{site} is never recorded: {reason}",))
        denied = names(rules.deny_sites, site)
        if denied:
            return Decision(NOTHING, (f"{site} is denied by scope.deny_sites ({denied})",))
        allowed = names(rules.sites, site)
        if not allowed:
            return Decision(NOTHING, (f"{site} is not in scope.sites",))
        why = f"{site} is allowed by scope.sites ({allowed})"
        if names(rules.correspondence_sites, site) and not names(rules.content, site):
            return Decision(STRUCTURE, (why, f"{site} shows other people's words"))
        return Decision(EVERYTHING, (why,))

    def mask(self, windows: Sequence[Window], width: int, height: int) -> Mask | None:
        """Return which pixels must not be seen.

        Args:
            windows: the visible ones, bottom to top.
            width, height: of the display, px.

        Returns:
            None: no picture may be taken, since a window is unknown, nothing may be recorded, or nothing of it might be
            seen.
        """
        if self.secret or self.blocked() or width < 1 or height < 1:
            return None
        by_id = {window.id: window for window in windows}
        patches = []
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
                patches.append(Patch(left, top, right, bottom, hide=True))
            elif window.opaque:
                patches.append(Patch(left, top, right, bottom, hide=False))
                shown = True
            # What shines through an allowed window stays as hidden, or as visible, as it was.
        return Mask(width, height, not self.rules.show_desktop, tuple(patches)) if shown else None

    def _judge_owned(self, window: Window, by_id: Mapping[int, Window]) -> Verdict | None:
        """Return the verdict on a window by itself and by all that it belongs to; None: it is not identified."""
        if window.override_redirect and not self._all_shown(window, by_id):
            return NOTHING
        judged = None
        current: Window | None = window
        for _ in range(MAX_OWNERS):
            if current is None:
                return judged
            if current.app:
                verdict = self._judge(current, self._site(current, by_id)).value
                if not verdict.pixels:
                    return verdict
                judged = verdict
            if not current.owner or current.owner == current.id:
                return judged
            current = by_id.get(current.owner)
        return None

    def _all_shown(self, menu: Window, by_id: Mapping[int, Window]) -> bool:
        """Tell whether every window of a menu's application may be seen.

        Whose menu is it? What its owner is said to be is often only the application's topmost window; perhaps it is
        that of the private window, or of the other site, beside the ordinary one.
        """
        owner = by_id.get(menu.owner)
        apps = {menu.app, owner.app if owner else ""} - {""}
        return all(
            self._judge(other, self._site(other, by_id)).value.pixels for other in by_id.values() if other.app in apps
        )


def _compile(patterns: Sequence[str]) -> re.Pattern[str] | None:
    if not patterns:
        return None
    return re.compile("|".join(f"(?:{translate(pattern.lower())})" for pattern in patterns))


def _matches(pattern: re.Pattern[str] | None, app: str) -> bool:
    return pattern is not None and pattern.match(app) is not None


_BROWSERS = _compile(BROWSERS)


def is_browser(app: str) -> bool:
    """Tell whether an application shows web sites, and is judged by them."""
    return _matches(_BROWSERS, app.lower())
