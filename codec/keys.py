"""Pure: what is kept of a key, wherever it was observed: its class, and the slot that joins its release to its press.

Guarantees: neither tells which key it was; `Slots` forgets a key's identity when it is released.
"""

from __future__ import annotations

import unicodedata

from codec.model import KeyClass

UNKNOWN_SLOT = 255
"""The slot of a release whose press was not seen (codec.model.KeyEvents)."""

_EDIT = frozenset({"enter", "tab", "backspace", "delete", "insert"})
_NAVIGATION = frozenset({"up", "down", "left", "right", "home", "end", "page_up", "page_down", "esc"})
_MODIFIERS = ("alt", "ctrl", "shift", "cmd", "caps_lock", "num_lock")
_CATEGORIES = {
    "L": KeyClass.LETTER,
    "M": KeyClass.LETTER,
    "N": KeyClass.DIGIT,
    "P": KeyClass.PUNCTUATION,
    "S": KeyClass.PUNCTUATION,
    "Z": KeyClass.SPACE,
}
"""By the first letter of a character's general category (Unicode standard, section 4.5)."""


def class_of_character(character: str) -> KeyClass:
    """Return the class of a key that gives this one character."""
    return _CATEGORIES.get(unicodedata.category(character)[0], KeyClass.OTHER)


def class_of_name(name: str) -> KeyClass:
    """Return the class of a key that gives no character, by the name that pynput gives it ("ctrl_l", "page_up")."""
    if name == "space":
        return KeyClass.SPACE
    if name in _EDIT:
        return KeyClass.EDIT
    if name in _NAVIGATION:
        return KeyClass.NAVIGATION
    return KeyClass.MODIFIER if name.startswith(_MODIFIERS) else KeyClass.FUNCTION


class Slots:
    """The slots of the keys that are held. State: one number for each of them."""

    def __init__(self) -> None:
        self._held: dict[object, int] = {}

    def press(self, key: object) -> int:
        """Return the slot of a pressed key: the one it holds (auto-repeat), or the lowest that is free.

        Args:
            key: whatever tells the keys apart while they are held; hashable.
        """
        slot = self._held.get(key)
        if slot is None:
            taken = set(self._held.values())
            slot = next((free for free in range(UNKNOWN_SLOT) if free not in taken), UNKNOWN_SLOT)
            if slot != UNKNOWN_SLOT:  # so many held keys are a source that lost their releases
                self._held[key] = slot
        return slot

    def holds(self, key: object) -> bool:
        """Tell whether a key is held."""
        return key in self._held

    def release(self, key: object) -> int:
        """Return the slot that a released key held, UNKNOWN_SLOT when its press was not seen."""
        return self._held.pop(key, UNKNOWN_SLOT)
