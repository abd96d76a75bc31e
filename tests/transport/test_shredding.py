"""Crypto-shredding: one device's chunks are lost for good, everybody else's are untouched."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from codec.chunk import open_chunk, seal_chunk
from codec.errors import Denied
from codec.model import ChunkId
from codec.seal import DeviceSigningKey
from tests.transport.test_erase_cli import runs
from transport import keys_cli
from transport.archive import FolderStore
from transport.devices import Device, SealingKey, SigningKey
from transport.errors import TransportError
from transport.fs import RealFiles
from transport.registry import Registry
from transport.shredding import carry_out, describe, plan
from transport.vault import Vault

KEY = DeviceSigningKey.from_raw(bytes(range(32)))
ONE, OTHER = "dev-one", "dev-other"


class Site:
    """A registry, a vault and an archive with three chunks of each of two devices; the first has had two keys."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.registry = Registry(RealFiles(), folder / "a" / ".devices")
        self.vault = Vault(RealFiles(), folder / "vault", lambda path, what: path.read_bytes())
        self.store = FolderStore(RealFiles(), folder / "a")
        self.keys = {ONE: [self.vault.make(), self.vault.make()], OTHER: [self.vault.make()]}
        for device, keys in self.keys.items():
            self.registry.change(device, lambda _, device=device, keys=keys: self.record(device, keys))  # type: ignore[misc]
            for seq in range(4):
                chunk_id = ChunkId(device, 1, seq)
                recipient = keys[seq % len(keys)]
                chunk = seal_chunk(chunk_id, b"secret", recipient=recipient, signer=KEY, expires_s=0, value=0)
                self.store.put([(chunk_id, chunk)])

    def record(self, device: str, keys: list) -> Device:  # type: ignore[type-arg]
        return Device(device, 1, (SigningKey(KEY.public, 1),), tuple(SealingKey(key, 1) for key in keys))

    def readable(self, device: str, vault: Vault | None = None) -> int:
        """Return how many of a device's chunks open, by a vault that was opened just now or by the given one."""
        ring = vault or Vault(RealFiles(), self.folder / "vault", lambda path, what: path.read_bytes())
        count = 0
        for chunk_id in self.store.iterate(device):
            with contextlib.suppress(Denied):
                assert open_chunk(self.store.get(chunk_id), ring)[1] == b"secret"
                count += 1
        return count


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_what_one_device_recorded_is_lost_and_the_others_is_not(site: Site) -> None:
    raw = [path.read_bytes() for path in (site.folder / "vault").iterdir()]
    assert (site.readable(ONE), site.readable(OTHER)) == (4, 4)
    found = plan(site.store, site.registry, site.vault, ONE)
    assert (found.lost, found.gone, found.elsewhere, len(found.keys)) == (4, 0, 0, 2)
    assert "4 of its chunks" in describe(found)
    assert site.readable(ONE) == 4
    assert carry_out(found, site.vault) == 2
    assert (site.readable(ONE), site.readable(OTHER)) == (0, 4)
    assert site.readable(ONE, site.vault) == 0, "the vault that destroyed them remembers none"
    left = [path.read_bytes() for path in (site.folder / "vault").iterdir()]
    assert len(left) == 1
    assert left[0] in raw
    again = plan(site.store, site.registry, site.vault, ONE)
    assert (again.lost, again.gone, len(again.keys)) == (0, 4, 0)


def test_a_key_that_two_devices_share_is_not_destroyed(site: Site) -> None:
    shared = site.keys[OTHER][0]
    site.registry.change(ONE, lambda _: site.record(ONE, [*site.keys[ONE], shared]))
    with pytest.raises(TransportError, match="dev-other seal for the same key"):
        plan(site.store, site.registry, site.vault, ONE)
    assert site.readable(OTHER) == 4


def test_the_command_says_what_is_lost(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_cli, "_read_private", lambda path, what: path.read_bytes(), raising=False)
    words = ("shred", str(site.folder / "a"), ONE, "--vault", str(site.folder / "vault"))
    refused = runs(*words)
    assert refused.exit_code != 0
    assert site.readable(ONE) == 4
    done = json.loads(runs(*words, "--yes", "--json").output)
    assert (done["lost"], len(done["keys"])) == (4, 2)
    assert site.readable(ONE) == 0
    assert runs("shred", str(site.folder / "a"), "nobody-here", "--vault", "v", "--yes").exit_code != 0
