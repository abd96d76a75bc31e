"""Source: a desktop that is not X11 (Windows, macOS), as far as pynput and the system's own calls tell of it.

Not tested on those systems by us: what is tested is this module's own logic, on an X display. What is missing there, so
that nobody takes half a picture for the whole:

- no list of windows in their order: `windows` answers None, so that no screenshot is taken;
- no notices of changes on the screen, of idleness or of another display: those are not told;
- nothing of copying and pasting;
- times are of the arrival in this process, not of the event; every event wakes this process;
- the focused window is looked at when there is input (Windows: title and program; macOS: program only, with pyobjc);
- macOS asks the person for "Input Monitoring" first, and tells nothing until it is given.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from capture.errors import NoDisplay
from capture.sources.windows import TITLE_CHARACTERS, Monitor, Window
from codec.keys import Slots, class_of_character, class_of_name
from codec.model import KeyClass

if TYPE_CHECKING:
    from capture.sources.desktop import Sink

HOLD_S = 0.1
BUTTONS = {"left": 1, "middle": 2, "right": 3, "button8": 8, "button9": 9, "x1": 8, "x2": 9}


class PortableDesktop:
    """A running observation of this machine's desktop, with the methods of desktop.Desktop.

    State: pynput's two threads, what they have told since the last batch, the keys held, the window last told.

    Args:
        foreground: returns the focused window; None: the platform's own way.
        hold_s: how long input gathers.
    """

    def __init__(self, *, foreground: Callable[[], Window | None] | None = None, hold_s: float = HOLD_S) -> None:
        self._foreground = foreground or _foreground_of(sys.platform)
        self._hold_s = hold_s
        self._listeners: list[Any] = []
        self._waiting: list[tuple[int, str, tuple[int, ...]]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._slots = Slots()
        self._focused: Window | None = None

    async def start(self, loop: asyncio.AbstractEventLoop, sink: Sink) -> None:
        """Begin to tell `sink`: at once the display's size and the focused window.

        Raises:
            NoDisplay: pynput is not installed, or finds nothing to listen to.
        """
        self._loop, self._sink = loop, sink
        try:
            from pynput import keyboard, mouse  # type: ignore[import-untyped, import-not-found, unused-ignore]
        except ImportError as error:
            raise NoDisplay(
                f"On this platform input is read by pynput, which does not work here ({error}): "
                "install it (`pip install pynput`) and run inside a desktop session."
            ) from error
        width_px, height_px, monitors = _display()
        sink.display(self._now_ms(), width_px, height_px, monitors)
        self._listeners = [
            mouse.Listener(on_move=self._on_move, on_click=self._on_click, on_scroll=self._on_scroll),
            keyboard.Listener(on_press=self._on_press, on_release=self._on_release),
        ]
        for listener in self._listeners:
            listener.start()
        await asyncio.gather(*(asyncio.to_thread(listener.wait) for listener in self._listeners))
        self._tell_focus()

    def stop(self) -> None:
        """Tell what has happened until now and stop listening."""
        self.flush()
        for listener in self._listeners:
            listener.stop()
        self._listeners = []

    def flush(self) -> None:
        """Tell all that has arrived until now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._tell_focus(waiting[0][0])
        for t_ms, kind, values in waiting:
            if kind == "pointer":
                self._sink.pointer(t_ms, values[0], values[1], values[2])
            else:
                self._sink.key(t_ms, bool(values[0]), values[1], values[2])

    def windows(self) -> list[Window] | None:
        """Return None: the order of windows is not known on this platform, and no frame may be taken."""
        return None

    def server_ms(self, mono_ns: int) -> int:
        """Return the source's time (ms): here the monotonic clock itself."""
        return mono_ns // 1_000_000

    def set_hold(self, hold_s: float) -> None:
        """Let input gather for `hold_s`."""
        self._hold_s = hold_s

    def set_damage_hold(self, hold_s: float | None) -> None:
        """Do nothing: changes of the screen are not told on this platform."""

    def attend(self, attentive: bool) -> None:
        """Do nothing, for the same reason."""

    def watch_anew(self) -> None:
        """Do nothing, for the same reason."""

    @property
    def changed_ms(self) -> int | None:
        """None: changes of the screen are not told."""
        return None

    # -- in pynput's threads ---------------------------------------------------------------------------------------

    def _on_move(self, x: float, y: float, *_: object) -> None:
        self._arrived("pointer", (0, int(x), int(y)))

    def _on_click(self, x: float, y: float, button: Any, pressed: bool, *_: object) -> None:
        number = BUTTONS.get(button.name)
        if number is not None:
            self._arrived("pointer", (2 * number + (not pressed), int(x), int(y)))

    def _on_scroll(self, x: float, y: float, dx: float, dy: float, *_: object) -> None:
        for amount, plus, minus in ((dy, 8, 10), (dx, 14, 12)):  # up, down; right, left
            for _step in range(round(abs(amount))):
                self._arrived("pointer", (plus if amount > 0 else minus, int(x), int(y)))

    def _on_press(self, key: Any, *_: object) -> None:
        self._arrived("key", (1, _class_of(key), self._slots.press(_identity_of(key))))

    def _on_release(self, key: Any, *_: object) -> None:
        self._arrived("key", (0, _class_of(key), self._slots.release(_identity_of(key))))

    def _arrived(self, kind: str, values: tuple[int, ...]) -> None:
        self._loop.call_soon_threadsafe(self._gather, self._now_ms(), kind, values)

    # -- on the loop -----------------------------------------------------------------------------------------------

    def _gather(self, t_ms: int, kind: str, values: tuple[int, ...]) -> None:
        self._waiting.append((t_ms, kind, values))
        if self._timer is None:
            self._timer = self._loop.call_later(self._hold_s, self.flush)

    def _tell_focus(self, t_ms: int | None = None) -> None:
        window = self._foreground()
        if window != self._focused:
            self._focused = window
            self._sink.focus(self._now_ms() if t_ms is None else t_ms, window)

    def _now_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000


def _identity_of(key: Any) -> object:
    """Return what is the same at a key's press and release, though a modifier changed in between (mostly: not Shift+1)."""
    character = getattr(key, "char", None)
    return getattr(key, "name", None) or (character.lower() if character else getattr(key, "vk", None))


def _class_of(key: Any) -> KeyClass:
    """Return the class of pynput's key: a named one, or one with a character."""
    name = getattr(key, "name", None)
    if name is not None:
        return class_of_name(name)
    character = getattr(key, "char", None)
    return class_of_character(character) if character and len(character) == 1 else KeyClass.OTHER


def _display() -> tuple[int, int, Sequence[Monitor]]:
    """Return the display's size and monitors, by the grabber's library."""
    from capture.sources.screen import monitors_of

    return monitors_of()


def _foreground_of(platform: str) -> Callable[[], Window | None]:
    if platform == "win32":
        return _foreground_on_windows
    if platform == "darwin":
        return _foreground_on_macos
    return lambda: None


def _foreground_on_windows() -> Window | None:
    """Ask user32 and psutil; not tested by us."""
    import ctypes
    from ctypes import wintypes

    import psutil

    user32 = ctypes.windll.user32  # type: ignore[attr-defined, unused-ignore]
    handle = user32.GetForegroundWindow()
    if not handle:
        return None
    title = ctypes.create_unicode_buffer(TITLE_CHARACTERS)
    user32.GetWindowTextW(handle, title, TITLE_CHARACTERS)
    pid, place = wintypes.DWORD(), wintypes.RECT()
    user32.GetWindowThreadProcessId(handle, ctypes.byref(pid))
    user32.GetWindowRect(handle, ctypes.byref(place))
    try:
        app = psutil.Process(pid.value).name().lower().removesuffix(".exe")
    except psutil.Error:
        app = ""
    width, height = place.right - place.left, place.bottom - place.top
    return Window(handle, app, title.value, pid.value, place.left, place.top, width, height)


def _foreground_on_macos() -> Window | None:
    """Ask AppKit, where pyobjc is installed; not tested by us."""
    try:
        from AppKit import NSWorkspace  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return None
    front = NSWorkspace.sharedWorkspace().frontmostApplication()
    if front is None:
        return None
    pid = int(front.processIdentifier())
    return Window(pid, str(front.localizedName() or "").lower(), "", pid, 0, 0, 0, 0)
