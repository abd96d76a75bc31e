"""Pure: what a device and the archive's side say to each other when the device enrols, renews or changes its key.

A request is signed by the device's signing key (it has it) and by what gives it the right: a one-time token's key, or the key
that is enrolled already. A reply names the request's digest and is signed by the fleet's authority (transport/authority.py). So
neither side has to trust who carries them, broker or file, and a replayed or changed message is worth nothing. Neither holds a
secret; what a token is on the archive's side is its public key, so that whoever reads the registry gains no token.

A token, `modicum-token-…`, is 16 random bytes, the seed of that key, and 16 bytes of the SHA-256 of the authority's certificate,
by which the device knows the authority's signature from a stranger's.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import zlib
from dataclasses import dataclass, field
from typing import Any

import msgpack

from codec.errors import CodecError
from codec.model import DEVICE_PATTERN
from codec.seal import SIGNATURE_BYTES, ArchivePublicKey, DeviceSigningKey, DeviceVerifyKey, Suite
from transport.errors import TransportError

VERSION = 1
MAX_MESSAGE_BYTES = 16 * 1024
"""A certificate has under 1 kB, a hybrid archive key 1.2 kB."""

SEED_BYTES = 16
PIN_BYTES = 16
NONCE_BYTES = 16
TOKEN_ID_BYTES = 8
TOKEN_PREFIX = "modicum-token-"  # noqa: S105 - the word, not a secret

REQUEST_MAGIC = b"\x8dMDQ"
REPLY_MAGIC = b"\x8dMDP"
OF_DEVICE = b"modicum enrolment, the device's key\0"
OF_RIGHT = b"modicum enrolment, what gives the right\0"
OF_AUTHORITY = b"modicum enrolment, the authority\0"
"""What is signed begins with who signs and for what, so that no signature can pass for another."""

ENROL_TOPIC = re.compile(r"modicum/v1/enrol/([0-9a-f]{16})/ask")
ASK_FILTER = "modicum/v1/enrol/+/ask"


class BadEnrolment(TransportError):
    """A request, a reply or a token is damaged, forged, or answers something else."""


@dataclass(frozen=True, slots=True)
class Token:
    """A one-time token. seed: the secret. pin: of the authority's certificate."""

    seed: bytes = field(repr=False)
    pin: bytes

    @property
    def key(self) -> DeviceSigningKey:
        """The key that signs what the token permits."""
        return DeviceSigningKey.from_raw(hashlib.sha256(b"modicum token\0" + self.seed).digest())

    @property
    def token_id(self) -> bytes:
        """What names it without telling it."""
        return self.key.key_id

    def to_text(self) -> str:
        """Return it as people pass it on."""
        raw = self.seed + self.pin
        checked = raw + zlib.crc32(raw).to_bytes(4, "big")
        return TOKEN_PREFIX + base64.b32encode(checked).decode().lower().rstrip("=")

    @classmethod
    def from_text(cls, text: str) -> Token:
        """Read a token.

        Raises:
            BadEnrolment: it is none, or was mistyped.
        """
        word = text.strip().lower()
        if not word.startswith(TOKEN_PREFIX):
            raise BadEnrolment(f"this is no token: it begins with {TOKEN_PREFIX!r}; `modicum keys token` prints one")
        letters = word.removeprefix(TOKEN_PREFIX).upper()
        try:
            checked = base64.b32decode(letters + "=" * (-len(letters) % 8))
        except binascii.Error:
            checked = b""
        raw, crc = checked[:-4], checked[-4:]
        sound = len(raw) == SEED_BYTES + PIN_BYTES and zlib.crc32(raw).to_bytes(4, "big") == crc
        token = cls(raw[:SEED_BYTES], raw[SEED_BYTES:])
        if not sound or token.to_text() != word:  # the last letter has bits that base32 ignores
            raise BadEnrolment("the token was mistyped or cut: copy it anew")
        return token


@dataclass(frozen=True, slots=True)
class Request:
    """What a device asks.

    Attributes:
        device: its pseudonym. key: the signing key that it wants enrolled, or has enrolled. made_s: the wall clock then.
        nonce: 16 random bytes. csr: PKCS#10, DER, of the client certificate it wants; b"": none.
        right: id of the key that gives the right: the token's, the enrolled one's; b"": none, a person accepts it by hand.
    """

    device: str
    key: DeviceVerifyKey
    made_s: int
    nonce: bytes
    csr: bytes = b""
    right: bytes = b""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came. body: what was signed. by_right: the signature of what gives the right (not checked yet)."""

    request: Request
    digest: bytes
    body: bytes
    by_right: bytes

    def has_right_of(self, key: DeviceVerifyKey) -> bool:
        """Tell whether this key gives it the right."""
        return key.key_id == self.request.right and key.verifies(self.by_right, OF_RIGHT + self.body)


@dataclass(frozen=True, slots=True)
class Reply:
    """What the archive's side answers.

    Attributes:
        asked: digest of the request. refusal: why not, in words; "": granted, and the rest holds.
        archive_key: what the device seals for. authority: the fleet's CA certificate, PEM. certificate: the device's, PEM.
        host, port, tls: the broker; host "": not told. reader: who reads the recordings, for the notice.
        answer_key: what the collectors' answers are signed by; None: they are not.
    """

    asked: bytes
    refusal: str = ""
    archive_key: ArchivePublicKey | None = None
    authority: bytes = b""
    certificate: bytes = b""
    host: str = ""
    port: int = 0
    tls: bool = False
    reader: str = ""
    answer_key: DeviceVerifyKey | None = None


def topic_of(request: bytes, what: str) -> str:
    """Return where a request is published ("ask") and where its reply comes ("told")."""
    return f"modicum/v1/enrol/{name_of(request)}/{what}"


def name_of(request: bytes) -> str:
    """Return the name under which a request goes: its client id at the broker, too. Nobody can guess it."""
    return hashlib.sha256(request).hexdigest()[:16]


def pack_request(request: Request, signer: DeviceSigningKey, right: DeviceSigningKey | None) -> bytes:
    """Return a request, signed. signer: of request.key. right: see Request.right."""
    if right is not None and right.key_id != request.right:
        raise ValueError("the request names another key as its right")
    body = bytes(
        msgpack.packb(
            {
                "v": VERSION,
                "d": request.device,
                "k": request.key.raw,
                "t": request.made_s,
                "n": request.nonce,
                "c": request.csr,
                "r": request.right,
            }
        )
    )
    by_right = right.sign(OF_RIGHT + body) if right is not None else b""
    return REQUEST_MAGIC + bytes(msgpack.packb([body, signer.sign(OF_DEVICE + body), by_right]))


def parse_request(data: bytes) -> Asked:
    """Return the request in a message, once the device's own signature over it is checked.

    Raises:
        BadEnrolment: it is none, or not signed by the key it names.
    """
    body, by_device, by_right = _parts(data, REQUEST_MAGIC, 3, "an enrolment request")
    fields = _fields(body)
    try:
        request = Request(
            _text(fields["d"], 32),
            DeviceVerifyKey(_bytes(fields["k"], 32)),
            _number(fields["t"], 40),
            _bytes(fields["n"], NONCE_BYTES),
            _bytes(fields["c"], None),
            _bytes(fields["r"], None),
        )
    except (KeyError, ValueError, TypeError, CodecError) as error:
        raise BadEnrolment(f"the enrolment request cannot be read ({type(error).__name__}: {error})") from error
    if not DEVICE_PATTERN.fullmatch(request.device):
        raise BadEnrolment(f"{request.device!r} is no device's pseudonym")
    if not request.key.verifies(by_device, OF_DEVICE + body):
        raise BadEnrolment("the enrolment request is not signed by the key that it names: it was forged or changed")
    return Asked(request, hashlib.sha256(data).digest(), body, by_right)


def pack_reply(reply: Reply) -> bytes:
    """Return a reply's body, which the authority signs (OF_AUTHORITY + body); `join_reply` joins both."""
    key = reply.archive_key
    return bytes(
        msgpack.packb(
            {
                "v": VERSION,
                "q": reply.asked,
                "x": reply.refusal,
                "a": [int(key.suite), key.raw] if key is not None else [],
                "ca": reply.authority,
                "ce": reply.certificate,
                "h": reply.host,
                "p": reply.port,
                "s": reply.tls,
                "w": reply.reader,
                "k": reply.answer_key.raw if reply.answer_key is not None else b"",
            }
        )
    )


def join_reply(body: bytes, signature: bytes) -> bytes:
    """Return a whole reply."""
    return REPLY_MAGIC + bytes(msgpack.packb([body, signature]))


def split_reply(data: bytes) -> tuple[Reply, bytes, bytes]:
    """Return a reply, what was signed of it, and the signature, which the caller checks by `reply.authority`, once it trusts that.

    Raises:
        BadEnrolment: it is none.
    """
    body, signature = _parts(data, REPLY_MAGIC, 2, "an answer to an enrolment")
    fields = _fields(body)
    try:
        suite_and_key = fields["a"]
        key = ArchivePublicKey(Suite(suite_and_key[0]), _bytes(suite_and_key[1], None)) if suite_and_key else None
        answer_key = _bytes(fields["k"], None)
        reply = Reply(
            _bytes(fields["q"], 32),
            _text(fields["x"], 500),
            key,
            _bytes(fields["ca"], None),
            _bytes(fields["ce"], None),
            _text(fields["h"], 255),
            _number(fields["p"], 16),
            fields["s"] is True,
            _text(fields["w"], 200),
            DeviceVerifyKey(answer_key) if answer_key else None,
        )
    except (KeyError, ValueError, TypeError, IndexError, CodecError) as error:
        raise BadEnrolment(f"the answer cannot be read ({type(error).__name__}: {error})") from error
    return reply, OF_AUTHORITY + body, signature


def to_armor(data: bytes, kind: str) -> str:
    """Return a message as text that survives mail and clipboards. kind: "request" or "reply"."""
    text = base64.b64encode(data).decode()
    lines = [text[start : start + 76] for start in range(0, len(text), 76)]
    return "\n".join([f"-----BEGIN MODICUM {kind.upper()}-----", *lines, f"-----END MODICUM {kind.upper()}-----", ""])


def from_armor(text: str, kind: str) -> bytes:
    """Return the message in a text.

    Raises:
        BadEnrolment: there is none of this kind.
    """
    if len(text) > 4 * MAX_MESSAGE_BYTES:
        raise BadEnrolment(f"this is far longer than an enrolment's {kind}")
    name = re.escape(kind.upper())
    found = re.search(rf"-----BEGIN MODICUM {name}-----([A-Za-z0-9+/=\s]*)-----END MODICUM {name}-----", text)
    try:
        return base64.b64decode("".join(found[1].split()), validate=True) if found else _none(kind)
    except binascii.Error as error:
        raise BadEnrolment(f"the {kind} was cut or changed: copy it anew") from error


def _none(kind: str) -> bytes:
    raise BadEnrolment(f"there is no modicum {kind} in this text: give the whole file")


def _parts(data: bytes, magic: bytes, count: int, what: str) -> list[bytes]:
    if len(data) > MAX_MESSAGE_BYTES:
        raise BadEnrolment(f"{len(data):,} bytes are far more than {what} has")
    try:
        parts = msgpack.unpackb(data[len(magic) :], max_array_len=4, max_map_len=0, max_ext_len=0)
    except (ValueError, msgpack.UnpackException):
        parts = None
    sound = isinstance(parts, list) and len(parts) == count and all(type(part) is bytes for part in parts)
    if data[: len(magic)] != magic or not sound:
        raise BadEnrolment(f"this is not {what}")
    if len(parts[-1]) not in (0, SIGNATURE_BYTES) and magic == REQUEST_MAGIC:
        raise BadEnrolment(f"this is not {what}: its signature has a wrong length")
    return list(parts)


def _fields(body: bytes) -> dict[str, Any]:
    try:
        fields = msgpack.unpackb(body, max_map_len=32, max_array_len=4, max_ext_len=0)
        if fields["v"] != VERSION:
            raise BadEnrolment(f"the message is of version {fields['v']!r}, this build reads {VERSION}: upgrade it")
    except (ValueError, KeyError, TypeError, msgpack.UnpackException) as error:
        raise BadEnrolment(f"the message cannot be read ({type(error).__name__})") from error
    return dict(fields)


def _bytes(value: object, size_bytes: int | None) -> bytes:
    if type(value) is not bytes or (size_bytes is not None and len(value) != size_bytes):
        raise ValueError("bytes of a wrong length")
    return value


def _text(value: object, most: int) -> str:
    if type(value) is not str or len(value) > most or not value.isprintable():
        raise ValueError("no plain text, or too long")
    return value


def _number(value: object, bits: int) -> int:
    if type(value) is not int or not 0 <= value < 1 << bits:
        raise ValueError("a number out of range")
    return value
