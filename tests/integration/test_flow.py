"""The whole pipeline on a real display, through a real broker: what happened is what is read back."""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from capture.commands import OVERFLOW
from codec import reader
from codec.model import Frame, KeyClass, Row
from codec.reader import KeyEvent, PointerEvent, Recording
from codec.seal import ArchivePrivateKey
from tests.integration.stack import Stack, display, wait_for
from tests.x11_display import need
from tests.x11_injector import Injector
from transport.archive import FolderStore
from transport.fs import RealFiles

pytestmark = [pytest.mark.x11, pytest.mark.broker]

PURPOSE = "computer-use-training"
LINES = ("The invoice of March is late", "Please answer until Friday", "Total 4711 euros", "Kind regards from Ulm")

CONFIG = """\
[scope]
allow = [{allow}]

[capture]
chunk_age = "10 s"
hold_back = "0 s"

[screens]
effort = "{effort}"

[budget.metered]
send = "all"

[broker]
port = {port}

[archive]
public_key = "{folder}/keys/archive.pub"
"""


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A display of our own with a stack that is configured and not started."""
    with display(tmp_path, size="1280x800") as environment:
        stack = Stack(tmp_path, environment)
        try:
            yield stack
        finally:
            stack.end()


def configure(stack: Stack, *allow: str, effort: str = "fast") -> None:
    names = ", ".join(f'"{name}"' for name in allow)
    stack.configure(CONFIG.format(allow=names, port=stack.port, folder=stack.folder, effort=effort))


def start(stack: Stack) -> None:
    stack.start_broker()
    stack.start_collector()
    stack.start_agent()


def terminal(stack: Stack, name: str, *arguments: str) -> None:
    """Open a terminal and wait until it has the focus."""
    command = ["xterm", "-title", name, "-fa", "DejaVu Sans Mono", "-fs", "14", *arguments]
    stack.processes.start(name, command, stack.environment)
    wait_for(lambda: active_title(stack) == name, f"{name} to have the focus")


def active_title(stack: Stack) -> str:
    done = subprocess.run(
        ["xdotool", "getactivewindow", "getwindowname"], env=stack.environment, capture_output=True, text=True
    )
    return done.stdout.strip()


def flushed(stack: Stack) -> None:
    """Close what is open, and wait until all of it is in the archive."""
    stack.ask("flush")

    def all_archived() -> bool:
        status = stack.status()
        assert status is not None
        return bool(status["chunks"]["waiting"] == 0 and len(stack.archived()) >= status["chunks"]["closed"])

    wait_for(all_archived, "the archive to have every chunk")


def recordings(stack: Stack) -> list[Recording]:
    """Open every archived chunk, in order."""
    private = ArchivePrivateKey.from_text(stack.private_key.read_text())
    store = FolderStore(RealFiles(), stack.archive)
    now_s = int(time.time())
    return [
        reader.open(store.get(chunk_id), private, purpose=PURPOSE, now_s=now_s) for chunk_id in sorted(store.iterate())
    ]


def frames(stack: Stack) -> list[Frame]:
    return [frame for recording in recordings(stack) for frame in recording.frames()]


def rows(stack: Stack, kind: str) -> list[dict[str, Any]]:
    return [
        dict(event.fields)
        for recording in recordings(stack)
        for event in recording.events()
        if isinstance(event, Row) and event.kind == kind
    ]


def test_every_injected_event_is_read_back_in_order_at_its_place_and_time(stack: Stack) -> None:
    configure(stack, "xterm")
    # A window over the whole display: wherever the injector clicks, an allowed application has the focus.
    terminal(stack, "canvas", "-fullscreen", "-e", "cat")
    start(stack)
    for _ in range(3):
        overrun = _overrun(stack)
        injector = Injector(stack.environment["DISPLAY"])
        injector.move_to(600, 400)
        injector.work(1000, 125, random.Random(1))
        injector.work(5200, 1000, random.Random(2))
        injector.close()
        flushed(stack)
        if _overrun(stack) == overrun:
            break  # else this machine stalled for so long that the X server's buffer ran over, which the agent tells
    began_ms = injector.truth.pointer[0][3] - 2

    pointer: list[tuple[int, int, int, int]] = []
    keys: list[tuple[int, bool, int]] = []
    for recording in recordings(stack):
        assert recording.meta.lossy == ()
        for event in recording.events():
            t_ms = recording.meta.t0_ms + event.t_ms
            if t_ms < began_ms:
                continue
            if isinstance(event, PointerEvent):
                pointer.append((t_ms, event.kind, event.x, event.y))
            elif isinstance(event, KeyEvent):
                keys.append((t_ms, event.down, event.code))
    truth = injector.truth
    assert len(truth.pointer) + len(truth.keys) >= 5000
    assert rows(stack, "gap") == [], "nothing was kept out on the way"
    assert [event[1:] for event in pointer] == [event[:3] for event in truth.pointer]
    assert [event[1:] for event in keys] == [(down, KeyClass[name].value) for down, name, *_ in truth.keys]
    # The server stamps somewhere between the times before and after the request, in whole milliseconds.
    for (t_ms, *_), (*_, before_ms, after_ms) in zip([*pointer, *keys], [*truth.pointer, *truth.keys], strict=True):
        assert before_ms - 2 <= t_ms <= after_ms + 2


def _overrun(stack: Stack) -> int:
    status = stack.status()
    assert status is not None
    return int(status["refused"].get(OVERFLOW, 0))


def test_no_file_of_the_agent_or_the_archive_tells_which_keys_were_pressed(stack: Stack) -> None:
    configure(stack, "xterm")
    terminal(stack, "editor", "-e", "cat")
    start(stack)
    for _ in range(3):
        subprocess.run(["xdotool", "type", "--delay", "20", "xylophon"], env=stack.environment, check=True)
    flushed(stack)
    codes = {
        event.code for recording in recordings(stack) for event in recording.events() if isinstance(event, KeyEvent)
    }
    assert codes == {KeyClass.LETTER}
    slots = {
        event.slot for recording in recordings(stack) for event in recording.events() if isinstance(event, KeyEvent)
    }
    assert slots <= {0, 1, 2}, "a slot says nothing of the key"


@pytest.mark.parametrize("effort", ["fast", "small"])
def test_the_text_of_windows_is_read_in_the_archived_frames(stack: Stack, effort: str, tmp_path: Path) -> None:
    need("tesseract")
    configure(stack, "xterm", effort=effort)
    start(stack)
    for number, line in enumerate(LINES):
        frames_before = _frames_taken(stack)
        terminal(stack, f"note {number}", "-geometry", "44x6+100+150", "-e", f"echo; echo '  {line}'; sleep 60")
        wait_for(partial(_more_frames, stack, frames_before), "a screenshot of it")
        time.sleep(2.5)  # that one may show the window still empty; the next is due 2 s later
    flushed(stack)
    seen = "\n".join(_read(frame, tmp_path) for frame in frames(stack))
    for line in LINES:
        assert line in seen


def _more_frames(stack: Stack, before: int) -> bool:
    return _frames_taken(stack) > before


def _frames_taken(stack: Stack) -> int:
    status = stack.status()
    assert status is not None
    return int(status["recorded"]["frames"])


def _read(frame: Frame, folder: Path) -> str:
    """Return the text that tesseract sees in a frame."""
    path = folder / f"frame-{frame.t_ms}.ppm"
    height, width = frame.pixels.shape[:2]
    path.write_bytes(b"P6 %d %d 255\n" % (width, height) + frame.pixels[:, :, 2::-1].tobytes())
    done = subprocess.run(["tesseract", str(path), "-", "--psm", "6"], capture_output=True, text=True, check=True)
    return done.stdout


def test_a_window_that_is_not_allowed_is_black_and_its_input_is_not_recorded(stack: Stack, tmp_path: Path) -> None:
    need("tesseract", "mousepad")
    configure(stack, "xterm")
    secret = tmp_path / "secret.txt"
    secret.write_text("THE CANARY SINGS AT NIGHT\n" * 12)
    start(stack)
    terminal(stack, "open", "-geometry", "40x5+20+20", "-e", "echo; echo '  VISIBLE TO ALL'; sleep 60")
    stack.processes.start("mousepad", ["mousepad", str(secret)], stack.environment)
    wait_for(lambda: "Mousepad" in active_title(stack), "mousepad to have the focus")
    before = stack.status()
    subprocess.run(["xdotool", "type", "--delay", "20", "hidden words"], env=stack.environment, check=True)
    time.sleep(1)
    during = stack.status()
    assert before is not None
    assert during is not None
    assert during["state"] == "waiting"
    assert during["recorded"]["keys"] == before["recorded"]["keys"]
    subprocess.run(["xdotool", "search", "--name", "open", "windowactivate"], env=stack.environment, check=True)
    wait_for(lambda: active_title(stack) == "open", "the terminal to have the focus")
    time.sleep(3)
    flushed(stack)
    seen = "\n".join(_read(frame, tmp_path) for frame in frames(stack))
    assert "VISIBLE" in seen
    for word in ("CANARY", "SINGS", "Mousepad"):
        assert word not in seen
    assert {row["app"] for row in rows(stack, "focus")} == {"xterm"}
    assert any(row["cause"] == "scope" for row in rows(stack, "gap"))


def test_pause_records_nothing_and_marks_the_stream(stack: Stack) -> None:
    configure(stack, "xterm")
    terminal(stack, "editor", "-e", "cat")
    start(stack)
    subprocess.run(["xdotool", "type", "--delay", "20", "before"], env=stack.environment, check=True)
    stack.run("pause")
    paused = stack.status()
    subprocess.run(["xdotool", "type", "--delay", "20", "never"], env=stack.environment, check=True)
    time.sleep(1)
    still = stack.status()
    assert paused is not None
    assert still is not None
    assert still["state"] == "paused"
    assert still["recorded"] == paused["recorded"]
    stack.run("resume")
    subprocess.run(["xdotool", "type", "--delay", "20", "after"], env=stack.environment, check=True)
    flushed(stack)
    presses = [
        event
        for recording in recordings(stack)
        for event in recording.events()
        if isinstance(event, KeyEvent) and event.down
    ]
    assert len(presses) == len("before") + len("after")
    assert any(row["cause"] == "pause" and int(row["ms"]) >= 1000 for row in rows(stack, "gap"))


def test_what_is_exported_can_be_opened(stack: Stack, tmp_path: Path) -> None:
    configure(stack, "xterm")
    terminal(stack, "editor", "-e", "cat")
    start(stack)
    subprocess.run(["xdotool", "type", "--delay", "30", "some words"], env=stack.environment, check=True)
    time.sleep(3)
    flushed(stack)
    key = ["--key", str(stack.private_key)]
    assert "sound" in stack.run("archive", "verify", str(stack.archive), *key).stdout
    stack.run("archive", "export", str(stack.archive), str(tmp_path / "out"), *key, "--purpose", PURPOSE)
    (folder,) = (tmp_path / "out").iterdir()
    lines = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert sum(line["kind"] == "key-press" for line in lines) == len("some words")
    assert [line["class"] for line in lines if line["kind"] == "key-press"].count("space") == 1
    import av

    with av.open(str(folder / "screens.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == len(frames(stack)) >= 1
    about = json.loads((folder / "about.json").read_text())
    assert about["purposes"] == [PURPOSE]
    assert len(about["consents"][0]) == 64
    refused = stack.run("archive", "export", str(stack.archive), str(tmp_path / "no"), *key, "--purpose", "assessment")
    assert "nothing was written" in refused.stdout
    assert not list((tmp_path / "no").rglob("*.mp4"))
    assert "left out" in refused.stdout


def test_an_idle_desktop_is_neither_looked_at_nor_woken_for(stack: Stack) -> None:
    configure(stack, "xterm")
    terminal(stack, "still", "-xrm", "XTerm*cursorBlink: false", "-e", "sleep 600")
    start(stack)
    time.sleep(3)
    flushed(stack)
    time.sleep(12)  # the connection lingers, then closes; the chunk's timer is cancelled with it
    assert stack.agent is not None
    before, frames_before = _switches(stack.agent.pid), _frames_taken(stack)
    settled = _switches(stack.agent.pid) - before
    began = time.monotonic()
    time.sleep(60)
    switches = _switches(stack.agent.pid) - before - settled
    seconds = time.monotonic() - began
    assert switches / seconds <= 0.2, f"{switches} voluntary context switches in {seconds:.0f} s"
    assert _frames_taken(stack) == frames_before


def _switches(pid: int) -> int:
    """Return the voluntary context switches of all threads of a process."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        for line in (task / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                total += int(line.split()[1])
    return total
