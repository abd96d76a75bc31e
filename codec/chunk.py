"""Pure: the container: what a chunk shows to all, what it hides, and what is inside. docs/format.md has every byte.

A chunk is a header in clear, a sealed body, the device's signature over both, and a CRC-32 over all of that. The
header is what routing, dropping and erasing need; the body is a list of sections (meta, events, rows, screen), each
compressed by its own codec.

Guaranteed: every proper prefix raises Truncated; every changed byte raises; every length is checked before memory is
taken. `parse_header` needs no key and no cryptography, and finds damage in chunks of unknown versions, too.
Not guaranteed by `open_chunk`: who wrote the chunk. That is `verify_chunk`, which needs the device's public key.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from codec import seal
from codec.errors import Corrupt, Denied, TooLarge, Truncated, Unsupported
from codec.model import DEVICE_PATTERN, ChunkId, KeyEvents, Meta, PointerEvents, Row
from codec.seal import ArchivePublicKey, DeviceSigningKey, DeviceVerifyKey, KeyRing, Suite
from codec.sections import Section, SectionFlag, SectionKind, decode_sections, encode_sections

MAGIC = b"\x8dMDC"
"""The first byte is no ASCII and no start of UTF-8, so that no text is taken for a chunk."""
VERSION = 1
INFO_PREFIX = b"modicum chunk v1\0"
SECONDS_PER_DAY = 86_400

# Limits. Each is checked before the memory is taken.
MAX_CHUNK_BYTES = 8 << 20
"""15 min of screenshots every 2 s are 3.8 MB on the fast rung: twice that. A broker still takes it in one message."""
MAX_DEVICE_BYTES = 32
MIN_DEVICE_BYTES = 4
MAX_EXPIRES_DAY = 0xFFFF
"""2149-06-06."""

_FIXED = struct.Struct("<4sBBBBIIIH8s8s")
"""magic, version, suite, value, device bytes, chunk bytes, epoch, seq, expires day, archive key id, signer id."""
FIXED_BYTES = _FIXED.size
_ENVELOPE = struct.Struct("<4sBxxxI")
"""What every version has: magic, version, the whole chunk's length, and the CRC-32 as the last four bytes."""
_CRC = struct.Struct("<I")
TRAILER_BYTES = seal.SIGNATURE_BYTES + _CRC.size
MIN_CHUNK_BYTES = FIXED_BYTES + MIN_DEVICE_BYTES + seal.TAG_BYTES + TRAILER_BYTES


@dataclass(frozen=True, slots=True)
class Header:
    """What a chunk shows to all who carry it.

    Attributes:
        version: of the format.
        suite: how the body is sealed, a `seal.Suite` or an unknown number: a carrier needn't know it.
        value: 0-255, how late to drop it when space is short: 0 screenshots, 100 motion, 200 clicks and selections.
        chunk_id: who wrote it, and which it is.
        expires_day: the day (since 1970, UTC) from whose start on it may not be kept; 0: no such day.
        key_id: of the archive's key that it is sealed for (8 bytes).
        signer_id: of the device's key that signed it (8 bytes).
        chunk_bytes: the whole length.
    """

    version: int
    suite: int
    value: int
    chunk_id: ChunkId
    expires_day: int
    key_id: bytes
    signer_id: bytes
    chunk_bytes: int

    @property
    def header_bytes(self) -> int:
        """The length of the part in clear; the sealed body begins here."""
        return FIXED_BYTES + len(self.chunk_id.device)

    @property
    def sealed_bytes(self) -> int:
        """The length of the sealed body."""
        return self.chunk_bytes - self.header_bytes - TRAILER_BYTES

    def has_expired(self, now_s: int) -> bool:
        """Tell whether the chunk may no longer be kept at `now_s` (wall seconds since 1970)."""
        return self.expires_day != 0 and now_s >= self.expires_day * SECONDS_PER_DAY

    def pack(self) -> bytes:
        """Return the header's bytes."""
        device = self.chunk_id.device.encode("ascii")
        return (
            _FIXED.pack(
                MAGIC,
                self.version,
                self.suite,
                self.value,
                len(device),
                self.chunk_bytes,
                self.chunk_id.epoch,
                self.chunk_id.seq,
                self.expires_day,
                self.key_id,
                self.signer_id,
            )
            + device
        )


def parse_header(chunk: bytes) -> Header:
    """Check that a chunk is whole and undamaged, and return its header. Needs no key.

    Args:
        chunk: exactly one chunk.

    Raises:
        Truncated: it ends too early.
        Corrupt: it is no chunk, or was damaged, or more follows it.
        TooLarge: its length is over MAX_CHUNK_BYTES.
        Unsupported: whole and undamaged, but of a newer version. It may still be carried and kept as it is.
    """
    version = _check_envelope(chunk)
    if version != VERSION:
        raise Unsupported(
            f"the chunk is of format version {version}, this build reads version {VERSION}: upgrade the reader"
        )
    if len(chunk) < MIN_CHUNK_BYTES:
        raise Corrupt(
            f"the chunk says it is {len(chunk)} bytes long, the shortest possible is {MIN_CHUNK_BYTES}", offset=8
        )
    _, _, suite, value, device_bytes, chunk_bytes, epoch, seq, expires_day, key_id, signer_id = _FIXED.unpack_from(
        chunk
    )
    if not MIN_DEVICE_BYTES <= device_bytes <= MAX_DEVICE_BYTES:
        raise Corrupt(f"the device's name is {device_bytes} bytes long", offset=7)
    device = chunk[FIXED_BYTES : FIXED_BYTES + device_bytes].decode("latin-1")
    if not DEVICE_PATTERN.fullmatch(device):
        raise Corrupt(f"the device's name {device!r} has other characters than [a-z0-9-]", offset=FIXED_BYTES)
    header = Header(version, suite, value, ChunkId(device, epoch, seq), expires_day, key_id, signer_id, chunk_bytes)
    if suite == 0:
        raise Corrupt("the chunk says that it isn't sealed", offset=5)
    least_bytes = seal.sealed_bytes(Suite(suite), 0) if suite in seal.SUITE_SIZES else seal.TAG_BYTES
    if header.sealed_bytes < least_bytes:
        raise Corrupt(f"the sealed body has {header.sealed_bytes} bytes, fewer than its seal's {least_bytes}", offset=8)
    return header


PEEKED_BYTES = FIXED_BYTES + MAX_DEVICE_BYTES
"""What `peek_header` needs of a chunk."""


def peek_header(start: bytes) -> Header | None:
    """Return a header from a chunk's first bytes, unchecked: for looking at many chunks without reading them.

    Damage goes unnoticed here: before anything is done that can't be undone, `parse_header` has to look at the whole.

    Args:
        start: at least the first PEEKED_BYTES bytes, or the whole chunk.

    Returns:
        The header; None: this is no chunk of a version that this build reads.
    """
    if len(start) < FIXED_BYTES or start[:5] != MAGIC + bytes((VERSION,)):
        return None
    _, _, suite, value, device_bytes, chunk_bytes, epoch, seq, expires_day, key_id, signer_id = _FIXED.unpack_from(
        start
    )
    device = start[FIXED_BYTES : FIXED_BYTES + device_bytes].decode("latin-1")
    if not DEVICE_PATTERN.fullmatch(device):
        return None
    return Header(VERSION, suite, value, ChunkId(device, epoch, seq), expires_day, key_id, signer_id, chunk_bytes)


def _check_envelope(chunk: bytes) -> int:
    """Check what all versions share, and return the version."""
    if chunk[:4] != MAGIC[: len(chunk)]:
        raise Corrupt("this is no chunk: it doesn't begin with its magic", offset=0)
    if len(chunk) < _ENVELOPE.size:
        raise Truncated("a chunk's header", offset=len(chunk), wanted_bytes=_ENVELOPE.size - len(chunk))
    version: int
    chunk_bytes: int
    _, version, chunk_bytes = _ENVELOPE.unpack_from(chunk)
    if chunk_bytes > MAX_CHUNK_BYTES:
        raise TooLarge("a chunk's length in bytes", actual=chunk_bytes, limit=MAX_CHUNK_BYTES)
    if chunk_bytes < _ENVELOPE.size + _CRC.size:
        raise Corrupt(f"the chunk says it is {chunk_bytes} bytes long", offset=8)
    if len(chunk) < chunk_bytes:
        raise Truncated("a chunk", offset=len(chunk), wanted_bytes=chunk_bytes - len(chunk))
    if len(chunk) > chunk_bytes:
        raise Corrupt(f"{len(chunk) - chunk_bytes} bytes follow the chunk", offset=chunk_bytes)
    (stated,) = _CRC.unpack_from(chunk, chunk_bytes - _CRC.size)
    if zlib.crc32(memoryview(chunk)[: -_CRC.size]) != stated:
        raise Corrupt("the chunk's CRC-32 doesn't match: it was damaged on its way or on its disk")
    return version


def seal_chunk(
    chunk_id: ChunkId,
    body_bytes: bytes,
    *,
    recipient: ArchivePublicKey,
    signer: DeviceSigningKey,
    expires_s: int,
    value: int,
) -> bytes:
    """Seal a body for an archive and sign it as a device.

    Args:
        chunk_id: never used for another body.
        body_bytes: what `encode_body` returned.
        recipient: the archive's key. signer: the device's.
        expires_s: as in Meta; kept as whole days, rounded towards the earlier. 0: no expiry.
        value: 0-255, see Header.

    Returns:
        The chunk.

    Raises:
        ValueError: an argument is outside its range.
        TooLarge: the chunk would be over MAX_CHUNK_BYTES: close chunks earlier.
        Unsupported: the installed `cryptography` can't do the recipient's suite.
    """
    if not DEVICE_PATTERN.fullmatch(chunk_id.device):
        raise ValueError(f"the device's name must be 4-32 of [a-z0-9-], not {chunk_id.device!r}")
    if not (0 <= chunk_id.epoch < 1 << 32 and 0 <= chunk_id.seq < 1 << 32):
        raise ValueError(f"epoch and sequence must fit 32 bits: {chunk_id}")
    if not 0 <= value <= 255:
        raise ValueError(f"value must be within 0-255, not {value}")
    expires_day = expires_s // SECONDS_PER_DAY
    if not 0 <= expires_day <= MAX_EXPIRES_DAY or (expires_s != 0 and expires_day == 0):
        raise ValueError(f"expires_s must be 0 or within 1970-01-02 and 2149-06-06, not {expires_s}")
    suite = recipient.suite
    sealed_bytes = seal.sealed_bytes(suite, len(body_bytes))
    chunk_bytes = FIXED_BYTES + len(chunk_id.device) + sealed_bytes + TRAILER_BYTES
    if chunk_bytes > MAX_CHUNK_BYTES:
        raise TooLarge("a chunk's length in bytes", actual=chunk_bytes, limit=MAX_CHUNK_BYTES)
    header = Header(VERSION, suite, value, chunk_id, expires_day, recipient.key_id, signer.key_id, chunk_bytes).pack()
    signed = header + seal.encrypt(body_bytes, recipient, info=INFO_PREFIX + header)
    whole = signed + signer.sign(signed)
    return whole + _CRC.pack(zlib.crc32(whole))


def verify_chunk(chunk: bytes, device_key: DeviceVerifyKey) -> Header:
    """Check that a chunk is whole and was signed by a device's key; return its header.

    Whose key it is, is the caller's to know: take the key that was enrolled for `header.chunk_id.device`.

    Raises:
        Denied: signed by another key than this one.
        Corrupt: the signature is false.
        Truncated, TooLarge, Unsupported: as parse_header.
    """
    header = parse_header(chunk)
    if header.signer_id != device_key.key_id:
        raise Denied(
            f"chunk {header.chunk_id} was signed by key {header.signer_id.hex()}, not by {device_key.key_id.hex()}: "
            "enrol the device's key, or its new one"
        )
    end = header.header_bytes + header.sealed_bytes
    if not device_key.verifies(chunk[end : end + seal.SIGNATURE_BYTES], chunk[:end]):
        raise Corrupt(f"the signature of chunk {header.chunk_id} is false: it was forged or changed", offset=end)
    return header


def open_chunk(chunk: bytes, ring: KeyRing) -> tuple[Header, bytes]:
    """Open a chunk's seal; return its header and its body. Doesn't check who signed it: see verify_chunk.

    Args:
        chunk: exactly one chunk. ring: the archive's private key, or several.

    Raises:
        Denied: it is sealed for another key.
        Corrupt: the header or the body were changed.
        Unsupported: of a newer version or an unknown suite.
        Truncated, TooLarge: as parse_header.
    """
    header = parse_header(chunk)
    if header.suite not in seal.SUITE_SIZES:
        raise Unsupported(
            f"chunk {header.chunk_id} is sealed by suite {header.suite}, which this build doesn't know: upgrade it"
        )
    private = ring.key_for(header.key_id)
    if header.suite != private.suite:
        raise Denied(
            f"chunk {header.chunk_id} is sealed by suite {header.suite}, and its key is of suite {private.suite}"
        )
    start = header.header_bytes
    body = seal.decrypt(chunk[start : start + header.sealed_bytes], private, info=INFO_PREFIX + chunk[:start])
    return header, body


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """What a chunk holds.

    Attributes:
        meta: what it says of itself.
        pointer, keys, rows: the events, in the source's order.
        screen: the section of the screenshots, which `codec.screen.decode_frames` reads; b"": none.
    """

    meta: Meta
    pointer: PointerEvents
    keys: KeyEvents
    rows: list[Row]
    screen: bytes = b""


def encode_body(body: Body) -> bytes:
    """Return the bytes to seal. Empty parts take none.

    Raises:
        ValueError: a field of Meta is outside its range.
    """
    from codec.meta import encode_meta

    content, is_zstd = encode_meta(body.meta)
    sections = [Section(SectionKind.META, content, SectionFlag.ZSTD if is_zstd else SectionFlag.NONE)]
    if len(body.pointer) or len(body.keys):
        from codec.events import encode_events

        sections.append(Section(SectionKind.EVENTS, encode_events(body.pointer, body.keys)))
    if body.rows:
        from codec.rows import encode_rows

        sections.append(Section(SectionKind.ROWS, encode_rows(body.rows)))
    if body.screen:
        sections.append(Section(SectionKind.SCREEN, body.screen))
    return encode_sections(sections)


def decode_body(data: bytes) -> Body:
    """Return what a body's bytes hold; the screenshots stay encoded.

    Raises:
        Truncated, Corrupt, TooLarge: the bytes end too early, contradict themselves, or state too much.
        Unsupported: of a newer version, or with a critical section that this build doesn't know.
    """
    from codec.meta import decode_meta

    sections = decode_sections(data)
    if not sections or sections[0].kind != SectionKind.META:
        raise Corrupt("a chunk's body doesn't begin with its Meta", offset=2)
    meta = decode_meta(sections[0].content, is_zstd=SectionFlag.ZSTD in sections[0].flags)
    found = {section.kind: section.content for section in sections}
    pointer, keys, rows = PointerEvents.empty(), KeyEvents.empty(), list[Row]()
    if SectionKind.EVENTS in found:
        from codec.events import decode_events

        pointer, keys = decode_events(found[SectionKind.EVENTS])
    if SectionKind.ROWS in found:
        from codec.rows import decode_rows

        rows = decode_rows(found[SectionKind.ROWS])
    return Body(meta, pointer, keys, rows, found.get(SectionKind.SCREEN, b""))
