"""Shell: child processes that end with the bench that started them, whatever happens to it.

A keeper is one small process between a bench and the programs it needs. It starts them on request, and when the bench
closes the pipe to it - on purpose, by an exception, or because it was killed - it ends everything that came from it,
also what double-forked away (it is their subreaper). Linux only: nothing here guesses about processes by name.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

GRACE_S = 3.0
"""From SIGTERM to SIGKILL when a keeper ends: a browser needs about one second to close its profile."""

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
_libc = ctypes.CDLL(None, use_errno=True)


class Kept:
    """A running program.

    Attributes:
        pid: its process id.
        log: the file with its standard output and error.
    """

    def __init__(self, keeper: Keeper, pid: int, log: Path) -> None:
        self._keeper = keeper
        self.pid = pid
        self.log = log

    def poll(self) -> int | None:
        """Return the exit code (negative: the signal), or None while it runs."""
        return self._keeper.exit_code(self.pid)

    def wait(self, wait_s: float) -> int | None:
        """Wait for its end; None when it still runs after `wait_s` seconds."""
        until = time.monotonic() + wait_s
        while (code := self.poll()) is None and time.monotonic() < until:
            time.sleep(0.02)
        return code

    def terminate(self, wait_s: float = GRACE_S) -> int | None:
        """Ask it to end and wait; returns as `wait`."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
        return self.wait(wait_s)

    def tail(self, lines: int = 5) -> str:
        """Return the last lines that it printed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class Keeper:
    """Starts programs and answers for their end. Use it as a context manager; any thread may use it.

    Args:
        folder: where logs are written, one file for each program.
        delete: delete that folder when everything has ended, also when the bench was killed.
    """

    def __init__(self, folder: Path, *, delete: bool = False) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(Path(__file__).resolve()), *([str(folder)] if delete else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the bench, which then closes the pipe
            cwd="/",
        )

    @property
    def pid(self) -> int:
        """The process whose descendants are all that was started here."""
        return self._process.pid

    def start(self, argv: Sequence[str], *, name: str, environment: Mapping[str, str], folder: Path) -> Kept:
        """Start a program.

        Args:
            argv: program and arguments; looked up in the environment's PATH.
            name: of the log file, without suffix.
            environment: all of it; nothing is inherited.
            folder: its working directory.

        Raises:
            FileNotFoundError: there is no such program.
            RuntimeError: it could not be started, or the keeper is gone.
        """
        log = self.folder / f"{name}.log"
        request = {
            "do": "start",
            "argv": list(argv),
            "env": dict(environment),
            "cwd": str(folder),
            "log": str(log),
        }
        answer = self._ask(request)
        if "missing" in answer:
            raise FileNotFoundError(f"there is no program {argv[0]}")
        if "error" in answer:
            raise RuntimeError(f"cannot start {argv[0]}: {answer['error']}")
        return Kept(self, int(answer["pid"]), log)

    def exit_code(self, pid: int) -> int | None:
        """Return the exit code of a program that was started here, None while it runs."""
        code = self._ask({"do": "poll", "pid": pid})["code"]
        return None if code is None else int(code)

    def stop(self) -> None:
        """End everything that was started here and wait for it."""
        with self._lock:
            if self._process.stdin is not None and not self._process.stdin.closed:
                with contextlib.suppress(BrokenPipeError):
                    self._process.stdin.close()
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process.wait(timeout=GRACE_S + 10)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        with self._lock:
            if self._process.stdin is None or self._process.stdout is None or self._process.stdin.closed:
                raise RuntimeError("the keeper was stopped")
            try:
                self._process.stdin.write(json.dumps(request).encode() + b"\n")
                self._process.stdin.flush()
                line = self._process.stdout.readline()
            except BrokenPipeError:
                line = b""
        if not line:
            raise RuntimeError("the keeper is gone, and with it everything it had started")
        answer: dict[str, Any] = json.loads(line)
        return answer


def serve(delete: str | None) -> None:
    """Be a keeper: requests on standard input, answers on standard output, end of input ends everything.

    Args:
        delete: a folder to delete at the end.
    """
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # only the end of the pipe counts
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    running: dict[int, subprocess.Popen[bytes]] = {}
    try:
        for line in sys.stdin.buffer:
            request = json.loads(line)
            answer = _start(request, running) if request["do"] == "start" else _poll(request, running)
            sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
            sys.stdout.buffer.flush()
    except BrokenPipeError:
        pass  # the bench is gone: what follows is what matters
    finally:
        _end_descendants()
        if delete is not None:
            shutil.rmtree(delete, ignore_errors=True)
        os._exit(0)  # no flush of a broken standard output on the way out


def _start(request: Mapping[str, Any], running: dict[int, subprocess.Popen[bytes]]) -> dict[str, Any]:
    try:
        with open(request["log"], "ab") as log:
            process = subprocess.Popen(
                request["argv"],
                env=request["env"],
                cwd=request["cwd"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # If even the keeper is killed, its direct children go with it. It has one thread, so this is safe.
                preexec_fn=_die_with_parent,
            )
    except FileNotFoundError:
        return {"missing": True}
    except OSError as error:
        return {"error": str(error)}
    running[process.pid] = process
    return {"pid": process.pid}


def _poll(request: Mapping[str, Any], running: Mapping[int, subprocess.Popen[bytes]]) -> dict[str, Any]:
    process = running.get(request["pid"])
    return {"code": process.poll() if process else -1}


def _die_with_parent() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)  # what is ignored stays ignored after exec
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _descendants() -> list[int]:
    """Return the ids of the living processes below this one."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                # pid (name) state parent …; the name may hold anything, also spaces and brackets
                state, parent = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[:2]
                if state != "Z":
                    children.setdefault(int(parent), []).append(int(entry))
    found: list[int] = []
    waiting = [os.getpid()]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def _end_descendants() -> None:
    asked: set[int] = set()
    until = time.monotonic() + GRACE_S
    while alive := _descendants():
        late = time.monotonic() > until
        for pid in alive:
            if late or pid not in asked:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
        asked.update(alive)
        time.sleep(0.05)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


if __name__ == "__main__":
    serve(sys.argv[1] if len(sys.argv) > 1 else None)
