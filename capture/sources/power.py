"""Source: mains or battery, its charge, power saver, lid, lock and sleep.

By signals of UPower, power-profiles-daemon and logind on the system bus and of screen savers on the session bus. Where there
is no UPower, psutil is asked when somebody asks for `current` (no clock of its own). Guarantees: what nobody tells is None
or False, never guessed. Does not guarantee to notice a lock that no service announces (bare xtrlock, i3lock).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from capture.sources.dbus import SESSION, SYSTEM, Bus, Follower, changes_of, owner_of

UPOWER = "org.freedesktop.UPower"
UPOWER_PATH = "/org/freedesktop/UPower"
UPOWER_DEVICE = "org.freedesktop.UPower.Device"
UPOWER_BATTERY_PATH = "/org/freedesktop/UPower/devices/DisplayDevice"
"""The battery as the desktop shows it: all of them together. Single batteries signal once a second for a while."""

PROFILES = (
    ("org.freedesktop.UPower.PowerProfiles", "/org/freedesktop/UPower/PowerProfiles"),
    ("net.hadess.PowerProfiles", "/net/hadess/PowerProfiles"),  # before power-profiles-daemon 0.20
)
HOT = ("high-operating-temperature",)
"""Of power-profiles-daemon's PerformanceDegraded, what heat is; "lap-detected" is the other word of it."""

LOGIND = "org.freedesktop.login1"
LOGIND_PATH = "/org/freedesktop/login1"
LOGIND_MANAGER = "org.freedesktop.login1.Manager"
LOGIND_SESSION = "org.freedesktop.login1.Session"
LOGIND_USER = "org.freedesktop.login1.User"
SCREEN_SAVER_RULE = "type='signal',member='ActiveChanged'"
"""org.freedesktop.ScreenSaver, and GNOME's, MATE's, Cinnamon's and Xfce's, all say ActiveChanged(boolean)."""

SCREEN_SAVERS = tuple(f"org.{desktop}.ScreenSaver" for desktop in ("freedesktop", "gnome", "mate", "cinnamon", "xfce"))

BATTERY_TYPE = 2
WARNING_LOW = 3
"""UPower's WarningLevel: 0 unknown, 1 none, 2 discharging, 3 low, 4 critical, 5 action."""

BATTERY_DISCHARGING = 2


@dataclass(frozen=True, slots=True)
class Power:
    """What is known of the machine's power; None = nobody tells.

    Attributes:
        on_battery: not on mains. battery_ratio: 0-1. energy_rate_w: what the battery gives (positive) or takes (negative).
        warning: the system calls the battery low. power_saver: the person or the system asked programs to save.
        degraded: the machine is too hot to work as fast as it could (power-profiles-daemon says so).
        lid_closed, locked, sleeping: of this person's session; `sleeping`: the machine is about to suspend.
        away: another session has the screen (the user was switched).
        source: who tells of the battery: "upower", "psutil" or "".
    """

    on_battery: bool | None = None
    battery_ratio: float | None = None
    energy_rate_w: float | None = None
    warning: bool = False
    power_saver: bool | None = None
    degraded: bool | None = None
    lid_closed: bool | None = None
    locked: bool = False
    sleeping: bool = False
    away: bool = False
    source: str = ""


class PowerSource:
    """Keeps `current` current. State: the buses, what they last said, by interface."""

    def __init__(self) -> None:
        self._power = Power()
        self._system: Bus | None = None
        self._session: Bus | None = None
        self._session_path = ""
        self._said: dict[str, dict[str, Any]] = {}
        self._reading: dict[str, dict[str, Any]] = {}
        self._screen_saver = False
        self._sleeping = False
        self._on_change: Callable[[], None] = lambda: None
        self._follower = Follower("power", self._read, self._attach)

    async def start(self, on_change: Callable[[], None]) -> None:
        """Read everything once and call `on_change` at each change from then on."""
        await self._follower.connect(SYSTEM, SESSION)
        await self._follower.follow()
        self._on_change = on_change

    async def _attach(self, kind: str, bus: Bus) -> None:
        if kind == SESSION:
            self._session = bus
            await bus.listen(self._on_session_signal, [SCREEN_SAVER_RULE])
            shown = await _screen_saver_shown(bus)
            self._screen_saver = self._screen_saver if shown is None else shown
            return
        self._system = bus
        self._session_path = await self._find_session(bus) or self._session_path
        rules = [
            changes_of(UPOWER, UPOWER_PATH, UPOWER),
            changes_of(UPOWER, UPOWER_BATTERY_PATH, UPOWER_DEVICE),
            owner_of(UPOWER),
            f"type='signal',sender='{LOGIND}',interface='{LOGIND_MANAGER}',member='PrepareForSleep',path='{LOGIND_PATH}'",
        ]
        for interface, path in PROFILES:
            rules += [changes_of(interface, path, interface), owner_of(interface)]
        if self._session_path:
            rules.append(changes_of(LOGIND, self._session_path, LOGIND_SESSION))
        await bus.listen(self._on_system_signal, rules)
        # The end of a sleep may have been told while there was no bus.
        self._sleeping = bool((await bus.properties(LOGIND, LOGIND_PATH, LOGIND_MANAGER)).get("PreparingForSleep"))

    def current(self) -> Power:
        """Return what is known now."""
        if self._power.source != "upower":
            return replace(self._power, **_from_psutil())
        return self._power

    async def told_by(self) -> dict[str, str]:
        """Return by what each condition would be told, "" for those that nobody tells; for `modicum doctor`."""
        power, has = self.current(), {LOGIND: False}
        if self._system is not None:
            has[LOGIND] = await self._system.has(LOGIND)
        savers = [saver for saver in SCREEN_SAVERS if self._session is not None and await self._session.has(saver)]
        lock = ["logind"] if self._session_path else []
        return {
            "mains or battery": power.source if power.on_battery is not None else "",
            "charge": power.source if power.battery_ratio is not None else "",
            "a low battery's warning": "upower" if power.source == "upower" and power.battery_ratio is not None else "",
            "power saver": "power-profiles-daemon" if power.power_saver is not None else "",
            "lid": "upower" if power.lid_closed is not None else "",
            "lock": " and ".join([*lock, *savers]),
            "sleep": "logind" if has[LOGIND] else "",
        }

    async def stop(self) -> None:
        """Stop listening; harmless when not started."""
        self._on_change = lambda: None
        await self._follower.stop()
        self._system = self._session = None

    async def _find_session(self, bus: Bus) -> str:
        """Return the path of this person's session; "" without logind. A service of the user is in none: take the user's."""
        answer = await bus.call(LOGIND, LOGIND_PATH, LOGIND_MANAGER, "GetSessionByPID", "u", [os.getpid()])
        if answer:
            return str(answer[0])
        answer = await bus.call(LOGIND, LOGIND_PATH, LOGIND_MANAGER, "GetUser", "u", [os.getuid()])
        if not answer:
            return ""
        shown = (await bus.properties(LOGIND, str(answer[0]), LOGIND_USER)).get("Display")
        return str(shown[1]) if shown and shown[0] else ""

    def _on_system_signal(self, path: str, member: str, arguments: list[Any]) -> None:
        if member == "PropertiesChanged" and not arguments[2]:
            # The signal says all: asking again would be several wakeups, twice a minute on battery.
            self._said.setdefault(arguments[0], {}).update(arguments[1])
            if arguments[0] in self._reading:
                self._reading[arguments[0]].update(arguments[1])
            self._tell()
        elif member == "PrepareForSleep":
            self._sleeping = bool(arguments[0])
            self._tell()
        else:  # a service came or went, or values changed that the signal doesn't carry
            self._follower.stale()

    def _on_session_signal(self, path: str, member: str, arguments: list[Any]) -> None:
        if member == "ActiveChanged" and arguments and isinstance(arguments[0], bool):
            self._screen_saver = arguments[0]
            self._tell()

    async def _read(self) -> None:
        """Ask for all properties anew.

        What was known holds until all is read, and a lock until its service says otherwise: silence unlocks nothing.
        """
        bus = self._system
        self._reading = {LOGIND_SESSION: dict(self._said.get(LOGIND_SESSION, {}))}
        if bus is not None and bus.connected:
            places = [(UPOWER, UPOWER_PATH, UPOWER), *((interface, path, interface) for interface, path in PROFILES)]
            if self._session_path:
                places.append((LOGIND, self._session_path, LOGIND_SESSION))
            for service, path, interface in places:
                answer = await bus.properties(service, path, interface)
                if answer or interface != LOGIND_SESSION:
                    self._reading[interface] = dict(answer)
            if self._reading[UPOWER]:
                battery = await bus.properties(UPOWER, UPOWER_BATTERY_PATH, UPOWER_DEVICE)
                self._reading[UPOWER_DEVICE] = dict(battery)
        self._said, self._reading = self._reading, {}
        self._tell()

    def _tell(self) -> None:
        said = {interface: self._said.get(interface, {}) for interface in (UPOWER, UPOWER_DEVICE, LOGIND_SESSION)}
        profiles: Mapping[str, Any] = next(filter(None, (self._said.get(interface) for interface, _ in PROFILES)), {})
        profile = profiles.get("ActiveProfile")
        power = Power(
            power_saver=None if profile is None else profile == "power-saver",
            degraded=None if profile is None else profiles.get("PerformanceDegraded") in HOT,
            locked=bool(said[LOGIND_SESSION].get("LockedHint", False)) or self._screen_saver,
            sleeping=self._sleeping,
            away=said[LOGIND_SESSION].get("Active") is False,
        )
        power = replace(power, **_from_upower(said[UPOWER], said[UPOWER_DEVICE]))
        if power != self._power:
            self._power = power
            self._on_change()


async def _screen_saver_shown(bus: Bus) -> bool | None:
    """Tell whether a screen saver that runs says that it hides the screen; None when none says anything."""
    said: bool | None = None
    for service in SCREEN_SAVERS:
        if await bus.has(service):
            answer = await bus.call(service, "/" + service.replace(".", "/"), service, "GetActive")
            if answer and answer[0] is True:
                return True
            said = False if answer else said
    return said


def _from_upower(machine: Mapping[str, Any], battery: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that UPower's properties tell."""
    if "OnBattery" not in machine:
        return {}
    fields: dict[str, Any] = {"source": "upower", "on_battery": bool(machine["OnBattery"])}
    if "LidIsPresent" in machine:
        fields["lid_closed"] = bool(machine.get("LidIsClosed")) if machine["LidIsPresent"] else None
    if battery.get("IsPresent") and battery.get("Type") == BATTERY_TYPE:
        rate_w = abs(float(battery.get("EnergyRate", 0.0)))
        fields["battery_ratio"] = min(max(float(battery.get("Percentage", 0.0)) / 100, 0.0), 1.0)
        fields["energy_rate_w"] = rate_w if battery.get("State") == BATTERY_DISCHARGING else -rate_w
        fields["warning"] = int(battery.get("WarningLevel", 0)) >= WARNING_LOW
    return fields


def _from_psutil() -> dict[str, Any]:
    """Return the fields that psutil tells (sysfs on Linux, the system's own call on Windows and macOS)."""
    import psutil

    try:
        battery = psutil.sensors_battery()
    except (AttributeError, OSError):  # a platform without it
        return {}
    if battery is None:
        return {}
    on_battery = None if battery.power_plugged is None else not battery.power_plugged
    ratio = min(max(float(battery.percent) / 100, 0.0), 1.0)
    return {"source": "psutil", "on_battery": on_battery, "battery_ratio": ratio}
