"""Shell: looks at what this machine can do for a recording, and says how to mend what it cannot. Records nothing.

Each check is independent, bounded in time, and never ends the examination.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capture.errors import CaptureError
from capture.failures import explain

if TYPE_CHECKING:
    from capture.config import Config
    from capture.home import Home

CHECK_S = 8.0
"""A check that takes longer has failed: a bus or a name server that does not answer."""

FREE_BYTES = 500_000_000
"""Less free space than this is worth a word."""


class Level(StrEnum):
    """How a check ended."""

    OK = "ok"
    LIMITED = "limited"  # works, with less
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. name: what was looked at. text: what was found, and how to mend it."""

    name: str
    level: Level
    text: str

    @property
    def failed(self) -> bool:
        """Whether recording cannot work as it should."""
        return self.level is Level.FAILED

    def to_answer(self) -> dict[str, Any]:
        """Return it as plain values for JSON."""
        return asdict(self)


async def examine(config_path: Path, home: Home, environment: Mapping[str, str]) -> list[Check]:
    """Look at everything.

    Args:
        config_path: the configuration, which may be missing or wrong: that is one of the findings.
        home: the agent's folders. environment: DISPLAY, buses.
    """
    found: list[Check] = [_platform(sys.platform)]
    config = _read_config(config_path, found)
    checks: list[tuple[str, Callable[[], Awaitable[Check]]]] = [
        ("display", lambda: _display(environment)),
        ("power", _power),
        ("network", _network),
        ("conditions", _conditions),
        ("clock", _clock),
        ("disk", lambda: _disk(home)),
    ]
    if config is not None:
        from capture.credentials import certificate

        checks += [
            ("archive key", lambda: _archive_key(config)),
            ("consent", lambda: _consent(config, home)),
            ("device key", lambda: _device_key(home)),
            ("certificate", lambda: certificate(config, home)),
            ("broker", lambda: _broker(config)),
        ]
    for name, check in checks:
        try:
            async with asyncio.timeout(CHECK_S):
                found.append(await check())
        except TimeoutError:
            found.append(Check(name, Level.FAILED, f"no answer within {CHECK_S:.0f} s"))
        except Exception as error:
            explained = explain(error)
            found.append(Check(name, Level.FAILED, explained[0] if explained else f"{type(error).__name__}: {error}"))
    return found


def render(checks: list[Check]) -> str:
    """Return the findings as lines for a person."""
    return "\n".join(f"{check.level:8} {check.name:12} {check.text}" for check in checks)


def _platform(name: str) -> Check:
    if name == "linux":
        return Check("platform", Level.OK, "Linux: X11 is recorded in full")
    return Check(
        "platform",
        Level.LIMITED,
        f"{name}: the fallback (mss, psutil, pynput) has not been tested here; windows cannot be told apart, "
        "so screenshots are not taken",
    )


def _read_config(path: Path, found: list[Check]) -> Config | None:
    from capture.config import parse_config

    try:
        config = parse_config(path.read_text(encoding="utf-8"), source=str(path))
    except FileNotFoundError:
        found.append(Check("config", Level.FAILED, f"{path} does not exist: copy deploy/config.example.toml there"))
        return None
    except (CaptureError, OSError, UnicodeDecodeError) as error:
        found.append(Check("config", Level.FAILED, str(error)))
        return None
    found.append(Check("config", Level.OK, f"{path} is valid"))
    return config


async def _display(environment: Mapping[str, str]) -> Check:
    from capture.sources.desktop import Desktop

    class Listener:
        """Hears nothing but the display's size."""

        size = (0, 0)

        def display(self, t_ms: int, width_px: int, height_px: int, monitors: object) -> None:
            self.size = (width_px, height_px)

        def pointer(self, t_ms: int, kind: int, x: int, y: int) -> None: ...
        def key(self, t_ms: int, down: bool, code: int, slot: int) -> None: ...
        def command(self, t_ms: int, name: str) -> None: ...
        def focus(self, t_ms: int, window: object) -> None: ...
        def damage(self, t_ms: int) -> None: ...
        def idle(self, t_ms: int, idle: bool) -> None: ...
        def overflow(self, t_ms: int, ms: int) -> None: ...
        def lost(self, reason: str) -> None: ...

    listener = Listener()
    desktop = Desktop(environment.get("DISPLAY"), wayland=environment.get("WAYLAND_DISPLAY"))
    await desktop.start(asyncio.get_running_loop(), listener)
    try:
        windows = desktop.windows()
    finally:
        desktop.stop()
    width_px, height_px = listener.size
    size = f"X11 display {environment.get('DISPLAY')}, {width_px}x{height_px} px"
    if windows is None:
        return Check("display", Level.LIMITED, f"{size}; its windows cannot be told apart now, so no screenshots")
    return Check("display", Level.OK, f"{size}, {len(windows)} visible windows told apart")


async def _power() -> Check:
    from capture.sources.power import PowerSource

    source = PowerSource()
    await source.start(lambda: None)
    try:
        power = source.current()
    finally:
        await source.stop()
    if power.on_battery is None:
        return Check("power", Level.LIMITED, "no UPower and no battery seen: counted as being on mains")
    charge = "" if power.battery_ratio is None else f", charged {power.battery_ratio:.0%}"
    return Check("power", Level.OK, ("on battery" if power.on_battery else "on mains") + charge)


async def _conditions() -> Check:
    from capture.senses import find_senses

    senses = await find_senses()
    return Check("conditions", Level.LIMITED if senses.missing else Level.OK, senses.in_words())


async def _network() -> Check:
    from capture.sources.network import NetworkSource

    source = NetworkSource()
    await source.start(lambda: None)
    try:
        network = source.current()
    finally:
        await source.stop()
    if network.link == "unknown":
        return Check(
            "network",
            Level.LIMITED,
            "neither NetworkManager nor the desktop portal says whether the link is metered: counted as metered; name "
            "your network in [budget.networks] if you know better",
        )
    return Check("network", Level.OK, f"{network.link}{f', {network.name}' if network.name else ''}")


async def _clock() -> Check:
    from capture.sources.clock import is_synced

    if is_synced():
        return Check("clock", Level.OK, "kept by a time server")
    return Check(
        "clock", Level.LIMITED, "no time server vouches for it: budgets are kept by two clocks, the stricter counts"
    )


async def _disk(home: Home) -> Check:
    folder = home.state
    while not folder.exists():
        folder = folder.parent
    free_bytes = shutil.disk_usage(folder).free
    if not os.access(folder, os.W_OK):
        return Check("disk", Level.FAILED, f"{folder} cannot be written by this user")
    if free_bytes < FREE_BYTES:
        return Check("disk", Level.LIMITED, f"{free_bytes / 1e6:.0f} MB free at {folder}: the spool may not fit")
    return Check("disk", Level.OK, f"{free_bytes / 1e9:.0f} GB free at {folder}")


async def _archive_key(config: Config) -> Check:
    from capture.agreement import archive_key

    key = archive_key(config)
    return Check("archive key", Level.OK, f"{key.key_id.hex()} ({key.suite.name.lower()})")


async def _consent(config: Config, home: Home) -> Check:
    from capture.agreement import consent_digest

    return Check("consent", Level.OK, f"given to notice {consent_digest(config, home).hex()[:16]}")


async def _device_key(home: Home) -> Check:
    if not (home.state / "device.key").exists():
        return Check("device key", Level.OK, "is made at the first start")
    return Check("device key", Level.OK, f"{home.signing_key().key_id.hex()}, device {home.device()}")


async def _broker(config: Config) -> Check:
    section = config.broker
    try:
        _, writer = await asyncio.open_connection(section.host, section.port)
    except (OSError, socket.gaierror) as error:
        return Check(
            "broker",
            Level.LIMITED,
            f"{section.host}:{section.port} does not answer ({error.strerror or error}): what is recorded waits in the spool",
        )
    writer.close()
    secure = "by TLS 1.3" if section.tls else "without encryption of the connection (chunks are sealed)"
    return Check("broker", Level.OK, f"{section.host}:{section.port} answers, {secure}")
