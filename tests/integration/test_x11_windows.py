"""The windows' stacking is kept between frames: whatever a real application does to its windows, it is as if asked anew."""

from __future__ import annotations

from contextlib import ExitStack
from random import Random
from typing import Any

import pytest
import xcffib
from xcffib import shape, xproto

from capture.sources.x11 import Server
from tests.x11_display import client, need, wait_until, x_server

pytestmark = pytest.mark.x11

STEPS = 400
WM_TRANSIENT_FOR, WM_NAME, WM_CLASS = 68, 39, 67
STRING, CARDINAL, WINDOW = 31, 6, 33


class Application:
    """An application whose windows do anything: one step of it changes one thing."""

    def __init__(self, display: str, seed: int) -> None:
        self.connection = xcffib.connect(display)
        self.core: Any = self.connection.core
        self.shape: Any = self.connection(shape.key)
        self.root: int = self.connection.get_setup().roots[0].root
        self.random = Random(seed)
        self.windows: list[int] = []
        self.done: list[str] = []

    def step(self) -> None:
        """Do one thing to one window, and wait until the server has done it."""
        steps = ["create", *["move", "restack", "map", "unmap", "title", "old_title", "name", "opacity"] * 2]
        steps += ["owner", "leader", "pid", "form", "destroy", "again", "menu", "into"]
        what = self.random.choice(steps) if len(self.windows) > 2 else "create"
        window = self.random.choice(self.windows) if self.windows else 0
        self.done.append(f"{what} {window:#x}")
        getattr(self, what)(window)
        self.core.GetInputFocus().reply()

    def create(self, _: int, *, override: bool = False) -> None:
        self._create(self.connection.generate_id(), override)

    def again(self, window: int) -> None:
        """A window's id becomes another's."""
        self.destroy(window)
        self._create(window, override=False)

    def _create(self, window: int, override: bool) -> None:
        pick = self.random.randrange
        place = (pick(300), pick(300), 20 + pick(200), 20 + pick(200), 0)
        self.core.CreateWindow(0, window, self.root, *place, xproto.WindowClass.InputOutput, 0,
                               xproto.CW.OverrideRedirect, [int(override)])  # fmt: skip
        self.core.MapWindow(window)
        self.windows.append(window)

    def menu(self, window: int) -> None:
        self.create(window, override=True)

    def destroy(self, window: int) -> None:
        self.windows.remove(window)
        self.core.DestroyWindow(window)

    def map(self, window: int) -> None:
        self.core.MapWindow(window)

    def unmap(self, window: int) -> None:
        self.core.UnmapWindow(window)

    def move(self, window: int) -> None:
        at = [self.random.randrange(300), self.random.randrange(300)]
        self.core.ConfigureWindow(window, xproto.ConfigWindow.X | xproto.ConfigWindow.Y, at)

    def restack(self, window: int) -> None:
        mode = self.random.choice([xproto.StackMode.Above, xproto.StackMode.Below])
        self.core.ConfigureWindow(window, xproto.ConfigWindow.StackMode, [mode])

    def title(self, window: int) -> None:
        self._text(window, self._atom("_NET_WM_NAME"), self._atom("UTF8_STRING"))

    def old_title(self, window: int) -> None:
        self._text(window, WM_NAME, STRING)

    def name(self, window: int) -> None:
        self._text(window, WM_CLASS, STRING)

    def opacity(self, window: int) -> None:
        self._number(window, self._atom("_NET_WM_WINDOW_OPACITY"), CARDINAL, self.random.choice([1000, 0xFFFFFFFF]))

    def owner(self, window: int) -> None:
        self._number(window, WM_TRANSIENT_FOR, WINDOW, self.random.choice(self.windows))

    def leader(self, window: int) -> None:
        self._number(window, self._atom("WM_CLIENT_LEADER"), WINDOW, self.random.choice(self.windows))

    def pid(self, window: int) -> None:
        self._number(window, self._atom("_NET_WM_PID"), CARDINAL, self.random.randrange(1, 9))

    def form(self, window: int) -> None:
        box = xproto.RECTANGLE.synthetic(0, 0, 10, 10)
        self.shape.Rectangles(shape.SO.Set, shape.SK.Bounding, 0, window, 0, 0, 1, [box])

    def into(self, window: int) -> None:
        """Put it into another window, where it is no window of the desktop any more, or back."""
        parent = self.random.choice([self.root, *(other for other in self.windows if other != window)])
        self.core.ReparentWindow(window, parent, 5, 5)

    def _atom(self, name: str) -> int:
        return int(self.core.InternAtom(False, len(name), name).reply().atom)

    def _text(self, window: int, atom: int, kind: int) -> None:
        text = self.random.choice([b"a\0a\0", b"b\0b\0", b""])
        self.core.ChangeProperty(xproto.PropMode.Replace, window, atom, kind, 8, len(text), text)

    def _number(self, window: int, atom: int, kind: int, value: int) -> None:
        self.core.ChangeProperty(xproto.PropMode.Replace, window, atom, kind, 32, 1, [value])


@pytest.mark.parametrize("manager", ["", "openbox"])
def test_what_is_kept_is_what_would_be_told_anew(manager: str) -> None:
    need("Xvfb", "openbox")
    with ExitStack() as stack:
        display = stack.enter_context(x_server())
        keeping = Server(display, "")
        stack.callback(keeping.close)
        if manager:
            stack.enter_context(client(display, manager))
            wait_until(keeping.is_managed)
        application = Application(display, seed=11)
        stack.callback(application.connection.disconnect)
        kept = told = 0
        for _ in range(STEPS):
            application.step()
            while True:  # until the window manager, too, has done what it does
                before = keeping.stack()
                anew = Server(display, "")
                fresh = anew.stack()
                anew.close()
                again = keeping.stack()
                if before == again and before is not None and fresh is not None:
                    break
            assert before == fresh, application.done[-3:]
            kept += again is before
            told += len(fresh)
        assert told > STEPS  # there was something to see
        assert kept > STEPS / 2
