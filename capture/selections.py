"""Pure: what was chosen: from what an application tells of its menus, lists and boxes, and the input that made it.

Toolkits tell it differently, and none tells whether a menu was left with or without a choice (measured with GTK 3,
LibreOffice, Chromium and Firefox):

- GTK: `selected` follows the pointer and the arrows through a menu, and falls when the menu closes, for whatever reason;
- Chromium: `expanded` falls when a dropdown closes; the chosen option is `selected` after that, unless it was so before;
- Firefox: focus follows the pointer; when a dropdown closes, the focus goes back to it, and `selected` tells what changed;
- boxes tell `checked`, also when a program or a caret's move changes them.

So whatever looks like the end of a choice is looked at SETTLE_MS later, together with the press, release or key that came
just before it: with Return, or with a button let go over what was highlighted, it was chosen; else it was given up. What
nobody's input caused is told as nothing.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass

from capture.sources.a11y import Found, Kind, Signal

SETTLE_MS = 80
"""Applications tell all that a choice changes within some 20 ms."""
CAUSE_MS = 1500
"""How long before an end its cause may be: a busy application takes so long to close a menu."""
LEAVE_MS = 300
"""A highlight that falls without any input for so long fell because the pointer left the menu."""
SLACK_MS = 3
"""Two clocks' rounding."""

MAX_SIGNALS, MAX_INPUTS, MAX_KNOWN = 256, 64, 256

MENU_ITEMS = frozenset({"menu item", "check menu item", "radio menu item", "tearoff menu item"})
ROWS = frozenset({"list item", "table cell", "table row", "tree item", "icon", "page tab"})
CHOICES = MENU_ITEMS | ROWS
BOXES = frozenset({"check box", "radio button", "toggle button", "switch", "check menu item", "radio menu item"})
ONE_OF_MANY = frozenset({"radio button", "radio menu item"})
COMMITTING_KEYS = frozenset({"Return", "space", ""})
"""Keys that choose what is highlighted; "" is one that makes text (a menu's mnemonic)."""
HIGHLIGHTS = (Kind.SELECTED, Kind.FOCUSED, Kind.DESCENDANT)


@dataclass(frozen=True, slots=True)
class Input:
    """What the person did.

    Attributes:
        t_ms: source clock. kind: "press", "release" or "key". x, y: px, of the first two.
        name: a key's name where it makes no text ("Return", "Escape", "Down", "Ctrl+Tab"), "" of one that does.
    """

    t_ms: int
    kind: str
    x: int = 0
    y: int = 0
    name: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen or given up.

    Attributes:
        found: what. committed: chosen. checked: a box's state afterwards, None for what is no box.
        cause: the input that did it; None: none that is known.
        t_ms: the cause's time, or else the end's.
    """

    found: Found
    committed: bool
    checked: bool | None
    cause: Input | None
    t_ms: int


@dataclass(frozen=True, slots=True)
class _Told:
    t_ms: int
    kind: Kind
    path: str
    on: bool


class Selections:
    """Follows one application at a time.

    State: the latest signals and inputs, what is known of the objects in them, which highlights stand, when the choice under
    way began, and what is to be looked at when.
    """

    def __init__(self) -> None:
        self._inputs: deque[Input] = deque(maxlen=MAX_INPUTS)
        self.reset()

    def reset(self) -> None:
        """Forget the application (another has the focus)."""
        self._told: deque[_Told] = deque(maxlen=MAX_SIGNALS)
        self._known: OrderedDict[str, Found] = OrderedDict()
        self._lit: dict[str, int] = {}
        self._began_ms: int | None = None
        self._ends: list[_Told] = []
        self._changes: list[_Told] = []
        self._due_ms: int | None = None

    def input(self, done: Input) -> None:
        """Note an input; they come in order, and may come later than what they caused."""
        self._inputs.append(done)

    def signal(self, t_ms: int, signal: Signal) -> str | None:
        """Take what the application told.

        Args:
            t_ms: when, source clock.

        Returns:
            The path of an object that must be looked up, None when nothing must.
        """
        told = _Told(t_ms, signal.kind, signal.child or signal.path, signal.on)
        self._told.append(told)
        match signal.kind:
            case Kind.SELECTED if signal.on:
                self._lit[told.path] = t_ms
                self._open(t_ms)
                self._changes.append(told)
                self._arm(t_ms)
                return told.path
            case Kind.SELECTED:
                was_lit = self._lit.pop(told.path, None) is not None
                if was_lit and not self._lit:
                    self._end(told)
            case Kind.EXPANDED:
                if signal.on:
                    self._began_ms = t_ms  # whatever was under way and did not end is not what ends next
                else:
                    self._end(told)
            case Kind.FOCUSED if signal.on:
                self._end(told)  # if it turns out to be a place outside of what is chosen from
                return told.path
            case Kind.DESCENDANT:
                self._open(t_ms)
                return told.path
            case Kind.CHECKED:
                self._changes.append(told)
                self._arm(t_ms)
                return told.path
            case Kind.DESTROY:
                self._end(told)
        return None

    def found(self, found: Found) -> None:
        """Take what a lookup found. What was known of a place while it could be seen is kept."""
        before = self._known.pop(found.path, None)
        same = before is not None and (before.role, before.name) == (found.role, found.name)  # paths are used again
        if same and before is not None and before.bounds is not None and found.bounds is None:
            found = before
        self._known[found.path] = found
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)

    def due_ms(self) -> int | None:
        """Return when to call `resolve` (source clock), with all inputs until then told; None: nothing is to be looked at."""
        return self._due_ms

    def _open(self, t_ms: int) -> None:
        if self._began_ms is None:
            self._began_ms = t_ms

    def _end(self, told: _Told) -> None:
        if self._began_ms is not None:
            self._ends.append(told)
            self._arm(told.t_ms)

    def _arm(self, t_ms: int) -> None:
        if self._due_ms is None:
            self._due_ms = t_ms + SETTLE_MS

    # -- what it was

    def resolve(self) -> list[Choice]:
        """Return what was chosen or given up, by what is known now."""
        self._due_ms = None
        ends, self._ends = self._ends, []
        changes, self._changes = self._changes, []
        choices: list[Choice] = []
        for end in ends:
            choice, ended = self._ended(end)
            if ended:
                self._began_ms = None
                self._lit.clear()
                if choice is not None:
                    choices.append(self._with_check(choice, changes))
                break
        popped = {choice.found.path for choice in choices}
        chosen = choices[0].t_ms if choices else None
        for change in changes:
            if change.path not in popped and (found := self._known.get(change.path)) is not None:
                made = self._changed(change, found)
                if made is not None and not (change.kind is Kind.SELECTED and made.t_ms == chosen):
                    popped.add(change.path)
                    choices.append(made)
        return choices

    def is_open_at(self, t_ms: int) -> bool:
        """Tell whether a choice was under way at a time, as far as it is known."""
        return self._began_ms is not None and self._began_ms <= t_ms

    def lit_at(self, t_ms: int, x: int, y: int) -> Found | None:
        """Return what was highlighted, or got the highlight or the focus, at a press at a point."""
        for told in reversed(self._told):
            if told.kind in HIGHLIGHTS and told.on and t_ms - CAUSE_MS * 4 < told.t_ms <= t_ms + LEAVE_MS:
                found = self._known.get(told.path)
                if found is not None and found.has(x, y) and self._stood(told, t_ms):
                    return found
        return None

    def _stood(self, told: _Told, t_ms: int) -> bool:
        """Tell whether a highlight had not fallen before a time."""
        return not any(
            one.path == told.path and one.kind is told.kind and not one.on and told.t_ms <= one.t_ms < t_ms
            for one in self._told
        )

    def _ended(self, end: _Told) -> tuple[Choice | None, bool]:
        """Say what an end ended; whether it was one at all."""
        began_ms = self._began_ms
        if began_ms is None:
            return None, False
        if end.kind is Kind.SELECTED and self._lit:
            return None, False  # the highlight only went on
        if end.kind is Kind.FOCUSED:
            found = self._known.get(end.path)
            if found is None or found.role in CHOICES or found.role == "menu":
                return None, False
        cause = self._cause(end.t_ms)
        if cause is not None and cause.t_ms < began_ms and end.kind is not Kind.EXPANDED:
            # The click that opened it: its release counts only over something highlighted, as in press, drag, release.
            cause = None
        within_ms = LEAVE_MS if end.kind is Kind.SELECTED else CAUSE_MS
        if cause is None or end.t_ms - cause.t_ms > within_ms:
            return None, end.kind is Kind.EXPANDED
        pressed = self._press_of(cause)
        chosen = self._selected_after(cause.t_ms)
        lit = self._lit_until(end, cause)
        opening = cause.kind == "release" and pressed is not None and pressed.t_ms <= began_ms + SLACK_MS
        if opening and chosen is None and not (lit is not None and lit.has(cause.x, cause.y)):
            return None, False
        if chosen is not None:
            return Choice(chosen, True, None, cause, cause.t_ms), True
        if lit is None:
            return None, True
        committed = cause.name in COMMITTING_KEYS if cause.kind == "key" else lit.has(cause.x, cause.y)
        return Choice(lit, committed, None, cause, cause.t_ms), True

    def _cause(self, t_ms: int) -> Input | None:
        """Return the last input before an end."""
        return next((one for one in reversed(self._inputs) if one.t_ms <= t_ms + SLACK_MS), None)

    def _press_of(self, cause: Input) -> Input | None:
        if cause.kind != "release":
            return None
        return next((one for one in reversed(self._inputs) if one.kind == "press" and one.t_ms <= cause.t_ms), None)

    def _selected_after(self, t_ms: int) -> Found | None:
        """Return the choice that an application tells after its dropdown has closed."""
        fallen: set[str] = set()
        for told in reversed(self._told):
            if told.t_ms < t_ms:
                break
            if told.kind is Kind.SELECTED:
                if not told.on:
                    fallen.add(told.path)
                elif told.path not in fallen:
                    found = self._known.get(told.path)
                    if found is not None and found.role in CHOICES:
                        return found
        return None

    def _lit_until(self, end: _Told, cause: Input) -> Found | None:
        """Return what was highlighted until a cause ended it."""
        opened_ms = self._opened_ms()
        for told in reversed(self._told):
            if told.t_ms > end.t_ms or told.kind not in HIGHLIGHTS or not told.on or told is end:
                continue
            if told.t_ms < opened_ms:
                return None
            found = self._known.get(told.path)
            if found is None or (told.kind is Kind.FOCUSED and found.role not in CHOICES):
                continue
            if found.role == "menu":
                if self._stood(told, cause.t_ms) and not self._had_children_lit(told, cause):
                    return None
                continue
            if found.role in CHOICES and self._stood(told, cause.t_ms):
                return found
        return None

    def _opened_ms(self) -> int:
        """Return from when on highlights belong to the choice under way.

        Firefox tells what is highlighted first and that the dropdown is open up to some 20 ms later: the input that opened it
        came before both.
        """
        if self._began_ms is None:
            return 0
        before = (one for one in reversed(self._inputs) if one.kind != "release" and one.t_ms <= self._began_ms)
        opener = next(before, None)
        near = opener is not None and self._began_ms - opener.t_ms <= CAUSE_MS
        return (opener.t_ms if opener is not None and near else self._began_ms) - SLACK_MS

    def _had_children_lit(self, menu: _Told, cause: Input) -> bool:
        """Tell whether something in a menu was highlighted until a cause."""
        return any(
            one.kind in HIGHLIGHTS
            and one.on
            and (found := self._known.get(one.path)) is not None
            and found.parent == menu.path
            and self._stood(one, cause.t_ms)
            for one in self._told
        )

    def _with_check(self, choice: Choice, changes: list[_Told]) -> Choice:
        state = next((one.on for one in changes if one.kind is Kind.CHECKED and one.path == choice.found.path), None)
        if state is None or not choice.committed:
            return choice
        return Choice(choice.found, choice.committed, state, choice.cause, choice.t_ms)

    def _changed(self, change: _Told, found: Found) -> Choice | None:
        """Say whether the person's input changed a box, or chose a row or a tab."""
        boxes = change.kind is Kind.CHECKED
        if boxes:
            if found.role not in BOXES - MENU_ITEMS or (found.role in ONE_OF_MANY and not change.on):
                return None
            if found.role == "toggle button" and found.container == "combo box":
                return None  # the arrow of a dropdown
        elif found.role not in ROWS or not change.on:
            return None
        cause = self._cause(change.t_ms)
        if cause is None or change.t_ms - cause.t_ms > CAUSE_MS:
            return None
        if cause.kind == "key":
            if boxes and cause.name not in ("Return", "space", "Up", "Down", "Left", "Right", ""):
                return None
            if not self._has_focus(found, change):
                return None
        else:
            pressed = self._press_of(cause)
            hit = found.has(cause.x, cause.y) and (pressed is None or found.has(pressed.x, pressed.y))
            # A click on a label gives its box the focus.
            if not hit and not self._focused_since(found, pressed or cause, change):
                return None
        return Choice(found, True, change.on if boxes else None, cause, cause.t_ms)

    def _has_focus(self, found: Found, change: _Told) -> bool:
        for told in reversed(self._told):
            if told.kind is Kind.FOCUSED and told.on and told.t_ms <= change.t_ms + SETTLE_MS:
                return told.path in (found.path, found.parent)
        return False

    def _focused_since(self, found: Found, since: Input, change: _Told) -> bool:
        return any(
            told.kind is Kind.FOCUSED and told.on and told.path == found.path and since.t_ms <= told.t_ms + SLACK_MS
            for told in self._told
            if told.t_ms <= change.t_ms + SETTLE_MS
        )

    def known(self) -> Iterator[Found]:
        """Yield what is known, the latest first."""
        yield from reversed(self._known.values())
