"""A field that was for a secret once, stays one."""

from __future__ import annotations

from dataclasses import replace

from capture.secret_fields import MAX_REMEMBERED, SecretFields
from capture.sources.a11y import Found

PIN = Found(app=":1.2", path="/7", role="password text", bounds=(10, 20, 200, 24))
NAME = Found(app=":1.2", path="/8", role="entry", bounds=(10, 60, 200, 24))


def test_a_field_says_that_it_is_for_a_secret() -> None:
    fields = SecretFields()
    assert not fields.holds(NAME, 1)
    assert fields.holds(PIN, 1)
    assert not fields.holds(NAME, 1)


def test_revealed_it_stays_one_by_its_object_and_by_its_place() -> None:
    fields = SecretFields()
    fields.holds(PIN, 1)
    revealed = replace(PIN, role="entry")
    assert fields.holds(revealed, 1)
    assert fields.holds(replace(revealed, path="/99"), 1), "another object at the same place"
    assert fields.holds(replace(revealed, bounds=None), 1)
    assert fields.holds(replace(revealed, path="/99", bounds=(10, 20, 200, 24)), 1)
    assert not fields.holds(replace(revealed, path="/100", bounds=(10, 20, 199, 24)), 1)
    assert not fields.holds(replace(revealed, path="/100"), 2), "another window"


def test_what_is_remembered_is_bounded() -> None:
    fields = SecretFields()
    for number in range(1000):
        fields.holds(replace(PIN, path=f"/{number}", bounds=None), 1)
    assert len(fields._seen) == MAX_REMEMBERED
    assert fields.holds(replace(PIN, path="/999", role="entry", bounds=None), 1)
