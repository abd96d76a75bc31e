"""Classes of keys, from keysyms."""

from __future__ import annotations

import pytest

from capture.sources.keyclass import KeyboardMap, classify
from codec.model import KeyClass

US = {
    10: (0x31, 0x21),  # 1 !
    24: (0x71, 0x51),  # q Q
    36: (0xFF0D, 0),  # Return
    47: (0x3B, 0x3A),  # ; :
    50: (0xFFE1, 0),  # Shift_L
    65: (0x20, 0),
    67: (0xFFBE, 0),  # F1
    77: (0xFF7F, 0),  # Num_Lock
    79: (0xFF95, 0xFFB7),  # KP_Home KP_7
    91: (0xFF9F, 0xFFAE),  # KP_Delete KP_Decimal
    113: (0xFF51, 0),  # Left
    200: (0, 0),
}


def keyboard(num_lock_modifier: int | None = 4) -> KeyboardMap:
    keysyms = [symbol for code in range(8, 256) for symbol in US.get(code, (0, 0))]
    modifiers = [0] * 16
    if num_lock_modifier is not None:
        modifiers[2 * num_lock_modifier] = 77
    return KeyboardMap(8, 2, keysyms, modifiers)


@pytest.mark.parametrize(
    ("keysym", "expected"),
    [
        (0x61, KeyClass.LETTER),
        (0xE9, KeyClass.LETTER),  # é
        (0x06C1, KeyClass.LETTER),  # Cyrillic a, in its own set
        (0x010005D0, KeyClass.LETTER),  # Hebrew alef, as Unicode
        (0x39, KeyClass.DIGIT),
        (0x01000665, KeyClass.DIGIT),  # Arabic-Indic five
        (0xFFB5, KeyClass.DIGIT),
        (0x2C, KeyClass.PUNCTUATION),
        (0xD7, KeyClass.PUNCTUATION),  # ×
        (0xFE51, KeyClass.PUNCTUATION),  # dead acute
        (0xFFAB, KeyClass.PUNCTUATION),  # KP_Add
        (0x20, KeyClass.SPACE),
        (0xFF08, KeyClass.EDIT),
        (0xFFFF, KeyClass.EDIT),  # Delete
        (0xFF8D, KeyClass.EDIT),  # KP_Enter
        (0xFF1B, KeyClass.NAVIGATION),
        (0xFF56, KeyClass.NAVIGATION),
        (0xFF96, KeyClass.NAVIGATION),  # KP_Left
        (0xFFE9, KeyClass.MODIFIER),
        (0xFE03, KeyClass.MODIFIER),  # ISO_Level3_Shift
        (0xFFE5, KeyClass.MODIFIER),  # Caps_Lock
        (0xFFC9, KeyClass.FUNCTION),
        (0x1008FF13, KeyClass.FUNCTION),  # XF86AudioRaiseVolume
        (0, KeyClass.OTHER),
        (0x0112FFFF, KeyClass.FUNCTION),  # beyond Unicode: a vendor's key
    ],
)
def test_keysyms_have_their_class(keysym: int, expected: KeyClass) -> None:
    assert classify(keysym) is expected


def test_every_keysym_has_a_class() -> None:
    for keysym in (*range(0x10000), *range(0x01000000, 0x01000400), 0x01110000, 0x1FFFFFFF, 0xFFFFFFFF):
        assert classify(keysym) in KeyClass


def test_a_key_has_the_class_of_what_it_gives_without_modifiers() -> None:
    shift = 1
    for state in (0, shift):
        assert keyboard().class_of(10, state) == KeyClass.DIGIT
        assert keyboard().class_of(24, state) == KeyClass.LETTER
        assert keyboard().class_of(50, state) == KeyClass.MODIFIER
        assert keyboard().class_of(200, state) == KeyClass.OTHER


def test_the_keypad_follows_num_lock_wherever_it_is_bound() -> None:
    for modifier in (3, 4):
        keys = keyboard(modifier)
        assert keys.class_of(79, 0) == KeyClass.NAVIGATION
        assert keys.class_of(79, 1 << modifier) == KeyClass.DIGIT
        assert keys.class_of(91, 0) == KeyClass.EDIT
        assert keys.class_of(91, 1 << modifier) == KeyClass.PUNCTUATION
    assert keyboard(None).class_of(79, 0xFF) == KeyClass.NAVIGATION


def test_a_map_of_nothing_makes_every_key_other() -> None:
    empty = KeyboardMap(8, 0, [], [])
    assert {empty.class_of(code, 0) for code in range(256)} == {KeyClass.OTHER}
