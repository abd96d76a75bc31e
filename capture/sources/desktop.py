"""Source: an X11 desktop as it is used: input, focus, damage, idleness and display changes, told in the order of time.

Guarantees: every pointer and key event since `start`, in order, with the server's own times and positions; a focus
change is told before the input that follows it; nothing polls, so that an idle desktop costs nothing. Does not
guarantee to tell at once: events are left with the server and in the socket for `hold_s` (they carry their times), and
motion over a place where nobody listens waits for the next thing that happens, the idleness notice or `flush`. Whoever
gates by time (pause, withdrawal) calls `flush` first. A client that grabs the whole server (some screenshot tools while
one selects) makes a round trip, and so this process, wait until it lets go; nothing is lost by that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from capture.sources import notices, x11
from capture.sources.input_decoder import EVENT_BYTES, InputDecoder, Told
from capture.sources.windows import Monitor, Window
from capture.sources.x11_clipboard import Offer, Text
from capture.sources.x11_connection import ServerGone

HOLD_S = 0.1
"""How long input gathers after a wake: ten wakeups a second at up to 1,000 events a second."""

HOLD_EVENTS = 100
FASTEST_HZ = 8000
"""Faster input is held for less, so that about so many events gather; the fastest mouse is assumed until it is known better."""

SOCKET_EVENTS = 250
"""A local socket takes some 270 events of a client that doesn't read (64 bytes each, of which the kernel reckons 768). What
comes then is kept by the server, but not always: what RECORD adds while the server tries again to send what it kept is
forgotten (os/io.c, FlushClient). That is one event now and then, and every one while another client doesn't read either."""

RATE_DECAY = 0.9
"""From the first assumption to an everyday mouse's 1,000 a second in some 20 batches: a second or two of motion."""

FLOOR_DECAY = 0.998
"""What was too fast once is remembered for some 10 s of motion: a fast mouse says it again, a hiccup doesn't."""

TYPING_HOLD_S = 0.2
"""The same while nothing but keys comes: a key going up joins the one that went down, and often the next."""

ATTENTIVE_HOLD_S = 0.1
"""How long changes of the screen gather while somebody waits to see what an action changed. One that is as old when it is
noticed is told with what came beside it."""

DAMAGE_HOLD_S = 0.5
"""How long changes of the screen gather before they are told: a window has painted itself by then."""

IDLE_S = 60.0
BUSY_EVENTS = 5
"""After a batch of so many events somebody is at work: look again after the hold without waiting for the socket."""


class Sink(Protocol):
    """Who is told, on the event loop. Times are the server's, ms, 64 bits; positions px on the root window."""

    def pointer(self, t_ms: int, kind: int, x: int, y: int) -> None:
        """A pointer event (codec.model.PointerKind)."""

    def key(self, t_ms: int, down: bool, code: int, slot: int) -> None:
        """A key event (KeyClass; a press of a slot that is already held is auto-repeat)."""

    def command(self, t_ms: int, name: str) -> None:
        """The key press that follows makes no text, and this is its name: "Ctrl+C", "Escape"."""

    def focus(self, t_ms: int, window: Window | None) -> None:
        """The focus moved, or the focused window has another title; None: nothing, or not known, is focused."""

    def damage(self, t_ms: int) -> None:
        """Something on the screen changed at `t_ms`; a grab from now on shows it."""

    def idle(self, t_ms: int, idle: bool) -> None:
        """The person became idle, or came back."""

    def display(self, t_ms: int, width_px: int, height_px: int, monitors: Sequence[Monitor]) -> None:
        """The display has this size now (told at the start and at every change)."""

    def overflow(self, t_ms: int, ms: int) -> None:
        """Input came faster than it was read: some of the `ms` before `t_ms` may be missing in what was told of it."""

    def lost(self, reason: str) -> None:
        """The server went away; nothing more will be told."""


class ClipboardSink(Protocol):
    """Who is told of the clipboard, in order with all else. A client is named by a number; `Desktop.client_of` tells a window's."""

    def held(self, client: int) -> None:
        """At the start: who has the clipboard; 0: nobody."""

    def copied(self, t_ms: int, client: int) -> None:
        """A client took the clipboard, or copied anew; 0: nobody has it any more."""

    def offered(self, t_ms: int, offer: Offer) -> None:
        """The owner answered what `ask_clipboard("types")` asked."""

    def told_text(self, t_ms: int, text: Text) -> None:
        """The owner answered what `ask_clipboard("text")` asked."""

    def pasted(self, t_ms: int, client: int) -> None:
        """A client asked for what the clipboard holds."""


class Desktop:
    """A running observation of one X display.

    State: the connection, the two timers, the window last told as focused, damage that waits to be told, the kind and
    rate of input. `overflows` counts the times that input came so fast that the server may have lost some of it.

    Args:
        display: DISPLAY's value; None or "" = there is none.
        wayland: WAYLAND_DISPLAY's value, to tell a missing display from one that cannot be recorded.
        hold_s, damage_hold_s, idle_s: see above; a damage hold of None: don't watch the screen.

    Attributes:
        clipboard: who is told of it; to be set before `start`. None: it isn't watched.
    """

    def __init__(
        self,
        display: str | None,
        *,
        wayland: str | None = None,
        hold_s: float = HOLD_S,
        damage_hold_s: float | None = DAMAGE_HOLD_S,
        idle_s: float = IDLE_S,
    ) -> None:
        self._display, self._wayland = display or "", wayland or ""
        self._hold_s, self._damage_hold_s, self._idle_s = hold_s, damage_hold_s, idle_s
        self._server: x11.Server | None = None
        self._watching = False
        self._timer: asyncio.TimerHandle | None = None
        self._damage_timer: asyncio.TimerHandle | None = None
        self._damaged_ms = 0
        self._ripe_ms: int | None = None
        self._attentive = False
        self._focused: Window | None = None
        self._focus_known = False
        self._managed = False
        self._in_batch = False
        self._told_ms = 0
        self._rate_hz = float(FASTEST_HZ)
        self._typing = False
        self._floor_hz = 0.0
        self.overflows = 0
        self.clipboard: ClipboardSink | None = None
        self._reads_content = False

    async def start(self, loop: asyncio.AbstractEventLoop, sink: Sink) -> None:
        """Connect and begin to tell `sink`: at once the display and the focused window.

        Raises:
            NoDisplay: there is none, or one that cannot be recorded; the text says which and what to do.
            NoPermission: the server refuses this user.
        """
        self._loop, self._sink = loop, sink
        server = x11.Server(self._display, self._wayland)
        try:
            self._decoder = InputDecoder(server.clock(), server.keyboard(), sink.pointer, sink.key, sink.command)
            self._managed = server.is_managed()
            server.watch_idleness(round(self._idle_s * 1000))
            if self.clipboard is not None:
                self.clipboard.held(server.watch_clipboard())
            server.start_recording()
            if self._damage_hold_s is not None:
                server.watch_damage()
        except BaseException:
            server.close()
            raise
        self._server = server
        self._guarded(self._begin)

    def stop(self) -> None:
        """Tell what has happened until now and disconnect; harmless when not running."""
        self.flush()
        self._close()

    def flush(self) -> None:
        """Tell all that has happened until now."""
        self._guarded(self._batch)

    def windows(self) -> list[Window] | None:
        """Return the visible windows bottom to top; None when the order cannot be trusted: take no frame then.

        The screen may change between this and a grab: ask before and after, and keep a frame only if both are equal.
        """
        stacks: list[list[Window] | None] = []
        self._guarded(lambda server: stacks.append(server.stack() or server.stack()))
        # The round trips took notices off the socket, and had RECORD hand out what it held.
        self._guarded(lambda server: self._batch(server, all_until_now=False))
        return stacks[0] if stacks else None

    def server_ms(self, mono_ns: int) -> int:
        """Return the server's time (ms, as in every event) at a reading of time.monotonic_ns()."""
        return self._decoder.clock.server_ms(mono_ns)

    def set_hold(self, hold_s: float) -> None:
        """Let input gather for `hold_s` after a wake, from the next wake on."""
        self._hold_s = hold_s

    def set_damage_hold(self, hold_s: float | None) -> None:
        """Let changes of the screen gather for `hold_s` before they are told; None: don't watch the screen at all.

        No change is lost by a long hold: watching begins anew before a change is told.
        """
        was_watched, self._damage_hold_s = self._damage_hold_s is not None, hold_s
        if was_watched == (hold_s is not None):
            return  # no word to the server, no wakeup
        if hold_s is not None:
            self._guarded(lambda server: server.watch_damage())
        else:
            self._guarded(lambda server: server.leave_damage())
            if self._damage_timer:
                self._damage_timer.cancel()
                self._damage_timer = None
        self.flush()

    def attend(self, attentive: bool) -> None:
        """Tell changes of the screen soon (ATTENTIVE_HOLD_S), or no sooner than the damage hold says."""
        if attentive == self._attentive:
            return
        self._attentive = attentive
        if attentive and self._damage_timer is not None:
            self._damage_timer.cancel()
            self._damage_timer = self._loop.call_later(ATTENTIVE_HOLD_S, self._guarded, self._tell_damage)

    @property
    def changed_ms(self) -> int | None:
        """When the screen changed (server's time, ms) since the last change that was told, or since `watch_anew`; None: it
        did not, as far as is known after `flush`."""
        return self._damaged_ms if self._damage_timer is not None else None

    def watch_anew(self) -> None:
        """Tell at once what changed until now, and notice changes from now on: to be called before a grab."""
        if self._damage_hold_s is None:
            return
        if self._damage_timer is not None:
            self._damage_timer.cancel()
            self._guarded(self._tell_damage)
        else:
            self._guarded(lambda server: server.rearm_damage())
            self.flush()

    def client_of(self, window: Window) -> int:
        """Return the number by which the clipboard's owner and who asks for it are named; 0 when the server is gone."""
        return 0 if self._server is None else self._server.client_of(window.id)

    def ask_clipboard(self, what: str, *, content: bool = False) -> None:
        """Ask the clipboard's owner; the clipboard's sink is told the answer, if there is one.

        Args:
            what: "types" or "text". content: read the text; else its length only.
        """
        self._reads_content = content
        self._guarded(lambda server: server.ask_clipboard(what))

    def leave_clipboard(self) -> None:
        """Tell no answer to what was asked until now, and don't read it."""
        self._guarded(lambda server: server.leave_clipboard())

    # -- the loop --------------------------------------------------------------------------------------------------

    def _guarded(self, step: Callable[[x11.Server], object]) -> None:
        """Do a step with the server, if there is one; tell when it is gone."""
        if self._server is None:
            return
        try:
            step(self._server)
        except ServerGone as gone:
            self._close()
            self._sink.lost(str(gone))

    def _close(self) -> None:
        server, self._server = self._server, None
        for timer in (self._timer, self._damage_timer):
            if timer:
                timer.cancel()
        self._timer = self._damage_timer = None
        if server is not None:
            self._ignore_sockets(server)
            server.close()

    def _watch_sockets(self, server: x11.Server) -> None:
        if not self._watching:
            self._sockets = server.sockets()
            for socket in self._sockets:
                self._loop.add_reader(socket, self._on_readable, server)
            self._watching = True

    def _ignore_sockets(self, server: x11.Server) -> None:
        if self._watching:
            for socket in self._sockets:
                self._loop.remove_reader(socket)
            self._watching = False

    def _on_readable(self, server: x11.Server) -> None:
        """Leave the sockets alone for the hold: what comes meanwhile costs no wakeup."""
        self._ignore_sockets(server)
        self._hold()

    def _hold(self) -> None:
        hold_s = max(self._hold_s, TYPING_HOLD_S) if self._typing else self._hold_s
        hold_s = min(hold_s, HOLD_EVENTS / self._rate_hz)
        self._timer = self._loop.call_later(hold_s, self._guarded, self._after_hold)

    def _after_hold(self, server: x11.Server) -> None:
        self._timer = None
        if self._batch(server, all_until_now=False) >= BUSY_EVENTS:
            self._hold()
        else:
            self._watch_sockets(server)

    def _learn_rate(self, times_ms: Sequence[int], count: int) -> None:
        """Follow the rate of input by the server's times: our own delays don't matter to it.

        Args:
            times_ms: of what is told, at least one. count: of what came; not all of it is worth telling, but it took its place.
        """
        seen_hz = (count - 1) * 1000 / max(1, times_ms[-1] - times_ms[0])
        self._rate_hz = max(self._rate_hz * RATE_DECAY, min(seen_hz, FASTEST_HZ) if count >= BUSY_EVENTS else 0)
        if count > 2 * HOLD_EVENTS:  # a mouse that was so fast will be again
            self._floor_hz = max(self._floor_hz, min(seen_hz, FASTEST_HZ))
        self._floor_hz *= FLOOR_DECAY
        self._rate_hz = max(self._rate_hz, self._floor_hz)

    def _begin(self, server: x11.Server) -> None:
        now_ms = self._now_ms()
        self._sink.display(now_ms, *server.display())
        for t_ms, tell, arguments in self._focus(server, now_ms):
            tell(t_ms, *arguments)
        self._batch(server)
        self._watch_sockets(server)

    def _batch(self, server: x11.Server, *, all_until_now: bool = True) -> int:
        """Tell what there is; return the number of input events.

        Args:
            all_until_now: also what the server still holds (a round trip, which is a wakeup more).
        """
        if self._in_batch:  # the sink asked for something: what came since is told when this batch is
            return 0
        self._in_batch = True
        try:
            return self._tell(server, all_until_now=all_until_now)
        finally:
            self._in_batch = False

    def _tell(self, server: x11.Server, *, all_until_now: bool) -> int:
        """Tell notices and input in order.

        What notices ask for is read first; the round trip then makes the server hand out what RECORD still holds, so
        that all input from before a notice is there when both are put in order. Where the socket may have been full, so does
        `fetch_kept` with what the server kept for that reason.
        """
        told: list[Told] = []
        input_ms: list[int] = []
        came, was_full = 0, False
        news = server.notices()
        while True:
            told += self._of_notices(server, news)
            if was_full:
                server.fetch_kept()
            elif news or all_until_now:
                server.round_trip()
            data = server.recorded()
            seen = self._decoder.decode(data, self._now_ms())
            if seen and not self._managed:
                told += self._focus(server, seen[0][0])
            told += seen
            if self.clipboard is not None:
                told += [(self._noticed_ms(at), self.clipboard.pasted, (client,)) for at, client in server.pastes()]
            input_ms += map(_time, seen)
            if seen:
                self._typing = all(tell != self._sink.pointer for _, tell, _ in seen)
            count = len(data) // EVENT_BYTES
            came += count
            was_full = count > SOCKET_EVENTS
            news = server.notices()  # came meanwhile, maybe before some of the input
            if not news and not was_full:
                break
        told.sort(key=_time)  # stable: at the same ms notices come before input
        for t_ms, tell, arguments in told:
            tell(t_ms, *arguments)
        if self._ripe_ms is not None:
            ripe_ms, self._ripe_ms = self._ripe_ms, None
            self._sink.damage(ripe_ms)
        self._told_ms = max(self._told_ms, told[-1][0]) if told else self._told_ms
        if came > SOCKET_EVENTS:
            self.overflows += 1
            now_ms = self._now_ms()  # what is lost may have come after the last of what is told
            self._sink.overflow(now_ms, max(1, now_ms - min(input_ms, default=now_ms)))
        if input_ms:
            self._learn_rate(input_ms, came)
        return len(input_ms)

    def _of_notices(self, server: x11.Server, news: Sequence[notices.Notice]) -> list[Told]:
        told: list[Told] = []
        moved_ms: list[int] = []
        retitled_ms: int | None = None
        display_changed = vanished = False
        for notice in news:
            match notice:
                case notices.FocusMoved(time=at):
                    moved_ms.append(self._noticed_ms(at))
                case notices.Retitled(time=at):
                    retitled_ms = self._noticed_ms(at)
                case notices.Vanished():
                    vanished = True
                case notices.Damaged(time=at):
                    self._on_damage(server, self._noticed_ms(at))
                case notices.IdleCrossed(time=at, idle=idle):
                    told.append((self._noticed_ms(at), self._sink.idle, (idle,)))
                case notices.DisplayChanged():
                    display_changed = True
                case notices.KeyboardChanged():
                    self._decoder.keyboard = server.keyboard()
                case notices.ManagerChanged():
                    self._managed = server.is_managed()
                    moved_ms.append(self._now_ms())
                case notices.ClipboardOwned(time=at, client=client) if self.clipboard is not None:
                    told.append((self._noticed_ms(at), self.clipboard.copied, (client,)))
                case notices.ClipboardAnswered(what=what) if self.clipboard is not None:
                    told += self._answer(server, self.clipboard, what)
        if display_changed:
            told.append((self._now_ms(), self._sink.display, server.display()))
        if len(moved_ms) > 1:
            # Only where the focus is now can be read. Where it was meanwhile is told as unknown, so that no input is
            # taken for another window's than it went to.
            told.append(self._focus_told(moved_ms[0], None))
        if vanished and not moved_ms:
            retitled_ms = self._now_ms()  # a window manager may leave the dead one's id: openbox, with the last window
        if moved_ms or retitled_ms is not None:
            told += self._focus(server, moved_ms[-1] if moved_ms else retitled_ms or 0)
        return told

    def _answer(self, server: x11.Server, sink: ClipboardSink, what: str) -> list[Told]:
        if what == "types":
            offer = server.clipboard_offer()
            return [] if offer is None else [(self._now_ms(), sink.offered, (offer,))]
        text = server.clipboard_text(content=self._reads_content)
        return [] if text is None else [(self._now_ms(), sink.told_text, (text,))]

    def _focus(self, server: x11.Server, t_ms: int) -> list[Told]:
        """Tell the focused window if it is another, or has another title, than the last told."""
        window = server.active_window(managed=self._managed)
        return [] if self._focus_known and _same(window, self._focused) else [self._focus_told(t_ms, window)]

    def _focus_told(self, t_ms: int, window: Window | None) -> Told:
        self._focused, self._focus_known = window, True
        return t_ms, self._sink.focus, (window,)

    # -- damage ----------------------------------------------------------------------------------------------------

    def _on_damage(self, server: x11.Server, t_ms: int) -> None:
        if self._damage_timer is not None or self._damage_hold_s is None:
            return
        hold_s = min(self._damage_hold_s, ATTENTIVE_HOLD_S) if self._attentive else self._damage_hold_s
        if self._attentive and self._now_ms() - t_ms >= hold_s * 1000:
            server.rearm_damage()  # before the round trip that follows every notice
            self._ripe_ms = t_ms
        else:
            self._damaged_ms = t_ms
            self._damage_timer = self._loop.call_later(hold_s, self._guarded, self._tell_damage)

    def _tell_damage(self, server: x11.Server) -> None:
        self._damage_timer = None
        server.rearm_damage()
        self._batch(server)
        self._sink.damage(self._damaged_ms)

    # -- time ------------------------------------------------------------------------------------------------------

    def _now_ms(self) -> int:
        return self.server_ms(time.monotonic_ns())

    def _noticed_ms(self, server_ms: int) -> int:
        """Return a notice's time, 64 bits, but not one before what was told already.

        The server doesn't look at its clock for each notice: it may be stamped some ms before input that it follows.
        """
        return max(self._told_ms, self._decoder.clock.unwrap(server_ms, self._now_ms()))


def _time(told: Told) -> int:
    return told[0]


def _same(one: Window | None, other: Window | None) -> bool:
    """Tell whether two windows are the same but for their place."""
    if one is None or other is None:
        return one is other
    return (one.id, one.app, one.title, one.pid) == (other.id, other.app, other.title, other.pid)
