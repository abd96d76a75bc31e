"""A certificate's dates, read without its library, are those that the library reads; and when it is time to renew."""

from __future__ import annotations

import base64
import contextlib

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.validity import DAY_S, SOON_S, Validity, read_validity
from transport.authority import Authority, Purpose, new_key

_, PUBLIC = new_key()
AUTHORITY = Authority.make("fleet", 1_700_000_000)
PEM = AUTHORITY.issue("dev-1", PUBLIC, Purpose.CLIENT, 1_700_000_000).pem


@pytest.mark.parametrize("days", [-3, 1, 365, 3650, 10_000])
@pytest.mark.parametrize("name", ["dev-1", "x" * 60])
def test_the_dates_are_those_that_the_library_reads(days: int, name: str) -> None:
    for pem in (AUTHORITY.certificate, AUTHORITY.issue(name, PUBLIC, Purpose.CLIENT, 1_790_000_000, days=days).pem):
        read, right = read_validity(pem), x509.load_pem_x509_certificate(pem)
        assert read.begins_s == right.not_valid_before_utc.timestamp()
        assert read.ends_s == right.not_valid_after_utc.timestamp()
        assert 0 <= read.share < 1
        assert read_validity(b"what people write before it\n" + pem + PEM) == read


@settings(max_examples=300)
@given(st.data())
def test_a_damaged_certificate_is_an_error_or_harmless(data: st.DataObject) -> None:
    pem = bytearray(PEM)
    pem[data.draw(st.integers(0, len(pem) - 1))] = data.draw(st.integers(0, 255))
    for damaged in (bytes(pem), PEM[: data.draw(st.integers(0, len(PEM)))]):
        with contextlib.suppress(ValueError):
            assert isinstance(read_validity(damaged), Validity)


def test_every_beginning_of_a_certificate_is_an_error() -> None:
    der = base64.b64decode(b"".join(PEM.splitlines()[1:-1]))
    for length in range(len(der)):
        cut = b"-----BEGIN CERTIFICATE-----\n" + base64.b64encode(der[:length]) + b"\n-----END CERTIFICATE-----"
        with pytest.raises(ValueError, match="it "):
            read_validity(cut)


def test_devices_of_one_day_renew_each_at_its_own_moment_and_all_in_time() -> None:
    shares = [read_validity(AUTHORITY.issue("dev", PUBLIC, Purpose.CLIENT, 1_700_000_000).pem) for _ in range(50)]
    before_s = sorted(one.ends_s - one.renews_from_s for one in shares)
    assert SOON_S * 2 / 3 <= before_s[0] < before_s[-1] <= SOON_S
    assert before_s[-1] - before_s[0] > 5 * DAY_S
    assert all(one.renews_from_s < one.urgent_from_s < one.ends_s for one in shares)


def test_a_short_lived_certificate_is_not_due_when_it_is_new() -> None:
    for days in (1, 7, 30, 89):
        for share in (0.0, 0.999):
            one = Validity(0.0, days * DAY_S, share)
            assert days * DAY_S * 2 / 3 <= one.renews_from_s < one.urgent_from_s < one.ends_s
