"""What an earlier version left on a disk opens in this one, and nothing of it is lost."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from capture.conditions import Settings
from capture.consent import Consent
from capture.governor import Governor
from codec.chunk import open_chunk, verify_chunk
from codec.seal import Suite
from tests.golden.folders import (
    LIMITS,
    MONO_NS,
    NAME,
    NOTICE,
    OPEN_BYTES,
    SETTLED_BYTES,
    WALL_NS,
    body,
)
from tests.golden.write import ARCHIVES, DEVICE, HERE
from transport.archive import FolderStore
from transport.chunk_index import ChunkIndex
from transport.fs import RealFiles
from transport.ledger import Ledger
from transport.registry import Registry
from transport.spool import Spool

FOLDERS = sorted(HERE.glob("folders-v*"))


@pytest.fixture(params=FOLDERS, ids=lambda path: path.name)
def left(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of what was left, private as it was."""
    copy = tmp_path / "left"
    shutil.copytree(request.param, copy)
    for path in [copy, *copy.rglob("*")]:
        path.chmod(0o700 if path.is_dir() else 0o600)
    return copy


def expected(left: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((left / "expected.json").read_text())
    return found


def test_there_are_some() -> None:
    assert FOLDERS


def test_the_spool_has_what_was_not_sent_and_goes_on_counting(left: Path) -> None:
    said = expected(left)
    spool = Spool.open(RealFiles(), left / "spool", device=NAME, limit_bytes=10_000_000)
    entries = list(spool.entries())
    assert {str(entry.chunk_id.seq) for entry in entries} == set(said["spool"])
    for entry in entries:
        chunk = spool.read(entry.chunk_id)
        assert chunk is not None
        assert entry.chunk_id.epoch == said["epoch"]
        assert hashlib.sha256(chunk).hexdigest() == said["spool"][str(entry.chunk_id.seq)]
        verify_chunk(chunk, DEVICE.public)
        _, content = open_chunk(chunk, ARCHIVES[Suite.X25519])
        number = entry.chunk_id.seq - min(map(int, said["archive"]))
        assert content == body(number, 400 + 300 * number)
    coming = spool.next_id()
    assert (coming.epoch, coming.seq) not in {(entry.chunk_id.epoch, entry.chunk_id.seq) for entry in entries}
    assert coming.epoch != said["epoch"] or coming.seq > max(map(int, said["spool"]))
    ready = spool.ready(WALL_NS + 100)
    spool.ack([entry.chunk_id for entry in ready])
    assert spool.usage().chunks == 0
    spool.close()


def test_the_ledger_remembers_what_was_used_and_counts_what_was_open_as_spent(left: Path) -> None:
    ledger = Ledger(RealFiles(), left / "ledger", LIMITS, wall_ns=WALL_NS + 10**9, mono_ns=MONO_NS + 10**9)
    assert ledger.written_off_bytes == OPEN_BYTES
    usage = ledger.usage(WALL_NS + 10**9, MONO_NS + 10**9)
    assert usage.month_used == usage.day_used == SETTLED_BYTES + OPEN_BYTES
    assert not usage.notes, "nothing of it is damaged"
    ledger.close()


def test_the_archive_gives_every_chunk_back_and_knows_its_device(left: Path) -> None:
    said = expected(left)
    store = FolderStore(RealFiles(), left / "archive")
    ids = sorted(store.iterate())
    assert {str(chunk_id.seq) for chunk_id in ids} == set(said["archive"])
    for chunk_id in ids:
        chunk = store.get(chunk_id)
        assert hashlib.sha256(chunk).hexdigest() == said["archive"][str(chunk_id.seq)]
        (again,) = store.put([(chunk_id, chunk)])
        assert not again.new
    key = Registry(RealFiles(), left / "archive" / ".devices").key_of(NAME, DEVICE.public.key_id)
    assert key == DEVICE.public


def test_the_index_knows_every_chunks_minutes(left: Path) -> None:
    said = expected(left)
    entries = list(ChunkIndex(RealFiles(), left / "chunks", NAME).entries())
    assert {str(entry.chunk_id.seq) for entry in entries} == {*said["spool"], *said["archive"]}
    assert all(entry.end_wall_ms - entry.t0_wall_ms == 300_000 for entry in entries)


def test_what_was_learned_and_agreed_to_is_still_understood(left: Path) -> None:
    learned = json.loads((left / "learned.json").read_text())
    governor = Governor(Settings(), learned)
    assert governor.to_state() == learned
    consent = Consent.from_json((left / "consent.json").read_bytes())
    assert consent is not None
    assert consent.notice == NOTICE
