"""Shell: an X display as the scripted person meets it: windows to look at, a pointer and a keyboard to use.

Input goes in by XTEST, so the server treats it as a device's (it arrives as XInput2 raw events and wakes the idle
counter). This is a bench's tool: the recorder's own X code is under test and therefore not used here.
"""

from __future__ import annotations

import contextlib
import os
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xcffib
import xcffib.xproto as xp
import xcffib.xtest

ANY = 0  # AnyPropertyType
KEY_PRESS, KEY_RELEASE, BUTTON_PRESS, BUTTON_RELEASE, MOTION = 2, 3, 4, 5, 6
CURRENT_TIME = 0
CLIENT_MESSAGE = 33
MANAGED_S = 0.5
ACTIVE_S = 10.0

KEYSYMS = {
    "Return": 0xFF0D,
    "F10": 0xFFC7,
    "Tab": 0xFF09,
    "BackSpace": 0xFF08,
    "Delete": 0xFFFF,
    "Escape": 0xFF1B,
    "Home": 0xFF50,
    "Left": 0xFF51,
    "Up": 0xFF52,
    "Right": 0xFF53,
    "Down": 0xFF54,
    "Page_Up": 0xFF55,
    "Page_Down": 0xFF56,
    "End": 0xFF57,
    "Shift": 0xFFE1,
    "Control": 0xFFE3,
    "Alt": 0xFFE9,
}
"""X11/keysymdef.h, the ones a person here presses; printable characters are their own Latin-1 code."""

_library: Any = xcffib  # half of it is typed, and that half wrongly
_environment_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Window:
    """A client window, in pixels of the root.

    Attributes:
        app: WM_CLASS's class, e.g. "Chromium".
    """

    id: int
    app: str
    title: str
    x: int
    y: int
    width: int
    height: int

    def has(self, x: int, y: int) -> bool:
        """Whether a point of the root lies in it."""
        return self.x <= x < self.x + self.width and self.y <= y < self.y + self.height


class Display:
    """A connection of its own; use it from one thread.

    Args:
        name: e.g. ":70".
        authority: the file with its cookie.

    Raises:
        ConnectionError: nobody answers there or the cookie is wrong.
    """

    def __init__(self, name: str, authority: Path) -> None:
        # xcffib's own `auth` argument frees the cookie before libxcb reads it, so the file has to be named by environment.
        with _environment_lock, _environment(XAUTHORITY=str(authority)):
            try:
                self._connection = _library.connect(display=name)
            except xcffib.ConnectionException as error:
                raise ConnectionError(f"cannot open display {name}: {error}") from error
        self._x: Any = self._connection.core
        self._xtest: Any = self._connection(xcffib.xtest.key)
        setup = self._connection.get_setup()
        screen = setup.roots[self._connection.pref_screen]
        self._root: int = screen.root
        self.width_px: int = screen.width_in_pixels
        self.height_px: int = screen.height_in_pixels
        self._atoms: dict[str, int] = {}
        self._keys = self._read_keymap(setup.min_keycode, setup.max_keycode)

    def close(self) -> None:
        """Disconnect."""
        with contextlib.suppress(xcffib.ConnectionException):
            self._connection.disconnect()

    # --- looking ---

    def windows(self) -> list[Window]:
        """Return the windows that the window manager lists, bottom to top."""
        found = []
        for window_id in self._numbers(self._root, "_NET_CLIENT_LIST_STACKING"):
            with contextlib.suppress(xcffib.Error):  # it closed meanwhile
                geometry = self._x.GetGeometry(window_id).reply()
                place = self._x.TranslateCoordinates(window_id, self._root, 0, 0).reply()
                app = self._text(window_id, "WM_CLASS").rstrip("\0").rpartition("\0")[2]
                title = self._text(window_id, "_NET_WM_NAME") or self._text(window_id, "WM_NAME")
                found.append(Window(window_id, app, title, place.dst_x, place.dst_y, geometry.width, geometry.height))
        self._drain()
        return found

    def managed(self) -> bool:
        """Tell whether a window manager takes windows that open from now on, by opening one.

        That it says to be there is not enough: a window that opens while openbox starts stays nobody's for good.
        """
        if not self._numbers(self._root, "_NET_SUPPORTING_WM_CHECK"):
            return False
        window = self._connection.generate_id()
        self._x.CreateWindow(0, window, self._root, 0, 0, 1, 1, 0, xp.WindowClass.InputOutput, 0, 0, [])
        self._x.MapWindow(window)
        until = time.monotonic() + MANAGED_S
        while not (taken := bool(self._numbers(window, "WM_STATE"))) and time.monotonic() < until:
            time.sleep(0.01)
        self._x.DestroyWindow(window)
        self._connection.flush()
        return taken

    def active(self) -> int:
        """Return the active window's id, 0 when there is none."""
        return next(iter(self._numbers(self._root, "_NET_ACTIVE_WINDOW")), 0)

    def activate(self, window_id: int) -> None:
        """Have the window manager put a window in front, with the focus; return when it has.

        Raises:
            TimeoutError: it does not.
        """
        message = struct.pack(
            "=BBHII5I", CLIENT_MESSAGE, 32, 0, window_id, self._atom("_NET_ACTIVE_WINDOW"), 2, *[0] * 4
        )
        mask = xp.EventMask.SubstructureRedirect | xp.EventMask.SubstructureNotify
        self._x.SendEvent(False, self._root, mask, message)
        until = time.monotonic() + ACTIVE_S
        while self.active() != window_id:
            if time.monotonic() > until:
                raise TimeoutError(f"the window manager does not activate window {window_id:#x}")
            time.sleep(0.01)

    def pointer(self) -> tuple[int, int]:
        """Return the pointer's place in pixels of the root."""
        reply = self._x.QueryPointer(self._root).reply()
        return reply.root_x, reply.root_y

    def paint_background(self, rgb: int) -> None:
        """Fill the root window with one colour (0xRRGGBB); it stays while the server does."""
        self._x.ChangeWindowAttributes(self._root, xp.CW.BackPixel, [rgb])
        self._x.ClearArea(False, self._root, 0, 0, 0, 0)
        self._connection.flush()

    def stop_key_repeat(self) -> None:
        """Let held keys not repeat: on a busy machine a release comes late, and repeats are nothing the person did."""
        self._x.ChangeKeyboardControl(xp.KB.AutoRepeatMode, [xp.AutoRepeatMode.Off])
        self._connection.flush()

    # --- doing ---

    def move(self, x: int, y: int) -> None:
        """Move the pointer to a place of the root."""
        self._fake(MOTION, 0, x, y)

    def button(self, number: int, *, down: bool) -> None:
        """Press or release a button (4 to 7: the wheel)."""
        self._fake(BUTTON_PRESS if down else BUTTON_RELEASE, number)

    def key(self, code: int, *, down: bool) -> None:
        """Press or release a key by its keycode."""
        self._fake(KEY_PRESS if down else KEY_RELEASE, code)

    def find_key(self, name: str) -> tuple[int, bool]:
        """Return the keycode of a character or of a name in KEYSYMS, and whether Shift must be held.

        Raises:
            KeyError: the keyboard has no such key.
        """
        keysym = KEYSYMS[name] if len(name) > 1 else KEYSYMS["Return"] if name == "\n" else ord(name)
        return self._keys[keysym]

    # --- how ---

    def _fake(self, kind: int, detail: int, x: int = 0, y: int = 0) -> None:
        self._xtest.FakeInput(kind, detail, CURRENT_TIME, self._root, x, y, 0)
        self._connection.flush()

    def _drain(self) -> None:
        """Throw away what waits: we select no events, so these are errors of unchecked requests."""
        while True:
            try:
                if self._connection.poll_for_event() is None:
                    return
            except xcffib.Error:
                continue

    def _atom(self, name: str) -> int:
        if name not in self._atoms:
            self._atoms[name] = self._x.InternAtom(False, len(name), name).reply().atom
        return self._atoms[name]

    def _property(self, window_id: int, name: str) -> Any:
        return self._x.GetProperty(False, window_id, self._atom(name), ANY, 0, 1024).reply().value

    def _numbers(self, window_id: int, name: str) -> list[int]:
        value = self._property(window_id, name)
        return [int(number) for number in value.to_atoms()] if len(value) else []

    def _text(self, window_id: int, name: str) -> str:
        return bytes(self._property(window_id, name).buf()).decode(errors="replace")

    def _read_keymap(self, first: int, last: int) -> dict[int, tuple[int, bool]]:
        reply = self._x.GetKeyboardMapping(first, last - first + 1).reply()
        columns = reply.keysyms_per_keycode
        keys: dict[int, tuple[int, bool]] = {}
        for shifted in (False, True):
            for code in range(first, last + 1):
                keysym = reply.keysyms[(code - first) * columns + shifted]
                if keysym:
                    keys.setdefault(keysym, (code, shifted))
        return keys


@contextlib.contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
