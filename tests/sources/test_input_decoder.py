"""Decoding of recorded core events, slots, and the server's clock."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from capture.sources.input_decoder import InputDecoder, ServerClock, Told
from capture.sources.keyclass import KeyboardMap
from codec.keys import UNKNOWN_SLOT
from codec.model import KeyClass

NOW_MS = 5_000_000_000  # the 32-bit clock has wrapped once


def pointer(*_: object) -> None: ...


def key(*_: object) -> None: ...


def event(kind: int, detail: int, x: int = 0, y: int = 0, *, time: int = NOW_MS & 0xFFFFFFFF, state: int = 0) -> bytes:
    """Return a core event as the server sends it (X11 protocol, appendix B)."""
    return struct.pack("=BBHIIIIhhhhHBB", kind, detail, 7, time, 1, 2, 3, x, y, -5, -6, state, 1, 0)


def decoder() -> InputDecoder:
    letters = KeyboardMap(8, 1, [0x61] * 248)
    return InputDecoder(ServerClock(1000, 1_000_000_000), letters, pointer, key)


def decode(*events: bytes) -> list[Told]:
    return decoder().decode(b"".join(events), NOW_MS)


def test_motion_carries_time_and_position_on_the_root_window() -> None:
    assert decode(event(6, 0, 1919, -3)) == [(NOW_MS, pointer, (0, 1919, -3))]


def test_buttons_are_pressed_and_released_and_a_wheel_click_is_one_event() -> None:
    told = decode(*(event(kind, button, 1, 2) for button in (1, 3, 4, 7, 8) for kind in (4, 5)))
    assert [arguments[0] for _, _, arguments in told] == [2, 3, 6, 7, 8, 14, 16, 17]
    assert {arguments[1:] for _, _, arguments in told} == {(1, 2)}


def test_buttons_without_a_name_are_counted_and_dropped() -> None:
    one = decoder()
    assert one.decode(event(4, 200) + event(5, 200) + event(4, 0), NOW_MS) == []
    assert one.unnamed_buttons == 2


def test_a_release_carries_its_presses_slot_and_the_lowest_free_slot_is_taken() -> None:
    told = decode(*(event(kind, code) for kind, code in ((2, 30), (2, 31), (3, 30), (2, 32), (3, 31), (3, 32))))
    assert [arguments for _, _, arguments in told] == [
        (True, KeyClass.LETTER, 0),
        (True, KeyClass.LETTER, 1),
        (False, KeyClass.LETTER, 0),
        (True, KeyClass.LETTER, 0),
        (False, KeyClass.LETTER, 1),
        (False, KeyClass.LETTER, 0),
    ]


def test_a_release_without_a_press_says_so_and_auto_repeat_keeps_its_slot() -> None:
    told = decode(event(3, 30), event(2, 31), event(2, 31), event(3, 31))
    assert [arguments[2] for _, _, arguments in told] == [UNKNOWN_SLOT, 0, 0, 0]


def test_no_two_keys_of_a_class_can_be_told_apart() -> None:
    one, other = decode(event(2, 38), event(3, 38)), decode(event(2, 56), event(3, 56))
    assert one == other
    assert "38" not in repr([arguments for _, _, arguments in one])


def test_other_events_and_an_incomplete_one_are_passed_over() -> None:
    assert decode(event(12, 0), event(35, 0)) == []
    assert len(decode(event(6, 0), event(6, 0)[:31])) == 1


@given(st.binary(max_size=200))
def test_any_bytes_are_harmless(data: bytes) -> None:
    decoder().decode(data, NOW_MS)


@given(st.integers(0, 2**40), st.integers(-(2**31) + 1, 2**31 - 1))
def test_the_clock_is_unwrapped_to_the_nearest(near_ms: int, away_ms: int) -> None:
    clock = ServerClock(0, 0)
    assert clock.unwrap((near_ms + away_ms) & 0xFFFFFFFF, near_ms) == near_ms + away_ms


@given(st.integers(0, 2**60), st.integers(-4, 4))
def test_a_server_that_counts_our_clock_has_no_offset(mono_ns: int, late_ms: int) -> None:
    clock = ServerClock((mono_ns // 1_000_000 + late_ms) & 0xFFFFFFFF, mono_ns)
    assert clock.server_ms(mono_ns) == mono_ns // 1_000_000


def test_a_server_with_a_clock_of_its_own_has_an_offset() -> None:
    clock = ServerClock(10_000, 2_000_000_000)
    assert clock.server_ms(3_000_000_000) == 11_000
    behind = ServerClock(2**32 - 500, 2_000_000_000)
    assert behind.unwrap(2**32 - 400, behind.server_ms(2_100_000_000)) == behind.server_ms(2_100_000_000)
