"""Pure: keys as values and as text, and the three operations on them: seal, open, sign.

Sealing is HPKE (RFC 9180, base mode, one message per context): whoever holds an archive's public key can seal for it,
and only the private key opens. So a device can't read what it has sealed a moment ago. HPKE doesn't prove who sealed;
that is what the device's Ed25519 signature (RFC 8032) is for.

Guaranteed: a sealed text that was changed, or that is opened under another `info`, raises; private keys stay out of
`repr`.
Not guaranteed: forward secrecy against the loss of the archive's private key, or hiding of a message's length.

Files and their permissions are the caller's. The one impurity is that keys and HPKE draw randomness from the system.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cache
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from codec.errors import Corrupt, Denied, Unsupported
from codec.keytext import from_line, to_line, words_of

if TYPE_CHECKING:  # cryptography is loaded on first use: a collector parses headers, `modicum status` nothing at all
    from cryptography.hazmat.primitives import hpke
    from cryptography.hazmat.primitives.asymmetric import x25519

KEY_ID_BYTES = 8
"""Names a key among the few that one archive or device ever has; 64 bits can't collide by chance there."""
SIGNATURE_BYTES = 64
TAG_BYTES = 16
"""AES-128-GCM's tag."""


class Suite(IntEnum):
    """How a chunk is sealed. All with HKDF-SHA256 and AES-128-GCM."""

    X25519 = 1
    MLKEM768_X25519 = (
        2  # hybrid with ML-KEM-768: holds against a future quantum computer, for 1,088 bytes more per chunk
    )


class _SuiteSizes(NamedTuple):
    enc: int
    public: int
    private: int


SUITE_SIZES = {Suite.X25519: _SuiteSizes(32, 32, 32), Suite.MLKEM768_X25519: _SuiteSizes(1120, 1216, 96)}
"""In bytes: the encapsulated key, the public and the private key.

Hybrid keys are ML-KEM's, then X25519's; ML-KEM's private key is its 64-byte seed."""

_NAMES = {Suite.X25519: "x25519", Suite.MLKEM768_X25519: "mlkem768-x25519"}
_SUITES = {name: suite for suite, name in _NAMES.items()}


def sealed_bytes(suite: Suite, plain_bytes: int) -> int:
    """Return how long a text of `plain_bytes` is once sealed: encapsulated key, ciphertext and tag."""
    return SUITE_SIZES[suite].enc + plain_bytes + TAG_BYTES


def key_id(public: bytes) -> bytes:
    """Return a public key's id: the first 8 bytes of its SHA-256."""
    return hashlib.sha256(public).digest()[:KEY_ID_BYTES]


@dataclass(frozen=True, slots=True)
class ArchivePublicKey:
    """What a device seals for. Attributes: the suite, and the key's raw bytes as in SUITE_SIZES."""

    suite: Suite
    raw: bytes

    def __post_init__(self) -> None:
        _check_length("an archive's public key", self.raw, SUITE_SIZES[self.suite].public)

    @property
    def key_id(self) -> bytes:
        """The id that headers carry (8 bytes)."""
        return key_id(self.raw)

    def to_text(self) -> str:
        """Return the key as one line of text."""
        return to_line("archive-public", _NAMES[self.suite], self.raw, self.key_id)

    @classmethod
    def from_text(cls, text: str) -> ArchivePublicKey:
        """Read a key from its line.

        Raises:
            Corrupt: it is no key line, or was mistyped or cut: its key id tells.
            Denied: it is a key of another kind.
            Unsupported: of a newer version or an unknown algorithm.
        """
        algorithm, raw, stated = from_line(text, "archive-public")
        return _matching(cls(_suite_named(algorithm), raw), stated, text)


class KeyRing(Protocol):
    """What opens chunks: one private key, or a store of many."""

    def key_for(self, key_id: bytes) -> ArchivePrivateKey:
        """Return the private key with this id (8 bytes). Raises Denied when it is not here."""


@dataclass(frozen=True, slots=True)
class ArchivePrivateKey:
    """What opens chunks. Attributes: its public key, and the raw bytes as in SUITE_SIZES."""

    public: ArchivePublicKey
    raw: bytes = field(repr=False)

    @property
    def suite(self) -> Suite:
        """The suite of the pair."""
        return self.public.suite

    @property
    def key_id(self) -> bytes:
        """The id of the public key (8 bytes)."""
        return self.public.key_id

    def key_for(self, key_id: bytes) -> ArchivePrivateKey:
        """Return this key, where it is the one with this id: a ring of one.

        Raises:
            Denied: it is another.
        """
        if key_id != self.key_id:
            raise Denied(
                f"sealed for archive key {key_id.hex()}, and this is {self.key_id.hex()}: open it with that key"
            )
        return self

    @classmethod
    def generate(cls, suite: Suite = Suite.X25519) -> ArchivePrivateKey:
        """Make a new key pair.

        Raises:
            Unsupported: the installed `cryptography` can't do this suite.
        """
        from cryptography.hazmat.primitives.asymmetric import x25519

        raw = x25519.X25519PrivateKey.generate().private_bytes_raw()
        if suite is Suite.MLKEM768_X25519:
            _require(suite)
            from cryptography.hazmat.primitives.asymmetric import mlkem

            raw = mlkem.MLKEM768PrivateKey.generate().private_bytes_raw() + raw
        return cls.from_raw(suite, raw)

    @classmethod
    def from_raw(cls, suite: Suite, raw: bytes) -> ArchivePrivateKey:
        """Make the pair of a private key's raw bytes.

        Raises:
            Corrupt: the length is wrong.
            Unsupported: the installed `cryptography` can't do this suite.
        """
        _check_length("an archive's private key", raw, SUITE_SIZES[suite].private)
        return cls(ArchivePublicKey(suite, _archive_public_of(suite, raw)), raw)

    def to_text(self) -> str:
        """Return the key as one line of text. It is the secret itself: write it to a file that only its owner reads."""
        return to_line("archive-private", _NAMES[self.suite], self.raw, self.key_id)

    @classmethod
    def from_text(cls, text: str) -> ArchivePrivateKey:
        """Read a key from its line. Raises: as ArchivePublicKey.from_text."""
        algorithm, raw, stated = from_line(text, "archive-private")
        return _matching(cls.from_raw(_suite_named(algorithm), raw), stated, text)


@dataclass(frozen=True, slots=True)
class DeviceVerifyKey:
    """What a device's signatures are checked by: an Ed25519 public key of 32 bytes."""

    raw: bytes

    def __post_init__(self) -> None:
        _check_length("a device's public key", self.raw, 32)

    @property
    def key_id(self) -> bytes:
        """The id that headers carry as the signer's (8 bytes)."""
        return key_id(self.raw)

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Tell whether `signature` (64 bytes) is this key's over `message`."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric import ed25519

        try:
            ed25519.Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except (InvalidSignature, ValueError):  # ValueError: the 32 bytes are no point of the curve
            return False
        return True

    def to_text(self) -> str:
        """Return the key as one line of text."""
        return to_line("device-public", "ed25519", self.raw, self.key_id)

    @classmethod
    def from_text(cls, text: str) -> DeviceVerifyKey:
        """Read a key from its line. Raises: as ArchivePublicKey.from_text."""
        algorithm, raw, stated = from_line(text, "device-public")
        _only_ed25519(algorithm)
        return _matching(cls(raw), stated, text)


@dataclass(frozen=True, slots=True)
class DeviceSigningKey:
    """What a device signs with: an Ed25519 private key (seed) of 32 bytes, and its public key."""

    public: DeviceVerifyKey
    raw: bytes = field(repr=False)

    @property
    def key_id(self) -> bytes:
        """The id of the public key (8 bytes)."""
        return self.public.key_id

    @classmethod
    def generate(cls) -> DeviceSigningKey:
        """Make a new key pair."""
        from cryptography.hazmat.primitives.asymmetric import ed25519

        return cls.from_raw(ed25519.Ed25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def from_raw(cls, raw: bytes) -> DeviceSigningKey:
        """Make the pair of a seed's 32 bytes. Raises: Corrupt when there are more or fewer."""
        from cryptography.hazmat.primitives.asymmetric import ed25519

        _check_length("a device's private key", raw, 32)
        return cls(
            DeviceVerifyKey(ed25519.Ed25519PrivateKey.from_private_bytes(raw).public_key().public_bytes_raw()), raw
        )

    def sign(self, message: bytes) -> bytes:
        """Return the signature (64 bytes) over a message.

        Every kind of signed message begins differently (a chunk with its magic), so that none can pass for another.
        """
        from cryptography.hazmat.primitives.asymmetric import ed25519

        return ed25519.Ed25519PrivateKey.from_private_bytes(self.raw).sign(message)

    def to_text(self) -> str:
        """Return the key as one line of text. It is the secret itself: write it to a file that only its owner reads."""
        return to_line("device-private", "ed25519", self.raw, self.key_id)

    @classmethod
    def from_text(cls, text: str) -> DeviceSigningKey:
        """Read a key from its line. Raises: as ArchivePublicKey.from_text."""
        algorithm, raw, stated = from_line(text, "device-private")
        _only_ed25519(algorithm)
        return _matching(cls.from_raw(raw), stated, text)


def encrypt(plain: bytes, recipient: ArchivePublicKey, *, info: bytes) -> bytes:
    """Seal `plain` for the recipient.

    Args:
        plain: any bytes.
        info: what the text is bound to; opening needs the same bytes.

    Returns:
        Encapsulated key, ciphertext, tag: `sealed_bytes(suite, len(plain))` bytes.

    Raises:
        Unsupported: the installed `cryptography` can't do this suite.
        Corrupt: the recipient's 32 bytes are no usable key (a point of low order).
    """
    try:
        return _hpke(recipient.suite).encrypt(plain, _load_public(recipient), info=info)
    except ValueError as error:
        raise Corrupt(f"the archive key {recipient.key_id.hex()} is unusable: {error}") from error


def decrypt(sealed: bytes, private: ArchivePrivateKey, *, info: bytes) -> bytes:
    """Open what `encrypt` made.

    Raises:
        Corrupt: the text, the `info` or the key isn't the one it was sealed with.
        Unsupported: the installed `cryptography` can't do this suite.
    """
    from cryptography.exceptions import InvalidTag

    try:
        return _hpke(private.suite).decrypt(sealed, _load_private(private), info=info)
    except (InvalidTag, ValueError) as error:
        raise Corrupt("the sealed text doesn't authenticate: it, its header or the key were changed") from error


def _hpke(suite: Suite) -> hpke.Suite:
    from cryptography.hazmat.primitives import hpke

    _require(suite)
    kem = hpke.KEM.X25519 if suite is Suite.X25519 else hpke.KEM.MLKEM768_X25519
    return hpke.Suite(kem, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_128_GCM)


@cache
def is_available(suite: Suite) -> bool:
    """Tell whether the installed `cryptography` can do this suite (the hybrid needs OpenSSL 3.5 or later)."""
    if suite is Suite.X25519:
        return True
    from cryptography.hazmat.primitives import hpke

    if not hasattr(hpke.KEM, "MLKEM768_X25519"):
        return False
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import mlkem

    try:
        mlkem.MLKEM768PrivateKey.from_seed_bytes(bytes(64))
    except UnsupportedAlgorithm:
        return False
    return True


def _require(suite: Suite) -> None:
    if not is_available(suite):
        raise Unsupported(
            f"the installed `cryptography` can't do {_NAMES[suite]}: upgrade it, or use an archive key of suite x25519"
        )


def _load_public(key: ArchivePublicKey) -> x25519.X25519PublicKey | hpke.MLKEM768X25519PublicKey:
    from cryptography.hazmat.primitives import hpke
    from cryptography.hazmat.primitives.asymmetric import mlkem, x25519

    curve = x25519.X25519PublicKey.from_public_bytes(key.raw[-32:])
    if key.suite is Suite.X25519:
        return curve
    return hpke.MLKEM768X25519PublicKey(mlkem.MLKEM768PublicKey.from_public_bytes(key.raw[:-32]), curve)


def _load_private(key: ArchivePrivateKey) -> x25519.X25519PrivateKey | hpke.MLKEM768X25519PrivateKey:
    from cryptography.hazmat.primitives import hpke
    from cryptography.hazmat.primitives.asymmetric import mlkem, x25519

    curve = x25519.X25519PrivateKey.from_private_bytes(key.raw[-32:])
    if key.suite is Suite.X25519:
        return curve
    return hpke.MLKEM768X25519PrivateKey(mlkem.MLKEM768PrivateKey.from_seed_bytes(key.raw[:-32]), curve)


def _archive_public_of(suite: Suite, raw: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric import x25519

    curve = x25519.X25519PrivateKey.from_private_bytes(raw[-32:]).public_key().public_bytes_raw()
    if suite is Suite.X25519:
        return curve
    _require(suite)
    from cryptography.hazmat.primitives.asymmetric import mlkem

    return mlkem.MLKEM768PrivateKey.from_seed_bytes(raw[:-32]).public_key().public_bytes_raw() + curve


def _check_length(what: str, raw: bytes, wanted_bytes: int) -> None:
    if len(raw) != wanted_bytes:
        raise Corrupt(f"{what} has {len(raw)} bytes where {wanted_bytes} are needed")


def _suite_named(algorithm: str) -> Suite:
    if algorithm not in _SUITES:
        raise Unsupported(f"a key for {algorithm!r} is unknown to this build, which has {', '.join(_SUITES)}")
    return _SUITES[algorithm]


def _only_ed25519(algorithm: str) -> None:
    if algorithm != "ed25519":
        raise Unsupported(f"a device key for {algorithm!r} is unknown to this build, which has ed25519")


Key = TypeVar("Key", ArchivePublicKey, ArchivePrivateKey, DeviceVerifyKey, DeviceSigningKey)


def _matching(key: Key, stated: bytes, text: str) -> Key:
    if key.key_id != stated:
        raise Corrupt(f"the key's id is {key.key_id.hex()}, its line says {stated.hex()}: it was mistyped or changed")
    if key.to_text().split() != words_of(text):
        raise Corrupt("the key's line is spelt in another way than keys are written: it was mistyped or changed")
    return key
