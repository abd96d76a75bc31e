"""Erasing: what a tombstone covers is gone and stays gone, whichever came first and whatever dies in between."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.chunk import seal_chunk
from codec.errors import Corrupt
from codec.model import ChunkId
from codec.seal import ArchivePrivateKey, DeviceSigningKey, DeviceVerifyKey, Suite
from codec.tombstone import Authority, Range, Tombstone, sign_tombstone
from tests.transport.simfs import SimFiles
from tests.transport.test_spool_model import SOAK
from transport.archive import FolderStore, Stored
from transport.devices import Device, SigningKey
from transport.endpoint import Message
from transport.erasing import MAGIC, Eraser, keys_of
from transport.errors import Busy, Missing, StorageFailed
from transport.fs import RealFiles
from transport.intake import Intake
from transport.messages import NackCode, digest_of, up_topic
from transport.registry import Registry
from transport.tombstones import MAX_PER_DEVICE

DEVICE, OTHER = "dev-0123", "dev-4567"
KEY, OWNER = DeviceSigningKey.from_raw(bytes(range(32))), DeviceSigningKey.from_raw(bytes(32))
ARCHIVE = ArchivePrivateKey.from_raw(Suite.X25519, bytes(range(32))).public


def keys(tombstone: Tombstone) -> DeviceVerifyKey | NackCode:
    """Be a registry of one device."""
    if tombstone.authority is Authority.OWNER:
        return OWNER.public if tombstone.signer_id == OWNER.key_id else NackCode.UNKNOWN_KEY
    if tombstone.device != DEVICE or tombstone.signer_id != KEY.key_id:
        return NackCode.UNKNOWN_KEY
    return KEY.public


def chunk(chunk_id: ChunkId, *, expires_s: int = 0) -> bytes:
    return seal_chunk(chunk_id, b"body", recipient=ARCHIVE, signer=KEY, expires_s=expires_s, value=0)


def order(*ranges: Range, device: str = DEVICE, signer: DeviceSigningKey = KEY, wall_s: int = 1) -> bytes:
    return sign_tombstone(device, ranges or None, wall_s=wall_s, signer=signer)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(RealFiles(), tmp_path / "a")


def test_a_range_is_erased_and_answered_and_stays_erased(store: FolderStore) -> None:
    ids = [
        ChunkId(device, epoch, seq) for device in (DEVICE, OTHER) for epoch in (1, 2) for seq in (0, 1023, 1024, 9000)
    ]
    store.put([(chunk_id, chunk(chunk_id)) for chunk_id in ids])
    eraser = Eraser(store, keys)
    payload = order(Range(1, 1023, 5000))
    reply = eraser.handle(DEVICE, payload)
    assert (reply.kind, reply.code, reply.text) == ("erased", None, f"2 chunks of {DEVICE}")
    gone = [ChunkId(DEVICE, 1, 1023), ChunkId(DEVICE, 1, 1024)]
    assert list(store.iterate()) == [chunk_id for chunk_id in ids if chunk_id not in gone]
    with pytest.raises(Missing):
        store.get(gone[0])
    late, new = store.put([(gone[0], chunk(gone[0])), (ChunkId(DEVICE, 1, 5001), b"new")])
    assert late == Stored(gone[0], b"", False, NackCode.ERASED)
    assert new.new
    assert eraser.handle(DEVICE, payload).text == f"0 chunks of {DEVICE}"


def test_a_tombstone_may_come_before_its_chunk(store: FolderStore) -> None:
    Eraser(store, keys).handle(DEVICE, order(Range(1, 5, 5)))
    (stored,) = store.put([(ChunkId(DEVICE, 1, 5), b"late")])
    assert stored.refused is NackCode.ERASED
    assert list(store.iterate()) == []


def test_of_a_whole_device_nothing_is_left_but_its_tombstone(store: FolderStore) -> None:
    ids = [ChunkId(DEVICE, epoch, seq) for epoch in (1, 2) for seq in (0, 2000)]
    store.put([(chunk_id, chunk(chunk_id)) for chunk_id in ids])
    store.quarantine(f"{DEVICE}.malformed", b"half a chunk")
    store.quarantine("conflict", chunk(ids[0]))
    store.quarantine(f"{OTHER}.malformed", b"somebody else's")
    eraser = Eraser(store, keys)
    for number in range(3):
        eraser.handle(DEVICE, order(Range(1, number * 2, number * 2)))
    eraser.handle(DEVICE, order())
    assert not (store.root / DEVICE).exists()
    assert len(list((store.root / ".tombstones" / DEVICE).iterdir())) == 1
    assert [path.read_bytes() for path in (store.root / ".quarantine").iterdir()] == [b"somebody else's"]
    assert store.put([(ChunkId(DEVICE, 77, 0), b"x")])[0].refused is NackCode.ERASED
    again = FolderStore(RealFiles(), store.root)
    assert again.put([(ChunkId(DEVICE, 77, 0), b"x")])[0].refused is NackCode.ERASED
    assert list(again.iterate()) == []


@pytest.mark.parametrize(
    ("payload", "topic", "code"),
    [
        (order(signer=OWNER), DEVICE, NackCode.UNKNOWN_KEY),
        (order(device=OTHER), DEVICE, NackCode.WRONG_DEVICE),
        (order(device=OTHER), OTHER, NackCode.UNKNOWN_KEY),
        (order()[:-68] + bytes(64), DEVICE, None),
    ],
)
def test_a_forged_tombstone_changes_nothing(
    store: FolderStore, payload: bytes, topic: str, code: NackCode | None
) -> None:
    one = ChunkId(topic, 1, 1)
    store.put([(one, chunk(one))])
    eraser = Eraser(store, keys)
    if code is None:
        import zlib

        payload += zlib.crc32(payload).to_bytes(4, "little")
        code = NackCode.BAD_SIGNATURE
    assert eraser.handle(topic, payload).code is code
    with pytest.raises(Corrupt):
        eraser.handle(topic, payload[:40] + b"x" + payload[41:])
    assert store.contains(one)
    assert not (store.root / ".tombstones").exists()


def test_whose_key_counts_is_the_registrys_to_say(store: FolderStore) -> None:
    one = ChunkId(DEVICE, 1, 1)
    store.put([(one, chunk(one))])
    registry, now = Registry(RealFiles(), store.root / ".devices"), [100]
    eraser = Eraser(store, keys_of(registry, lambda: now[0]))
    owners = sign_tombstone(DEVICE, None, wall_s=1, signer=KEY, authority=Authority.OWNER)
    assert eraser.handle(DEVICE, order()).code is NackCode.UNKNOWN_KEY  # nobody is enrolled
    registry.change(DEVICE, lambda _: Device(DEVICE, 1, (SigningKey(KEY.public, 1),)))
    assert eraser.handle(DEVICE, order(signer=OWNER)).code is NackCode.UNKNOWN_KEY
    assert eraser.handle(DEVICE, owners).code is NackCode.UNKNOWN_KEY  # a device is no owner
    registry.change(DEVICE, lambda record: record.without(None, 50))  # type: ignore[union-attr]
    assert eraser.handle(DEVICE, order()).code is NackCode.REVOKED
    assert store.contains(one)
    unchecked = Eraser(store, keys_of(None, lambda: 1)).handle(DEVICE, order())
    assert (unchecked.code, unchecked.retry_s) == (NackCode.LATER, 3600)
    registry.store(Device(DEVICE, 1, (SigningKey(KEY.public, 1, until_s=200),)))
    assert eraser.handle(DEVICE, order()).code is None
    assert not store.contains(one)
    now[0] = 200
    assert eraser.handle(DEVICE, order(wall_s=9)).code is NackCode.REVOKED


def test_the_archives_owner_may_erase_too(store: FolderStore) -> None:
    one = ChunkId(OTHER, 1, 1)
    store.put([(one, chunk(one))])
    payload = sign_tombstone(OTHER, [Range(1, 1, 1)], wall_s=1, signer=OWNER, authority=Authority.OWNER)
    assert Eraser(store, keys).handle(OTHER, payload).code is None
    assert not store.contains(one)


def test_who_erases_keeps_others_from_it_and_they_are_asked_to_come_back(store: FolderStore) -> None:
    lock = store.tombstones.lock()
    other = FolderStore(RealFiles(), store.root)
    reply = Eraser(other, keys).handle(DEVICE, order())
    assert (reply.code, reply.retry_s) == (NackCode.LATER, 5)
    with pytest.raises(Busy):
        Eraser(other, keys).resume()
    lock.close()
    assert Eraser(other, keys).handle(DEVICE, order()).code is None


def test_tombstones_of_a_device_are_bounded_but_the_whole_device_always_fits(store: FolderStore) -> None:
    eraser = Eraser(store, keys)
    eraser.handle(DEVICE, order(Range(1, 0, 0)))
    folder = store.root / ".tombstones" / DEVICE
    for number in range(1, MAX_PER_DEVICE):
        (folder / f"{number:032x}.tombstone").write_bytes(order(Range(1, 2 * number, 2 * number)))
    assert eraser.handle(DEVICE, order(Range(2, 0, 0))).code is NackCode.LATER
    assert eraser.handle(DEVICE, order()).code is None
    assert len(list(folder.iterdir())) == 1


def test_a_device_may_have_any_name(tmp_path: Path) -> None:
    """The archive's own files are where no device's can be."""
    store = FolderStore(RealFiles(), tmp_path / "a")
    eraser = Eraser(store, lambda tombstone: KEY.public)
    for name in ("lock", "open", "tombstones", "incoming"):
        one = ChunkId(name, 1, 1)
        assert store.put([(one, b"x")])[0].new
        assert eraser.handle(name, order(Range(1, 1, 1), device=name)).code is None
        assert store.put([(one, b"x")])[0].refused is NackCode.ERASED


def test_a_damaged_tombstone_stops_its_device_and_no_other(store: FolderStore) -> None:
    Eraser(store, keys).handle(DEVICE, order(Range(1, 0, 0)))
    (path,) = (store.root / ".tombstones" / DEVICE).iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StorageFailed, match="restore it"):
        store.put([(ChunkId(DEVICE, 1, 0), b"x")])
    assert store.put([(ChunkId(OTHER, 1, 0), b"x")])[0].new


def test_messages_take_effect_in_their_order_and_are_answered(store: FolderStore) -> None:
    intake = Intake(store, lambda data: __import__("codec.chunk").chunk.parse_header(data))
    intake.handlers = {MAGIC: Eraser(store, keys).handle}
    ids = [ChunkId(DEVICE, 1, seq) for seq in range(3)]
    payloads = [chunk(ids[0]), chunk(ids[1]), order(Range(1, 1, 2)), chunk(ids[2]), chunk(ids[1])]
    outcomes = intake.process([Message(up_topic(DEVICE), payload, 1, 0) for payload in payloads])
    assert [[ack[0] for ack in outcome.acks] for outcome in outcomes] == [[ids[0]], [ids[1]], [], [], []]
    assert outcomes[2].done == digest_of(payloads[2])
    assert [outcome.nack.code for outcome in outcomes[3:] if outcome.nack] == [NackCode.ERASED] * 2
    assert list(store.iterate()) == [ids[0]]
    assert list((store.root / ".quarantine").iterdir()) == []


def test_storing_and_erasing_at_once_leaves_nothing_erased(tmp_path: Path) -> None:
    """Threads with stores of their own, as processes have: whatever the interleaving, erased is erased."""
    root = tmp_path / "a"
    stores = [FolderStore(RealFiles(), root) for _ in range(3)]
    ids = [ChunkId(DEVICE, 1, seq) for seq in range(120)]

    def write(store: FolderStore) -> None:
        for start in range(0, len(ids), 4):
            batch = ids[start : start + 4]
            while True:
                try:
                    store.put([(chunk_id, b"x" * 100) for chunk_id in batch])
                except StorageFailed:  # the folder went away twice: it comes again
                    continue
                break

    def erase() -> None:
        for seq in range(1, 120, 2):
            Eraser(stores[2], keys).handle(DEVICE, order(Range(1, seq, seq)))

    threads = [threading.Thread(target=write, args=(store,)) for store in stores[:2]]
    threads.append(threading.Thread(target=erase))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(path.name for path in root.rglob("*.chunk")) == [f"{seq:010d}.chunk" for seq in range(0, 120, 2)]


def test_what_a_killed_writer_had_linked_although_it_was_erased_is_found(store: FolderStore) -> None:
    """The writer looked before the tombstone came, linked after it, and died before it looked again."""
    one = ChunkId(DEVICE, 1, 7)
    eraser = Eraser(store, keys)
    store.put([(ChunkId(DEVICE, 1, 6), b"neighbour")])
    eraser.handle(DEVICE, order(Range(1, 7, 7)))
    path = store.path_of(one)
    path.write_bytes(b"x")
    (store.root / ".incoming" / f"3-0.{DEVICE}.00000001.7").hardlink_to(path)
    assert one not in set(store.iterate())
    with pytest.raises(Missing):
        store.get(one)
    again = FolderStore(RealFiles(), store.root)
    Eraser(again, keys).resume()
    assert not path.exists()
    assert sorted(path.suffix for path in (store.root / ".incoming").iterdir()) == [".lock", ".lock"]


seqs = st.integers(0, 6)
steps = st.one_of(
    st.tuples(st.just("put"), st.lists(seqs, min_size=1, max_size=3)),
    st.tuples(st.just("erase"), st.tuples(seqs, seqs).map(sorted)),
    st.tuples(st.just("all"), st.none()),
    st.tuples(st.just("resume"), st.none()),
)


@settings(max_examples=500 * SOAK, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    plan=st.lists(steps, min_size=2, max_size=6),
    crash_at=st.none() | st.integers(1, 160),
    fail_at=st.none() | st.integers(1, 80),
    power=st.booleans(),
)
def test_through_crashes_failures_and_power_cuts(
    seed: int, plan: list[tuple[str, list[int] | None]], crash_at: int | None, fail_at: int | None, power: bool
) -> None:
    files = SimFiles(seed)
    files.make_dir(Path("/a"))
    files.synced_dirs |= files.dirs
    body = {seq: files.rng.randbytes(50 + seq) for seq in range(7)}
    stored: set[int] = set()  # confirmed
    erased: set[int] = set()  # confirmed
    begun: set[int] = set()  # may be erased
    orders: list[bytes] = []
    files.crash_at, files.fail_at, files.failure = crash_at, fail_at, errno.EIO
    files.short_writes = bool(seed % 2)
    try:
        store = FolderStore(files, Path("/a"))
        eraser = Eraser(store, keys)
        for what, which in plan:
            try:
                if what == "put":
                    for result in store.put([(ChunkId(DEVICE, 1, seq), body[seq]) for seq in which or ()]):
                        seq = result.chunk_id.seq
                        assert (result.refused is None) or seq in begun
                        assert not (result.refused is None and seq in erased), "what is erased came back"
                        stored |= {seq} if result.refused is None else set()
                elif what == "resume":
                    eraser.resume()
                else:
                    named = range(which[0], which[1] + 1) if which else range(7)
                    payload = order(*([Range(1, which[0], which[1])] if which else []))
                    orders.append(payload)
                    begun |= set(named)
                    assert eraser.handle(DEVICE, payload).code is None
                    erased |= set(named)
            except StorageFailed:
                continue
    except (SimFiles.Killed, StorageFailed):
        pass
    if power:
        files.cut_power()
    files.kill()

    store = FolderStore(files, Path("/a"))
    eraser = Eraser(store, keys)
    there = {chunk_id.seq for chunk_id in store.iterate()}
    assert not there & erased
    assert stored - begun <= there
    eraser.resume()
    on_disk = {int(path.stem) for path in files.now if path.suffix == ".chunk"}
    assert not on_disk & erased
    kept = store.tombstones.of(DEVICE)
    assert not any(tombstone.covers(ChunkId(DEVICE, 1, seq)) for seq in on_disk for tombstone in kept)
    assert not list(store.tombstones.unfinished())
    for payload in orders:  # what was not confirmed comes again, chunks and orders alike
        assert eraser.handle(DEVICE, payload).code is None
    for seq, data in body.items():
        (result,) = store.put([(ChunkId(DEVICE, 1, seq), data)])
        assert (result.refused is None) == (seq not in begun)
    files.cut_power()
    again = FolderStore(files, Path("/a"))
    assert {chunk_id.seq for chunk_id in again.iterate()} == set(range(7)) - begun
    assert {int(path.stem) for path in files.now if path.suffix == ".chunk"} == set(range(7)) - begun
