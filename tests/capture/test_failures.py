"""Every error of ours becomes a sentence and an exit code, and none a traceback."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import transport
from capture.errors import Exit
from capture.failures import explain
from transport.enrolment import BadEnrolment
from transport.errors import TransportError, Unavailable
from transport.registry import Untrusted


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadEnrolment("no"), Exit.FAILED),
        (Untrusted("no"), Exit.NO_PERMISSION),
        (Unavailable("no"), Exit.NO_BROKER),
        (TransportError("no"), Exit.FAILED),
    ],
)
def test_errors_of_the_transport_are_told(error: Exception, code: Exit) -> None:
    assert explain(error) == ("no", code)


def test_all_errors_that_the_transport_defines_are_among_them() -> None:
    for module in pkgutil.walk_packages(transport.__path__, "transport."):
        importlib.import_module(module.name)
    pending, seen = [TransportError], set[type]()
    while pending:
        kind = pending.pop()
        seen.add(kind)
        pending += kind.__subclasses__()
    assert len(seen) > 15
    for kind in seen:
        if kind.__module__.startswith("transport."):
            assert explain(kind.__new__(kind)) is not None, kind


def test_a_defect_is_not_explained_away() -> None:
    assert explain(KeyError("x")) is None
