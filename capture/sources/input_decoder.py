"""Pure: pointer and key events from what the X server's RECORD extension hands over.

RECORD gives the core events of the master devices just as the server made them: its own clock, the exact position on
the root window at that very event, motion and clicks in their true order, through any grab. The other ways were
measured against the truth of a known injection, and lose:

- the motion history (core GetMotionEvents) of today's servers stores the position *before* each event, 0 for an axis
  that did not move, and a (0, 0) for each click (dix/getevents.c, updateMotionHistory);
- XInput2 raw events carry no position; summing their deltas needs the screen's edges, barriers and other clients'
  warps, and an absolute motion of the XTEST device looks just like a relative one.

RECORD also batches in the server (32 events), which costs fewer wakeups, and its 32 bytes are cheaper to read.

Guarantees: the identity of a key that makes text doesn't leave this module: its class and a slot that joins press and release
do; of one that doesn't (Ctrl+C, Escape), also its name.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from capture.sources.keyclass import KeyboardMap
from codec.keys import Slots

KEY_PRESS, KEY_RELEASE, BUTTON_PRESS, BUTTON_RELEASE, MOTION = 2, 3, 4, 5, 6
"""Core event codes (X11 protocol, appendix B)."""

_CORE_EVENT = struct.Struct("=BBxxI12xhh4xHxx")
"""type, detail (button or keycode), time (ms), 12 bytes of windows, root x, root y (px), event x, y, modifier state."""
EVENT_BYTES = _CORE_EVENT.size

WHEEL = range(4, 8)
BUTTONS = range(1, 16)
"""What PointerKind can name; a button above is counted and dropped."""


_HALF, _MASK = 1 << 31, (1 << 32) - 1


class ServerClock:
    """The server's clock as a 64-bit count of ms that never wraps.

    State: the difference to the monotonic clock, fixed at the start. A local server counts the same clock as we do, so
    it doesn't drift; of a remote one's drift nothing but `server_ms` suffers.

    Args:
        server_ms: a reading of the server's clock, 32 bits.
        mono_ns: the monotonic clock at that reading.
    """

    SAME_CLOCK_MS = 5
    """A reading this close to our own clock is our own clock: both are CLOCK_MONOTONIC, the rest is the round trip."""

    def __init__(self, server_ms: int, mono_ns: int) -> None:
        offset = _signed(server_ms - mono_ns // 1_000_000)
        self.offset_ms = 0 if abs(offset) <= self.SAME_CLOCK_MS else offset

    def server_ms(self, mono_ns: int) -> int:
        """Return the server's time (ms, 64 bits) at a monotonic time."""
        return mono_ns // 1_000_000 + self.offset_ms

    def unwrap(self, server_ms: int, near_ms: int) -> int:
        """Return a 32-bit server time as 64 bits.

        Args:
            server_ms: 0 to 2**32 - 1; wraps every 49.7 days.
            near_ms: a 64-bit server time less than 24 days away.
        """
        return near_ms + (server_ms - near_ms + _HALF & _MASK) - _HALF


def _signed(difference: int) -> int:
    """Return a difference of 32-bit counters as the nearest signed number."""
    return (difference + _HALF & _MASK) - _HALF


Told = tuple[int, Callable[..., None], tuple[Any, ...]]
"""Server time (ms, 64 bits), who is to be told, and the arguments that follow the time."""


class InputDecoder:
    """Turns recorded bytes into what was seen.

    State: the keyboard's map, the keys held and their slots, a count of what could not be named.

    Args:
        clock, keyboard: as read from the server; a new keyboard may be set at any time.
        pointer: to be told (t_ms, kind, x, y): PointerKind, px on the root window.
        key: to be told (t_ms, down, code, slot): KeyClass; a press of a slot that is still held is auto-repeat.
        command: to be told (t_ms, name), before the press, of one that makes no text; not of its auto-repeat.
    """

    def __init__(
        self,
        clock: ServerClock,
        keyboard: KeyboardMap,
        pointer: Callable[..., None],
        key: Callable[..., None],
        command: Callable[..., None] | None = None,
    ) -> None:
        self.clock = clock
        self.keyboard = keyboard
        self.unnamed_buttons = 0
        self._pointer, self._key, self._command = pointer, key, command
        self._slots = Slots()

    def decode(self, data: bytes, near_ms: int) -> list[Told]:
        """Return the events of a reply's body, in order.

        Args:
            data: core events of 32 bytes each; an incomplete last one (never seen) is ignored.
            near_ms: the server's time now, 64 bits.
        """
        told: list[Told] = []
        pointer, unwrap = self._pointer, self.clock.unwrap
        whole = len(data) - len(data) % _CORE_EVENT.size
        for kind, detail, time, x, y, state in _CORE_EVENT.iter_unpack(data[:whole]):
            if kind == MOTION:
                told.append((unwrap(time, near_ms), pointer, (0, x, y)))
            elif kind in (BUTTON_PRESS, BUTTON_RELEASE):
                release = kind == BUTTON_RELEASE
                if detail not in BUTTONS:
                    self.unnamed_buttons += not release
                elif not (release and detail in WHEEL):  # a wheel click has no release worth keeping
                    told.append((unwrap(time, near_ms), pointer, (2 * detail + release, x, y)))
            elif kind in (KEY_PRESS, KEY_RELEASE):
                down = kind == KEY_PRESS
                if down and self._command is not None and not self._slots.holds(detail):
                    name = self.keyboard.command_of(detail, state)
                    if name:
                        told.append((unwrap(time, near_ms), self._command, (name,)))
                slot = self._slots.press(detail) if down else self._slots.release(detail)
                code = self.keyboard.class_of(detail, state)
                told.append((unwrap(time, near_ms), self._key, (down, code, slot)))
        return told
