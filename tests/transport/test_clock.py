"""The machine's clocks."""

from pathlib import Path

from transport.clock import SyncedClock, boot, local_zone, steady_ns


def test_the_steady_clock_goes_on() -> None:
    assert steady_ns() <= steady_ns()


def test_a_boot_has_one_name() -> None:
    assert boot() == boot()
    assert len(boot()) == 8


def test_the_kernel_answers_whether_the_clock_is_synchronised() -> None:
    assert SyncedClock()() in {True, False}


def test_the_time_zone_is_read_from_the_systems_link(tmp_path: Path) -> None:
    zone = tmp_path / "zoneinfo" / "Europe" / "Berlin"
    zone.parent.mkdir(parents=True)
    zone.write_bytes(b"")
    link = tmp_path / "localtime"
    link.symlink_to(zone)
    assert local_zone(link) == "Europe/Berlin"
    assert local_zone(tmp_path / "missing") == "UTC"
    assert local_zone(zone.parent) == "Europe"
