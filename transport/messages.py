"""Pure: topics, and the collector's answer to a device.

An answer goes to `modicum/v1/<device>/ack`, as msgpack:

    {"v": 1, "e": epoch, "a": [[seq, digest], …], "n": [[digest, code, retry_s], …], "d": [digest, …]}

`a` names archived chunks; `digest` is the first 8 bytes of the SHA-256 of what is in the archive, so that a device frees only
what really lies there. `n` names payloads that were refused, by digest alone, since a malformed one has no readable id. `d` (left
away when empty) names payloads that were no chunks, a tombstone for one, and were carried out.
Answers are idempotent; one that gets lost makes the device send again, and the collector answer again.

Where the collectors have a key for it, an answer is signed, with the device's name: `8D 4D 44 41`, the Ed25519 signature (64
bytes) over "modicum answer", 00, the device's name, 00 and the msgpack, and then the msgpack. A device that knows the key takes
no other answer: then not even the broker's owner can make it throw something away. An old answer, replayed, says what is so
anyway: it names chunks by the digest of their bytes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum

import msgpack

from codec.model import DEVICE_PATTERN
from codec.seal import SIGNATURE_BYTES, DeviceSigningKey, DeviceVerifyKey
from transport.errors import TransportError

VERSION = 1
DIGEST_BYTES = 8
MAX_ANSWER_BYTES = 64 * 1024
MAX_ANSWERED = 1024
"""Chunks in one answer; limits on what is accepted from the network."""

SIGNED_MAGIC = b"\x8dMDA"
SIGNED_PREFIX = b"modicum answer\0"

UP = "up"
ACK = "ack"
_UP_TOPIC = re.compile(r"modicum/v1/([a-z0-9-]{4,32})/up")


class Malformed(TransportError):
    """A message is not what its topic promises: count it and go on."""


class Unsigned(Malformed):
    """An answer is not signed by the collectors: somebody else has answered."""


class NackCode(IntEnum):
    """Why a payload was not taken. The device gives the chunk up, but for those in KEPT.

    A code that this build does not know means LATER to it: nothing is given up for a reason that nobody here can read.
    """

    TOO_LARGE = 1
    BAD_SIGNATURE = 2
    UNKNOWN_KEY = 3
    ERASED = 4  # its owner had it erased: it is not to come back
    LATER = 5  # the archive cannot take it now
    MALFORMED = 6
    WRONG_DEVICE = 7  # the topic names another device than the chunk
    CONFLICT = 8  # the archive holds something else under this id
    REVOKED = 9  # the archive's owner has ended what this device, or this key of it, may do
    EXPIRED = 10  # the day is over until which it might be kept

    @classmethod
    def _missing_(cls, value: object) -> NackCode | None:
        return cls.LATER if type(value) is int and 0 < value < 1 << 16 else None


KEPT = frozenset({NackCode.LATER, NackCode.UNKNOWN_KEY, NackCode.REVOKED})
"""Whoever runs the archive can undo these (enrol the device, lift the revocation): the device keeps the chunk and asks again."""

GONE = frozenset({NackCode.ERASED, NackCode.EXPIRED})
"""Nothing of such a chunk may be kept, not even in the quarantine."""


@dataclass(frozen=True, slots=True)
class Nack:
    """A refusal. digest: of the refused bytes. code: why. retry_s: for LATER, when to try again."""

    digest: bytes
    code: NackCode
    retry_s: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a collector tells a device. epoch: of `acks`. acks: (seq, digest). nacks: refusals. done: digests, see the module."""

    epoch: int
    acks: tuple[tuple[int, bytes], ...] = ()
    nacks: tuple[Nack, ...] = ()
    done: tuple[bytes, ...] = ()


def up_topic(device: str) -> str:
    """Return where a device publishes its chunks."""
    return f"modicum/v1/{device}/{UP}"


def ack_topic(device: str) -> str:
    """Return where a device is answered."""
    return f"modicum/v1/{device}/{ACK}"


def up_filter(*, group: str | None) -> str:
    """Return what a collector subscribes to. group: of collectors that share the work (MQTT 5), None = alone."""
    topic = f"modicum/v1/+/{UP}"
    return f"$share/{group}/{topic}" if group else topic


def device_of(topic: str) -> str | None:
    """Return whose up-topic this is, or None when it is not one."""
    match = _UP_TOPIC.fullmatch(topic)
    return match.group(1) if match and DEVICE_PATTERN.fullmatch(match.group(1)) else None


def digest_of(chunk: bytes) -> bytes:
    """Return the digest by which answers name a chunk's bytes."""
    return hashlib.sha256(chunk).digest()[:DIGEST_BYTES]


def pack_answer(answer: Answer) -> bytes:
    """Return an answer's payload."""
    fields: dict[str, object] = {
        "v": VERSION,
        "e": answer.epoch,
        "a": [[seq, digest] for seq, digest in answer.acks],
        "n": [[nack.digest, int(nack.code), nack.retry_s] for nack in answer.nacks],
    }
    if answer.done:
        fields["d"] = list(answer.done)
    return bytes(msgpack.packb(fields))


def sign_answer(payload: bytes, device: str, signer: DeviceSigningKey) -> bytes:
    """Return an answer's payload, signed for a device."""
    return SIGNED_MAGIC + signer.sign(_signed(payload, device)) + payload


def _signed(payload: bytes, device: str) -> bytes:
    return SIGNED_PREFIX + device.encode("ascii") + b"\0" + payload


def parse_answer(payload: bytes, device: str = "", keys: Collection[DeviceVerifyKey] = ()) -> Answer:
    """Return the answer in a payload.

    Args:
        payload: as it came. device: who it came to. keys: one of which has to have signed it; none: it need not be signed.

    Raises:
        Malformed: it is not one, or is over a limit. Unsigned: it is not signed by any of the keys.
    """
    if len(payload) > MAX_ANSWER_BYTES:
        raise Malformed(f"an answer of {len(payload):,} bytes is over the limit of {MAX_ANSWER_BYTES:,}")
    signature = b""
    if payload[: len(SIGNED_MAGIC)] == SIGNED_MAGIC:
        start = len(SIGNED_MAGIC) + SIGNATURE_BYTES
        signature, payload = payload[len(SIGNED_MAGIC) : start], payload[start:]
    if keys and not any(key.verifies(signature, _signed(payload, device)) for key in keys):
        raise Unsigned("an answer that no collector has signed")
    try:
        fields = msgpack.unpackb(payload, max_array_len=MAX_ANSWERED, max_map_len=16, max_str_len=64, max_ext_len=0)
        if fields["v"] != VERSION:
            raise Malformed(f"an answer of version {fields['v']!r}, not {VERSION}")
        acks = tuple((_number(seq, 32), _digest(digest)) for seq, digest in fields["a"])
        nacks = tuple(
            Nack(_digest(digest), NackCode(code), _number(retry_s, 31)) for digest, code, retry_s in fields["n"]
        )
        done = tuple(map(_digest, fields.get("d", ())))
        return Answer(_number(fields["e"], 32), acks, nacks, done)
    except (ValueError, TypeError, KeyError, msgpack.UnpackException) as error:
        raise Malformed(f"not an answer: {error}") from error


def _number(value: object, bits: int) -> int:
    if type(value) is not int or not 0 <= value < 1 << bits:
        raise ValueError("a number out of range")
    return value


def _digest(value: object) -> bytes:
    if type(value) is not bytes or len(value) != DIGEST_BYTES:
        raise ValueError("a digest of the wrong size")
    return value
