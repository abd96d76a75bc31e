"""What a failing disk leaves behind counts against the spool's limit until it is gone."""

from __future__ import annotations

import errno
import random
from pathlib import Path

import pytest

from tests.transport.simfs import SimFiles
from transport.errors import SpoolFull, StorageFailed
from transport.fs import Open
from transport.leftovers import BAD_FILES_KEPT, Leftovers
from transport.spool import Spool, WhenFull

FOLDER = Path("/spool")
MIB = 1 << 20


def opened(files: SimFiles, when_full: WhenFull = WhenFull.DROP_OLDEST) -> Spool:
    return Spool.open(
        files, FOLDER, device="dev-1", limit_bytes=MIB, when_full=when_full, rng=random.Random(files.rng.random())
    )


def there(files: SimFiles) -> int:
    return sum(len(inode.data) for path, inode in files.now.items() if path.parent == FOLDER)


def put_many(spool: Spool, files: SimFiles, count: int) -> None:
    for _ in range(count):
        try:
            spool.put(spool.next_id(), bytes(24_000), value=100, ready_wall_ns=0)
        except (StorageFailed, SpoolFull):
            continue
        finally:
            assert there(files) <= spool.usage().disk_bytes <= MIB


@pytest.mark.parametrize("when_full", list(WhenFull))
@pytest.mark.parametrize("times", [1, 2, 3, 8])
def test_a_full_spool_on_a_disk_that_fails_stays_within_its_limit(when_full: WhenFull, times: int) -> None:
    """A write that failed and could not be cut off lies there beside the second attempt."""
    for step in range(1, 13):
        files = SimFiles(step)
        spool = opened(files, when_full)
        put_many(spool, files, 40)
        files.fail_at, files.fail_for = step, times
        put_many(spool, files, 12)
        files.fail_at = None
        if step % 2:
            files.cut_power()
        else:
            files.kill()
        spool = opened(files, when_full)
        assert there(files) <= spool.usage().disk_bytes <= MIB
        put_many(spool, files, 12)


def test_what_could_not_be_removed_counts_until_it_is_gone() -> None:
    files = SimFiles()
    files.make_dir(FOLDER)
    leftovers = Leftovers(files, FOLDER)
    path = FOLDER / "00000001.seg"
    files.open(path, Open.CREATE)
    files.sync_dir(FOLDER)
    files.fail_at, files.failure = 2, errno.EIO  # it is removed; that this is so is not on the disk
    with pytest.raises(OSError, match="simulated"):
        leftovers.remove(path, 5000)
    assert leftovers.disk_bytes == 5000
    assert leftovers.sweep()
    assert leftovers.disk_bytes == 0
    assert not leftovers.sweep()


def test_what_is_set_aside_counts_and_goes_before_anything_that_waits() -> None:
    files = SimFiles()
    opened(files).close()
    for serial in range(1, BAD_FILES_KEPT + 3):
        handle = files.open(FOLDER / f"{serial:08x}.seg", Open.CREATE)
        handle.pwrite(random.Random(serial).randbytes(100_000), 0)
        handle.sync()
    files.sync_dir(FOLDER)
    for _ in range(2):
        spool = opened(files)
        assert there(files) <= spool.usage().disk_bytes
        assert sum(path.suffix == ".bad" for path in files.now) == BAD_FILES_KEPT
        spool.close()
    spool = opened(files)
    gaps = []
    for _ in range(35):
        gaps += spool.put(spool.next_id(), bytes(24_000), value=100, ready_wall_ns=0)
        assert there(files) <= spool.usage().disk_bytes <= MIB
    assert gaps == []
    assert sum(path.suffix == ".bad" for path in files.now) < BAD_FILES_KEPT
