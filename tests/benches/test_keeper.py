"""What a bench starts ends with it, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benches.keeper import Keeper

ROOT = Path(__file__).resolve().parent.parent.parent
ENVIRONMENT = {"PATH": "/usr/bin:/bin"}

# A child that double-forks a grandchild away into another session, and tells its id.
STRAY = "setsid sh -c 'echo $$ >stray; exec sleep 600' & echo $$ >child; exec sleep 600"


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def pid_in(path: Path) -> int:
    deadline = time.monotonic() + 10
    while not path.exists() or not path.read_text().strip():
        assert time.monotonic() < deadline, f"{path} was not written"
        time.sleep(0.02)
    return int(path.read_text())


def gone(pid: int, *, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while alive(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_stopping_ends_children_and_those_that_forked_away(tmp_path: Path) -> None:
    with Keeper(tmp_path) as keeper:
        keeper.start(["sh", "-c", STRAY], name="stray", environment=ENVIRONMENT, folder=tmp_path)
        child, stray = pid_in(tmp_path / "child"), pid_in(tmp_path / "stray")
        assert alive(child)
        assert alive(stray)
    assert not alive(child)
    assert not alive(stray)


def test_a_child_that_ignores_the_request_is_killed(tmp_path: Path) -> None:
    with Keeper(tmp_path) as keeper:
        stubborn = "trap '' TERM; echo $$ >child; while :; do sleep 1; done"
        keeper.start(["sh", "-c", stubborn], name="stubborn", environment=ENVIRONMENT, folder=tmp_path)
        child = pid_in(tmp_path / "child")
    assert not alive(child)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["kill -9", "kill"])
def test_a_killed_bench_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    data = tmp_path / "data"
    data.mkdir()
    script = (
        "import time; from pathlib import Path; from benches.keeper import Keeper\n"
        f"keeper = Keeper(Path({str(data)!r}), delete=True)\n"
        f"keeper.start(['sh', '-c', {STRAY!r}], name='x', environment={ENVIRONMENT!r}, folder=Path({str(tmp_path)!r}))\n"
        "time.sleep(600)\n"
    )
    bench = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        child, stray = pid_in(tmp_path / "child"), pid_in(tmp_path / "stray")
    finally:
        bench.send_signal(number)
        bench.wait()
    assert gone(child, within_s=10)
    assert gone(stray, within_s=10)
    deadline = time.monotonic() + 5
    while data.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not data.exists()


def test_it_tells_exit_codes_output_and_missing_programs(tmp_path: Path) -> None:
    with Keeper(tmp_path) as keeper:
        done = keeper.start(["sh", "-c", "echo hello; exit 3"], name="done", environment=ENVIRONMENT, folder=tmp_path)
        assert done.wait(10) == 3
        assert done.tail() == "hello"
        with pytest.raises(FileNotFoundError, match="no program nonesuch"):
            keeper.start(["nonesuch"], name="none", environment=ENVIRONMENT, folder=tmp_path)
    with pytest.raises(RuntimeError, match="stopped"):
        keeper.start(["true"], name="late", environment=ENVIRONMENT, folder=tmp_path)
