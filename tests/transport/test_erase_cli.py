"""`modicum archive expire` and `erase`, as commands."""

from __future__ import annotations

import json
import stat
import time
from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from codec.model import ChunkId
from codec.tombstone import Authority, Range
from tests.transport.test_erasing import DEVICE, OTHER, chunk
from transport import erase_cli
from transport.archive import FolderStore
from transport.erase_cli import parse_target
from transport.errors import TransportError
from transport.fs import RealFiles


def runs(*words: str) -> Result:
    app = typer.Typer()
    erase_cli.mount(app, lambda path: FolderStore(RealFiles(), path), lambda path, what: path.read_bytes())
    return CliRunner().invoke(app, words)


def run(*words: str) -> str:
    done = runs(*words)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    store = FolderStore(RealFiles(), tmp_path / "a")
    yesterday_s = int(time.time()) // 86_400 * 86_400
    ids = [ChunkId(device, 1, seq) for device in (DEVICE, OTHER) for seq in range(4)]
    store.put([(chunk_id, chunk(chunk_id, expires_s=yesterday_s * (chunk_id.seq == 0))) for chunk_id in ids])
    return store


def test_expire_says_what_it_would_do_and_does_it(store: FolderStore) -> None:
    assert "2 of 2 devices would be removed" in run("expire", str(store.root), "--dry-run")
    assert len(list(store.iterate())) == 8
    assert json.loads(run("expire", str(store.root), "--json"))["removed"] == 2
    assert len(list(store.iterate())) == 6


def test_the_owner_erases_a_range_and_a_device(store: FolderStore, tmp_path: Path) -> None:
    key = tmp_path / "keys" / "owner.key"
    assert "made just now" in run("erase", str(store.root), f"{DEVICE}/1/1-2", "--owner-key", str(key))
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert [chunk_id.seq for chunk_id in store.iterate(DEVICE)] == [0, 3]
    assert "4 chunks" in run("erase", str(store.root), OTHER, "--owner-key", str(key))
    assert list(store.iterate(OTHER)) == []
    (tombstone,) = store.tombstones.of(DEVICE)
    assert tombstone.authority is Authority.OWNER
    assert tombstone.signer_id.hex() == key.read_text().split()[-1]


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        ("dev-1", None),
        ("dev-1/0000000a", [Range(10, 0, 2**32 - 1)]),
        ("dev-1/a/7", [Range(10, 7, 7)]),
        ("dev-1/a/7-9", [Range(10, 7, 9)]),
    ],
)
def test_what_is_to_be_erased_is_read(text: str, ranges: list[Range] | None) -> None:
    assert parse_target(text) == ("dev-1", ranges)


@pytest.mark.parametrize(
    "text", ["", "D/1/1", "dev-1/", "dev-1/x/1", "dev-1/1/9-7", "dev-1/1/1/1", "dev-1/1/-3", "dev-1/1ffffffff"]
)
def test_what_names_nothing_is_refused(text: str) -> None:
    with pytest.raises(TransportError, match="names nothing"):
        parse_target(text)
