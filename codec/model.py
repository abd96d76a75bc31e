"""Pure: the values that flow through modicum, from a source's observation to the archive's reader.

Time. `t_ms` is the source's own clock (on X11: the server's, unwrapped to 64 bits), in whole milliseconds, counted from
the chunk's `t0_ms`. A chunk's `Meta` binds it to the wall clock. Within a stream, order is exact; across streams it is
the order of `t_ms`, and at the same millisecond rows come before keys, keys before pointer (the server's clock does not
tell them apart).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a collector handles chunks without ever looking inside: it need not load numpy
    import numpy as np
    import numpy.typing as npt

Scalar = str | int | float | bool | bytes | None

DEVICE_PATTERN = re.compile(r"[a-z0-9-]{4,32}")
"""Device ids: random pseudonyms, also valid as an MQTT topic level and as a NATS token."""


@dataclass(frozen=True, slots=True, order=True)
class ChunkId:
    """Who wrote a chunk, and which it is.

    Attributes:
        device: the device's pseudonym, `[a-z0-9-]{4,32}`.
        epoch: 32 random bits, new whenever a device's spool was lost or made anew, so that a sequence never repeats.
        seq: 0-based, one more for each chunk of the epoch, 32 bits.
    """

    device: str
    epoch: int
    seq: int

    def __str__(self) -> str:
        return f"{self.device}/{self.epoch:08x}/{self.seq}"


class PointerKind(IntEnum):
    """Kinds of a pointer event, as stored. Buttons follow X: 1 left, 2 middle, 3 right, 4-7 wheel, 8 back, 9 forward.

    Button `b` (1-15) is pressed by `2 * b` and released by `2 * b + 1`. A wheel click has no release worth keeping: it
    is one event, `2 * b` with b = 4 (up), 5 (down), 6 (left), 7 (right).
    """

    MOVE = 0
    DRAG = 1  # motion that the source itself calls a drag; ours says MOVE and leaves it to the buttons
    PRESS_LEFT = 2
    RELEASE_LEFT = 3
    PRESS_MIDDLE = 4
    RELEASE_MIDDLE = 5
    PRESS_RIGHT = 6
    RELEASE_RIGHT = 7
    WHEEL_UP = 8
    WHEEL_DOWN = 10
    WHEEL_LEFT = 12
    WHEEL_RIGHT = 14


class KeyClass(IntEnum):
    """What is kept of a key by default: its class, never its identity."""

    OTHER = 0
    LETTER = 1
    DIGIT = 2
    PUNCTUATION = 3
    SPACE = 4
    EDIT = 5  # Return, Tab, BackSpace, Delete, Insert
    NAVIGATION = 6  # arrows, Home, End, Page Up, Page Down, Escape
    MODIFIER = 7
    FUNCTION = 8  # F1-F24, media keys


@dataclass(frozen=True, slots=True, eq=False)
class PointerEvents:
    """Pointer events as columns of one length n, in the source's order.

    Attributes:
        t_ms: int64 (n,), non-decreasing is usual and not required.
        kind: uint8 (n,), see PointerKind.
        x: int32 (n,), pixels from the left of the whole display. y: int32 (n,), pixels from its top.
    """

    t_ms: npt.NDArray[np.int64]
    kind: npt.NDArray[np.uint8]
    x: npt.NDArray[np.int32]
    y: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.t_ms)

    @classmethod
    def empty(cls) -> PointerEvents:
        """Return no events."""
        import numpy as np

        return cls(np.empty(0, np.int64), np.empty(0, np.uint8), np.empty(0, np.int32), np.empty(0, np.int32))


@dataclass(frozen=True, slots=True, eq=False)
class KeyEvents:
    """Key events as columns of one length n, in the source's order.

    Attributes:
        t_ms: int64 (n,).
        down: bool (n,), True = press.
        code: uint16 (n,), a KeyClass by default (Meta.key_content says which vocabulary).
        slot: uint8 (n,), joins a release to its press without telling which key it was: a press takes the lowest slot
            that no held key has, its release carries the same. 255: a release whose press was not seen.
    """

    t_ms: npt.NDArray[np.int64]
    down: npt.NDArray[np.bool_]
    code: npt.NDArray[np.uint16]
    slot: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.t_ms)

    @classmethod
    def empty(cls) -> KeyEvents:
        """Return no events."""
        import numpy as np

        return cls(np.empty(0, np.int64), np.empty(0, np.bool_), np.empty(0, np.uint16), np.empty(0, np.uint8))


@dataclass(frozen=True, slots=True)
class Row:
    """A rare event with named fields: focus, title, clipboard, select, display, pause, resume, plan, gap.

    Attributes:
        t_ms: see the module.
        kind: the vocabulary of docs/format.md.
        fields: short names to scalars; strings repeat and are stored once a chunk.
    """

    t_ms: int
    kind: str
    fields: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of the display.

    Attributes:
        t_ms: when it was grabbed.
        pixels: uint8 BGRA (H, W, 4); the fourth byte is ignored and reads back as 255.
        screen: 0 = the whole display; 1, 2, … = a monitor, where a source grabs them one by one.
    """

    t_ms: int
    pixels: npt.NDArray[np.uint8]
    screen: int = 0


@dataclass(frozen=True, slots=True)
class Meta:
    """What a chunk says of itself, sealed with it.

    Attributes:
        t0_ms: the source clock's value (ms) that the chunk's `t_ms` count from.
        wall_t0_ns: the wall clock at t0, ns since 1970.
        duration_ms: from t0 to the close.
        purposes: what the person agreed to.
        consent: SHA-256 of the notice that was accepted (32 bytes; empty only in benches and golden vectors).
        expires_s: wall seconds since 1970 after which the archive must have deleted the chunk.
        region: where the data may be kept and read ("" = anywhere).
        key_content: the vocabulary of KeyEvents.code: "class".
        agent: name and version of the writer.
        lossy: the lossy steps that were taken, e.g. ("move-per-8ms",).
        counters: what was dropped or refused since the chunk before, by reason; bytes and CPU by stage.
    """

    t0_ms: int
    wall_t0_ns: int
    duration_ms: int
    purposes: tuple[str, ...] = ()
    consent: bytes = b""
    expires_s: int = 0
    region: str = ""
    key_content: str = "class"
    agent: str = "modicum"
    lossy: tuple[str, ...] = ()
    counters: Mapping[str, int] = field(default_factory=dict)
