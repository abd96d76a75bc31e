"""Shell: the recorders that `benches.agent` compares: modicum with either effort, openadapt-capture, a pynput logger.

Each is started on a given display, asked for its process, stopped as its maker says, and asked what it wrote. A peer that is
not installed is left out, by name. Peers run under a hard limit of memory (address space) and are killed when they do not end.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from benches.stack import ROOT, Stack
from capture.control import ask
from codec.chunk import parse_header
from codec.errors import CodecError

PEER_MEMORY_BYTES = 12 << 30
"""openadapt-capture was seen to take 8 GiB on this script; what wants more than this is not let have it."""

PEER_STOP_S = 60.0
"""A peer that has not ended so long after it was asked is killed, and the table says so."""

START_S = 60.0


class Recorder(Protocol):
    """One of them."""

    name: str
    chunks_h: Mapping[str, float]
    """How many chunks of a kind are closed in an hour of work; {} where recordings are not cut."""

    def start(self, environment: Mapping[str, str], folder: Path, apps: list[str]) -> None:
        """Begin to record. Args: environment: with the display. folder: for all its files. apps: window classes to allow."""

    @property
    def pid(self) -> int:
        """The root of its processes."""

    def written(self) -> dict[str, int]:
        """Return the bytes of recordings so far, by kind."""

    def stop(self) -> float | None:
        """End it; return the seconds that took, None when it had to be killed or had ended by itself."""

    def ended(self) -> bool:
        """Tell whether it has ended by itself."""


class Modicum:
    """Our agent as its default plan has it, with a broker and a collector, which are not counted: they run elsewhere."""

    chunks_h: Mapping[str, float] = {"events": 12, "screens": 4}

    def __init__(self, effort: str) -> None:
        self.name = f"modicum, {effort}"
        self._effort = effort
        self._stack: Stack | None = None
        self._sealed: dict[str, int] = {}

    def start(self, environment: Mapping[str, str], folder: Path, apps: list[str]) -> None:
        """See Recorder."""
        self._stack = Stack(folder, environment).__enter__()
        self._stack.configure(apps)
        text = self._stack.config.read_text(encoding="utf-8")
        text = text.replace('chunk_age = "10 s"', 'chunk_age = "5 min"')
        text = text.replace('min_interval = "2 s"', f'min_interval = "2 s"\neffort = "{self._effort}"')
        self._stack.config.write_text(text, encoding="utf-8")
        self._stack.accept_notice()
        self._stack.start()

    @property
    def pid(self) -> int:
        """See Recorder."""
        assert self._stack is not None
        return self._stack._parts["agent"].pid

    def written(self) -> dict[str, int]:
        """Close what is open, and return the archive's bytes by kind when everything is there."""
        assert self._stack is not None
        stack = self._stack
        with contextlib.suppress(Exception):  # an agent that died is told by `ended`
            ask(stack._home.control, "flush", wait_s=60)
            until = time.monotonic() + 30
            while stack.status().chunks["waiting"] and time.monotonic() < until:
                time.sleep(0.1)
        found = {"events": 0, "screens": 0}
        for path in stack.archive.rglob("*.chunk"):
            with contextlib.suppress(CodecError, OSError):
                data = path.read_bytes()
                found["screens" if parse_header(data).value == 0 else "events"] += len(data)
        return found

    def stop(self) -> float | None:
        """See Recorder."""
        assert self._stack is not None
        agent = self._stack._parts["agent"]
        began = time.monotonic()
        os.kill(agent.pid, signal.SIGTERM)
        code = agent.wait(PEER_STOP_S)
        took_s = time.monotonic() - began
        self._stack.__exit__(None, None, None)
        return took_s if code == 0 else None

    def ended(self) -> bool:
        """See Recorder."""
        assert self._stack is not None
        return self._stack._parts["agent"].poll() is not None


class Peer:
    """A program of somebody else's that writes into a folder until it is interrupted.

    Args:
        name: for the table. command: its words; FOLDER stands for the folder.
    """

    chunks_h: Mapping[str, float] = {}

    def __init__(self, name: str, command: list[str]) -> None:
        self.name = name
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, environment: Mapping[str, str], folder: Path, apps: list[str]) -> None:
        """See Recorder."""
        self._out = folder / "recording"
        self._out.mkdir()
        words = [word.replace("FOLDER", str(self._out)) for word in self._command]
        path = os.pathsep.join([*environment.get("PATH", "").split(os.pathsep), "/usr/local/bin", "/usr/bin", "/bin"])
        # python-xlib does not read the kind of cookie that the desktop is guarded by.
        user = f"+si:localuser:{getpass.getuser()}"
        subprocess.run(["xhost", user], env={**environment, "PATH": path}, stdout=subprocess.DEVNULL, check=False)
        with (folder / "peer.log").open("wb") as log:
            self._process = subprocess.Popen(
                words,
                env={
                    **environment,
                    "PATH": path,
                    "HOME": str(folder),
                    "PYTHONPATH": str(ROOT),
                    "PYTHONUNBUFFERED": "1",
                },
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_limit,
            )
        until = time.monotonic() + START_S
        while not any(self._out.rglob("*")) and not self.ended() and time.monotonic() < until:
            time.sleep(0.1)
        time.sleep(3)  # what it does at its start is not what an hour costs

    @property
    def pid(self) -> int:
        """See Recorder."""
        assert self._process is not None
        return self._process.pid

    def written(self) -> dict[str, int]:
        """See Recorder."""
        found: dict[str, int] = {}
        for path in self._out.rglob("*"):
            with contextlib.suppress(OSError):
                if path.is_file():
                    pictures = path.suffix in {".mp4", ".mkv", ".png", ".webm", ".jpg"}
                    kind = "screens" if pictures else "events"
                    found[kind] = found.get(kind, 0) + path.stat().st_size
        return found

    def stop(self) -> float | None:
        """See Recorder."""
        assert self._process is not None
        if self._process.poll() is not None:
            return None
        began = time.monotonic()
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(PEER_STOP_S)
            return time.monotonic() - began
        except subprocess.TimeoutExpired:
            return None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)  # a group of its own: start_new_session
            self._process.wait()

    def ended(self) -> bool:
        """See Recorder."""
        assert self._process is not None
        return self._process.poll() is not None


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (PEER_MEMORY_BYTES, PEER_MEMORY_BYTES))
    os.nice(5)


class Nothing:
    """No recorder: what the latency is compared with."""

    name = "nothing"
    pid = 0
    chunks_h: Mapping[str, float] = {}

    def start(self, environment: Mapping[str, str], folder: Path, apps: list[str]) -> None:
        """See Recorder."""

    def written(self) -> dict[str, int]:
        """See Recorder."""
        return {}

    def stop(self) -> float | None:
        """See Recorder."""
        return 0.0

    def ended(self) -> bool:
        """See Recorder."""
        return False


NAMES = ("modicum-fast", "modicum-small", "openadapt-capture", "pynput")


def make(name: str, peer_python: str) -> Recorder | str:
    """Return a recorder by its name of NAMES, or why it is not here.

    Args:
        peer_python: the interpreter that has openadapt-capture.
    """
    if name.startswith("modicum-"):
        return Modicum(name.removeprefix("modicum-"))
    if name == "pynput":
        if not _has(sys.executable, "pynput"):
            return "pynput is not installed (pip install 'modicum[portable]')"
        return Peer("pynput logger", [sys.executable, "-m", "benches.pynput_logger", "FOLDER/events.jsonl"])
    if name == "openadapt-capture":
        if not _has(peer_python, "openadapt_capture"):
            return "openadapt-capture is not installed (python -m venv V; V/bin/pip install openadapt-capture)"
        if shutil.which("ffmpeg") is None:
            return "openadapt-capture needs ffmpeg (Debian: apt-get install ffmpeg)"
        return Peer("openadapt-capture", [peer_python, "-m", "openadapt_capture.cli", "record", "FOLDER/it", "a day"])
    return f"no recorder is called {name}: {', '.join(NAMES)}"


def _has(python: str, module: str) -> bool:
    looked = subprocess.run(
        [python, "-c", f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"],
        capture_output=True,
    )
    return looked.returncode == 0


def to_json(value: Any) -> str:
    """Return a value as indented JSON with a final newline."""
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
