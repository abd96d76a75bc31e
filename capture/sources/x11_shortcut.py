"""Source: one global shortcut on an X11 display (XGrabKey).

Guarantees: the call-back comes within the time that the server and the event loop take, whichever lock keys are on. Does not
guarantee to get the key: another program may have it, which `start` says.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

from capture.errors import CaptureError
from capture.shortcut import Shortcut
from capture.sources import x11_connection as x11

LOCK, MOD2 = 1 << 1, 1 << 4
"""CapsLock; NumLock, on every keyboard map in use."""
REPEATED_MS = 2
"""A key that is held is told as released and pressed again at the same time: no finger does that."""


class KeyGrab:
    """A shortcut on one display.

    Args:
        display: DISPLAY's value. shortcut: which. pressed: called at each press.
    """

    def __init__(self, display: str, shortcut: Shortcut, *, pressed: Callable[[], None]) -> None:
        self._display = display
        self._shortcut = shortcut
        self._pressed = pressed
        self._connection: Any = None
        self._keycode = 0
        self._released_ms = -1 << 33

    def start(self) -> str | None:
        """Take the key; return None, or why not."""
        try:
            self._connection = x11.connect(self._display, "")
        except CaptureError as error:
            return str(error)
        keycode = x11.keycode_of(self._connection, self._shortcut.keysym)
        if keycode is None:
            self.stop()
            return f"this keyboard has no key for {self._shortcut.text}"
        self._keycode = keycode
        root = self._connection.get_setup().roots[self._connection.pref_screen].root
        for locks in itertools.product((0, LOCK), (0, MOD2)):
            modifiers = self._shortcut.modifiers | sum(locks)
            if not x11.grab_key(self._connection, root, modifiers, keycode):
                self.stop()
                return f"another program has taken {self._shortcut.text}: choose another control.pause_shortcut"
        asyncio.get_running_loop().add_reader(self._connection.get_file_descriptor(), self._on_readable)
        return None

    def _on_readable(self) -> None:
        # While the key is held, the server sends us every other key as well.
        try:
            for name, event in x11.events_of(self._connection):
                if name not in ("KeyPressEvent", "KeyReleaseEvent") or event.detail != self._keycode:
                    continue
                if name == "KeyReleaseEvent":
                    self._released_ms = event.time
                elif not 0 <= event.time - self._released_ms <= REPEATED_MS:
                    self._pressed()
        except x11.ServerGone:
            self.stop()  # the desktop's source says it

    def stop(self) -> None:
        """Give the key back; harmless when it was not taken."""
        connection, self._connection = self._connection, None
        if connection is not None:
            asyncio.get_running_loop().remove_reader(connection.get_file_descriptor())
            connection.disconnect()
