"""Shell: put the agent under the person's own service manager, take it out again, and tell how it is doing there.

On Linux by `systemctl --user`. On macOS and Windows the file is written and the command that registers it is named: nobody has
run it there, so it is not run for anybody.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from capture import service
from capture.errors import CaptureError

if TYPE_CHECKING:
    from capture.config import Config
    from capture.home import Home

UNIT = f"{service.NAME}.service"
SYSTEMCTL_S = 90.0
"""For a start: the agent encodes nothing yet, but a machine at log-in is busy."""

SHOWN = ("LoadState", "UnitFileState", "ActiveState", "SubState", "MainPID", "NRestarts", "StatusText", "Result")


@dataclass(frozen=True, slots=True)
class Standing:
    """What the service manager says. installed, enabled, active; restarts since the start; text: in a line."""

    installed: bool
    enabled: bool
    active: bool
    restarts: int
    text: str


def facts(config: Config, config_path: Path, home: Home) -> service.Facts:
    """Return what the service file says of this machine."""
    beside = Path(sys.executable).parent / "modicum"
    command = (str(beside),) if beside.exists() else (sys.executable, "-m", "capture.cli")
    folders = [home.state, home.runtime]
    if config.spool.directory:
        folders.append(Path(config.spool.directory).expanduser())
    if config.log.file:
        folders.append(Path(config.log.file).expanduser().parent)
    return service.Facts(
        command=command,
        config=str(config_path.expanduser().absolute()),
        consent=str(home.consent_file.absolute()),
        writable=tuple(str(folder.absolute()) for folder in folders),
        farewell=str(home.farewell.absolute()),
    )


def install(known: service.Facts, environment: Mapping[str, str], platform: str = sys.platform) -> list[str]:
    """Write the service file and have the manager take it up; return what to tell the person, line by line.

    Raises:
        CaptureError: there is no service manager, or it refuses.
    """
    path = place(environment, platform)
    path.parent.mkdir(parents=True, exist_ok=True)
    agreed = Path(known.consent).exists()
    if platform == "darwin":
        log = Path(environment.get("HOME", "~")).expanduser() / "Library/Logs/modicum.log"
        path.write_bytes(service.launchd_plist(known, log=str(log)))
        return [f"Written: {path}. Nobody has tried it yet; this loads it:", f"launchctl bootstrap gui/$UID {path}"]
    if platform == "win32":
        user = f"{environment.get('USERDOMAIN', '.')}\\{environment.get('USERNAME', '')}"
        path.write_bytes(service.task_xml(known, user=user))
        return [
            f"Written: {path}. Nobody has tried it yet; this registers it:",
            f'schtasks /create /tn modicum /xml "{path}"',
        ]
    for folder in known.writable:
        Path(folder).mkdir(
            mode=0o700, parents=True, exist_ok=True
        )  # a service cannot make what lies in a read-only tree
    path.write_text(service.systemd_unit(known), encoding="utf-8")
    _systemctl("daemon-reload")
    _systemctl("enable", UNIT)
    if not agreed:
        return [
            f"Installed: {path}. It starts at your next log-in once you have agreed: `modicum consent`.",
        ]
    _systemctl("start", UNIT)
    return [f"Installed and started: {path}. It starts whenever you log in; `modicum service status` shows it."]


def uninstall(environment: Mapping[str, str], platform: str = sys.platform) -> list[str]:
    """Stop it, take it out of the manager and remove the file; what was recorded stays."""
    path = place(environment, platform)
    if not path.exists():
        return ["It is not installed as a service."]
    if platform.startswith("linux"):
        _systemctl("disable", "--now", UNIT)
    path.unlink()
    if platform.startswith("linux"):
        _systemctl("daemon-reload")
        _systemctl("reset-failed", check=False)
    return [f"Removed: {path}. What was recorded and not sent stays; `modicum withdraw` deletes it."]


def standing(environment: Mapping[str, str]) -> Standing:
    """Ask systemd how the service is doing.

    Raises:
        CaptureError: there is no systemd user manager.
    """
    lines = _systemctl("show", UNIT, *(f"--property={name}" for name in SHOWN)).splitlines()
    said = dict(line.split("=", 1) for line in lines if "=" in line)
    installed = said.get("LoadState") == "loaded"
    text = f"{said.get('ActiveState', '?')} ({said.get('SubState', '?')})"
    if said.get("StatusText"):
        text += f": {said['StatusText']}"
    if said.get("Result", "success") != "success":
        text += f"; it ended by {said['Result']}: `journalctl --user -u {UNIT}` says why"
    return Standing(
        installed=installed,
        enabled=said.get("UnitFileState") == "enabled",
        active=said.get("ActiveState") == "active",
        restarts=int(said.get("NRestarts") or 0),
        text=text if installed else "not installed: `modicum service install` does it",
    )


def place(environment: Mapping[str, str], platform: str) -> Path:
    """Return where the service file belongs.

    Raises:
        CaptureError: this platform has no known service manager.
    """
    home = Path(environment.get("HOME") or Path.home())
    if platform == "darwin":
        return home / "Library" / "LaunchAgents" / f"{service.LABEL}.plist"
    if platform == "win32":
        return Path(environment.get("LOCALAPPDATA") or home) / "modicum" / "task.xml"
    if not platform.startswith("linux"):
        raise CaptureError(f"no service manager of {platform} is known: start `modicum run` at log-in by other means")
    base = environment.get("XDG_CONFIG_HOME") or str(home / ".config")
    return Path(base) / "systemd" / "user" / UNIT


def _systemctl(*words: str, check: bool = True) -> str:
    program = shutil.which("systemctl")
    if program is None:
        raise CaptureError("there is no systemd here: start `modicum run` at log-in by your desktop's autostart")
    try:
        done = subprocess.run(
            [program, "--user", "--no-pager", *words],
            capture_output=True,
            text=True,
            timeout=SYSTEMCTL_S,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
    except subprocess.TimeoutExpired as error:
        raise CaptureError(f"systemctl --user {words[0]} did not answer within {SYSTEMCTL_S:.0f} s") from error
    if check and done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise CaptureError(f"systemctl --user {' '.join(words)}: {said[0] if said else 'failed'}")
    return done.stdout
