"""Source: a small sign at the top edge of the screen, where no panel shows one: a dot and a word, always on top.

Guarantees: clicks go through it to what lies below; it never takes the focus; it is raised again when something covers it,
at most once a second. Its class is one that the policy never lets be seen, so that it is no part of any recording. Costs
nothing while nothing covers it.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable
from typing import Any

from capture.errors import CaptureError
from capture.sources import x11_connection as x11

WIDTH_PX, HEIGHT_PX, DOT_PX = 76, 18, 10
RAISE_EVERY_S = 1.0
"""Two programs that both want to lie on top must not fight over it."""

COLOURS = {"recording": 0xE0322F, "paused": 0xE0A22F, "suspended": 0x8C98A2}
BACKGROUND, INK = 0x20272C, 0xF2F4F5
WORDS = {"recording": b"recording", "paused": b"paused", "suspended": b"waiting"}

COPY_FROM_PARENT, INPUT_OUTPUT = 0, 1
CW_BACK_PIXEL, CW_OVERRIDE_REDIRECT, CW_EVENT_MASK = 1 << 1, 1 << 9, 1 << 11
EXPOSURE, VISIBILITY_CHANGE, STRUCTURE_NOTIFY = 1 << 15, 1 << 16, 1 << 17
GC_FOREGROUND, GC_BACKGROUND, GC_FONT = 1 << 2, 1 << 3, 1 << 14
CONFIG_X, CONFIG_STACK_MODE, ABOVE = 1 << 0, 1 << 6, 0
WM_CLASS, WM_NAME, STRING = 67, 39, 31
SHAPE_SET, SHAPE_INPUT = 0, 2
FULL_CIRCLE = 360 * 64
FULLY_OBSCURED, PARTLY_OBSCURED = 2, 1


class Badge:
    """The sign on one display.

    Args:
        display: DISPLAY's value. lost: called when the server went away.
    """

    def __init__(self, display: str, *, lost: Callable[[], None]) -> None:
        self._display = display
        self._lost = lost
        self._state = "suspended"
        self._connection: Any = None
        self._raised_s = 0.0
        self._raise_timer: asyncio.TimerHandle | None = None

    def start(self) -> bool:
        """Show it; tell whether that went."""
        try:
            self._connection = x11.connect(self._display, "")
            self._make()
        except (CaptureError, struct.error):
            self.stop()
            return False
        asyncio.get_running_loop().add_reader(self._descriptor, self._on_readable)
        return True

    def _make(self) -> None:
        connection = self._connection
        self._descriptor = connection.get_file_descriptor()
        core = connection.core
        screen = connection.get_setup().roots[connection.pref_screen]
        self._root = screen.root
        self._window = connection.generate_id()
        core.ChangeWindowAttributes(self._root, CW_EVENT_MASK, [STRUCTURE_NOTIFY])
        core.CreateWindow(
            COPY_FROM_PARENT, self._window, self._root, self._left_px(), 0, WIDTH_PX, HEIGHT_PX, 0, INPUT_OUTPUT,
            COPY_FROM_PARENT, CW_BACK_PIXEL | CW_OVERRIDE_REDIRECT | CW_EVENT_MASK,
            [BACKGROUND, 1, EXPOSURE | VISIBILITY_CHANGE],
        )  # fmt: skip
        for name, text in ((WM_CLASS, b"modicum-sign\0modicum-sign\0"), (WM_NAME, b"modicum")):
            core.ChangeProperty(0, self._window, name, STRING, 8, len(text), text)
        x11.let_clicks_through(connection, self._window)
        self._font, self._gc = connection.generate_id(), connection.generate_id()
        core.OpenFont(self._font, len(b"fixed"), b"fixed")
        core.CreateGC(self._gc, self._window, GC_FOREGROUND | GC_BACKGROUND, [INK, BACKGROUND])
        core.ChangeGC(self._gc, GC_FONT, [self._font])
        core.MapWindow(self._window)
        connection.flush()

    def _left_px(self) -> int:
        """Return where it stands: the middle of the first monitor's top edge, where windows have no buttons."""
        left, width = x11.first_monitor(self._connection, self._root)
        return left + (width - WIDTH_PX) // 2

    def show(self, state: str) -> None:
        """Show another state: "recording", "paused" or "suspended"."""
        if state != self._state:
            self._state = state
            self._draw()

    def _draw(self) -> None:
        if self._connection is None:
            return
        core, window, gc = self._connection.core, self._window, self._gc
        top = (HEIGHT_PX - DOT_PX) // 2
        core.ClearArea(False, window, 0, 0, 0, 0)
        core.ChangeGC(gc, GC_FOREGROUND, [COLOURS.get(self._state, INK)])
        core.PolyFillArc(window, gc, 1, [x11.arc(6, top, DOT_PX, DOT_PX, 0, FULL_CIRCLE)])
        core.ChangeGC(gc, GC_FOREGROUND, [INK])
        word = WORDS.get(self._state, b"")
        core.ImageText8(len(word), window, gc, 20, HEIGHT_PX - 5, word)
        self._connection.flush()

    def _on_readable(self) -> None:
        try:
            for name, event in x11.events_of(self._connection):
                if name == "ExposeEvent":
                    self._draw()
                elif name == "VisibilityNotifyEvent" and event.state in (PARTLY_OBSCURED, FULLY_OBSCURED):
                    self._raise()
                elif name == "ConfigureNotifyEvent" and event.window == self._root:
                    self._connection.core.ConfigureWindow(self._window, CONFIG_X, [self._left_px()])
                    self._connection.flush()
        except x11.ServerGone:
            self.stop()
            self._lost()

    def _raise(self) -> None:
        if self._raise_timer is None:
            wait_s = max(0.0, self._raised_s + RAISE_EVERY_S - time.monotonic())
            self._raise_timer = asyncio.get_running_loop().call_later(wait_s, self._raise_now)

    def _raise_now(self) -> None:
        self._raise_timer, self._raised_s = None, time.monotonic()
        if self._connection is not None:
            self._connection.core.ConfigureWindow(self._window, CONFIG_STACK_MODE, [ABOVE])
            self._connection.flush()

    def stop(self) -> None:
        """Show nothing more; harmless when it doesn't."""
        if self._raise_timer is not None:
            self._raise_timer.cancel()
            self._raise_timer = None
        connection, self._connection = self._connection, None
        if connection is not None:
            asyncio.get_running_loop().remove_reader(connection.get_file_descriptor())
            connection.disconnect()
