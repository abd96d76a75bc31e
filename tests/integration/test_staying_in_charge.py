"""The person stays in charge: a sign that stays, pauses that act at once and last, exemptions, the journal."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from capture.journal import Journal
from capture.sources import x11
from codec import reader
from codec.model import Row
from codec.reader import KeyEvent, PointerEvent
from codec.seal import ArchivePrivateKey
from tests.buses import private_bus
from tests.integration.stack import Stack, display, wait_for
from tests.x11_display import need
from tests.x11_injector import Injector
from transport.archive import FolderStore
from transport.fs import RealFiles

pytestmark = [pytest.mark.x11, pytest.mark.broker]

CONFIG = """\
[scope]
allow = ["xterm"]
[capture]
chunk_age = "10 s"
hold_back = "0 s"
[screens]
min_interval = "1 s"
[budget.metered]
send = "all"
[control]
pause_shortcut = "ctrl+alt+p"
[broker]
port = {port}
[archive]
public_key = "{folder}/keys/archive.pub"
"""

PAUSED_WITHIN_MS = 100
CONTROL, ALT = 0xFFE3, 0xFFE9


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A running stack in a session with a notification daemon and no panel, over a terminal that fills the display."""
    need("dunst")
    with private_bus("session") as address, display(tmp_path, size="800x600") as environment:
        environment["DBUS_SESSION_BUS_ADDRESS"] = address
        stack = Stack(tmp_path, environment)
        try:
            stack.configure(CONFIG.format(port=stack.port, folder=stack.folder))
            stack.processes.start("dunst", ["dunst"], environment)
            stack.processes.start("canvas", ["xterm", "-fullscreen", "-e", "cat"], environment)
            stack.start_broker()
            stack.start_collector()
            stack.start_agent()
            wait_for(lambda: state(stack) == "recording", "the terminal to have the focus")
            yield stack
        finally:
            stack.end()


def press(keys: Injector) -> float:
    """Press the pause key; return when the server had done it (CLOCK_MONOTONIC, ms)."""
    for keysym in (CONTROL, ALT, ord("p")):
        keys.key(keysym, "", down=True)
    pressed_ms = keys.truth.keys[-1][-1]
    for keysym in (ord("p"), ALT, CONTROL):
        keys.key(keysym, "", down=False)
    return pressed_ms


def state(stack: Stack) -> str:
    status = stack.status()
    return "" if status is None else str(status["state"])


def kinds(stack: Stack) -> list[str]:
    return [entry["kind"] for entry in journal(stack)]


def journal(stack: Stack) -> list[dict[str, Any]]:
    return list(Journal(stack.folder / "agent" / "state" / "journal.jsonl").entries())


def windows(stack: Stack) -> list[Any]:
    server = x11.Server(stack.environment["DISPLAY"], "")
    try:
        return server.stack() or []
    finally:
        server.close()


def archived_events(stack: Stack) -> list[tuple[float, Any]]:
    """Return everything in the archive with its time by the source's clock (CLOCK_MONOTONIC, ms)."""
    private = ArchivePrivateKey.from_text(stack.private_key.read_text())
    store = FolderStore(RealFiles(), stack.archive)
    found: list[tuple[float, Any]] = []
    for chunk_id in sorted(store.iterate()):
        recording = reader.open(store.get(chunk_id), private, purpose="computer-use-training", now_s=int(time.time()))
        found += [(recording.meta.t0_ms + event.t_ms, event) for event in recording.events()]
        found += [(recording.meta.t0_ms + frame.t_ms, frame) for frame in recording.frames()]
    return found


def test_a_pause_takes_effect_within_100_ms_for_all_sources_and_marks_the_stream(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    injector, keys = Injector(stack.environment["DISPLAY"]), Injector(stack.environment["DISPLAY"])
    done = threading.Event()

    def work() -> None:
        x = 0
        while not done.is_set():
            x = (x + 7) % 700
            injector.move_to(50 + x, 300)
            injector.key(ord("a"), "LETTER", down=True)
            injector.key(ord("a"), "LETTER", down=False)
            time.sleep(0.008)

    hands = threading.Thread(target=work)
    hands.start()
    pauses: list[tuple[float, float]] = []
    try:
        for by_key in (False, True, False, True):
            time.sleep(1.5)
            asked_ms = time.monotonic() * 1000
            if by_key:
                asked_ms = press(keys)
                wait_for(lambda: state(stack) == "paused", "the key to pause it")
            else:
                stack.ask("pause")
            time.sleep(1.0)
            until_ms = time.monotonic() * 1000
            if by_key:
                press(keys)
                wait_for(lambda: state(stack) == "recording", "the key to resume it")
            else:
                stack.ask("resume")
            pauses.append((asked_ms, until_ms))
    finally:
        done.set()
        hands.join()
        injector.close()
        keys.close()
    stack.ask("flush")
    wait_for(lambda: (stack.status() or {})["chunks"]["waiting"] == 0, "the archive to have every chunk")
    told = archived_events(stack)
    kinds_seen = {type(event) for _, event in told}
    assert {PointerEvent, KeyEvent} <= kinds_seen
    lags = []
    for asked_ms, until_ms in pauses:
        inside = [at for at, event in told if asked_ms <= at < until_ms and not isinstance(event, Row)]
        lags.append(max((at - asked_ms for at in inside), default=0.0))
        assert any(at < asked_ms for at, _ in told)
    with capsys.disabled():
        print(f"\nthe last thing recorded after a pause was asked for: {', '.join(f'{lag:.0f}' for lag in lags)} ms")
    assert max(lags) <= PAUSED_WITHIN_MS
    gaps = [event.fields for _, event in told if isinstance(event, Row) and event.fields.get("cause") == "pause"]
    assert len(gaps) == len(pauses)
    assert all(int(gap["ms"]) >= 900 for gap in gaps)
    assert kinds(stack).count("pause") == kinds(stack).count("resume") == len(pauses)


def test_a_pause_and_an_exemption_outlast_a_crash(stack: Stack) -> None:
    assert "until" in stack.run("pause", "until", "23:59").stdout
    said = stack.run("exempt", "bandwidth", "--for", "2h", "--reason", "on a train").stdout
    assert "bandwidth, until" in said
    assert "on a train" in said
    stack.kill(stack.agent)
    stack.start_agent()
    status = stack.status()
    assert status is not None
    assert status["state"] == "paused"
    assert status["link"] == "offline", "nothing is sent"
    assert any("exemption for bandwidth" in warning for warning in status["warnings"])
    assert status["recorded"] == {"pointer": 0, "keys": 0, "rows": 0, "frames": 0}
    stack.run("resume")
    wait_for(lambda: state(stack) == "recording", "it to go on")
    stack.run("exempt", "sensitive-work")
    assert state(stack) == "suspended"
    stack.run("exempt", "sensitive-work", "--end")
    stack.run("exempt", "bandwidth", "--end")
    wait_for(lambda: state(stack) == "recording", "it to go on")
    assert "There is no exemption" in stack.run("exempt").stdout
    stack.ask("flush")
    wait_for(lambda: "sent" in kinds(stack), "something to be in the archive", seconds=150)
    everything = str([event for _, event in archived_events(stack)])
    assert "train" not in everything
    assert "bandwidth" not in everything
    told = stack.run("journal", "--since", "1 h").stdout
    for word in ("consent", "start", "asked", "pause", "resume", "exempt", "recording", "sent", "xterm is allowed by"):
        assert word in told, word


def test_a_sign_stays_and_a_notification_comes_at_start_and_resume(stack: Stack) -> None:
    wait_for(lambda: any(window.app == "modicum-sign" for window in windows(stack)), "the sign on the screen")
    (sign,) = [window for window in windows(stack) if window.app == "modicum-sign"]
    assert sign.y == 0
    assert sign.override_redirect
    (start,) = [entry for entry in journal(stack) if entry["kind"] == "start"]
    assert start["sign"] == "a sign at the top of the screen"
    assert len(start["consent"]) == 64
    wait_for(lambda: "modicum records" in notifications(stack), "the notification at the start")
    subprocess.run(["dunstctl", "close-all"], env=stack.environment, check=True)
    stack.run("pause")
    wait_for(lambda: "modicum is paused" in notifications(stack), "the notification of the pause")
    stack.run("resume")
    wait_for(lambda: "modicum records again" in notifications(stack), "the notification of the resume")
    top = windows(stack)[-1]
    assert "modicum-sign" in {window.app for window in windows(stack)[-2:]}, top
    stack.stop_agent()
    assert not [window for window in windows(stack) if window.app == "modicum-sign"]


def notifications(stack: Stack) -> str:
    """Return what the notification daemon has shown."""
    subprocess.run(["dunstctl", "close-all"], env=stack.environment, check=True)
    done = subprocess.run(["dunstctl", "history"], env=stack.environment, capture_output=True, text=True, check=True)
    return done.stdout
