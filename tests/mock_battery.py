"""Runs the real upowerd on a battery and a mains adapter of umockdev's making; for the distribution's own Python.

To be run as `umockdev-wrapper /usr/bin/python3 tests/mock_battery.py`, with DBUS_SYSTEM_BUS_ADDRESS naming a private bus. Says
"ready" when upowerd runs; then each line `mains 0|1` or `battery PERCENT` of standard input takes effect and is echoed.
"""

import subprocess
import sys

import gi

gi.require_version("UMockdev", "1.0")
from gi.repository import UMockdev  # noqa: E402 - only after require_version

FULL_UWH = 50_000_000
POWER_UW = 12_500_000


def main() -> None:
    testbed = UMockdev.Testbed.new()
    mains = testbed.add_device("power_supply", "AC", None, ["type", "Mains", "online", "1"], [])
    battery = testbed.add_device(
        "power_supply",
        "BAT0",
        None,
        ["type", "Battery", "present", "1", "status", "Full", "energy_full", str(FULL_UWH), "energy_full_design",
         str(FULL_UWH), "energy_now", str(FULL_UWH * 8 // 10), "power_now", "0", "capacity", "80", "voltage_now",
         "12000000", "technology", "Li-ion"],
        [],
    )  # fmt: skip
    daemon = subprocess.Popen([sys.argv[1]])  # env=None: UMOCKDEV_DIR is in C's environment only
    print("ready", flush=True)
    try:
        for line in sys.stdin:
            what, value = line.split()
            if what == "mains":
                testbed.set_attribute(mains, "online", value)
                testbed.set_attribute(battery, "status", "Charging" if value == "1" else "Discharging")
                testbed.set_attribute(battery, "power_now", str(POWER_UW))
            else:
                testbed.set_attribute(battery, "capacity", value)
                testbed.set_attribute(battery, "energy_now", str(FULL_UWH * int(value) // 100))
            testbed.uevent(battery, "change")
            testbed.uevent(mains, "change")
            print(line.strip(), flush=True)
    finally:
        daemon.terminate()
        daemon.wait()


main()
