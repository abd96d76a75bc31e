"""The steward: without a sign nothing is recorded; what the person said stands from the first moment on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from capture.conductor import Conductor
from capture.errors import CaptureError
from capture.gate import Gate
from capture.journal import Journal
from capture.policy import Policy, Rules
from capture.recorder import Recorder, RecorderLimits
from capture.shutter import Shutter
from capture.sources.windows import Window
from capture.standing import Exempt, Exemption, Standing
from capture.steward import Steward

EDITOR = Window(1, "editor", "letter", 0, 0, 0, 10, 10)


class Still:
    """A desktop where nothing happens, and a chunker with nothing to close."""

    def flush(self) -> None: ...
    def attend(self, attentive: bool) -> None: ...
    def close_events(self) -> None: ...
    def close_screens(self) -> None: ...
    def server_ms(self, mono_ns: int) -> int:
        return mono_ns // 1_000_000


class Shown:
    """A sign that can, or cannot, be shown."""

    def __init__(self, by: str | None) -> None:
        self.by = by
        self.states: list[str] = []

    async def start(self) -> str | None:
        return self.by

    def show(self, state: str, reasons: tuple[str, ...]) -> None:
        self.states.append(state)

    async def stop(self) -> None: ...


def steward_in(folder: Path, *, sign: str | None = "a sign") -> tuple[Steward, Gate, Recorder]:
    policy = Policy(Rules(allow=("editor",)), consented=True)
    recorder = Recorder(RecorderLimits())
    gate = Gate(policy, recorder, on_open=lambda: None, on_full=lambda: None)
    still = Still()
    look: list[Callable[[], None]] = []
    conductor = Conductor(
        still,  # type: ignore[arg-type]
        gate=gate,
        recorder=recorder,
        shutter=Shutter(),
        camera=None,
        chunker=still,  # type: ignore[arg-type]
        activity=lambda _: None,
        changed=lambda: look[0](),
    )
    steward = Steward(
        Standing(folder / "standing.json"),
        Journal(folder / "journal.jsonl"),
        Shown(sign),
        policy=policy,
        gate=gate,
        conductor=conductor,
        recorder=recorder,
        key=None,
        warnings={},
        changed=lambda: None,
    )
    look.append(steward.look)
    return steward, gate, recorder


async def begun(steward: Steward, gate: Gate) -> None:
    steward.prepare()
    gate.focus(1, EDITOR)
    await steward.start(b"\1" * 32)


async def test_without_a_sign_nothing_is_recorded(tmp_path: Path) -> None:
    steward, gate, recorder = steward_in(tmp_path, sign=None)
    await begun(steward, gate)
    assert not gate.open
    assert "nothing can show that it records" in gate.reasons[0]
    steward.resume()
    assert not gate.open
    assert recorder.opened_ms is None


async def test_a_sign_that_is_lost_ends_the_recording(tmp_path: Path) -> None:
    steward, gate, _ = steward_in(tmp_path)
    await begun(steward, gate)
    assert gate.open
    steward.sign_lost()
    assert not gate.open


async def test_nothing_is_recorded_before_the_sign_is_shown_and_no_gap_is_told(tmp_path: Path) -> None:
    steward, gate, recorder = steward_in(tmp_path)
    steward.prepare()
    gate.focus(1, EDITOR)
    assert not gate.open
    await steward.start(b"\1" * 32)
    draft = recorder.close(10**9)
    assert draft is not None
    assert [row.kind for row in draft.rows] == ["focus"]


async def test_a_pause_stands_from_the_first_moment_on(tmp_path: Path) -> None:
    Standing(tmp_path / "standing.json").pause(None)
    steward, gate, recorder = steward_in(tmp_path)
    await begun(steward, gate)
    assert not gate.open
    assert recorder.opened_ms is None
    steward.resume()
    assert gate.open
    assert not Standing(tmp_path / "standing.json").wishes.paused


async def test_a_pause_ends_by_itself_and_is_forgotten(tmp_path: Path) -> None:
    steward, gate, _ = steward_in(tmp_path)
    await begun(steward, gate)
    steward.pause(time.time() + 0.05)
    assert not gate.open
    assert Standing(tmp_path / "standing.json").wishes.paused
    async with asyncio.timeout(10):
        while not gate.open:  # noqa: ASYNC110 - the gate tells nobody
            await asyncio.sleep(0.01)
    assert not Standing(tmp_path / "standing.json").wishes.paused
    assert [entry["kind"] for entry in steward.journal.entries()] == ["start", "pause", "resume"]


async def test_a_pause_acts_even_when_the_disk_does_not_take_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steward, gate, _ = steward_in(tmp_path)
    await begun(steward, gate)

    def full(path: Path, content: bytes) -> None:
        raise CaptureError("the disk is full")

    monkeypatch.setattr("capture.standing.write_private", full)
    with pytest.raises(CaptureError, match="full"):
        steward.pause(None)
    assert not gate.open


async def test_exemptions_do_what_they_say(tmp_path: Path) -> None:
    steward, gate, recorder = steward_in(tmp_path)
    await begun(steward, gate)
    assert steward.sends
    steward.exempt("bandwidth", None, "")
    assert not steward.sends
    assert gate.open
    steward.exempt("battery", None, "")
    assert gate.open
    steward.battery(True)
    assert not gate.open
    steward.battery(False)
    assert gate.open
    steward.exempt("sensitive-work", time.time() + timedelta(hours=1).total_seconds(), "a contract")
    assert not gate.open
    assert "a contract" in gate.reasons[0]
    assert steward.end_exemption("sensitive-work")
    assert gate.open
    assert recorder.dropped == {"exemptions taken": 3}, "all that leaves the machine is how many"
    with pytest.raises(CaptureError, match="there are: bandwidth, battery, sensitive-work"):
        steward.exempt("everything", None, "")


async def test_exemptions_hold_after_a_restart(tmp_path: Path) -> None:
    Standing(tmp_path / "standing.json").exempt(Exemption(Exempt.SENSITIVE_WORK, time.time()))
    steward, gate, recorder = steward_in(tmp_path)
    await begun(steward, gate)
    assert not gate.open
    assert recorder.opened_ms is None
    steward.end_exemption("sensitive-work")
    assert gate.open
