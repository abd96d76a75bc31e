"""Meta: round trips, defaults that cost nothing, ranges, and hostile bytes."""

from __future__ import annotations

import contextlib
import tracemalloc
from dataclasses import replace

import msgpack
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from codec.errors import CodecError, Corrupt, TooLarge, Truncated
from codec.meta import MAX_META_BYTES, decode_meta, encode_meta
from codec.model import Meta

texts = st.text(max_size=20)
metas = st.builds(
    Meta,
    t0_ms=st.integers(-(2**63), 2**63 - 1),
    wall_t0_ns=st.integers(0, 2**63 - 1),
    duration_ms=st.integers(0, 2**40),
    purposes=st.lists(texts, max_size=5).map(tuple),
    consent=st.sampled_from([b"", bytes(range(32))]),
    expires_s=st.integers(0, 2**40),
    region=texts,
    key_content=texts,
    agent=texts,
    lossy=st.lists(texts, max_size=5).map(tuple),
    counters=st.dictionaries(texts, st.integers(0, 2**63 - 1), max_size=30),
)
SMALL = Meta(123_456, 1_790_000_000_000_000_000, 300_000, ("training",), bytes(range(32)), 1_800_000_000)
BIG = replace(SMALL, counters={f"dropped-because-{n}": n for n in range(200)})


@given(metas)
def test_a_meta_round_trips(meta: Meta) -> None:
    data, is_zstd = encode_meta(meta)
    assert decode_meta(data, is_zstd=is_zstd) == meta


def test_a_usual_meta_is_small() -> None:
    data, is_zstd = encode_meta(SMALL)
    assert not is_zstd
    assert len(data) <= 32 + 48  # the notice's hash, and the rest


def test_a_big_meta_is_compressed() -> None:
    data, is_zstd = encode_meta(BIG)
    assert is_zstd
    assert len(data) < 1500
    assert decode_meta(data, is_zstd=True) == BIG


@pytest.mark.parametrize("meta", [SMALL, BIG])
def test_every_proper_prefix_raises(meta: Meta) -> None:
    data, is_zstd = encode_meta(meta)
    for end in range(len(data)):
        with pytest.raises(Truncated if is_zstd and end > 10 else (Truncated, Corrupt)):
            decode_meta(data[:end], is_zstd=is_zstd)


def test_what_follows_a_meta_is_corrupt() -> None:
    for meta in (SMALL, BIG):
        data, is_zstd = encode_meta(meta)
        with pytest.raises(Corrupt):
            decode_meta(data + b"\0", is_zstd=is_zstd)


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_raise_what_the_codec_raises(data: bytes, is_zstd: bool) -> None:
    with contextlib.suppress(CodecError):
        decode_meta(data, is_zstd=is_zstd)


def packed(**changes: object) -> bytes:
    fields: dict[object, object] = {0: 1, 1: 2, 2: 3}
    fields.update({int(key[1:]): value for key, value in changes.items()})
    return msgpack.packb(fields)


@pytest.mark.parametrize(
    "data",
    [
        packed(k0=1.5),
        packed(k0=True),
        packed(k1=-1),
        packed(k2=2**40 + 1),
        packed(k3="training"),
        packed(k3=[1]),
        packed(k3=["x"] * 65),
        packed(k4=bytes(31)),
        packed(k4="x" * 32),
        packed(k5=-1),
        packed(k6=b"eu"),
        packed(k10=[]),
        packed(k10={"a": -1}),
        packed(k10={"a": 1.0}),
        packed(k10={1: 1}),
        msgpack.packb({0: 1, 1: 2}),
        msgpack.packb([0, 1, 2]),
        msgpack.packb({0: 1, 1: 2, 2: 3, "0": 4}),
        b"\x84\x00\x01\x01\x02\x02\x03\x00\x05",  # the key 0 twice
        b"\x81\x90\x00",  # an array as key
    ],
)
def test_a_field_outside_its_type_or_range_is_corrupt(data: bytes) -> None:
    with pytest.raises(Corrupt):
        decode_meta(data, is_zstd=False)


def test_keys_of_a_newer_writer_are_skipped() -> None:
    assert decode_meta(packed(k11=["new"], k200={"x": 1}), is_zstd=False) == Meta(1, 2, 3)


@pytest.mark.parametrize(
    "meta",
    [
        replace(SMALL, consent=bytes(3)),
        replace(SMALL, duration_ms=-1),
        replace(SMALL, wall_t0_ns=2**64),
        Meta(2**70, 0, 0),
    ],
)
def test_a_meta_outside_its_range_is_not_written(meta: Meta) -> None:
    with pytest.raises(ValueError, match="can't be written"):
        encode_meta(meta)


def test_a_meta_over_the_limit_is_not_written_and_not_read() -> None:
    long = replace(SMALL, region="x" * MAX_META_BYTES)
    with pytest.raises(ValueError, match="over the limit"):
        encode_meta(long)
    with pytest.raises(TooLarge):
        decode_meta(bytes(MAX_META_BYTES + 1), is_zstd=False)
    with pytest.raises(TooLarge):
        decode_meta(zstandard.compress(bytes(MAX_META_BYTES + 1)), is_zstd=True)


def zstd_of_unknown_size(plain: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=False).compress(plain)


@pytest.mark.parametrize(
    ("data", "is_zstd"),
    [
        (zstandard.compress(bytes(1 << 30)), True),
        (zstd_of_unknown_size(bytes(1 << 28)), True),
        (b"\xdc\xff\xff" * 20_000, False),
        (b"\xdc\xea\x60" * 20_000, False),
        (b"\xdd\xff\xff\xff\xff" * 12_000, False),
        (b"\xdc\x04\x00" * 20_000, False),
        (b"\xdf\xff\xff\xff\xff" * 12_000, False),
        (b"\xc6\xff\xff\xff\xff", False),
        (b"\x81\x00\xdc\x04\x00" + b"\x90" * 60_000, False),
    ],
    ids=[
        "bomb",
        "bomb of unknown size",
        "nested 64Ki",
        "nested 60,000",
        "nested 4Gi",
        "nested 1Ki",
        "maps",
        "binary",
        "many empty lists",
    ],
)
def test_a_bomb_takes_little_memory(data: bytes, is_zstd: bool) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(CodecError):
            decode_meta(data, is_zstd=is_zstd)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
