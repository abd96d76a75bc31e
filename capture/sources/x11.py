"""Source: one X server: what it can be asked, and its notices in our own words. With the other x11_*.py the only importer of xcffib.

Guarantees: nothing is asked but by a call; every call that finds the server gone raises ServerGone. Does not guarantee
that a window asked about still exists: what vanished is answered as unknown, and `stack` answers None.

Two connections: one asks and gets notices; the other carries what RECORD sends, which keeps a connection busy for good.
Traps dealt with here: errors of unchecked requests come out where notices do; xcffib cannot read RECORD's replies (only
the first of them) and SYNC's list of counters (it asserts a padding that the server doesn't send).
"""

from __future__ import annotations

import functools
import select
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Concatenate, ParamSpec, TypeVar

import xcffib
import xcffib.damage
import xcffib.randr
import xcffib.record
import xcffib.shape
import xcffib.sync
import xcffib.xproto as xp

from capture.errors import NoDisplay, NoPermission
from capture.sources.input_decoder import ServerClock
from capture.sources.keyclass import KeyboardMap
from capture.sources.notices import (
    Damaged,
    DisplayChanged,
    FocusMoved,
    IdleCrossed,
    KeyboardChanged,
    ManagerChanged,
    Notice,
    Retitled,
    Vanished,
)
from capture.sources.windows import Monitor, Window
from capture.sources.x11_clipboard import CONVERT_SELECTION, Clipboard, Offer, Text
from capture.sources.x11_connection import ServerGone, answered, connect, wayland_text
from capture.sources.x11_windows import WindowTree

NEEDED = ("RECORD", "DAMAGE", "SYNC", "RANDR", "SHAPE")
ATOMS = (*WindowTree.ATOMS, *Clipboard.ATOMS, "_MODICUM_CLOCK")
RECORD_ALL_CLIENTS = 3  # present and future ones; device events need at least one client in the context
RECORD_FROM_SERVER, RECORD_FROM_CLIENT = 0, 1  # categories of replies: events, requests (4 = start, 5 = end)

_xcb: Any = xcffib
"""Half-typed: what we use of it is wrapped here in typed methods."""

P = ParamSpec("P")
R = TypeVar("R")


def _told(method: Callable[Concatenate[Server, P], R]) -> Callable[Concatenate[Server, P], R]:
    """Raise ServerGone where xcffib finds the connection broken."""

    @functools.wraps(method)
    def wrapped(self: Server, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(self, *args, **kwargs)
        except xcffib.XcffibException as error:
            if isinstance(error, xcffib.ConnectionException) or self.is_gone():
                raise ServerGone("The X server went away: the display was closed or the server died.") from error
            raise

    return wrapped


class Server:
    """The connections to one X server.

    Args:
        display: such as ":0"; "" = there is none.
        wayland: WAYLAND_DISPLAY's value, to tell a missing display from one that cannot be recorded.

    Raises:
        NoDisplay: there is none, or one that cannot be recorded; the text says which and what to do.
        NoPermission: the server refuses this user.
    """

    def __init__(self, display: str, wayland: str) -> None:
        self._asking = connect(display, wayland)
        self._recording: Any = None
        try:
            self._recording = connect(display, wayland)
            self._core = self._asking.core
            self._check_extensions(display)
        except xcffib.XcffibException as error:
            self.close()
            raise NoDisplay(f"The X display {display!r} broke the connection off at the start: {error}") from error
        except BaseException:
            self.close()
            raise
        setup = self._asking.get_setup()
        self._root: int = setup.roots[self._asking.pref_screen].root
        interned = [(name, self._core.InternAtom(False, len(name), name)) for name in ATOMS]
        self._atoms: dict[str, int] = {name: cookie.reply().atom for name, cookie in interned}
        self._client_mask: int = ~setup.resource_id_mask & 0xFFFFFFFF
        self._windows = WindowTree(
            self._core,
            self._asking(xcffib.shape.key),
            root=self._root,
            atoms=self._atoms,
            client_mask=self._client_mask,
            answered=answered,
        )
        self._clipboard = Clipboard(
            self._asking, root=self._root, atoms=self._atoms, client_mask=self._client_mask, answered=answered
        )
        self._watches_clipboard = False
        self._asked: list[tuple[int, int]] = []
        self._damage_id = 0
        self._alarms: dict[int, bool] = {}
        self._come: list[Notice] = []
        mask = xp.EventMask
        watched = mask.PropertyChange | mask.StructureNotify | mask.SubstructureNotify
        self._core.ChangeWindowAttributes(self._root, xp.CW.EventMask, [watched])
        self._asking(xcffib.damage.key).QueryVersion(1, 1).reply()
        randr = self._asking(xcffib.randr.key)
        randr.QueryVersion(1, 5).reply()
        randr.SelectInput(self._root, xcffib.randr.NotifyMask.ScreenChange)

    def _check_extensions(self, display: str) -> None:
        names = (*NEEDED, "XWAYLAND")
        asked = {name: self._core.QueryExtension(len(name), name) for name in names}
        present = {name for name in names if asked[name].reply().present}
        if "XWAYLAND" in present:
            raise NoDisplay(wayland_text(f"{display} is XWayland's"))
        missing = [name for name in NEEDED if name not in present]
        if missing:
            raise NoDisplay(
                f"The X display {display!r} lacks the extension {' and '.join(missing)}, which recording needs: "
                "enable it in the X server's configuration or start another X server."
            )

    def sockets(self) -> tuple[int, int]:
        """Return the file descriptors that become readable when something happens."""
        return self._asking.get_file_descriptor(), self._recording.get_file_descriptor()

    def is_gone(self) -> bool:
        """Tell whether a connection is broken."""
        return any(c is not None and c._conn is not None and c.has_error() for c in (self._asking, self._recording))

    def close(self) -> None:
        """Disconnect; the server forgets alarms, damage and recording by itself."""
        for connection in (self._recording, self._asking):
            if connection is not None:
                connection.disconnect()

    # -- notices ---------------------------------------------------------------------------------------------------

    @_told
    def notices(self) -> list[Notice]:
        """Send what is queued, and return the notices that have come.

        To be called after everything else: reading a reply, and even sending, may take notices off the socket, which is
        silent about them ever after.
        """
        self._asking.flush()
        self._take_events()
        come, self._come = self._come, []
        return come

    def _take_events(self) -> None:
        while True:
            try:
                event = self._asking.poll_for_event()
            except xcffib.Error:  # of an unchecked request: the window vanished
                continue
            if event is None:
                return
            notice = self._notice(event)
            self._windows.heed(event)
            if notice is not None:
                self._come.append(notice)

    def _notice(self, event: Any) -> Notice | None:
        match event:
            case xp.PropertyNotifyEvent():
                if event.window == self._root:
                    if event.atom == self._atoms["_NET_ACTIVE_WINDOW"]:
                        return FocusMoved(event.time)
                    if event.atom == self._atoms["_NET_SUPPORTING_WM_CHECK"]:
                        return ManagerChanged()
                elif event.window == self._windows.watched and event.atom in (
                    self._atoms["_NET_WM_NAME"],
                    xp.Atom.WM_NAME,
                    xp.Atom.WM_CLASS,  # LibreOffice says what it is only after it has opened its window
                ):
                    return Retitled(event.time)
            case xcffib.damage.NotifyEvent():
                return Damaged(event.timestamp) if event.damage == self._damage_id else None
            case xcffib.sync.AlarmNotifyEvent() if event.alarm in self._alarms:
                return IdleCrossed(event.timestamp, self._alarms[event.alarm])
            case xcffib.randr.ScreenChangeNotifyEvent():
                return DisplayChanged()
            case xp.ConfigureNotifyEvent() if event.window == self._root:
                return DisplayChanged()
            case xp.DestroyNotifyEvent() | xp.UnmapNotifyEvent() if event.window == self._windows.watched:
                return Vanished()
            case xp.MappingNotifyEvent():
                return KeyboardChanged()
        return self._clipboard.notice(event)

    @_told
    def round_trip(self) -> None:
        """Return when the server has done all it was asked, and has handed out what RECORD holds back."""
        self._core.GetInputFocus().reply()

    @_told
    def fetch_kept(self) -> None:
        """Have the server send what it kept when RECORD's socket was full, as far as there is room now.

        That is sent between two turns in which it does what clients asked for, once it has learnt of the room; and a request
        that fails ends a turn (dix/dispatch.c). The first turn may have begun before there was room.
        """
        for _ in range(2):
            failing = self._core.GetGeometry(0)
            self._core.GetInputFocus().reply()
            answered(failing)

    # -- input -----------------------------------------------------------------------------------------------------

    @_told
    def start_recording(self) -> None:
        """Let RECORD send all device events from now on.

        Raises:
            NoPermission: the server does not let this client record.
        """
        record = self._asking(xcffib.record.key)
        record.QueryVersion(1, 13).reply()
        none8, none16 = _xcb.record.Range8.synthetic(0, 0), _xcb.record.Range16.synthetic(0, 0)
        no_extension = _xcb.record.ExtRange.synthetic(none8, none16)
        devices = _xcb.record.Range8.synthetic(2, 6)  # KeyPress to MotionNotify
        pastes = CONVERT_SELECTION if self._watches_clipboard else 0
        requests = _xcb.record.Range8.synthetic(pastes, pastes)
        wanted = _xcb.record.Range.synthetic(
            requests, none8, no_extension, no_extension, none8, devices, none8, False, False
        )
        context = self._asking.generate_id()
        try:
            record.CreateContext(context, 0, 1, 1, [RECORD_ALL_CLIENTS], [wanted], is_checked=True).check()
        except xcffib.Error as error:
            raise NoPermission(
                "The X server does not let this program record input (RECORD was refused): "
                "run it as the user of the display, not as an untrusted client."
            ) from error
        self._record_sequence = self._recording(xcffib.record.key).EnableContext(context).sequence
        self._recording.wait_for_reply(self._record_sequence)  # the "start of data": from here on nothing is missed

    @_told
    def recorded(self) -> bytes:
        """Return the core events (32 bytes each) that RECORD has sent since the last call."""
        ffi, poll, free = _xcb.ffi, _xcb.lib.xcb_poll_for_reply, _xcb.c_free
        reply, error = ffi.new("void **"), ffi.new("xcb_generic_error_t **")
        # category and 24 other bits, length in words beyond 32 bytes, byte order and 24 bits, client, time, …
        words = ffi.cast("uint32_t **", reply)
        connection, sequence = self._recording._conn, self._record_sequence
        descriptor = self._recording.get_file_descriptor()
        pieces = []
        while True:
            if not poll(connection, sequence, reply, error) or reply[0] == ffi.NULL:
                # xcb reads 4 kB at a time: nothing whole in it does not mean that the socket is empty
                if self._recording.has_error() or not select.select([descriptor], [], [], 0)[0]:
                    break
                continue
            header = words[0]
            category = header[0].to_bytes(4, sys.byteorder)[1]
            if category == RECORD_FROM_SERVER:
                pieces.append(ffi.buffer(reply[0], 32 + 4 * header[1])[32:])
            elif category == RECORD_FROM_CLIENT:
                requests = ffi.buffer(reply[0], 32 + 4 * header[1])[32:]
                self._asked += [(header[4], header[3])] * self._clipboard.asks(requests)
            free(reply[0])
        self._recording.invalid()  # raises when the connection broke
        return b"".join(pieces)

    def pastes(self) -> list[tuple[int, int]]:
        """Return who asked for what the clipboard holds, as `recorded` has seen until now: the server's time and the client."""
        asked, self._asked = self._asked, []
        return asked

    @_told
    def clock(self) -> ServerClock:
        """Read the server's clock: the time of a property that we change ourselves, by the fastest of three tries."""
        window = self._asking.generate_id()
        self._core.CreateWindow(
            0, window, self._root, 0, 0, 1, 1, 0, xp.WindowClass.InputOnly, 0, xp.CW.EventMask,
            [xp.EventMask.PropertyChange],
        )  # fmt: skip
        tries = []
        for _ in range(3):
            before_ns = time.monotonic_ns()
            atom = self._atoms["_MODICUM_CLOCK"]
            self._core.ChangeProperty(xp.PropMode.Replace, window, atom, xp.Atom.INTEGER, 32, 1, [0])
            self._asking.flush()
            while True:
                event = self._asking.wait_for_event()
                if isinstance(event, xp.PropertyNotifyEvent) and event.window == window:
                    break
            after_ns = time.monotonic_ns()
            tries.append((after_ns - before_ns, (before_ns + after_ns) // 2, event.time))
        self._core.DestroyWindow(window)
        _, mono_ns, server_ms = min(tries)
        return ServerClock(server_ms, mono_ns)

    @_told
    def keyboard(self) -> KeyboardMap:
        """Read which class each key has."""
        setup = self._asking.get_setup()
        first, count = setup.min_keycode, setup.max_keycode - setup.min_keycode + 1
        mapping_cookie, modifier_cookie = self._core.GetKeyboardMapping(first, count), self._core.GetModifierMapping()
        mapping, modifiers = mapping_cookie.reply(), modifier_cookie.reply()
        return KeyboardMap(first, mapping.keysyms_per_keycode, list(mapping.keysyms), list(modifiers.keycodes))

    @_told
    def watch_idleness(self, idle_ms: int) -> None:
        """Send a notice whenever the time without input passes `idle_ms`, and when it falls below again."""
        sync = self._asking(xcffib.sync.key)
        sync.Initialize(3, 1).reply()
        counter = _counters(self._asking.wait_for_reply(sync.ListSystemCounters().sequence)).get(b"IDLETIME")
        if counter is None:
            return
        attributes = xcffib.sync.CA
        mask = attributes.Counter | attributes.ValueType | attributes.Value | attributes.TestType | attributes.Delta
        tests = xcffib.sync.TESTTYPE
        for idle, value, test in (
            (True, idle_ms, tests.PositiveTransition),
            (False, idle_ms - 1, tests.NegativeTransition),
        ):
            alarm = self._asking.generate_id()
            sync.CreateAlarm(
                alarm, mask | attributes.Events,
                [counter, xcffib.sync.VALUETYPE.Absolute, (value >> 32, value & 0xFFFFFFFF), test, (0, 0), True],
            )  # fmt: skip
            self._alarms[alarm] = idle

    # -- the screen ------------------------------------------------------------------------------------------------

    @_told
    def watch_damage(self) -> None:
        """Ask for one notice at the next change of the screen (and at once: the beginning counts as a change)."""
        if not self._damage_id:
            self._damage_id = self._asking.generate_id()
            level = xcffib.damage.ReportLevel.NonEmpty
            self._asking(xcffib.damage.key).Create(self._damage_id, self._root, level)

    @_told
    def rearm_damage(self) -> None:
        """Forget what changed until now and send a notice at the next change. To be called before grabbing."""
        if self._damage_id:
            self._asking(xcffib.damage.key).Subtract(self._damage_id, 0, 0)

    @_told
    def leave_damage(self) -> None:
        """Send no more notices of damage."""
        if self._damage_id:
            self._asking(xcffib.damage.key).Destroy(self._damage_id)
            self._damage_id = 0

    @_told
    def display(self) -> tuple[int, int, tuple[Monitor, ...]]:
        """Return the display's width and height (px) and its monitors; none while they are being changed."""
        geometry_cookie = self._core.GetGeometry(self._root)
        monitors = answered(self._asking(xcffib.randr.key).GetMonitors(self._root, True))
        found = [] if monitors is None else [(one, self._core.GetAtomName(one.name)) for one in monitors.monitors]
        named = [(one, answered(cookie)) for one, cookie in found]
        geometry = geometry_cookie.reply()
        return (
            geometry.width,
            geometry.height,
            tuple(
                Monitor("" if name is None else name.name.to_string(), one.x, one.y, one.width, one.height)
                for one, name in named
            ),
        )

    # -- the clipboard (capture/sources/x11_clipboard.py) ----------------------------------------------------------

    @_told
    def watch_clipboard(self) -> int:
        """Tell of the clipboard from now on; return its owner's client (0: nobody). To be called before `start_recording`."""
        owner = self._clipboard.watch()
        self._watches_clipboard = owner is not None
        return owner or 0

    def client_of(self, window: int) -> int:
        """Return the base of a client's resources, by which the clipboard's notices name it."""
        return window & self._client_mask

    @_told
    def ask_clipboard(self, what: str) -> None:
        """Ask the clipboard's owner for "types" or "text"; a notice tells when it has answered."""
        self._clipboard.ask(what)

    @_told
    def leave_clipboard(self) -> None:
        """Ask the clipboard's owner no more."""
        self._clipboard.leave()

    @_told
    def clipboard_offer(self) -> Offer | None:
        """Return the types that were answered; None: `leave_clipboard`, or another owner, came between."""
        return self._clipboard.offer()

    @_told
    def clipboard_text(self, *, content: bool) -> Text | None:
        """Return what is known of the text that was answered; None: as above."""
        return self._clipboard.text(content=content)

    # -- windows (capture/sources/x11_windows.py) -------------------------------------------------------------------

    @_told
    def is_managed(self) -> bool:
        """Tell whether a window manager runs."""
        return self._windows.is_managed()

    @_told
    def active_window(self, *, managed: bool) -> Window | None:
        """Return the window that has the focus; its title is watched from then on. None when none has.

        Args:
            managed: a window manager says which it is.
        """
        return self._windows.active(managed=managed)

    @_told
    def stack(self) -> list[Window] | None:
        """Return the visible windows bottom to top; None when they changed while they were asked about: try later."""
        self.round_trip()  # now every event until now has come
        self._take_events()
        return self._windows.stack()


def _counters(reply: Any) -> dict[bytes, int]:
    """Return SYNC's system counters by name from an unread reply (each record is padded to 4 bytes)."""

    def records() -> Iterator[tuple[bytes, int]]:
        (count,) = reply.unpack("=8xI20x")
        for _ in range(count):
            counter, length = reply.unpack("=I8xH")
            (name,) = reply.unpack(f"={length}s{-(length + 2) % 4}x")
            yield name, counter

    return dict(records())
