"""Shell: a whole modicum on this machine: embedded broker, collector and agent, each a process, over one folder.

Only the command `modicum` and the agent's control socket are used, as a person would.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benches.keeper import Keeper, Kept
from capture.control import ask
from capture.errors import CaptureError
from capture.home import Home
from capture.status import Status

ROOT = Path(__file__).resolve().parent.parent
START_S = 30.0
SETTLE_S = 10.0
PURPOSE = "computer-use-training"


class StackError(Exception):
    """A part did not start, or ended; the text says which, with its last words."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What the agent took while it recorded.

    Attributes:
        cpu_s: of all its threads. rss_bytes: resident, at the end. wakeups: voluntary context switches.
    """

    cpu_s: float
    rss_bytes: int
    wakeups: int


class Stack:
    """Broker, collector and agent.

    Args:
        folder: gets `archive`, `keys`, `logs`, `config.toml`; the agent's own state is temporary.
        environment: for the agent: DISPLAY and what else it needs.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.archive = folder / "archive"
        self.config = folder / "config.toml"
        self.key = folder / "keys" / "archive.key"
        self.recorded_s = 0.0
        self._display_environment = dict(environment)
        self._started_s = 0.0

    def __enter__(self) -> Self:
        (self.folder / "logs").mkdir()
        # A short path: the control socket's may have 107 characters at most.
        self._state = Path(tempfile.mkdtemp(prefix="modicum-agent-"))
        ours = {"MODICUM_HOME": str(self._state), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self.environment = {**self._display_environment, **ours}
        # The archive's side knows nothing of the desktop.
        self._server_environment = {**os.environ, **ours}
        self._home = Home.of(self.environment)
        self._keeper = Keeper(self.folder / "logs")
        self._parts: dict[str, Kept] = {}
        self.port = _free_port()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for part in reversed(self._parts.values()):
            with contextlib.suppress(RuntimeError):
                part.terminate(5)
        self._keeper.stop()
        shutil.rmtree(self._state, ignore_errors=True)

    # --- before ---

    def configure(self, allow: list[str], *, sites: list[str] | None = None) -> None:
        """Make the archive's keys and the configuration.

        Args:
            allow: window classes that may be recorded. sites: hosts that browsers may be recorded at.
        """
        self.run("keys", "archive", "--out", str(self.folder / "keys"))
        request = self.folder / "request.txt"
        self.run("enrol", "--request", str(request))
        self.run("keys", "accept", str(request), "--devices", str(self.archive / ".devices"))
        self.config.write_text(
            f"""\
# The demo's configuration; deploy/config.example.toml explains every key.
[consent]
purposes = ["{PURPOSE}"]
retention = "30 days"

[scope]
allow = {json.dumps(allow)}
sites = {json.dumps(sites or [])}
desktop = "show"

[capture]
chunk_age = "10 s"     # so that something flows within a minute; the default is 5 min
hold_back = "0 s"      # nobody looks through the demo before it is sent; the default is 10 min

[screens]
min_interval = "2 s"

[budget]
day = "60 MB"
month = "1.5 GB"

[budget.metered]
send = "all"           # the broker is on this machine: whatever link it has is not used

[broker]
host = "127.0.0.1"
port = {self.port}

[archive]
public_key = {json.dumps(str(self.folder / "keys" / "archive.pub"))}
reader = "you: the private half lies in the demo's folder"
""",
            encoding="utf-8",
        )

    def accept_notice(self) -> None:
        """Accept the notice that this configuration makes, as the scripted person."""
        shown = self._run("consent", "--config", str(self.config))
        marker = "SHA-256 of this notice: "
        if marker not in shown.stdout:
            raise StackError(f"modicum consent: {shown.stderr.strip()}")
        (self.folder / "notice.txt").write_text(shown.stdout, encoding="utf-8")
        self.run("consent", "--config", str(self.config), "--accept", shown.stdout.rsplit(marker, 1)[1].split()[0])

    def ask_for_consent(self) -> bool:
        """Show the notice to the person at this terminal, and ask them."""
        command = [sys.executable, "-m", "capture.cli", "consent", "--config", str(self.config)]
        return subprocess.run(command, env=self.environment, cwd=ROOT, check=False).returncode == 0

    def start(self) -> None:
        """Start broker, collector and agent, in this order, and wait until the agent answers.

        Raises:
            StackError: one of them does not start.
        """
        broker = self._start_server("broker", "broker", "--dir", str(self.folder / "broker"), "--port", str(self.port))
        self._await("the broker", broker, lambda: _listens(self.port))
        url = f"mqtt://127.0.0.1:{self.port}"
        self._start_server("collector", "collect", "--broker", url, "--archive", str(self.archive))
        agent = self._start("agent", self.environment, "run", "--config", str(self.config))
        self._await("the agent", agent, self._answers)
        self._started_s = time.monotonic()
        self._before = _cost_of(agent.pid)

    # --- meanwhile ---

    @property
    def agent_pid(self) -> int:
        """The agent's process id, once started."""
        return self._parts["agent"].pid

    def status(self) -> Status:
        """Return what the agent says of itself.

        Raises:
            StackError: a part has ended.
        """
        for name, part in self._parts.items():
            if part.poll() is not None:
                raise StackError(f"the {name} ended: {part.tail()}")
        try:
            return Status.from_answer(ask(self._home.control, "status"))
        except CaptureError as error:
            raise StackError(f"the agent does not answer: {error}") from error

    # --- after ---

    def finish(self, wait_s: float) -> tuple[Status, Cost]:
        """Pause, wait until everything recorded is in the archive, and stop the agent.

        Returns:
            the agent's last status and what it took while it recorded.
        """
        agent = self._parts["agent"]
        self.recorded_s = time.monotonic() - self._started_s
        after = _cost_of(agent.pid)
        cost = Cost(after.cpu_s - self._before.cpu_s, after.rss_bytes, after.wakeups - self._before.wakeups)
        ask(self._home.control, "pause")
        ask(self._home.control, "flush", wait_s=wait_s)  # closes what is open, as its age would
        until = time.monotonic() + wait_s
        status = self.status()
        while status.chunks.get("sent", 0) < status.chunks.get("closed", 0) and time.monotonic() < until:
            time.sleep(0.2)
            status = self.status()
        # The last bytes are counted a moment after they are acknowledged; what went out is more than what was sealed.
        until = time.monotonic() + SETTLE_S
        while status.bytes.get("wire", 0) < status.bytes.get("sealed", 0) and time.monotonic() < until:
            time.sleep(0.2)
            status = self.status()
        self.run("stop")
        agent.wait(20)
        return status, cost

    def flush(self) -> None:
        """Have what is open closed, as its age would."""
        ask(self._home.control, "flush", wait_s=START_S)

    def verify(self) -> dict[str, Any]:
        """Decode everything in the archive; return the report."""
        done = self._run("archive", "verify", str(self.archive), "--key", str(self.key), "--json")
        try:
            report: dict[str, Any] = json.loads(done.stdout)
        except ValueError as error:
            raise StackError(f"modicum archive verify: {done.stderr.strip() or done.stdout.strip()}") from error
        return report

    def export(self) -> Path:
        """Export the archive into `export`; return the folder with the files."""
        target = self.folder / "export"
        self.run("archive", "export", str(self.archive), str(target), "--key", str(self.key), "--purpose", PURPOSE)
        devices = sorted(path for path in target.iterdir() if path.is_dir())
        return devices[0] if len(devices) == 1 else target

    def run(self, *words: str) -> str:
        """Run one command of modicum to its end; return what it printed.

        Raises:
            StackError: it failed.
        """
        done = self._run(*words)
        if done.returncode != 0:
            raise StackError(f"modicum {words[0]} failed ({done.returncode}): {done.stderr.strip()}")
        return done.stdout

    # --- how ---

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "capture.cli", *words],
            env=self.environment,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def _start_server(self, name: str, *words: str) -> Kept:
        return self._start(name, self._server_environment, *words)

    def _start(self, name: str, environment: Mapping[str, str], *words: str) -> Kept:
        part = self._keeper.start(
            [sys.executable, "-m", "capture.cli", *words], name=name, environment=environment, folder=ROOT
        )
        self._parts[name] = part
        return part

    def _await(self, name: str, part: Kept, ready: Callable[[], bool]) -> None:
        until = time.monotonic() + START_S
        while not ready():
            if part.poll() is not None or time.monotonic() > until:
                raise StackError(f"{name} did not start: {part.tail() or 'it printed nothing'}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            ask(self._home.control, "status", wait_s=2)
        except CaptureError:
            return False
        return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _cost_of(pid: int) -> Cost:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    wakeups = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            for line in (thread / "status").read_text().splitlines():
                if line.startswith("voluntary_ctxt_switches:"):
                    wakeups += int(line.split()[1])
    ticks = int(fields[11]) + int(fields[12])  # utime, stime
    return Cost(ticks / os.sysconf("SC_CLK_TCK"), int(fields[21]) * os.sysconf("SC_PAGE_SIZE"), wakeups)
