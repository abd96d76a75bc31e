"""Pure: what an X server tells besides input, in our own words. `time` is the server's clock, ms, 32 bits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FocusMoved:
    """Another window is active."""

    time: int


@dataclass(frozen=True, slots=True)
class Retitled:
    """The watched window has another title."""

    time: int


@dataclass(frozen=True, slots=True)
class Damaged:
    """Something on the screen changed, for the first time since the damage was rearmed."""

    time: int


@dataclass(frozen=True, slots=True)
class IdleCrossed:
    """The time without input crossed the threshold; `idle`: upwards."""

    time: int
    idle: bool


@dataclass(frozen=True, slots=True)
class DisplayChanged:
    """The display's size or monitors changed."""


@dataclass(frozen=True, slots=True)
class KeyboardChanged:
    """Keys give other symbols now."""


@dataclass(frozen=True, slots=True)
class ManagerChanged:
    """A window manager came or went."""


@dataclass(frozen=True, slots=True)
class Vanished:
    """The watched window is no more, or is hidden."""


@dataclass(frozen=True, slots=True)
class ClipboardOwned:
    """The clipboard has another owner, or its owner copied anew.

    Attributes:
        client: the base of the owner's resources; 0: nobody has it.
    """

    time: int
    client: int


@dataclass(frozen=True, slots=True)
class ClipboardAnswered:
    """The clipboard's owner answered: `what` was asked, "types" or "text"."""

    what: str


Notice = (
    FocusMoved
    | Retitled
    | Vanished
    | Damaged
    | IdleCrossed
    | DisplayChanged
    | KeyboardChanged
    | ManagerChanged
    | ClipboardOwned
    | ClipboardAnswered
)
