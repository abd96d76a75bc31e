"""Source: connections to an X server: opening one, saying why not, and what the small ones of sign and shortcut need.

The other importer of xcffib beside x11.py. Guarantees: an error that a person reads says what to do; a connection that broke is
told as ServerGone.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from typing import Any

import xcffib
import xcffib.randr
import xcffib.shape
import xcffib.xproto as xp

from capture.errors import CaptureError, NoDisplay, NoPermission

_xcb: Any = xcffib
"""Half-typed: what we use of it is wrapped here in typed functions."""


class ServerGone(CaptureError):
    """The X server closed the connection or died."""


def connect(display: str, wayland: str) -> Any:
    """Return a connection, or say why there is none."""
    if not display:
        if wayland:
            raise NoDisplay(wayland_text(f"WAYLAND_DISPLAY is {wayland!r} and DISPLAY is not set"))
        raise NoDisplay(
            "There is no display: DISPLAY is not set. Start modicum inside a desktop session, or set DISPLAY "
            "(for example DISPLAY=:0)."
        )
    try:
        connection = _xcb.connect(display)
    except xcffib.XcffibException as error:
        match = re.fullmatch(r"(?:unix)?:(\d+)(?:\.\d+)?", display)
        if match and _listens(int(match[1])):
            raise NoPermission(
                f"The X display {display!r} refuses this user: log in as the display's owner, point XAUTHORITY at "
                "its authority file, or let the owner run `xhost +si:localuser:NAME`."
            ) from error
        raise NoDisplay(
            f"No X server answers at the display {display!r}: check DISPLAY, and that the server runs."
        ) from error
    return connection


def _listens(number: int) -> bool:
    """Tell whether something listens at a local display's socket."""
    for address in (f"\0/tmp/.X11-unix/X{number}", f"/tmp/.X11-unix/X{number}"):  # noqa: S108 - X's own place for it
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(address)
            except OSError:
                continue
            return True
    return False


def wayland_text(why: str) -> str:
    return (
        f"This is a Wayland session ({why}), which modicum cannot record: Wayland shows a program neither other "
        "windows' input nor their screens, and XWayland only those of X applications. Log in to an X11 (Xorg) session."
    )


def answered(cookie: Any) -> Any:
    """Return a reply, None when the window vanished."""
    try:
        return cookie.reply()
    except xcffib.Error:
        return None


# -- what the small connections of sign and shortcut (x11_badge, x11_shortcut) need


def events_of(connection: Any) -> Iterator[tuple[str, Any]]:
    """Yield what has come on a connection: the events' names and themselves.

    Raises:
        ServerGone: the connection broke.
    """
    while True:
        try:
            event = connection.poll_for_event()
        except xcffib.Error:
            continue  # of an unchecked request
        except xcffib.XcffibException as error:
            raise ServerGone("The X server went away.") from error
        if event is None:
            if connection.has_error():
                raise ServerGone("The X server went away.")
            return
        yield type(event).__name__, event


def let_clicks_through(connection: Any, window: int) -> None:
    """Make a window's input region empty (SHAPE 1.1)."""
    connection(xcffib.shape.key).Rectangles(xcffib.shape.SO.Set, xcffib.shape.SK.Input, 0, window, 0, 0, 0, [])


def first_monitor(connection: Any, root: int) -> tuple[int, int]:
    """Return the left edge and the width (px) of the primary monitor, or of the whole display."""
    monitors = answered(connection(xcffib.randr.key).GetMonitors(root, True))
    found = [] if monitors is None else sorted(monitors.monitors, key=lambda one: not one.primary)
    if found:
        return found[0].x, found[0].width
    return 0, connection.core.GetGeometry(root).reply().width


def arc(x: int, y: int, width: int, height: int, start: int, length: int) -> Any:
    """Return an arc of the core protocol (px; angles in 64ths of a degree)."""
    return _xcb.xproto.ARC.synthetic(x, y, width, height, start, length)


def keycode_of(connection: Any, keysym: int) -> int | None:
    """Return the key that makes a keysym without modifiers, None when there is none."""
    setup = connection.get_setup()
    first, count = setup.min_keycode, setup.max_keycode - setup.min_keycode + 1
    mapping = connection.core.GetKeyboardMapping(first, count).reply()
    per = mapping.keysyms_per_keycode
    keysyms = list(mapping.keysyms)
    return next((first + i for i in range(count) if keysym in keysyms[i * per : i * per + 1]), None)


def grab_key(connection: Any, root: int, modifiers: int, keycode: int) -> bool:
    """Take a key on the whole display; False when another client has it."""
    mode = xp.GrabMode.Async
    try:
        connection.core.GrabKey(False, root, modifiers, keycode, mode, mode, is_checked=True).check()
    except xcffib.Error:
        return False
    return True
