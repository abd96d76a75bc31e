"""Pure: actions: what a person did, as an agent that shall learn from it wants it: kind, place, object, before and after.

The values only; `codec/acting.py` makes them from a stream of events and rows. Times are the source's clock
(`t_ms`, comparable within one device's epoch) and the wall clock (`wall_ns`); positions are pixels of the whole display.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from codec.model import Scalar

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Load = Callable[[], "npt.NDArray[np.uint8]"]
"""Decodes one frame."""


class ActionKind(StrEnum):
    """What was done.

    CLICK, DOUBLE_CLICK, DRAG, SCROLL and TYPE are gestures, joined from the input events alone. SELECT (a menu item, an
    option, a tab, a row, a check box), SHORTCUT, CLIPBOARD (a copy) and PASTE come from rows that the agent wrote. FOCUS (another window, or another
    title), SITE and DIALOG are what the computer showed, in the same stream because they tell where a person was.
    """

    CLICK = "click"
    DOUBLE_CLICK = "double-click"
    DRAG = "drag"
    SCROLL = "scroll"
    TYPE = "type"
    SHORTCUT = "shortcut"
    SELECT = "select"
    CLIPBOARD = "clipboard"
    PASTE = "paste"
    FOCUS = "focus"
    SITE = "site"
    DIALOG = "dialog"


@dataclass(frozen=True, slots=True)
class Element:
    """An object of an application's interface, as its accessibility tree says.

    Attributes:
        role: AT-SPI's name of its role, such as "menu item", "push button", "check box"; "" = it doesn't say.
        name: its label; "" where the device's policy keeps labels to a digest, or it has none.
        digest: the label's keyed digest (16 bytes, HMAC with a secret of the device), where the policy says so; else b"".
        index: its place among its siblings, from 0; None = unknown.
        count: how many siblings there are, itself included; None = unknown.
        bounds: x, y, width, height, px; None = unknown.
    """

    role: str
    name: str = ""
    digest: bytes = b""
    index: int | None = None
    count: int | None = None
    bounds: tuple[int, int, int, int] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """A frame that an action is bound to; its pixels are decoded when they are asked for.

    Attributes:
        t_ms: the frame's time on the source's clock: its name among the device's frames.
        exact: a before-frame: nothing on the screen had changed between it and the action; an after-frame: the screen
            had settled when it was taken. False: it is the best there is. Either way a before-frame was complete before
            the action began, and an after-frame was begun after the action had ended.
        load: decodes it.
    """

    t_ms: int
    exact: bool
    load: Load

    def pixels(self) -> npt.NDArray[np.uint8]:
        """Return uint8 BGRA (H, W, 4).

        Raises:
            LookupError: its section does not hold it (the recording contradicts itself).
            CodecError: its section can't be decoded.
        """
        return self.load()


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an action comes from, and what it may be used for: to be carried wherever the action goes.

    Attributes:
        device, epoch, seq: of the chunk that holds its beginning.
        purposes, consent, expires_s, region, agent, lossy: see codec.model.Meta.
    """

    device: str
    epoch: int
    seq: int
    purposes: tuple[str, ...]
    consent: bytes
    expires_s: int
    region: str
    agent: str
    lossy: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Action:
    """One action.

    Attributes:
        kind: see ActionKind.
        t_ms: when it began, source clock. wall_ns: the same, ns since 1970. duration_ms: until its last event.
        origin: see there.
        application: the window class that had the focus, lower case; "" = none known.
        title: that window's title. site: the host shown in it, "" = none known.
        x, y: where the pointer was; None for keys and what has no place.
        to: a drag's end; None otherwise.
        button: 1 left, 2 middle, 3 right, 8 back, 9 forward; None without one.
        scroll: wheel clicks to the right and down (negative: left and up); (0, 0) otherwise.
        keys: presses by class (KeyClass names in lower case), for TYPE.
        name: SHORTCUT: "Ctrl+C"; SITE: the host; DIALOG: "opened" or "closed"; "" otherwise.
        element: what was clicked, chosen or opened; None = unknown.
        committed: SELECT: True = chosen, False = given up (Escape, a click elsewhere); None otherwise.
        checked: SELECT of a check box, a toggle: its state afterwards; None otherwise.
        cause: SELECT: "click", "key" or "other".
        fields: CLIPBOARD, PASTE, FOCUS: the row's fields as they are stored; a PASTE gives the copy that was `since` ms before it.
        before: the last stable frame before it. after: the first stable frame after it. None: the plan took none, or the
            archive does not have it (any more).
    """

    kind: ActionKind
    t_ms: int
    wall_ns: int
    origin: Origin
    duration_ms: int = 0
    application: str = ""
    title: str = ""
    site: str = ""
    x: int | None = None
    y: int | None = None
    to: tuple[int, int] | None = None
    button: int | None = None
    scroll: tuple[int, int] = (0, 0)
    keys: Mapping[str, int] = field(default_factory=dict)
    name: str = ""
    element: Element | None = None
    committed: bool | None = None
    checked: bool | None = None
    cause: str = ""
    fields: Mapping[str, Scalar] = field(default_factory=dict)
    before: Shot | None = None
    after: Shot | None = None

    @property
    def end_ms(self) -> int:
        """When its last event was, source clock."""
        return self.t_ms + self.duration_ms
