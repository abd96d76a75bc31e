"""What is lost is told of, whatever crashes between the loss and the word: at every step, on a disk that keeps what it synced."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from codec.model import ChunkId
from tests.transport.simfs import SimFiles
from transport.errors import StorageFailed
from transport.losses import Losses
from transport.spool import Spool, WhenFull
from transport.spooled import Gap

FOLDER = Path("/spool")
SIZE = 24_000


def spool_on(files: SimFiles) -> Spool:
    return Spool.open(
        files, FOLDER, device="dev-1", limit_bytes=1 << 20, when_full=WhenFull.DROP_OLDEST, rng=random.Random(1)
    )


def filled(seed: int) -> tuple[SimFiles, Spool, set[ChunkId]]:
    """Return a spool that is full, so that one more chunk makes it drop."""
    files = SimFiles(seed)
    files.make_dir(FOLDER)
    files.synced_dirs |= files.dirs
    spool = spool_on(files)
    stored: set[ChunkId] = set()
    while True:
        chunk_id = spool.next_id()
        gaps = spool.put(chunk_id, bytes(SIZE), value=100, ready_wall_ns=0)
        stored.add(chunk_id)
        if gaps:
            spool.told(gap.chunk_id for gap in gaps)
            return files, spool, stored - {gap.chunk_id for gap in gaps}


def put_until_it_drops(spool: Spool) -> None:
    for _ in range(4):
        if spool.put(spool.next_id(), bytes(SIZE), value=100, ready_wall_ns=0):
            return


WAYS: dict[str, Callable[[Spool], object]] = {
    "drop": put_until_it_drops,
    "expire": lambda spool: spool.expire(1),
    "refuse": lambda spool: spool.refuse([entry.chunk_id for entry in spool.entries()][:3], "too large"),
    "forget": lambda spool: spool.forget([entry.chunk_id for entry in spool.entries()][:3]),
}


@pytest.mark.parametrize("power", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_a_crash_at_any_step_leaves_no_hole_without_a_word(way: str, power: bool) -> None:
    steps = lost = 0
    while True:
        steps += 1
        files, spool, stored = filled(steps)
        files.crash_at = steps
        try:
            WAYS[way](spool)
        except SimFiles.Killed:
            ended = False
        else:
            ended = True
        files.cut_power() if power else files.kill()
        again = spool_on(files)
        there = {entry.chunk_id for entry in again.entries()}
        told = {gap.chunk_id for gap in again.take_losses()}
        assert stored <= there | told, f"{way} crashed at step {steps}: {sorted(map(str, stored - there - told))[:3]}"
        if not power:
            assert not there & told, "what waits is not lost"
        lost += len(told)
        if ended:
            break
    assert steps > 5
    assert lost > 0


def test_a_loss_comes_up_at_each_opening_until_it_is_told() -> None:
    files, spool, _ = filled(0)
    put_until_it_drops(spool)
    for _ in range(2):
        files.kill()
        spool = spool_on(files)
        lost = spool.take_losses()
        assert lost
        assert {gap.reason for gap in lost} == {"spool-full"}
        assert {(gap.value, gap.size_bytes) for gap in lost} == {(100, SIZE)}
        assert spool.take_losses() == []
    spool.told(gap.chunk_id for gap in lost)
    files.cut_power()
    assert spool_on(files).take_losses() == []


def test_a_chunk_that_the_disk_would_not_take_and_nobody_puts_again_is_a_loss() -> None:
    files, spool, _ = filled(0)
    chunk_id = spool.next_id()
    spool.put(chunk_id, bytes(100), value=200, ready_wall_ns=0)
    chunk_id = spool.next_id()
    files.capacity_bytes = files.used_bytes()
    with pytest.raises(StorageFailed):
        spool.put(chunk_id, bytes(5000), value=200, ready_wall_ns=0)
    files.capacity_bytes = 1 << 40
    assert spool.next_id() != chunk_id
    after = spool.next_id()
    spool.put(after, bytes(100), value=200, ready_wall_ns=0)
    files.kill()
    again = spool_on(files)
    there = {entry.chunk_id for entry in again.entries()}
    assert after in there
    assert chunk_id in there | {gap.chunk_id for gap in again.take_losses()}


def test_the_book_outlives_a_full_disk_and_says_when_it_is_full_itself() -> None:
    files = SimFiles()
    files.make_dir(FOLDER)
    counted: dict[str, int] = {}

    def count(name: str, number: int) -> None:
        if number:
            counted[name] = counted.get(name, 0) + number

    book = Losses(files, FOLDER / "losses", 4, count)
    files.capacity_bytes = files.used_bytes()
    gaps = [Gap(ChunkId("dev-1", 1, seq), 0, 10, "refused: too large") for seq in range(6)]
    book.note(gaps)
    assert counted == {"losses in memory only": 2}
    assert book.pending() == gaps
    again = Losses(files, FOLDER / "losses", 4, count)
    assert {gap.chunk_id for gap in again.pending()} == {gap.chunk_id for gap in gaps[:4]}
    assert {gap.reason for gap in again.pending()} == {"refused"}
    again.told([gaps[0].chunk_id, gaps[5].chunk_id])
    again.note(gaps[5:])
    assert len(Losses(files, FOLDER / "losses", 4, count).pending()) == 4
    assert counted == {"losses in memory only": 2}


def test_without_room_for_a_book_losses_are_kept_in_memory() -> None:
    files = SimFiles()
    files.make_dir(FOLDER)
    files.capacity_bytes = 0
    counted: list[str] = []
    book = Losses(files, FOLDER / "losses", 512, lambda name, number: counted.append(name) if number else None)
    gap = Gap(ChunkId("dev-1", 1, 1), 0, 10, "expired")
    book.note([gap])
    assert book.pending() == [gap]
    assert counted == ["no book of losses", "losses in memory only"]


def test_what_expires_is_there_or_told_of_though_disk_and_process_fail_in_one_go() -> None:
    """First the disk does not take the loss, then the process dies: the chunk must not be gone without a word."""
    for failing in range(1, 12):
        for crashing in range(1, 12):
            files = SimFiles(failing)
            spool = spool_on(files)
            stored: list[ChunkId] = []
            for value in (0, 100, 200):  # three lanes: three segments
                stored.append(spool.next_id())
                spool.put(stored[-1], bytes(1000), value=value, ready_wall_ns=5)
            files.fail_at, files.crash_at = failing, crashing + failing
            told = set()
            with contextlib.suppress(SimFiles.Killed):
                told = {gap.chunk_id for gap in spool.expire(10)}
            files.kill()
            spool = spool_on(files)
            told |= {gap.chunk_id for gap in spool.take_losses()}
            assert {entry.chunk_id for entry in spool.entries()} | told == set(stored)
