"""Consent: bound to the very text that was shown."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from capture.consent import Consent, Terms, digest, notice

TERMS = Terms(
    purposes=("computer-use-training",),
    applications=("mousepad", "libreoffice*"),
    screenshots="when the picture changed, at most every 2 s",
    readers="the key 1f2e",
    server="broker.example.org",
    retention_days=90,
    region="eu",
    hold_back="10 min",
    copies="a copy of the last 2 days, at most 500 MB, stays on this machine",
    cost="at most 40 MB a day",
)


def test_the_notice_says_every_term() -> None:
    text = notice(TERMS)
    for word in (
        "computer-use-training",
        "mousepad",
        "libreoffice*",
        "every 2 s",
        "1f2e",
        "broker.example.org",
        "90 days",
        "eu",
        "10 min",
        "40 MB",
    ):
        assert word in text


@pytest.mark.parametrize("name", [field.name for field in fields(Terms)])
def test_a_change_of_any_term_asks_again(name: str) -> None:
    value = getattr(TERMS, name)
    changed = value + 1 if isinstance(value, int) else (*value, "x") if isinstance(value, tuple) else value + "x"
    assert digest(notice(replace(TERMS, **{name: changed}))) != digest(notice(TERMS))


def test_a_record_round_trips_and_a_doctored_one_counts_as_none() -> None:
    text = notice(TERMS)
    consent = Consent(digest(text), 1_700_000_000, text)
    assert Consent.from_json(consent.to_json()) == consent
    assert Consent.from_json(consent.to_json().replace(b"mousepad", b"anything")) is None
    assert Consent.from_json(b"{") is None
    assert Consent.from_json(b'{"digest": "x"}') is None
