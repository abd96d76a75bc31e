"""Pure: a global shortcut as a person writes it: "ctrl+alt+p", "super+F9"."""

from __future__ import annotations

from dataclasses import dataclass

MODIFIERS = {"shift": 1 << 0, "ctrl": 1 << 2, "control": 1 << 2, "alt": 1 << 3, "super": 1 << 6, "win": 1 << 6}
"""X11's modifier bits (Mod1 is Alt and Mod4 is Super on every keyboard map in use)."""

KEYSYMS = {
    "pause": 0xFF13,
    "scrolllock": 0xFF14,
    "escape": 0xFF1B,
    "space": 0x20,
    "insert": 0xFF63,
    "delete": 0xFFFF,
    "home": 0xFF50,
    "end": 0xFF57,
    "print": 0xFF61,
    **{f"f{number}": 0xFFBD + number for number in range(1, 25)},
    **{letter: ord(letter) for letter in "abcdefghijklmnopqrstuvwxyz0123456789"},
}
"""Keys by name (X11/keysymdef.h)."""


@dataclass(frozen=True, slots=True)
class Shortcut:
    """A shortcut: X11's modifier bits and the keysym, and as it was written."""

    modifiers: int
    keysym: int
    text: str


def parse_shortcut(text: str) -> Shortcut | None:
    """Return a shortcut; None for "" (none is wanted).

    Raises:
        ValueError: it is none, or one that typing would press.
    """
    if not text.strip():
        return None
    *names, key = (part.strip().lower() for part in text.split("+"))
    unknown = [name for name in names if name not in MODIFIERS]
    keysym = KEYSYMS.get(key)
    advice = 'write a shortcut such as "ctrl+alt+p" or "super+F9", or "" for none'
    if unknown or keysym is None:
        raise ValueError(f"{(*unknown, key)[0]!r} is no key here; {advice}")
    modifiers = 0
    for name in names:
        modifiers |= MODIFIERS[name]
    plain = key in ("space", "delete", "insert", "home", "end", "escape") or len(key) == 1
    if plain and not modifiers & ~MODIFIERS["shift"]:
        raise ValueError(f'"{text}" is pressed in typing; {advice}')
    return Shortcut(modifiers, keysym, text)
