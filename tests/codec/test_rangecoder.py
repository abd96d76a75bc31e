"""The range coder: whatever was decided comes back, at the cost that the probabilities say."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.errors import Corrupt
from codec.rangecoder import LOOKAHEAD_BYTES, PLAIN_BITS, StepDecoder, encode_steps

STEPS = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 1), st.sampled_from((1, 32, 1000, 32768, 65000, 65504, 65535))),
        st.integers(1, PLAIN_BITS).flatmap(
            lambda bits: st.integers(0, (1 << bits) - 1).map(lambda number: (number << 5 | bits, 0))
        ),
    )
)


def decode(code: bytes, steps: list[tuple[int, int]]) -> list[tuple[int, int]]:
    decoder = StepDecoder(code)
    return [
        (decoder.decision(one), one) if one else (decoder.plain(value & 31) << 5 | value & 31, 0)
        for value, one in steps
    ]


@given(STEPS)
def test_steps_come_back(steps: list[tuple[int, int]]) -> None:
    code = encode_steps([value for value, _ in steps], [one for _, one in steps])
    assert decode(code, steps) == steps


@pytest.mark.parametrize("one", [40, 20_000, 65_500])
def test_long_runs_of_the_unlikely_carry_rightly(one: int) -> None:
    rng = random.Random(one)
    steps = [(int(rng.random() < 0.5), one) for _ in range(3000)]
    assert decode(encode_steps([v for v, _ in steps], [o for _, o in steps]), steps) == steps


def test_the_cost_is_what_the_probabilities_say() -> None:
    rng = random.Random(1)
    steps = [(int(rng.random() < 0.1), 6554) for _ in range(20_000)]
    code = encode_steps([v for v, _ in steps], [o for _, o in steps])
    ideal = sum(-math.log2(one / 65536 if value else 1 - one / 65536) for value, one in steps) / 8
    assert ideal - 1 <= len(code) <= ideal * 1.0005 + 2


def test_a_decoder_does_not_read_on_for_ever() -> None:
    decoder = StepDecoder(b"\x80")
    with pytest.raises(Corrupt, match="claims more than it holds"):
        decoder.plain(8 * (2 * LOOKAHEAD_BYTES + 2))
