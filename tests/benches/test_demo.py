"""The demo, short and for real: its own desktop, broker, collector and agent, to the files that one can open."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benches.desktop import VirtualDesktop

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAMS = ("Xvfb", "openbox", "xterm", "mousepad")

pytestmark = [
    pytest.mark.x11,
    pytest.mark.broker,
    pytest.mark.skipif(
        not all(shutil.which(program) for program in PROGRAMS),
        reason=f"needs {', '.join(PROGRAMS)}: `deploy/packages test` installs them",
    ),
]


def start(folder: Path, seconds: int, temporary: Path) -> subprocess.Popen[str]:
    """Start a demo whose temporary files lie where they can be looked for."""
    return subprocess.Popen(
        [sys.executable, "-m", "benches.demo", "--virtual", "--seconds", str(seconds), "--out", str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def processes_below(*folders: Path) -> list[str]:
    """Return the command lines of processes that name one of the folders in their arguments or environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                text = (entry / "cmdline").read_bytes() + b"\0" + (entry / "environ").read_bytes()
            except OSError:
                continue
            if any(str(folder).encode() in text for folder in folders):
                found.append(text.split(b"\0")[0].decode(errors="replace"))
    return found


@pytest.fixture
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a short path: the agent's socket lies below it."""
    return tmp_path_factory.mktemp("t")


def test_it_records_sends_archives_verifies_and_exports(tmp_path: Path, temporary: Path) -> None:
    import av

    folder = tmp_path / "demo"
    demo = start(folder, 14, temporary)
    output, _ = demo.communicate(timeout=200)
    assert demo.returncode == 0, output
    assert "WRONG" not in output
    assert "recording: " in output, "no live line"
    for expected in ("ids without gaps", "Bytes at each stage", "sealed", "places exact"):
        assert expected in output.replace("\n", " "), output

    (device,) = (folder / "export").iterdir()
    events = [json.loads(line) for line in (device / "events.jsonl").read_text().splitlines()]
    kinds = {event["kind"] for event in events}
    assert {"move", "press-left", "release-left", "focus"} <= kinds
    assert not any("name" in event or "code" in event for event in events if event["kind"].startswith("key-"))
    with av.open(str(device / "screens.mp4")) as film:
        frames = list(film.decode(video=0))
    assert frames
    assert (frames[0].width, frames[0].height) == (1920, 1080)
    assert (folder / "truth.jsonl").stat().st_size > 1000

    assert processes_below(temporary, folder) == []
    assert list(temporary.iterdir()) == []


def test_interrupted_it_ends_all_that_it_started(tmp_path: Path, temporary: Path) -> None:
    folder = tmp_path / "demo"
    demo = start(folder, 120, temporary)
    deadline = time.monotonic() + 60
    while not (folder / "logs" / "agent.log").exists():
        assert demo.poll() is None, demo.stdout.read() if demo.stdout else ""
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(2)
    demo.send_signal(signal.SIGINT)
    output, _ = demo.communicate(timeout=60)
    assert demo.returncode == 130, output
    assert "Interrupted" in output
    assert processes_below(temporary, folder) == []
    assert list(temporary.iterdir()) == []


def test_a_real_display_is_recorded_only_after_asking_and_a_no_to_the_notice_leaves_nothing(
    tmp_path: Path, temporary: Path
) -> None:
    folder = tmp_path / "demo"
    with VirtualDesktop((1024, 768), apps=("terminal",)) as desktop:
        master, terminal = pty.openpty()
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary), "DISPLAY": desktop.name}
        environment |= {"XAUTHORITY": str(desktop.authority), "TERM": "dumb"}
        environment.pop("WAYLAND_DISPLAY", None)
        demo = subprocess.Popen(
            [sys.executable, "-m", "benches.demo", "--seconds", "5", "--out", str(folder)],
            cwd=ROOT,
            env=environment,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
        os.close(terminal)
        said = _answer(master, "[y/N]", "y")
        assert f"There is a display, {desktop.name}" in said
        said = _answer(master, "[y/N]", "n")
        assert "Do you agree?" in said
        assert "XTerm" in said
        said = _answer(master, "You did not agree", "")
        assert demo.wait(20) == 0
        os.close(master)
    assert not folder.exists()
    assert list(temporary.iterdir()) == []


def _answer(master: int, until: str, answer: str) -> str:
    """Read from a terminal until a text appears there, then type an answer; return what was read."""
    said = ""
    deadline = time.monotonic() + 60
    while until not in said:
        assert time.monotonic() < deadline, said
        if select.select([master], [], [], 1)[0]:
            try:
                said += os.read(master, 4096).decode(errors="replace")
            except OSError:  # it has ended
                break
    assert until in said, said
    if answer:
        os.write(master, answer.encode() + b"\n")
    return said


def test_it_does_not_write_over_an_earlier_one(tmp_path: Path, temporary: Path) -> None:
    demo = start(tmp_path, 5, temporary)
    output, _ = demo.communicate(timeout=60)
    assert demo.returncode == 1
    assert "exists already" in " ".join(output.split())
