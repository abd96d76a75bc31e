"""A real systemd user manager in namespaces of its own: it sees this machine's files, and nothing of its service manager.

Needs root (namespaces with a mount of their own). The recipe: a fresh /run with the folder by which systemd knows that it may
run and the nodes that it hides things behind, cgroup v2 mounted in place of what a container has, and `systemd --user` as an ordinary process (it refuses to be the first
one) in its own PID namespace.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.integration.stack import wait_for

SETUP = """
set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /run/systemd/inaccessible/dir
touch /run/systemd/inaccessible/reg
umount -l /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup2 /sys/fs/cgroup
/usr/bin/systemd --user --unit=basic.target
"""


class UserManager:
    """A running user manager."""

    def __init__(self, pid: int, environment: Mapping[str, str]) -> None:
        self._pid = pid
        self._environment = dict(environment)

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command where the manager lives."""
        done = subprocess.run(
            ["nsenter", "-t", str(self._pid), "-m", "-p", *command],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
            cwd="/",
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
        return done

    def ctl(self, *words: str, check: bool = True) -> str:
        """Run `systemctl --user`."""
        return self.run("systemctl", "--user", "--no-pager", *words, check=check).stdout

    def show(self, unit: str, name: str) -> str:
        """Return a unit's property."""
        return self.ctl("show", unit, f"--property={name}", "--value").strip()


@contextlib.contextmanager
def user_manager(environment: Mapping[str, str], log: Path) -> Iterator[UserManager]:
    """Run one with this environment, which its services inherit; XDG_RUNTIME_DIR must be in it, with a short path."""
    if os.geteuid() != 0:
        pytest.skip("only root can make the namespaces of a user manager")
    for program in ("/usr/bin/systemd", "unshare", "nsenter", "systemctl"):
        if shutil.which(program) is None:
            pytest.skip(f"not installed: {program}")
    Path(environment["XDG_RUNTIME_DIR"]).mkdir(mode=0o700, parents=True, exist_ok=True)
    with log.open("ab") as out:
        outer = subprocess.Popen(
            ["unshare", "-m", "-p", "-f", "--mount-proc", "--kill-child=KILL", "sh", "-c", SETUP],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    try:
        inner = int(wait_for(lambda: _child_of(outer.pid), "the manager's process"))
        manager = UserManager(inner, environment)
        wait_for(
            lambda: (
                manager.ctl("is-system-running", check=False).strip() in {"running", "degraded"} or _check(outer, log)
            ),
            "systemd --user to be up",
        )
        yield manager
    finally:
        outer.kill()
        outer.wait()


def _child_of(pid: int) -> str | None:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return (path.read_text().split() or [None])[0] if path.exists() else None


def _check(process: subprocess.Popen[bytes], log: Path) -> None:
    if process.poll() is not None:
        pytest.skip(f"systemd --user does not run in namespaces here: {log.read_text()[-300:]}")
