"""Pure: which class a key belongs to, from the keyboard's mapping of keycodes to keysyms; the names of those that make no text.

Guarantees: of a key that makes text, a class is all that comes out; no keysym, keycode or character of it is returned or put
in an error. Named are keys that never make text (Return, Escape, arrows, F5 …), and any key pressed together with Ctrl, Alt or
Super (a shortcut), unless a modifier that makes text (AltGr) is held as well. A key has the class of what it gives without
modifiers (Shift+1 is a digit's key); only a keypad looks at Num Lock.
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
_TEXT_MODIFIERS = frozenset({0xFE03, 0xFE11, 0xFF7E})
# ISO_Level3_Shift (AltGr), ISO_Level5_Shift, Mode_switch: what is pressed with them is text

_NAMES = {
    0xFF0D: "Return", 0xFF8D: "Return", 0xFF1B: "Escape", 0xFF09: "Tab", 0xFE20: "Tab", 0xFF89: "Tab",
    0xFF08: "BackSpace", 0xFFFF: "Delete", 0xFF9F: "Delete", 0xFF63: "Insert", 0xFF9E: "Insert",
    0xFF50: "Home", 0xFF95: "Home", 0xFF57: "End", 0xFF9C: "End", 0xFF55: "Page_Up", 0xFF9A: "Page_Up",
    0xFF56: "Page_Down", 0xFF9B: "Page_Down", 0xFF51: "Left", 0xFF96: "Left", 0xFF53: "Right", 0xFF98: "Right",
    0xFF52: "Up", 0xFF97: "Up", 0xFF54: "Down", 0xFF99: "Down", 0xFF13: "Pause", 0xFF61: "Print", 0xFF67: "Menu",
}  # fmt: skip
_FUNCTION_KEYS = range(0xFFBE, 0xFFE1)
_SHIFTED = frozenset({"Insert", "Delete"})
"""With Shift alone these are shortcuts (paste, cut), as function keys are; of others it only marks text."""

_SHIFT, _CONTROL, _ALT, _SUPER = 1, 4, 8, 64
"""The core protocol's masks: Shift and Control are fixed, Mod1 and Mod4 are Alt and Super on every common keyboard."""


def name_of(keysym: int) -> str:
    """Return a key's name in a shortcut: "C", "5", "Return", "F5"; "" for what has none."""
    if keysym in _NAMES:
        return _NAMES[keysym]
    if keysym in _FUNCTION_KEYS:
        return f"F{keysym - 0xFFBE + 1}"
    if keysym == 0x20:
        return "space"
    code_point = keysym if keysym < 0x100 else keysym - UNICODE_KEYSYMS
    if 0x20 < code_point < 0x110000 and (keysym < 0x100 or keysym >= UNICODE_KEYSYMS):
        character = chr(code_point)
        return character.upper() if character.isprintable() else ""
    return ""


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
        self._keysyms: dict[int, int] = {}
        self._plain = bytearray(256)
        self._locked = bytearray(256)
        num_lock_codes: set[int] = set()
        text_codes: set[int] = set()
        for index in range(len(keysyms) // width if width else 0):
            code = first + index
            symbols = keysyms[index * width : (index + 1) * width]
            first_symbol = next((symbol for symbol in symbols if symbol), 0)
            plain = classify(first_symbol)
            self._keysyms[code] = first_symbol
            keypad = width > 1 and 0xFF80 <= symbols[0] <= 0xFF9F and symbols[1]
            self._plain[code] = plain
            self._locked[code] = classify(symbols[1]) if keypad else plain
            if _NUM_LOCK in symbols:
                num_lock_codes.add(code)
            if _TEXT_MODIFIERS.intersection(symbols):
                text_codes.add(code)
        self._num_lock_mask = _mask(modifiers, num_lock_codes)
        # A layout may put a text modifier on Alt's own mask only by mistake: then no shortcut with Alt is named.
        self._text_mask = _mask(modifiers, text_codes)

    def class_of(self, keycode: int, state: int) -> int:
        """Return the KeyClass of a key.

        Args:
            keycode: 0-255. state: the modifiers in force (the core event's mask).
        """
        return (self._locked if state & self._num_lock_mask else self._plain)[keycode]

    def command_of(self, keycode: int, state: int) -> str:
        """Return the name of a key press that makes no text ("Ctrl+C", "Escape"), "" of one that makes text or has no name.

        Args:
            keycode: 0-255. state: the modifiers in force (the core event's mask).
        """
        keysym = self._keysyms.get(keycode, 0)
        name = name_of(keysym)
        if not name or self.class_of(keycode, state) == KeyClass.MODIFIER or state & self._text_mask:
            return ""
        held = state & (_CONTROL | _ALT | _SUPER)
        if not held and not (state & _SHIFT and (name in _SHIFTED or keysym in _FUNCTION_KEYS)):
            return name if len(name) > 1 and name != "space" else ""
        parts = ((_CONTROL, "Ctrl"), (_ALT, "Alt"), (_SUPER, "Super"), (_SHIFT, "Shift"))
        return "+".join([*(word for mask, word in parts if state & mask), name])


def _mask(modifiers: Sequence[int], codes: set[int]) -> int:
    per_modifier = len(modifiers) // 8
    mask = 0
    for position, code in enumerate(modifiers):
        if code in codes:
            mask |= 1 << (position // per_modifier)
    return mask
