"""A whole modicum for tests: a virtual display, the embedded broker, a collector and an agent, each a real process.

Everything lies in one folder and ends with the test; only processes that were started here are ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from capture.control import ask
from capture.errors import NotRunning
from tests.command import run_here
from tests.places import free_port
from tests.processes import end
from tests.x11_display import await_manager, need, x_server

ROOT = Path(__file__).resolve().parent.parent.parent
COMMAND = [sys.executable, "-m", "capture.cli"]
Found = TypeVar("Found")


def wait_for(probe: Callable[[], Found | None], what: str, *, seconds: float = 60.0) -> Found:
    """Return the probe's first value that is neither None nor False; fail when it takes too long."""
    deadline = time.monotonic() + seconds
    while True:
        value = probe()
        if value is not None and value is not False:
            return value
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for {what}"
        time.sleep(0.05)


class Processes:
    """Child processes with their output in files; all ended at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, arguments: list[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start one; its output goes to NAME.log."""
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                arguments, env=dict(environment), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._running.append(process)
        return process

    def log(self, name: str) -> str:
        """Return what a process has printed."""
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def end(self) -> None:
        """End what still runs."""
        end(*reversed(self._running))


@contextlib.contextmanager
def display(folder: Path, *, size: str = "1280x800") -> Iterator[dict[str, str]]:
    """Start an X server of our own with a window manager; give the environment for programs on it."""
    need("Xvfb", "openbox", "xterm", "xdotool", "mosquitto")
    home = folder / "home"
    home.mkdir(exist_ok=True)
    processes = Processes(folder)
    with x_server(screen=f"{size}x24") as name:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "DISPLAY": name,
            "LC_ALL": "C.UTF-8",
            "NO_AT_BRIDGE": "1",
            "GDK_BACKEND": "x11",
        }
        try:
            processes.start("openbox", ["openbox", "--sm-disable"], environment)
            await_manager(name)
            yield environment
        finally:
            processes.end()


class Stack:
    """Broker, collector and agent over one folder.

    Args:
        folder: for everything. environment: with the DISPLAY to record. config: lines of TOML that override or add.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.port = free_port()
        self.environment = {**environment, "MODICUM_HOME": str(folder / "agent"), "PYTHONPATH": str(ROOT)}
        self.processes = Processes(folder)
        self.archive = folder / "archive"
        self.config = folder / "config.toml"
        self.control = folder / "agent" / "run" / "control"
        self.broker: subprocess.Popen[bytes] | None = None
        self.collector: subprocess.Popen[bytes] | None = None
        self.agent: subprocess.Popen[bytes] | None = None
        self.set_up("keys", "archive", "--out", str(folder / "keys"))
        self.enrol()

    @property
    def private_key(self) -> Path:
        """The archive's private key."""
        return self.folder / "keys" / "archive.key"

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one command of modicum to its end, as a process of its own."""
        done = subprocess.run(
            [*COMMAND, *words],
            env=self.environment,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert not check or done.returncode == 0, f"modicum {' '.join(words)}: {done.stdout}\n{done.stderr}"
        return done

    def set_up(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command that only prepares what a test is about."""
        return run_here(words, self.environment, check=check)

    def enrol(self) -> None:
        """Have the archive let the agent's device in, by hand."""
        request = self.folder / "request.txt"
        self.set_up("enrol", "--request", str(request))
        self.set_up("keys", "accept", str(request), "--devices", str(self.archive / ".devices"))

    def configure(self, text: str) -> None:
        """Write the configuration and accept its notice, as the scripted person."""
        self.config.write_text(text)
        shown = self.set_up("consent", "--config", str(self.config), check=False)
        digest = shown.stdout.rsplit("SHA-256 of this notice: ", 1)[1].split()[0]
        self.set_up("consent", "--config", str(self.config), "--accept", digest)

    def start_broker(self) -> None:
        """Start the embedded broker on our port."""
        self.broker = self.processes.start(
            "broker",
            [*COMMAND, "broker", "--dir", str(self.folder / "broker"), "--port", str(self.port)],
            self.environment,
        )
        wait_for(lambda: _listens(self.port), "the broker to listen")

    def start_collector(self) -> None:
        """Start a collector."""
        self.collector = self.processes.start(
            "collector",
            [*COMMAND, "collect", "--broker", f"mqtt://127.0.0.1:{self.port}", "--archive", str(self.archive)],
            self.environment,
        )

    def start_agent(self) -> None:
        """Start the agent and wait until it records."""
        self.agent = self.processes.start("agent", [*COMMAND, "run", "--config", str(self.config)], self.environment)
        wait_for(lambda: self.status() or self._died(), "the agent to answer")

    def _died(self) -> None:
        assert self.agent is not None
        assert self.agent.poll() is None, f"the agent ended: {self.processes.log('agent')}"

    def status(self) -> dict[str, Any] | None:
        """Return the agent's status, None while nothing answers."""
        try:
            return self.ask("status")
        except NotRunning:
            return None

    def ask(self, command: str) -> dict[str, Any]:
        """Ask the agent over its control socket."""
        return ask(self.control, command, wait_s=60)

    def stop_agent(self) -> None:
        """Stop the agent in order; what is open is closed and spooled."""
        self.run("stop")
        assert self.agent is not None
        self.agent.wait(60)

    def archived(self) -> list[Path]:
        """Return the archive's chunks."""
        return sorted(self.archive.rglob("*.chunk")) if self.archive.exists() else []

    def kill(self, process: subprocess.Popen[bytes] | None) -> None:
        """End one of our processes at once, as a power cut would."""
        assert process is not None
        process.send_signal(signal.SIGKILL)
        process.wait()

    def end(self) -> None:
        """End what still runs."""
        self.processes.end()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
