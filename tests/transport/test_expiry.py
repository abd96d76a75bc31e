"""Retention: what has expired goes, is recorded as a gap, and is not taken in again; what has not stays."""

from __future__ import annotations

import contextlib
import errno
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.chunk import parse_header
from codec.errors import Denied
from codec.model import ChunkId
from codec.tombstone import Range
from tests.transport.simfs import SimFiles
from tests.transport.test_erasing import DEVICE, OTHER, chunk
from tests.transport.test_spool_model import SOAK
from transport import cli
from transport.archive import FolderStore
from transport.endpoint import Message
from transport.errors import Busy, StorageFailed
from transport.expiry import describe, expire, refusal
from transport.fs import RealFiles
from transport.intake import Intake
from transport.messages import NackCode, up_topic

DAY = 86_400
NOW_S = 20_000 * DAY + 5
OLD, YOUNG = 20_000 * DAY, 20_001 * DAY
"""A chunk may be kept until the day before `expires_s` rounded down to days."""


def filled(root: Path, files: RealFiles | SimFiles) -> tuple[FolderStore, list[ChunkId], list[ChunkId]]:
    store = FolderStore(files, root)
    old = [ChunkId(device, 1, seq) for device in (DEVICE, OTHER) for seq in (0, 1, 2, 1500)]
    young = [ChunkId(device, epoch, 3) for device in (DEVICE, OTHER) for epoch in (1, 2)]
    store.put([(chunk_id, chunk(chunk_id, expires_s=OLD)) for chunk_id in old])
    store.put([(chunk_id, chunk(chunk_id, expires_s=YOUNG)) for chunk_id in young])
    return store, old, young


def test_what_has_expired_goes_and_is_recorded(tmp_path: Path) -> None:
    store, old, young = filled(tmp_path / "a", RealFiles())
    forever = ChunkId(DEVICE, 9, 0)
    store.put([(forever, chunk(forever))])
    seen: list[tuple[int, int]] = []
    dry = expire(store, NOW_S, dry_run=True)
    assert (dry.looked_at, dry.expired, dry.removed, len(dry.devices)) == (13, 8, 0, 2)
    assert set(store.iterate()) == {*old, *young, forever}
    done = expire(store, NOW_S, progress=lambda at, of: seen.append((at, of)))
    assert (done.expired, done.removed, done.damaged) == (8, 8, [])
    assert seen[-1] == (13, 13)
    assert set(store.iterate()) == {*young, forever}
    assert store.gone(DEVICE) == [Range(1, 0, 2), Range(1, 1500, 1500)]
    assert not (store.root / DEVICE / "00000001" / "0000001").exists()
    assert "8 of 2 devices removed" in describe(done, dry_run=False)
    later = expire(store, YOUNG)
    assert later.removed == 4
    assert list(store.gone(DEVICE)) == [Range(1, 0, 3), Range(1, 1500, 1500), Range(2, 3, 3)]


def test_a_damaged_chunk_stays_and_is_named(tmp_path: Path) -> None:
    store, old, _ = filled(tmp_path / "a", RealFiles())
    path = store.path_of(old[0])
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)
    store.path_of(old[1]).write_bytes(store.get(old[2]))
    found = expire(store, NOW_S)
    assert found.removed == 6
    assert [text.split(":")[0] for text in found.damaged] == [str(old[0]), str(old[1])]
    assert path.exists()


def test_two_runs_exclude_each_other(tmp_path: Path) -> None:
    store, _, _ = filled(tmp_path / "a", RealFiles())
    lock = store.expired.lock()
    with pytest.raises(Busy):
        expire(FolderStore(RealFiles(), store.root), NOW_S)
    lock.close()
    assert expire(store, NOW_S).removed == 8


def test_an_expired_chunk_is_refused_and_not_even_quarantined(tmp_path: Path) -> None:
    store = FolderStore(RealFiles(), tmp_path / "a")
    intake = Intake(store, parse_header, lambda device, payload: refusal(payload, NOW_S))
    old, young = (chunk(ChunkId(DEVICE, 1, seq), expires_s=when) for seq, when in ((0, OLD), (1, YOUNG)))
    outcomes = intake.process([Message(up_topic(DEVICE), payload, 1, 0) for payload in (old, young)])
    assert outcomes[0].nack is not None
    assert outcomes[0].nack.code is NackCode.EXPIRED
    assert outcomes[1].acks
    assert list((store.root / ".quarantine").iterdir()) == []


def test_an_expired_chunk_is_not_shown_although_it_is_still_there(tmp_path: Path) -> None:
    store, old, _ = filled(tmp_path / "a", RealFiles())
    with pytest.raises(Denied, match="archive expire"):
        cli.show(store.root, tmp_path / "no.key", str(old[0]))


@settings(max_examples=150 * SOAK, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    crash_at=st.none() | st.integers(1, 120),
    fail_at=st.none() | st.integers(1, 80),
    power=st.booleans(),
)
def test_a_run_that_ends_early_leaves_no_hole_and_the_next_goes_on(
    seed: int, crash_at: int | None, fail_at: int | None, power: bool
) -> None:
    files = SimFiles(seed)
    files.make_dir(Path("/a"))
    files.synced_dirs |= files.dirs
    store, old, young = filled(Path("/a"), files)
    files.cut_power()
    files.crash_at, files.fail_at, files.failure = crash_at, fail_at, errno.EIO
    files.short_writes = bool(seed % 2)
    with contextlib.suppress(SimFiles.Killed, StorageFailed):
        expire(FolderStore(files, Path("/a")), NOW_S)
    if power:
        files.cut_power()
    files.kill()
    store = FolderStore(files, Path("/a"))
    there = set(store.iterate())
    assert set(young) <= there
    for chunk_id in set(old) - there:
        assert any(r.epoch == 1 and r.first <= chunk_id.seq <= r.last for r in store.gone(chunk_id.device))
    expire(store, NOW_S)
    files.cut_power()
    expire(FolderStore(files, Path("/a")), NOW_S)  # a removal whose sync had failed may be undone by a power cut
    files.cut_power()
    assert set(FolderStore(files, Path("/a")).iterate()) == set(young)
