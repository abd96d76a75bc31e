"""A withdrawal: whatever step it is interrupted at, asking again ends it; what is not to be lost is not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from capture import withdrawal
from capture.home import Home
from capture.keyfiles import write_private
from codec.model import ChunkId
from codec.seal import DeviceSigningKey
from codec.tombstone import Range, Scope, sign_tombstone, verify_tombstone
from transport.chunk_index import ChunkIndex
from transport.fs import RealFiles
from transport.outbox import Outbox
from transport.spool import Spool


class Person:
    """A home with everything in it that an agent leaves."""

    def __init__(self, folder: Path) -> None:
        self.home = Home.of({"MODICUM_HOME": str(folder)})
        self.home.prepare()
        self.device, self.key = self.home.device(), self.home.signing_key()
        self.home.own_key()
        self.home.label_key()
        write_private(self.home.consent_file, b"{}")
        write_private(self.home.learned, b'{"habits": 1}')
        write_private(self.home.journal, b'{"at": 1, "kind": "start"}\n')
        write_private(self.home.state / "enrolled" / "client.key", b"PRIVATE")
        self.home.ledger.mkdir()
        write_private(self.home.ledger / "book", b"bytes")
        with Spool.open(RealFiles(), self.home.spool, device=self.device, limit_bytes=1 << 20) as spool:
            spool.put(spool.next_id(), b"SECRET-CHUNK" * 50, value=200, ready_wall_ns=0)
        index = ChunkIndex(RealFiles(), self.home.index, self.device)
        index.add(ChunkId(self.device, 1, 0), t0_wall_ms=1, duration_ms=1, screens=False)
        write_private(self.home.copies / "a.chunk", b"SECRET-COPY")

    def left(self) -> set[str]:
        found = {path.relative_to(self.home.state).parts[0] for path in self.home.state.rglob("*") if path.is_file()}
        return found - {"ledger", "journal.jsonl"}

    def order(self) -> bytes:
        (item,) = Outbox(RealFiles(), self.home.farewell / self.device).items()
        return item.payload


@pytest.fixture
def person(tmp_path: Path) -> Person:
    return Person(tmp_path)


def test_nothing_is_left_but_the_last_order_and_what_it_takes(person: Person) -> None:
    withdrawal.order(person.home, erase_sent=True)
    withdrawal.clear(person.home, person.home.spool)
    assert person.left() == {"enrolled", "farewell"}
    assert (person.home.ledger / "book").read_bytes() == b"bytes"
    assert person.home.journal.exists()
    tombstone = verify_tombstone(person.order(), person.key.public)
    assert (tombstone.device, tombstone.scope) == (person.device, Scope.DEVICE)
    assert list(withdrawal.pending(person.home)) == [person.device]
    assert person.home.device() != person.device, "a person who comes back is another device"


def test_the_consent_goes_first_and_the_key_last(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted at any removal, the order is there, and asking again ends it without making another."""
    withdrawal.order(person.home, erase_sent=True)
    first = person.order()
    assert not person.home.consent_file.exists()
    backup = person.home.state.with_name("backup")
    shutil.copytree(person.home.state, backup)
    steps = 0
    while True:
        shutil.rmtree(person.home.state)
        shutil.copytree(backup, person.home.state)
        budget = [steps]

        def unlink(self: RealFiles, path: Path, budget: list[int] = budget) -> None:
            if not budget[0]:
                raise KeyboardInterrupt
            budget[0] -= 1
            path.unlink()

        with monkeypatch.context() as patched:
            patched.setattr(RealFiles, "unlink", unlink)
            try:
                withdrawal.clear(person.home, person.home.spool)
                break
            except KeyboardInterrupt:
                pass
        assert (person.home.state / "device").exists() or person.left() <= {"enrolled", "farewell"}
        withdrawal.order(person.home, erase_sent=True)
        withdrawal.clear(person.home, person.home.spool)
        assert person.order() == first
        assert person.left() == {"enrolled", "farewell"}
        steps += 1
    assert steps >= 5


def test_who_keeps_what_was_sent_takes_along_what_was_ordered_before(person: Person) -> None:
    earlier = sign_tombstone(person.device, [Range(1, 2, 3)], wall_s=1, signer=person.key)
    Outbox(RealFiles(), person.home.erasures).add(earlier)
    withdrawal.order(person.home, erase_sent=False)
    withdrawal.clear(person.home, person.home.spool)
    assert person.order() == earlier


def test_who_keeps_what_was_sent_and_ordered_nothing_leaves_nothing(person: Person) -> None:
    withdrawal.order(person.home, erase_sent=False)
    withdrawal.clear(person.home, person.home.spool)
    assert withdrawal.pending(person.home) == {}
    assert person.left() == set()


def test_who_never_recorded_has_nothing_to_say(tmp_path: Path) -> None:
    home = Home.of({"MODICUM_HOME": str(tmp_path)})
    withdrawal.order(home, erase_sent=True)
    withdrawal.clear(home, home.spool)
    assert withdrawal.pending(home) == {}


def test_what_was_in_private_files_is_overwritten(person: Person) -> None:
    """The files are held open, as a disk that keeps removed files' blocks would."""
    names = ("device.key", "own.key", "label.key", "learned.json")
    held = [(person.home.state / name).open("rb") for name in names]
    before = [file.read() for file in held]
    withdrawal.order(person.home, erase_sent=True)
    withdrawal.clear(person.home, person.home.spool)
    for file, content in zip(held, before, strict=True):
        file.seek(0)
        assert file.read() == bytes(len(content))
        file.close()
    assert DeviceSigningKey.from_text(before[0].decode()) == person.key
