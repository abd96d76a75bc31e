"""The ledger on a disk that stops, forgets and fails between any two steps: no byte is ever counted too little."""

import errno
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from transport.fs import Files, Handle, Open, RealFiles
from transport.ledger import SLOT_BYTES, SLOTS, Ledger, pack_snapshot
from transport.limits import Lease, Limits, Link, Refusal, Sendable
from transport.periods import NS_PER_S, Calendar

HOUR = 3600 * NS_PER_S
DAY = 24 * HOUR
START = 1_768_046_400 * NS_PER_S  # 10 January 2026, 12:00 UTC
ALL = dict.fromkeys((Link.UNMETERED, Link.METERED, Link.ROAMING), Sendable.ALL)
PATH = Path("/state/ledger")


class PowerLoss(BaseException):
    """The machine stops here."""


class Inode:
    """A file's contents: what programs see, what the disk has, and the writes in between."""

    def __init__(self, data: bytes = b"") -> None:
        self.seen = bytearray(data)
        self.stored = bytes(data)
        self.pending: list[tuple[int, bytes]] = []


class Disk:
    """A file system that keeps what was synced, and of the rest what chance decides.

    Attributes:
        steps_left: calls until it stops (None: never). fails: a call's name to the error it raises.
    """

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.names: dict[Path, Inode] = {}  # what programs see
        self.stored_names: dict[Path, Inode] = {}
        self.changes: list[dict[Path, Inode]] = []  # the names after each change that no folder sync has stored
        self.steps_left: int | None = None
        self.fails: dict[str, int] = {}

    def step(self, name: str) -> None:
        if self.steps_left is not None:
            self.steps_left -= 1
            if self.steps_left < 0:
                raise PowerLoss
        if name in self.fails:
            raise OSError(self.fails[name], "no space left on device" if self.fails[name] == errno.ENOSPC else "broken")

    def changed(self) -> None:
        self.changes.append(dict(self.names))

    def stop_and_start(self) -> None:
        """Lose the power: of each unsynced write, and of each unsynced name, the disk has it or not."""
        stored = self.chance.randint(0, len(self.changes))  # names are stored in order
        self.stored_names = self.changes[stored - 1] if stored else self.stored_names
        for inode in {id(inode): inode for inode in self.stored_names.values()}.values():
            data = bytearray(inode.stored)
            for offset, piece in inode.pending:
                written = self.chance.random() < 0.5
                if written or self.chance.random() < 0.3:  # the file has grown, and what should be there is not
                    data.extend(bytes(max(0, offset + len(piece) - len(data))))
                if written:
                    data[offset : offset + len(piece)] = piece
            inode.stored, inode.pending = bytes(data), []
            inode.seen = data
        self.names = dict(self.stored_names)
        self.changes.clear()
        self.steps_left = None
        self.fails.clear()

    # -- Files

    def open(self, path: Path, how: Open) -> Handle:
        self.step("open")
        if how is Open.CREATE:
            if path in self.names:
                raise FileExistsError(path)
            self.names[path] = Inode()
            self.changed()
        elif path not in self.names:
            raise FileNotFoundError(path)
        return DiskHandle(self, self.names[path])

    def make_dir(self, path: Path) -> None: ...

    def list_dir(self, path: Path) -> list[str]:
        return sorted(name.name for name in self.names if name.parent == path)

    def exists(self, path: Path) -> bool:
        return path in self.names

    def rename(self, source: Path, target: Path) -> None:
        self.step("rename")
        assert not self.names[source].pending, "renamed before its contents were synced"
        self.names[target] = self.names.pop(source)
        self.changed()

    def link(self, source: Path, target: Path) -> None:
        self.step("link")
        if target in self.names:
            raise FileExistsError(target)
        self.names[target] = self.names[source]
        self.changed()

    def unlink(self, path: Path) -> None:
        self.step("unlink")
        if path not in self.names:
            raise FileNotFoundError(path)
        del self.names[path]
        self.changed()

    def sync_dir(self, path: Path) -> None:
        self.step("sync_dir")
        self.stored_names = dict(self.names)
        self.changes.clear()

    def free_bytes(self, path: Path) -> int:
        return 1 << 40

    def lock(self, path: Path) -> Handle:
        raise NotImplementedError


class DiskHandle:
    def __init__(self, disk: Disk, inode: Inode) -> None:
        self.disk, self.inode = disk, inode

    def pread(self, size_bytes: int, offset: int) -> bytes:
        self.disk.step("pread")
        return bytes(self.inode.seen[offset : offset + size_bytes])

    def pwrite(self, data: bytes | bytearray | memoryview, offset: int) -> int:
        self.disk.step("pwrite")
        seen = self.inode.seen
        seen.extend(bytes(max(0, offset + len(data) - len(seen))))
        seen[offset : offset + len(data)] = data
        self.inode.pending.append((offset, bytes(data)))
        return len(data)

    def size_bytes(self) -> int:
        return len(self.inode.seen)

    def truncate(self, size_bytes: int) -> None:
        raise NotImplementedError

    def allocate(self, size_bytes: int) -> None:
        raise NotImplementedError

    def sync(self) -> None:
        self.disk.step("sync")
        self.inode.stored, self.inode.pending = bytes(self.inode.seen), []

    def close(self) -> None: ...


def limits(**kwargs: Any) -> Limits:
    return Limits(sendable=ALL, **kwargs)


def open_ledger(files: Files, hours: float = 0.0, path: Path = PATH, **kwargs: Any) -> Ledger:
    return Ledger(files, path, limits(**kwargs), wall_ns=START + round(hours * HOUR), mono_ns=round(hours * HOUR))


def reserve(ledger: Ledger, size: int, hours: float = 0.0) -> Lease | Refusal:
    return ledger.reserve(size, link=Link.UNMETERED, wall_ns=START + round(hours * HOUR), mono_ns=round(hours * HOUR))


def settle(ledger: Ledger, lease: Lease | Refusal, used: int, hours: float = 0.0, **kinds: int) -> None:
    assert isinstance(lease, Lease)
    ledger.settle(lease.id, used, wall_ns=START + round(hours * HOUR), mono_ns=round(hours * HOUR), kinds=kinds)


@pytest.fixture
def disk() -> Disk:
    return Disk(random.Random(1))


def test_what_was_settled_outlives_the_process(disk: Disk) -> None:
    ledger = open_ledger(disk, day_bytes=100)
    settle(ledger, reserve(ledger, 60), 45, events=30, screens=10)
    again = open_ledger(disk, 1, day_bytes=100)
    usage = again.usage(START + HOUR, HOUR)
    assert usage.day_used == 45
    assert dict(usage.by_kind) == {"events": 30, "screens": 10, "other": 5}
    assert again.written_off_bytes == 0


def test_what_was_reserved_at_a_crash_is_spent(disk: Disk) -> None:
    ledger = open_ledger(disk, day_bytes=100)
    assert isinstance(reserve(ledger, 60), Lease)
    disk.stop_and_start()
    again = open_ledger(disk, 1, day_bytes=100)
    assert again.written_off_bytes == 60
    assert again.usage(START + HOUR, HOUR).day_used == 60
    refusal = reserve(again, 41, 1)
    assert isinstance(refusal, Refusal)
    assert refusal.left_bytes == 40


def test_a_settlement_of_an_earlier_process_is_ignored(disk: Disk) -> None:
    ledger = open_ledger(disk, day_bytes=100)
    lease = reserve(ledger, 60)
    again = open_ledger(disk, day_bytes=100)
    settle(again, lease, 0)
    assert again.usage(START).day_used == 60


def test_a_full_log_is_written_anew_with_what_is_outstanding(disk: Disk) -> None:
    ledger = open_ledger(disk, day_bytes=10**9)
    held = reserve(ledger, 1000)
    for _ in range(SLOTS):
        settle(ledger, reserve(ledger, 10), 5)
    settle(ledger, held, 7)
    used = ledger.usage(START).day_used
    assert used == 5 * SLOTS + 7
    disk.stop_and_start()
    assert open_ledger(disk, day_bytes=10**9).usage(START).day_used == used


@pytest.mark.parametrize("broken", ["pwrite", "sync", "rename", "open"])
def test_a_disk_that_takes_nothing_refuses_and_recovers(disk: Disk, broken: str) -> None:
    ledger = open_ledger(disk, day_bytes=100)
    lease = reserve(ledger, 50)
    disk.fails[broken] = errno.ENOSPC
    if broken in {"pwrite", "sync"}:
        refusal = reserve(ledger, 10)
        assert isinstance(refusal, Refusal)
        assert "cannot be written" in refusal.reasons[0]
    settle(ledger, lease, 20)
    assert ledger.usage(START).day_used == 20
    disk.fails.clear()
    assert isinstance(reserve(ledger, 80), Lease)
    disk.stop_and_start()
    assert open_ledger(disk, day_bytes=100).usage(START).day_used == 100


def damage(disk: Disk, change: Callable[[bytearray], bytes | bytearray]) -> Ledger:
    ledger = open_ledger(disk, month_bytes=1000)
    for _ in range(4):
        settle(ledger, reserve(ledger, 100), 50)
    inode = disk.names[PATH]
    inode.seen = bytearray(change(bytearray(inode.seen)))
    inode.stored = bytes(inode.seen)
    return open_ledger(disk, 1, month_bytes=1000)


def test_every_flipped_bit_that_matters_locks_the_period() -> None:
    chance = random.Random(2)
    probe = Disk(chance)
    used = len(pack_snapshot(open_ledger(probe, month_bytes=1000)._budget)) + 8 * SLOT_BYTES
    for at in [*range(used), *chance.sample(range(used, used + SLOTS * SLOT_BYTES // 2), 50)]:

        def flip(data: bytearray, at: int = at) -> bytearray:
            data[at] ^= 1 << chance.randrange(8)
            return data

        disk = Disk(chance)
        ledger = damage(disk, flip)
        usage = ledger.usage(START + HOUR, HOUR)
        locked = any("was damaged" in note for note in usage.notes)
        # The slot after the last may have been the one under way at a crash: alone, it is nothing.
        assert locked or usage.month_used == 200, f"byte {at}"
        if at < used:
            assert locked, f"byte {at}"


@pytest.mark.parametrize("size", [0, 7, 100, 1000, -1, -SLOT_BYTES])
def test_a_file_cut_short_locks_the_period(disk: Disk, size: int) -> None:
    ledger = damage(disk, lambda data: data[:size])
    assert isinstance(reserve(ledger, 1, 1), Refusal)


def test_a_damaged_ledger_spends_nothing_says_so_and_is_kept(disk: Disk) -> None:
    ledger = damage(disk, lambda data: bytes(len(data)))
    refusal = reserve(ledger, 1, 1)
    assert isinstance(refusal, Refusal)
    assert "the budget's ledger was damaged" in refusal.reasons[0]
    assert refusal.retry_wall_ns == 1_769_904_000 * NS_PER_S  # 1 February 2026
    assert ledger.usage(START).notes == refusal.reasons
    assert "ledger.damaged-1" in disk.list_dir(PATH.parent)
    again = open_ledger(disk, 2, month_bytes=1000)
    assert isinstance(reserve(again, 1, 2), Refusal), "a restart does not lift it"
    later = open_ledger(disk, 24 * 22, month_bytes=1000)
    assert isinstance(reserve(later, 1, 24 * 22), Lease)


def test_a_crash_while_a_damaged_ledger_is_replaced_never_yields_a_fresh_one() -> None:
    for steps in range(40):
        disk = Disk(random.Random(steps))
        first = open_ledger(disk, month_bytes=1000)
        settle(first, reserve(first, 100), 50)
        inode = disk.names[PATH]
        inode.seen[3] ^= 1
        inode.stored = bytes(inode.seen)
        disk.steps_left = steps
        try:
            open_ledger(disk, 1, month_bytes=1000)
        except PowerLoss:
            disk.stop_and_start()
        disk.steps_left = None
        assert isinstance(reserve(open_ledger(disk, 2, month_bytes=1000), 1, 2), Refusal), f"stopped at step {steps}"


def test_it_works_on_the_real_file_system(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    ledger = open_ledger(RealFiles(), path=path, day_bytes=100)
    settle(ledger, reserve(ledger, 60), 45)
    assert isinstance(reserve(ledger, 50), Lease)
    ledger.close()
    assert path.stat().st_mode & 0o777 == 0o600
    assert open_ledger(RealFiles(), path=path, day_bytes=100).usage(START).day_used == 95
    assert [name.name for name in tmp_path.iterdir()] == ["ledger"]


class LedgerMachine(RuleBasedStateMachine):
    """Spends, crashes between any two steps, sets the clock, and counts what truly went over the wire."""

    DAY_LIMIT, MONTH_LIMIT = 1000, 2500

    def __init__(self) -> None:
        super().__init__()
        self.disk = Disk(random.Random(3))
        self.true_h = 0.0
        self.step_h = 0.0
        self.calendar = Calendar("Europe/Berlin", 14)
        self.by_day: dict[int, int] = {}
        self.leases: list[Lease] = []
        self.ledger: Ledger | None = None
        self.open()

    def clocks(self) -> dict[str, int]:
        return {"wall_ns": START + round((self.true_h + self.step_h) * HOUR), "mono_ns": round(self.true_h * HOUR)}

    def open(self) -> None:
        made = limits(day_bytes=self.DAY_LIMIT, month_bytes=self.MONTH_LIMIT, time_zone="Europe/Berlin", billing_day=14)
        self.ledger = Ledger(self.disk, PATH, made, boot=b"sameboot", **self.clocks())

    def sent(self, count: int) -> None:
        day = self.calendar.day_of(START + round(self.true_h * HOUR))
        self.by_day[day] = self.by_day.get(day, 0) + count

    def crash(self) -> None:
        for lease in self.leases:
            self.sent(lease.reserved_bytes)  # the worst: all of it went out before the end
        self.leases.clear()
        self.disk.stop_and_start()
        self.ledger = None

    def guarded(self, action: Callable[[Ledger], Any]) -> Any:
        assert self.ledger is not None
        try:
            return action(self.ledger)
        except PowerLoss:
            self.crash()
            return None

    @rule(seed=st.integers(0, 1 << 30))
    def luck(self, seed: int) -> None:
        self.disk.chance.seed(seed)

    @precondition(lambda self: self.ledger is not None)
    @rule(size=st.integers(1, 700))
    def reserve(self, size: int) -> None:
        answer = self.guarded(lambda ledger: ledger.reserve(size, link=Link.UNMETERED, **self.clocks()))
        if isinstance(answer, Lease):
            self.leases.append(answer)

    @precondition(lambda self: self.ledger is not None and self.leases)
    @rule(ratio=st.floats(0, 1))
    def settle(self, ratio: float) -> None:
        lease = self.leases.pop(0)
        used = round(lease.reserved_bytes * ratio)
        self.sent(used)
        self.guarded(lambda ledger: ledger.settle(lease.id, used, **self.clocks()))

    @rule(hours=st.floats(0, 20))
    def wait(self, hours: float) -> None:
        self.true_h += hours

    @rule(hours=st.sampled_from([-800.0, -25.0, -24.0, -1.0, 1.0, 12.0, 24.0, 72.0, 800.0, 90_000.0]))
    def set_the_clock(self, hours: float) -> None:
        self.step_h += hours

    @rule()
    def set_the_clock_right(self) -> None:
        self.step_h = 0.0

    @rule(steps=st.integers(0, 12))
    def stop_after_some_steps(self, steps: int) -> None:
        self.disk.steps_left = steps

    @rule(name=st.sampled_from(["pwrite", "sync", "rename", "sync_dir"]))
    def break_the_disk(self, name: str) -> None:
        self.disk.fails = {name: errno.EIO}

    @rule()
    def mend_the_disk(self) -> None:
        self.disk.fails.clear()

    @precondition(lambda self: self.ledger is not None)
    @rule()
    def kill(self) -> None:
        self.crash()

    @precondition(lambda self: self.ledger is None)
    @rule()
    def start(self) -> None:
        try:
            self.open()
        except PowerLoss:
            self.disk.stop_and_start()
        except OSError:
            pass

    @invariant()
    def no_true_period_got_more_than_its_limit(self) -> None:
        assert max(self.by_day.values(), default=0) <= self.DAY_LIMIT
        by_period: dict[tuple[int, int], int] = {}
        for day, count in self.by_day.items():
            period = self.calendar.billing_period(day)
            by_period[period] = by_period.get(period, 0) + count
        assert max(by_period.values(), default=0) <= self.MONTH_LIMIT

    @invariant()
    def a_sound_ledger_is_never_taken_for_damaged(self) -> None:
        assert not any("damaged" in name for name in self.disk.list_dir(PATH.parent))


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(
    max_examples=150, stateful_step_count=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
