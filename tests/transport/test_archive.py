"""The archive in a folder: once, whole, durable, whoever else writes and whenever the power goes."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.model import ChunkId
from tests.transport.simfs import SimFiles
from transport.archive import FolderStore
from transport.errors import Missing, StorageFailed
from transport.fs import RealFiles
from transport.quarantine import MAX_FILES

ONE = ChunkId("dev-1", 0xABCD, 5)


def test_a_chunk_is_stored_once_and_comes_back(tmp_path: Path) -> None:
    store = FolderStore(RealFiles(), tmp_path / "a")
    (first,) = store.put([(ONE, b"data")])
    assert first.new
    assert first.sha256 == hashlib.sha256(b"data").digest()
    (second,) = store.put([(ONE, b"data")])
    assert not second.new
    assert store.get(ONE) == b"data"
    assert store.contains(ONE)
    assert not store.contains(ChunkId("dev-1", 0xABCD, 6))
    with pytest.raises(Missing, match="dev-1/0000abcd/6"):
        store.get(ChunkId("dev-1", 0xABCD, 6))


def test_what_is_there_is_never_replaced_and_the_caller_learns_what_it_is(tmp_path: Path) -> None:
    store = FolderStore(RealFiles(), tmp_path / "a")
    store.put([(ONE, b"first")])
    (second,) = store.put([(ONE, b"second")])
    assert second.sha256 == hashlib.sha256(b"first").digest()
    assert store.get(ONE) == b"first"


def test_files_and_folders_are_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = FolderStore(RealFiles(), tmp_path / "a")
        store.put([(ONE, b"data")])
        store.quarantine("malformed", b"poison")
    finally:
        os.umask(before)
    for path in (tmp_path / "a").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_ids_come_in_order_and_foreign_files_are_not_chunks(tmp_path: Path) -> None:
    store = FolderStore(RealFiles(), tmp_path / "a")
    ids = [
        ChunkId(device, epoch, seq) for device in ("dev-1", "dev-2") for epoch in (1, 2) for seq in (0, 9, 1024, 5000)
    ]
    store.put([(chunk_id, b"x") for chunk_id in reversed(ids)])
    (tmp_path / "a" / "dev-1" / "00000001" / "0000000" / "notes.txt").write_text("hello")
    (tmp_path / "a" / "README").write_text("hello")
    assert list(store.iterate()) == ids
    assert list(store.iterate("dev-2")) == ids[8:]
    assert list(store.iterate("dev-3")) == []


def test_a_folder_that_was_erased_is_made_again(tmp_path: Path) -> None:
    store = FolderStore(RealFiles(), tmp_path / "a")
    store.put([(ONE, b"x")])
    path = store.path_of(ONE)
    path.unlink()
    path.parent.rmdir()
    assert store.put([(ONE, b"x")])[0].new


def test_of_many_writers_of_one_id_one_wins(tmp_path: Path) -> None:
    stores = [FolderStore(RealFiles(), tmp_path / "a") for _ in range(4)]
    new: list[bool] = []

    def write(store: FolderStore, number: int) -> None:
        for seq in range(50):
            new.append(store.put([(ChunkId("dev-1", 1, seq), bytes([number]) * 100)])[0].new)

    threads = [threading.Thread(target=write, args=(store, number)) for number, store in enumerate(stores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(new) == 50
    for chunk_id in stores[0].iterate():
        assert len(set(stores[0].get(chunk_id))) == 1
    assert {path.suffix for path in (tmp_path / "a" / ".incoming").iterdir()} == {".lock"}


def test_what_a_killed_writer_left_half_written_is_cleared_away(tmp_path: Path) -> None:
    store = FolderStore(RealFiles(), tmp_path / "a")
    (tmp_path / "a" / ".incoming" / "0-3").write_bytes(b"half")
    (tmp_path / "a" / ".incoming" / "1-0").write_bytes(b"somebody else's")
    store.put([(ONE, b"x")])
    assert sorted(path.name for path in (tmp_path / "a" / ".incoming").iterdir()) == ["0.lock", "1-0"]


def test_the_quarantine_is_bounded(tmp_path: Path) -> None:
    store = FolderStore(RealFiles(), tmp_path / "a")
    kept = [store.quarantine("malformed", number.to_bytes(4, "big")) for number in range(MAX_FILES + 5)]
    assert kept == [True] * MAX_FILES + [False] * 5
    again = FolderStore(RealFiles(), tmp_path / "a")
    assert not again.quarantine("malformed", b"more")


def test_a_full_disk_is_said_and_nothing_is_half_there() -> None:
    files = SimFiles()
    store = FolderStore(files, Path("/a"))
    files.capacity_bytes = files.used_bytes() + 5000
    with pytest.raises(StorageFailed, match="free some space") as caught:
        store.put([(ONE, bytes(20_000))])
    assert caught.value.disk_full
    assert list(store.iterate()) == []
    files.capacity_bytes = 1 << 40
    assert store.put([(ONE, bytes(20_000))])[0].new


@settings(max_examples=400, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    batches=st.lists(st.lists(st.integers(0, 3000), min_size=1, max_size=4), min_size=1, max_size=4),
    crash_at=st.integers(1, 120),
    fail_at=st.none() | st.integers(1, 60),
    power=st.booleans(),
)
def test_what_was_confirmed_survives_and_nothing_is_torn(
    seed: int, batches: list[list[int]], crash_at: int, fail_at: int | None, power: bool
) -> None:
    files = SimFiles(seed)
    files.make_dir(Path("/a"))
    files.synced_dirs |= files.dirs
    given_bytes = {ChunkId("dev-1", 1, seq): files.rng.randbytes(1 + seq % 5000) for batch in batches for seq in batch}
    confirmed: set[ChunkId] = set()
    files.crash_at, files.fail_at, files.failure = crash_at, fail_at, errno.EIO
    files.short_writes = bool(seed % 2)
    try:
        store = FolderStore(files, Path("/a"))
        for batch in batches:
            ids = [ChunkId("dev-1", 1, seq) for seq in batch]
            try:
                store.put([(chunk_id, given_bytes[chunk_id]) for chunk_id in ids])
            except StorageFailed:
                continue
            confirmed |= set(ids)
    except (SimFiles.Killed, StorageFailed):
        pass
    if power:
        files.cut_power()
    files.kill()
    again = FolderStore(files, Path("/a"))
    there = set(again.iterate())
    assert confirmed <= there
    for chunk_id in there:
        assert again.get(chunk_id) == given_bytes[chunk_id]
    again.put(list(given_bytes.items()))  # what was not confirmed comes again
    files.cut_power()
    assert {chunk_id: again.get(chunk_id) for chunk_id in again.iterate()} == given_bytes
