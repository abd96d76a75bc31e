"""The rows section: rows come back equal and in order, and no bytes whatever do harm."""

from __future__ import annotations

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benches.persons import invent_rows
from codec import rows as module
from codec.errors import CodecError, TooLarge, Truncated, Unsupported
from codec.model import Row
from codec.rows import decode_rows, encode_rows

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=20), st.binary(max_size=20)
)
ROWS = st.lists(
    st.builds(
        Row,
        st.integers(-(1 << 39), 1 << 39),
        st.sampled_from(["focus", "clipboard", "select", "gap", "ø"]),
        st.dictionaries(st.sampled_from(["app", "title", "bytes", "x", ""]), SCALARS, max_size=5),
    ),
    max_size=30,
)
SLOW_OK = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@SLOW_OK
@given(ROWS)
def test_rows_come_back_as_they_were(rows: list[Row]) -> None:
    again = decode_rows(encode_rows(rows))
    assert again == rows
    for one, other in zip(rows, again, strict=True):
        assert list(one.fields) == list(other.fields)
        assert [type(value) for value in one.fields.values()] == [type(value) for value in other.fields.values()]


def test_a_nan_stays_one() -> None:
    (row,) = decode_rows(encode_rows([Row(0, "plan", {"ratio": math.nan})]))
    assert math.isnan(row.fields["ratio"])  # type: ignore[arg-type]


@SLOW_OK
@given(ROWS)
def test_every_proper_prefix_is_truncated(rows: list[Row]) -> None:
    section = encode_rows(rows)
    for end in range(len(section)):
        with pytest.raises(Truncated):
            decode_rows(section[:end])


@SLOW_OK
@given(ROWS, st.data())
def test_a_flipped_byte_raises_or_is_harmless(rows: list[Row], data: st.DataObject) -> None:
    section = encode_rows(rows)
    for _ in range(20):
        flipped = bytearray(section)
        flipped[data.draw(st.integers(0, len(section) - 1))] ^= data.draw(st.integers(1, 255))
        try:
            assert len(decode_rows(bytes(flipped))) <= module.MAX_ROWS
        except CodecError:
            continue


@SLOW_OK
@given(st.binary(max_size=200))
def test_arbitrary_bytes_do_no_harm(noise: bytes) -> None:
    for section in (noise, bytes((1, len(noise))) + noise):
        try:
            decode_rows(section)
        except CodecError:
            continue


def test_an_unknown_version_is_named() -> None:
    with pytest.raises(Unsupported, match="format 9"):
        decode_rows(b"\x09\x00")


def test_rows_of_constants_cannot_claim_memory() -> None:
    fields = dict.fromkeys(f"f{index}" for index in range(60))
    with pytest.raises(TooLarge):
        encode_rows([Row(0, "gap", fields)] * 10_000)


def test_too_many_rows_are_refused() -> None:
    with pytest.raises(TooLarge):
        encode_rows([Row(0, "gap")] * (module.MAX_ROWS + 1))


def test_a_busy_hour_costs_a_few_bytes_a_row() -> None:
    size = count = 0
    for seed in (11, 12, 13):
        rows = invent_rows(seed, 3_600_000)
        for begin in range(0, 3_600_000, 300_000):
            part = [Row(row.t_ms - begin, row.kind, row.fields) for row in rows if begin <= row.t_ms < begin + 300_000]
            size += len(encode_rows(part))
            count += len(part)
    assert count > 1000
    assert size / count <= 12
