"""Pure: what applications tell of their interfaces (AT-SPI), in our own words.

Guarantees: what is not as it should be is nothing, never an error: applications send what they like.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

EVENT = "org.a11y.atspi.Event."
NULL = "/org/a11y/atspi/null"
MAX_PX = 1 << 15
"""What is further away is no place on a screen: closed menus say -2147483648."""


class Kind(StrEnum):
    """What an application tells."""

    SELECTED = "selected"
    CHECKED = "checked"
    EXPANDED = "expanded"
    FOCUSED = "focused"
    DESCENDANT = "descendant"
    """The row or cell in it that has the focus is another: `child`."""
    ACTIVATE = "activate"
    CREATE = "create"
    DESTROY = "destroy"
    LOADED = "loaded"


STATES = {kind.value: kind for kind in (Kind.SELECTED, Kind.CHECKED, Kind.EXPANDED, Kind.FOCUSED)}
MEMBERS = {
    ("Object", "ActiveDescendantChanged"): Kind.DESCENDANT,
    ("Window", "Activate"): Kind.ACTIVATE,
    ("Window", "Create"): Kind.CREATE,
    ("Window", "Destroy"): Kind.DESTROY,
    ("Document", "LoadComplete"): Kind.LOADED,
}
WANTED = (
    *(f"object:state-changed:{state}" for state in STATES),
    "object:active-descendant-changed",
    "window:activate",
    "window:create",
    "window:destroy",
    "document:load-complete",
)
"""What applications are asked to send; without it they send nothing."""


@dataclass(frozen=True, slots=True)
class Signal:
    """One thing told.

    Attributes:
        mono_ns: when it came. app: the application's name on the bus. path: its object.
        kind: see there. on: the state's value. child: for DESCENDANT, the object in it.
    """

    mono_ns: int
    app: str
    path: str
    kind: Kind
    on: bool = True
    child: str = ""


def path_of(reference: Any) -> str:
    """Return the path in a reference to an object (name, path), "" when it is none or refers to nothing."""
    if not isinstance(reference, list | tuple) or len(reference) != 2 or reference[1] == NULL:
        return ""
    return str(reference[1])


def signal_of(mono_ns: int, sender: str, path: str, interface: str, member: str, arguments: list[Any]) -> Signal | None:
    """Return what a D-Bus signal tells, None when it is nothing of interest or not as it should be."""
    if not interface.startswith(EVENT) or len(arguments) < 2:
        return None
    if member == "StateChanged":
        kind = STATES.get(str(arguments[0]))
        return None if kind is None else Signal(mono_ns, sender, path, kind, bool(arguments[1]))
    kind = MEMBERS.get((interface.removeprefix(EVENT), member))
    if kind is None:
        return None
    child = ""
    if kind is Kind.DESCENDANT:
        child = path_of(arguments[3]) if len(arguments) > 3 else ""
        if not child:
            return None
    return Signal(mono_ns, sender, path, kind, child=child)


@dataclass(frozen=True, slots=True)
class Found:
    """An object of an interface.

    Attributes:
        app, path: where it is. role: AT-SPI's name of its role. name: its label.
        index: its place among its siblings (a cell: its row), from 0; None = it doesn't say. count: how many there are.
        bounds: x, y, width, height, px of the whole display; None = it isn't to be seen.
        parent: its parent's path, "" = none. container: its parent's role.
    """

    app: str
    path: str
    role: str
    name: str = ""
    index: int | None = None
    count: int | None = None
    bounds: tuple[int, int, int, int] | None = None
    parent: str = ""
    container: str = ""

    def has(self, x: int, y: int) -> bool:
        """Tell whether a point lies in it."""
        if self.bounds is None:
            return False
        left, top, width, height = self.bounds
        return left <= x < left + width and top <= y < top + height


def bounds_of(extents: Any) -> tuple[int, int, int, int] | None:
    """Return usable bounds, or None for what closed and unmapped objects say."""
    try:
        x, y, width, height = map(int, extents)
    except (TypeError, ValueError):
        return None
    inside = abs(x) < MAX_PX and abs(y) < MAX_PX and 0 < width < MAX_PX and 0 < height < MAX_PX
    return (x, y, width, height) if inside else None
