"""The scripted person's movements have the shape that hands give them."""

from __future__ import annotations

import math
from itertools import pairwise
from random import Random
from statistics import mean

from hypothesis import given
from hypothesis import strategies as st

from benches import human, phrases

points = st.tuples(st.integers(0, 3839), st.integers(0, 2159))


@given(start=points, end=points, seed=st.integers(0, 2**32))
def test_a_path_ends_exactly_at_its_target(start: tuple[int, int], end: tuple[int, int], seed: int) -> None:
    path = human.path(start, end, 30, Random(seed))
    assert (path[-1] if path else start) == end


def test_long_ways_to_small_targets_take_longer() -> None:
    def reports(distance: int, target: float) -> float:
        return mean(len(human.path((0, 0), (distance, 0), target, Random(seed))) for seed in range(60))

    assert reports(60, 60) < reports(600, 60) < reports(600, 10)
    assert 0.4 < reports(900, 20) / human.REPORT_RATE_HZ < 2.0


def test_a_path_is_fast_in_the_middle_and_slow_at_its_ends() -> None:
    path = [(0, 0), *human.path((0, 0), (100, 0), 20, Random(4))]
    speeds = [math.dist(a, b) for a, b in pairwise(path)]
    third = len(speeds) // 3
    assert mean(speeds[third:-third]) > 2 * mean(speeds[: third // 2 + 1])
    assert mean(speeds[third:-third]) > 2 * mean(speeds[-third // 2 :])


@given(seed=st.integers(0, 2**32), text=st.sampled_from(phrases.SENTENCES + phrases.COMMANDS))
def test_strokes_type_the_text_with_slips_corrected(seed: int, text: str) -> None:
    typed = ""
    for stroke in human.strokes(text, Random(seed), typo_ratio=0.2):
        assert stroke.wait_ms > 0
        assert stroke.hold_ms > 0
        typed = typed[:-1] if stroke.char == "BackSpace" else typed + stroke.char
    assert typed == text


def test_typing_has_the_pace_of_a_practised_person() -> None:
    text = " ".join(phrases.SENTENCES)
    strokes = human.strokes(text, Random(2))
    words_a_minute = len(text) / 5 / (sum(stroke.wait_ms for stroke in strokes) / 60_000)
    assert 40 < words_a_minute < 75


def test_the_wheel_turns_in_flicks() -> None:
    waits = human.wheel_waits_ms(60, Random(1))
    assert len(waits) == 60
    assert sum(wait > 150 for wait in waits) in range(8, 17)
