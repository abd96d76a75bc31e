"""Source: whether the link to the network is metered, roaming or down, and which network it is.

By signals of NetworkManager (and ModemManager for roaming); where it doesn't run, by the desktop portal's NetworkMonitor.
Guarantees: what nobody tells is "unknown". Does not guarantee that "unmetered" is free: NetworkManager guesses for networks
nobody has marked; a network's name can be given a class in the configuration.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from capture.sources.dbus import SESSION, SYSTEM, Bus, Follower, changes_of, owner_of

MANAGER = "org.freedesktop.NetworkManager"
MANAGER_PATH = "/org/freedesktop/NetworkManager"
ACTIVE = "org.freedesktop.NetworkManager.Connection.Active"
DEVICE = "org.freedesktop.NetworkManager.Device"
MODEM_MANAGER = "org.freedesktop.ModemManager1"
MODEM_3GPP = "org.freedesktop.ModemManager1.Modem.Modem3gpp"
PORTAL = "org.freedesktop.portal.Desktop"
PORTAL_PATH = "/org/freedesktop/portal/desktop"
MONITOR = "org.freedesktop.portal.NetworkMonitor"
MODEM_RULE = (
    "type='signal',interface='org.freedesktop.DBus.Properties',member='PropertiesChanged',"
    f"path_namespace='/org/freedesktop/ModemManager1/Modem',arg0='{MODEM_3GPP}'"
)

METERED, UNMETERED = (1, 3), (2, 4)
"""NMMetered: 0 unknown, 1 yes, 2 no, 3 guessed yes, 4 guessed no."""

CONNECTED_STATES = (50, 60, 70)
"""NMState: connected locally, to the site, to the world (20: disconnected, 10: asleep, 40: connecting)."""

CAPTIVE = 2
"""NMConnectivityState: a portal is in the way (1: nothing, 3: limited, 4: full; 0: not checked)."""
PORTAL_CAPTIVE = 3
"""The same, as the desktop portal counts (1: local only, 2: limited, 4: full)."""

ROAMING_STATES = (5, 7, 10)
"""MMModem3gppRegistrationState: roaming; roaming for SMS only; roaming, circuit-switched fallback not preferred."""


@dataclass(frozen=True, slots=True)
class Network:
    """What is known of the link.

    Attributes:
        link: "unmetered", "metered", "roaming", "unknown" or "offline" (transport.budget.Link's values).
        name: the connection's name as the person sees it ("Home Wi-Fi"), for overrides; "" = unknown.
        captive: it lets nothing through before somebody has signed in; the link then counts as "offline".
        guessed: nobody has marked the network; the system concluded `link` from its kind.
        source: who tells: "networkmanager", "portal" or "".
    """

    link: str = "unknown"
    name: str = ""
    captive: bool = False
    guessed: bool = False
    source: str = ""


class NetworkSource:
    """Keeps `current` current. State: the buses, what they last said."""

    def __init__(self) -> None:
        self._network = Network()
        self._system: Bus | None = None
        self._session: Bus | None = None
        self._on_change: Callable[[], None] = lambda: None
        self._follower = Follower("network", self._read, self._attach)

    async def start(self, on_change: Callable[[], None]) -> None:
        """Read once and call `on_change` at each change from then on."""
        await self._follower.connect(SYSTEM, SESSION)
        await self._follower.follow()
        self._on_change = on_change

    async def _attach(self, kind: str, bus: Bus) -> None:
        if kind == SYSTEM:
            self._system = bus
            await bus.listen(
                self._on_signal, [changes_of(MANAGER, MANAGER_PATH, MANAGER), owner_of(MANAGER), MODEM_RULE]
            )
        else:
            self._session = bus
            await bus.listen(
                self._on_signal, [f"type='signal',interface='{MONITOR}',member='changed',path='{PORTAL_PATH}'"]
            )

    def current(self) -> Network:
        """Return what is known now."""
        return self._network

    async def stop(self) -> None:
        """Stop listening; harmless when not started."""
        self._on_change = lambda: None
        await self._follower.stop()
        self._system = self._session = None

    def _on_signal(self, path: str, member: str, arguments: list[Any]) -> None:
        self._follower.stale()

    async def _read(self) -> None:
        network = Network()
        if self._system is not None:
            network = await _from_network_manager(self._system)
        if not network.source and self._session is not None:
            network = await _from_portal(self._session)
        if network != self._network:
            self._network = network
            self._on_change()


async def _from_network_manager(bus: Bus) -> Network:
    if not await bus.has(MANAGER):
        return Network()
    manager = await bus.properties(MANAGER, MANAGER_PATH, MANAGER)
    if not manager:
        return Network()
    source = "networkmanager"
    if int(manager.get("State", 0)) not in (0, *CONNECTED_STATES):
        return Network("offline", source=source)
    name, roaming = "", False
    primary = str(manager.get("PrimaryConnection", "/"))
    if primary != "/":
        connection = await bus.properties(MANAGER, primary, ACTIVE)
        name = str(connection.get("Id", ""))
        if connection.get("Type") == "gsm":
            roaming = await _is_roaming(bus, [str(path) for path in connection.get("Devices", ())])
    if int(manager.get("Connectivity", 0)) == CAPTIVE:
        return Network("offline", name, captive=True, source=source)
    metered = int(manager.get("Metered", 0))
    if roaming:
        return Network("roaming", name, source=source)
    if metered in METERED:
        return Network("metered", name, guessed=metered == 3, source=source)
    if metered in UNMETERED:
        return Network("unmetered", name, guessed=metered == 4, source=source)
    return Network("unknown", name, source=source)


async def _is_roaming(bus: Bus, devices: list[str]) -> bool:
    """Tell whether a modem among the devices is registered abroad (a device's Udi is the modem's path)."""
    for device in devices:
        udi = str((await bus.properties(MANAGER, device, DEVICE)).get("Udi", ""))
        if udi.startswith("/org/freedesktop/ModemManager1/"):
            modem = await bus.properties(MODEM_MANAGER, udi, MODEM_3GPP)
            if modem.get("RegistrationState") in ROAMING_STATES:
                return True
    return False


async def _from_portal(bus: Bus) -> Network:
    """Ask the portal. It tells a metered link from others, but not a marked network from a guess."""
    if not await bus.has(PORTAL):
        return Network()
    answer = await bus.call(PORTAL, PORTAL_PATH, MONITOR, "GetStatus")
    if not answer or "available" not in answer[0]:
        return Network()
    if not answer[0]["available"]:
        return Network("offline", source="portal")
    if answer[0].get("connectivity") == PORTAL_CAPTIVE:
        return Network("offline", captive=True, source="portal")
    return Network("metered" if answer[0].get("metered") else "unmetered", guessed=True, source="portal")
