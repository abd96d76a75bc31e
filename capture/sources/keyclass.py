"""Pure: which class a key belongs to, from the keyboard's mapping of keycodes to keysyms.

Guarantees: a class is all that comes out; no keysym, keycode or character is kept, returned or put in an error. A key
has the class of what it gives without modifiers (Shift+1 is a digit's key); only a keypad looks at Num Lock.
"""

from __future__ import annotations

from collections.abc import Sequence

from codec.keys import class_of_character
from codec.model import KeyClass

UNICODE_KEYSYMS = 0x01000000
"""Keysyms from here on are Unicode code points (X11 protocol, appendix A)."""

_EDIT = frozenset({0xFF08, 0xFF09, 0xFF0A, 0xFF0B, 0xFF0D, 0xFF63, 0xFF65, 0xFF66, 0xFF8D, 0xFF89, 0xFFFF, 0xFE20})
# BackSpace, Tab, Linefeed, Clear, Return, Insert, Undo, Redo, KP_Enter, KP_Tab, Delete, ISO_Left_Tab
_NAVIGATION = frozenset({0xFF1B, *range(0xFF50, 0xFF59), *range(0xFF95, 0xFF9E)})
# Escape, Home to Begin, KP_Home to KP_Begin
_KEYPAD_EDIT = frozenset({0xFF9E, 0xFF9F})  # KP_Insert, KP_Delete
_NUM_LOCK = 0xFF7F


def classify(keysym: int) -> KeyClass:
    """Return the class of one keysym (0 = no symbol: OTHER)."""
    if keysym == 0x20 or keysym == 0xA0 or keysym == 0xFF80:
        return KeyClass.SPACE
    if keysym < 0x100:
        return class_of_character(chr(keysym))
    if keysym >= UNICODE_KEYSYMS:
        return (
            class_of_character(chr(keysym - UNICODE_KEYSYMS))
            if keysym < UNICODE_KEYSYMS + 0x110000
            else KeyClass.FUNCTION
        )
    if keysym in _EDIT or keysym in _KEYPAD_EDIT:
        return KeyClass.EDIT
    if keysym in _NAVIGATION:
        return KeyClass.NAVIGATION
    if 0xFFB0 <= keysym <= 0xFFB9:
        return KeyClass.DIGIT
    if 0xFFAA <= keysym <= 0xFFAF or keysym == 0xFFBD or 0xFE50 <= keysym <= 0xFE93:  # keypad signs, dead keys
        return KeyClass.PUNCTUATION
    if 0xFFE1 <= keysym <= 0xFFEE or 0xFE01 <= keysym <= 0xFE13 or keysym in (0xFF7E, _NUM_LOCK, 0xFF14):
        return KeyClass.MODIFIER
    if keysym >= 0xFF00:  # F1-F35, and the media keys from 0x1008FF00 on
        return KeyClass.FUNCTION
    return KeyClass.LETTER if keysym < 0xFE00 else KeyClass.OTHER  # the alphabets' own sets: Cyrillic, Greek, Thai, …


class KeyboardMap:
    """The classes of all keycodes, with and without Num Lock.

    Args:
        first: the first keycode (8 on every known server).
        width: keysyms for each keycode.
        keysyms: `width` for each keycode in turn, as GetKeyboardMapping answers.
        modifiers: keycodes for each of the eight modifiers in turn, as GetModifierMapping answers (0 = none).
    """

    def __init__(self, first: int, width: int, keysyms: Sequence[int], modifiers: Sequence[int] = ()) -> None:
        self._plain = bytearray(256)
        self._locked = bytearray(256)
        num_lock_codes = set()
        for index in range(len(keysyms) // width if width else 0):
            code = first + index
            symbols = keysyms[index * width : (index + 1) * width]
            plain = classify(next((symbol for symbol in symbols if symbol), 0))
            keypad = width > 1 and 0xFF80 <= symbols[0] <= 0xFF9F and symbols[1]
            self._plain[code] = plain
            self._locked[code] = classify(symbols[1]) if keypad else plain
            if _NUM_LOCK in symbols:
                num_lock_codes.add(code)
        per_modifier = len(modifiers) // 8
        self._num_lock_mask = 0
        for position, code in enumerate(modifiers):
            if code in num_lock_codes:
                self._num_lock_mask |= 1 << (position // per_modifier)

    def class_of(self, keycode: int, state: int) -> int:
        """Return the KeyClass of a key.

        Args:
            keycode: 0-255. state: the modifiers in force (the core event's mask).
        """
        return (self._locked if state & self._num_lock_mask else self._plain)[keycode]
