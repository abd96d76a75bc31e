"""The spool on a real disk: damage, limits, erasing, a second process, and a large one that opens fast."""

from __future__ import annotations

import os
import random
import stat
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from codec.model import ChunkId
from tests.transport.simfs import SimFiles
from transport import segment_format as layout
from transport.errors import Busy, SpoolFull, StorageFailed, TooLarge
from transport.fs import Files, RealFiles
from transport.spool import Entry, Spool, WhenFull

MIB = 1 << 20


def opened(
    folder: Path, *, limit: int = 64 * MIB, when_full: WhenFull = WhenFull.DROP_LOWEST_VALUE, **more: object
) -> Spool:
    return Spool.open(
        RealFiles(),
        folder / "spool",
        device=str(more.pop("device", "dev-1")),
        limit_bytes=limit,
        when_full=when_full,
        **more,  # type: ignore[arg-type]
    )


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with opened(tmp_path) as made:
        yield made


def put(spool: Spool, size: int = 1000, *, value: int = 200, ready: int = 0) -> tuple[ChunkId, bytes]:
    chunk_id = spool.next_id()
    chunk = random.Random(chunk_id.seq).randbytes(size)
    spool.put(chunk_id, chunk, value=value, ready_wall_ns=ready)
    return chunk_id, chunk


def fill(work: Callable[[], object]) -> None:
    """Do something again and again until it raises."""
    for _ in range(100_000):
        work()


def ids(entries: list[Entry]) -> list[int]:
    return [entry.chunk_id.seq for entry in entries]


def segments(folder: Path) -> list[Path]:
    return sorted((folder / "spool").glob("*.seg"))


def test_ids_follow_each_other_without_holes_over_restarts(tmp_path: Path) -> None:
    seen = []
    for _ in range(4):
        with opened(tmp_path) as spool:
            for _ in range(3):
                chunk_id, _ = put(spool)
                seen.append(chunk_id)
            spool.ack(seen)
    assert [chunk_id.seq for chunk_id in seen] == list(range(12))
    assert len({chunk_id.epoch for chunk_id in seen}) == 1


def test_an_id_out_of_turn_is_an_error(spool: Spool) -> None:
    chunk_id, chunk = put(spool)
    with pytest.raises(ValueError, match="one by one"):
        spool.put(chunk_id, chunk, value=0, ready_wall_ns=0)
    with pytest.raises(ValueError, match="0 to 255"):
        spool.put(spool.next_id(), chunk, value=256, ready_wall_ns=0)


def test_the_valuable_comes_first_and_the_old_before_the_new(spool: Spool) -> None:
    for value in (0, 200, 100, 0, 200, 100):
        put(spool, value=value)
    assert ids(spool.ready(0)) == [1, 4, 2, 5, 0, 3]
    assert ids(spool.ready(0, min_value=1)) == [1, 4, 2, 5]
    assert ids(spool.ready(0, min_value=150, skip={spool.ready(0)[0].chunk_id})) == [4]
    assert ids(spool.ready(0, most=2)) == [1, 4]


def test_what_is_held_back_is_not_ready_and_says_when(spool: Spool) -> None:
    put(spool, ready=100)
    put(spool, ready=50, value=0)
    put(spool, ready=0)
    assert ids(spool.ready(10)) == [2]
    assert spool.next_ready_wall_ns(10) == 50
    assert spool.next_ready_wall_ns(50) == 100
    assert spool.next_ready_wall_ns(100) is None
    assert ids(spool.ready(100)) == [0, 2, 1]


def test_another_device_is_another_epoch_and_keeps_what_waits(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        first, chunk = put(spool)
    with opened(tmp_path, device="dev-2") as spool:
        second, _ = put(spool)
        assert second.device == "dev-2"
        assert second.epoch != first.epoch
        assert spool.read(first) == chunk


def test_a_second_process_is_told_that_it_is_in_use(spool: Spool, tmp_path: Path) -> None:
    with pytest.raises(Busy, match="stop that one first"):
        opened(tmp_path)


def test_files_are_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with opened(tmp_path) as spool:
            put(spool)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "spool").stat().st_mode) == 0o700
    for path in (tmp_path / "spool").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_forgotten_bytes_are_nowhere_any_more_also_of_what_was_sent(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        kept, _ = put(spool)
        held, held_bytes = put(spool, ready=10**18)
        sent, sent_bytes = put(spool)
        spool.ack([sent])
        gaps = spool.forget({held, sent})
        assert [(gap.chunk_id, gap.reason) for gap in gaps] == [(held, "forgotten")]
        assert spool.read(held) is None
        assert [entry.chunk_id for entry in spool.entries()] == [kept]
        everything = b"".join(path.read_bytes() for path in (tmp_path / "spool").iterdir())
        assert held_bytes[:64] not in everything
        assert sent_bytes[:64] not in everything
    with opened(tmp_path) as spool:
        assert [entry.chunk_id for entry in spool.entries()] == [kept]
        assert len(spool.forget(lambda entry: entry.value == 200)) == 1
        assert spool.usage().chunks == 0


def test_forgetting_finds_the_copy_that_a_failed_write_left_behind() -> None:
    """The first attempt lands and is reported as failed, and cannot be cut off; the second one succeeds elsewhere."""
    files = SimFiles(1)
    with Spool.open(files, Path("/spool"), device="dev-1", limit_bytes=MIB, rng=random.Random(1)) as spool:
        put(spool)
        files.fail_at, files.fail_for = 3, 2  # the sync and the opening for the cut
        chunk_id, chunk = put(spool)
        held = [path for path, inode in files.now.items() if chunk[:64] in bytes(inode.data)]
        assert len(held) == 2
        assert len(spool.forget({chunk_id})) == 1
        assert not [path for path, inode in files.now.items() if chunk[:64] in bytes(inode.data)]


def test_what_expired_is_dropped_and_named(spool: Spool) -> None:
    old, _ = put(spool, ready=10)
    put(spool, ready=1000)
    assert [(gap.chunk_id, gap.reason) for gap in spool.expire(500)] == [(old, "expired")]
    assert spool.expire(500) == []


# -- limits


@pytest.mark.parametrize("when_full", list(WhenFull))
def test_the_files_never_exceed_the_limit(tmp_path: Path, when_full: WhenFull) -> None:
    with opened(tmp_path, limit=2 * MIB, when_full=when_full) as spool:
        rng = random.Random(1)
        put_ids, gone = set(), set()
        for _ in range(200):
            chunk_id = spool.next_id()
            try:
                gaps = spool.put(
                    chunk_id, bytes(rng.randint(0, 40_000)), value=rng.choice([0, 100, 200]), ready_wall_ns=0
                )
            except SpoolFull:
                assert when_full is not WhenFull.DROP_OLDEST
                assert spool.next_id() == chunk_id
                gone |= {gap.chunk_id for gap in spool.take_losses()}
                continue
            put_ids.add(chunk_id)
            gone |= {gap.chunk_id for gap in gaps}
            on_disk = sum(path.stat().st_size for path in (tmp_path / "spool").iterdir())
            assert on_disk <= spool.usage().disk_bytes <= 2 * MIB
        assert {entry.chunk_id for entry in spool.entries()} == put_ids - gone
        assert bool(gone) is (when_full is not WhenFull.PAUSE)
        assert spool.usage().disk_bytes > 1.5 * MIB  # and the limit is made use of


def test_clicks_are_the_last_to_go(tmp_path: Path) -> None:
    with opened(tmp_path, limit=2 * MIB) as spool:
        clicks = [put(spool, 2000, value=200)[0] for _ in range(100)]
        for _ in range(200):
            put(spool, 30_000, value=0)
        assert set(clicks) <= {entry.chunk_id for entry in spool.entries()}
        for _ in range(60):
            put(spool, 30_000, value=100)
        assert not any(entry.value == 0 for entry in spool.entries())
        assert set(clicks) <= {entry.chunk_id for entry in spool.entries()}
        with pytest.raises(SpoolFull, match="connect so that it can be sent, or raise"):
            fill(lambda: put(spool, 30_000, value=200 * (spool.next_id().seq % 2)))


def test_a_chunk_that_could_never_fit_is_refused(spool: Spool) -> None:
    with pytest.raises(TooLarge):
        spool.put(spool.next_id(), bytes(33 * MIB), value=0, ready_wall_ns=0)


def test_a_disk_that_gets_short_counts_as_full(tmp_path: Path) -> None:
    free = RealFiles().free_bytes(tmp_path)
    with opened(tmp_path, min_free_bytes=2 * free) as spool, pytest.raises(SpoolFull):
        put(spool)


needs_tmpfs = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk takes root")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@needs_tmpfs
def test_on_a_full_disk_acknowledging_and_forgetting_work_and_make_room(small_disk: Path) -> None:
    with opened(small_disk, when_full=WhenFull.PAUSE, limit=64 * MIB) as spool:
        chunks = []
        with pytest.raises(StorageFailed, match="free some space") as caught:
            fill(lambda: chunks.append(put(spool, 30_000)))
        assert caught.value.disk_full
        filler = small_disk / "filler"
        with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="space"):
            fill(lambda: file.write(bytes(4096)))
        assert all(spool.read(chunk_id) == chunk for chunk_id, chunk in chunks)
        assert len(spool.forget({chunks[0][0]})) == 1
        assert len(spool.ack([chunk_id for chunk_id, _ in chunks])) == len(chunks) - 1
        assert not spool.usage().counters.get("failed: mark")
    with opened(small_disk, limit=64 * MIB) as spool:
        assert spool.usage().chunks == 0
        filler.unlink()
        put(spool)


@needs_tmpfs
@pytest.mark.parametrize("when_full", list(WhenFull))
@pytest.mark.timeout(60)
def test_a_disk_that_others_filled_is_said_and_not_tried_for_ever(small_disk: Path, when_full: WhenFull) -> None:
    with opened(small_disk, limit=64 * MIB, when_full=when_full) as spool:
        with (small_disk / "filler").open("wb", buffering=0) as file, pytest.raises(OSError, match="space"):
            fill(lambda: file.write(bytes(4096)))
        for _ in range(3):
            with pytest.raises(StorageFailed, match="free some space"):
                put(spool)
        (small_disk / "filler").unlink()
        chunk_id, chunk = put(spool)
        assert spool.read(chunk_id) == chunk
        assert len(segments(small_disk)) == 1


@needs_tmpfs
def test_on_a_full_disk_only_what_is_worth_less_makes_room(small_disk: Path) -> None:
    with opened(small_disk, limit=64 * MIB) as spool:
        with pytest.raises(StorageFailed, match="free some space"):
            fill(lambda: put(spool, 30_000, value=0))
        screens = spool.usage().chunks
        assert not spool.usage().counters.get("dropped"), "the new is worth no more than the old"
        clicks, _ = put(spool, 30_000, value=200)
        assert spool.read(clicks) is not None
        assert 0 < spool.usage().counters["dropped"] < screens


# -- damage


def damage(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def test_one_bad_block_costs_what_lies_in_it_and_no_more(tmp_path: Path) -> None:
    rng = random.Random(3)
    for trial in range(12):
        folder = tmp_path / str(trial)
        folder.mkdir()
        with opened(folder, limit=8 * MIB) as spool:
            stored = dict(put(spool, 2000, value=rng.choice([0, 200])) for _ in range(150))
            spool.ack(rng.sample(sorted(stored), 20))
            waiting = {entry.chunk_id for entry in spool.entries()}
        path = rng.choice(segments(folder))
        block = rng.randrange(path.stat().st_size // 4096) * 4096
        damage(path, block, rng.randbytes(4096))
        with opened(folder, limit=8 * MIB) as spool:
            there = {entry.chunk_id: spool.read(entry.chunk_id) for entry in spool.entries()}
            sound = {chunk_id: chunk for chunk_id, chunk in there.items() if chunk is not None}
            assert all(chunk == stored[chunk_id] for chunk_id, chunk in sound.items())
            assert len(waiting - sound.keys()) <= 4
            assert put(spool)[0] not in stored  # whatever was lost, no id is used twice


def test_every_byte_of_a_spool_can_be_flipped_and_it_opens(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        stored = dict(put(spool, 60) for _ in range(3))
    files = {path: path.read_bytes() for path in (tmp_path / "spool").iterdir() if path.name != "lock"}
    rng = random.Random(5)
    for path, data in files.items():
        for offset in [*range(min(len(data), 100)), *rng.sample(range(len(data)), min(len(data), 60))]:
            for each, original in files.items():
                each.write_bytes(original)
            for extra in set((tmp_path / "spool").iterdir()) - set(files):
                extra.unlink()
            damage(path, offset, bytes([data[offset] ^ (1 << rng.randrange(8))]))
            with opened(tmp_path) as spool:
                seen = {entry.chunk_id: spool.read(entry.chunk_id) for entry in spool.entries()}
                assert all(chunk is None or chunk == stored[chunk_id] for chunk_id, chunk in seen.items())
                assert len([chunk for chunk in seen.values() if chunk]) >= 2
                assert spool.next_id() not in stored


@pytest.mark.parametrize("cut", [9, 50, 95, 1000, 1090])
def test_a_torn_end_costs_the_last_record_at_most(tmp_path: Path, cut: int) -> None:
    with opened(tmp_path) as spool:
        stored = dict(put(spool) for _ in range(5))
    (path,) = segments(tmp_path)
    os.truncate(path, path.stat().st_size - cut)
    with opened(tmp_path) as spool:
        seen = {entry.chunk_id: spool.read(entry.chunk_id) for entry in spool.entries()}
        assert {chunk_id: chunk for chunk_id, chunk in seen.items() if chunk} == dict(list(stored.items())[:4])
        assert spool.next_id().epoch != next(iter(stored)).epoch
        assert spool.usage().counters["damaged-bytes"] > 0


def test_a_lost_state_file_begins_a_new_epoch(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        chunk_id, chunk = put(spool)
    (tmp_path / "spool" / "state").unlink()
    with opened(tmp_path) as spool:
        assert spool.next_id().epoch != chunk_id.epoch
        assert spool.read(chunk_id) == chunk


def test_garbage_files_are_set_aside_a_few_of_them(tmp_path: Path) -> None:
    for trial in range(8):
        with opened(tmp_path) as spool:
            chunk_id, chunk = put(spool)
            assert spool.read(chunk_id) == chunk
        (tmp_path / "spool" / f"{0x1000 * (trial + 1):08x}.seg").write_bytes(os.urandom(10_000))
        (tmp_path / "spool" / "notes.txt").write_text("what is this doing here")
    with opened(tmp_path) as spool:
        assert spool.usage().chunks == 8
    assert len(list((tmp_path / "spool").glob("*.bad"))) <= 4


def test_a_disk_that_will_not_read_is_not_a_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path) as spool:
        chunk_id, chunk = put(spool)
        with monkeypatch.context() as patch:
            patch.setattr(RealFiles, "open", lambda *_: (_ for _ in ()).throw(OSError(5, "Input/output error")))
            with pytest.raises(StorageFailed, match="look at the disk"):
                spool.read(chunk_id)
        assert spool.read(chunk_id) == chunk
        assert spool.take_losses() == []


def test_an_id_whose_fate_is_unknown_is_not_given_to_other_bytes() -> None:
    """The disk fails at the sync and after: the record may have landed. A restart must not find two chunks of one id."""
    files = SimFiles(1)
    folder = Path("/spool")
    with Spool.open(files, folder, device="dev-1", limit_bytes=MIB, rng=random.Random(1)) as spool:
        put(spool)
        doubtful = spool.next_id()
        files.fail_at, files.fail_for = 3, 8
        with pytest.raises(StorageFailed):
            spool.put(doubtful, b"first", value=200, ready_wall_ns=0)
        files.fail_at = None
        after = spool.next_id()
        assert after.seq == doubtful.seq + 1
        spool.put(after, b"second", value=200, ready_wall_ns=0)
        with pytest.raises(ValueError, match="one by one"):
            spool.put(doubtful, b"other bytes", value=200, ready_wall_ns=0)
        spool.put(doubtful, b"first", value=200, ready_wall_ns=0)  # the same once more is welcome
        assert spool.read(doubtful) == b"first"
    files.kill()
    with Spool.open(files, folder, device="dev-1", limit_bytes=MIB, rng=random.Random(2)) as spool:
        assert spool.read(doubtful) == b"first"
        assert spool.read(after) == b"second"
        assert spool.ack([doubtful, after]) != []
        assert {entry.chunk_id.seq for entry in spool.entries()} == {0}


# -- several threads, and size


def test_threads_may_put_read_and_acknowledge_at_once(tmp_path: Path) -> None:
    with opened(tmp_path, limit=8 * MIB) as spool:
        errors: list[BaseException] = []
        acked: set[ChunkId] = set()
        putting = threading.Lock()
        done = threading.Event()

        def guarded(work: object) -> None:
            try:
                work()  # type: ignore[operator]
            except BaseException as error:
                errors.append(error)

        def writer() -> None:
            for _ in range(150):
                with putting:
                    put(spool, 500)

        def reader() -> None:
            while not done.is_set() or spool.usage().chunks:
                for entry in spool.ready(0):
                    assert spool.read(entry.chunk_id) is not None
                    spool.ack([entry.chunk_id])
                    acked.add(entry.chunk_id)

        writers = [threading.Thread(target=guarded, args=(writer,)) for _ in range(3)]
        taker = threading.Thread(target=guarded, args=(reader,))
        for thread in [*writers, taker]:
            thread.start()
        for thread in writers:
            thread.join()
        done.set()
        taker.join()
        assert errors == []
        assert len(acked) == 450


def make_large(files: Files, folder: Path, count: int, payload_bytes: int) -> int:
    """Write a spool's files as it would, without a sync per chunk; return the number of chunks."""
    payload = bytes(payload_bytes)
    crc = zlib.crc32(payload)
    per_segment = min(layout.SLOTS, (4 * MIB - layout.PAGE_BYTES) // layout.stored_bytes(payload_bytes))
    seq = 0
    for serial in range(count):
        first, offset = seq, layout.PAGE_BYTES
        with (folder / f"{serial:08x}.seg").open("wb") as file:
            file.write(layout.pack_page(layout.SegmentHeader(serial, 6, "dev-1", 77)))
            for slot in range(per_segment):
                header = layout.RecordHeader(ChunkId("dev-1", 77, seq), slot, 200, 0, payload_bytes, crc)
                file.seek(offset)
                file.write(layout.pack_record_header(header))
                offset += header.stored_bytes
                seq += 1
            file.truncate(offset)  # the payload's zeros as a hole
            file.seek(layout.SUMMARY_OFFSET)
            summary = layout.Summary(per_segment, offset, first, seq - 1, 0, 0, per_segment * payload_bytes)
            file.write(layout.pack_summary(summary))
    (folder / "state").write_bytes(layout.pack_state(layout.State(1, "dev-1", 77, seq)).ljust(1024, b"\0"))
    return seq


LARGE = """
import sys, time
from pathlib import Path
from transport.fs import RealFiles
from transport.spool import Spool
def peak_kib():  # ru_maxrss would be the parent's, from before the exec
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
base = peak_kib()
started = time.perf_counter()
spool = Spool.open(RealFiles(), Path(sys.argv[1]), device="dev-1", limit_bytes=1 << 40)
opened = time.perf_counter() - started
usage = spool.usage()
for _ in range(50):
    batch = spool.ready(0, most=16)
    for entry in batch:
        assert spool.read(entry.chunk_id) is not None
    spool.ack([entry.chunk_id for entry in batch])
print(opened, usage.chunks, peak_kib() - base, time.perf_counter() - started - opened)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is measured by /proc")
def test_ten_gigabytes_open_in_two_seconds_and_little_memory(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    folder.mkdir()
    chunks = make_large(RealFiles(), folder, 2500, 60_000)
    assert chunks * 60_000 > 10**10 * 0.9
    run = subprocess.run(
        [sys.executable, "-c", LARGE, str(folder)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": "."},
    )
    assert run.returncode == 0, run.stderr
    seconds, seen, grown_kib, working = (float(word) for word in run.stdout.split())
    assert seen == chunks
    assert seconds < 2.0 * float(os.environ.get("MODICUM_SLOW_MACHINE", "1"))
    assert grown_kib < 24_000
    print(
        f"{chunks} chunks: opened in {seconds:.2f} s, {grown_kib / 1024:.1f} MiB, 800 chunks read and acknowledged in {working:.2f} s"
    )
