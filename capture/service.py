"""Pure: the files by which an operating system's service manager runs the agent: systemd, launchd, Task Scheduler.

All of them belong to the person's own session: no administrator's rights are used, asked for, or gained. The agent starts at
log-in, and only once the person has agreed: systemd looks for the record of consent itself, the others let the agent look,
which ends at once without it. launchd's and the Task Scheduler's files are checked for form only; nobody has run them.
"""

from __future__ import annotations

import plistlib
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass

NAME = "modicum"
LABEL = "org.modicum.agent"

WATCHDOG_S = 180
"""The agent says twice in this time that its loop turns: one wake-up in ninety seconds."""

RESTART_S = 10
BURST, BURST_S = 6, 600
"""So many restarts in so long, then it stays down: what cannot work is not tried for ever."""

STOP_S = 60
"""Until it is killed. It ends within 2 s; a full disk or a slow machine gets more."""

ABORT_S = 10
"""From the watchdog's SIGABRT to SIGKILL: a process that hangs does not need long to be found hanging still."""

MEMORY_HIGH = "200M"
"""Above it the kernel takes memory back; it needs 110 MB, and some 100 more for a second when video is encoded."""

FINAL_EXITS = (2, 3, 5)
"""capture.errors.Exit: a wrong configuration, no consent, no permission. Trying again mends none of them."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a service file says of this machine. All paths are absolute.

    Attributes:
        command: what starts `modicum`. config: its configuration.
        consent: the record of consent. writable: the folders it writes to.
        farewell: what a withdrawal has left to be told to the archive: one more start sends it.
    """

    command: tuple[str, ...]
    config: str
    consent: str
    writable: tuple[str, ...]
    farewell: str


def systemd_unit(facts: Facts) -> str:
    """Return a unit for systemd's user manager (systemd.service(5), systemd.exec(5))."""
    run = _systemd_words([*facts.command, "run", "--config", facts.config])
    reload = _systemd_words([*facts.command, "config", "reload"])
    writable = "\n".join(f"ReadWritePaths=-{_systemd_word(path)}" for path in facts.writable)
    return f"""\
# Written by `modicum service install`; what you change here is lost when it is called again.
# `systemctl --user edit {NAME}` makes changes that stay.
[Unit]
Description=modicum: records how you work, as you agreed to
ConditionPathExists=|{_systemd_path(facts.consent)}
ConditionPathExists=|{_systemd_path(facts.farewell)}
After=graphical-session.target
PartOf=graphical-session.target
StartLimitIntervalSec={BURST_S}
StartLimitBurst={BURST}

[Service]
Type=notify
ExecStart={run}
ExecReload={reload}
Restart=on-failure
RestartSec={RESTART_S}
RestartPreventExitStatus={" ".join(map(str, FINAL_EXITS))}
WatchdogSec={WATCHDOG_S}
TimeoutStopSec={STOP_S}
TimeoutAbortSec={ABORT_S}
KillMode=mixed

# It waits for everybody else.
Nice=10
CPUSchedulingPolicy=batch
IOSchedulingClass=idle
TimerSlackNSec=50ms
MemoryHigh={MEMORY_HIGH}
MemorySwapMax=0
TasksMax=64

# It may do what it needs and no more.
UMask=0077
NoNewPrivileges=yes
PrivateUsers=yes
ProtectSystem=strict
ProtectHome=read-only
{writable}
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictSUIDSGID=yes
RestrictRealtime=yes
RestrictNamespaces=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK

[Install]
WantedBy=graphical-session.target
"""


def launchd_plist(facts: Facts, *, log: str) -> bytes:
    """Return a launch agent (launchd.plist(5)). Untested: checked for form only.

    Args:
        log: the file for what it prints.
    """
    return plistlib.dumps(
        {
            "Label": LABEL,
            "ProgramArguments": [*facts.command, "run", "--config", facts.config],
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False, "PathState": {facts.consent: True}},
            "ThrottleInterval": RESTART_S,
            "ExitTimeOut": STOP_S,
            "ProcessType": "Background",
            "LowPriorityIO": True,
            "Nice": 10,
            "Umask": 0o077,
            "LimitLoadToSessionType": "Aqua",
            "StandardErrorPath": log,
        }
    )


TASKS = "http://schemas.microsoft.com/windows/2004/02/mit/task"


def task_xml(facts: Facts, *, user: str) -> bytes:
    """Return a task for the Task Scheduler (schema 1.4), UTF-16 as `schtasks /create /xml` wants it. Untested.

    Args:
        user: whose log-in starts it, DOMAIN\\name.
    """
    ET.register_namespace("", TASKS)
    task = _element(None, "Task", version="1.4")
    _element(_element(task, "RegistrationInfo"), "Description", "Records how you work, as you agreed to.")
    trigger = _element(_element(task, "Triggers"), "LogonTrigger")
    _element(trigger, "Enabled", "true")
    _element(trigger, "UserId", user)
    principal = _element(_element(task, "Principals"), "Principal", id="Author")
    _element(principal, "UserId", user)
    _element(principal, "LogonType", "InteractiveToken")
    _element(principal, "RunLevel", "LeastPrivilege")
    settings = _element(task, "Settings")
    for name, value in (
        ("MultipleInstancesPolicy", "IgnoreNew"),
        ("DisallowStartIfOnBatteries", "false"),
        ("StopIfGoingOnBatteries", "false"),
        ("StartWhenAvailable", "true"),
        ("ExecutionTimeLimit", "PT0S"),
        ("Priority", "8"),
    ):
        _element(settings, name, value)
    again = _element(settings, "RestartOnFailure")
    _element(again, "Interval", "PT1M")
    _element(again, "Count", str(BURST))
    run = _element(_element(task, "Actions", Context="Author"), "Exec")
    _element(run, "Command", facts.command[0])
    _element(run, "Arguments", _windows_words([*facts.command[1:], "run", "--config", facts.config]))
    return bytes(ET.tostring(task, encoding="utf-16", xml_declaration=True))


def _element(parent: ET.Element | None, name: str, text: str | None = None, **attributes: str) -> ET.Element:
    tag = f"{{{TASKS}}}{name}"
    element = ET.Element(tag, attributes) if parent is None else ET.SubElement(parent, tag, attributes)
    element.text = text
    return element


def _systemd_path(path: str) -> str:
    return path.replace("%", "%%")


def _systemd_word(word: str) -> str:
    """Quote a word for systemd (systemd.syntax(7)): specifiers and variables are taken literally."""
    word = _systemd_path(word).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{word}"' if any(c in word for c in " \t'\";") else word


def _systemd_words(words: Sequence[str]) -> str:
    return " ".join(map(_systemd_word, words))


def _windows_words(words: Sequence[str]) -> str:
    return " ".join(f'"{word}"' if " " in word else word for word in words)
