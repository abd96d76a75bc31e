"""The agent as a service of a real systemd user manager: started after consent, watched, restarted, reloaded, removed."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from capture.service import systemd_unit
from tests.capture.test_service import FACTS
from tests.integration.stack import COMMAND, ROOT, Stack, wait_for
from tests.integration.user_manager import UserManager, user_manager
from tests.places import free_display
from tests.x11_display import need
from tests.x11_injector import Injector

pytestmark = [pytest.mark.x11, pytest.mark.broker]

UNIT = "modicum.service"

CONFIG = """\
[scope]
allow = ["xterm"]
[capture]
chunk_age = "{age}"
hold_back = "0 s"
[budget.metered]
send = "all"
[broker]
port = {port}
[archive]
public_key = "{folder}/keys/archive.pub"
"""


class XServer:
    """An X server that can be ended and started again under the same number."""

    def __init__(self) -> None:
        need("Xvfb", "xterm")
        self.name = free_display()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            ["Xvfb", self.name, "-displayfd", "1", "-screen", "0", "800x600x24", "-noreset", "-nolisten", "tcp"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline().decode().strip() == self.name[1:]

    def end(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()


class Place:
    """A desktop, a broker, a collector, and a user manager that has the agent's unit."""

    def __init__(self, folder: Path, server: XServer, manager: UserManager, stack: Stack) -> None:
        self.folder, self.server, self.manager, self.stack = folder, server, manager, stack

    def modicum(self, *words: str, check: bool = True) -> str:
        done = self.manager.run(*COMMAND, *words, check=check)
        return done.stdout + done.stderr

    def log(self) -> str:
        """Return what the agent has logged."""
        return (self.folder / "agent.log").read_text()

    def status(self) -> dict[str, Any]:
        told = self.stack.status()
        assert told is not None
        return told

    def recording(self) -> bool:
        return (self.stack.status() or {"state": ""})["state"] == "recording"

    def fill(self) -> None:
        """Put a terminal over the whole display."""
        self.stack.processes.start("canvas", ["xterm", "-geometry", "200x80+0+0", "-e", "cat"], self.stack.environment)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    short = Path(tempfile.mkdtemp(prefix="m-"))  # sockets' paths have 107 characters at most
    server = XServer()
    server.start()
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(short / "home"),
        "DISPLAY": server.name,
        "LC_ALL": "C.UTF-8",
        "XDG_RUNTIME_DIR": str(short / "run"),
        "PYTHONPATH": str(ROOT),
        "DBUS_SESSION_BUS_ADDRESS": "disabled:",
    }
    (short / "home").mkdir()
    stack = Stack(tmp_path, environment)
    stack.environment.pop("MODICUM_HOME")  # the folders of a person's own session, as the unit has them
    (tmp_path / "request.txt").unlink()
    stack.enrol()  # that device is another one
    stack.control = short / "run" / "modicum" / "control"
    try:
        with user_manager(stack.environment, tmp_path / "manager.log") as manager:
            stack.config.write_text(CONFIG.format(age="10 s", port=stack.port, folder=tmp_path))
            stack.start_broker()
            stack.start_collector()
            drop_ins = short / "home" / ".config" / "systemd" / "user" / f"{UNIT}.d"
            drop_ins.mkdir(parents=True)
            (drop_ins / "log.conf").write_text(f"[Service]\nStandardError=append:{tmp_path}/agent.log\n")
            yield Place(tmp_path, server, manager, stack)
            manager.ctl("stop", UNIT, check=False)
    finally:
        stack.end()
        server.end()
        shutil.rmtree(short, ignore_errors=True)


def test_from_installing_to_removing_it(place: Place) -> None:
    manager, stack = place.manager, place.stack
    place.fill()
    # Without a yes it is installed and does not start, whoever asks.
    assert "once you have agreed" in place.modicum("service", "install", "--config", str(stack.config))
    assert manager.ctl("is-enabled", UNIT).strip() == "enabled"
    manager.ctl("start", UNIT)
    assert manager.show(UNIT, "ConditionResult") == "no"
    assert manager.show(UNIT, "ActiveState") == "inactive"
    assert stack.status() is None
    # With it, it starts, and says so.
    stack.configure(stack.config.read_text())
    assert "started" in place.modicum("service", "install", "--config", str(stack.config))
    assert manager.show(UNIT, "ActiveState") == "active"
    assert "running" in manager.show(UNIT, "StatusText")
    assert place.modicum("service", "status").startswith("active (running)")
    wait_for(place.recording, "the service to record")
    # It waits for everybody else, and cannot get more rights than it has.
    pid = _outside_pid(place)
    assert Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[16] == "10", "nice"
    said = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    assert said["NoNewPrivs"] == "1"
    assert said["Seccomp"] == "2"
    assert "idle" in subprocess.run(["ionice", "-p", str(pid)], capture_output=True, text=True).stdout
    # A wrong configuration reloads nothing and the manager is told; a right one is applied.
    right = stack.config.read_text()
    stack.config.write_text(right + "[spool]\nlimt = 1\n")
    assert manager.run("systemctl", "--user", "reload", UNIT, check=False).returncode != 0
    assert place.recording()
    stack.config.write_text(right.replace('"10 s"', '"15 s"'))
    manager.ctl("reload", UNIT)
    assert manager.show(UNIT, "MainPID") != "0"
    assert _outside_pid(place) == pid, "the same process"
    # It ends when told, fast, and is not started again.
    place.modicum("stop")
    wait_for(lambda: manager.show(UNIT, "ActiveState") == "inactive", "it to end")
    assert manager.show(UNIT, "NRestarts") == "0"
    assert "Removed" in place.modicum("service", "uninstall")
    assert "not installed" in place.modicum("service", "status", check=False)


def test_a_starved_agent_is_restarted_and_nothing_stored_is_lost(place: Place) -> None:
    manager, stack = place.manager, place.stack
    place.fill()
    stack.configure(stack.config.read_text())
    place.modicum("service", "install", "--config", str(stack.config))
    drop_in = Path(manager.show(UNIT, "FragmentPath") + ".d")
    (drop_in / "test.conf").write_text("[Service]\nWatchdogSec=3\nTimeoutAbortSec=1\nRestartSec=0.2\n")
    manager.ctl("daemon-reload")
    manager.ctl("restart", UNIT)
    wait_for(place.recording, "the service to record")
    injector = Injector(place.server.name)
    injector.work(200, 125, random.Random(1))
    injector.close()
    stack.ask("flush")
    wait_for(lambda: stack.archived() and place.status()["chunks"]["waiting"] == 0, "a chunk to arrive")
    archived = len(stack.archived())
    # Petted, it lives on; starved, it does not.
    first = _outside_pid(place)
    threading.Event().wait(5)
    assert _outside_pid(place) == first
    assert manager.show(UNIT, "NRestarts") == "0"
    manager.ctl("kill", "--signal=STOP", "--kill-who=main", UNIT)
    wait_for(lambda: manager.show(UNIT, "NRestarts") == "1", "the watchdog", seconds=60)
    wait_for(place.recording, "the restarted agent to record")
    assert _outside_pid(place) != first
    assert len(stack.archived()) >= archived
    # The X server goes: the agent ends with the reason, and comes back with the server.
    place.server.end()
    wait_for(lambda: int(manager.show(UNIT, "NRestarts")) >= 2, "the agent to be started again", seconds=60)
    place.server.start()
    place.fill()
    wait_for(place.recording, "the agent on the new server", seconds=60)
    report = stack.run("archive", "verify", str(stack.archive), "--key", str(stack.private_key), check=False).stdout
    assert "sound" in report


def test_reload_under_load_loses_nothing(place: Place) -> None:
    manager, stack = place.manager, place.stack
    place.fill()
    stack.configure(stack.config.read_text())
    place.modicum("service", "install", "--config", str(stack.config))
    wait_for(place.recording, "the service to record")
    injector = Injector(place.server.name)
    worker = threading.Thread(target=injector.work, args=(4000, 500, random.Random(2)))
    worker.start()
    for age in ("20 s", "25 s"):
        stack.config.write_text(CONFIG.format(age=age, port=stack.port, folder=place.folder))
        manager.ctl("reload", UNIT)
    worker.join()
    injector.close()
    stack.ask("flush")
    wait_for(lambda: place.status()["chunks"]["waiting"] == 0, "everything to arrive")
    assert manager.show(UNIT, "NRestarts") == "0"
    assert place.status()["recorded"]["pointer"] > 0
    report = stack.run("archive", "verify", str(stack.archive), "--key", str(stack.private_key)).stdout
    assert "sound" in report


def _outside_pid(place: Place) -> int:
    """Return the agent's process id as this namespace sees it."""
    inside = place.manager.show(UNIT, "MainPID")
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
            command = (status.parent / "cmdline").read_bytes()
        except OSError:
            continue
        pids = next((line.split()[1:] for line in text.splitlines() if line.startswith("NSpid")), [])
        if (
            len(pids) == 2
            and pids[1] == inside
            and (b"capture.cli" in command or b"modicum" in command)
            and b"run" in command
        ):
            return int(pids[0])
    raise AssertionError(f"no process {inside} in the manager's namespace")


def test_systemd_itself_finds_no_fault_with_the_unit(tmp_path: Path) -> None:
    need("systemd-analyze")
    path = tmp_path / UNIT
    path.write_text(systemd_unit(FACTS).replace(FACTS.command[0], sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "--user", "--man=no", "verify", str(path)],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)},
    )
    complaints = [line for line in done.stderr.splitlines() if UNIT in line]
    assert complaints == []
