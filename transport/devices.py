"""Pure: what the archive's side knows of a device, and whether a signature of it counts.

A record holds every signing key that the device ever had, each with its validity, and every archive key that its chunks were
sealed for. Keys are never removed from it: chunks that were archived long ago still have to verify. No name, no address, nothing
of the person is in a record.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from codec.errors import CodecError
from codec.model import DEVICE_PATTERN
from codec.seal import ArchivePublicKey, DeviceVerifyKey
from transport.errors import TransportError
from transport.messages import NackCode

VERSION = 1
MAX_KEYS = 256
"""Of one device: a new one each month for twenty years."""

GRACE_S = 45 * 86_400
"""How long chunks signed by a replaced key are still taken: longer than a spool keeps them (30 days)."""


class BadRecord(TransportError):
    """A device's record cannot be read: it is damaged, or of a newer version."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A signing key of a device. Times are wall seconds since 1970.

    Attributes:
        key: Ed25519. since_s: enrolled. until_s: what arrives from then on is not taken any more; 0: no end.
        revoked_s: since when it is revoked; 0: it is not.
    """

    key: DeviceVerifyKey
    since_s: int
    until_s: int = 0
    revoked_s: int = 0


@dataclass(frozen=True, slots=True)
class SealingKey:
    """An archive key that a device seals for. key: its public half. since_s: from when on."""

    key: ArchivePublicKey
    since_s: int


@dataclass(frozen=True, slots=True)
class Certificate:
    """A client certificate that was issued. serial: its number. until_s: its end."""

    serial: int
    until_s: int


@dataclass(frozen=True, slots=True)
class Device:
    """See the module.

    Attributes:
        device: the pseudonym. enrolled_s: since when. keys, sealing, certificates: oldest first.
        revoked_s: since when nothing of it is taken; 0: it is not revoked.
        renewed_s: the time in its last renewal; an older renewal is a replay.
    """

    device: str
    enrolled_s: int
    keys: tuple[SigningKey, ...]
    sealing: tuple[SealingKey, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    revoked_s: int = 0
    renewed_s: int = 0

    def find(self, key_id: bytes) -> SigningKey | None:
        """Return the key with this id (8 bytes), valid or not."""
        return next((entry for entry in self.keys if entry.key.key_id == key_id), None)

    def judge(self, key_id: bytes, now_s: int) -> tuple[SigningKey | None, NackCode | None]:
        """Return the key by this id, and why something that it signed and that arrives now is refused (None: it is not)."""
        entry = self.find(key_id)
        if self.revoked_s:
            return entry, NackCode.REVOKED
        if entry is None:
            return None, NackCode.UNKNOWN_KEY
        if entry.revoked_s or (entry.until_s and now_s >= entry.until_s):
            return entry, NackCode.REVOKED
        return entry, None

    def with_key(self, key: DeviceVerifyKey, now_s: int, *, grace_s: int = GRACE_S) -> Device:
        """Return the record with a new signing key; those before it end after the grace.

        Raises:
            BadRecord: it has too many already.
        """
        if self.find(key.key_id) is not None:
            return self
        if len(self.keys) >= MAX_KEYS:
            raise BadRecord(f"device {self.device} has {MAX_KEYS} keys already: revoke it, and enrol it anew")
        end_s = now_s + grace_s
        earlier = tuple(replace(entry, until_s=min(entry.until_s or end_s, end_s)) for entry in self.keys)
        return replace(self, keys=(*earlier, SigningKey(key, now_s)))

    def without(self, key_id: bytes | None, now_s: int) -> Device:
        """Return the record with a key revoked, or (None) the whole device.

        Raises:
            BadRecord: it has no such key.
        """
        if key_id is None:
            return replace(self, revoked_s=self.revoked_s or now_s)
        if self.find(key_id) is None:
            raise BadRecord(f"device {self.device} has no key {key_id.hex()}: `modicum keys ls` shows its keys")
        keys = tuple(
            replace(entry, revoked_s=entry.revoked_s or now_s) if entry.key.key_id == key_id else entry
            for entry in self.keys
        )
        return replace(self, keys=keys)

    def with_sealing(self, key: ArchivePublicKey, now_s: int) -> Device:
        """Return the record with the archive key that the device seals for from now on."""
        if self.sealing and self.sealing[-1].key == key:
            return self
        return replace(self, sealing=(*self.sealing[-MAX_KEYS:], SealingKey(key, now_s)))

    def to_json(self) -> bytes:
        """Return the record as it is stored."""
        fields = {
            "version": VERSION,
            "device": self.device,
            "enrolled_s": self.enrolled_s,
            "revoked_s": self.revoked_s,
            "renewed_s": self.renewed_s,
            "keys": [
                {
                    "key": entry.key.to_text().strip(),
                    "since_s": entry.since_s,
                    "until_s": entry.until_s,
                    "revoked_s": entry.revoked_s,
                }
                for entry in self.keys
            ],
            "sealing": [{"key": entry.key.to_text().strip(), "since_s": entry.since_s} for entry in self.sealing],
            "certificates": [{"serial": f"{entry.serial:x}", "until_s": entry.until_s} for entry in self.certificates],
        }
        return json.dumps(fields, indent=1).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Device:
        """Read a record.

        Raises:
            BadRecord: it is none.
        """
        try:
            fields = json.loads(data)
            if fields["version"] != VERSION:
                raise BadRecord(f"a device's record of version {fields['version']!r}; this build reads {VERSION}")
            keys = tuple(
                SigningKey(
                    DeviceVerifyKey.from_text(entry["key"]),
                    _seconds(entry["since_s"]),
                    _seconds(entry["until_s"]),
                    _seconds(entry["revoked_s"]),
                )
                for entry in fields["keys"]
            )
            sealing = tuple(
                SealingKey(ArchivePublicKey.from_text(entry["key"]), _seconds(entry["since_s"]))
                for entry in fields["sealing"]
            )
            certificates = tuple(
                Certificate(int(entry["serial"], 16), _seconds(entry["until_s"])) for entry in fields["certificates"]
            )
            return cls(
                _pseudonym(fields["device"]),
                _seconds(fields["enrolled_s"]),
                keys,
                sealing,
                certificates,
                _seconds(fields["revoked_s"]),
                _seconds(fields["renewed_s"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError, CodecError) as error:
            raise BadRecord(f"a device's record cannot be read ({type(error).__name__}: {error})") from error


def _seconds(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 40:
        raise ValueError(f"{value!r} is no time")
    return value


def _pseudonym(value: Any) -> str:
    if not isinstance(value, str) or not DEVICE_PATTERN.fullmatch(value):
        raise ValueError(f"{value!r} is no device's pseudonym")
    return value
