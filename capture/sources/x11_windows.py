"""Source: the windows of an X server: which has the focus, and how they lie on each other.

Guarantees: the stacking is the server's own order; what changed while it was asked about is not answered at all; an answer
is kept only until the server tells of anything that could make it another. Does not guarantee to know of translucency that a
compositor adds by its own rules, nor of windows inside a virtual root window (those look like one unknown window as large as
the screen).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from xcffib import shape as xshape
from xcffib import xproto as xp

from capture.sources.windows import Child, Traits, Window, app_of, stack, title_of

PROPERTY_WORDS = 4096
"""The most that is read of a property, in 32-bit words: a list of 4,096 windows, a title of 16 kB."""

FRAME_DEPTH = 8
"""How deep below the root an application's window may lie in its window manager's frames."""

ANY_TYPE = 0
WM_CLASS, WM_NAME, WM_TRANSIENT_FOR = 67, 39, 68
"""Predefined atoms (X11 protocol, appendix B)."""

EVENT_MASK = 1 << 11
TOLD = 1 << 22 | 1 << 17
"""PropertyChange and StructureNotify."""
VIEWABLE = 2
INPUT_OUTPUT = 1
NONE, POINTER_ROOT = 0, 1
ALPHA_DEPTH = 32
FULLY_OPAQUE = 0xFFFFFFFF


class WindowTree:
    """Asks one server about its windows.

    State: the window whose title is watched; the stacking as last asked for, the windows that tell of changes to it, and
    their properties until they tell that one of these changed.

    Args:
        core, shape: the requests of xcffib's core protocol and of its SHAPE extension.
        root: the root window. atoms: the values of ATOMS. client_mask: see windows.stack.
        answered: returns a cookie's reply, None when the window vanished. Every cookie is to be read: xcb keeps what
            nobody fetches.
    """

    ATOMS = (
        "_NET_ACTIVE_WINDOW",
        "_NET_CLIENT_LIST_STACKING",
        "_NET_SUPPORTING_WM_CHECK",
        "_NET_WM_NAME",
        "_NET_WM_PID",
        "_NET_WM_WINDOW_OPACITY",
        "WM_CLIENT_LEADER",
    )

    def __init__(
        self,
        core: Any,
        shape: Any,
        *,
        root: int,
        atoms: Mapping[str, int],
        client_mask: int,
        answered: Callable[[Any], Any],
    ) -> None:
        self._core, self._shape, self._root = core, shape, root
        self._atoms, self._client_mask, self._answered = atoms, client_mask, answered
        self.watched = NONE
        self._kept: list[Window] | None = None
        self._telling: set[int] = set()
        self._traits: dict[int, Traits] = {}
        traits = ("_NET_WM_NAME", "_NET_WM_PID", "_NET_WM_WINDOW_OPACITY", "WM_CLIENT_LEADER")
        self._decisive = {WM_CLASS, WM_NAME, WM_TRANSIENT_FOR, atoms["_NET_CLIENT_LIST_STACKING"]}
        self._decisive |= {atoms[name] for name in traits}

    def _ask_property(self, window: int, name: int) -> Any:
        return self._core.GetProperty(False, window, name, ANY_TYPE, 0, PROPERTY_WORDS)

    def _ask_traits(self, window: int) -> Callable[[], Traits]:
        """Ask for a window's properties; the answer is read by calling what is returned (many at a time)."""
        atoms = (
            WM_CLASS,
            self._atoms["_NET_WM_NAME"],
            WM_NAME,
            self._atoms["_NET_WM_PID"],
            WM_TRANSIENT_FOR,
            self._atoms["WM_CLIENT_LEADER"],
            self._atoms["_NET_WM_WINDOW_OPACITY"],
        )
        cookies = [self._ask_property(window, atom) for atom in atoms]

        def answer() -> Traits:
            wm_class, net_name, name, pid, transient_for, leader, opacity = [
                self._bytes_of(cookie) for cookie in cookies
            ]
            return Traits(
                app=app_of(wm_class),
                title=title_of(net_name, name),
                pid=_word(pid),
                transient_for=_word(transient_for),
                leader=_word(leader),
                translucent=_is_translucent(opacity),
            )

        return answer

    def is_managed(self) -> bool:
        """Tell whether a window manager runs (EWMH: its check window names itself)."""
        atom = self._atoms["_NET_SUPPORTING_WM_CHECK"]
        window = _word(self._bytes_of(self._ask_property(self._root, atom)))
        return bool(window) and _word(self._bytes_of(self._ask_property(window, atom))) == window

    def active(self, *, managed: bool) -> Window | None:
        """Return the window that has the focus and watch its title; None when none has.

        Args:
            managed: a window manager says which it is; otherwise it is the one with the input focus, or, where
                the focus follows the pointer, the one under the pointer.
        """
        if managed:
            window = _word(self._bytes_of(self._ask_property(self._root, self._atoms["_NET_ACTIVE_WINDOW"])))
        else:
            window = self._core.GetInputFocus().reply().focus
            if window in (NONE, POINTER_ROOT, self._root):
                window = self._core.QueryPointer(self._root).reply().child
            else:
                window = self._top_levels([window]).get(window, 0)
        if window != self.watched:
            if self.watched and self.watched not in self._telling:
                self._select(self.watched, 0)
            if window:
                self._select(window, TOLD)
            self.watched = window
        if not window:
            return None
        traits, geometry = self._ask_traits(window), self._core.GetGeometry(window)
        place = self._core.TranslateCoordinates(window, self._root, 0, 0)
        said, size, origin = traits(), self._answered(geometry), self._answered(place)
        if size is None or origin is None:  # it vanished: openbox leaves the id of a dead window
            self.watched = NONE
            return None
        owner = said.transient_for if said.transient_for != self._root else 0
        return Window(
            window, said.app, said.title, said.pid, origin.dst_x, origin.dst_y, size.width, size.height, owner=owner
        )

    def _top_levels(self, windows: Sequence[int]) -> dict[int, int]:
        """Return the child of the root that each window lies in; a window that vanished is left out."""
        found: dict[int, int] = {}
        above = {window: window for window in windows}
        for _ in range(FRAME_DEPTH):
            asked = [(window, at, self._core.QueryTree(at)) for window, at in above.items()]
            above = {}
            for window, at, cookie in asked:
                tree = self._answered(cookie)
                if tree is None:
                    continue
                if tree.parent == self._root:
                    found[window] = at
                elif tree.parent:
                    above[window] = tree.parent
            if not above:
                break
        return found

    def heed(self, event: Any) -> None:
        """Take in an event: the stacking as last asked for may no longer hold. The root's own SubstructureNotify is needed."""
        match event:
            case xp.PropertyNotifyEvent():
                if event.atom in self._decisive:
                    self._traits.pop(event.window, None)
                    self._kept = None
            case (
                xp.MapNotifyEvent()
                | xp.UnmapNotifyEvent()
                | xp.ConfigureNotifyEvent()
                | xp.CirculateNotifyEvent()
                | xp.GravityNotifyEvent()
                | xp.ReparentNotifyEvent()
                | xshape.NotifyEvent()
            ):
                self._kept = None
            case xp.DestroyNotifyEvent():
                # Its id may become another's, which has to be told anew to tell.
                self._telling.discard(event.window)
                self._traits.pop(event.window, None)
                self._kept = None
                if event.window == self.watched:
                    self.watched = NONE

    def stack(self) -> list[Window] | None:
        """Return the visible windows bottom to top; None when they changed while they were asked about: try later.

        To be called when every event until now was heeded: then what was answered last still holds, if it was not forgotten.
        """
        if self._kept is None:
            self._kept = self._ask_stack()
        return self._kept

    def _ask_stack(self) -> list[Window] | None:
        # Each window is told to tell before it is asked: a change is in the answer, or an event comes after it.
        order = list(self._core.QueryTree(self._root).reply().children)
        listed = _words(self._bytes_of(self._ask_property(self._root, self._atoms["_NET_CLIENT_LIST_STACKING"])))
        self._let_tell({*listed, *self._telling})
        client_of = {top: client for client, top in self._top_levels(listed).items()}
        asked = [(window, self._core.GetWindowAttributes(window)) for window in order]
        answers = [(window, self._answered(attributes)) for window, attributes in asked]
        visible = {
            window: attributes
            for window, attributes in answers
            if attributes is not None and attributes._class == INPUT_OUTPUT and attributes.map_state == VIEWABLE
        }
        self._let_tell({*listed, *visible})
        places = [(w, self._core.GetGeometry(w), self._shape.QueryExtents(w)) for w in visible]
        owns = {client_of.get(window, window) for window in visible}
        traits_of = {own: self._ask_traits(own) for own in owns - self._traits.keys()}
        frames = {w: self._ask_property(w, self._atoms["_NET_WM_WINDOW_OPACITY"]) for w in visible if w in client_of}
        children = []
        for window, geometry_cookie, extents_cookie in places:
            geometry, extents = self._answered(geometry_cookie), self._answered(extents_cookie)
            if geometry is None or extents is None:
                continue  # it vanished: the order below differs
            children.append(
                Child(
                    id=window,
                    x=geometry.x,
                    y=geometry.y,
                    width=geometry.width + 2 * geometry.border_width,
                    height=geometry.height + 2 * geometry.border_width,
                    override_redirect=bool(visible[window].override_redirect),
                    client=client_of.get(window, 0),
                    opaque=geometry.depth < ALPHA_DEPTH and not extents.bounding_shaped,
                )
            )
        self._traits |= {window: answer() for window, answer in traits_of.items()}
        traits = {window: self._traits[window] for window in owns}
        traits |= {frame: Traits(translucent=_is_translucent(self._bytes_of(asked))) for frame, asked in frames.items()}
        if list(self._core.QueryTree(self._root).reply().children) != order:
            return None
        screen = self._core.GetGeometry(self._root).reply()
        return stack(children, traits, self._client_mask, (screen.width, screen.height))

    def _let_tell(self, told: set[int]) -> None:
        """Let these windows, and no others but the watched one, tell of changes."""
        for window in told - self._telling:
            self._select(window, TOLD)
            self._shape.SelectInput(window, True)
        for window in self._telling - told - {self.watched}:
            self._select(window, 0)
        self._telling = told
        self._traits = {window: traits for window, traits in self._traits.items() if window in told}

    def _select(self, window: int, mask: int) -> None:
        self._core.ChangeWindowAttributes(window, EVENT_MASK, [mask])

    def _bytes_of(self, cookie: Any) -> bytes:
        """Return a property's value, b"" when the window has none or vanished."""
        reply = self._answered(cookie)
        return b"" if reply is None else bytes(reply.value.buf())


def _is_translucent(opacity: bytes) -> bool:
    return bool(opacity) and _word(opacity) != FULLY_OPAQUE


def _word(value: bytes) -> int:
    return int(struct.unpack_from("=I", value)[0]) if len(value) >= 4 else 0


def _words(value: bytes) -> list[int]:
    return [word for (word,) in struct.iter_unpack("=I", value[: len(value) // 4 * 4])]
