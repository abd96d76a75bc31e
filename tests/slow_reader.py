"""A second reader of chunks, written from docs/format*.md alone: slow, plain, and without a line of `codec`.

`read(chunk, private_keys, device_key)` returns what the golden vectors' JSON holds. It checks little: that hostile bytes
do no harm is the codec's business; that the documents suffice is this one's. zstd, msgpack, video and the primitives of
cryptography come from libraries. The parts for events, rows and screenshots are in the modules beside it.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
import zlib
from typing import Any

import msgpack
import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.slow_bytes import Bytes
from tests.slow_events import slow_events, slow_rows
from tests.slow_screen import slow_frames


def read_chunk(chunk: bytes, private_keys: dict[bytes, bytes], device_key: bytes) -> bytes:
    """Return a chunk's body, after the CRC and the signature were checked."""
    assert chunk[:5] == b"\x8dMDC\1"
    assert struct.unpack_from("<I", chunk, 8)[0] == len(chunk)
    assert struct.unpack("<I", chunk[-4:])[0] == zlib.crc32(chunk[:-4])
    suite, start = chunk[5], 38 + chunk[7]
    assert chunk[30:38] == hashlib.sha256(device_key).digest()[:8]
    Ed25519PublicKey.from_public_bytes(device_key).verify(chunk[-68:-4], chunk[:-68])
    return unseal(suite, private_keys[chunk[22:30]], chunk[start:-68], b"modicum chunk v1\0" + chunk[:start])


def unseal(suite: int, private: bytes, sealed: bytes, info: bytes) -> bytes:
    """HPKE, base mode, by RFC 9180 sections 4.1 and 5.1."""
    curve = X25519PrivateKey.from_private_bytes(private[-32:])
    own = curve.public_key().public_bytes_raw()
    if suite == 1:
        enc, kem = sealed[:32], 0x0020
        label = b"KEM" + kem.to_bytes(2)
        prk = labeled_extract(b"", label, b"eae_prk", curve.exchange(X25519PublicKey.from_public_bytes(enc)))
        shared = labeled_expand(prk, label, b"shared_secret", enc + own, 32)
    else:
        enc, kem = sealed[:1120], 0x647A
        parts = MLKEM768PrivateKey.from_seed_bytes(private[:64]).decapsulate(enc[:1088])
        parts += curve.exchange(X25519PublicKey.from_public_bytes(enc[1088:])) + enc[1088:] + own
        shared = hashlib.sha3_256(parts + bytes.fromhex("5c2e2f2f5e5c")).digest()
    label = b"HPKE" + kem.to_bytes(2) + b"\0\1\0\1"
    context = b"\0" + labeled_extract(b"", label, b"psk_id_hash", b"") + labeled_extract(b"", label, b"info_hash", info)
    secret = labeled_extract(shared, label, b"secret", b"")
    key, nonce = (labeled_expand(secret, label, name, context, n) for name, n in ((b"key", 16), (b"base_nonce", 12)))
    return AESGCM(key).decrypt(nonce, sealed[len(enc) :], b"")


def labeled_extract(salt: bytes, suite: bytes, label: bytes, ikm: bytes) -> bytes:
    return hmac.digest(salt, b"HPKE-v1" + suite + label + ikm, "sha256")


def labeled_expand(prk: bytes, suite: bytes, label: bytes, info: bytes, n: int) -> bytes:
    return hmac.digest(prk, n.to_bytes(2) + b"HPKE-v1" + suite + label + info + b"\1", "sha256")[:n]


# ---- format.md: Body, Meta

META_KEYS = [
    "t0_ms",
    "wall_t0_ns",
    "duration_ms",
    "purposes",
    "consent",
    "expires_s",
    "region",
    "key_content",
    "agent",
    "lossy",
    "counters",
]
META_DEFAULTS = [None, None, None, [], b"", 0, "", "class", "modicum", [], {}]


def read_sections(body: bytes) -> dict[int, bytes]:
    """Return the contents of a body's sections by kind."""
    data, found = Bytes(body), {}
    assert data.u8() == 1
    for _ in range(data.u8()):
        kind, flags = data.u8(), data.u8()
        content = data.take(data.varint())
        assert kind in (1, 2, 3, 4) or not flags & 1
        found[kind] = zstandard.decompress(content) if flags & 2 else content
    assert data.at == len(body)
    return found


def read_meta(content: bytes) -> dict[str, Any]:
    fields = msgpack.unpackb(content, strict_map_key=False)
    return {name: plain(fields.get(key, META_DEFAULTS[key])) for key, name in enumerate(META_KEYS)}


def plain(value: Any) -> Any:
    return {"bytes": value.hex()} if isinstance(value, bytes) else value


def read(chunk: bytes, private_keys: dict[bytes, bytes], device_key: bytes) -> dict[str, Any]:
    """Return what the JSON beside a golden vector holds, with the frames as (t_ms, screen, BGR pictures)."""
    found = read_sections(read_chunk(chunk, private_keys, device_key))
    pointer, keys = slow_events(found.get(2, b"\0"))
    return {
        "meta": read_meta(found[1]),
        "pointer": columns(pointer, "t_ms kind x y"),
        "keys": columns(keys, "t_ms down code slot"),
        "rows": [
            [t, kind, {name: plain(value) for name, value in fields.items()}]
            for t, kind, fields in (slow_rows(found[3]) if 3 in found else [])
        ],
        "frames": list(slow_frames(found[4])) if 4 in found else [],
    }


def columns(events: list[Any], names: str) -> dict[str, list[Any]]:
    """Return events as columns."""
    return {name: [event[place] for event in events] for place, name in enumerate(names.split())}
