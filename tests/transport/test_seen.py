"""The day on which something of a device last came."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from benches import transport_roles
from codec.model import ChunkId
from transport.archive import FolderStore
from transport.fs import RealFiles
from transport.seen import DAY_S, last_day_s

TODAY_S = 20_000 * DAY_S


def _stored(store: FolderStore, chunk_id: ChunkId, at_s: int) -> None:
    store.put([(chunk_id, b"x")])
    os.utime(store.path_of(chunk_id), (at_s, at_s))


def _printed(*words: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "capture.cli", *words], check=True, capture_output=True, text=True
    ).stdout


def test_the_newest_chunk_tells_it_to_the_day(tmp_path: Path) -> None:
    store = FolderStore(RealFiles(), tmp_path)
    assert last_day_s(RealFiles(), tmp_path, "dev-1") is None
    _stored(store, ChunkId("dev-1", 1, 5000), TODAY_S - 9 * DAY_S)
    _stored(store, ChunkId("dev-1", 2, 0), TODAY_S - 2 * DAY_S + 5)
    _stored(store, ChunkId("dev-1", 2, 1), TODAY_S - 3 * DAY_S)  # sent again, and stored first
    _stored(store, ChunkId("dev-2", 1, 0), TODAY_S)
    assert last_day_s(RealFiles(), tmp_path, "dev-1") == TODAY_S - 2 * DAY_S
    assert last_day_s(RealFiles(), tmp_path, "dev-3") is None
    store.remove([ChunkId("dev-1", 2, 0), ChunkId("dev-1", 2, 1)])
    assert last_day_s(RealFiles(), tmp_path, "dev-1") == TODAY_S - 9 * DAY_S


def test_the_registry_is_listed_with_it(tmp_path: Path) -> None:
    transport_roles.sealed_chunks(tmp_path / "devices", 2, 200, devices=2)
    _stored(FolderStore(RealFiles(), tmp_path / "archive"), ChunkId("bench-0001", 1, 0), TODAY_S + 4711)
    words = ["keys", "ls", "--devices", str(tmp_path / "devices")]
    assert "last chunk" not in _printed(*words)
    words += ["--archive", str(tmp_path / "archive")]
    shown = _printed(*words)
    silent, heard = shown[shown.index("bench-0000") :].split("bench-0001")
    assert "no chunk in the archive" in silent
    assert "last chunk 2024-10-04" in heard
    told = [json.loads(line) for line in _printed(*words, "--json").splitlines()]
    assert [one["last_chunk"] for one in told] == [None, "2024-10-04"]
