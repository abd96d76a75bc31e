"""Sizes on the wire: the formulas by hand-counted examples, the kernel's struct, and the order of the bounds."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport import wire
from transport.wire import Path, TcpInfo

PLAIN, TLS = Path(), Path(tls=True)
paths = st.builds(Path, st.booleans(), st.booleans(), st.sampled_from([536, 1220, 1448]))


@pytest.mark.parametrize(
    ("length", "size"), [(0, 1), (127, 1), (128, 2), (16_383, 2), (16_384, 3), (2_097_151, 3), (2_097_152, 4)]
)
def test_remaining_lengths_grow_by_seven_bits(length: int, size: int) -> None:
    assert wire.varint_bytes(length) == size


def test_a_publish_is_counted_by_hand() -> None:
    assert wire.publish_bytes(10, 100, mqtt5=False) == 1 + 1 + 2 + 10 + 2 + 100
    assert wire.publish_bytes(10, 100, mqtt5=True) == 1 + 1 + 2 + 10 + 2 + 1 + 100
    assert wire.publish_bytes(10, 1000, mqtt5=True, properties_bytes=6) == 1 + 2 + 2 + 10 + 2 + 7 + 1000


def test_tls_adds_22_bytes_to_each_record() -> None:
    assert wire.stream_bytes(100, PLAIN) == 100
    assert wire.stream_bytes(100, TLS) == 122
    assert wire.stream_bytes(16_384, TLS) == 16_406
    assert wire.stream_bytes(16_385, TLS) == 16_385 + 44


@given(st.integers(1, 9_000_000), paths)
def test_the_bound_is_above_what_is_expected_which_is_above_the_stream(size: int, path: Path) -> None:
    assert size <= wire.stream_bytes(size, path) < wire.expected_bytes(size, path) <= wire.sent_bound(size, path)


@given(st.integers(0, 100), st.integers(1, 9_000_000), paths, st.floats(0, 1))
def test_loss_and_answers_make_it_dearer(topic: int, size: int, path: Path, loss: float) -> None:
    clean = wire.chunk_bound(topic, size, path, mqtt5=True)
    assert clean > wire.sent_bound(wire.publish_bytes(topic, size, mqtt5=True), path)
    assert wire.chunk_bound(topic, size, path, mqtt5=True, loss_ratio=loss) >= clean


def test_the_bound_of_a_usual_chunk_is_not_wasteful() -> None:
    assert wire.chunk_bound(20, 20_000, TLS, mqtt5=True) < 20_000 * 1.17
    assert wire.chunk_bound(20, 100_000, TLS, mqtt5=True) < 100_000 * 1.14


def test_the_kernels_struct_is_read_at_its_offsets() -> None:
    raw = bytearray(248)
    struct.pack_into("=QQIIII", raw, 120, 8000, 5000, 40, 50, 60, 70)
    struct.pack_into("=QQ", raw, 200, 9000, 123)
    struct.pack_into("=I", raw, 24, 7)
    assert wire.parse_tcp_info(bytes(raw)) == TcpInfo(9000, 5000, 123, 60, 40, 50, 7, 8000)
    assert TcpInfo(9000, 5000, 123, 60, 40, 50, 7, 8000).in_flight == 877
    assert wire.parse_tcp_info(bytes(raw[:215])) is None
    assert wire.wire_bytes(TcpInfo(9000, 5000, 0, 0, 10, 10), PLAIN) == 9000 + 520 + 5000 + 760 + wire.UNCOUNTED_BYTES


def test_a_socket_is_at_rest_when_nothing_waits_for_the_wire_nor_for_the_peer() -> None:
    assert TcpInfo(9000, 5000, 0, 0, 10, 10, 0).at_rest
    assert not TcpInfo(9000, 5000, 0, 1, 10, 10, 0).at_rest
    assert not TcpInfo(9000, 5000, 0, 0, 10, 10, 1).at_rest


def test_staying_connected_is_weighed_against_coming_back() -> None:
    cost = wire.connect_bound(tls=True, client_certificate=False)
    assert wire.worth_keeping(300, 300, tls=True, connect_bytes=cost)
    assert wire.worth_keeping(1800, 300, tls=True, connect_bytes=cost)
    assert not wire.worth_keeping(4 * 3600, 300, tls=True, connect_bytes=cost)
    plain = wire.connect_bound(tls=False, client_certificate=False)
    assert not wire.worth_keeping(3600, 300, tls=False, connect_bytes=plain)
