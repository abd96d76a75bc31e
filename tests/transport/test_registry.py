"""The registry: who may send, from when, until when."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.chunk import open_chunk, seal_chunk
from codec.errors import CodecError, Denied
from codec.model import ChunkId
from codec.seal import ArchivePrivateKey, DeviceSigningKey, Suite
from transport.devices import GRACE_S, BadRecord, Certificate, Device, SigningKey
from transport.fs import RealFiles
from transport.messages import NackCode
from transport.registry import Registry, Untrusted
from transport.vault import Vault

DEVICE = "dev-1"
ARCHIVE = ArchivePrivateKey.generate()
SIGNER, OTHER = DeviceSigningKey.generate(), DeviceSigningKey.generate()


def chunk_of(device: str = DEVICE, seq: int = 0, *, signer: DeviceSigningKey = SIGNER) -> bytes:
    return seal_chunk(ChunkId(device, 1, seq), b"body", recipient=ARCHIVE.public, signer=signer, expires_s=0, value=200)


class Clock:
    """A wall clock that is set."""

    def __init__(self) -> None:
        self.s = 1_000_000

    def __call__(self) -> int:
        return self.s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry(tmp_path: Path, clock: Clock) -> Registry:
    return Registry(RealFiles(), tmp_path / "devices", now_s=clock)


def enrol(registry: Registry, device: str = DEVICE, signer: DeviceSigningKey = SIGNER) -> Device:
    return registry.change(device, lambda _: Device(device, 1, (SigningKey(signer.public, 1),)))


def test_an_enrolled_device_is_taken_and_another_is_not(registry: Registry) -> None:
    assert registry.check(DEVICE, chunk_of()) is NackCode.UNKNOWN_KEY
    enrol(registry)
    assert registry.check(DEVICE, chunk_of()) is None
    assert registry.check(DEVICE, chunk_of(signer=OTHER)) is NackCode.UNKNOWN_KEY
    assert registry.check("dev-2", chunk_of()) is NackCode.WRONG_DEVICE
    assert registry.check("dev-2", chunk_of("dev-2")) is NackCode.UNKNOWN_KEY
    assert list(registry.devices()) == [DEVICE]


def test_a_false_signature_is_told_from_an_unknown_key(registry: Registry) -> None:
    enrol(registry)
    chunk = bytearray(chunk_of())
    chunk[-10] ^= 1
    chunk[-4:] = zlib.crc32(chunk[:-4]).to_bytes(4, "little")
    assert registry.check(DEVICE, bytes(chunk)) is NackCode.BAD_SIGNATURE


def test_what_is_no_chunk_raises(registry: Registry) -> None:
    with pytest.raises(CodecError):
        registry.check(DEVICE, b"nothing")


def test_a_new_key_ends_the_old_one_after_the_grace_and_old_chunks_still_verify(
    registry: Registry, clock: Clock
) -> None:
    enrol(registry)
    registry.change(DEVICE, lambda record: record.with_key(OTHER.public, clock.s))  # type: ignore[union-attr]
    assert registry.check(DEVICE, chunk_of()) is None
    assert registry.check(DEVICE, chunk_of(signer=OTHER)) is None
    clock.s += GRACE_S
    assert registry.check(DEVICE, chunk_of()) is NackCode.REVOKED
    assert registry.check(DEVICE, chunk_of(signer=OTHER)) is None
    record = registry.get(DEVICE)
    assert record is not None
    assert record.find(SIGNER.key_id) is not None  # what was archived before still verifies
    assert registry.key_of(DEVICE, SIGNER.key_id) is None
    assert registry.key_of(DEVICE, OTHER.key_id) == OTHER.public


def test_a_revocation_by_another_process_counts_from_the_next_chunk_on(registry: Registry, clock: Clock) -> None:
    enrol(registry)
    assert registry.check(DEVICE, chunk_of()) is None
    elsewhere = Registry(RealFiles(), registry.folder, now_s=clock)
    elsewhere.change(DEVICE, lambda record: record.without(None, clock.s))  # type: ignore[union-attr]
    assert registry.check(DEVICE, chunk_of()) is NackCode.REVOKED


def test_one_key_can_be_revoked_alone(registry: Registry, clock: Clock) -> None:
    enrol(registry)
    registry.change(
        DEVICE,
        lambda record: record.with_key(OTHER.public, clock.s).without(SIGNER.key_id, clock.s),  # type: ignore[union-attr]
    )
    assert registry.check(DEVICE, chunk_of()) is NackCode.REVOKED
    assert registry.check(DEVICE, chunk_of(signer=OTHER)) is None
    with pytest.raises(BadRecord, match="has no key"):
        registry.change(DEVICE, lambda record: record.without(bytes(8), 1))  # type: ignore[union-attr]


def test_what_was_archived_verifies_after_its_key_has_ended(registry: Registry, clock: Clock) -> None:
    enrol(registry)
    registry.change(
        DEVICE,
        lambda record: record.with_key(OTHER.public, clock.s).without(None, clock.s),  # type: ignore[union-attr]
    )
    assert registry.signature(chunk_of()) == registry.signature(chunk_of(signer=OTHER)) == ""
    assert "never enrolled" in registry.signature(chunk_of(signer=DeviceSigningKey.generate()))
    assert "never enrolled" in registry.signature(chunk_of("dev-2"))
    chunk = bytearray(chunk_of())
    chunk[-10] ^= 1
    chunk[-4:] = zlib.crc32(chunk[:-4]).to_bytes(4, "little")
    assert "false" in registry.signature(bytes(chunk))


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_a_registry_that_others_may_write_is_refused(registry: Registry) -> None:
    enrol(registry)
    (registry.folder / f"{DEVICE}.json").chmod(0o666)
    fresh = Registry(RealFiles(), registry.folder)
    with pytest.raises(Untrusted, match="chmod"):
        fresh.check(DEVICE, chunk_of())
    registry.folder.chmod(0o777)
    with pytest.raises(Untrusted):
        Registry(RealFiles(), registry.folder)


def test_a_copied_record_does_not_let_another_device_in(registry: Registry) -> None:
    enrol(registry)
    (registry.folder / "dev-2.json").write_bytes((registry.folder / f"{DEVICE}.json").read_bytes())
    (registry.folder / "dev-2.json").chmod(0o600)
    with pytest.raises(BadRecord, match="renamed"):
        registry.check("dev-2", chunk_of("dev-2"))


@pytest.mark.parametrize("name", ["../dev-1", "dev-1/..", "", ".lock", "DEV-1"])
def test_a_name_that_is_no_pseudonym_is_not_looked_up(registry: Registry, name: str) -> None:
    assert registry.get(name) is None


DAMAGE: list[Callable[[dict[str, object]], object]] = [
    lambda fields: fields.pop("keys"),
    lambda fields: fields.update(version=2),
    lambda fields: fields.update(device="../x"),
    lambda fields: fields.update(revoked_s=True),
    lambda fields: fields.update(keys=[{"key": "x"}]),
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_record_is_an_error_and_no_permission(damage: Callable[[dict[str, object]], object]) -> None:
    fields = json.loads(Device(DEVICE, 1, (SigningKey(SIGNER.public, 1),)).to_json())
    damage(fields)
    with pytest.raises(BadRecord):
        Device.from_json(json.dumps(fields).encode())


@given(st.binary(max_size=200))
def test_any_bytes_are_a_record_or_an_error(data: bytes) -> None:
    with pytest.raises(BadRecord):
        Device.from_json(data)


def test_a_record_comes_back_as_it_was_written() -> None:
    record = Device(DEVICE, 7, (SigningKey(SIGNER.public, 7),), certificates=(Certificate(1 << 150, 99),))
    record = record.with_key(OTHER.public, 10).with_sealing(ARCHIVE.public, 11).without(OTHER.key_id, 12)
    record = replace(record, renewed_s=13)
    assert Device.from_json(record.to_json()) == record


def test_a_vault_opens_for_each_device_its_own_and_forgets_what_it_destroys(tmp_path: Path) -> None:
    vault = Vault(RealFiles(), tmp_path / "vault", lambda path, what: path.read_bytes())
    one, two = vault.make(), vault.make(Suite.X25519)
    chunks = [
        seal_chunk(ChunkId(DEVICE, 1, number), b"text", recipient=key, signer=SIGNER, expires_s=0, value=1)
        for number, key in enumerate((one, two))
    ]
    assert [open_chunk(chunk, vault)[1] for chunk in chunks] == [b"text", b"text"]
    assert all(path.stat().st_mode & 0o077 == 0 for path in [vault.folder, *vault.folder.iterdir()])
    assert vault.destroy(one.key_id)
    assert not vault.destroy(one.key_id)
    with pytest.raises(Denied, match="destroyed"):
        open_chunk(chunks[0], vault)
    assert open_chunk(chunks[1], vault)[1] == b"text"
    with pytest.raises(Denied):
        open_chunk(chunks[1], ARCHIVE)
