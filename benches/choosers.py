"""Shell: scripted choices in real applications, with the truth of each: menus, dropdowns, boxes, and plain clicks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from benches.display import Display
from benches.interface import CHECKED, SELECTED, Interface, Reference, Thing
from benches.site import Site

Box = tuple[int, int, int, int]
ITEMS = ("menu item", "check menu item", "radio menu item")
OPENS_S = 5.0
BUSY_S = 40.0
"""An office suite on a busy machine is busy with itself for so long after its window has come."""
MAX_STEPS = 40
MAX_DIALOGS = 3


@dataclass(frozen=True, slots=True)
class Chosen:
    """A choice that was made or given up.

    Attributes:
        app: whose. how: "click", "keys", "escape", or "leave" (opened and left alone). role, label, index: what, as the application has it.
        committed: chosen. checked: a box's state afterwards, None for what is no box.
        began_ms, ended_ms: the monotonic clock around it.
    """

    app: str
    how: str
    role: str
    label: str
    index: int
    committed: bool
    checked: bool | None
    began_ms: float
    ended_ms: float


@dataclass(frozen=True, slots=True)
class Clicked:
    """A click and what lay under it. Attributes: t_ms: the monotonic clock just before the press."""

    app: str
    t_ms: float
    role: str


@dataclass(slots=True)
class Script:
    """What was done, and what could not be."""

    choices: list[Chosen] = field(default_factory=list)
    clicks: list[Clicked] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


class Fingers:
    """A quick, steady person at a display.

    Args:
        display: a connection of its own. rng: of pauses. script: where clicks are noted.
    """

    def __init__(self, display: Display, rng: Random, script: Script) -> None:
        self._display, self._rng, self._script = display, rng, script
        self._at = display.pointer()

    def move(self, x: int, y: int) -> None:
        """Move there in some steps."""
        from_x, from_y = self._at
        for step in range(1, 11):
            self._display.move(from_x + (x - from_x) * step // 10, from_y + (y - from_y) * step // 10)
            time.sleep(0.008)
        self._at = (x, y)

    def click(self, point: tuple[int, int], app: str, role: str) -> None:
        """Click on something; role "": what lies there is not scored."""
        self.move(*point)
        time.sleep(self._rng.uniform(0.06, 0.14))
        if role:
            self._script.clicks.append(Clicked(app, now_ms(), role))
        self._display.button(1, down=True)
        time.sleep(self._rng.uniform(0.05, 0.1))
        self._display.button(1, down=False)

    def press(self, name: str) -> None:
        """Press a key."""
        code, _ = self._display.find_key(name)
        self._display.key(code, down=True)
        time.sleep(self._rng.uniform(0.03, 0.06))
        self._display.key(code, down=False)
        time.sleep(self._rng.uniform(0.06, 0.1))

    def dismiss(self, app: str) -> None:
        """Close with Escape what an application has opened over its window (a message, a dialog)."""
        for _ in range(MAX_DIALOGS):
            active = self._display.active()
            front = next((one for one in self._display.windows() if one.id == active), None)
            if front is None or front.app.lower() == app:
                return
            self.press("Escape")
            until(lambda before=active: self._display.active() != before, within_s=2)  # type: ignore[misc]
            self.pause()

    def pause(self) -> None:
        """Look for a moment."""
        time.sleep(self._rng.uniform(0.25, 0.45))


def now_ms() -> float:
    """Return the monotonic clock, which is the X server's as well."""
    return time.monotonic_ns() / 1e6


def until(true: Callable[[], bool], *, within_s: float = OPENS_S) -> bool:
    """Wait for something; tell whether it came."""
    end = time.monotonic() + within_s
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.03)
    return True


class Menus:
    """Chooses in the menu bar of an application (GTK, LibreOffice).

    Args:
        app: its window class in lower case. root: its accessible object. safe: items that do no harm, by menu.
    """

    def __init__(
        self, app: str, root: Reference, safe: dict[str, tuple[str, ...]], *, interface: Interface, fingers: Fingers
    ) -> None:
        self.app, self._safe, self._interface, self._fingers = app, safe, interface, fingers
        self._root = root
        self._find_menus()

    def _find_menus(self) -> None:
        bar = self._interface.find(
            self._root, lambda thing: thing.role == "menu bar" and thing.box[3] > 0, depth=8, within_s=BUSY_S
        )
        self._menus = [thing for thing in self._interface.things(bar.ref) if thing.name in self._safe]
        if not self._menus:
            raise LookupError(f"{self.app} has none of the menus {', '.join(self._safe)}")

    def choose(self, rng: Random, script: Script) -> None:
        """Choose something or give it up."""
        how = rng.choice(("click", "click", "keys", "escape"))
        self._fingers.dismiss(self.app)
        menu = self._interface.thing(rng.choice(self._menus).ref)
        if menu.name not in self._safe:  # LibreOffice makes its menu bar anew now and then
            try:
                self._find_menus()
            except LookupError:
                script.failed.append(f"{self.app}: its menu bar is gone; Escape brings it back")
                self._fingers.press("Escape")
                return
            menu = rng.choice(self._menus)
        began_ms = now_ms()
        self._fingers.click(menu.centre, self.app, "menu")
        if not until(lambda: any(item.usable for item in self._items(menu))):
            script.failed.append(f"{self.app}: the menu {menu.name} did not open")
            self._fingers.press("Escape")
            return
        self._fingers.pause()
        items = [item for item in self._items(menu) if item.usable and item.name in self._safe[menu.name]]
        if not items:
            shown = ", ".join(item.name for item in self._items(menu) if item.usable)
            script.failed.append(f"{self.app}: the menu {menu.name} has none of its items: {shown}")
            self._fingers.press("Escape")
            return
        item = rng.choice(items)
        if how != "keys":
            item = self._point_at(menu, item)
        was_checked = CHECKED in item.states
        if how == "click":
            self._fingers.click(item.centre, self.app, item.role)
        elif how == "keys":
            if not self._go_to(item):
                script.failed.append(f"{self.app}: {item.name} could not be reached by keys")
                self._fingers.press("Escape")
                return
            self._fingers.press("Return")
        else:
            self._fingers.pause()
            self._fingers.press("Escape")
        closed = until(lambda: not any(one.usable for one in self._items(menu)))
        checked = None
        if item.role == "check menu item" and how != "escape":
            checked = not was_checked
        self._fingers.pause()
        if not closed:
            script.failed.append(f"{self.app}: the menu {menu.name} did not close")
        script.choices.append(
            Chosen(self.app, how, item.role, item.name, item.index, how != "escape", checked, began_ms, now_ms())
        )

    def _point_at(self, menu: Thing, item: Thing) -> Thing:
        """Point at an item of an open menu; return the item that the application then says is highlighted.

        Down first and then across: the straight way leads over the bar's next menu, which would open instead.
        """
        self._fingers.move(menu.centre[0], item.centre[1])
        self._fingers.move(*item.centre)
        if until(lambda: SELECTED in self._interface.thing(item.ref).states, within_s=2):
            return item
        lit = [one for open_menu in self._menus for one in self._items(open_menu) if SELECTED in one.states]
        return lit[0] if lit else item

    def _items(self, menu: Thing) -> list[Thing]:
        return [thing for thing in self._interface.things(menu.ref) if thing.role in ITEMS]

    def _go_to(self, item: Thing) -> bool:
        for _ in range(MAX_STEPS):
            self._fingers.press("Down")
            if SELECTED in self._interface.thing(item.ref).states:
                return True
        return False


OPTIONS = {
    "fruit": ("Apple", "Banana", "Cherry", "Damson", "Elder", "Fig"),
    "number": ("One", "Two", "Three", "Four", "Five", "Six", "Seven"),
    "town": ("Aachen", "Bonn", "Celle", "Dresden", "Essen"),
}
CHECKS = {"terms": "Accept terms", "news": "Send news"}
RADIOS = {"red": "Red", "green": "Green", "blue": "Blue"}
PLAIN = {"save": "push button", "send": "push button", "link": "link", "heading": "heading", "words": "entry"}


class Page:
    """Chooses on the page benches/pages/choices.html in a browser.

    Args:
        app: its window class in lower case. first_px, step_px: where a dropdown's first option's middle stands below the
            dropdown's lower edge, and the next below it.
    """

    def __init__(self, app: str, site: Site, *, fingers: Fingers, first_px: float, step_px: float) -> None:
        self.app, self._site, self._fingers = app, site, fingers
        self._first_px, self._step_px = first_px, step_px
        self._at = dict.fromkeys(OPTIONS, 0)
        self._changed: dict[str, object] = {}
        self._state = dict.fromkeys(CHECKS, False)
        self._radio = ""
        self._radios = dict.fromkeys(RADIOS, 0)
        site.listen(self._hear)

    def _hear(self, report: dict[str, object]) -> None:
        if report.get("what") == "change":
            self._changed[str(report["target"])] = report["value"]

    def _box(self, name: str) -> Box:
        x, y, width, height = self._site.layout()["targets"][name]
        return x, y, width, height

    def _centre(self, name: str) -> tuple[int, int]:
        x, y, width, height = self._box(name)
        return x + width // 2, y + height // 2

    def choose(self, rng: Random, script: Script) -> None:
        """Choose an option, change a box, or click on something plain."""
        self._fingers.dismiss(self.app)
        what = rng.random()
        if what < 0.62:
            self._option(rng, script)
        elif what < 0.8:
            self._check(rng, script)
        elif what < 0.9:
            self._pick(rng, script)
        else:
            name = rng.choice(tuple(PLAIN))
            self._fingers.click(self._centre(name), self.app, PLAIN[name])
            self._fingers.pause()

    def click_on(self, name: str) -> None:
        """Click on a thing of the page; what lies there is not scored."""
        self._fingers.click(self._centre(name), self.app, "")

    def _option(self, rng: Random, script: Script) -> None:
        name = rng.choice(tuple(OPTIONS))
        labels, at = OPTIONS[name], self._at[name]
        how = rng.choice(("click", "click", "click", "keys", "keys", "escape", "leave"))
        wanted = at if how == "leave" else rng.choice([number for number in range(len(labels)) if number != at])
        self._changed.pop(name, None)
        began_ms = now_ms()
        x, y, width, height = self._box(name)
        self._fingers.click((x + width // 2, y + height // 2), self.app, "combo box")
        time.sleep(0.5)
        if how == "click":
            below = round(y + height + self._first_px + wanted * self._step_px)
            self._fingers.click((x + width // 3, below), self.app, "menu item")
        else:
            for _ in range(abs(wanted - at)):
                self._fingers.press("Down" if wanted > at else "Up")
            self._fingers.press("Return" if how == "keys" else "Escape")
        committed = how in ("click", "keys")
        if committed and not until(lambda: name in self._changed, within_s=3):
            script.failed.append(f"{self.app}: {labels[wanted]} was meant, and the page says that nothing changed")
            self._fingers.press("Escape")
            self._fingers.pause()
            return
        said = self._changed.get(name)
        if isinstance(said, str):
            wanted = labels.index(said)  # what the page says is the truth, not what was meant
        self._fingers.pause()
        # Chromium chooses what the arrows went to even with Escape; what the page says is the truth.
        committed = committed or self._changed.get(name) == labels[wanted]
        if committed:
            self._at[name] = wanted
        script.choices.append(
            Chosen(self.app, how, "menu item", labels[wanted], wanted, committed, None, began_ms, now_ms())
        )

    def _check(self, rng: Random, script: Script) -> None:
        name = rng.choice(tuple(CHECKS))
        self._box_changed(name, CHECKS[name], "check box", not self._state[name], script)
        self._state[name] = not self._state[name]
        if rng.random() < 0.4:
            began_ms = now_ms()
            self._fingers.press(" ")
            self._state[name] = not self._state[name]
            self._fingers.pause()
            script.choices.append(
                Chosen(self.app, "keys", "check box", CHECKS[name], -1, True, self._state[name], began_ms, now_ms())
            )

    def _pick(self, rng: Random, script: Script) -> None:
        name = rng.choice([one for one in RADIOS if one != self._radio])
        self._box_changed(name, RADIOS[name], "radio button", True, script)
        self._radio = name

    def _box_changed(self, name: str, label: str, role: str, checked: bool, script: Script) -> None:
        began_ms = now_ms()
        self._fingers.click(self._centre(name), self.app, role)
        self._fingers.pause()
        script.choices.append(Chosen(self.app, "click", role, label, -1, True, checked, began_ms, now_ms()))
