"""Shell: carries tombstones out: keeps them, removes what they cover from an archive, and says so.

Write order, and what a crash after each step leaves:

* note and tombstone, synced (crash: nothing is erased yet, but nothing that it covers is given out or taken any more; the
  next start, or the device that hears no answer, goes on) → chunks removed, folders synced (crash: the same) → quarantine
  cleared → note removed, synced → answer (crash: the device sends the tombstone again, finds all done, and is answered).

Guarantees: nothing is erased without a signature by a key that `keys` gives out; carrying one out twice, or after a
crash, or while chunks that it covers arrive, ends the same. Does not guarantee that a disk forgets a removed file's
blocks: chunks are sealed, and `modicum archive shred` destroys the key.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from codec.chunk import peek_header
from codec.errors import Corrupt
from codec.seal import DeviceVerifyKey
from codec.tombstone import MAGIC, Authority, Scope, Tombstone, parse_tombstone, verify_tombstone
from transport.errors import Busy, StorageFailed, TooLarge
from transport.intake import Handler, Reply
from transport.messages import NackCode
from transport.tombstones import Tombstones

if TYPE_CHECKING:
    from transport.registry import Registry

__all__ = ["MAGIC", "Eraser", "Keys", "handlers", "keys_of"]

UNCHECKED_S = 3600
"""A collector that knows nobody's key carries out nothing: the device is asked to try again, when one runs that does."""

BUSY_S = 5
"""Another process erases: the device is asked to come back."""
FULL_S = 86_400

Keys = Callable[[Tombstone], DeviceVerifyKey | NackCode]
"""Returns the public key that has to verify a tombstone, by its device, authority and signer; or why there is none."""


class Archive(Protocol):
    """What is erased from (transport/archive.py)."""

    @property
    def tombstones(self) -> Tombstones: ...
    def erase(self, tombstone: Tombstone) -> int: ...
    def drop_quarantined(self, matches: Callable[[str, bytes], bool]) -> int: ...
    def sweep(self) -> None: ...


class Eraser:
    """See the module.

    Args:
        archive: what to erase from. keys: see Keys.
    """

    def __init__(self, archive: Archive, keys: Keys) -> None:
        self._archive = archive
        self._keys = keys

    def handle(self, device: str, payload: bytes) -> Reply:
        """Carry out a payload that came on a device's topic. Blocks.

        Raises:
            CodecError: it is no tombstone. StorageFailed: it is not carried out (wholly): it has to come again.
        """
        tombstone = parse_tombstone(payload)
        if tombstone.device != device:
            why = f"a tombstone for {tombstone.device} came on the topic of {device}"
            return Reply("refused", why, NackCode.WRONG_DEVICE)
        key = self._keys(tombstone)
        if isinstance(key, NackCode):
            why = f"a tombstone signed by {tombstone.signer_id.hex()}: {_words(key)}"
            return Reply("refused", why, key, UNCHECKED_S if key is NackCode.LATER else 0)
        try:
            verify_tombstone(payload, key)
        except Corrupt as error:
            return Reply("refused", str(error), NackCode.BAD_SIGNATURE)
        try:
            erased = self.carry_out(payload, tombstone)
        except Busy:
            return Reply("refused", "another process is erasing", NackCode.LATER, retry_s=BUSY_S)
        except TooLarge as error:
            return Reply("refused", str(error), NackCode.LATER, retry_s=FULL_S)
        return Reply("erased", f"{erased:,} chunks of {device}")

    def carry_out(self, data: bytes, tombstone: Tombstone) -> int:
        """Erase what a verified tombstone covers; durable on return.

        Args:
            data: its bytes. tombstone: what they say.

        Returns:
            how many chunks were removed.

        Raises:
            Busy: another process is erasing. TooLarge: the device has too many tombstones.
            StorageFailed: it is not wholly done; `resume` goes on.
        """
        tombstones = self._archive.tombstones
        try:
            with contextlib.closing(tombstones.lock()):
                note = tombstones.keep(data, tombstone)
                return self._erase(note, tombstone)
        except OSError as error:
            raise _failed(error, tombstone.device) from error

    def resume(self) -> int:
        """Finish what was interrupted, and clear what killed writers left. Call it at the start.

        Returns:
            how many chunks were removed.

        Raises:
            Busy: another process is erasing, and will have finished it. StorageFailed: something is left.
        """
        tombstones, erased = self._archive.tombstones, 0
        try:
            with contextlib.closing(tombstones.lock()):
                for note, tombstone in list(tombstones.unfinished()):
                    if tombstone is None:
                        tombstones.finish(note)
                    else:
                        erased += self._erase(note, tombstone)
        except OSError as error:
            raise _failed(error, "") from error
        self._archive.sweep()
        return erased

    def _erase(self, note: str, tombstone: Tombstone) -> int:
        erased = self._archive.erase(tombstone)
        self._archive.drop_quarantined(lambda name, start: _is_covered(tombstone, name, start))
        self._archive.tombstones.finish(note)
        return erased


def keys_of(registry: Registry | None, now_s: Callable[[], int]) -> Keys:
    """Return how devices' tombstones are verified: by the keys that count for them now.

    Args:
        registry: of the devices; None: nobody's key is known. now_s: the wall clock.
    """

    def keys(tombstone: Tombstone) -> DeviceVerifyKey | NackCode:
        if registry is None:
            return NackCode.LATER
        if tombstone.authority is not Authority.DEVICE:
            return NackCode.UNKNOWN_KEY  # the owner has the archive at hand: `modicum archive erase`
        record = registry.get(tombstone.device)
        if record is None:
            return NackCode.UNKNOWN_KEY
        entry, refusal = record.judge(tombstone.signer_id, now_s())
        return refusal or (NackCode.UNKNOWN_KEY if entry is None else entry.key)

    return keys


def handlers(archive: Archive, registry: Registry | None, now_s: Callable[[], int]) -> dict[bytes, Handler]:
    """Return what a collector needs to carry tombstones out, after what was interrupted before is finished.

    Raises:
        StorageFailed: something is left.
    """
    eraser = Eraser(archive, keys_of(registry, now_s))
    with contextlib.suppress(Busy):
        eraser.resume()
    return {MAGIC: eraser.handle}


def _is_covered(tombstone: Tombstone, name: str, start: bytes) -> bool:
    """Tell whether a quarantined payload is what a tombstone covers, as far as it says itself or its file's name does."""
    if tombstone.scope is Scope.DEVICE and f".{tombstone.device}." in name:
        return True
    header = peek_header(start)
    return header is not None and tombstone.covers(header.chunk_id)


def _failed(error: OSError, device: str) -> StorageFailed:
    return StorageFailed(f"what is to be erased could not be: {error.strerror or error}", device, disk_full=False)


def _words(code: NackCode) -> str:
    return code.name.lower().replace("_", " ")
