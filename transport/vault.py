"""Shell: the vault: the archive owner's private keys, one file each, by key id; one pair per device, so that one can be destroyed.

Guarantees: files are 0600 and folders 0700, and a key that others can read is refused; a key is on the disk before anybody is
told its public half; what was sealed for a destroyed key can be opened by nobody again. What destroying cannot reach: copies in
backups, and old blocks on disks that write elsewhere (copy-on-write file systems, SSDs): encrypt the vault's disk.

It belongs where recordings are read, not where they are collected.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from codec.errors import Denied
from codec.seal import ArchivePrivateKey, ArchivePublicKey, Suite
from transport.fs import Files, Open, opened, replace_file, write_all

SUFFIX = ".key"
CACHED = 1024


class Vault:
    """See the module. A `codec.seal.KeyRing`."""

    def __init__(self, files: Files, folder: Path, read_private: Callable[[Path, str], bytes]) -> None:
        """Open a vault.

        Args:
            files: where. folder: which; made when the first key is. read_private: reads a file, unless others can too.
        """
        self._files = files
        self.folder = folder
        self._read_private = read_private
        self._cache: OrderedDict[bytes, ArchivePrivateKey] = OrderedDict()

    def make(self, suite: Suite = Suite.X25519) -> ArchivePublicKey:
        """Make a key pair; return its public half once the private one is stored."""
        key = ArchivePrivateKey.generate(suite)
        self._files.make_dir(self.folder)
        replace_file(self._files, self._path(key.key_id), key.to_text().encode())
        return key.public

    def key_for(self, key_id: bytes) -> ArchivePrivateKey:
        """Return the private key with this id (8 bytes).

        Raises:
            Denied: it is not here: it was never, or it was destroyed.
        """
        known = self._cache.get(key_id)
        if known is not None:
            return known
        path = self._path(key_id)
        if not self._files.exists(path):
            raise Denied(f"the key {key_id.hex()} is not in {self.folder}: it lies elsewhere, or was destroyed")
        key = ArchivePrivateKey.from_text(
            self._read_private(path, "the archive's private key").decode("ascii", "replace")
        )
        if key.key_id != key_id:
            raise Denied(f"{path} holds the key {key.key_id.hex()}: it was renamed")
        self._cache[key_id] = key
        if len(self._cache) > CACHED:
            self._cache.popitem(last=False)
        return key

    def has(self, key_id: bytes) -> bool:
        """Tell whether a key is here."""
        return self._files.exists(self._path(key_id))

    def destroy(self, key_id: bytes) -> bool:
        """Destroy a private key: overwrite it, remove it; tell whether it was here."""
        self._cache.pop(key_id, None)
        path = self._path(key_id)
        if not self._files.exists(path):
            return False
        with opened(self._files, path, Open.WRITE) as handle:
            write_all(handle, bytes(handle.size_bytes()), 0)
            handle.sync()
        self._files.unlink(path)
        self._files.sync_dir(self.folder)
        return True

    def _path(self, key_id: bytes) -> Path:
        return self.folder / f"{key_id.hex()}{SUFFIX}"
