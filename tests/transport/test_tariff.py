"""What is reckoned for chunks and for what the kernel holds: in the right order, exact at the edge, and learned from loss."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from transport import wire
from transport.tariff import MOST_IN_FLIGHT_BYTES, SMALL_RECORD_BYTES, Tariff, loss_ratio
from transport.wire import Path, TcpInfo

paths = st.builds(Path, st.booleans(), st.booleans(), st.sampled_from([536, 1220, 1448]))
tariffs = st.builds(Tariff, st.integers(0, 100), paths, st.booleans(), st.floats(0, 1))


@given(st.integers(0, 500_000), tariffs)
def test_what_is_affordable_raises_the_exposure_by_no_more(free: int, tariff: Tariff) -> None:
    size = tariff.affordable(free)
    unsent = size + tariff.path.tls * wire.TLS_RECORD_OVERHEAD * -(-size // SMALL_RECORD_BYTES)
    assert 0 <= size <= free
    assert tariff.exposure(TcpInfo(0, 0, 0, unsent, 0, 0)) <= free


@given(st.integers(1, MOST_IN_FLIGHT_BYTES), tariffs)
def test_a_chunk_that_the_kernel_holds_is_within_what_was_asked_for_it(size: int, tariff: Tariff) -> None:
    assert tariff.exposure(TcpInfo(0, 0, 0, size, 0, 0)) <= tariff.chunk(size)
    assert tariff.exposure(TcpInfo(size, 0, 0, 0, 0, 0, 1)) < tariff.exposure(TcpInfo(0, 0, 0, size, 0, 0))


@given(st.integers(0, 5_000_000), tariffs)
def test_the_largest_chunk_fits_and_one_byte_more_does_not(cost: int, tariff: Tariff) -> None:
    size = tariff.largest(cost)
    assert size == 0 or tariff.chunk(size) <= cost
    assert tariff.chunk(size + 1) > cost


def test_a_path_is_reckoned_to_lose_what_it_lost_before_or_loses_now() -> None:
    assert loss_ratio(None, 0.1) == 0.1
    assert loss_ratio(TcpInfo(1000, 0, 900, 0, 0, 0), 0.1) == 0.1
    assert loss_ratio(TcpInfo(100_000, 0, 20_000, 0, 0, 0), 0.1) == 0.2
    assert loss_ratio(TcpInfo(100_000, 0, 20_000, 0, 0, 0), 0.3) == 0.3
