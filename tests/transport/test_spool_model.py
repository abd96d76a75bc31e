"""The spool against a disk that fails, fills, tears and forgets: whatever happens, what `put` confirmed is there."""

from __future__ import annotations

import contextlib
import errno
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from codec.model import ChunkId
from tests.transport.simfs import SimFiles
from transport.errors import SpoolFull, StorageFailed
from transport.spool import Entry, Gap, Spool, WhenFull

FOLDER = Path("/spool")
LIMIT = 1 << 20
SOAK = int(os.environ.get("MODICUM_SOAK", "1"))
"""`make soak` multiplies the examples by it."""

SHRINK = "MODICUM_NO_SHRINK" not in os.environ
"""Mutation testing wants the verdict, not the smallest example."""

ONE_STEP = st.integers(1, 12)


class SpoolMachine(RuleBasedStateMachine):
    """Operations, faults and crashes in any order, beside a model of what must be true."""

    def __init__(self) -> None:
        super().__init__()
        self.files = SimFiles()
        self.spool: Spool
        self.waiting: dict[ChunkId, tuple[bytes, int]] = {}  # confirmed: bytes, value
        self.uncertain: dict[ChunkId, bytes] = {}  # put did not return: may be there or not
        self.settled: set[ChunkId] = set()  # acked or lost, then a crash: may come back, no harm
        self.lost: set[ChunkId] = set()  # reported as gaps: not there until a crash
        self.forgotten: dict[ChunkId, bytes] = {}
        self.latest: dict[ChunkId, bytes] = {}
        self.confirmed: set[ChunkId] = set()
        self.doubtful: tuple[ChunkId, bytes, int] | None = None  # the disk would not take it; it may be put again
        self.now = 0

    @initialize(seed=st.integers(0, 2**32), policy=st.sampled_from(list(WhenFull)))
    def begin(self, seed: int, policy: WhenFull) -> None:
        self.files = SimFiles(seed)
        self.files.make_dir(FOLDER)
        self.files.synced_dirs |= self.files.dirs  # whoever makes the parents answers for them
        self.policy = policy
        self.rng = random.Random(seed)
        self.open()

    def open(self) -> None:
        """Open without faults; twice where a fault hid a segment."""
        self.spool = Spool.open(
            self.files, FOLDER, device="dev-1", limit_bytes=LIMIT, when_full=self.policy, rng=self.rng
        )

    def killable(self, operation: Callable[[], None]) -> None:
        """Run something that a planned crash may end."""
        try:
            operation()
        except SimFiles.Killed:
            self.killed()

    def reconcile(self) -> None:
        """After a crash: room may have been made of which nobody was told. Then the spool tells of it now."""
        for gap in self.spool.take_losses():
            self.lose(gap)

    def lose(self, gap: Gap) -> None:
        known = gap.chunk_id in self.waiting or gap.chunk_id in self.uncertain or gap.chunk_id in self.settled
        assert known or gap.chunk_id in self.lost or gap.chunk_id in self.forgotten, gap
        self.waiting.pop(gap.chunk_id, None)
        self.uncertain.pop(gap.chunk_id, None)
        self.lost.add(gap.chunk_id)

    @rule(size=st.integers(0, 24_000), value=st.sampled_from([0, 100, 200, 255]), held=st.booleans())
    def put(self, size: int, value: int, held: bool) -> None:
        chunk_id = self.spool.next_id()
        assert chunk_id not in self.confirmed, "an id is given out twice"
        chunk = self.rng.randbytes(size)
        self.latest[chunk_id] = chunk

        def operation() -> None:
            before = self.files.used_bytes()
            self.uncertain[chunk_id] = chunk
            try:
                gaps = self.spool.put(chunk_id, chunk, value=value, ready_wall_ns=self.now + 1000 * held)
            except SpoolFull:
                del self.uncertain[chunk_id]
                assert self.policy is not WhenFull.DROP_OLDEST or before < LIMIT // 2
                for gap in self.spool.take_losses():
                    self.lose(gap)
                return
            except StorageFailed:
                if self.spool.next_id() != chunk_id:
                    self.doubtful = (chunk_id, chunk, value)
                for gap in self.spool.take_losses():
                    self.lose(gap)
                return
            del self.uncertain[chunk_id]
            self.waiting[chunk_id] = (chunk, value)
            self.confirmed.add(chunk_id)
            for gap in gaps:
                assert gap.reason == "spool-full"
                if self.policy is WhenFull.DROP_LOWEST_VALUE:
                    assert gap.value >> 5 <= value >> 5, "something worth more was dropped"
                self.lose(gap)
            for gap in self.spool.take_losses():
                self.lose(gap)

        self.killable(operation)

    @rule(count=st.integers(10, 40), value=st.sampled_from([0, 100, 200, 255]))
    def put_many(self, count: int, value: int) -> None:
        """Come near the limit, so that putting means dropping."""
        opened = self.spool
        for _ in range(count):
            if self.spool is opened:  # else a crash ended it
                self.put(24_000, value, False)

    @precondition(lambda self: self.doubtful is not None)
    @rule()
    def put_again(self) -> None:
        """Retry the chunk that the disk would not take, as the recorder does, perhaps after others."""
        assert self.doubtful is not None
        chunk_id, chunk, value = self.doubtful
        self.doubtful = None
        try:
            gaps = self.spool.put(chunk_id, chunk, value=value, ready_wall_ns=self.now)
        except (StorageFailed, SpoolFull):
            gaps = []
        except SimFiles.Killed:
            self.killed()
            return
        else:
            self.uncertain.pop(chunk_id, None)
            self.waiting[chunk_id] = (chunk, value)
            self.confirmed.add(chunk_id)
        for gap in [*gaps, *self.spool.take_losses()]:
            self.lose(gap)

    def killed(self) -> None:
        self.doubtful = None
        self.settled |= self.lost
        if self.rng.random() < 0.5:
            self.files.cut_power()
        else:
            self.files.kill()
        self.open()
        self.reconcile()

    @precondition(lambda self: self.waiting)
    @rule(share=st.floats(0, 1), data=st.randoms(use_true_random=False))
    def ack(self, share: float, data: random.Random) -> None:
        ids = [chunk_id for chunk_id in self.waiting if data.random() < share]
        for chunk_id in ids:
            self.settled.add(chunk_id)
            del self.waiting[chunk_id]
        self.killable(lambda: self.spool.ack(ids) and None)

    @precondition(lambda self: self.waiting)
    @rule(data=st.randoms(use_true_random=False))
    def forget(self, data: random.Random) -> None:
        ids = set(data.sample(sorted(self.waiting), min(2, len(self.waiting))))

        def operation() -> None:
            before = {chunk_id: self.waiting.pop(chunk_id)[0] for chunk_id in ids}
            self.uncertain |= before
            try:
                self.spool.forget(ids)
            except StorageFailed:
                self.files.fail_at = None
                try:
                    self.spool.forget(ids)
                except StorageFailed:  # a disk that is full for good cannot happen here: erasing needs no space
                    raise AssertionError("forgetting fails without a fault") from None
            self.spool.take_losses()
            for chunk_id in ids:
                self.uncertain.pop(chunk_id, None)
            self.forgotten |= before

        self.killable(operation)

    @rule()
    def expire(self) -> None:
        before_ns = self.now - 5000
        old = {entry.chunk_id for entry in self.peaceful_entries() if entry.ready_wall_ns < before_ns}
        try:
            gaps = self.spool.expire(before_ns)
        except SimFiles.Killed:
            self.killed()
            return
        assert {gap.chunk_id for gap in gaps} <= old
        for gap in gaps:
            self.lose(gap)

    def peaceful_entries(self) -> list[Entry]:
        """Look without setting off the planned fault."""
        planned = self.files.fail_at, self.files.crash_at
        self.files.fail_at = self.files.crash_at = None
        entries = list(self.spool.entries())
        self.files.fail_at, self.files.crash_at = planned
        return entries

    @rule(share=st.floats(0, 1))
    def tell(self, share: float) -> None:
        """What tells of some losses is stored."""
        ids = [chunk_id for chunk_id in self.lost if self.rng.random() < share]
        self.killable(lambda: self.spool.told(ids))

    @rule(step=st.integers(1, 4000))
    def later(self, step: int) -> None:
        self.now += step

    @rule(steps=ONE_STEP, failure=st.sampled_from([errno.EIO, errno.ENOSPC]), times=st.sampled_from([1, 1, 2, 8]))
    def plan_failure(self, steps: int, failure: int, times: int) -> None:
        self.files.fail_at, self.files.failure, self.files.fail_for = steps, failure, times

    @rule(steps=ONE_STEP)
    def plan_crash(self, steps: int) -> None:
        self.files.crash_at = steps

    @rule(full=st.booleans())
    def fill_the_disk(self, full: bool) -> None:
        self.files.capacity_bytes = self.files.used_bytes() + 8192 if full else 1 << 40

    @rule(short=st.booleans())
    def write_short(self, short: bool) -> None:
        self.files.short_writes = short

    @rule(power=st.booleans(), tidy=st.booleans())
    def restart(self, power: bool, tidy: bool) -> None:
        if tidy:
            with contextlib.suppress(SimFiles.Killed):
                self.spool.close()
        self.settled |= self.lost
        self.doubtful = None
        if power:
            self.files.cut_power()
        else:
            self.files.kill()
        self.open()
        self.reconcile()

    @invariant()
    def what_was_confirmed_is_there(self) -> None:
        if not hasattr(self, "policy"):
            return
        planned = self.files.fail_at, self.files.crash_at
        self.files.fail_at = self.files.crash_at = None
        entries = {entry.chunk_id: entry for entry in self.spool.entries()}
        for chunk_id, (chunk, value) in self.waiting.items():
            assert chunk_id in entries, f"{chunk_id} is lost"
            assert entries[chunk_id].value == value
            assert self.spool.read(chunk_id) == chunk
        for chunk_id in entries.keys() - self.waiting.keys():
            assert chunk_id in self.uncertain or chunk_id in self.settled, f"{chunk_id} came from nowhere"
            chunk = self.spool.read(chunk_id)
            assert chunk is None or chunk == self.latest[chunk_id]
        for gap in self.spool.take_losses():
            self.lose(gap)
        usage = self.spool.usage()
        there_bytes = sum(len(inode.data) for path, inode in self.files.now.items() if path.parent == FOLDER)
        assert there_bytes <= usage.disk_bytes <= LIMIT
        assert usage.chunks >= len(self.waiting)
        for chunk_id, chunk in self.forgotten.items():
            assert chunk_id not in entries, f"{chunk_id} was forgotten and is there"
            if len(chunk) >= 32:
                assert not any(chunk[:32] in bytes(inode.data) for inode in self.files.now.values())
        ready = [entry.chunk_id for entry in self.spool.ready(self.now, most=10_000)]
        assert len(ready) == len(set(ready))
        there = {e.chunk_id for e in self.spool.entries() if e.ready_wall_ns <= self.now}
        assert set(ready) <= there
        # What was settled in memory only, since the disk would not take the mark, comes back when its index is read again.
        assert there - set(ready) <= self.settled | self.lost | self.uncertain.keys()
        self.files.fail_at, self.files.crash_at = planned


@pytest.mark.timeout(600)
def test_the_spool_keeps_its_promise_whatever_the_disk_does() -> None:
    run_state_machine_as_test(
        SpoolMachine,
        settings=settings(
            max_examples=100 * SOAK,
            stateful_step_count=100,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
            phases=list(Phase) if SHRINK else [Phase.explicit, Phase.reuse, Phase.generate],
        ),
    )
