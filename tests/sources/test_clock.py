"""The machine's clocks, read for real."""

from __future__ import annotations

import sys
import time

import pytest

from capture.sources.clock import boot_id, boot_ns, is_synced, local_time_zone


def test_the_boot_clock_goes_on() -> None:
    before = boot_ns()
    time.sleep(0.001)
    assert boot_ns() > before


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells the boot's id")
def test_the_boot_has_one_name() -> None:
    assert len(boot_id()) == 36
    assert boot_id() == boot_id()


def test_synchronisation_is_a_plain_answer() -> None:
    assert is_synced() in {True, False}


@pytest.mark.parametrize(
    ("environment", "zone"),
    [
        ({"TZ": "Europe/Berlin"}, "Europe/Berlin"),
        ({"TZ": ":Asia/Tokyo"}, "Asia/Tokyo"),
        ({"TZ": "nonsense"}, "UTC"),
        ({"TZ": "../etc"}, "UTC"),
    ],
)
def test_the_environments_time_zone_goes_first(environment: dict[str, str], zone: str) -> None:
    assert local_time_zone(environment) == zone


def test_the_machines_own_time_zone_is_one_that_exists() -> None:
    assert local_time_zone({})
