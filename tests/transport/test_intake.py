"""What becomes of messages when the archive's disk is full for a moment, or for long."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from codec.model import ChunkId
from tests.transport.kit import parse_tiny, tiny_chunk
from tests.transport.simfs import SimFiles
from transport.archive import FolderStore
from transport.endpoint import Message
from transport.intake import Intake, Outcome
from transport.messages import NackCode, up_topic

DEVICE = "dev-1"
LONG_S = 30.0


class Scene:
    """An archive on a simulated disk, and chunks for it."""

    def __init__(self, hold_s: float) -> None:
        self.files = SimFiles()
        self.archive = FolderStore(self.files, Path("/archive"))
        self.intake = Intake(self.archive, parse_tiny, hold_s=hold_s)
        self.made = 0

    def fill(self) -> None:
        self.files.capacity_bytes = self.files.used_bytes()

    def free(self) -> None:
        self.files.capacity_bytes = 1 << 40

    def process(self) -> Outcome:
        self.made += 1
        chunk = tiny_chunk(ChunkId(DEVICE, 1, self.made), bytes(9000))
        (outcome,) = self.intake.process([Message(up_topic(DEVICE), chunk, 1, self.made)])
        return outcome


def test_what_finds_the_disk_full_for_a_moment_is_not_sent_back() -> None:
    scene = Scene(LONG_S)
    scene.fill()

    def free() -> None:
        while not scene.intake.counters.get("held"):
            time.sleep(0.01)
        scene.free()

    freeing = threading.Thread(target=free)
    freeing.start()
    outcome = scene.process()
    freeing.join()
    assert outcome.event.kind == "archived"
    assert outcome.acks
    assert list(scene.archive.iterate()) == [ChunkId(DEVICE, 1, 1)]


def test_a_disk_that_stays_full_is_waited_for_once_and_then_chunks_go_back_at_once() -> None:
    scene = Scene(0.2)
    scene.fill()
    first = scene.process()
    assert first.nack is not None
    assert first.nack.code is NackCode.LATER
    held = scene.intake.counters["held"]
    assert held
    second = scene.process()
    assert second.nack is not None
    assert scene.intake.counters["held"] == held
    scene.free()
    assert scene.process().acks
    scene.fill()
    assert scene.process().nack is not None
    assert scene.intake.counters["held"] > held, "there was room meanwhile: it is waited for anew"


def test_a_disk_that_fails_otherwise_is_not_waited_for() -> None:
    scene = Scene(LONG_S)
    scene.files.fail_at, scene.files.fail_for = 1, 100
    assert scene.process().nack is not None
    assert "held" not in scene.intake.counters


@pytest.mark.timeout(10)
def test_who_ends_does_not_wait() -> None:
    scene = Scene(LONG_S)
    scene.fill()
    scene.intake.closing.set()
    assert scene.process().nack is not None
