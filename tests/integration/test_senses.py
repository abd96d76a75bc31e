"""What `modicum doctor` says that this machine cannot tell: with everything there, with nothing there."""

from __future__ import annotations

import subprocess

import pytest
from dbus_fast import Variant

from capture.senses import INSTEAD, find_senses
from capture.sources.dbus import SYSTEM, Bus
from capture.sources.network import MANAGER, MANAGER_PATH
from capture.sources.power import LOGIND, UPOWER, UPOWER_BATTERY_PATH, UPOWER_DEVICE
from capture.sources.usage import told_by
from tests.buses import MOCK, SYSTEM_PYTHON, appears, mock, need_mocks, private_bus, set_properties
from tests.real_daemons import NOWHERE
from tests.x11_display import need

PROFILES = "net.hadess.PowerProfiles"


async def test_without_any_service_everything_that_is_not_told_is_named_with_what_is_done_instead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("DBUS_SYSTEM_BUS_ADDRESS", "DBUS_SESSION_BUS_ADDRESS"):
        monkeypatch.setenv(name, NOWHERE)
    senses = await find_senses()
    assert set(senses.told_by) == set(INSTEAD)
    for condition in ("power saver", "lid", "lock", "sleep", "metered"):
        assert condition in senses.missing
        assert f"{condition} ({INSTEAD[condition]})" in senses.in_words()


async def test_what_the_services_tell_is_not_called_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    need_mocks()
    with private_bus("system") as address:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", NOWHERE)
        with (
            mock("system", "upower", {"OnBattery": True}),
            mock("system", "logind"),
            mock("system", "power_profiles_daemon"),
            mock("system", "networkmanager"),
        ):
            bus = await Bus.connect(SYSTEM)
            assert bus is not None
            for service in (UPOWER, LOGIND, PROFILES, MANAGER):
                await appears(bus, service)
            battery = {"Type": Variant("u", 2), "IsPresent": Variant("b", True), "Percentage": Variant("d", 50.0)}
            await set_properties(bus, UPOWER, UPOWER_BATTERY_PATH, UPOWER_DEVICE, battery)
            await bus.call(MANAGER, MANAGER_PATH, MOCK, "AddProperty", "ssv", [MANAGER, "Metered", Variant("u", 2)])
            await set_properties(bus, MANAGER, MANAGER_PATH, MANAGER, {"State": Variant("u", 70)})
            senses = await find_senses()
            bus.close()
    assert set(senses.missing) <= {"lock", "heat", "load", "wake-ups"}, (
        "the mock has no session, this machine no sensor"
    )
    assert "upower: mains or battery, charge, a low battery's warning, lid" in senses.in_words()
    assert "networkmanager: metered" in senses.in_words()


SENSOR = """
import subprocess, sys
import gi
gi.require_version("UMockdev", "1.0")
from gi.repository import UMockdev
testbed = UMockdev.Testbed.new()
attributes = ["name", "coretemp", "temp1_input", sys.argv[1], "temp1_max", "90000", "temp1_crit", "100000"]
testbed.add_device("hwmon", "hwmon0", None, attributes, [])
program = "from capture.sources.usage import UsageSource; print(UsageSource().current().hot)"
sys.exit(subprocess.run([sys.argv[2], "-c", program]).returncode)
"""


@pytest.mark.parametrize(("milli_c", "hot"), [(55_000, "False"), (84_000, "True")])
def test_heat_is_read_from_the_machines_sensors(milli_c: int, hot: str) -> None:
    """psutil's own reading of /sys, below which umockdev puts a sensor with a mark of 90 °C."""
    import sys

    need("umockdev-wrapper")
    imports = "import gi; gi.require_version('UMockdev', '1.0')"
    if subprocess.run([SYSTEM_PYTHON, "-c", imports], capture_output=True).returncode:
        pytest.skip("not installed: gir1.2-umockdev-1.0 or python3-gi")
    command = ["umockdev-wrapper", SYSTEM_PYTHON, "-c", SENSOR, str(milli_c), sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == hot, done.stderr


def test_what_usage_tells_by_is_said() -> None:
    assert told_by()["wake-ups"] == "getrusage"
