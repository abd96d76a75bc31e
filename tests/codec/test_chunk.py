"""The container: what is in clear, what is sealed, and that no damage passes."""

from __future__ import annotations

import struct
import subprocess
import sys
import time
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec import chunk as chunks
from codec import seal
from codec.chunk import Body, Header, decode_body, encode_body, open_chunk, parse_header, seal_chunk, verify_chunk
from codec.errors import CodecError, Corrupt, Denied, TooLarge, Truncated, Unsupported
from codec.model import ChunkId, KeyEvents, Meta, PointerEvents
from codec.seal import ArchivePrivateKey, DeviceSigningKey, Suite

ARCHIVE = ArchivePrivateKey.from_raw(Suite.X25519, bytes(range(32)))
DEVICE = DeviceSigningKey.from_raw(bytes(range(32, 64)))
ID = ChunkId("d-0123456789abcd", 0x1234_5678, 42)
BODY = b"any bytes: the container doesn't look at them"
DAY = 86_400


def sealed(
    body: bytes = BODY,
    *,
    chunk_id: ChunkId = ID,
    expires_s: int = 20_000 * DAY,
    value: int = 200,
    archive: ArchivePrivateKey = ARCHIVE,
) -> bytes:
    return seal_chunk(chunk_id, body, recipient=archive.public, signer=DEVICE, expires_s=expires_s, value=value)


def with_crc(whole: bytes) -> bytes:
    """Return a changed chunk as a forger sends it: with a CRC that fits."""
    return whole[:-4] + struct.pack("<I", zlib.crc32(whole[:-4]))


CHUNK = sealed()


@given(
    device=st.from_regex(r"[a-z0-9-]{4,32}", fullmatch=True),
    epoch=st.integers(0, 2**32 - 1),
    seq=st.integers(0, 2**32 - 1),
    body=st.binary(max_size=300),
    value=st.integers(0, 255),
    day=st.integers(0, 0xFFFF),
)
def test_a_sealed_chunk_opens_to_what_was_sealed(
    device: str, epoch: int, seq: int, body: bytes, value: int, day: int
) -> None:
    chunk_id = ChunkId(device, epoch, seq)
    chunk = sealed(body, chunk_id=chunk_id, expires_s=day * DAY, value=value)
    header, opened = open_chunk(chunk, ARCHIVE)
    assert opened == body
    assert header == parse_header(chunk) == verify_chunk(chunk, DEVICE.public)
    assert header == Header(1, 1, value, chunk_id, day, ARCHIVE.key_id, DEVICE.key_id, len(chunk))


@pytest.mark.parametrize(
    "reader", [parse_header, lambda c: open_chunk(c, ARCHIVE), lambda c: verify_chunk(c, DEVICE.public)]
)
def test_every_proper_prefix_is_truncated(reader: object) -> None:
    for end in range(len(CHUNK)):
        with pytest.raises(Truncated):
            reader(CHUNK[:end])  # type: ignore[operator]


def test_every_changed_byte_is_noticed_without_any_key() -> None:
    for place in range(len(CHUNK)):
        for change in (0x01, 0x80, 0xFF):
            changed = bytearray(CHUNK)
            changed[place] ^= change
            with pytest.raises(CodecError):
                parse_header(bytes(changed))


def test_every_byte_that_a_forger_changes_is_noticed_by_the_signature() -> None:
    for place in range(len(CHUNK) - 4):
        changed = bytearray(CHUNK)
        changed[place] ^= 0x01
        with pytest.raises(CodecError):
            verify_chunk(with_crc(bytes(changed)), DEVICE.public)


def test_every_byte_of_header_and_body_that_a_forger_changes_is_noticed_at_opening() -> None:
    for place in range(len(CHUNK) - chunks.TRAILER_BYTES):
        changed = bytearray(CHUNK)
        changed[place] ^= 0x01
        with pytest.raises(CodecError):
            open_chunk(with_crc(bytes(changed)), ARCHIVE)


@given(st.binary(max_size=400))
def test_any_bytes_raise_what_the_codec_raises(data: bytes) -> None:
    for case in (
        data,
        chunks.MAGIC + data,
        with_crc(chunks.MAGIC + b"\x01\x01\x00\x10" + struct.pack("<I", len(data) + 12) + data + bytes(4)),
    ):
        with pytest.raises(CodecError):
            open_chunk(case, ARCHIVE)


def test_what_follows_a_chunk_is_corrupt() -> None:
    with pytest.raises(Corrupt, match="1 bytes follow the chunk"):
        parse_header(CHUNK + b"\0")


def test_a_stated_length_over_the_limit_is_refused() -> None:
    with pytest.raises(TooLarge) as raised:
        parse_header(CHUNK[:8] + b"\xff\xff\xff\xff" + CHUNK[12:])
    assert raised.value.limit == chunks.MAX_CHUNK_BYTES


def test_a_body_over_the_limit_is_not_sealed() -> None:
    with pytest.raises(TooLarge):
        sealed(bytes(chunks.MAX_CHUNK_BYTES - 100))


def test_a_newer_version_is_unsupported_when_whole_and_corrupt_when_damaged() -> None:
    newer = with_crc(CHUNK[:4] + b"\x02" + CHUNK[5:])
    with pytest.raises(Unsupported, match="version 2"):
        parse_header(newer)
    with pytest.raises(Corrupt):
        parse_header(newer[:100] + b"\xff\xff" + newer[102:])
    with pytest.raises(Truncated):
        parse_header(newer[:-1])


def test_an_unknown_suite_can_be_carried_and_verified_but_not_opened() -> None:
    unsigned = CHUNK[:5] + b"\x09" + CHUNK[6 : -chunks.TRAILER_BYTES]
    other = with_crc(unsigned + DEVICE.sign(unsigned) + bytes(4))
    assert verify_chunk(other, DEVICE.public).suite == 9
    with pytest.raises(Unsupported, match="suite 9"):
        open_chunk(other, ARCHIVE)


def test_a_chunk_that_says_it_is_not_sealed_is_corrupt() -> None:
    with pytest.raises(Corrupt, match="isn't sealed"):
        parse_header(with_crc(CHUNK[:5] + b"\0" + CHUNK[6:]))


def test_the_wrong_archive_key_is_denied_by_name() -> None:
    other = ArchivePrivateKey.generate()
    with pytest.raises(Denied) as raised:
        open_chunk(CHUNK, other)
    assert ARCHIVE.key_id.hex() in str(raised.value)
    assert other.key_id.hex() in str(raised.value)


def test_another_devices_key_is_denied_by_name() -> None:
    other = DeviceSigningKey.generate()
    with pytest.raises(Denied) as raised:
        verify_chunk(CHUNK, other.public)
    assert DEVICE.key_id.hex() in str(raised.value)
    assert other.key_id.hex() in str(raised.value)


def test_a_chunk_that_another_device_signs_as_its_own_does_not_open() -> None:
    thief = DeviceSigningKey.generate()
    header = parse_header(CHUNK)
    stolen = Header(1, 1, 200, ChunkId("d-aaaaaaaaaaaaaa", 1, 1), 0, ARCHIVE.key_id, thief.key_id, len(CHUNK)).pack()
    stolen += CHUNK[header.header_bytes : -chunks.TRAILER_BYTES]
    stolen = with_crc(stolen + thief.sign(stolen) + bytes(4))
    assert verify_chunk(stolen, thief.public)
    with pytest.raises(Corrupt):
        open_chunk(stolen, ARCHIVE)


def test_the_whole_overhead_is_within_200_bytes() -> None:
    bodies = chunks.encode_sections([chunks.Section(kind, bytes(200_000)) for kind in chunks.SectionKind])
    assert len(sealed(bodies)) - 4 * 200_000 <= 200


def test_the_hybrid_suite_seals_and_opens() -> None:
    if not seal.is_available(Suite.MLKEM768_X25519):
        pytest.skip("this build of `cryptography` has no ML-KEM")
    hybrid = ArchivePrivateKey.generate(Suite.MLKEM768_X25519)
    chunk = sealed(archive=hybrid)
    assert open_chunk(chunk, hybrid)[1] == BODY
    assert verify_chunk(chunk, DEVICE.public).suite == 2
    assert len(chunk) - len(CHUNK) == 1088


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"chunk_id": ChunkId("Bad.Name", 0, 0)}, "a-z0-9-"),
        ({"chunk_id": ChunkId("abc", 0, 0)}, "4-32"),
        ({"chunk_id": ChunkId("abcd", 1 << 32, 0)}, "32 bits"),
        ({"chunk_id": ChunkId("abcd", 0, -1)}, "32 bits"),
        ({"value": 256}, "0-255"),
        ({"expires_s": 3600}, "1970-01-02"),
        ({"expires_s": -1}, "1970-01-02"),
        ({"expires_s": 65_536 * DAY}, "2149"),
    ],
)
def test_arguments_out_of_range_are_refused(change: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        sealed(**change)  # type: ignore[arg-type]


def test_expiry_is_kept_in_whole_days_and_never_later_than_promised() -> None:
    header = parse_header(sealed(expires_s=20_000 * DAY + 5))
    assert header.expires_day == 20_000
    assert not header.has_expired(20_000 * DAY - 1)
    assert header.has_expired(20_000 * DAY)
    assert not parse_header(sealed(expires_s=0)).has_expired(2**40)


def test_a_body_without_events_round_trips() -> None:
    meta = Meta(5, 6, 7, purposes=("training",), consent=bytes(32), expires_s=20_000 * DAY)
    body = decode_body(encode_body(Body(meta, PointerEvents.empty(), KeyEvents.empty(), [], b"a screen section")))
    assert body.meta == meta
    assert (len(body.pointer), len(body.keys), body.rows, body.screen) == (0, 0, [], b"a screen section")


def test_a_body_must_begin_with_its_meta() -> None:
    for sections in ([], [chunks.Section(chunks.SectionKind.SCREEN, b"x")]):
        with pytest.raises(Corrupt, match="begin with its Meta"):
            decode_body(chunks.encode_sections(sections))


def test_parsing_a_header_loads_no_cryptography() -> None:
    code = (
        "import sys; from codec.chunk import parse_header\n"
        f"parse_header(bytes.fromhex({CHUNK.hex()!r}))\n"
        "heavy = {'cryptography', 'zstandard', 'msgpack', 'av'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_parsing_a_header_takes_no_more_than_50_microseconds() -> None:
    chunk = sealed(bytes(20_000))

    def once() -> float:
        started = time.perf_counter()
        parse_header(chunk)
        return time.perf_counter() - started

    assert min(once() for _ in range(500)) <= 50e-6  # the least: the machine may be busy with other things
