"""The windows' stacking is told as it is seen, and kept between frames: whatever a real application does to its windows, it is as if
asked anew.
"""

from __future__ import annotations

import asyncio
import subprocess
from contextlib import ExitStack
from random import Random
from typing import Any

import pytest
import xcffib
from xcffib import shape, xproto

from capture.sources.x11 import Server
from tests.x11_display import client, need, wait_until, x_server
from tests.x11_injector import Injector
from tests.x11_watching import until, watching, xprop

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


async def test_windows_lie_as_they_are_seen_with_frames_and_menus(desk: str) -> None:
    async with watching(desk) as (desktop, _):
        injector = Injector(desk)
        left, right = "at 60x20+40+60", "at 60x20+620+60"
        for x, order in ((800, [left, right]), (200, [right, left])):
            injector.move_to(x, 200)
            injector.click(1)
            await until(lambda order=order: [window.title for window in desktop.windows() or []] == order)
        window = (desktop.windows() or [])[-1]
        area = xprop_geometry(desk, window.id)
        assert window.x < area[0]
        assert window.y < area[1]  # the frame is part of it: its title bar shows the title
        assert window.opaque
        xprop(
            desk, "-id", str(window.id), "-f", "_NET_WM_WINDOW_OPACITY", "32c", "-set", "_NET_WM_WINDOW_OPACITY", "1000"
        )
        await until(lambda: not (desktop.windows() or [])[-1].opaque)

        injector.key(0xFFE3, "MODIFIER", down=True)
        injector.button(1, down=True)  # xterm's main menu, as long as the button is held
        await until(lambda: (desktop.windows() or [])[-1].override_redirect)
        menu = (desktop.windows() or [])[-1]
        injector.button(1, down=False)
        injector.key(0xFFE3, "MODIFIER", down=False)
        assert (menu.owner, menu.app) == (window.id, "")

        injector.move_to(1200, 700)
        injector.click(3)
        await until(lambda: len(desktop.windows() or []) == 3)
        menu = (desktop.windows() or [])[-1]  # the window manager's own: nobody's
        assert (menu.owner, menu.app) == (0, "")
        assert menu.x <= 1200 <= menu.x + menu.width
        injector.close()


def xprop_geometry(display: str, window: int) -> tuple[int, int]:
    """Return the position of a window itself, without its frame."""
    output = subprocess.run(
        ["xwininfo", "-display", display, "-id", str(window)], capture_output=True, text=True, check=True
    ).stdout
    x, y = (int(line.split(":")[1]) for line in output.splitlines() if "Absolute upper-left" in line)
    return x, y


async def test_windows_that_come_and_go_meanwhile_do_no_harm(desk: str) -> None:
    async with watching(desk) as (desktop, seen):
        script = "while :; do xterm -e true & sleep 0.05; done"
        with client(desk, "sh", "-c", script):
            answers = []
            for _ in range(300):
                answers.append(desktop.windows())
                await asyncio.sleep(0.01)
        told = [answer for answer in answers if answer is not None]
        assert len(told) > 200
        for answer in told:
            assert {window.title for window in answer} >= {"at 60x20+40+60", "at 60x20+620+60"}
        assert not seen.reasons
